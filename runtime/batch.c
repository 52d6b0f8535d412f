#include "runtime/batch.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { RECENT = 1024 };

typedef struct waiting {
    struct waiting *next;
    uint64_t hash; /* of the source */
    dgm_job job;   /* its pointers go into this allocation */
} waiting;

struct dgm_batch {
    int dense_ranks, groups, slots, batch_tokens;
    int n_waiting, n_running, most_waiting;
    waiting *first, **last;
    /* by their hashes, where sources went last: [hash mod RECENT] */
    struct {
        uint64_t hash;
        int rank;
    } recent[RECENT];
    int *free;  /* [dense_ranks] slots */
    int *taken; /* [dense_ranks] tokens of the step being formed */
    bool
        *held; /* [groups] its first job has to wait, so the others too; of the step being formed */
};

int dgm_batch_create(dgm_batch **out, int dense_ranks, int groups, int slots, int batch_tokens)
{
    dgm_batch *b = calloc(1, sizeof *b);
    int *free_slots = calloc((size_t)dense_ranks, sizeof *free_slots);
    int *taken = calloc((size_t)dense_ranks, sizeof *taken);
    bool *held = calloc((size_t)groups, sizeof *held);
    if (b == NULL || free_slots == NULL || taken == NULL || held == NULL) {
        free(b);
        free(free_slots);
        free(taken);
        free(held);
        return dgm_fail(DGM_ENOMEM, "out of memory for the queue of sentences");
    }
    *b = (dgm_batch){.dense_ranks = dense_ranks,
                     .groups = groups,
                     .slots = slots,
                     .batch_tokens = batch_tokens,
                     .free = free_slots,
                     .taken = taken,
                     .held = held};
    b->last = &b->first;
    for (int r = 0; r < dense_ranks; r++)
        free_slots[r] = slots;
    /* Enough to refill every slot once, so that ranks never wait for the front. */
    b->most_waiting = dense_ranks * slots + 64;
    *out = b;
    return DGM_OK;
}

void dgm_batch_destroy(dgm_batch *b)
{
    if (b == NULL)
        return;
    while (b->first != NULL) {
        waiting *next = b->first->next;
        free(b->first);
        b->first = next;
    }
    free(b->free);
    free(b->taken);
    free(b->held);
    free(b);
}

/* One allocation: the node, the source, the targets, their prompts. */
static waiting *copy_job(const dgm_job *job)
{
    size_t ids = (size_t)job->n_source;
    for (int t = 0; t < job->n_targets; t++)
        ids += (size_t)job->targets[t].n_prompt;
    waiting *w =
        malloc(sizeof *w + (size_t)job->n_targets * sizeof(dgm_target) + ids * sizeof(int32_t));
    if (w == NULL)
        return NULL;
    dgm_target *targets = (dgm_target *)(w + 1);
    int32_t *at = (int32_t *)(targets + job->n_targets);
    *w = (waiting){.job = *job,
                   .hash = XXH3_64bits(job->source, (size_t)job->n_source * sizeof *job->source)};
    w->job.targets = targets;
    w->job.source = memcpy(at, job->source, (size_t)job->n_source * sizeof *at);
    at += job->n_source;
    for (int t = 0; t < job->n_targets; t++) {
        const int n = job->targets[t].n_prompt;
        targets[t] = job->targets[t];
        targets[t].prompt = memcpy(at, job->targets[t].prompt, (size_t)n * sizeof *at);
        at += n;
    }
    return w;
}

bool dgm_batch_full(const dgm_batch *b)
{
    return b->n_waiting >= b->most_waiting;
}

int dgm_batch_push(dgm_batch *b, const dgm_job *job)
{
    waiting *w = copy_job(job);
    if (w == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a sentence of %d ids", job->n_source);
    waiting **at = b->last;
    if (job->urgent)
        for (at = &b->first; *at != NULL && (*at)->job.urgent;)
            at = &(*at)->next;
    w->next = *at;
    *at = w;
    if (w->next == NULL)
        b->last = &w->next;
    b->n_waiting += job->n_targets;
    return DGM_OK;
}

int dgm_batch_drop(dgm_batch *b, uint64_t id)
{
    int dropped = 0;
    b->last = &b->first;
    while (*b->last != NULL) {
        waiting *w = *b->last;
        if (w->job.id != id) {
            b->last = &w->next;
            continue;
        }
        dropped += w->job.n_targets;
        *b->last = w->next;
        free(w);
    }
    b->n_waiting -= dropped;
    return dropped;
}

static bool fits(const dgm_batch *b, int rank, int n)
{
    const int share = dgm_batch_share(b->batch_tokens, b->dense_ranks);
    return b->taken[rank] == 0 || b->taken[rank] + n <= share;
}

/* Where a sentence goes; -1: nowhere in this step. */
static int find_rank(const dgm_batch *b, const waiting *w)
{
    const int n = w->job.n_source, last = b->recent[w->hash % RECENT].rank;
    int best = -1;
    for (int r = w->job.group; r < b->dense_ranks; r += b->groups)
        if (fits(b, r, n) && (best < 0 || b->free[r] > b->free[best]))
            best = r;
    const bool known = best >= 0 && b->recent[w->hash % RECENT].hash == w->hash &&
                       last % b->groups == w->job.group;
    return known && fits(b, last, n) && b->free[last] >= w->job.n_targets &&
                   2 * b->free[last] >= b->free[best]
               ? last
               : best;
}

void dgm_batch_form(dgm_batch *b, const dgm_engine_pace *pace,
                    void (*take)(void *ctx, int rank, const dgm_job *job), void *ctx)
{
    int most = b->batch_tokens;
    if (pace->encode_tokens > 0 && pace->encode_tokens < most)
        most = pace->encode_tokens;
    int tokens = 0, open = b->groups;
    bool entered[2] = {false, false}, full[2] = {false, false}; /* of others, of urgent ones */
    memset(b->taken, 0, (size_t)b->dense_ranks * sizeof *b->taken);
    memset(b->held, 0, (size_t)b->groups * sizeof *b->held);
    for (waiting **at = &b->first; *at != NULL && open > 0;) {
        waiting *w = *at;
        const int n = w->job.n_source, group = w->job.group;
        const int rank = b->held[group] ? -1 : find_rank(b, w);
        if (pace->urgent_only && !w->job.urgent)
            return;
        if (full[w->job.urgent] || (rank >= 0 && entered[w->job.urgent] && tokens + n > most)) {
            if (!w->job.urgent)
                return;
            full[true] = true;
            at = &w->next;
            continue;
        }
        if (rank < 0 || b->free[rank] < w->job.n_targets) {
            open -= !b->held[group];
            b->held[group] = true;
            at = &w->next;
            continue;
        }
        tokens += n;
        entered[w->job.urgent] = true;
        take(ctx, rank, &w->job);
        b->recent[w->hash % RECENT].hash = w->hash;
        b->recent[w->hash % RECENT].rank = rank;
        b->taken[rank] += n;
        b->free[rank] -= w->job.n_targets;
        b->n_waiting -= w->job.n_targets;
        b->n_running += w->job.n_targets;
        *at = w->next;
        if (*at == NULL)
            b->last = at;
        free(w);
    }
}

void dgm_batch_done(dgm_batch *b, int rank)
{
    b->free[rank]++;
    b->n_running--;
    DGM_ASSERT(b->free[rank] <= b->slots && b->n_running >= 0);
}

int dgm_batch_waiting(const dgm_batch *b)
{
    return b->n_waiting;
}

int dgm_batch_running(const dgm_batch *b)
{
    return b->n_running;
}

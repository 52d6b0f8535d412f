#include "runtime/twins.h"

#include "runtime/plan.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { BUCKETS = 4096 };

/* Jobs of one kind; its address is their key. */
typedef struct twin {
    struct twin *next; /* in its bucket */
    uint64_t hash;
    bool closed;   /* nobody can join any more */
    uint64_t *ids; /* [n_ids], of cap_ids */
    int n_ids, cap_ids, n_targets, left;
    dgm_buf job; /* as plans carry it, but for who asks */
} twin;

struct dgm_twins {
    twin *bucket[BUCKETS], *gone; /* gone: its ids are with the caller */
    int echoes;
};

int dgm_twins_create(dgm_twins **out)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "out of memory for the list of jobs");
}

static void destroy(twin *w)
{
    if (w == NULL)
        return;
    free(w->ids);
    free(w->job.base);
    free(w);
}

void dgm_twins_destroy(dgm_twins *t)
{
    if (t == NULL)
        return;
    for (int b = 0; b < BUCKETS; b++)
        while (t->bucket[b] != NULL) {
            twin *next = t->bucket[b]->next;
            destroy(t->bucket[b]);
            t->bucket[b] = next;
        }
    destroy(t->gone);
    free(t);
}

static int add_id(twin *w, uint64_t id)
{
    if (w->n_ids == w->cap_ids) {
        const int cap = w->cap_ids == 0 ? 1 : 2 * w->cap_ids;
        uint64_t *grown = realloc(w->ids, (size_t)cap * sizeof *grown);
        if (grown == NULL)
            return dgm_fail(DGM_ENOMEM, "out of memory for a list of jobs");
        w->ids = grown;
        w->cap_ids = cap;
    }
    w->ids[w->n_ids++] = id;
    return DGM_OK;
}

/* describe - the job as plans carry it, the same bytes for all that become the same; zeros between its parts. */
static int describe(dgm_buf *b, const dgm_job *job)
{
    dgm_job same = *job;
    same.id = 0;
    if (!job->options.sampling)
        same.line = 0;
    *b = (dgm_buf){.cap = dgm_plan_job_bytes(job)};
    b->base = calloc(1, b->cap);
    if (b->base == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a sentence of %d ids", job->n_source);
    dgm_plan_put_job(b, &same);
    return DGM_OK;
}

static twin *find(const dgm_twins *t, uint64_t hash, const dgm_buf *job)
{
    twin *w = t->bucket[hash % BUCKETS];
    while (w != NULL && (w->closed || w->hash != hash || w->job.used != job->used ||
                         memcmp(w->job.base, job->base, job->used) != 0))
        w = w->next;
    return w;
}

int dgm_twins_join(dgm_twins *t, const dgm_job *job, bool alone, uint64_t *key, bool *first)
{
    dgm_buf b;
    DGM_TRY(describe(&b, job));
    const uint64_t hash = XXH3_64bits(b.base, b.used);
    twin *w = alone ? NULL : find(t, hash, &b);
    *first = w == NULL;
    if (w != NULL) {
        free(b.base);
        *key = (uint64_t)(uintptr_t)w;
        DGM_TRY(add_id(w, job->id));
        t->echoes += w->n_targets;
        return DGM_OK;
    }
    w = calloc(1, sizeof *w);
    if (w == NULL) {
        free(b.base);
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of jobs");
    }
    *w = (twin){.next = t->bucket[hash % BUCKETS],
                .hash = hash,
                .n_targets = job->n_targets,
                .left = job->n_targets,
                .job = b};
    t->bucket[hash % BUCKETS] = w;
    *key = (uint64_t)(uintptr_t)w;
    const int rc = add_id(w, job->id);
    if (rc != DGM_OK)
        dgm_twins_leave(t, *key);
    return rc;
}

static void unlink_twin(dgm_twins *t, const twin *w)
{
    twin **at = &t->bucket[w->hash % BUCKETS];
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
}

void dgm_twins_leave(dgm_twins *t, uint64_t key)
{
    twin *w = (twin *)(uintptr_t)key;
    unlink_twin(t, w);
    destroy(w);
}

const uint64_t *dgm_twins_done(dgm_twins *t, uint64_t key, int *n)
{
    twin *w = (twin *)(uintptr_t)key;
    destroy(t->gone);
    t->gone = NULL;
    w->closed = true;
    t->echoes -= w->n_ids > 1 ? w->n_ids - 1 : 0;
    if (--w->left == 0) {
        unlink_twin(t, w);
        t->gone = w;
    }
    *n = w->n_ids;
    return w->ids;
}

/* drop_id - false when the job is not waited for under this id. */
static bool drop_id(twin *w, uint64_t id)
{
    int i = 0;
    while (i < w->n_ids && w->ids[i] != id)
        i++;
    if (i == w->n_ids)
        return false;
    w->n_ids--;
    memmove(w->ids + i, w->ids + i + 1, (size_t)(w->n_ids - i) * sizeof *w->ids);
    return true;
}

bool dgm_twins_drop(dgm_twins *t, uint64_t id, uint64_t *key, bool *wanted)
{
    for (int b = 0; b < BUCKETS; b++)
        for (twin *w = t->bucket[b]; w != NULL; w = w->next) {
            if (!drop_id(w, id))
                continue;
            *key = (uint64_t)(uintptr_t)w;
            *wanted = w->n_ids > 0;
            t->echoes -= *wanted ? w->left : 0;
            w->closed = w->closed || !*wanted;
            return true;
        }
    return false;
}

int dgm_twins_left(const dgm_twins *t, uint64_t key)
{
    (void)t;
    return ((const twin *)(uintptr_t)key)->left;
}

void dgm_twins_forget(dgm_twins *t, uint64_t key, int n)
{
    twin *w = (twin *)(uintptr_t)key;
    DGM_ASSERT(w->n_ids == 0 && n <= w->left);
    w->left -= n;
    if (w->left > 0)
        return;
    unlink_twin(t, w);
    destroy(w);
}

int dgm_twins_echoes(const dgm_twins *t)
{
    return t->echoes;
}

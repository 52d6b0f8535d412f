/* processors.c - repetition penalty, n-gram block, minimum length. */
#include "runtime/processors.h"

#include <math.h>
#include <string.h>

static bool penalises(const dgm_decode_options *opt)
{
    return opt->repetition_penalty != 1.0f;
}

bool dgm_processors_on(const dgm_decode_options *opt)
{
    return penalises(opt) || opt->no_repeat_ngram > 0 || opt->min_length > 0;
}

/* Distinct ids of a history, and </s>; a table at least twice that, so that probes end. */
static size_t max_touched(const dgm_decode_options *opt)
{
    return (size_t)opt->max_length + 1;
}

static size_t table_size(const dgm_decode_options *opt)
{
    size_t n = 16;
    while (n < 2 * max_touched(opt))
        n *= 2;
    return n;
}

size_t dgm_processors_bytes(const dgm_decode_options *opt)
{
    return max_touched(opt) * sizeof(dgm_touched) + table_size(opt) * sizeof(int32_t);
}

void dgm_processors_init(dgm_processors *p, void *mem, const dgm_decode_options *opt,
                         const int32_t *prompt, int n_prompt)
{
    *p = (dgm_processors){.penalty = opt->repetition_penalty,
                          .ngram = opt->no_repeat_ngram,
                          .min_length = opt->min_length,
                          .eos_id = opt->eos_id,
                          .start = prompt[0],
                          .code = n_prompt > 1 ? prompt[1] : prompt[0],
                          .skip_special = opt->penalty_skip_special != 0};
    if (!dgm_processors_on(opt))
        return;
    p->touched = mem;
    p->table = (int32_t *)(p->touched + max_touched(opt));
    p->mask = (uint32_t)table_size(opt) - 1;
}

/* The slot of `id`, or the free one where it belongs. Multiplicative hashing by 2^32 / golden
 * ratio. */
static int32_t *slot_of(const dgm_processors *p, int32_t id)
{
    uint32_t h = (uint32_t)id * 2654435769u;
    for (h ^= h >> 16;; h++) {
        int32_t *slot = &p->table[h & p->mask];
        if (*slot == 0 || p->touched[*slot - 1].id == id)
            return slot;
    }
}

static void touch(dgm_processors *p, int32_t id, bool ban)
{
    int32_t *slot = slot_of(p, id);
    if (*slot == 0) {
        p->touched[p->n_touched] = (dgm_touched){.id = id};
        *slot = ++p->n_touched;
    }
    if (ban)
        p->touched[*slot - 1].banned = true;
}

static bool is_special(const dgm_processors *p, int32_t id)
{
    return id == p->start || id == p->code || id == p->eos_id;
}

/* Whatever once followed the last n - 1 ids would repeat an n-gram. */
static void ban_ngrams(dgm_processors *p, const int32_t *history, int n)
{
    const int lead = p->ngram - 1;
    const int32_t *last = history + n - lead;
    for (int i = 0; i + lead < n; i++)
        if (memcmp(history + i, last, (size_t)lead * sizeof *last) == 0)
            touch(p, history[i + lead], true);
}

void dgm_processors_read(dgm_processors *p, const int32_t *history, int n)
{
    if (p->table == NULL)
        return;
    memset(p->table, 0, ((size_t)p->mask + 1) * sizeof *p->table);
    p->n_touched = 0;
    if (p->penalty != 1.0f)
        for (int i = 0; i < n; i++)
            if (!p->skip_special || !is_special(p, history[i]))
                touch(p, history[i], false);
    if (p->ngram > 0 && n >= p->ngram)
        ban_ngrams(p, history, n);
    if (n < p->min_length)
        touch(p, p->eos_id, true);
}

const dgm_touched *dgm_processors_find(const dgm_processors *p, int32_t id)
{
    if (p->n_touched == 0)
        return NULL;
    const int32_t *slot = slot_of(p, id);
    return *slot == 0 ? NULL : &p->touched[*slot - 1];
}

float dgm_processors_apply(const dgm_processors *p, int32_t id, float x)
{
    const dgm_touched *t = dgm_processors_find(p, id);
    if (t == NULL)
        return x;
    if (t->banned)
        return -INFINITY;
    return x < 0 ? x * p->penalty : x / p->penalty;
}

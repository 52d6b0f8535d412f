#include "tests/runtime/test_search_feed.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GUARD_BYTES = 64, GUARD = 0x5A };

static const float *sort_by; /* qsort has no context */

static int by_logit(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (sort_by[x] != sort_by[y])
        return sort_by[x] > sort_by[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

/* What dgm_vocab would bring for these logits; the row's arrays are freed by free_row. */
static dgm_row_best make_row(const float *logits, int vocab, int n_best, bool full)
{
    int32_t *order = malloc((size_t)vocab * sizeof *order);
    int32_t *ids = malloc((size_t)n_best * sizeof *ids);
    float *best = malloc((size_t)n_best * sizeof *best), *all = NULL;
    float max = -INFINITY;
    for (int i = 0; i < vocab; i++) {
        order[i] = i;
        max = logits[i] > max ? logits[i] : max;
    }
    double sum = 0;
    for (int i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - (double)max);
    sort_by = logits;
    qsort(order, (size_t)vocab, sizeof *order, by_logit);
    for (int i = 0; i < n_best; i++) {
        ids[i] = order[i];
        best[i] = logits[order[i]];
    }
    if (full) {
        all = malloc((size_t)vocab * sizeof *all);
        memcpy(all, logits, (size_t)vocab * sizeof *all);
    }
    free(order);
    return (dgm_row_best){.ids = ids,
                          .logits = best,
                          .n = n_best,
                          .max = max,
                          .log_sum = (float)log(sum),
                          .full = all};
}

static void free_row(const dgm_row_best *b)
{
    free((void *)b->ids);
    free((void *)b->logits);
    free((void *)b->full);
}

/* The history of a row, by its path and our own table. */
static void walk(const feed *f, int32_t *history, const uint8_t *path, int n)
{
    for (int i = 0; i < n; i++) {
        assert_in_range(path[i], 0, f->opt.beam - 1);
        history[i] = f->held[i * f->opt.beam + path[i]];
        assert_int_not_equal(history[i], -1);
    }
}

static void step(feed *f)
{
    const int rows = dgm_search_rows(f->search), n = dgm_search_length(f->search);
    assert_in_range(rows, 1, f->opt.beam);
    assert_in_range(n, 1, f->opt.max_length - 1);
    int n_best;
    bool full;
    dgm_search_needs(f->search, &n_best, &full);
    assert_in_range(n_best, 0, f->vocab);
    if (f->generous) {
        n_best = f->vocab;
        full = true;
    }
    dgm_row_best *best = malloc((size_t)rows * sizeof *best);
    float *logits = malloc((size_t)f->vocab * sizeof *logits);
    int32_t *history = malloc((size_t)n * sizeof *history);
    for (int r = 0; r < rows; r++)
        f->held[(n - 1) * f->opt.beam + r] = dgm_search_token(f->search, r);
    for (int r = 0; r < rows; r++) {
        const uint8_t *path = dgm_search_path(f->search, r);
        assert_int_equal(path[n - 1], r);
        walk(f, history, path, n);
        f->logits(f->ctx, logits, f->vocab, history, n);
        best[r] = make_row(logits, f->vocab, n_best, full);
    }
    dgm_search_advance(f->search, best);
    for (int r = 0; r < rows; r++)
        free_row(&best[r]);
    free(best);
    free(logits);
    free(history);
    f->n_steps++;
    f->most_rows = rows > f->most_rows ? rows : f->most_rows;
}

/* rows [0 .. n - 1] held the tokens before the last one; the last was an input only if nothing
 * followed. */
static void check_result(const feed *f, const dgm_hypothesis *h, int32_t start)
{
    int32_t *history = malloc((size_t)(h->n + 1) * sizeof *history);
    walk(f, history, h->rows, h->n);
    if (h->n > 0)
        assert_int_equal(history[0], start);
    for (int i = 1; i < h->n; i++)
        assert_int_equal(history[i], h->ids[i - 1]);
    assert_int_equal(h->ended, h->n > 0 && h->ids[h->n - 1] == f->opt.eos_id);
    free(history);
}

void feed_run(feed *f, const dgm_decode_options *opt, const int32_t *prompt, int n_prompt,
              uint64_t line)
{
    const size_t bytes = dgm_search_bytes(opt, f->vocab),
                 cells = (size_t)opt->max_length * (size_t)opt->beam;
    f->opt = *opt;
    f->n_steps = f->most_rows = 0;
    assert_int_equal(bytes % 64, 0);
    f->mem = aligned_alloc(64, bytes + GUARD_BYTES);
    memset(f->mem, 0xEE, bytes); /* a search may count on nothing */
    memset((char *)f->mem + bytes, GUARD, GUARD_BYTES);
    f->held = malloc(cells * sizeof *f->held);
    memset(f->held, 0xFF, cells * sizeof *f->held);
    for (int i = 0; i < n_prompt; i++)
        f->held[i * opt->beam] = prompt[i];
    f->search = dgm_search_init(f->mem, opt, f->vocab, prompt, n_prompt, line);
    while (dgm_search_rows(f->search) > 0)
        step(f);
    dgm_hypothesis h;
    for (int i = 0; dgm_search_result(f->search, i, &h); i++)
        check_result(f, &h, prompt[0]);
    for (int i = 0; i < GUARD_BYTES; i++)
        assert_int_equal(((unsigned char *)f->mem)[bytes + (size_t)i], GUARD);
}

void feed_free(feed *f)
{
    free(f->mem);
    free(f->held);
    f->mem = NULL;
    f->held = NULL;
}

dgm_hypothesis feed_result(const feed *f, int i)
{
    dgm_hypothesis h = {0};
    assert_true(dgm_search_result(f->search, i, &h));
    return h;
}

dgm_decode_options feed_options(int beam, int max_length)
{
    return (dgm_decode_options){.beam = beam,
                                .n_best = beam,
                                .max_length = max_length,
                                .length_penalty = 1,
                                .repetition_penalty = 1,
                                .sampling_topp = 1,
                                .temperature = 1,
                                .eos_id = 2,
                                .token_scores = 1};
}

/* The finalizer of SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
    x = (x ^ x >> 27) * 0x94D049BB133111EB;
    return x ^ x >> 31;
}

void feed_hash(void *ctx, float *logits, int vocab, const int32_t *history, int n)
{
    const feed_hash_model *m = ctx;
    const uint64_t golden = 0x9E3779B97F4A7C15;
    uint64_t h = m->seed;
    for (int i = 0; i < n; i++)
        h = mix(h + (uint64_t)(history[i] + 1) * golden);
    for (int i = 0; i < vocab; i++) {
        const uint64_t u = mix(h + (uint64_t)(i + 1) * golden) >> 40;
        logits[i] = (float)u * (m->spread * 0x1p-24f) - m->spread / 2;
    }
    logits[2] += m->bonus;
}

/* dgm_search on cases made by hand: ties, ends, bans, lengths, and an exhaustive search to compare
 * with. */
#include "kernels/math.h"
#include "runtime/processors.h"
#include "runtime/sampling.h"
#include "tests/runtime/test_search_feed.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { EOS = 2, CODE = 5 };
static const int32_t prompt[] = {EOS, CODE, 3, 4};

static void want_ids(const feed *f, int i, int n, const int32_t *ids)
{
    const dgm_hypothesis h = feed_result(f, i);
    assert_int_equal(h.n, n);
    for (int t = 0; t < n; t++)
        assert_int_equal(h.ids[t], ids[t]);
}
#define WANT_IDS(f, i, ...)                                                                        \
    want_ids(f, i, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t), (int32_t[]){__VA_ARGS__})

static void want_none(const feed *f, int i)
{
    dgm_hypothesis h;
    assert_false(dgm_search_result(f->search, i, &h));
}

static float score(const feed *f, int i)
{
    return feed_result(f, i).score;
}

static void all_equal(void *ctx, float *logits, int vocab, const int32_t *history, int n)
{
    (void)ctx, (void)history, (void)n;
    for (int i = 0; i < vocab; i++)
        logits[i] = 1;
}

/* Equal scores: the lower beam, then the lower id. The third hypothesis ends (scores 1/2, 2/3 and
 * 3/4 of -log 7), and the best live one, 3/4 too, is not above the worst: stop. */
static void ties_go_to_the_lower_id(void **state)
{
    (void)state;
    feed f = {.logits = all_equal, .vocab = 7};
    const dgm_decode_options o = feed_options(3, 20);
    feed_run(&f, &o, prompt, 2, 0);
    assert_int_equal(f.n_steps, 3);
    WANT_IDS(&f, 0, CODE, EOS);
    WANT_IDS(&f, 1, CODE, 0, EOS);
    WANT_IDS(&f, 2, CODE, 0, 0, EOS);
    want_none(&f, 3);
    feed_free(&f);
}

/* 10 candidates of rows of 7: all of row 0, then three of row 1, not of row 4. */
static void ties_go_to_the_lower_beam(void **state)
{
    (void)state;
    feed f = {.logits = all_equal, .vocab = 7};
    dgm_decode_options o = feed_options(5, 4);
    feed_run(&f, &o, prompt, 2, 0);
    WANT_IDS(&f, 0, CODE, EOS);
    WANT_IDS(&f, 1, CODE, 0, 0); /* of equal finals the first stays first */
    WANT_IDS(&f, 2, CODE, 0, 1);
    WANT_IDS(&f, 3, CODE, 0, 2);
    WANT_IDS(&f, 4, CODE, 0, 3);
    o = feed_options(4, 4);
    o.min_length = 4;
    feed_free(&f);
    f.vocab = 4; /* three of row 0, since </s> is banned, three of row 1, two of row 2 */
    feed_run(&f, &o, (int32_t[]){EOS, 3}, 2, 0);
    WANT_IDS(&f, 0, 3, 0, 0);
    WANT_IDS(&f, 1, 3, 0, 1);
    WANT_IDS(&f, 2, 3, 0, 3);
    WANT_IDS(&f, 3, 3, 1, 0);
    feed_free(&f);
}

/* Ids 9 and 7 lead by less than the running sum can tell from the third step on. */
static void nearly_equal(void *ctx, float *logits, int vocab, const int32_t *history, int n)
{
    all_equal(ctx, logits, vocab, history, n);
    logits[9] = 1 + 0x1p-22f;
    logits[7] = 1 + 0x1p-23f;
}

static void rounded_away_logits_still_order(void **state)
{
    (void)state;
    for (int generous = 0; generous < 2; generous++) {
        feed f = {.logits = nearly_equal, .vocab = 60, .generous = generous};
        dgm_decode_options o = feed_options(2, 30);
        o.min_length = 30;
        feed_run(&f, &o, prompt, 2, 0);
        dgm_hypothesis h = feed_result(&f, 0);
        for (int i = 1; i < h.n; i++)
            assert_int_equal(h.ids[i], 9);
        h = feed_result(&f, 1);
        assert_int_equal(h.ids[h.n - 1], 7);
        feed_free(&f);
    }
}

static void mostly_ends(void *ctx, float *logits, int vocab, const int32_t *history, int n)
{
    (void)ctx, (void)history;
    for (int i = 0; i < vocab; i++)
        logits[i] = -(float)i;
    logits[EOS] = n >= 3 ? 20 : -20;
}

/* Both rows end in the same step, ranked first and second: nothing that is left can be better. */
static void all_may_end_at_once(void **state)
{
    (void)state;
    feed f = {.logits = mostly_ends, .vocab = 30};
    const dgm_decode_options o = feed_options(2, 20);
    feed_run(&f, &o, prompt, 2, 0);
    assert_int_equal(f.n_steps, 2);
    WANT_IDS(&f, 0, CODE, 0, EOS);
    WANT_IDS(&f, 1, CODE, 1, EOS);
    const dgm_hypothesis h = feed_result(&f, 0);
    assert_true(h.ended);
    assert_int_equal(h.rows[h.n], 0);
    feed_free(&f);
}

/* Unigram block: start token and code are used up, then 0 and 1, and </s> is banned as the start
 * token is one. */
static void everything_may_be_banned(void **state)
{
    (void)state;
    for (int beam = 1; beam <= 2; beam++) {
        feed f = {.logits = all_equal, .vocab = 4};
        dgm_decode_options o = feed_options(beam, 20);
        o.no_repeat_ngram = 1;
        feed_run(&f, &o, (int32_t[]){EOS, 3}, 2, 0);
        WANT_IDS(&f, 0, 3, 0, 1);
        if (beam == 2)
            WANT_IDS(&f, 1, 3, 1, 0);
        want_none(&f, beam);
        const dgm_hypothesis h = feed_result(&f, 0);
        assert_false(h.ended);
        assert_float_equal(h.score, -2 * logf(4) / 3, 1e-6);
        feed_free(&f);
    }
}

/* Masked ids (-inf) are never taken, however few are left. */
static void only_two(void *ctx, float *logits, int vocab, const int32_t *history, int n)
{
    (void)ctx, (void)history, (void)n;
    for (int i = 0; i < vocab; i++)
        logits[i] = -INFINITY;
    logits[EOS] = 0;
    logits[6] = 1;
}

static void masked_ids_are_never_taken(void **state)
{
    (void)state;
    feed f = {.logits = only_two, .vocab = 20};
    dgm_decode_options o = feed_options(4, 6);
    feed_run(&f, &o, prompt, 2, 0);
    assert_int_equal(f.most_rows, 1);
    for (int i = 0; i < 4; i++) {
        const dgm_hypothesis h = feed_result(&f, i);
        for (int t = 1; t < h.n; t++)
            assert_true(h.ids[t] == 6 || h.ids[t] == EOS);
    }
    feed_free(&f);
}

static void a_prompt_as_long_as_the_limit_is_the_result(void **state)
{
    (void)state;
    for (int n = 2; n <= 4; n++) {
        feed f = {.logits = all_equal, .vocab = 20};
        const dgm_decode_options o = feed_options(4, n);
        feed_run(&f, &o, prompt, n, 0);
        assert_int_equal(f.n_steps, 0);
        want_ids(&f, 0, n - 1, prompt + 1);
        want_none(&f, 1); /* n_best is 4 */
        assert_true(score(&f, 0) == 0);
        feed_free(&f);
    }
}

static void fewer_results_than_asked_for(void **state)
{
    (void)state;
    feed f = {.logits = all_equal, .vocab = 20};
    dgm_decode_options o = feed_options(4, 8);
    o.n_best = 2;
    feed_run(&f, &o, prompt, 2, 0);
    assert_true(score(&f, 0) >= score(&f, 1));
    want_none(&f, 2);
    want_none(&f, -1);
    feed_free(&f);
}

/* A beam wider than the tree leaves nothing out: compare with all 40 sequences of up to three
 * tokens. */
typedef struct sequence {
    int32_t ids[4];
    int n;
    float score;
} sequence;
enum { SMALL = 4, DEEP = 5, ALL = 1 + 3 + 9 * SMALL };

static int enumerate(sequence *out, feed_hash_model *m, int32_t *history, int n, float sum)
{
    float logits[SMALL], max = -INFINITY;
    feed_hash(m, logits, SMALL, history, n);
    double all = 0;
    for (int i = 0; i < SMALL; i++)
        max = logits[i] > max ? logits[i] : max;
    for (int i = 0; i < SMALL; i++)
        all += exp((double)logits[i] - (double)max);
    int found = 0;
    for (int i = 0; i < SMALL; i++) {
        const float s = sum + ((logits[i] - max) - (float)log(all));
        history[n] = i;
        if (i != EOS && n + 1 < DEEP) {
            found += enumerate(out + found, m, history, n + 1, s);
            continue;
        }
        sequence *q = &out[found++];
        q->n = n;
        memcpy(q->ids, history + 1, (size_t)n * sizeof *q->ids);
        q->score = s / dgm_pow((float)n, 0.5f);
    }
    return found;
}

static int by_score(const void *a, const void *b)
{
    const float x = ((const sequence *)a)->score, y = ((const sequence *)b)->score;
    return x > y ? -1 : x < y;
}

static void a_beam_wider_than_the_tree_finds_all(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        feed_hash_model m = {.spread = 8, .bonus = 1, .seed = seed};
        sequence want[ALL];
        int32_t history[DEEP] = {EOS, 3};
        assert_int_equal(enumerate(want, &m, history, 2, 0), ALL);
        qsort(want, ALL, sizeof *want, by_score);
        feed f = {.logits = feed_hash, .ctx = &m, .vocab = SMALL};
        dgm_decode_options o = feed_options(64, DEEP);
        o.length_penalty = 0.5f;
        feed_run(&f, &o, history, 2, 0);
        for (int i = 0; i < ALL; i++) {
            want_ids(&f, i, want[i].n, want[i].ids);
            assert_true(score(&f, i) == want[i].score); /* the same bits */
        }
        want_none(&f, ALL);
        feed_free(&f);
    }
}

/* The widest beam, with processors: what rows bring when asked and all they have give the same. */
static void the_widest_beam(void **state)
{
    (void)state;
    feed_hash_model m = {.spread = 8, .bonus = 2, .seed = 99};
    for (int i = 0; i < 2; i++) {
        feed f = {.logits = feed_hash, .ctx = &m, .vocab = 400};
        feed g = {.logits = feed_hash, .ctx = &m, .vocab = 400, .generous = true};
        dgm_decode_options o = feed_options(DGM_MAX_BEAM, 12);
        o.no_repeat_ngram = 2;
        o.repetition_penalty = i == 0 ? 1.5f : 0.5f;
        feed_run(&f, &o, prompt, 3, 0);
        feed_run(&g, &o, prompt, 3, 0);
        assert_int_equal(f.most_rows, DGM_MAX_BEAM);
        for (int r = 0; r < DGM_MAX_BEAM; r++) {
            const dgm_hypothesis a = feed_result(&f, r), b = feed_result(&g, r);
            want_ids(&g, r, a.n, a.ids);
            assert_memory_equal(&a.score, &b.score, sizeof a.score);
        }
        feed_free(&f);
        feed_free(&g);
    }
}

static void asks_for_no_more_than_it_needs(void **state)
{
    (void)state;
    int n;
    bool full;
    dgm_decode_options o = feed_options(4, 10);
    o.min_length = 3;
    void *mem = aligned_alloc(64, dgm_search_bytes(&o, 100));
    dgm_search_needs(dgm_search_init(mem, &o, 100, prompt, 2, 0), &n, &full);
    assert_int_equal(n, 2 * 4 + 1); /* </s> is banned */
    assert_false(full);
    dgm_search_needs(dgm_search_init(mem, &o, 100, prompt, 3, 0), &n, &full);
    assert_int_equal(n, 2 * 4);
    o.repetition_penalty = 1.2f;
    dgm_search_needs(dgm_search_init(mem, &o, 100, prompt, 4, 0), &n, &full);
    assert_int_equal(n, 2 * 4 + 4);
    assert_false(full);
    dgm_search_needs(dgm_search_init(mem, &o, 6, prompt, 4, 0), &n, &full);
    assert_int_equal(n, 6);
    o.repetition_penalty = 0.8f;
    dgm_search_needs(dgm_search_init(mem, &o, 100, prompt, 4, 0), &n, &full);
    assert_true(full);
    free(mem);
}

/* The engine reserves for the widest options and runs all others there. */
static void bytes_grow_with_the_options(void **state)
{
    (void)state;
    dgm_decode_options widest = feed_options(8, 100);
    widest.sampling = 1;
    for (int beam = 1; beam <= 8; beam++)
        for (int length = 2; length <= 100; length += 7) {
            dgm_decode_options o = feed_options(beam, length);
            o.no_repeat_ngram = 3;
            o.repetition_penalty = 1.1f;
            o.sampling = beam == 1;
            assert_true(dgm_search_bytes(&o, 500) <= dgm_search_bytes(&widest, 500));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ties_go_to_the_lower_id),
        cmocka_unit_test(ties_go_to_the_lower_beam),
        cmocka_unit_test(rounded_away_logits_still_order),
        cmocka_unit_test(all_may_end_at_once),
        cmocka_unit_test(everything_may_be_banned),
        cmocka_unit_test(masked_ids_are_never_taken),
        cmocka_unit_test(a_prompt_as_long_as_the_limit_is_the_result),
        cmocka_unit_test(fewer_results_than_asked_for),
        cmocka_unit_test(a_beam_wider_than_the_tree_finds_all),
        cmocka_unit_test(the_widest_beam),
        cmocka_unit_test(asks_for_no_more_than_it_needs),
        cmocka_unit_test(bytes_grow_with_the_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* runtime/processors.c by itself: what a history touches, and what becomes of a score. */
#include "runtime/processors.h"

#include "tests/runtime/test_search_feed.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { EOS = 2, CODE = 5, MAX_LENGTH = 40 };

typedef struct rig {
    dgm_processors p;
    void *mem;
} rig;

static rig make(const dgm_decode_options *o)
{
    rig r = {.mem = malloc(dgm_processors_bytes(o))};
    dgm_processors_init(&r.p, r.mem, o, (int32_t[]){EOS, CODE}, 2);
    return r;
}

static bool banned(const rig *r, int32_t id)
{
    const dgm_touched *t = dgm_processors_find(&r->p, id);
    return t != NULL && t->banned;
}

static void nothing_is_touched_when_off(void **state)
{
    (void)state;
    const dgm_decode_options o = feed_options(1, MAX_LENGTH);
    rig r = make(&o);
    assert_false(dgm_processors_on(&o));
    dgm_processors_read(&r.p, (int32_t[]){EOS, CODE, 7}, 3);
    assert_int_equal(r.p.n_touched, 0);
    assert_true(dgm_processors_apply(&r.p, 7, -1.5f) == -1.5f);
    free(r.mem);
}

static void repeated_ids_are_penalised_once(void **state)
{
    (void)state;
    dgm_decode_options o = feed_options(1, MAX_LENGTH);
    o.repetition_penalty = 2;
    rig r = make(&o);
    dgm_processors_read(&r.p, (int32_t[]){EOS, CODE, 7, 7, 9, 7}, 6);
    assert_int_equal(r.p.n_touched, 4);
    assert_true(dgm_processors_apply(&r.p, 7, -3) == -6);
    assert_true(dgm_processors_apply(&r.p, 7, 3) == 1.5f);
    assert_true(dgm_processors_apply(&r.p, EOS, -1) == -2);
    assert_true(dgm_processors_apply(&r.p, 8, -3) == -3);
    dgm_processors_read(&r.p, (int32_t[]){EOS, CODE, 8}, 3); /* the last history is forgotten */
    assert_true(dgm_processors_apply(&r.p, 7, -3) == -3);
    assert_true(dgm_processors_apply(&r.p, 8, -3) == -6);
    free(r.mem);
}

static void special_ids_can_be_left_out(void **state)
{
    (void)state;
    dgm_decode_options o = feed_options(1, MAX_LENGTH);
    o.repetition_penalty = 2;
    o.penalty_skip_special = 1;
    rig r = make(&o);
    dgm_processors_read(&r.p, (int32_t[]){EOS, CODE, 7}, 3);
    assert_true(dgm_processors_apply(&r.p, EOS, -1) == -1);
    assert_true(dgm_processors_apply(&r.p, CODE, -1) == -1);
    assert_true(dgm_processors_apply(&r.p, 7, -1) == -2);
    free(r.mem);
}

static void what_would_repeat_an_ngram_is_banned(void **state)
{
    (void)state;
    const int32_t history[] = {EOS, CODE, 7, 8, 9, 7, 8, 4, 7, 8};
    dgm_decode_options o = feed_options(1, MAX_LENGTH);
    o.no_repeat_ngram = 3; /* 7 8 was followed by 9 and by 4 */
    rig r = make(&o);
    dgm_processors_read(&r.p, history, 10);
    assert_int_equal(r.p.n_touched, 2);
    assert_true(banned(&r, 9) && banned(&r, 4));
    assert_true(isinf(dgm_processors_apply(&r.p, 9, 1)));
    dgm_processors_read(&r.p, history, 2);
    assert_int_equal(r.p.n_touched, 0);
    r.p.ngram = 2;
    dgm_processors_read(&r.p, (int32_t[]){7, 7}, 2); /* the shortest history with a bigram */
    assert_true(banned(&r, 7));
    dgm_processors_read(&r.p, (int32_t[]){7}, 1);
    assert_false(banned(&r, 7));
    r.p.ngram = 1;
    dgm_processors_read(&r.p, history, 3);
    assert_true(banned(&r, EOS) && banned(&r, CODE) && banned(&r, 7));
    free(r.mem);
}

static void the_end_is_banned_below_the_minimum(void **state)
{
    (void)state;
    const int32_t history[] = {EOS, CODE, 7, 8};
    dgm_decode_options o = feed_options(1, MAX_LENGTH);
    o.min_length = 3;
    o.repetition_penalty = 2; /* </s> is penalised first, then banned: one entry */
    rig r = make(&o);
    dgm_processors_read(&r.p, history, 2);
    assert_true(banned(&r, EOS));
    assert_int_equal(r.p.n_touched, 2);
    dgm_processors_read(&r.p, history, 3);
    assert_false(banned(&r, EOS));
    free(r.mem);
}

/* As many distinct ids as fit, in an order that makes probes collide. */
static void the_set_holds_a_whole_history(void **state)
{
    (void)state;
    dgm_decode_options o = feed_options(1, MAX_LENGTH);
    o.repetition_penalty = 2;
    o.min_length = MAX_LENGTH + 1;
    rig r = make(&o);
    for (int stride = 1; stride < 300000; stride = stride * 3 + 1) {
        int32_t history[MAX_LENGTH];
        for (int i = 0; i < MAX_LENGTH; i++)
            history[i] = 10 + i * stride;
        dgm_processors_read(&r.p, history, MAX_LENGTH);
        assert_int_equal(r.p.n_touched, MAX_LENGTH + 1);
        for (int i = 0; i < MAX_LENGTH; i++) {
            assert_non_null(dgm_processors_find(&r.p, history[i]));
            assert_null(dgm_processors_find(&r.p, history[MAX_LENGTH - 1] + 1 + i));
        }
        assert_true(banned(&r, EOS));
    }
    free(r.mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_touched_when_off),
        cmocka_unit_test(repeated_ids_are_penalised_once),
        cmocka_unit_test(special_ids_can_be_left_out),
        cmocka_unit_test(what_would_repeat_an_ngram_is_banned),
        cmocka_unit_test(the_end_is_banned_below_the_minimum),
        cmocka_unit_test(the_set_holds_a_whole_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

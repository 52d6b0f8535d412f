/* Which sentences enter a step, and on which rank. */
#include "runtime/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { RANKS = 3, MOST = 32 };

static const dgm_engine_pace whole;

typedef struct taken {
    int n, rank[MOST], length[MOST], tokens[RANKS + 1], all;
} taken;

static void take(void *ctx, int rank, const dgm_job *job)
{
    taken *t = ctx;
    t->rank[t->n] = rank;
    t->length[t->n++] = job->n_source;
    t->tokens[rank] += job->n_source;
    t->all += job->n_source;
}

/* source - number `at`: another than the others. */
static const int32_t *source(uint64_t at)
{
    static int32_t ids[512];
    for (int i = 0; i < 512; i++)
        ids[i] = i;
    return ids + at;
}

static dgm_batch *fill(int slots, int batch_tokens, const int *lengths, int n)
{
    static const int32_t ids[2];
    const dgm_target target = {.prompt = ids, .n_prompt = 2};
    dgm_batch *b;
    assert_int_equal(dgm_batch_create(&b, RANKS, 1, slots, batch_tokens), DGM_OK);
    for (int i = 0; i < n; i++) {
        const dgm_job job = {.source = source((uint64_t)i),
                             .n_source = lengths[i],
                             .targets = &target,
                             .n_targets = 1};
        assert_int_equal(dgm_batch_push(b, &job), DGM_OK);
    }
    return b;
}

static void test_shares(void **state)
{
    (void)state;
    const int lengths[] = {10, 10, 10, 10, 10, 10, 10, 10, 10, 10};
    dgm_batch *b = fill(8, 60, lengths, 10);
    taken t = {0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 6);
    for (int r = 0; r < RANKS; r++)
        assert_int_equal(t.tokens[r], 20);
    assert_int_equal(dgm_batch_waiting(b), 4);
    assert_int_equal(dgm_batch_running(b), 6);
    dgm_batch_destroy(b);
}

/* A rank whose slots are the freest gets no more than its share, and order is kept. */
static void test_one_free_rank(void **state)
{
    (void)state;
    const int lengths[] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5};
    dgm_batch *b = fill(4, 1000, lengths, 12);
    taken t = {0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 12);
    for (int i = 0; i < 4; i++)
        dgm_batch_done(b, 1);
    dgm_batch_destroy(b);

    b = fill(8, 30, lengths, 12);
    t = (taken){0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 6);
    for (int i = 0; i < 2; i++)
        dgm_batch_done(b, 1);
    t = (taken){0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 6);
    assert_int_equal(t.rank[0], 1);
    assert_int_equal(t.tokens[1], 10);
    dgm_batch_destroy(b);
}

/* A sentence longer than a share, or than all of batch_tokens, still enters. */
static void test_long(void **state)
{
    (void)state;
    const int lengths[] = {100, 3, 25, 4};
    dgm_batch *b = fill(8, 30, lengths, 4);
    taken t = {0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 1);
    assert_int_equal(t.length[0], 100);
    t = (taken){0};
    dgm_batch_form(
        b, &whole, take,
        &t); /* 3 on one rank, 25 on another, which exceeds its share of 10; 4 would make 32 */
    assert_int_equal(t.n, 2);
    assert_int_equal(t.length[0], 3);
    assert_int_equal(t.length[1], 25);
    assert_true(t.rank[0] != t.rank[1]);
    t = (taken){0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 1);
    assert_int_equal(dgm_batch_waiting(b), 0);
    dgm_batch_destroy(b);
}

static void push(dgm_batch *b, uint64_t id, int n_source, bool urgent)
{
    static const int32_t ids[2];
    const dgm_target target = {.prompt = ids, .n_prompt = 2};
    const dgm_job job = {.id = id,
                         .source = source(id % 100),
                         .n_source = n_source,
                         .targets = &target,
                         .n_targets = 1,
                         .urgent = urgent};
    assert_int_equal(dgm_batch_push(b, &job), DGM_OK);
}

/* What is urgent goes first, in its own order, and alone where the step says so; a cap on what enters holds for both. */
static void test_urgent(void **state)
{
    (void)state;
    dgm_batch *b = fill(8, 1000, NULL, 0);
    push(b, 1, 10, false);
    push(b, 2, 11, false);
    push(b, 3, 20, true);
    push(b, 4, 21, true);
    taken t = {0};
    const dgm_engine_pace urgent = {.urgent_only = true}, few = {.encode_tokens = 25};
    dgm_batch_form(b, &few, take,
                   &t); /* one of the others enters all the same: urgent ones may never end */
    assert_int_equal(t.n, 2);
    assert_int_equal(t.length[0], 20);
    assert_int_equal(t.length[1], 10);
    dgm_batch_form(b, &urgent, take, &t);
    assert_int_equal(t.n, 3);
    assert_int_equal(t.length[2], 21);
    push(b, 5, 22, true);
    push(b, 6, 12, false);
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 6);
    assert_int_equal(t.length[3], 22);
    assert_int_equal(t.length[4], 11);
    assert_int_equal(t.length[5], 12);
    dgm_batch_destroy(b);
}

/* One source goes where it went before, as it may be encoded there, unless that has far fewer slots left; other sources are spread. */
static void test_one_source_on_one_rank(void **state)
{
    (void)state;
    dgm_batch *b = fill(8, 1000, NULL, 0);
    for (uint64_t i = 0; i < 5; i++) {
        push(b, 7 + 100 * i, 10, false);
        push(b, 20 + i, 10, false);
    }
    taken t = {0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 10);
    for (int i = 0; i < 10; i += 2)
        assert_int_equal(t.rank[i], t.rank[0]);
    for (int i = 1; i < 10; i += 2)
        assert_int_not_equal(t.rank[i], t.rank[0]);
    for (uint64_t i = 0; i < 5;
         i++) /* 3 of 8 are left there, 5 and 6 elsewhere, then 2, and 1 would not do */
        push(b, 7 + 100 * i, 10, false);
    t = (taken){0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 5);
    assert_int_equal(t.rank[0], 0);
    assert_int_not_equal(t.rank[1], 0);
    dgm_batch_destroy(b);
}

/* What is dropped never enters, and what comes later still finds the end of the queue. */
static void test_drop(void **state)
{
    (void)state;
    dgm_batch *b = fill(8, 1000, NULL, 0);
    push(b, 1, 10, false);
    push(b, 2, 11, false);
    push(b, 2, 12, false);
    assert_int_equal(dgm_batch_drop(b, 2), 2);
    assert_int_equal(dgm_batch_drop(b, 2), 0);
    push(b, 3, 13, false);
    assert_int_equal(dgm_batch_waiting(b), 2);
    taken t = {0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.length[1], 13);
    dgm_batch_destroy(b);
}

/* Groups of ranks 0 2 and 1 3: who waits for one holds up nobody of the other, and each keeps its order. */
static void test_groups(void **state)
{
    (void)state;
    static const int groups[] = {1, 1, 1, 0, 1, 0, 0, 0, 1}, want[] = {1, 3, 0, 2};
    static const int32_t ids[16];
    const dgm_target target = {.prompt = ids, .n_prompt = 2};
    dgm_batch *b;
    assert_int_equal(dgm_batch_create(&b, 4, 2, 1, 1000), DGM_OK);
    for (int i = 0; i < 9; i++) {
        const dgm_job job = {.source = ids,
                             .n_source = i + 2,
                             .targets = &target,
                             .n_targets = 1,
                             .group = groups[i]};
        assert_int_equal(dgm_batch_push(b, &job), DGM_OK);
    }
    taken t = {0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(t.rank[i], want[i]);
    assert_int_equal(t.length[2], 5);
    assert_int_equal(t.length[3], 7);
    dgm_batch_done(b, 2);
    t = (taken){0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 1);
    assert_int_equal(t.rank[0], 2);
    assert_int_equal(t.length[0], 8);
    for (int r = 0; r < 4; r++)
        dgm_batch_done(b, r);
    t = (taken){0};
    dgm_batch_form(b, &whole, take, &t);
    assert_int_equal(t.n, 3);
    assert_int_equal(t.length[0], 4);
    assert_int_equal(t.length[1], 6);
    assert_int_equal(t.rank[1], 3);
    assert_int_equal(t.length[2], 9); /* the last of the queue */
    assert_int_equal(t.rank[2], 0);
    assert_int_equal(dgm_batch_waiting(b), 1);
    const dgm_job more = {
        .source = ids, .n_source = 3, .targets = &target, .n_targets = 1, .group = 0};
    assert_int_equal(dgm_batch_push(b, &more), DGM_OK);
    assert_int_equal(dgm_batch_waiting(b), 2);
    dgm_batch_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urgent),        cmocka_unit_test(test_one_source_on_one_rank),
        cmocka_unit_test(test_drop),          cmocka_unit_test(test_shares),
        cmocka_unit_test(test_one_free_rank), cmocka_unit_test(test_long),
        cmocka_unit_test(test_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

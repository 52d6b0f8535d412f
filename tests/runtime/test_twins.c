/* Equal jobs in flight: who may join whom, and who is told. */
#include "runtime/twins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const int32_t source[] = {9, 4, 5, 2}, prompt[] = {2, 9};
static const dgm_target targets[] = {{.prompt = prompt, .n_prompt = 2},
                                     {.prompt = prompt, .n_prompt = 2}};

static uint64_t join(dgm_twins *t, uint64_t id, bool *first)
{
    uint64_t key = 0;
    const dgm_job job = {
        .id = id, .line = id, .source = source, .n_source = 4, .targets = targets, .n_targets = 2};
    assert_int_equal(dgm_twins_join(t, &job, false, &key, first), DGM_OK);
    return key;
}

/* A target that is done was told to those who had come; one who comes then would wait for it for ever. */
static void nobody_joins_a_job_of_which_a_target_is_done(void **state)
{
    (void)state;
    dgm_twins *t;
    bool first;
    int n;
    assert_int_equal(dgm_twins_create(&t), DGM_OK);
    const uint64_t a = join(t, 1, &first);
    assert_true(first);
    assert_true(join(t, 2, &first) == a && !first);
    assert_int_equal(dgm_twins_echoes(t), 2);
    const uint64_t *ids = dgm_twins_done(t, a, &n);
    assert_true(n == 2 && ids[0] == 1 && ids[1] == 2);
    const uint64_t b = join(t, 3, &first);
    assert_true(first && b != a);
    assert_true(join(t, 4, &first) == b && !first);
    ids = dgm_twins_done(t, a, &n);
    assert_true(n == 2 && ids[0] == 1 && ids[1] == 2);
    assert_int_equal(dgm_twins_echoes(t), 2);
    dgm_twins_destroy(t); /* b is in flight: nothing leaks */
}

static void a_job_that_could_not_be_submitted_is_forgotten(void **state)
{
    (void)state;
    dgm_twins *t;
    bool first;
    assert_int_equal(dgm_twins_create(&t), DGM_OK);
    dgm_twins_leave(t, join(t, 1, &first));
    (void)join(t, 2, &first);
    assert_true(first);
    dgm_twins_destroy(t);
}

/* Who no longer wants a job is not told; it ends for the others, and when nobody is left nobody can join it. */
static void a_dropped_job_tells_nobody(void **state)
{
    (void)state;
    dgm_twins *t;
    bool first, wanted;
    uint64_t key;
    int n;
    assert_int_equal(dgm_twins_create(&t), DGM_OK);
    const uint64_t a = join(t, 1, &first);
    (void)join(t, 2, &first);
    assert_false(dgm_twins_drop(t, 9, &key, &wanted));
    assert_true(dgm_twins_drop(t, 1, &key, &wanted) && key == a && wanted);
    assert_false(dgm_twins_drop(t, 1, &key, &wanted));
    assert_int_equal(dgm_twins_echoes(t), 0);
    const uint64_t *ids = dgm_twins_done(t, a, &n);
    assert_true(n == 1 && ids[0] == 2);
    assert_int_equal(dgm_twins_left(t, a), 1);
    assert_true(dgm_twins_drop(t, 2, &key, &wanted) && key == a && !wanted);
    (void)dgm_twins_done(t, a, &n);
    assert_int_equal(n, 0);
    const uint64_t b = join(t, 3, &first);
    assert_true(dgm_twins_drop(t, 3, &key, &wanted) && key == b && !wanted);
    assert_true(join(t, 4, &first) != b && first);
    dgm_twins_forget(t, b, 1);
    dgm_twins_forget(t, b, 1); /* gone */
    assert_int_equal(dgm_twins_echoes(t), 0);
    dgm_twins_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dropped_job_tells_nobody),
        cmocka_unit_test(nobody_joins_a_job_of_which_a_target_is_done),
        cmocka_unit_test(a_job_that_could_not_be_submitted_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

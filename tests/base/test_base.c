/* status, arena, floating-point mode and thread pool. */
#include "base/arena.h"
#include "base/fpenv.h"
#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void a_sentence_may_wrap_the_last_one(void **state)
{
    (void)state;
    assert_int_equal(dgm_fail(DGM_EMODEL, "want %d, found %d", 3, 4), DGM_EMODEL);
    (void)dgm_fail(DGM_EMODEL, "layer 2: %s", dgm_error_text());
    assert_string_equal(dgm_error_text(), "layer 2: want 3, found 4");
}

/* Sentences quote what clients sent, and cut it: they must not forge a line of a log, nor break the frame that carries them. */
static void a_sentence_is_one_line_of_text(void **state)
{
    (void)state;
    (void)dgm_fail(DGM_EUSAGE, "language '%.4s' is unknown", "a\xc3\xa9\xc3\xa9");
    assert_string_equal(dgm_error_text(), "language 'a\xc3\xa9?' is unknown");
    (void)dgm_fail(DGM_EUSAGE, "found '%s'", "x\n\x1b\x7f\xff\xfey");
    assert_string_equal(dgm_error_text(), "found 'x   ??y'");
}

static void statuses_have_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(dgm_exit_code(DGM_OK), 0);
    assert_int_equal(dgm_exit_code(DGM_EUSAGE), 2);
    assert_int_equal(dgm_exit_code(DGM_EMODEL), 3);
    assert_int_equal(dgm_exit_code(DGM_EINPUT), 4);
    assert_int_equal(dgm_exit_code(DGM_EOUTPUT), 5);
    assert_int_equal(dgm_exit_code(DGM_EPEER), 6);
    assert_int_equal(dgm_exit_code(DGM_EDEADLINE), 6);
    assert_int_equal(dgm_exit_code(DGM_EINTERNAL), 7);
    assert_int_equal(dgm_exit_code(DGM_EBUSY), 8);
    assert_int_equal(dgm_exit_code(-999), 7);
    assert_string_equal(dgm_status_name(DGM_EPEER), "EPEER");
}

static void an_arena_gives_aligned_zeros_and_takes_back(void **state)
{
    (void)state;
    dgm_arena a;
    assert_int_equal(dgm_arena_init(&a, 1000), DGM_OK);
    char *first = dgm_arena_push(&a, 1);
    const size_t mark = dgm_arena_mark(&a);
    char *second = dgm_arena_push(&a, 65);
    assert_int_equal((uintptr_t)first % 64, 0);
    assert_int_equal(second - first, 64);
    assert_int_equal(second[64], 0);
    assert_int_equal(a.used, 64 + 128);
    dgm_arena_pop(&a, mark);
    assert_ptr_equal(dgm_arena_push(&a, 10), second);
    assert_int_equal(a.peak, 64 + 128);
    dgm_arena_fini(&a);
}

static void a_changed_float_mode_is_noticed(void **state)
{
    (void)state;
    dgm_fpenv_set();
    assert_int_equal(dgm_fpenv_check("here"), DGM_OK);
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(0x9fc0); /* FTZ and DAZ, as code linked with -ffast-math sets them */
    const int rc = dgm_fpenv_check("after dlopen");
    dgm_fpenv_set();
    assert_int_equal(rc, DGM_EINTERNAL);
    assert_non_null(strstr(dgm_error_text(), "after dlopen"));
    assert_int_equal(dgm_fpenv_check("here"), DGM_OK);
#endif
}

typedef struct tally {
    _Atomic int calls, parts_seen, bad_mode;
    int n_parts;
} tally;

static void count(void *ctx, int part, int n_parts)
{
    tally *t = ctx;
    atomic_fetch_add(&t->calls, 1);
    atomic_fetch_or(&t->parts_seen, 1 << part);
    if (dgm_fpenv_check("part") != DGM_OK)
        atomic_fetch_add(&t->bad_mode, 1);
    if (part == 0)
        t->n_parts = n_parts;
}

static void every_part_runs_once(void **state)
{
    (void)state;
    for (int n = 1; n <= 5; n++) {
        dgm_pool *p;
        assert_int_equal(dgm_pool_create(&p, n), DGM_OK);
        assert_int_equal(dgm_pool_size(p), n);
        for (int round = 0; round < 2000; round++) {
            tally t = {0};
            dgm_pool_run(p, count, &t);
            assert_int_equal(t.calls, n);
            assert_int_equal(t.parts_seen, (1 << n) - 1);
            assert_int_equal(t.n_parts, n);
            assert_int_equal(t.bad_mode, 0);
        }
        dgm_pool_destroy(p);
    }
    tally t = {0};
    dgm_pool_run(NULL, count, &t);
    assert_int_equal(t.calls, 1);
}

static void shares_cover_everything_once(void **state)
{
    (void)state;
    for (int n = 0; n < 40; n++) {
        for (int parts = 1; parts < 9; parts++) {
            int next = 0;
            for (int i = 0; i < parts; i++) {
                int begin, end;
                dgm_pool_share(&begin, &end, n, i, parts);
                assert_int_equal(begin, next);
                assert_in_range(end - begin, n / parts, n / parts + 1);
                next = end;
            }
            assert_int_equal(next, n);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sentence_may_wrap_the_last_one),
        cmocka_unit_test(a_sentence_is_one_line_of_text),
        cmocka_unit_test(statuses_have_exit_codes),
        cmocka_unit_test(an_arena_gives_aligned_zeros_and_takes_back),
        cmocka_unit_test(a_changed_float_mode_is_noticed),
        cmocka_unit_test(every_part_runs_once),
        cmocka_unit_test(shares_cover_everything_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

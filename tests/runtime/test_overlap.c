/* What --overlap auto makes of the time that steps take. */
#include "runtime/overlap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Runs n steps that take `without` or `with` seconds; how many ran in two halves. */
static int steps(dgm_overlap *o, int n, double without, double with)
{
    int halves = 0;
    for (int i = 0; i < n; i++) {
        const bool two = dgm_overlap_next(o);
        halves += two;
        dgm_overlap_took(o, two ? with : without);
    }
    return halves;
}

static void test_fixed(void **state)
{
    (void)state;
    dgm_overlap o;
    for (int hosts = 0; hosts < 2; hosts++) {
        dgm_overlap_init(&o, DGM_OVERLAP_ON, hosts > 0);
        assert_int_equal(steps(&o, 2000, 1, 2), 2000);
        dgm_overlap_init(&o, DGM_OVERLAP_OFF, hosts > 0);
        assert_int_equal(steps(&o, 2000, 2, 1), 0);
    }
    dgm_overlap_init(&o, DGM_OVERLAP_AUTO, false);
    assert_int_equal(steps(&o, 2000, 2, 1), 0);
}

static void test_the_faster_is_kept(void **state)
{
    (void)state;
    const int trial = 2 * DGM_OVERLAP_TRIES;
    dgm_overlap o;
    dgm_overlap_init(&o, DGM_OVERLAP_AUTO, true);
    assert_int_equal(steps(&o, trial, 2, 1), DGM_OVERLAP_TRIES);
    assert_int_equal(steps(&o, DGM_OVERLAP_KEEP, 2, 1), DGM_OVERLAP_KEEP);
    /* things have changed */
    assert_int_equal(steps(&o, trial, 1, 2), DGM_OVERLAP_TRIES);
    assert_int_equal(steps(&o, DGM_OVERLAP_KEEP, 1, 2), 0);
    /* no gain, no halves */
    assert_int_equal(steps(&o, trial, 1, 1), DGM_OVERLAP_TRIES);
    assert_int_equal(steps(&o, DGM_OVERLAP_KEEP, 1, 1), 0);
}

/* Four slow steps of nine decide nothing. */
static void test_odd_steps(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        dgm_overlap o;
        dgm_overlap_init(&o, DGM_OVERLAP_AUTO, true);
        for (int i = 0; i < 2 * DGM_OVERLAP_TRIES; i++) {
            const int two = dgm_overlap_next(&o);
            dgm_overlap_took(&o, two != which ? 1 : i < 8 ? 50 : 0.9);
        }
        assert_int_equal(steps(&o, DGM_OVERLAP_KEEP, 1, 1), which * DGM_OVERLAP_KEEP);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_the_faster_is_kept),
        cmocka_unit_test(test_odd_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

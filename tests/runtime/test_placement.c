#include "runtime/placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* 2 layers, 5 experts, 3 ranks: each layer is 0 1 2 0 1. */
static void round_robin(void **state)
{
    (void)state;
    dgm_placement p;
    assert_int_equal(dgm_placement_init(&p, 2, 5, 3), DGM_OK);
    assert_int_equal(p.epoch, 0);
    assert_int_equal(p.ranks, 3);
    static const int want[] = {0, 1, 2, 0, 1};
    for (int l = 0; l < 2; l++)
        for (int e = 0; e < 5; e++)
            assert_int_equal(dgm_placement_owner(&p, l, e), want[e]);
    dgm_placement_fini(&p);
    assert_null(p.owner);
}

static void more_ranks_than_experts(void **state)
{
    (void)state;
    dgm_placement p;
    assert_int_equal(dgm_placement_init(&p, 1, 2, 8), DGM_OK);
    assert_int_equal(dgm_placement_owner(&p, 0, 0), 0);
    assert_int_equal(dgm_placement_owner(&p, 0, 1), 1);
    dgm_placement_fini(&p);
    assert_int_equal(dgm_placement_init(&p, 0, 0, 8), DGM_OK); /* a dense model */
    dgm_placement_fini(&p);
}

static void counts_agree_with_owners(void **state)
{
    (void)state;
    for (int experts = 0; experts < 20; experts++) {
        for (int ranks = 1; ranks < 25; ranks++) {
            int n[25] = {0};
            for (int e = 0; e < experts; e++)
                n[dgm_placement_default_owner(e, ranks)]++;
            for (int r = 0; r < ranks; r++)
                assert_int_equal(dgm_placement_default_count(experts, r, ranks), n[r]);
        }
    }
}

static void refuses_bad_ranks(void **state)
{
    (void)state;
    dgm_placement p;
    assert_int_equal(dgm_placement_init(&p, 1, 2, 0), DGM_EUSAGE);
    assert_int_equal(dgm_placement_init(&p, 1, 2, 40000), DGM_EUSAGE);
    assert_non_null(strstr(dgm_error_text(), "found 40000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin),
        cmocka_unit_test(more_ranks_than_experts),
        cmocka_unit_test(counts_agree_with_owners),
        cmocka_unit_test(refuses_bad_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

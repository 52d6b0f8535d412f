/* Which table a name gives, and what is said where there is none. */
#include "tests/kernels/isas.h"

static void names_and_levels_match(void **state)
{
    (void)state;
    assert_int_equal(dgm_kernels_level("ref"), 0);
    assert_int_equal(dgm_kernels_level("avx2"), 1);
    assert_int_equal(dgm_kernels_level("avx512"), 2);
    assert_int_equal(dgm_kernels_level("vnni"), 3);
    assert_int_equal(dgm_kernels_level("sse9"), -1);
    assert_string_equal(dgm_kernels_level_name(2), "avx512");
    assert_string_equal(dgm_kernels_level_name(3), "vnni");
    assert_null(dgm_kernels_level_name(4));
    assert_null(dgm_kernels_level_name(-1));
}

static void auto_is_the_best_and_all_below_it_work(void **state)
{
    (void)state;
    static const char *const any[] = {NULL, "", "auto"};
    dgm_kernels best, k;
    assert_int_equal(dgm_kernels_select(&best, "auto"), DGM_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dgm_kernels_select(&k, any[i]), DGM_OK);
        assert_string_equal(k.isa, best.isa);
    }
    for (int l = 0; l <= dgm_kernels_level(best.isa); l++) {
        assert_int_equal(dgm_kernels_select(&k, dgm_kernels_level_name(l)), DGM_OK);
        assert_string_equal(k.isa, dgm_kernels_level_name(l));
    }
}

static void an_unknown_name_is_refused(void **state)
{
    (void)state;
    dgm_kernels k;
    assert_int_equal(dgm_kernels_select(&k, "avx3"), DGM_EUSAGE);
    assert_non_null(strstr(dgm_error_text(), "avx3"));
}

static void what_the_cpu_lacks_is_refused(void **state)
{
    (void)state;
    dgm_kernels best, k;
    assert_int_equal(dgm_kernels_select(&best, NULL), DGM_OK);
    const char *more = dgm_kernels_level_name(dgm_kernels_level(best.isa) + 1);
    if (more == NULL) {
        print_message("[  SKIPPED ] this cpu has every instruction set there is a table for\n");
        skip();
    }
    assert_int_equal(dgm_kernels_select(&k, more), DGM_EUNSUPPORTED);
    assert_non_null(strstr(dgm_error_text(), best.isa));
}

static void every_entry_is_filled(void **state)
{
    const dgm_kernels k = isa_of(state);
    assert_true(k.tile_rows >= 1 && k.tile_rows <= DGM_MAX_TILE_ROWS && k.tile_panels >= 1);
    assert_true(k.thin_rows >= 1);
    assert_true(k.isa && k.gemm_tile && k.gemm_rows && k.finish && k.layer_norm && k.dot);
    assert_true(k.attend && k.block_max_sum && k.exp_shift && k.above && k.weigh && k.add);
    assert_true(k.embed && k.fma_peak && k.dot_peak);
    assert_true(k.tile_panels <= DGM_MAX_TILE_PANELS);
    assert_true(k.dot_tile_rows >= 1 && k.dot_tile_rows <= DGM_MAX_TILE_ROWS);
    assert_true(k.dot_thin_rows >= 1 && k.dot_tile && k.dot_rows && k.wide_rows && k.widen);
    assert_true(k.picked_thin_rows >= 1 && k.picked_thin_rows <= DGM_MAX_TILE_ROWS &&
                k.picked_rows);
    assert_true(k.quantize_row && k.sum_row && k.finish_scaled && k.finish_integers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_levels_match),
        cmocka_unit_test(auto_is_the_best_and_all_below_it_work),
        cmocka_unit_test(an_unknown_name_is_refused),
        cmocka_unit_test(what_the_cpu_lacks_is_refused),
        PER_ISA(every_entry_is_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

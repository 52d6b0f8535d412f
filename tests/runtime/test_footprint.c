/* The batch that memory allows: less memory, smaller batch; what the user gave stays. */
#include "runtime/footprint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* About NLLB-MoE's shape; only the configuration is looked at. */
static dgm_model big(void)
{
    dgm_model m = {.cfg = {.d_model = 2048, .vocab_size = 256206, .top_k = 2}};
    for (int s = 0; s < DGM_STACKS; s++) {
        m.cfg.ffn_dim[s] = 8192;
        m.cfg.n_heads[s] = 16;
        m.cfg.n_layers[s] = 24;
        m.cfg.n_experts[s] = 128;
    }
    return m;
}

static dgm_engine_config wanted(void)
{
    return (dgm_engine_config){
        .usual_rows = DGM_USUAL_ROWS, .max_beam = 4, .max_source = 200, .max_target = 200};
}

static void test_plenty(void **state)
{
    (void)state;
    const dgm_model m = big();
    dgm_engine_config c = wanted();
    assert_true(dgm_choose_batch(&c, &m, 1, 2, 1e15));
    assert_int_equal(c.batch_tokens, DGM_USUAL_TOKENS);
    assert_int_equal(c.batch_rows, DGM_USUAL_ROWS);
    c = wanted();
    c.dense_ranks = 3;
    assert_true(dgm_choose_batch(&c, &m, 8, 2, 1e15));
    assert_int_equal(c.batch_tokens, 3 * DGM_USUAL_TOKENS);
    assert_int_equal(c.batch_rows, 3 * DGM_USUAL_ROWS);
}

/* Room for a wider beam now and then is reserved, not counted: the batch is that of the usual beam. */
static void test_wider_beams(void **state)
{
    (void)state;
    const dgm_model m = big();
    dgm_engine_config c = wanted(), wide = wanted();
    wide.usual_beam = c.max_beam;
    wide.max_beam = 2 * c.max_beam;
    assert_true(dgm_choose_batch(&c, &m, 1, 2, 1e15) && dgm_choose_batch(&wide, &m, 1, 2, 1e15));
    assert_int_equal(wide.batch_rows, c.batch_rows);
    assert_true(dgm_footprint(&wide, &m, 1, 2) < 1.01 * dgm_footprint(&c, &m, 1, 2));
}

static void test_short(void **state)
{
    (void)state;
    const dgm_model m = big();
    int before = DGM_USUAL_ROWS + 1;
    for (double gib = 64; gib >= 2; gib /= 2) {
        dgm_engine_config c = wanted();
        const double budget = gib * (1 << 30);
        assert_true(dgm_choose_batch(&c, &m, 1, 2, budget));
        assert_true(dgm_footprint(&c, &m, 1, 2) <= budget);
        assert_true(c.batch_rows <= before);
        before = c.batch_rows;
        if (c.batch_rows < DGM_USUAL_ROWS) { /* twice as much would not have fitted */
            c.batch_rows *= 2;
            c.batch_tokens *= 2;
            assert_true(dgm_footprint(&c, &m, 1, 2) > budget);
        }
    }
    assert_true(before < DGM_USUAL_ROWS);
}

static void test_too_short(void **state)
{
    (void)state;
    const dgm_model m = big();
    dgm_engine_config c = wanted();
    assert_false(dgm_choose_batch(&c, &m, 2, 2, -1));
    assert_int_equal(c.batch_tokens, 2 * DGM_USUAL_LENGTH);
    assert_int_equal(c.batch_rows, 2 * c.max_beam);
}

static void test_given(void **state)
{
    (void)state;
    const dgm_model m = big();
    dgm_engine_config c = wanted();
    c.batch_rows = 300;
    c.batch_tokens = 7000;
    assert_false(dgm_choose_batch(&c, &m, 1, 2, 1 << 20));
    assert_int_equal(c.batch_rows, 300);
    assert_int_equal(c.batch_tokens, 7000);
    c.batch_tokens = 0;
    assert_false(dgm_choose_batch(&c, &m, 1, 2, 1 << 20));
    assert_int_equal(c.batch_rows, 300);
    assert_int_equal(c.batch_tokens, DGM_USUAL_LENGTH);
}

static void test_grows(void **state)
{
    (void)state;
    const dgm_model m = big();
    dgm_engine_config c = wanted();
    assert_true(dgm_choose_batch(&c, &m, 1, 2, 1e15));
    const double one = dgm_footprint(&c, &m, 1, 2), two = dgm_footprint(&c, &m, 2, 2);
    c.kv_bf16 = true;
    const double small = dgm_footprint(&c, &m, 1, 2);
    assert_true(small < one);
    assert_true(two < one); /* half the batch each, and room for rows that travel */
    /* The caches alone: 512 rows and 128 sentences of 64 positions in 24 layers. */
    assert_true(one - small >= 640.0 * 64 * 24 * 2 * 2048 * 2 - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plenty), cmocka_unit_test(test_wider_beams),
        cmocka_unit_test(test_short),  cmocka_unit_test(test_too_short),
        cmocka_unit_test(test_given),  cmocka_unit_test(test_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

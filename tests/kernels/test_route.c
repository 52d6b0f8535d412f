/* The router: who is chosen, with which gates, and what is refused. */
#include "tests/kernels/isas.h"

#include "kernels/math.h"
#include "kernels/route.h"

static void check(const float *logits, int n, int a, int b)
{
    int32_t idx[2];
    float gate[2];
    assert_int_equal(dgm_route_top2(idx, gate, logits, n), DGM_OK);
    assert_int_equal(idx[0], a);
    assert_int_equal(idx[1], b);
    const float e = b < 0 ? 0.0f : dgm_exp(logits[b] - logits[a]);
    const float want[2] = {1.0f / (1.0f + e), e / (1.0f + e)};
    assert_same_bits(gate, want, 2, "gates of %d and %d", a, b);
}

static void the_two_best_ties_to_the_lower_id(void **state)
{
    (void)state;
    check((const float[]){1, 2, 3, 4}, 4, 3, 2);
    check((const float[]){4, 3, 2, 1}, 4, 0, 1);
    check((const float[]){2, 2, 2, 2}, 4, 0, 1);
    check((const float[]){1, 5, 0, 5}, 4, 1, 3);
    check((const float[]){5, 1, 4, 4}, 4, 0, 2);
    check((const float[]){0.0f, -0.0f, -1}, 3, 0, 1);
    check((const float[]){-3, -200}, 2, 0, 1);
}

static void random_rows_agree_with_sorting(void **state)
{
    (void)state;
    for (int trial = 0; trial < 2000; trial++) {
        float l[128];
        const int n = 2 + (int)test_random(127);
        for (int i = 0; i < n; i++)
            l[i] = (float)test_random(trial % 2 == 0 ? 10 : 1000) * 0.1f;
        int a = 0, b = -1;
        for (int i = 1; i < n; i++)
            a = l[i] > l[a] ? i : a;
        for (int i = 0; i < n; i++)
            b = i != a && (b < 0 || l[i] > l[b]) ? i : b;
        check(l, n, a, b);
    }
}

/* Masking experts and cutting their rows out must be the same router. */
static void a_masked_router_is_a_sliced_one(void **state)
{
    (void)state;
    for (int trial = 0; trial < 500; trial++) {
        float whole[64], sliced[64];
        int32_t id[64], got[2], cut[2];
        float g[2], h[2];
        int kept = 0;
        for (int i = 0; i < 64; i++) {
            whole[i] = (float)test_random(50);
            if (test_random(4) == 0 || (i == 63 && kept == 0)) {
                id[kept] = i;
                sliced[kept++] = whole[i];
            } else {
                whole[i] = -INFINITY;
            }
        }
        assert_int_equal(dgm_route_top2(got, g, whole, 64), DGM_OK);
        assert_int_equal(dgm_route_top2(cut, h, sliced, kept), DGM_OK);
        assert_int_equal(got[0], id[cut[0]]);
        assert_int_equal(got[1], cut[1] < 0 ? -1 : id[cut[1]]);
        assert_same_bits(g, h, 2, "gates, %d kept", kept);
    }
}

static void one_expert_takes_all(void **state)
{
    (void)state;
    const float inf = -INFINITY;
    check((const float[]){-7}, 1, 0, -1);
    check((const float[]){inf, 3, inf}, 3, 1, -1);
}

static void what_is_not_a_number_is_refused(void **state)
{
    (void)state;
    int32_t idx[2] = {7, 7};
    float gate[2] = {7, 7};
    const float nan_last[] = {1, 2, NAN}, none[] = {-INFINITY, -INFINITY}, top[] = {INFINITY, 1};
    assert_int_equal(dgm_route_top2(idx, gate, nan_last, 3), DGM_ENAN);
    assert_non_null(strstr(dgm_error_text(), "expert 2"));
    assert_int_equal(dgm_route_top2(idx, gate, none, 2), DGM_ENAN);
    assert_int_equal(dgm_route_top2(idx, gate, top, 2), DGM_ENAN);
    assert_true(idx[0] == 7 && idx[1] == 7 && gate[0] == 7 && gate[1] == 7);
}

/* The gate of the best: its softmax over all, by the 16-lane rule, the same in every instruction set. */
static void top_1_is_a_softmax(void **state)
{
    const dgm_kernels k = isa_of(state);
    test_seed(3);
    for (int trial = 0; trial < 400; trial++) {
        float l[130], lane[16] = {0};
        const int n = 1 + (int)test_random(130);
        int a = 0;
        double sum = 0;
        for (int i = 0; i < n; i++)
            l[i] = i > 0 && test_random(9) == 0 ? -INFINITY : (float)test_random(400) * 0.02f;
        for (int i = 1; i < n; i++)
            a = l[i] > l[a] ? i : a;
        for (int i = 0; i < n; i++) {
            lane[i % 16] += dgm_exp(l[i] - l[a]);
            sum += exp((double)l[i] - (double)l[a]);
        }
        for (int w = 8; w > 0; w /= 2)
            for (int i = 0; i < w; i++)
                lane[i] += lane[i + w];
        int32_t idx[2];
        float gate[2];
        assert_int_equal(dgm_route_top1(idx, gate, &k, l, n), DGM_OK);
        assert_int_equal(idx[0], a);
        assert_int_equal(idx[1], -1);
        const float want[2] = {1.0f / lane[0], 0};
        assert_same_bits(gate, want, 2, "gate of %d of %d", a, n);
        assert_true(fabs((double)gate[0] * sum - 1) < 1e-6);
    }
}

static void top_1_refuses_the_same(void **state)
{
    const dgm_kernels k = isa_of(state);
    int32_t idx[2] = {7, 7};
    float gate[2] = {7, 7};
    const float nan_last[] = {1, 2, NAN}, none[] = {-INFINITY, -INFINITY}, top[] = {INFINITY, 1};
    assert_int_equal(dgm_route_top1(idx, gate, &k, nan_last, 3), DGM_ENAN);
    assert_int_equal(dgm_route_top1(idx, gate, &k, none, 2), DGM_ENAN);
    assert_int_equal(dgm_route_top1(idx, gate, &k, top, 2), DGM_ENAN);
    assert_true(idx[0] == 7 && idx[1] == 7 && gate[0] == 7 && gate[1] == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_two_best_ties_to_the_lower_id),
        cmocka_unit_test(random_rows_agree_with_sorting),
        cmocka_unit_test(a_masked_router_is_a_sliced_one),
        cmocka_unit_test(one_expert_takes_all),
        cmocka_unit_test(what_is_not_a_number_is_refused),
        PER_ISA(top_1_is_a_softmax),
        PER_ISA(top_1_refuses_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

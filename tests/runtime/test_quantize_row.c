/* Integers and scales of a row against formulas written down once more, with libm's round in double precision. */
#include "runtime/quantize_row.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_K = 300, MAX_GROUPS = 10 };

static uint64_t seed = 1;

/* Roughly normal, as weights are. */
static float draw(void)
{
    float sum = 0;
    for (int i = 0; i < 6; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(seed >> 40) / (1 << 24) - 0.5f;
    }
    return sum * 0.05f;
}

static int expected(float w, float s, int half, enum dgm_scale_rule rule)
{
    /* the quotient is a float: half away is decided on that */
    const double q = round((double)(w / s));
    const double low = rule == DGM_SCALE_PAPER ? -half : 1 - half, high = half - 1;
    return (int)(q < low ? low : q > high ? high : q);
}

static double error_of(const float *w, const int8_t *q, float s, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        const double d = (double)w[i] - (double)((float)q[i] * s);
        sum += d * d;
    }
    return sum;
}

static void check_row(const float *w, int k, const dgm_quantizer *z)
{
    int8_t q[MAX_K];
    float scale[MAX_GROUPS];
    const int half = z->type == DGM_W_INT4 ? 8 : 128, step = z->group == 0 ? k : z->group;
    dgm_quantize_row(q, scale, w, k, z);
    for (int i = 0, g = 0; i < k; i += step, g++) {
        const int n = k - i < step ? k - i : step;
        float amax = 0;
        for (int x = i; x < i + n; x++)
            amax = fabsf(w[x]) > amax ? fabsf(w[x]) : amax;
        if (!z->clip) {
            const float want = amax / (float)(z->rule == DGM_SCALE_PAPER ? half : half - 1);
            assert_memory_equal(&want, &scale[g], sizeof want);
        }
        for (int x = i; x < i + n; x++)
            if (q[x] != expected(w[x], scale[g], half, z->rule))
                fail_msg("weight %d, %.9g of scale %.9g: found %d", x, (double)w[x],
                         (double)scale[g], q[x]);
    }
}

static void rows_follow_the_rules(void **state)
{
    (void)state;
    static const int groups[] = {0, 32, 64, 128}, ks[] = {1, 7, 31, 32, 33, 100, 257};
    float w[MAX_K];
    for (int n = 0; n < 4 * 7 * 8 * 20; n++) {
        const int k = ks[n / 4 % 7];
        const dgm_quantizer z = {.type = n / 28 % 2 ? DGM_W_INT4 : DGM_W_INT8,
                                 .group = groups[n % 4],
                                 .rule = n / 56 % 2 ? DGM_SCALE_127 : DGM_SCALE_PAPER,
                                 .clip = n / 112 % 2};
        for (int i = 0; i < k; i++)
            w[i] = draw();
        check_row(w, k, &z);
    }
}

/* Known by hand: 0.5 lies half way and goes away from zero; +amax saturates under the paper's rule. */
static void known_values(void **state)
{
    (void)state;
    const float w[] = {128, -128, 0.5f, -0.5f, 1.5f, 0.49999997f, -2.5f, 0};
    const int8_t paper[] = {127, -128, 1, -1, 2, 0, -3, 0};
    int8_t q[8];
    float s;
    dgm_quantizer z = {DGM_W_INT8, 0, DGM_SCALE_PAPER, false};
    dgm_quantize_row(q, &s, w, 8, &z);
    assert_true(s == 1);
    assert_memory_equal(q, paper, sizeof q);
    const float v[] = {7, -7, 3.5f, -0.5f};
    const int8_t seven[] = {7, -7, 4, -1}, eight[] = {7, -8, 4, -1};
    z = (dgm_quantizer){DGM_W_INT4, 0, DGM_SCALE_127, false};
    dgm_quantize_row(q, &s, v, 4, &z);
    assert_true(s == 1);
    assert_memory_equal(q, seven, 4);
    z.rule = DGM_SCALE_PAPER;
    dgm_quantize_row(q, &s, v, 4, &z);
    assert_true(s == 0.875f);
    assert_memory_equal(q, eight, 4);
}

static void nothing_is_divided_by_zero(void **state)
{
    (void)state;
    for (int n = 0; n < 8; n++) {
        const dgm_quantizer z = {n % 2 ? DGM_W_INT4 : DGM_W_INT8, 32,
                                 n / 2 % 2 ? DGM_SCALE_127 : DGM_SCALE_PAPER, n / 4 % 2};
        float w[96] = {0}, s[3];
        int8_t q[96];
        w[40] = 1e-42f; /* a subnormal is as good as zero */
        w[70] = 3e38f;
        memset(q, 55, sizeof q);
        dgm_quantize_row(q, s, w, 96, &z);
        assert_true(s[0] == 0 && s[1] == 0 && s[2] > 1e35f && isfinite(s[2]));
        for (int i = 0; i < 64; i++)
            assert_int_equal(q[i], 0);
        assert_in_range(q[70], 6, 127);
    }
}

/* No factor of the grid does better, and none at all (1.00) is one of them. */
static void clipping_is_the_best_of_its_grid(void **state)
{
    (void)state;
    float w[MAX_K];
    double gained = 0;
    for (int n = 0; n < 400; n++) {
        const int k = 20 + n % 270, half = n % 2 ? 8 : 128;
        const dgm_quantizer z = {n % 2 ? DGM_W_INT4 : DGM_W_INT8, 0,
                                 n / 2 % 2 ? DGM_SCALE_127 : DGM_SCALE_PAPER, true};
        int8_t q[MAX_K];
        float s, amax = 0;
        for (int i = 0; i < k; i++) {
            w[i] = draw();
            amax = fabsf(w[i]) > amax ? fabsf(w[i]) : amax;
        }
        dgm_quantize_row(q, &s, w, k, &z);
        const double found = error_of(w, q, s, k);
        for (int f = 30; f <= 115; f++) {
            const float t =
                amax / (float)(z.rule == DGM_SCALE_PAPER ? half : half - 1) * ((float)f / 100);
            for (int i = 0; i < k; i++)
                q[i] = (int8_t)expected(w[i], t, half, z.rule);
            const double error = error_of(w, q, t, k);
            if (found > error * (1 + 1e-5)) /* sums there are f32 */
                fail_msg("row %d: factor %d has %g, found %g", n, f, error, found);
            gained += f == 100 ? error / found : 0;
        }
    }
    assert_true(gained / 400 > 1.05);
}

static void bf16_is_the_nearest(void **state)
{
    (void)state;
    static const struct {
        uint32_t f32;
        uint16_t bf16;
    } cases[] = {{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81},
                 {0x3f818000, 0x3f82}, {0xbf817fff, 0xbf81}, {0x7f7fffff, 0x7f80},
                 {0x00000000, 0x0000}, {0x80000000, 0x8000}, {0x00008001, 0x0001}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float x;
        memcpy(&x, &cases[i].f32, sizeof x);
        assert_int_equal(dgm_bf16_round(x), cases[i].bf16);
    }
}

/* With the scale of a row each weight alone becomes what it became in the row; what lies outside is clipped. */
static void one_is_as_in_its_row(void **state)
{
    (void)state;
    enum { K = 96 };
    for (int c = 0; c < 8; c++) {
        const dgm_quantizer z = {c & 1 ? DGM_W_INT4 : DGM_W_INT8, c & 2 ? 32 : 0,
                                 c & 4 ? DGM_SCALE_127 : DGM_SCALE_PAPER, true};
        float w[K], scale[3];
        int8_t q[K];
        for (int i = 0; i < K; i++)
            w[i] = draw();
        dgm_quantize_row(q, scale, w, K, &z);
        for (int i = 0; i < K; i++)
            assert_int_equal(dgm_quantize_one(w[i], scale[z.group == 0 ? 0 : i / 32], &z), q[i]);
    }
    const dgm_quantizer z = {DGM_W_INT4, 0, DGM_SCALE_PAPER, false};
    assert_int_equal(dgm_quantize_one(1e30f, 1, &z), 7);
    assert_int_equal(dgm_quantize_one(-1e30f, 1, &z), -8);
    assert_int_equal(dgm_quantize_one(INFINITY, 1e-30f, &z), 7);
    assert_int_equal(dgm_quantize_one(5, 0, &z), 0);
    assert_int_equal(dgm_quantize_one(2.5f, 1, &z), 3);
    assert_int_equal(dgm_quantize_one(-2.5f, 1, &z), -3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_follow_the_rules),
        cmocka_unit_test(known_values),
        cmocka_unit_test(nothing_is_divided_by_zero),
        cmocka_unit_test(clipping_is_the_best_of_its_grid),
        cmocka_unit_test(bf16_is_the_nearest),
        cmocka_unit_test(one_is_as_in_its_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

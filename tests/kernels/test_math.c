/*
 * Elementary functions against long double libm, in units of the last place of the exact result: 0.5 is correct
 * rounding, the limits are what kernels/math.h promises.
 */
#include "tests/kernels/isas.h"

#include "kernels/math.h"

static double ulps(float got, long double want)
{
    int e;
    (void)frexpl(want, &e);
    const long double ulp = ldexpl(1.0L, e - 24 < -149 ? -149 : e - 24);
    return (double)(fabsl((long double)got - want) / ulp);
}

static void worst(double *most, float got, long double want, double limit, float x, float y)
{
    const double u = ulps(got, want);
    if (u > *most)
        *most = u;
    if (!(u <= limit)) {
        print_error("at %a, %a: want %.10Lg, found %.10g, %.3f ulp off\n", (double)x, (double)y,
                    want, (double)got, u);
        fail();
    }
}

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* EVERY - x = each 997th float from `low` to `high`, both of one sign. */
#define EVERY(x, low, high)                                                                        \
    for (uint32_t bits_ = to_bits(low); bits_ <= to_bits(high); bits_ += 997)                      \
        for (float x = from_bits(bits_), *once_ = &x; once_ != NULL; once_ = NULL)

static uint32_t to_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static void exp_is_within_one_ulp(void **state)
{
    (void)state;
    double most = 0;
    EVERY(x, 0x1p-40f, 88.7228f)
    worst(&most, dgm_exp(x), expl(x), 1.0, x, 0);
    EVERY(x, -0x1p-40f, -87.33f)
    worst(&most, dgm_exp(x), expl(x), 1.0, x, 0);
    print_message("           exp: at most %.3f ulp\n", most);
}

static void exp_at_its_ends(void **state)
{
    (void)state;
    assert_true(dgm_exp(0.0f) == 1.0f && dgm_exp(-0.0f) == 1.0f);
    assert_true(dgm_exp(-87.33f) > 0x1p-126f);
    assert_true(dgm_exp(nextafterf(-87.33f, -100)) == 0.0f);
    assert_false(signbit(dgm_exp(-1000.0f)));
    assert_true(dgm_exp(-INFINITY) == 0.0f && dgm_exp(INFINITY) == INFINITY);
    assert_true(isfinite(dgm_exp(0x1.62e42ep+6f)));
    assert_true(dgm_exp(0x1.62e43p+6f) == INFINITY);
    assert_true(isnan(dgm_exp(NAN)) && isnan(dgm_exp(-NAN)));
}

static void log_is_nearly_exact(void **state)
{
    (void)state;
    double most = 0;
    EVERY(x, 0x1p-149f, 0x1.fffffep+127f)
    worst(&most, dgm_ln(x), logl(x), 0.501, x, 0);
    for (int i = -2000; i <= 2000; i++) {
        const float x = 1.0f + (float)i * 0x1p-24f;
        worst(&most, dgm_ln(x), logl(x), 0.501, x, 0);
    }
    print_message("           log: at most %.4f ulp\n", most);
    assert_true(dgm_ln(1.0f) == 0.0f && dgm_ln(0.0f) == -INFINITY);
    assert_true(dgm_ln(INFINITY) == INFINITY);
    assert_true(isnan(dgm_ln(-1.0f)) && isnan(dgm_ln(NAN)));
}

static void pow_is_nearly_exact(void **state)
{
    (void)state;
    double most = 0;
    for (int i = 0; i < 1000000; i++) {
        const float x = (float)(1 + test_random(1u << 24)) * ldexpf(1, (int)test_random(40) - 30);
        const float y = (float)((int)test_random(8001) - 4000) * 0.001f;
        const long double want = powl(x, y);
        if (want < 0x1.fffffep+127L)
            worst(&most, dgm_pow(x, y), want, 0.501, x, y);
    }
    print_message("           pow: at most %.4f ulp\n", most);
}

static void pow_at_its_corners(void **state)
{
    (void)state;
    EVERY(x, 0x1p-149f, 0x1.fffffep+127f)
    {
        assert_true(dgm_pow(x, 1.0f) == x && dgm_pow(x, 0.0f) == 1.0f);
        assert_true(dgm_pow(1.0f, x) == 1.0f);
    }
    assert_true(dgm_pow(10.0f, 40.0f) == INFINITY && dgm_pow(10.0f, -60.0f) == 0.0f);
    assert_true(dgm_pow(0.0f, 2.0f) == 0.0f && dgm_pow(0.0f, -2.0f) == INFINITY);
    assert_true(dgm_pow(INFINITY, 2.0f) == INFINITY && dgm_pow(INFINITY, -2.0f) == 0.0f);
    assert_true(isnan(dgm_pow(-1.0f, 2.0f)) && isnan(dgm_pow(NAN, 2.0f)));
    assert_true(dgm_pow(3.0f, 2.0f) == 9.0f && dgm_pow(4.0f, 0.5f) == 2.0f);
}

static void sin_and_cos_are_nearly_exact(void **state)
{
    (void)state;
    double most = 0;
    EVERY(x, 0x1p-30f, 1e6f)
    {
        worst(&most, dgm_sin(x), sinl(x), 0.501, x, 0);
        worst(&most, dgm_cos(x), cosl(x), 0.501, x, 0);
        assert_true(dgm_sin(-x) == -dgm_sin(x) && dgm_cos(-x) == dgm_cos(x));
    }
    /* the floats next to multiples of pi/2, where a poor reduction shows */
    for (int i = 1; i < 600000; i++) {
        const float x = (float)(i * 1.57079632679489661923);
        worst(&most, dgm_sin(x), sinl(x), 0.501, x, 0);
        worst(&most, dgm_cos(x), cosl(x), 0.501, x, 0);
    }
    print_message("           sin, cos: at most %.4f ulp\n", most);
    assert_true(dgm_sin(0.0f) == 0.0f && signbit(dgm_sin(-0.0f)) && dgm_cos(0.0f) == 1.0f);
    assert_true(isnan(dgm_sin(INFINITY)) && isnan(dgm_cos(NAN)) && isnan(dgm_sin(1.1e6f)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_one_ulp), cmocka_unit_test(exp_at_its_ends),
        cmocka_unit_test(log_is_nearly_exact),   cmocka_unit_test(pow_is_nearly_exact),
        cmocka_unit_test(pow_at_its_corners),    cmocka_unit_test(sin_and_cos_are_nearly_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

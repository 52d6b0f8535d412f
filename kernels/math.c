#include "kernels/math.h"

#include "kernels/exp_terms.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

float dgm_exp(float x)
{
    if (x != x)
        return x;
    if (x < EXP_MIN)
        return 0.0f;
    if (x > EXP_MAX)
        return INFINITY;
    const float t = fmaf(x, EXP_LOG2E, EXP_ROUND);
    const float n = t - EXP_ROUND;
    const float r = fmaf(n, -EXP_LN2_LO, fmaf(n, -EXP_LN2_HI, x));
    float q = fmaf(EXP_Q4, r, EXP_Q3);
    q = fmaf(q, r, EXP_Q2);
    q = fmaf(q, r, EXP_Q1);
    q = fmaf(q, r, EXP_Q0);
    float p = fmaf(r * r, q, r) + 1.0f;
    uint32_t pi, ti;
    memcpy(&pi, &p, sizeof pi);
    memcpy(&ti, &t, sizeof ti);
    pi += ti << 23;
    memcpy(&p, &pi, sizeof p);
    return p;
}

/*
 * log64 - ln x for finite x > 0, in f64, to about 1e-15 relative.
 * x = 2^e m, sqrt(1/2) <= m < sqrt(2), s = (m - 1) / (m + 1), |s| < 0.172: ln m = 2 (s + s^3/3 + s^5/5 + ...);
 * the first term left out, s^23 / 23, is below 2^-62.
 */
static double log64(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int e = (int)(bits >> 52) - 1023; /* a float is never subnormal as a double */
    bits = (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 0x1.6a09e667f3bcdp+0) {
        m = m * 0.5;
        e = e + 1;
    }
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    double sum = 0.0;
    for (int i = 21; i >= 3; i -= 2)
        sum = (sum + 1.0 / i) * z;
    /* the first constant, ln 2's leading part, ends in 17 zero bits, so its product is exact */
    return e * 0x1.62e42fefap-1 + (e * 0x1.cf79abc9e3b3ap-40 + (2.0 * s + 2.0 * s * sum));
}

float dgm_ln(float x)
{
    if (x != x || x == INFINITY)
        return x;
    if (x < 0.0f)
        return NAN;
    return x == 0.0f ? -INFINITY : (float)log64((double)x);
}

/* exp64 - e^x in f64 for |x| < 700: x = n ln 2 + r, then the Taylor series to r^13 (r^14/14! < 2^-57). */
static double exp64(double x)
{
    const double t = x * 0x1.71547652b82fep+0 + 0x1.8p+52;
    const double n = t - 0x1.8p+52;
    const double r = (x - n * 0x1.62e42fefap-1) - n * 0x1.cf79abc9e3b3ap-40;
    double p = 1.0;
    for (int i = 13; i >= 1; i--)
        p = 1.0 + p * r / i;
    uint64_t bits;
    memcpy(&bits, &p, sizeof bits);
    bits += (uint64_t)(int64_t)n << 52;
    memcpy(&p, &bits, sizeof p);
    return p;
}

float dgm_pow(float x, float y)
{
    if (y == 0.0f || x == 1.0f)
        return 1.0f;
    if (y == 1.0f)
        return x;
    if (x != x || y != y || x < 0.0f)
        return NAN;
    if (x == 0.0f)
        return y > 0.0f ? 0.0f : INFINITY;
    const double z = (x == INFINITY ? 1e3 : log64((double)x)) * (double)y;
    if (z > 200.0)
        return INFINITY; /* e^89 is beyond f32 */
    return z < -200.0 ? 0.0f : (float)exp64(z);
}

/*
 * reduce - x = n pi/2 + r, |r| <= pi/4 (a little more), returns n mod 4. pi/2 in three parts of 33 bits: with
 * |n| < 2^20 the first two products are exact, so r keeps about 2^-66 absolute, far below what any f32 needs.
 */
static int reduce(double *r, double x)
{
    const double t = x * 0x1.45f306dc9c883p-1 + 0x1.8p+52;
    const double n = t - 0x1.8p+52;
    *r = ((x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69;
    return (int)((int64_t)n & 3);
}

/* Taylor series; on |r| < 0.79 the first terms left out are below 2^-60. */
static double sin64(double r)
{
    const double z = r * r;
    double p = 1.0;
    for (int i = 17; i >= 3; i -= 2)
        p = 1.0 - p * z / (i * (i - 1));
    return r * p;
}

static double cos64(double r)
{
    const double z = r * r;
    double p = 1.0;
    for (int i = 18; i >= 2; i -= 2)
        p = 1.0 - p * z / (i * (i - 1));
    return p;
}

/* quadrant - sin of x + turns * pi/2. */
static float quadrant(float x, int turns)
{
    double r;
    if (!(fabsf(x) <= 1e6f))
        return NAN;
    const int n = reduce(&r, (double)x) + turns;
    const double y = (n & 1) != 0 ? cos64(r) : sin64(r);
    return (float)((n & 2) != 0 ? -y : y);
}

float dgm_sin(float x)
{
    return quadrant(x, 0);
}

float dgm_cos(float x)
{
    return quadrant(x, 1);
}

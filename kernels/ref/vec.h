/*
 * vec.h (ref) - 16 floats as plain C: what each operation of the other vec.h means.
 *
 * Lanes missing in the *_part forms are +0 (or `fill`). v_max is a > b ? a : b, so the second operand
 * when either is NaN. Folds add lane l + 8 to lane l, then + 4, + 2, + 1.
 */
#ifndef DGM_KERNELS_VEC_H
#define DGM_KERNELS_VEC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define V_INLINE static inline __attribute__((always_inline, unused))
#define V_LANES(l) for (int l = 0; l < 16; l++)

typedef struct v16 {
    float l[16];
} v16;

/* How many queries attend at once: 4 where registers hold 16 sums, or 1. No result depends on it. */
#define V_QUERIES 1

V_INLINE v16 v_set1(float a)
{
    v16 r;
    V_LANES(l) r.l[l] = a;
    return r;
}

V_INLINE v16 v_load(const float *p)
{
    v16 r;
    memcpy(r.l, p, sizeof r.l);
    return r;
}

V_INLINE v16 v_load_part(const float *p, int n, float fill)
{
    v16 r = v_set1(fill);
    for (int l = 0; l < n; l++)
        r.l[l] = p[l];
    return r;
}

V_INLINE void v_store(float *p, v16 a)
{
    memcpy(p, a.l, sizeof a.l);
}

V_INLINE void v_store_part(float *p, v16 a, int n)
{
    for (int l = 0; l < n; l++)
        p[l] = a.l[l];
}

/* v_keep - lanes from n on become +0. */
V_INLINE v16 v_keep(v16 a, int n)
{
    for (int l = n; l < 16; l++)
        a.l[l] = 0.0f;
    return a;
}

V_INLINE v16 v_add(v16 a, v16 b)
{
    V_LANES(l) a.l[l] = a.l[l] + b.l[l];
    return a;
}

V_INLINE v16 v_sub(v16 a, v16 b)
{
    V_LANES(l) a.l[l] = a.l[l] - b.l[l];
    return a;
}

V_INLINE v16 v_mul(v16 a, v16 b)
{
    V_LANES(l) a.l[l] = a.l[l] * b.l[l];
    return a;
}

V_INLINE v16 v_div(v16 a, v16 b)
{
    V_LANES(l) a.l[l] = a.l[l] / b.l[l];
    return a;
}

V_INLINE v16 v_fma(v16 a, v16 b, v16 c)
{
    V_LANES(l) c.l[l] = fmaf(a.l[l], b.l[l], c.l[l]);
    return c;
}

V_INLINE v16 v_max(v16 a, v16 b)
{
    V_LANES(l) a.l[l] = a.l[l] > b.l[l] ? a.l[l] : b.l[l];
    return a;
}

/* v_select_gt - a > b ? yes : no. */
V_INLINE v16 v_select_gt(v16 a, v16 b, v16 yes, v16 no)
{
    V_LANES(l) no.l[l] = a.l[l] > b.l[l] ? yes.l[l] : no.l[l];
    return no;
}

/* v_select_nan - x is NaN ? x : other. */
V_INLINE v16 v_select_nan(v16 x, v16 other)
{
    V_LANES(l) other.l[l] = x.l[l] != x.l[l] ? x.l[l] : other.l[l];
    return other;
}

/* v_gt_bits - bit l says a > b in lane l. */
V_INLINE uint32_t v_gt_bits(v16 a, v16 b)
{
    uint32_t bits = 0;
    V_LANES(l) bits |= (uint32_t)(a.l[l] > b.l[l]) << l;
    return bits;
}

/* v_raise - the end of exp: a times 2^n, which stands in the low bits of t too; +0 where x is below `least`, so that nothing
 * gets too small; x where it is NaN, and then a is. */
V_INLINE v16 v_raise(v16 a, v16 n, v16 t, v16 x, v16 least)
{
    uint32_t ai[16], ti[16];
    memcpy(ai, a.l, sizeof ai);
    memcpy(ti, t.l, sizeof ti);
    (void)n;
    V_LANES(l) ai[l] += ti[l] << 23;
    memcpy(a.l, ai, sizeof ai);
    return v_select_nan(x, v_select_gt(least, x, v_set1(0.0f), a));
}

V_INLINE float v_fold_add(v16 a)
{
    for (int h = 8; h > 0; h /= 2)
        for (int l = 0; l < h; l++)
            a.l[l] = a.l[l] + a.l[l + h];
    return a.l[0];
}

V_INLINE float v_fold_max(v16 a)
{
    for (int h = 8; h > 0; h /= 2)
        for (int l = 0; l < h; l++)
            a.l[l] = a.l[l] > a.l[l + h] ? a.l[l] : a.l[l + h];
    return a.l[0];
}

/* v_fold_add4 - four folds; where vectors are real, they share their shuffles. */
V_INLINE void v_fold_add4(float *out, v16 a, v16 b, v16 c, v16 d)
{
    out[0] = v_fold_add(a);
    out[1] = v_fold_add(b);
    out[2] = v_fold_add(c);
    out[3] = v_fold_add(d);
}

/* v_load_bf16 - 16 values of half the width: the upper halves of their floats. */
V_INLINE v16 v_load_bf16_part(const uint16_t *p, int n)
{
    v16 r = v_set1(0.0f);
    for (int l = 0; l < n; l++) {
        const uint32_t bits = (uint32_t)p[l] << 16;
        memcpy(&r.l[l], &bits, sizeof bits);
    }
    return r;
}

V_INLINE v16 v_load_bf16(const uint16_t *p)
{
    return v_load_bf16_part(p, 16);
}

#endif

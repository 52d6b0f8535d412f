/*
 * row_kernels.h - private to kernels/: the row functions of the table, written once over v16.
 *
 * Each <isa>/kernels.c includes its vec.h, then this: every instruction set runs the same operations in the same
 * order, so their bits agree by construction. Contracts are in kernels.h.
 */
#ifndef DGM_KERNELS_ROW_KERNELS_H
#define DGM_KERNELS_ROW_KERNELS_H

#include "kernels/exp_terms.h"
#include "kernels/kernels.h"
#include "kernels/unroll.h"

#include <math.h>

/* v_exp_down - dgm_exp of each lane, of what is not above EXP_MAX. */
V_INLINE v16 v_exp_down(v16 x)
{
    const v16 round = v_set1(EXP_ROUND);
    const v16 t = v_fma(x, v_set1(EXP_LOG2E), round);
    const v16 n = v_sub(t, round);
    const v16 r = v_fma(n, v_set1(-EXP_LN2_LO), v_fma(n, v_set1(-EXP_LN2_HI), x));
    v16 q = v_fma(v_set1(EXP_Q4), r, v_set1(EXP_Q3));
    q = v_fma(q, r, v_set1(EXP_Q2));
    q = v_fma(q, r, v_set1(EXP_Q1));
    q = v_fma(q, r, v_set1(EXP_Q0));
    const v16 p = v_add(v_fma(v_mul(r, r), q, r), v_set1(1.0f));
    return v_raise(p, n, t, x, v_set1(EXP_MIN));
}

V_INLINE v16 v_exp(v16 x)
{
    return v_select_gt(x, v_set1(EXP_MAX), v_set1(INFINITY), v_exp_down(x));
}

static float dot(const float *x, const float *y, int n)
{
    v16 acc = v_set1(0.0f);
    int i = 0;
    for (; i + 16 <= n; i += 16)
        acc = v_fma(v_load(x + i), v_load(y + i), acc);
    if (i < n)
        acc = v_fma(v_load_part(x + i, n - i, 0.0f), v_load_part(y + i, n - i, 0.0f), acc);
    return v_fold_add(acc);
}

static void layer_norm(float *y, const float *x, const float *w, const float *b, int d, float eps)
{
    const int whole = d / 16 * 16, rest = d - whole;
    v16 sum = v_set1(0.0f), squares = v_set1(0.0f);
    for (int i = 0; i < whole; i += 16)
        sum = v_add(sum, v_load(x + i));
    if (rest > 0)
        sum = v_add(sum, v_load_part(x + whole, rest, 0.0f));
    const v16 mean = v_set1(v_fold_add(sum) / (float)d);
    for (int i = 0; i < whole; i += 16) {
        const v16 t = v_sub(v_load(x + i), mean);
        squares = v_fma(t, t, squares);
    }
    if (rest > 0) {
        const v16 t = v_keep(v_sub(v_load_part(x + whole, rest, 0.0f), mean), rest);
        squares = v_fma(t, t, squares);
    }
    const v16 scale = v_set1(1.0f / sqrtf(v_fold_add(squares) / (float)d + eps));
    for (int i = 0; i < whole; i += 16) {
        const v16 t = v_mul(v_sub(v_load(x + i), mean), scale);
        v_store(y + i, v_fma(t, v_load(w + i), v_load(b + i)));
    }
    if (rest > 0) {
        const v16 t = v_mul(v_sub(v_load_part(x + whole, rest, 0.0f), mean), scale);
        const v16 wt = v_load_part(w + whole, rest, 0.0f), bt = v_load_part(b + whole, rest, 0.0f);
        v_store_part(y + whole, v_fma(t, wt, bt), rest);
    }
}

/* lane_max - four vectors at a time: one chain of maxima would wait for itself. */
V_INLINE v16 lane_max(const float *x, int n)
{
    v16 m = v_set1(-INFINITY), a = m, b = m, c = m;
    int i = 0;
    for (; i + 64 <= n; i += 64) {
        m = v_max(m, v_load(x + i));
        a = v_max(a, v_load(x + i + 16));
        b = v_max(b, v_load(x + i + 32));
        c = v_max(c, v_load(x + i + 48));
    }
    m = v_max(v_max(m, a), v_max(b, c));
    for (; i + 16 <= n; i += 16)
        m = v_max(m, v_load(x + i));
    if (i < n)
        m = v_max(m, v_load_part(x + i, n - i, -INFINITY));
    return m;
}

static void exp_shift(float *y, const float *x, float shift, int n)
{
    const v16 s = v_set1(shift);
    int i = 0;
    for (; i + 16 <= n; i += 16)
        v_store(y + i, v_exp(v_sub(v_load(x + i), s)));
    if (i < n)
        v_store_part(y + i, v_exp(v_sub(v_load_part(x + i, n - i, 0.0f), s)), n - i);
}

static void block_max_sum(float *m, float *s, float *top, const float *x, int n)
{
    const v16 lanes = lane_max(x, n);
    const float most = v_fold_max(lanes);
    const v16 shift = v_set1(most);
    v_store(top, lanes);
    v16 sum = v_set1(0.0f);
    int i = 0;
    for (; i + 16 <= n; i += 16)
        sum = v_add(sum, v_exp_down(v_sub(v_load(x + i), shift)));
    if (i < n) {
        const v16 e = v_exp_down(v_sub(v_load_part(x + i, n - i, -INFINITY), shift));
        sum = v_add(sum, v_keep(e, n - i));
    }
    *s = v_fold_add(sum);
    /* lane_max may have stepped over a NaN; the sum cannot */
    *m = *s == *s ? most : *s;
}

V_INLINE v16 finish_lanes(v16 y, v16 bias, v16 residual, int has_bias, int has_residual, int relu)
{
    if (has_bias)
        y = v_add(y, bias);
    if (relu)
        y = v_select_nan(y, v_select_gt(y, v_set1(0.0f), y, v_set1(0.0f)));
    return has_residual ? v_add(y, residual) : y;
}

static void finish(float *y, const float *acc, const float *bias, const float *residual, int relu,
                   int n)
{
    const int b = bias != NULL, r = residual != NULL;
    const v16 none = v_set1(0.0f);
    int i = 0;
    for (; i + 16 <= n; i += 16)
        v_store(y + i, finish_lanes(v_load(acc + i), b ? v_load(bias + i) : none,
                                    r ? v_load(residual + i) : none, b, r, relu));
    if (i < n) {
        const int part = n - i;
        v_store_part(y + i,
                     finish_lanes(v_load_part(acc + i, part, 0.0f),
                                  b ? v_load_part(bias + i, part, 0.0f) : none,
                                  r ? v_load_part(residual + i, part, 0.0f) : none, b, r, relu),
                     part);
    }
}

static int above(int32_t *idx, const float *x, float threshold, int n)
{
    const v16 t = v_set1(threshold);
    int found = 0;
    for (int i = 0; i < n; i += 16) {
        const v16 v = n - i >= 16 ? v_load(x + i) : v_load_part(x + i, n - i, -INFINITY);
        for (uint32_t bits = v_gt_bits(v, t); bits != 0; bits &= bits - 1)
            idx[found++] = i + __builtin_ctz(bits);
    }
    return found;
}

static void weigh(float *y, const float *x, float g, float c, int n)
{
    const v16 gv = v_set1(g), cv = v_set1(c);
    int i = 0;
    for (; i + 16 <= n; i += 16)
        v_store(y + i, v_mul(gv, v_mul(cv, v_load(x + i))));
    if (i < n)
        v_store_part(y + i, v_mul(gv, v_mul(cv, v_load_part(x + i, n - i, 0.0f))), n - i);
}

static void add(float *y, const float *a, const float *b, int n)
{
    int i = 0;
    for (; i + 16 <= n; i += 16)
        v_store(y + i, v_add(v_load(a + i), v_load(b + i)));
    if (i < n)
        v_store_part(y + i, v_add(v_load_part(a + i, n - i, 0.0f), v_load_part(b + i, n - i, 0.0f)),
                     n - i);
}

static void embed(float *y, const float *row, size_t ld, float scale, const float *pos, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = row[(size_t)i * ld] * scale + pos[i];
}

static void row_kernels_init(dgm_kernels *k)
{
    k->finish = finish;
    k->layer_norm = layer_norm;
    k->dot = dot;
    k->block_max_sum = block_max_sum;
    k->exp_shift = exp_shift;
    k->above = above;
    k->weigh = weigh;
    k->add = add;
    k->embed = embed;
}

#endif

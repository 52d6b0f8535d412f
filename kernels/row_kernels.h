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

#include <math.h>

/* v_exp - dgm_exp of each lane. */
V_INLINE v16 v_exp(v16 x)
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
    v16 y = v_raise(p, t);
    y = v_select_gt(v_set1(EXP_MIN), x, v_set1(0.0f), y);
    y = v_select_gt(x, v_set1(EXP_MAX), v_set1(INFINITY), y);
    return v_select_nan(x, y);
}

/* cached, cached_part - of a key or value from element i on, f32 or bf16. */
V_INLINE v16 cached(const void *p, size_t i, const int bf16)
{
    return bf16 ? v_load_bf16((const uint16_t *)p + i) : v_load((const float *)p + i);
}

V_INLINE v16 cached_part(const void *p, size_t i, int n, const int bf16)
{
    return bf16 ? v_load_bf16_part((const uint16_t *)p + i, n)
                : v_load_part((const float *)p + i, n, 0.0f);
}

V_INLINE float dot_as(const float *x, const void *y, size_t at, int n, const int bf16)
{
    v16 acc = v_set1(0.0f);
    int i = 0;
    for (; i + 16 <= n; i += 16)
        acc = v_fma(v_load(x + i), cached(y, at + (size_t)i, bf16), acc);
    if (i < n)
        acc = v_fma(v_load_part(x + i, n - i, 0.0f), cached_part(y, at + (size_t)i, n - i, bf16),
                    acc);
    return v_fold_add(acc);
}

static float dot(const float *x, const float *y, int n)
{
    return dot_as(x, y, 0, n, 0);
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

V_INLINE v16 lane_max(const float *x, int n)
{
    v16 m = v_set1(-INFINITY);
    int i = 0;
    for (; i + 16 <= n; i += 16)
        m = v_max(m, v_load(x + i));
    if (i < n)
        m = v_max(m, v_load_part(x + i, n - i, -INFINITY));
    return m;
}

static float row_max(const float *x, int n)
{
    return v_fold_max(lane_max(x, n));
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
        sum = v_add(sum, v_exp(v_sub(v_load(x + i), shift)));
    if (i < n) {
        const v16 e = v_exp(v_sub(v_load_part(x + i, n - i, 0.0f), shift));
        sum = v_add(sum, v_keep(e, n - i));
    }
    *s = v_fold_add(sum);
    /* lane_max may have stepped over a NaN; the sum cannot */
    *m = *s == *s ? most : *s;
}

/* softmax - in place: exp(x - max), the 16-lane sum, then a division. */
static void softmax(float *x, int n)
{
    const v16 shift = v_set1(row_max(x, n));
    v16 sum = v_set1(0.0f);
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        const v16 e = v_exp(v_sub(v_load(x + i), shift));
        v_store(x + i, e);
        sum = v_add(sum, e);
    }
    if (i < n) {
        const v16 e = v_keep(v_exp(v_sub(v_load_part(x + i, n - i, 0.0f), shift)), n - i);
        v_store_part(x + i, e, n - i);
        sum = v_add(sum, e);
    }
    const v16 total = v_set1(v_fold_add(sum));
    for (i = 0; i + 16 <= n; i += 16)
        v_store(x + i, v_div(v_load(x + i), total));
    if (i < n)
        v_store_part(x + i, v_div(v_load_part(x + i, n - i, 0.0f), total), n - i);
}

/* dot4 - dot of q with four keys at once: one key alone waits for its own chain. */
V_INLINE void dot4(float *out, const float *q, const void *k, const size_t key[4], int n,
                   const int bf16)
{
    v16 a = v_set1(0.0f), b = a, c = a, d = a;
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        const v16 x = v_load(q + i);
        a = v_fma(x, cached(k, key[0] + (size_t)i, bf16), a);
        b = v_fma(x, cached(k, key[1] + (size_t)i, bf16), b);
        c = v_fma(x, cached(k, key[2] + (size_t)i, bf16), c);
        d = v_fma(x, cached(k, key[3] + (size_t)i, bf16), d);
    }
    if (i < n) {
        const v16 x = v_load_part(q + i, n - i, 0.0f);
        a = v_fma(x, cached_part(k, key[0] + (size_t)i, n - i, bf16), a);
        b = v_fma(x, cached_part(k, key[1] + (size_t)i, n - i, bf16), b);
        c = v_fma(x, cached_part(k, key[2] + (size_t)i, n - i, bf16), c);
        d = v_fma(x, cached_part(k, key[3] + (size_t)i, n - i, bf16), d);
    }
    v_fold_add4(out, a, b, c, d);
}

V_INLINE size_t at(const int32_t *idx, size_t ld, int p)
{
    return (size_t)(idx != NULL ? idx[p] : p) * ld;
}

/* mix_columns - 16 * `wide` columns from j on. */
V_INLINE void mix_columns(float *out, const float *prob, const void *v, const int32_t *idx,
                          size_t ldv, int n, size_t j, const int wide, const int bf16)
{
    v16 sum[4];
    for (int w = 0; w < wide; w++)
        sum[w] = v_set1(0.0f);
    for (int p = 0; p < n; p++) {
        const size_t row = at(idx, ldv, p) + j;
        const v16 share = v_set1(prob[p]);
        for (int w = 0; w < wide; w++)
            sum[w] = v_fma(share, cached(v, row + 16 * (size_t)w, bf16), sum[w]);
    }
    for (int w = 0; w < wide; w++)
        v_store(out + j + 16 * (size_t)w, sum[w]);
}

/* mix - out[j] = fma chain over p of prob[p] * v_p[j]; 64 columns at a time, then 32, then what is left. */
V_INLINE void mix(float *out, const float *prob, const void *v, const int32_t *idx, size_t ldv,
                  int n, int hd, const int bf16)
{
    int j = 0;
    for (; j + 64 <= hd; j += 64)
        mix_columns(out, prob, v, idx, ldv, n, (size_t)j, 4, bf16);
    for (; j + 32 <= hd; j += 32)
        mix_columns(out, prob, v, idx, ldv, n, (size_t)j, 2, bf16);
    for (; j < hd; j += 16) {
        const int part = hd - j < 16 ? hd - j : 16;
        v16 a = v_set1(0.0f);
        for (int p = 0; p < n; p++)
            a = v_fma(v_set1(prob[p]), cached_part(v, at(idx, ldv, p) + (size_t)j, part, bf16), a);
        v_store_part(out + j, a, part);
    }
}

V_INLINE void attend_as(float *out, float *prob, const float *q, const void *k, const void *v,
                        const int32_t *idx, size_t ldk, size_t ldv, int n, int hd, float scale,
                        const int bf16)
{
    int p = 0;
    for (; p + 4 <= n; p += 4) {
        const size_t key[4] = {at(idx, ldk, p), at(idx, ldk, p + 1), at(idx, ldk, p + 2),
                               at(idx, ldk, p + 3)};
        dot4(prob + p, q, k, key, hd, bf16);
    }
    for (; p < n; p++)
        prob[p] = dot_as(q, k, at(idx, ldk, p), hd, bf16);
    for (p = 0; p < n; p++)
        prob[p] = prob[p] * scale;
    softmax(prob, n);
    mix(out, prob, v, idx, ldv, n, hd, bf16);
}

static void attend(float *out, float *prob, const float *q, const float *k, const float *v,
                   const int32_t *idx, size_t ldk, size_t ldv, int n, int hd, float scale)
{
    attend_as(out, prob, q, k, v, idx, ldk, ldv, n, hd, scale, 0);
}

static void attend_bf16(float *out, float *prob, const float *q, const uint16_t *k,
                        const uint16_t *v, const int32_t *idx, size_t ldk, size_t ldv, int n,
                        int hd, float scale)
{
    attend_as(out, prob, q, k, v, idx, ldk, ldv, n, hd, scale, 1);
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
    k->attend = attend;
    k->attend_bf16 = attend_bf16;
    k->block_max_sum = block_max_sum;
    k->exp_shift = exp_shift;
    k->above = above;
    k->weigh = weigh;
    k->add = add;
    k->embed = embed;
}

#endif

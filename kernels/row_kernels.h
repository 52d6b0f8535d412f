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

/* scale_max - x = x * scale in place, and -inf from n to the next multiple of 16; returns the maximum. */
V_INLINE float scale_max(float *x, int n, float scale)
{
    const v16 s = v_set1(scale);
    v16 m = v_set1(-INFINITY);
    for (int i = 0; i < n; i += 16) {
        const v16 y = v_mul(n - i < 16 ? v_load_part(x + i, n - i, -INFINITY) : v_load(x + i), s);
        v_store(x + i, y);
        m = v_max(m, y);
    }
    return v_fold_max(m);
}

/*
 * softmax - of x * scale (scale > 0), in place: exp(x - max), the 16-lane sum, then a division. Whole vectors are stored:
 * what is read back from a vector that was stored in part waits until it is in the cache.
 */
V_INLINE void softmax(float *x, int n, float scale)
{
    const v16 shift = v_set1(scale_max(x, n, scale));
    v16 sum = v_set1(0.0f);
    for (int i = 0; i < n; i += 16) {
        v16 e = v_exp(v_sub(v_load(x + i), shift));
        if (n - i < 16)
            e = v_keep(e, n - i);
        v_store(x + i, e);
        sum = v_add(sum, e);
    }
    const v16 total = v_set1(v_fold_add(sum));
    for (int i = 0; i < n; i += 16)
        v_store(x + i, v_div(v_load(x + i), total));
}

/* softmax_apart - for tables with few registers, where its constants would crowd what stands around it. */
static __attribute__((noinline, unused)) void softmax_apart(float *x, int n, float scale)
{
    softmax(x, n, scale);
}

/* place - of position p's key or value. */
V_INLINE size_t place(const dgm_attend *a, int p)
{
    return (size_t)(a->idx != NULL ? a->idx[p] : p) * a->ld;
}

/* part_as, cached_as - 16 elements, or `part` fewer. */
V_INLINE v16 part_as(const float *x, int part)
{
    return part < 16 ? v_load_part(x, part, 0.0f) : v_load(x);
}

V_INLINE v16 cached_as(const void *k, size_t i, int part, const int bf16)
{
    return part < 16 ? cached_part(k, i, part, bf16) : cached(k, i, bf16);
}

/*
 * quad_columns - sum[4 c + r] takes elements i .. i + part of query r and key c. A key that all queries share is read
 * once for all of them.
 */
V_INLINE void quad_columns(v16 *sum, const float *const *q, const void *k, const size_t *key,
                           const size_t *apart, size_t i, int part, const int queries,
                           const int shared, const int bf16)
{
    v16 x[4];
    UNROLL(4)
    for (int r = 0; r < queries; r++)
        x[r] = part_as(q[r] + i, part);
    UNROLL(4)
    for (int c = 0; c < 4; c++) {
        const v16 y = cached_as(k, key[c] + apart[0] + i, part, bf16);
        UNROLL(4)
        for (int r = 0; r < queries; r++)
            sum[4 * c + r] =
                v_fma(x[r], shared || r == 0 ? y : cached_as(k, key[c] + apart[r] + i, part, bf16),
                      sum[4 * c + r]);
    }
}

/* four_scores - of positions p .. p + 3: a sum alone waits for its own chain. Where fewer are left (not `whole`) the last one
 * stands for those missing; what comes of it stays behind n and is not looked at. */
V_INLINE void four_scores(float *prob, size_t ldp, const dgm_attend *a, const float *const *q,
                          const size_t *apart, int p, const int whole, const int queries,
                          const int shared, const int bf16)
{
    v16 sum[16];
    size_t key[4];
    UNROLL(4)
    for (int c = 0; c < 4; c++) {
        key[c] = place(a, whole || p + c < a->n ? p + c : a->n - 1);
        UNROLL(4)
        for (int r = 0; r < queries; r++)
            sum[4 * c + r] = v_set1(0.0f);
    }
    int i = 0;
    for (; i + 16 <= a->hd; i += 16)
        quad_columns(sum, q, a->k, key, apart, (size_t)i, 16, queries, shared, bf16);
    if (i < a->hd)
        quad_columns(sum, q, a->k, key, apart, (size_t)i, a->hd - i, queries, shared, bf16);
    if (queries == 4)
        v_fold_quads(prob + p, ldp, sum);
    else
        v_fold_add4(prob + p, sum[0], sum[4], sum[8], sum[12]);
}

V_INLINE void scores(float *prob, size_t ldp, const dgm_attend *a, const float *const *q,
                     const size_t *apart, const int queries, const int shared, const int bf16)
{
    int p = 0;
    for (; p + 4 <= a->n; p += 4)
        four_scores(prob, ldp, a, q, apart, p, 1, queries, shared, bf16);
    if (p < a->n)
        four_scores(prob, ldp, a, q, apart, p, 0, queries, shared, bf16);
}

/* mix_columns - 16 * `wide` columns from j on, or `part` (wide 1) of every query: wide * queries sums that do not wait for
 * one another. */
V_INLINE void mix_columns(float *const *out, const float *prob, size_t ldp, const dgm_attend *a,
                          const size_t *apart, size_t j, const int wide, int part,
                          const int queries, const int shared, const int bf16)
{
    v16 sum[16];
    UNROLL(16)
    for (int s = 0; s < queries * wide; s++)
        sum[s] = v_set1(0.0f);
    for (int p = 0; p < a->n; p++) {
        const size_t at = place(a, p) + j;
        v16 y[4];
        UNROLL(4)
        for (int r = 0; r < queries; r++) {
            const v16 share = v_set1(prob[(size_t)r * ldp + (size_t)p]);
            UNROLL(4)
            for (int w = 0; w < wide; w++) {
                if (!shared || r == 0)
                    y[w] = cached_as(a->v, at + apart[r] + 16 * (size_t)w, part, bf16);
                sum[r * wide + w] = v_fma(share, y[w], sum[r * wide + w]);
            }
        }
    }
    UNROLL(4)
    for (int r = 0; r < queries; r++)
        UNROLL(4)
    for (int w = 0; w < wide; w++)
        if (part < 16)
            v_store_part(out[r] + j, sum[r * wide + w], part);
        else
            v_store(out[r] + j + 16 * (size_t)w, sum[r * wide + w]);
}

/* mix - out[j] = fma chain over p of prob[p] * v_p[j]; 64 columns at a time, then 32, then what is left. */
V_INLINE void mix(float *const *out, const float *prob, size_t ldp, const dgm_attend *a,
                  const size_t *apart, const int queries, const int shared, const int bf16)
{
    int j = 0;
    for (; j + 64 <= a->hd; j += 64)
        mix_columns(out, prob, ldp, a, apart, (size_t)j, 4, 16, queries, shared, bf16);
    for (; j + 32 <= a->hd; j += 32)
        mix_columns(out, prob, ldp, a, apart, (size_t)j, 2, 16, queries, shared, bf16);
    for (; j < a->hd; j += 16)
        mix_columns(out, prob, ldp, a, apart, (size_t)j, 1, a->hd - j < 16 ? a->hd - j : 16,
                    queries, shared, bf16);
}

/*
 * attend_as - `queries` of them from the first on, step by step: what one step of a query waits for, the others' fill.
 * Where there are fewer, the last one stands for those missing.
 */
V_INLINE void attend_as(float *prob, size_t ldp, const dgm_attend *a, int first, const int queries,
                        const int shared, const int bf16)
{
    const float *q[4];
    float *out[4];
    size_t apart[4];
    for (int r = 0; r < queries; r++) {
        const int from = first + r < a->queries ? first + r : a->queries - 1;
        q[r] = a->q[from];
        out[r] = a->out[from];
        apart[r] = (size_t)from * a->apart;
    }
    scores(prob, ldp, a, q, apart, queries, shared, bf16);
    for (int r = 0; r < queries; r++)
        if (V_QUERIES == 4)
            softmax(prob + (size_t)r * ldp, a->n, a->scale);
        else
            softmax_apart(prob + (size_t)r * ldp, a->n, a->scale);
    mix(out, prob, ldp, a, apart, queries, shared, bf16);
}

V_INLINE void attend_type(float *prob, size_t ldp, const dgm_attend *a, const int bf16)
{
    if (V_QUERIES == 4 && a->queries > 1) {
        if (a->apart == 0)
            attend_as(prob, ldp, a, 0, 4, 1, bf16);
        else
            attend_as(prob, ldp, a, 0, 4, 0, bf16);
    } else {
        for (int r = 0; r < a->queries; r++)
            attend_as(prob + (size_t)r * ldp, ldp, a, r, 1, 0, bf16);
    }
}

static void attend(float *prob, size_t ldp, const dgm_attend *a)
{
    const dgm_attend mine = *a; /* no store can change it */
    if (mine.bf16)
        attend_type(prob, ldp, &mine, 1);
    else
        attend_type(prob, ldp, &mine, 0);
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
    k->block_max_sum = block_max_sum;
    k->exp_shift = exp_shift;
    k->above = above;
    k->weigh = weigh;
    k->add = add;
    k->embed = embed;
}

#endif

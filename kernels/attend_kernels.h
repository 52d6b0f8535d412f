/*
 * attend_kernels.h - private to kernels/: the attention of the table, written once over v16.
 *
 * With V_QUERIES 4 registers hold 16 sums, and up to 4 queries go together, step by step: what one step of a query waits
 * for, the others' fill. With 1 they go one by one, four keys at a time.
 */
#ifndef DGM_KERNELS_ATTEND_KERNELS_H
#define DGM_KERNELS_ATTEND_KERNELS_H

#include "kernels/row_kernels.h"

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

/* key_at - the place of position p; the last one stands for those missing, and what comes of it is not looked at. */
V_INLINE size_t key_at(const dgm_attend *a, int p, const int whole)
{
    return place(a, whole || p < a->n ? p : a->n - 1);
}

#if V_QUERIES == 4

/*
 * Sums of 16 dot products that do not wait for one another: of four queries with four keys that they share, each read once
 * for all of them, or of one query with 16 keys. Lane 4 r + c of what v_fold_quads makes of them comes of sum[4 c + r].
 */

/* shared_columns - sum[4 c + r] takes elements i .. i + part of query r and key c. */
V_INLINE void shared_columns(v16 *sum, const float *const *q, const void *k, const size_t *key,
                             size_t i, int part, const int bf16)
{
    v16 x[4];
    UNROLL(4)
    for (int r = 0; r < 4; r++)
        x[r] = part_as(q[r] + i, part);
    UNROLL(4)
    for (int c = 0; c < 4; c++) {
        const v16 y = cached_as(k, key[c] + i, part, bf16);
        UNROLL(4)
        for (int r = 0; r < 4; r++)
            sum[4 * c + r] = v_fma(x[r], y, sum[4 * c + r]);
    }
}

/* shared_scores - to[r] = those of query r with positions p .. p + 15, fewer where they end (not `whole`). */
V_INLINE void shared_scores(v16 *to, const dgm_attend *a, const float *const *q, int p,
                            const int whole, const int bf16)
{
    v16 quads[4];
    UNROLL(4)
    for (int g = 0; g < 4; g++) {
        v16 sum[16];
        size_t key[4];
        quads[g] = v_set1(0.0f);
        if (!whole && p + 4 * g >= a->n)
            continue;
        UNROLL(16)
        for (int s = 0; s < 16; s++)
            sum[s] = v_set1(0.0f);
        UNROLL(4)
        for (int c = 0; c < 4; c++)
            key[c] = key_at(a, p + 4 * g + c, whole);
        int i = 0;
        for (; i + 16 <= a->hd; i += 16)
            shared_columns(sum, q, a->k, key, (size_t)i, 16, bf16);
        if (i < a->hd)
            shared_columns(sum, q, a->k, key, (size_t)i, a->hd - i, bf16);
        quads[g] = v_fold_quads(sum);
    }
    v_quads_by_row(to, quads);
}

/* own_columns - 16 * `wide` columns from i on, or `part`, of a query and positions p .. p + 15, four of which share a branch. */
V_INLINE void own_columns(v16 *sum, const dgm_attend *a, const float *q, size_t apart, int p, int i,
                          const int wide, int part, const int whole, const int bf16)
{
    v16 x[4];
    UNROLL(4)
    for (int w = 0; w < wide; w++)
        x[w] = part_as(q + i + 16 * w, part);
    UNROLL(4)
    for (int g = 0; g < 4; g++) {
        if (!whole && p + 4 * g >= a->n)
            continue;
        UNROLL(4)
        for (int c = 0; c < 4; c++) {
            const size_t at = key_at(a, p + 4 * g + c, whole) + apart + (size_t)i;
            UNROLL(4)
            for (int w = 0; w < wide; w++)
                sum[4 * c + g] =
                    v_fma(x[w], cached_as(a->k, at + 16 * (size_t)w, part, bf16), sum[4 * c + g]);
        }
    }
}

V_INLINE v16 own_scores(const dgm_attend *a, const float *q, size_t apart, int p, const int whole,
                        const int bf16)
{
    v16 sum[16];
    UNROLL(16)
    for (int s = 0; s < 16; s++)
        sum[s] = v_set1(0.0f);
    int i = 0;
    for (; i + 64 <= a->hd; i += 64)
        own_columns(sum, a, q, apart, p, i, 4, 16, whole, bf16);
    for (; i + 32 <= a->hd; i += 32)
        own_columns(sum, a, q, apart, p, i, 2, 16, whole, bf16);
    for (; i < a->hd; i += 16)
        own_columns(sum, a, q, apart, p, i, 1, a->hd - i < 16 ? a->hd - i : 16, whole, bf16);
    return v_fold_quads(sum);
}

/* keep_scores - 16 of them times scale to x[p ..], -inf from n on; *most becomes their maximum with it. */
V_INLINE void keep_scores(float *x, v16 *most, v16 score, v16 scale, int p, int n)
{
    v16 y = v_mul(score, scale);
    if (n - p < 16)
        y = v_first(y, n - p, -INFINITY);
    v_store(x + p, y);
    *most = v_max(*most, y);
}

/* all_shared_scores - of 4 queries with every position, and most[r] the maximum of query r's. */
V_INLINE void all_shared_scores(float *prob, size_t ldp, float *most, const dgm_attend *a,
                                const float *const *q, const int bf16)
{
    const v16 scale = v_set1(a->scale);
    v16 top[4], s[4];
    UNROLL(4)
    for (int r = 0; r < 4; r++)
        top[r] = v_set1(-INFINITY);
    for (int p = 0; p < a->n; p += 16) {
        if (p + 16 <= a->n)
            shared_scores(s, a, q, p, 1, bf16);
        else
            shared_scores(s, a, q, p, 0, bf16);
        UNROLL(4)
        for (int r = 0; r < 4; r++)
            keep_scores(prob + (size_t)r * ldp, &top[r], s[r], scale, p, a->n);
    }
    UNROLL(4)
    for (int r = 0; r < 4; r++)
        most[r] = v_fold_max(top[r]);
}

/* all_own_scores - of one query; returns the maximum. */
V_INLINE float all_own_scores(float *x, const dgm_attend *a, const float *q, size_t apart,
                              const int bf16)
{
    const v16 scale = v_set1(a->scale);
    v16 top = v_set1(-INFINITY);
    int p = 0;
    for (; p + 16 <= a->n; p += 16)
        keep_scores(x, &top, own_scores(a, q, apart, p, 1, bf16), scale, p, a->n);
    if (p < a->n)
        keep_scores(x, &top, own_scores(a, q, apart, p, 0, bf16), scale, p, a->n);
    return v_fold_max(top);
}

#else

/* four_scores - of positions p .. p + 3 of one query to x[p ..]: a sum alone waits for its own chain. */
V_INLINE void four_scores(float *x, const dgm_attend *a, const float *q, size_t apart, int p,
                          const int whole, const int bf16)
{
    v16 sum[4];
    size_t key[4];
    UNROLL(4)
    for (int c = 0; c < 4; c++) {
        key[c] = key_at(a, p + c, whole) + apart;
        sum[c] = v_set1(0.0f);
    }
    for (int i = 0; i < a->hd; i += 16) {
        const int part = a->hd - i < 16 ? a->hd - i : 16;
        const v16 y = part_as(q + i, part);
        UNROLL(4)
        for (int c = 0; c < 4; c++)
            sum[c] = v_fma(y, cached_as(a->k, key[c] + (size_t)i, part, bf16), sum[c]);
    }
    v_fold_add4(x + p, sum[0], sum[1], sum[2], sum[3]);
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

/* few_scores - likewise where registers are few; returns the maximum. */
V_INLINE float few_scores(float *x, const dgm_attend *a, const float *q, size_t apart,
                          const int bf16)
{
    int p = 0;
    for (; p + 4 <= a->n; p += 4)
        four_scores(x, a, q, apart, p, 1, bf16);
    if (p < a->n)
        four_scores(x, a, q, apart, p, 0, bf16);
    return scale_max(x, a->n, a->scale);
}

#endif

/* softmax - of x [n], -inf to the next multiple of 16, whose maximum is `most`: exp(x - most), the 16-lane sum, then a
 * division, in place. Whole vectors are stored: what is read back from a vector that was stored in part waits until it is
 * in the cache. */
V_INLINE void softmax(float *x, int n, float most)
{
    const v16 shift = v_set1(most);
    v16 sum = v_set1(0.0f);
    for (int i = 0; i < n; i += 16) {
        const v16 e = v_exp_down(v_sub(v_load(x + i), shift)); /* +0 from n on */
        v_store(x + i, e);
        sum = v_add(sum, e);
    }
    const v16 total = v_set1(v_fold_add(sum));
    for (int i = 0; i < n; i += 16)
        v_store(x + i, v_div(v_load(x + i), total));
}

/* softmax_apart - for tables with few registers, where its constants would crowd what stands around it. */
static __attribute__((noinline, unused)) void softmax_apart(float *x, int n, float most)
{
    softmax(x, n, most);
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

#if V_QUERIES == 4

/* attend_four - up to four queries; where there are fewer, the last one stands for those missing. */
V_INLINE void attend_four(float *prob, size_t ldp, const dgm_attend *a, const int shared,
                          const int bf16)
{
    const float *q[4];
    float *out[4], most[4];
    size_t apart[4];
    for (int r = 0; r < 4; r++) {
        const int from = r < a->queries ? r : a->queries - 1;
        q[r] = a->q[from];
        out[r] = a->out[from];
        apart[r] = (size_t)from * a->apart;
    }
    if (shared)
        all_shared_scores(prob, ldp, most, a, q, bf16);
    for (int r = 0; r < 4 && !shared; r++)
        most[r] = all_own_scores(prob + (size_t)r * ldp, a, q[r], apart[r], bf16);
    for (int r = 0; r < 4; r++)
        softmax(prob + (size_t)r * ldp, a->n, most[r]);
    mix(out, prob, ldp, a, apart, 4, shared, bf16);
}

V_INLINE void attend_type(float *prob, size_t ldp, const dgm_attend *a, const int bf16)
{
    if (a->queries > 1 && a->apart == 0) {
        attend_four(prob, ldp, a, 1, bf16);
    } else if (a->queries > 1) {
        attend_four(prob, ldp, a, 0, bf16);
    } else {
        const size_t apart = 0;
        float *out = a->out[0];
        softmax(prob, a->n, all_own_scores(prob, a, a->q[0], apart, bf16));
        mix(&out, prob, ldp, a, &apart, 1, 0, bf16);
    }
}

#else

V_INLINE void attend_type(float *prob, size_t ldp, const dgm_attend *a, const int bf16)
{
    for (int r = 0; r < a->queries; r++, prob += ldp) {
        const size_t apart = (size_t)r * a->apart;
        float *out = a->out[r];
        softmax_apart(prob, a->n, few_scores(prob, a, a->q[r], apart, bf16));
        mix(&out, prob, ldp, a, &apart, 1, 0, bf16);
    }
}

#endif

static void attend(float *prob, size_t ldp, const dgm_attend *a)
{
    const dgm_attend mine = *a; /* no store can change it */
    if (mine.bf16)
        attend_type(prob, ldp, &mine, 1);
    else
        attend_type(prob, ldp, &mine, 0);
}

static void attend_kernels_init(dgm_kernels *k)
{
    k->attend = attend;
}

#endif

/* int_rows.h - private to kernels/: rows to int8 and integer sums to floats, written once over v16 and vsum. */
#ifndef DGM_KERNELS_INT_ROWS_H
#define DGM_KERNELS_INT_ROWS_H

#include "kernels/row_kernels.h"

#include <string.h>

/* largest - max |x|, infinite or NaN if any element is. */
static float largest(const float *x, int n)
{
    v16 m = v_set1(0.0f);
    int i = 0;
    for (; i + 16 <= n; i += 16)
        m = v_max_bits(m, v_load(x + i));
    if (i < n)
        m = v_max_bits(m, v_load_part(x + i, n - i, 0.0f));
    float lane[DGM_LANES], top;
    uint32_t bits[DGM_LANES], most = 0;
    v_store(lane, m);
    memcpy(bits, lane, sizeof bits);
    for (int l = 0; l < DGM_LANES; l++)
        most = bits[l] > most ? bits[l] : most;
    memcpy(&top, &most, sizeof top);
    return top;
}

static void quantize_row(int8_t *q, float *scale, const float *x, int n)
{
    const float top = largest(x, n);
    *scale = top < 0x1p-100f ? 0.0f : top < INFINITY ? top / 127.0f : NAN;
    if (!(*scale > 0.0f)) {
        memset(q, 0, (size_t)n);
        return;
    }
    /* Added to 1.5 * 2^23, a number is rounded to an integer that stands in the low bits. Above 127 nothing comes:
     * both roundings together are less than half. */
    const v16 factor = v_set1(127.0f / top), round = v_set1(0x1.8p23f);
    int i = 0;
    for (; i + 16 <= n; i += 16)
        v_store_bytes(q + i, v_add(v_mul(v_load(x + i), factor), round));
    if (i < n) {
        int8_t last[DGM_LANES];
        v_store_bytes(last, v_add(v_mul(v_load_part(x + i, n - i, 0.0f), factor), round));
        memcpy(q + i, last, (size_t)(n - i));
    }
}

/* sum_of - of n numbers; integers may be added in any order. */
static int32_t sum_of(const int8_t *q, int n)
{
    vsum lanes = vs_set1(0);
    int32_t lane[DGM_LANES], sum = 0;
    int i = 0;
    for (; i + 64 <= n; i += 64)
        lanes = vs_add_quads(lanes, q + i);
    vs_store(lane, lanes);
    for (int l = 0; i > 0 && l < DGM_LANES; l++)
        sum += lane[l];
    for (; i < n; i++)
        sum += q[i];
    return sum;
}

static void sum_row(int32_t *sums, const int8_t *q, int n, int group)
{
    const int each = group == 0 ? n : group;
    for (int i = 0; i < n; i += each)
        *sums++ = sum_of(q + i, n - i < each ? n - i : each);
}

static void finish_scaled(float *y, const float *acc, const float *scale, const float *bias,
                          const float *residual, int relu, int n)
{
    const int b = bias != NULL, r = residual != NULL;
    const v16 none = v_set1(0.0f);
    int i = 0;
    for (; i + 16 <= n; i += 16)
        v_store(y + i, finish_lanes(v_fma(v_load(acc + i), v_load(scale + i), none),
                                    b ? v_load(bias + i) : none, r ? v_load(residual + i) : none, b,
                                    r, relu));
    if (i < n) {
        const int part = n - i;
        v_store_part(y + i,
                     finish_lanes(v_fma(v_load(acc + i), v_load(scale + i), none),
                                  b ? v_load_part(bias + i, part, 0.0f) : none,
                                  r ? v_load_part(residual + i, part, 0.0f) : none, b, r, relu),
                     part);
    }
}

/* scaled - the 16 sums at acc, times their scale, onto bias. */
V_INLINE v16 scaled(const void *acc, int i, v16 row, const float *col, v16 bias)
{
    if (col == NULL)
        return v_fma(v_load((const float *)acc + i), row, bias);
    return v_fma(vs_float(vs_load((const int32_t *)acc + i)), v_mul(row, v_load(col + i)), bias);
}

static void finish_integers(float *y, const void *acc, float row, const float *col,
                            const float *bias, const float *residual, int relu, int n)
{
    const int r = residual != NULL;
    const v16 none = v_set1(0.0f), rv = v_set1(row);
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        const v16 t = scaled(acc, i, rv, col, bias != NULL ? v_load(bias + i) : none);
        v_store(y + i, finish_lanes(t, none, r ? v_load(residual + i) : none, 0, r, relu));
    }
    if (i < n) {
        const int part = n - i;
        const v16 t =
            scaled(acc, i, rv, col, bias != NULL ? v_load_part(bias + i, part, 0.0f) : none);
        v_store_part(
            y + i,
            finish_lanes(t, none, r ? v_load_part(residual + i, part, 0.0f) : none, 0, r, relu),
            part);
    }
}

static void int_rows_init(dgm_kernels *k)
{
    k->quantize_row = quantize_row;
    k->sum_row = sum_row;
    k->finish_scaled = finish_scaled;
    k->finish_integers = finish_integers;
}

#endif

/*
 * picked_kernels.h - private to kernels/: a few rows with weights of which n of m are kept, written once over v16.
 *
 * A lane picks the inputs that its output kept: one permutation and one fma for each kept number, in ascending order of
 * inputs, so the chain is that of the whole row without the products that are zero. The including <isa>/kernels.c
 * defines, beside what wide_kernels.h wants,
 *   PICKED_PANELS(rows)      how many panels picked_rows takes at once
 *   PICKED_WINDOW(rows, m)   from how many inputs a lane picks: m, or 16, those of several groups
 */
#ifndef DGM_KERNELS_PICKED_KERNELS_H
#define DGM_KERNELS_PICKED_KERNELS_H

#include "kernels/sparse.h"
#include "kernels/wide_kernels.h"

#include <math.h>
#include <string.h>

enum { MOST_INPUTS = 32 };

enum { PICKED_NUMBERS = 2 }; /* of a group, at once: 4 of 8 would not find the registers */

/* kept - number v of a block, of all lanes. */
V_INLINE v16 kept(const unsigned char *data, const int v, const dgm_wtype t, const int few)
{
    const int per = dgm_line_inputs(t);
    const unsigned char *line = data + v / per * DGM_LINE;
    return t == DGM_W_F32 ? v_load((const float *)line) : wide(v_line(line), v % per, t, few);
}

/* picked_numbers - numbers v .. v + n_numbers - 1 of a block, which one group kept, with the group's inputs of all rows. */
V_INLINE void picked_numbers(v16 acc[][MOST_PANELS], const float *const *x, int at,
                             const unsigned char *data, size_t stride, const vline *index,
                             const int v, const int n_numbers, const int rows, const int n_panels,
                             const dgm_wtype t, const dgm_pattern pattern)
{
    const int m = dgm_nm_m(pattern), size = PICKED_WINDOW(rows, m);
    const int input = v / dgm_nm_n(pattern) * m, first = input % size;
    v16 w[MOST_PANELS][PICKED_NUMBERS];
    vline places[MOST_PANELS][PICKED_NUMBERS];
    UNROLL(8)
    for (int p = 0; p < n_panels; p++) {
        UNROLL(4)
        for (int s = 0; s < n_numbers; s++) {
            w[p][s] = kept(data + (size_t)p * stride, v + s, t, rows <= 4);
            places[p][s] = v_places(index[p], dgm_nm_bit(pattern, v + s), m, first, size);
        }
    }
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        const vwindow window = v_window(x[r] + at + input - first, size);
        UNROLL(4)
        for (int s = 0; s < n_numbers; s++) {
            UNROLL(8)
            for (int p = 0; p < n_panels; p++)
                acc[r][p] = v_fma(v_picked(window, places[p][s], size), w[p][s], acc[r][p]);
        }
    }
}

/*
 * picked_group - m inputs of all rows, from x[r][at] on: numbers g * n .. of the block. Windows of 16 are loaded once for a
 * group's numbers, and again for the next group, though it wants the same: compilers would keep what there are no registers for.
 */
V_INLINE void picked_group(v16 acc[][MOST_PANELS], const float *const *x, int at,
                           const unsigned char *data, size_t stride, const vline *index,
                           const int g, const int rows, const int n_panels, const dgm_wtype t,
                           const dgm_pattern pattern)
{
    const int n = dgm_nm_n(pattern), m = dgm_nm_m(pattern);
    const int each = PICKED_WINDOW(rows, m) == m ? 1 : PICKED_NUMBERS;
    if (PICKED_WINDOW(rows, m) != m)
        __asm__ volatile("" ::: "memory");
    UNROLL(4)
    for (int s = 0; s < n; s += each)
        picked_numbers(acc, x, at, data, stride, index, g * n + s, each, rows, n_panels, t,
                       pattern);
}

V_INLINE void picked_block(v16 acc[][MOST_PANELS], const float *const *x, int at,
                           const unsigned char *data, size_t stride, const unsigned char *index,
                           size_t index_stride, size_t soon, size_t soon_index, const int rows,
                           const int n_panels, const dgm_wtype t, const dgm_pattern pattern)
{
    const int groups = dgm_nm_inputs(pattern) / dgm_nm_m(pattern);
    const int lines = dgm_nm_inputs(pattern) / 2 / dgm_line_inputs(t);
    vline places[MOST_PANELS];
    UNROLL(8)
    for (int p = 0; p < n_panels; p++) {
        places[p] = v_line(index + (size_t)p * index_stride);
        __builtin_prefetch(index + (size_t)p * index_stride + soon_index, 0, 3);
    }
    UNROLL(8)
    for (int g = 0; g < groups; g++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++) {
            UNROLL(2)
            for (int l = lines * g / groups; l < lines * (g + 1) / groups; l++)
                __builtin_prefetch(data + (size_t)p * stride + (size_t)l * DGM_LINE + soon, 0, 3);
        }
        picked_group(acc, x, at, data, stride, places, g, rows, n_panels, t, pattern);
    }
}

/* picked_chains - of n_panels panels; the last block, if it is not full, from a copy of its inputs. */
V_INLINE void picked_chains(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w,
                            int k, const int rows, const int n_panels, const dgm_wtype t,
                            const dgm_pattern pattern)
{
    const int inputs = dgm_nm_inputs(pattern), whole = k / inputs * inputs;
    const size_t bytes = dgm_panel_bytes(t, inputs / 2);
    const int group = w->scales.at != NULL ? w->scales.group : k + inputs;
    const unsigned char *data = w->data, *index = w->index;
    const float *scale = w->scales.at, *row[DGM_MAX_TILE_ROWS];
    const int lines = (int)(w->stride / DGM_LINE), each = (int)(bytes / DGM_LINE);
    float last[DGM_MAX_TILE_ROWS][MOST_INPUTS];
    v16 acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    for (int r = 0; r < rows; r++)
        row[r] = x + (size_t)r * ldx;
    for (int i = 0, line = 0, first = 1; i < k; first = 0) {
        const int end = k - i < group ? k : i + group;
        clear(acc, rows, n_panels);
        for (; i < end; i += inputs, line += each, data += bytes, index += DGM_LINE) {
            for (int r = 0; i == whole && r < rows; r++) {
                memset(last[r], 0, sizeof last[r]);
                memcpy(last[r], row[r] + i, (size_t)(k - i) * sizeof *x);
                row[r] = last[r];
            }
            picked_block(
                acc, row, i == whole ? 0 : i, data, w->stride, index, w->index_stride,
                dgm_soon(line, lines, w->stride, n_panels),
                dgm_soon_of(DGM_SOON / each, line / each, lines / each, w->index_stride, n_panels),
                rows, n_panels, t, pattern);
        }
        if (scale == NULL) {
            store(y, ldy, acc, rows, n_panels);
        } else {
            store_scaled(y, ldy, acc, rows, n_panels, scale, w->scales.stride, first);
            scale += DGM_PANEL;
        }
    }
}

V_INLINE void picked_all(float *y, size_t ldy, const float *x, size_t ldx, dgm_panels w, int k,
                         const int rows, int n_panels, const int at_once, const dgm_wtype t,
                         const dgm_pattern pattern)
{
    for (int np; n_panels > 0; n_panels -= np) {
        np = n_panels >= at_once ? at_once : 1;
        if (np == at_once)
            picked_chains(y, ldy, x, ldx, &w, k, rows, at_once, t, pattern);
        else
            picked_chains(y, ldy, x, ldx, &w, k, rows, 1, t, pattern);
        y += DGM_PANEL * np;
        w.data = (const unsigned char *)w.data + w.stride * (size_t)np;
        w.index = (const unsigned char *)w.index + w.index_stride * (size_t)np;
        w.scales.at = w.scales.at != NULL ? w.scales.at + w.scales.stride * (size_t)np : NULL;
    }
}

#define PICKED_CASE(r)                                                                             \
    case r:                                                                                        \
        if (r <= THIN_ROWS)                                                                        \
            picked_all(y, ldy, x, ldx, *w, k, r, n_panels, PICKED_PANELS(r), type, pattern);       \
        break;

#define PICKED_ROWS(name, t, nm)                                                                   \
    static void name(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w, int k, \
                     int rows, int n_panels)                                                       \
    {                                                                                              \
        const dgm_wtype type = t;                                                                  \
        const dgm_pattern pattern = nm;                                                            \
        switch (rows) {                                                                            \
            EACH_ROWS(PICKED_CASE)                                                                 \
        }                                                                                          \
    }

PICKED_ROWS(picked_f32_2, DGM_W_F32, DGM_2_OF_4)
PICKED_ROWS(picked_f32_4, DGM_W_F32, DGM_4_OF_8)
PICKED_ROWS(picked_bf16_2, DGM_W_BF16, DGM_2_OF_4)
PICKED_ROWS(picked_bf16_4, DGM_W_BF16, DGM_4_OF_8)
PICKED_ROWS(picked_int8_2, DGM_W_INT8, DGM_2_OF_4)
PICKED_ROWS(picked_int8_4, DGM_W_INT8, DGM_4_OF_8)

static void picked_rows(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w,
                        int k, int rows, int n_panels)
{
    const int two = w->pattern == DGM_2_OF_4;
    (w->type == DGM_W_F32 ? (two ? picked_f32_2 : picked_f32_4)
     : w->type == DGM_W_BF16
         ? (two ? picked_bf16_2 : picked_bf16_4)
         : (two ? picked_int8_2 : picked_int8_4))(y, ldy, x, ldx, w, k, rows, n_panels);
}

/* As integers: what is not zero lies from `least` up to infinity. */
static int plain(const float *x, int n)
{
    const float least = DGM_SPARSE_LEAST_X, most = INFINITY;
    uint32_t low, high, bad = 0;
    memcpy(&low, &least, sizeof low);
    memcpy(&high, &most, sizeof high);
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffff;
        bad |= (uint32_t)(bits != 0) & (uint32_t)(bits - low >= high - low);
    }
    return bad == 0;
}

V_INLINE void picked_kernels_init(dgm_kernels *k)
{
    k->picked_rows = picked_rows;
    k->plain = plain;
}

#endif

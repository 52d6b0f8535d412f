/*
 * picked_kernels.h - private to kernels/: a few rows with weights of which n of m are kept, written once over parts: the
 * outputs of a panel that share a register.
 *
 * A lane picks the inputs that its output kept: one permutation and one fma for each kept number, in ascending order of
 * inputs, so the chain is that of the whole row without the products that are zero. The including <isa>/kernels.c
 * defines, beside what wide_kernels.h wants,
 *   PICKED_ROWS              the most rows of picked_rows
 *   PICKED_PARTS(rows)       how many parts picked_rows takes at once: whole panels, or less than one
 *   PICKED_SIDE(rows)        how many of these share a window
 *   PICKED_AGAIN(rows)       whether windows and places are loaded again where they are wanted again
 *   PICKED_NUMBERS(rows)     how many numbers of a group at once, 1 or 2: one wants fewer registers, and windows twice
 *   PICKED_WINDOW(rows, m)   from how many inputs a lane picks: m, or 16, those of several groups
 * and, where a register is less than a panel, V_PARTS, as avx2/lines.h does.
 */
#ifndef DGM_KERNELS_PICKED_KERNELS_H
#define DGM_KERNELS_PICKED_KERNELS_H

#include "kernels/sparse.h"
#include "kernels/wide_kernels.h"

#include <string.h>

enum { MOST_INPUTS = 32, MOST_NUMBERS = 2 };

#ifndef V_PARTS
#define V_PARTS 1      /* of a panel */
#define V_S8_UNIT 1.0f /* what part_wide makes of the integer 1 */
typedef v16 vpart;
typedef vline vpart_line;

V_INLINE vpart part_set1(float a)
{
    return v_set1(a);
}

V_INLINE vpart part_load(const float *p)
{
    return v_load(p);
}

V_INLINE void part_store(float *p, vpart a)
{
    v_store(p, a);
}

V_INLINE vpart part_mul(vpart a, vpart b)
{
    return v_mul(a, b);
}

V_INLINE vpart part_fma(vpart a, vpart b, vpart c)
{
    return v_fma(a, b, c);
}

V_INLINE vpart_line part_line(const unsigned char *p)
{
    return v_line(p);
}

V_INLINE vpart part_wide(vpart_line line, const int s, const dgm_wtype t, const int few)
{
    return wide(line, s, t, few);
}
#endif

enum { PART = DGM_PANEL / V_PARTS };

/* part_of - part `p` of what is `stride` bytes a panel. */
V_INLINE const unsigned char *part_of(const unsigned char *base, size_t stride, const int p)
{
    return base + (size_t)(p / V_PARTS) * stride + (size_t)(p % V_PARTS) * (DGM_LINE / V_PARTS);
}

/* Where blocks of parts stand: the first part's numbers and places. */
typedef struct picked_at {
    const unsigned char *data, *index;
    size_t stride, index_stride;
} picked_at;

/* kept - number v of a block, of all lanes. */
V_INLINE vpart kept(const unsigned char *data, const int v, const dgm_wtype t, const int few)
{
    const int per = dgm_line_inputs(t);
    const unsigned char *line = data + v / per * DGM_LINE;
    return t == DGM_W_F32 ? part_load((const float *)line)
                          : part_wide(part_line(line), v % per, t, few);
}

/* picked_numbers - numbers v .. v + n_numbers - 1 of a block, which one group kept, with the group's inputs of all rows. */
V_INLINE void picked_numbers(vpart acc[][MOST_PANELS], const float *const *x, int at,
                             const picked_at *w, const vpart_line *index, const int from,
                             const int v, const int n_numbers, const int rows, const int n_parts,
                             const dgm_wtype t, const dgm_pattern pattern)
{
    const int m = dgm_nm_m(pattern), size = PICKED_WINDOW(rows, m);
    const int input = v / dgm_nm_n(pattern) * m, first = input % size;
    vpart number[MOST_PANELS][MOST_NUMBERS];
    vpart_line places[MOST_PANELS][MOST_NUMBERS];
    UNROLL(8)
    for (int p = 0; p < n_parts; p++) {
        UNROLL(4)
        for (int s = 0; s < n_numbers; s++) {
            number[p][s] = kept(part_of(w->data, w->stride, from + p), v + s, t, rows <= 4);
            places[p][s] = v_places(index[p], dgm_nm_bit(pattern, v + s), m, first, size);
        }
    }
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        const vwindow window = v_window(x[r] + at + input - first, size);
        UNROLL(4)
        for (int s = 0; s < n_numbers; s++) {
            UNROLL(8)
            for (int p = 0; p < n_parts; p++)
                acc[r][from + p] =
                    part_fma(v_picked(window, places[p][s], size), number[p][s], acc[r][from + p]);
        }
    }
}

/*
 * picked_group - m inputs of all rows, from x[r][at] on: numbers g * n .. of the block. Windows of 16 are loaded once for a group's
 * numbers, and again for the next group, though it wants the same: compilers would keep what there are no registers for.
 */
V_INLINE void picked_group(vpart acc[][MOST_PANELS], const float *const *x, int at,
                           const picked_at *w, const vpart_line *index, const int g, const int rows,
                           const int n_parts, const dgm_wtype t, const dgm_pattern pattern)
{
    const int n = dgm_nm_n(pattern), m = dgm_nm_m(pattern);
    const int each = PICKED_NUMBERS(rows);
    const int side = PICKED_SIDE(rows) < n_parts ? PICKED_SIDE(rows) : n_parts;
    UNROLL(8)
    for (int p = 0; p < n_parts; p += side) {
        if (!PICKED_AGAIN(rows) && PICKED_WINDOW(rows, m) != m)
            __asm__ volatile("" ::: "memory");
        UNROLL(4)
        for (int s = 0; s < n; s += each) {
            vpart_line places[MOST_PANELS];
            if (PICKED_AGAIN(rows))
                __asm__ volatile("" ::: "memory");
            UNROLL(8)
            for (int q = 0; q < side; q++)
                places[q] = PICKED_AGAIN(rows)
                                ? part_line(part_of(w->index, w->index_stride, p + q))
                                : index[p + q];
            picked_numbers(acc, x, at, w, places, p, g * n + s, each, rows, side, t, pattern);
        }
    }
}

/* picked_block - soon, soon_index: how far on what is asked for lies; 0: nothing is. */
V_INLINE void picked_block(vpart acc[][MOST_PANELS], const float *const *x, int at,
                           const picked_at *w, size_t soon, size_t soon_index, const int rows,
                           const int n_parts, const dgm_wtype t, const dgm_pattern pattern)
{
    const int groups = dgm_nm_inputs(pattern) / dgm_nm_m(pattern);
    const int lines = dgm_nm_inputs(pattern) / 2 / dgm_line_inputs(t);
    vpart_line places[MOST_PANELS];
    UNROLL(8)
    for (int p = 0; p < n_parts; p++) {
        const unsigned char *index = part_of(w->index, w->index_stride, p);
        places[p] = part_line(index);
        if (p % V_PARTS == 0)
            __builtin_prefetch(index + soon_index, 0, 3);
    }
    UNROLL(8)
    for (int g = 0; g < groups; g++) {
        UNROLL(8)
        for (int p = 0; p < n_parts; p += V_PARTS) {
            UNROLL(2)
            for (int l = lines * g / groups; l < lines * (g + 1) / groups; l++)
                __builtin_prefetch(part_of(w->data, w->stride, p) + (size_t)l * DGM_LINE + soon, 0,
                                   3);
        }
        picked_group(acc, x, at, w, places, g, rows, n_parts, t, pattern);
    }
}

/* picked_store - sums of numbers that were `unit` times too large, times scales where there are any. */
V_INLINE void picked_store(float *y, size_t ldy, vpart acc[][MOST_PANELS], const int rows,
                           const int n_parts, const float *scale, size_t scale_stride, int first,
                           const float unit)
{
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_parts; p++) {
            float *const at = y + (size_t)r * ldy + PART * p;
            vpart sum = acc[r][p];
            if (unit != 1.0f)
                sum = part_mul(sum, part_set1(1.0f / unit));
            if (scale != NULL)
                sum = part_fma(
                    sum,
                    part_load(scale + (size_t)(p / V_PARTS) * scale_stride + p % V_PARTS * PART),
                    first ? part_set1(0.0f) : part_load(at));
            part_store(at, sum);
        }
    }
}

/* picked_chains - of n_parts parts; the last block, if it is not full, from a copy of its inputs. asks: for what comes after,
 * which the first part of a panel does for all of it. */
V_INLINE void picked_chains(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w,
                            int k, int asks, const int rows, const int n_parts, const dgm_wtype t,
                            const dgm_pattern pattern)
{
    const int inputs = dgm_nm_inputs(pattern), whole = k / inputs * inputs;
    const int n_panels = n_parts > V_PARTS ? n_parts / V_PARTS : 1;
    const size_t bytes = dgm_panel_bytes(t, inputs / 2);
    const int group = w->scales.at != NULL ? w->scales.group : k + inputs;
    const float *scale = w->scales.at, *row[DGM_MAX_TILE_ROWS];
    const int lines = (int)(w->stride / DGM_LINE), each = (int)(bytes / DGM_LINE);
    picked_at from = {w->data, w->index, w->stride, w->index_stride};
    float last[DGM_MAX_TILE_ROWS][MOST_INPUTS];
    vpart acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    for (int r = 0; r < rows; r++)
        row[r] = x + (size_t)r * ldx;
    for (int i = 0, line = 0, first = 1; i < k; first = 0) {
        const int end = k - i < group ? k : i + group;
        UNROLL(16)
        for (int r = 0; r < rows; r++) {
            UNROLL(8)
            for (int p = 0; p < n_parts; p++)
                acc[r][p] = part_set1(0.0f);
        }
        for (; i < end; i += inputs, line += each, from.data += bytes, from.index += DGM_LINE) {
            for (int r = 0; i == whole && r < rows; r++) {
                memset(last[r], 0, sizeof last[r]);
                memcpy(last[r], row[r] + i, (size_t)(k - i) * sizeof *x);
                row[r] = last[r];
            }
            picked_block(acc, row, i == whole ? 0 : i, &from,
                         asks ? dgm_soon(line, lines, w->stride, n_panels) : 0,
                         asks ? dgm_soon_of(DGM_SOON / each, line / each, lines / each,
                                            w->index_stride, n_panels)
                              : 0,
                         rows, n_parts, t, pattern);
        }
        picked_store(y, ldy, acc, rows, n_parts, scale, w->scales.stride, first,
                     t == DGM_W_INT8 ? V_S8_UNIT : 1.0f);
        scale = scale != NULL ? scale + DGM_PANEL : NULL;
    }
}

/* picked_all - at_once parts at a time, and where fewer are left, a panel's. */
V_INLINE void picked_all(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w,
                         int k, const int rows, int n_panels, const int at_once, const dgm_wtype t,
                         const dgm_pattern pattern)
{
    const int least = at_once < V_PARTS ? at_once : V_PARTS, n = n_panels * V_PARTS;
    for (int p = 0, np; p < n; p += np) {
        const int panel = p / V_PARTS, part = p % V_PARTS;
        dgm_panels from = *w;
        from.data = part_of((const unsigned char *)w->data + w->stride * (size_t)panel, 0, part);
        from.index =
            part_of((const unsigned char *)w->index + w->index_stride * (size_t)panel, 0, part);
        if (w->scales.at != NULL)
            from.scales.at = w->scales.at + w->scales.stride * (size_t)panel + part * PART;
        np = n - p >= at_once ? at_once : least;
        if (np == at_once)
            picked_chains(y, ldy, x, ldx, &from, k, part == 0, rows, at_once, t, pattern);
        else
            picked_chains(y, ldy, x, ldx, &from, k, part == 0, rows, least, t, pattern);
        y += PART * np;
    }
}

#define PICKED_CASE(r)                                                                             \
    case r:                                                                                        \
        if (r <= PICKED_ROWS)                                                                      \
            picked_all(y, ldy, x, ldx, w, k, r, n_panels, PICKED_PARTS(r), type, pattern);         \
        break;

#define PICKED_KERNEL(name, t, nm)                                                                 \
    static void name(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w, int k, \
                     int rows, int n_panels)                                                       \
    {                                                                                              \
        const dgm_wtype type = t;                                                                  \
        const dgm_pattern pattern = nm;                                                            \
        switch (rows) {                                                                            \
            EACH_ROWS(PICKED_CASE)                                                                 \
        }                                                                                          \
    }

PICKED_KERNEL(picked_f32_2, DGM_W_F32, DGM_2_OF_4)
PICKED_KERNEL(picked_f32_4, DGM_W_F32, DGM_4_OF_8)
PICKED_KERNEL(picked_bf16_2, DGM_W_BF16, DGM_2_OF_4)
PICKED_KERNEL(picked_bf16_4, DGM_W_BF16, DGM_4_OF_8)
PICKED_KERNEL(picked_int8_2, DGM_W_INT8, DGM_2_OF_4)
PICKED_KERNEL(picked_int8_4, DGM_W_INT8, DGM_4_OF_8)

static void picked_rows(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w,
                        int k, int rows, int n_panels)
{
    const int two = w->pattern == DGM_2_OF_4;
    (w->type == DGM_W_F32 ? (two ? picked_f32_2 : picked_f32_4)
     : w->type == DGM_W_BF16
         ? (two ? picked_bf16_2 : picked_bf16_4)
         : (two ? picked_int8_2 : picked_int8_4))(y, ldy, x, ldx, w, k, rows, n_panels);
}

/* As integers: what is not zero lies from `least` to below `most`. */
static int plain(const float *x, int n)
{
    const float least = DGM_SPARSE_LEAST_X, most = DGM_SPARSE_MOST_X;
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
    k->picked_thin_rows = PICKED_ROWS;
    k->picked_rows = picked_rows;
    k->plain = plain;
}

#endif

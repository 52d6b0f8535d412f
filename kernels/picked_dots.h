/*
 * picked_dots.h - private to kernels/: integer dot products of a few rows with int8 of which n of m are kept, written
 * once over vsum, for the including <isa>/kernels.c and what dot_kernels.h wants of it.
 *
 * One panel after the other, in the order of memory, as in dot_kernels.h; a line's sums go to one of DOT_THIN_CHAINS.
 * PICKED_ADDED: a dot product of unsigned with signed bytes takes rows as unsigned, so that much is added to each of
 * their numbers beforehand (dgm_kernels.picked_added), and what that adds to a sum, the same for all rows, is
 * counted beside and taken off at the end. (Signs of weights given to inputs cost a mask a line, and an operation more a row.)
 */
#ifndef DGM_KERNELS_PICKED_DOTS_H
#define DGM_KERNELS_PICKED_DOTS_H

#include "kernels/dot_kernels.h"
#include "kernels/sparse.h"

#include <string.h>

enum { MOST_DOT_INPUTS = 32 };

/* dot_block - a block of inputs of all rows, from x[r][at] on; its lines keep 4 of 8 each, and take chains in turns. */
V_INLINE void dot_block(vsum acc[][MOST_PANELS], vsum *added, const int8_t *const *x, int at,
                        const unsigned char *data, const unsigned char *index, const int rows,
                        const int chains, const dgm_pattern pattern)
{
    const int m = dgm_nm_m(pattern), lines = dgm_nm_inputs(pattern) / 8;
    const vline places = v_line(index);
    __builtin_prefetch(index + (size_t)(DGM_SOON / lines) * DGM_LINE, 0, 3);
    UNROLL(4)
    for (int l = 0; l < lines; l++) {
        const unsigned char *line = data + (size_t)l * DGM_LINE;
        const vkept w = vkept_of(line);
        const vline from = vs_places(places, l, m);
        __builtin_prefetch(line + (size_t)DGM_SOON * DGM_LINE, 0, 3);
        if (PICKED_ADDED != 0)
            *added = vs_dot_added(*added, w);
        UNROLL(16)
        for (int r = 0; r < rows; r++)
            acc[r][l % chains] =
                vs_dot_picked(acc[r][l % chains], w, vs_window(x[r] + at + 8 * l), from);
    }
}

V_INLINE void picked_sums(void *y, size_t ldy, const int8_t *q, size_t ldq, const dgm_panels *w,
                          int k, const int rows, const int chains, const dgm_pattern pattern)
{
    const int inputs = dgm_nm_inputs(pattern), whole = k / inputs * inputs;
    const int group = w->scales.at != NULL ? w->scales.group : k;
    const unsigned char *data = w->data, *index = w->index;
    const float *scale = w->scales.at;
    const int8_t *row[DGM_MAX_TILE_ROWS];
    int8_t last[DGM_MAX_TILE_ROWS][MOST_DOT_INPUTS];
    vsum acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    for (int r = 0; r < rows; r++)
        row[r] = q + (size_t)r * ldq;
    for (int i = 0, first = 1; i < k; first = 0) {
        const int end = k - i < group ? k : i + group;
        vsum added = vs_set1(0);
        UNROLL(16)
        for (int r = 0; r < rows; r++) {
            UNROLL(4)
            for (int c = 0; c < chains; c++)
                acc[r][c] = vs_set1(0);
        }
        for (; i < end; i += inputs, data += inputs / 8 * DGM_LINE, index += DGM_LINE) {
            for (int r = 0; i == whole && r < rows; r++) {
                memset(last[r], 0, sizeof last[r]);
                memcpy(last[r], row[r] + i, (size_t)(k - i));
                row[r] = last[r];
            }
            dot_block(acc, &added, row, i == whole ? 0 : i, data, index, rows, chains, pattern);
        }
        dot_joined(acc, rows, chains);
        UNROLL(16)
        for (int r = 0; PICKED_ADDED != 0 && r < rows; r++)
            acc[r][0] = vs_sub(acc[r][0], added);
        dot_store(y, ldy, acc, scale, 0, rows, 1, first);
        scale = scale != NULL ? scale + DGM_PANEL : NULL;
    }
}

V_INLINE void picked_dots_all(void *y, size_t ldy, const int8_t *q, size_t ldq, dgm_panels w, int k,
                              const int rows, int n_panels, const dgm_pattern pattern)
{
    const int lines = dgm_nm_inputs(pattern) / 8,
              chains = DOT_THIN_CHAINS(rows) < lines ? DOT_THIN_CHAINS(rows) : lines;
    for (; n_panels > 0; n_panels--) {
        picked_sums(y, ldy, q, ldq, &w, k, rows, chains, pattern);
        y = (float *)y + DGM_PANEL;
        w.data = (const unsigned char *)w.data + w.stride;
        w.index = (const unsigned char *)w.index + w.index_stride;
        w.scales.at = w.scales.at != NULL ? w.scales.at + w.scales.stride : NULL;
    }
}

#define PICKED_DOTS_CASE(r)                                                                        \
    case r:                                                                                        \
        if (r <= DOT_THIN_ROWS)                                                                    \
            picked_dots_all(y, ldy, q, ldq, *w, k, r, n_panels, pattern);                          \
        break;

#define PICKED_DOTS(name, nm)                                                                      \
    static void name(void *y, size_t ldy, const int8_t *q, size_t ldq, const dgm_panels *w, int k, \
                     int rows, int n_panels)                                                       \
    {                                                                                              \
        const dgm_pattern pattern = nm;                                                            \
        switch (rows) {                                                                            \
            EACH_ROWS(PICKED_DOTS_CASE)                                                            \
        }                                                                                          \
    }

PICKED_DOTS(picked_dots_2, DGM_2_OF_4)
PICKED_DOTS(picked_dots_4, DGM_4_OF_8)

static void picked_dots(void *y, size_t ldy, const int8_t *q, size_t ldq, const dgm_panels *w,
                        int k, int rows, int n_panels)
{
    (w->pattern == DGM_2_OF_4 ? picked_dots_2 : picked_dots_4)(y, ldy, q, ldq, w, k, rows,
                                                               n_panels);
}

V_INLINE void picked_dots_init(dgm_kernels *k)
{
    k->picked_added = PICKED_ADDED;
    k->picked_dots = picked_dots;
}

#endif

/*
 * picked_dots.h - private to kernels/: integer dot products of a few rows with int8 of which n of m are kept, written
 * once over vsum. Beside what dot_kernels.h wants, the including <isa>/kernels.c defines
 *   PICKED_DOT_PANELS(rows)   how many panels picked_dots takes at once
 */
#ifndef DGM_KERNELS_PICKED_DOTS_H
#define DGM_KERNELS_PICKED_DOTS_H

#include "kernels/dot_kernels.h"
#include "kernels/sparse.h"

#include <string.h>

enum { MOST_DOT_INPUTS = 32 };

/* dot_block - a block of inputs of all rows, from x[r][at] on; its lines keep 4 of 8 each. */
V_INLINE void dot_block(vsum acc[][MOST_PANELS], const int8_t *const *x, int at,
                        const unsigned char *data, size_t stride, const unsigned char *index,
                        size_t index_stride, size_t soon, const int rows, const int n_panels,
                        const dgm_pattern pattern)
{
    const int m = dgm_nm_m(pattern);
    vline places[MOST_PANELS];
    UNROLL(8)
    for (int p = 0; p < n_panels; p++)
        places[p] = v_line(index + (size_t)p * index_stride);
    UNROLL(4)
    for (int l = 0; l < dgm_nm_inputs(pattern) / 8; l++) {
        vkept w[MOST_PANELS];
        vline from[MOST_PANELS];
        UNROLL(8)
        for (int p = 0; p < n_panels; p++) {
            const unsigned char *line = data + (size_t)p * stride + (size_t)l * DGM_LINE;
            __builtin_prefetch(line + soon, 0, 3);
            w[p] = vkept_of(line);
            from[p] = vs_places(places[p], l, m);
        }
        UNROLL(16)
        for (int r = 0; r < rows; r++) {
            const vinputs window = vs_window(x[r] + at + 8 * l);
            UNROLL(8)
            for (int p = 0; p < n_panels; p++)
                acc[r][p] = vs_dot_picked(acc[r][p], w[p], window, from[p]);
        }
    }
}

V_INLINE void dot_store(void *y, size_t ldy, vsum acc[][MOST_PANELS], const float *scale,
                        size_t scale_stride, const int rows, const int n_panels, int first)
{
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++) {
            const size_t at = (size_t)r * ldy + (size_t)(DGM_PANEL * p);
            float *sum = (float *)y + at;
            if (scale == NULL)
                vs_store((int32_t *)y + at, acc[r][p]);
            else
                v_store(sum, v_fma(vs_float(acc[r][p]), v_load(scale + (size_t)p * scale_stride),
                                   first ? v_set1(0.0f) : v_load(sum)));
        }
    }
}

V_INLINE void picked_sums(void *y, size_t ldy, const int8_t *q, size_t ldq, const dgm_panels *w,
                          int k, const int rows, const int n_panels, const dgm_pattern pattern)
{
    const int inputs = dgm_nm_inputs(pattern), whole = k / inputs * inputs, each = inputs / 8;
    const int group = w->scales.at != NULL ? w->scales.group : k;
    const unsigned char *data = w->data, *index = w->index;
    const float *scale = w->scales.at;
    const int8_t *row[DGM_MAX_TILE_ROWS];
    const int lines = (int)(w->stride / DGM_LINE);
    int8_t last[DGM_MAX_TILE_ROWS][MOST_DOT_INPUTS];
    vsum acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    for (int r = 0; r < rows; r++)
        row[r] = q + (size_t)r * ldq;
    for (int i = 0, line = 0, first = 1; i < k; first = 0) {
        const int end = k - i < group ? k : i + group;
        UNROLL(16)
        for (int r = 0; r < rows; r++) {
            UNROLL(8)
            for (int p = 0; p < n_panels; p++)
                acc[r][p] = vs_set1(0);
        }
        for (; i < end; i += inputs, line += each, index += DGM_LINE) {
            for (int r = 0; i == whole && r < rows; r++) {
                memset(last[r], 0, sizeof last[r]);
                memcpy(last[r], row[r] + i, (size_t)(k - i));
                row[r] = last[r];
            }
            dot_block(acc, row, i == whole ? 0 : i, data, w->stride, index, w->index_stride,
                      dgm_soon(line, lines, w->stride, n_panels), rows, n_panels, pattern);
            data += (size_t)each * DGM_LINE;
        }
        dot_store(y, ldy, acc, scale, w->scales.stride, rows, n_panels, first);
        scale = scale != NULL ? scale + DGM_PANEL : NULL;
    }
}

V_INLINE void picked_dots_all(void *y, size_t ldy, const int8_t *q, size_t ldq, dgm_panels w, int k,
                              const int rows, int n_panels, const int at_once,
                              const dgm_pattern pattern)
{
    for (int np; n_panels > 0; n_panels -= np) {
        np = n_panels >= at_once ? at_once : 1;
        if (np == at_once)
            picked_sums(y, ldy, q, ldq, &w, k, rows, at_once, pattern);
        else
            picked_sums(y, ldy, q, ldq, &w, k, rows, 1, pattern);
        y = (float *)y + DGM_PANEL * np;
        w.data = (const unsigned char *)w.data + w.stride * (size_t)np;
        w.index = (const unsigned char *)w.index + w.index_stride * (size_t)np;
        w.scales.at = w.scales.at != NULL ? w.scales.at + w.scales.stride * (size_t)np : NULL;
    }
}

#define PICKED_DOTS_CASE(r)                                                                        \
    case r:                                                                                        \
        if (r <= DOT_THIN_ROWS)                                                                    \
            picked_dots_all(y, ldy, q, ldq, *w, k, r, n_panels, PICKED_DOT_PANELS(r), pattern);    \
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

static void picked_dots_init(dgm_kernels *k)
{
    k->picked_dots = picked_dots;
}

#endif

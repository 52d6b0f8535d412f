/*
 * tile_kernels.h - private to kernels/: the GEMM tiles of the table, written once over v16.
 *
 * The including <isa>/kernels.c defines, from its number of registers,
 *   TILE_ROWS, TILE_PANELS   the largest tile of gemm_tile
 *   THIN_ROWS                the most rows of gemm_rows
 *   THIN_PANELS(rows)        how many panels gemm_rows takes at once: sums in 8 registers at least, to hide
 *                            the latency of an fma, and in no more than there are
 * `tile` is inlined with constant sizes, which makes its sums registers.
 */
#ifndef DGM_KERNELS_TILE_KERNELS_H
#define DGM_KERNELS_TILE_KERNELS_H

#include "kernels/ahead.h"
#include "kernels/unroll.h"

/* step - one input of all rows, x[r][at], with its weights. */
V_INLINE void step(v16 acc[][MOST_PANELS], const float *const *x, size_t at, const float *w,
                   size_t panel_stride, const int rows, const int n_panels)
{
    v16 wv[MOST_PANELS];
    UNROLL(8)
    for (int p = 0; p < n_panels; p++)
        wv[p] = v_load(w + (size_t)p * panel_stride);
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        const v16 xv = v_set1(x[r][at]);
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            acc[r][p] = v_fma(xv, wv[p], acc[r][p]);
    }
}

/* load - sums that go on from y. */
V_INLINE void load(v16 acc[][MOST_PANELS], const float *y, size_t ldy, const int rows,
                   const int n_panels)
{
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            acc[r][p] = v_load(y + (size_t)r * ldy + 16 * p);
    }
}

V_INLINE void clear(v16 acc[][MOST_PANELS], const int rows, const int n_panels)
{
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            acc[r][p] = v_set1(0.0f);
    }
}

V_INLINE void store(float *y, size_t ldy, v16 acc[][MOST_PANELS], const int rows,
                    const int n_panels)
{
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            v_store(y + (size_t)r * ldy + 16 * p, acc[r][p]);
    }
}

/* store_scaled - sums times the 16 scales of each panel onto what is there. */
V_INLINE void store_scaled(float *y, size_t ldy, v16 acc[][MOST_PANELS], const int rows,
                           const int n_panels, const float *scale, size_t scale_stride, int first)
{
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++) {
            float *const at = y + (size_t)r * ldy + 16 * p;
            v_store(at, v_fma(acc[r][p], v_load(scale + (size_t)p * scale_stride),
                              first ? v_set1(0.0f) : v_load(at)));
        }
    }
}

/* x_k, x_r: distance of x from one input, one row to the next. Without scales all of k is one group, which may go on
 * from y. */
V_INLINE void tile(float *y, size_t ldy, const float *x, size_t x_k, size_t x_r, const float *w,
                   size_t panel_stride, int k, const int rows, const int n_panels, int first,
                   const dgm_scales *scales, const dgm_ahead *ahead, const int thin)
{
    v16 acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    const float *row[DGM_MAX_TILE_ROWS], *scale = scales != NULL ? scales->at : NULL;
    UNROLL(16)
    for (int r = 0; r < rows; r++)
        row[r] = x + (size_t)r * x_r;
    const int group = scale != NULL ? scales->group : k;
    const int every = ahead != NULL ? ahead->every * DGM_TURN : k;
    size_t asked = 0;
    for (int i = 0; i < k; first = 0) {
        const int end = k - i < group ? k : i + group, turns = i + (end - i) / DGM_TURN * DGM_TURN;
        if (first || scale != NULL)
            clear(acc, rows, n_panels);
        else
            load(acc, y, ldy, rows, n_panels);
        while (i < turns) {
            const int stop = turns - i < every ? turns : i + every;
            if (ahead != NULL)
                asked = dgm_ahead_ask(ahead, asked);
            for (; i < stop; i += DGM_TURN) {
                const size_t bytes = panel_stride * sizeof *w;
                const size_t soon = dgm_soon(i, k, bytes, n_panels) / sizeof *w;
                UNROLL(4)
                for (int s = 0; s < DGM_TURN; s++) {
                    UNROLL(8)
                    for (int p = 0; thin && p < n_panels; p++)
                        __builtin_prefetch(w + (size_t)(i + s) * DGM_PANEL +
                                               (size_t)p * panel_stride + soon,
                                           0, 3);
                    step(acc, row, (size_t)(i + s) * x_k, w + (size_t)(i + s) * DGM_PANEL,
                         panel_stride, rows, n_panels);
                }
            }
        }
        for (; i < end; i++)
            step(acc, row, (size_t)i * x_k, w + (size_t)i * DGM_PANEL, panel_stride, rows,
                 n_panels);
        if (scale == NULL) {
            store(y, ldy, acc, rows, n_panels);
        } else {
            store_scaled(y, ldy, acc, rows, n_panels, scale, scales->stride, first);
            scale += DGM_PANEL;
        }
    }
}

#define TILE_CASE(r)                                                                               \
    case r:                                                                                        \
        if (r <= TILE_ROWS && TILE_PANELS > 1 && n_panels == TILE_PANELS)                          \
            tile(y, ldy, x, TILE_ROWS, 1, w, panel_stride, k, r, TILE_PANELS, first, scales,       \
                 ahead, 0);                                                                        \
        else if (r <= TILE_ROWS)                                                                   \
            tile(y, ldy, x, TILE_ROWS, 1, w, panel_stride, k, r, 1, first, scales, ahead, 0);      \
        break;

static void gemm_tile(float *y, size_t ldy, const float *x, const float *w, size_t panel_stride,
                      int k, int rows, int n_panels, int first, const dgm_scales *scales,
                      const dgm_ahead *ahead)
{
    switch (rows) {
        EACH_ROWS(TILE_CASE)
    }
}

#define THIN_CASE(r)                                                                               \
    case r:                                                                                        \
        if (r <= THIN_ROWS)                                                                        \
            thin(y, ldy, x, ldx, w, panel_stride, k, r, n_panels, THIN_PANELS(r));                 \
        break;

/* thin - `rows` rows with all panels, `at_once` of them at a time, then one by one. Four panels at once are streams
 * enough by themselves; three are helped along, and fewer are by asking for four. */
V_INLINE void thin(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                   size_t panel_stride, int k, const int rows, int n_panels, const int at_once)
{
    for (; n_panels >= at_once; n_panels -= at_once) {
        dgm_ahead ahead;
        if (at_once <= 2)
            ahead = dgm_ahead_of(w, panel_stride * sizeof *w, k, 1, at_once, n_panels, 1);
        tile(y, ldy, x, 1, ldx, w, panel_stride, k, rows, at_once, 1, NULL,
             at_once <= 2 ? &ahead : NULL, at_once == 3);
        y += DGM_PANEL * at_once;
        w += panel_stride * (size_t)at_once;
    }
    for (; n_panels > 0; n_panels--) {
        tile(y, ldy, x, 1, ldx, w, panel_stride, k, rows, 1, 1, NULL, NULL, 0);
        y += DGM_PANEL;
        w += panel_stride;
    }
}

static void gemm_rows(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                      size_t panel_stride, int k, int rows, int n_panels)
{
    switch (rows) {
        EACH_ROWS(THIN_CASE)
    }
}

static double fma_peak(float *sink, int n)
{
    enum { CHAINS = TILE_ROWS * TILE_PANELS };
    const v16 a = v_load(sink), b = v_set1(0.5f);
    v16 acc[CHAINS];
    UNROLL(24)
    for (int c = 0; c < CHAINS; c++)
        acc[c] = v_add(a, v_set1((float)c)); /* were lanes alike, compilers would save half */
    for (int i = 0; i < n; i++) {
        UNROLL(4)
        for (int s = 0; s < DGM_TURN; s++) {
            UNROLL(24)
            for (int c = 0; c < CHAINS; c++)
                acc[c] = v_fma(a, b, acc[c]);
        }
    }
    for (int c = 1; c < CHAINS; c++)
        acc[0] = v_add(acc[0], acc[c]);
    v_store(sink, acc[0]);
    return 2.0 * DGM_LANES * CHAINS * DGM_TURN * n;
}

V_INLINE void tile_kernels_init(dgm_kernels *k)
{
    k->tile_rows = TILE_ROWS;
    k->tile_panels = TILE_PANELS;
    k->gemm_tile = gemm_tile;
    k->thin_rows = THIN_ROWS;
    k->gemm_rows = gemm_rows;
    k->fma_peak = fma_peak;
}

#endif

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

/* Loops over rows, panels and steps must vanish for the sums to be registers. */
#ifdef __clang__
#define UNROLL(n) _Pragma("clang loop unroll(full)")
#else
#define UNROLL_TEXT(x) _Pragma(#x)
#define UNROLL(n) UNROLL_TEXT(GCC unroll n)
#endif

/* DGM_TURN inputs a turn: one at a time, the loop itself costs 12 %. */
enum { MOST_PANELS = 8 };

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

V_INLINE size_t ask(const dgm_ahead *a, size_t line)
{
    for (int l = 0; l < a->lines; l++, line++)
        for (int s = 0; s < 4; s++)
            __builtin_prefetch(a->stream[s] + line * DGM_PANEL, 0, 2);
    return line;
}

/* x_k, x_r: distance of x from one input, one row to the next. */
V_INLINE void tile(float *y, size_t ldy, const float *x, size_t x_k, size_t x_r, const float *w,
                   size_t panel_stride, int k, const int rows, const int n_panels, int first,
                   const dgm_ahead *ahead)
{
    v16 acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    const float *row[DGM_MAX_TILE_ROWS];
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        row[r] = x + (size_t)r * x_r;
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            acc[r][p] = first ? v_set1(0.0f) : v_load(y + (size_t)r * ldy + 16 * p);
    }
    const int turns = k / DGM_TURN * DGM_TURN, every = ahead != NULL ? ahead->every * DGM_TURN : k;
    int i = 0;
    for (size_t asked = 0; i < turns;) {
        const int stop = i + every < turns ? i + every : turns;
        if (ahead != NULL)
            asked = ask(ahead, asked);
        for (; i < stop; i += DGM_TURN) {
            UNROLL(4)
            for (int s = 0; s < DGM_TURN; s++)
                step(acc, row, (size_t)(i + s) * x_k, w + (size_t)(i + s) * DGM_PANEL, panel_stride,
                     rows, n_panels);
        }
    }
    for (; i < k; i++)
        step(acc, row, (size_t)i * x_k, w + (size_t)i * DGM_PANEL, panel_stride, rows, n_panels);
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            v_store(y + (size_t)r * ldy + 16 * p, acc[r][p]);
    }
}

/* EACH_ROWS - a case for every number of rows that any table takes at once; those beyond this one's are empty. */
/* clang-format off */
#define EACH_ROWS(CASE) \
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) \
    CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14) CASE(15) CASE(16)
/* clang-format on */

#define TILE_CASE(r)                                                                               \
    case r:                                                                                        \
        if (r <= TILE_ROWS && TILE_PANELS > 1 && n_panels == TILE_PANELS)                          \
            tile(y, ldy, x, TILE_ROWS, 1, w, panel_stride, k, r, TILE_PANELS, first, ahead);       \
        else if (r <= TILE_ROWS)                                                                   \
            tile(y, ldy, x, TILE_ROWS, 1, w, panel_stride, k, r, 1, first, ahead);                 \
        break;

static void gemm_tile(float *y, size_t ldy, const float *x, const float *w, size_t panel_stride,
                      int k, int rows, int n_panels, int first, const dgm_ahead *ahead)
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

/* thin - `rows` rows with all panels, `at_once` of them at a time, then one by one. More than two panels at once are
 * streams enough by themselves. */
V_INLINE void thin(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                   size_t panel_stride, int k, const int rows, int n_panels, const int at_once)
{
    for (; n_panels >= at_once; n_panels -= at_once) {
        dgm_ahead ahead;
        if (at_once <= 2)
            ahead = dgm_ahead_of(w, panel_stride, k, at_once, n_panels, 0, 1);
        tile(y, ldy, x, 1, ldx, w, panel_stride, k, rows, at_once, 1, at_once <= 2 ? &ahead : NULL);
        y += DGM_PANEL * at_once;
        w += panel_stride * (size_t)at_once;
    }
    for (; n_panels > 0; n_panels--) {
        tile(y, ldy, x, 1, ldx, w, panel_stride, k, rows, 1, 1, NULL);
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

static void tile_kernels_init(dgm_kernels *k)
{
    k->tile_rows = TILE_ROWS;
    k->tile_panels = TILE_PANELS;
    k->gemm_tile = gemm_tile;
    k->thin_rows = THIN_ROWS;
    k->gemm_rows = gemm_rows;
    k->fma_peak = fma_peak;
}

#endif

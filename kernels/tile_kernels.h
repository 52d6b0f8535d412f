/*
 * tile_kernels.h - private to kernels/: the GEMM tiles of the table, written once over v16.
 *
 * The including <isa>/kernels.c defines, from its number of registers,
 *   TILE_ROWS, TILE_PANELS   the largest tile of gemm_tile
 *   THIN_ROWS                the most rows of gemm_rows
 *   THIN_PANELS(rows)        how many panels gemm_rows takes at once, so that there are chains enough
 *                            to hide the latency of an fma (at least 8 registers of sums)
 * `tile` is inlined with constant sizes, which makes its sums registers.
 */
#ifndef DGM_KERNELS_TILE_KERNELS_H
#define DGM_KERNELS_TILE_KERNELS_H

#include "kernels/kernels.h"

/* The loops over rows and panels must vanish; four steps of k a turn keep the loop itself out of the way (12 %). */
#ifdef __clang__
#define UNROLL(n) _Pragma("clang loop unroll(full)")
#define UNROLL_K _Pragma("clang loop unroll_count(4)")
#else
#define UNROLL_TEXT(x) _Pragma(#x)
#define UNROLL(n) UNROLL_TEXT(GCC unroll n)
#define UNROLL_K _Pragma("GCC unroll 4")
#endif

/* How far ahead of its use a line of weights is asked for in gemm_rows, in floats. */
enum { THIN_AHEAD = 512, MOST_PANELS = 8 };

/* x_k, x_r: distance of x from one input, one row to the next. */
V_INLINE void tile(float *y, size_t ldy, const float *x, size_t x_k, size_t x_r, const float *w,
                   size_t panel_stride, int k, const int rows, const int n_panels, int first,
                   const int ahead)
{
    v16 acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            acc[r][p] = first ? v_set1(0.0f) : v_load(y + (size_t)r * ldy + 16 * p);
    }
    UNROLL_K
    for (int i = 0; i < k; i++) {
        v16 wv[MOST_PANELS];
        UNROLL(8)
        for (int p = 0; p < n_panels; p++) {
            wv[p] = v_load(w + (size_t)p * panel_stride);
            if (ahead > 0)
                __builtin_prefetch(w + (size_t)p * panel_stride + ahead);
        }
        UNROLL(16)
        for (int r = 0; r < rows; r++) {
            const v16 xv = v_set1(x[(size_t)r * x_r]);
            UNROLL(8)
            for (int p = 0; p < n_panels; p++)
                acc[r][p] = v_fma(xv, wv[p], acc[r][p]);
        }
        w += DGM_PANEL;
        x += x_k;
    }
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            v_store(y + (size_t)r * ldy + 16 * p, acc[r][p]);
    }
}

#define TILE_CASE(r)                                                                               \
    case r:                                                                                        \
        if (TILE_PANELS > 1 && n_panels == TILE_PANELS)                                            \
            tile(y, ldy, x, TILE_ROWS, 1, w, panel_stride, k, r, TILE_PANELS, first, 0);           \
        else                                                                                       \
            tile(y, ldy, x, TILE_ROWS, 1, w, panel_stride, k, r, 1, first, 0);                     \
        break;

static void gemm_tile(float *y, size_t ldy, const float *x, const float *w, size_t panel_stride,
                      int k, int rows, int n_panels, int first)
{
    switch (rows) {
        TILE_CASES
    }
}

#define THIN_CASE(r)                                                                               \
    case r:                                                                                        \
        for (; n_panels >= THIN_PANELS(r); n_panels -= THIN_PANELS(r)) {                           \
            tile(y, ldy, x, 1, ldx, w, panel_stride, k, r, THIN_PANELS(r), 1, THIN_AHEAD);         \
            y += DGM_PANEL * THIN_PANELS(r);                                                       \
            w += panel_stride * THIN_PANELS(r);                                                    \
        }                                                                                          \
        for (; n_panels > 0; n_panels--) {                                                         \
            tile(y, ldy, x, 1, ldx, w, panel_stride, k, r, 1, 1, THIN_AHEAD);                      \
            y += DGM_PANEL;                                                                        \
            w += panel_stride;                                                                     \
        }                                                                                          \
        break;

static void gemm_rows(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                      size_t panel_stride, int k, int rows, int n_panels)
{
    switch (rows) {
        THIN_CASES
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
    UNROLL_K
    for (int i = 0; i < n; i++) {
        UNROLL(24)
        for (int c = 0; c < CHAINS; c++)
            acc[c] = v_fma(a, b, acc[c]);
    }
    for (int c = 1; c < CHAINS; c++)
        acc[0] = v_add(acc[0], acc[c]);
    v_store(sink, acc[0]);
    return 2.0 * DGM_LANES * CHAINS * n;
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

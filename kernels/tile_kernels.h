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

#include "kernels/kernels.h"

/* Loops over rows, panels and steps must vanish for the sums to be registers. */
#ifdef __clang__
#define UNROLL(n) _Pragma("clang loop unroll(full)")
#else
#define UNROLL_TEXT(x) _Pragma(#x)
#define UNROLL(n) UNROLL_TEXT(GCC unroll n)
#endif

enum {
    MOST_PANELS = 8,
    STEPS = 4 /* of k a turn: one at a time, the loop itself costs 12 % */
};

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

/*
 * One place read at a time does not use the memory's bandwidth, four do (measured: 14 and 22 GB/s). One row holds
 * the sums of four panels in registers and reads four. With more rows there is room for one or two panels, so while
 * they are computed, `n` = 4 or 2 parts of the coming panels are asked for in turns: a quarter of each of the next
 * four, each quarter before its panel is due.
 */
typedef struct lines_ahead {
    const float *part[4];
    int n;
} lines_ahead;

V_INLINE lines_ahead ahead_of(const float *w, size_t panel_stride, int k, const int n_panels,
                              int panels_left)
{
    lines_ahead a = {.n = n_panels == 1 ? 4 : n_panels == 2 ? 2 : 0};
    UNROLL(4)
    for (int q = 0; q < a.n; q++) {
        const int panel = (q + 1) * n_panels, line = (a.n - 1 - q) * (k / a.n);
        a.part[q] = w; /* past the last panel: something that is there already */
        if (panel + n_panels <= panels_left)
            a.part[q] += (size_t)panel * panel_stride + (size_t)line * DGM_PANEL;
    }
    return a;
}

/* ask - the lines whose turn it is while inputs i .. i + STEPS are computed. */
V_INLINE void ask(const lines_ahead *a, size_t panel_stride, int i, const int n_panels)
{
    UNROLL(4)
    for (int q = 0; q < a->n; q++) {
        UNROLL(2)
        for (int p = 0; p < n_panels; p++) {
            UNROLL(2)
            for (int l = 0; l < STEPS / a->n; l++)
                __builtin_prefetch(a->part[q] + (size_t)p * panel_stride +
                                       (size_t)(i / a->n + l) * DGM_PANEL,
                                   0, 2);
        }
    }
}

/* x_k, x_r: distance of x from one input, one row to the next.
 * panels_left: in gemm_rows, how many panels lie from w to the end; 0: nothing is asked for. */
V_INLINE void tile(float *y, size_t ldy, const float *x, size_t x_k, size_t x_r, const float *w,
                   size_t panel_stride, int k, const int rows, const int n_panels, int first,
                   int panels_left)
{
    v16 acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    const float *row[DGM_MAX_TILE_ROWS];
    const lines_ahead ahead = ahead_of(w, panel_stride, k, n_panels, panels_left);
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        row[r] = x + (size_t)r * x_r;
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            acc[r][p] = first ? v_set1(0.0f) : v_load(y + (size_t)r * ldy + 16 * p);
    }
    int i = 0;
    for (; i + STEPS <= k; i += STEPS) {
        if (panels_left > 0)
            ask(&ahead, panel_stride, i, n_panels);
        UNROLL(4)
        for (int s = 0; s < STEPS; s++)
            step(acc, row, (size_t)(i + s) * x_k, w + (size_t)(i + s) * DGM_PANEL, panel_stride,
                 rows, n_panels);
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
            tile(y, ldy, x, 1, ldx, w, panel_stride, k, r, THIN_PANELS(r), 1, n_panels);           \
            y += DGM_PANEL * THIN_PANELS(r);                                                       \
            w += panel_stride * THIN_PANELS(r);                                                    \
        }                                                                                          \
        for (; n_panels > 0; n_panels--) {                                                         \
            tile(y, ldy, x, 1, ldx, w, panel_stride, k, r, 1, 1, n_panels);                        \
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
    for (int i = 0; i < n; i++) {
        UNROLL(4)
        for (int s = 0; s < STEPS; s++) {
            UNROLL(24)
            for (int c = 0; c < CHAINS; c++)
                acc[c] = v_fma(a, b, acc[c]);
        }
    }
    for (int c = 1; c < CHAINS; c++)
        acc[0] = v_add(acc[0], acc[c]);
    v_store(sink, acc[0]);
    return 2.0 * DGM_LANES * CHAINS * STEPS * n;
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

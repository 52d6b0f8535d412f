/*
 * dot_kernels.h - private to kernels/: integer dot products of rows with int8 and int4 panels, written once over vsum.
 *
 * The shapes are those of tile_kernels.h with 4 inputs in the place of one. The including <isa>/kernels.c defines
 *   DOT_TILE_ROWS, DOT_TILE_PANELS   the largest tile of dot_tile
 *   DOT_THIN_ROWS                    the most rows of dot_rows
 *   DOT_THIN_PANELS(rows)            how many panels dot_rows takes at once
 */
#ifndef DGM_KERNELS_DOT_KERNELS_H
#define DGM_KERNELS_DOT_KERNELS_H

#include "kernels/ahead.h"
#include "kernels/unroll.h"

/* dot_line - one line of each panel with all rows; x_quad: bytes from 4 inputs of a row to its next 4. */
V_INLINE void dot_line(vsum acc[][MOST_PANELS], const int8_t *const *x, size_t at, size_t x_quad,
                       const unsigned char *w, size_t stride, const int rows, const int n_panels,
                       const dgm_wtype t)
{
    if (t == DGM_W_INT8) {
        vdot_s8 wv[MOST_PANELS];
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            wv[p] = vdot_of_s8(w + (size_t)p * stride);
        UNROLL(16)
        for (int r = 0; r < rows; r++) {
            UNROLL(8)
            for (int p = 0; p < n_panels; p++)
                acc[r][p] = vs_dot_s8(acc[r][p], wv[p], x[r] + at);
        }
        return;
    }
    UNROLL(2)
    for (int half = 0; half < 2; half++) {
        vdot_u4 wv[MOST_PANELS];
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            wv[p] = vdot_of_u4(w + (size_t)p * stride, half);
        UNROLL(16)
        for (int r = 0; r < rows; r++) {
            UNROLL(8)
            for (int p = 0; p < n_panels; p++)
                acc[r][p] = vs_dot_u4(acc[r][p], wv[p], x[r] + at + (size_t)half * x_quad);
        }
    }
}

/* dot_start - sums before the first product: less what unsigned weights will add. */
V_INLINE void dot_start(vsum acc[][MOST_PANELS], const void *y, size_t ldy, const int32_t *sums,
                        size_t ld_sums, const int rows, const int n_panels, int go_on,
                        const dgm_wtype t)
{
    const int added = t == DGM_W_INT8 ? DOT_S8_ADDED : DOT_U4_ADDED;
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        const vsum s = vs_set1(added == 0 ? 0 : -added * sums[(size_t)r * ld_sums]);
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            acc[r][p] = go_on ? vs_load((const int32_t *)y + (size_t)r * ldy + 16 * p) : s;
    }
}

V_INLINE void dot_store(void *y, size_t ldy, vsum acc[][MOST_PANELS], const int rows,
                        const int n_panels, const float *scale, size_t scale_stride, int first)
{
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++) {
            const size_t at = (size_t)r * ldy + 16 * (size_t)p;
            if (scale == NULL)
                vs_store((int32_t *)y + at, acc[r][p]);
            else
                v_store((float *)y + at,
                        v_fma(vs_float(acc[r][p]), v_load(scale + (size_t)p * scale_stride),
                              first ? v_set1(0.0f) : v_load((float *)y + at)));
        }
    }
}

/* x_quad, x_r: bytes of x from 4 inputs to the next 4, from one row to the next. */
V_INLINE void dots(void *y, size_t ldy, const dgm_dot_rows *x, size_t x_quad, size_t x_r,
                   const dgm_panels *w, int k, const int rows, const int n_panels, int first,
                   const dgm_ahead *ahead, const int thin, const dgm_wtype t)
{
    const int per = dgm_line_inputs(t), turn = 4 * DGM_TURN;
    const float *scale = w->scales.at;
    const int group = scale != NULL ? w->scales.group : k;
    const int every = ahead != NULL ? ahead->every * turn : k;
    const unsigned char *line = w->data;
    const int8_t *row[DGM_MAX_TILE_ROWS];
    const int32_t *sums = x->sums;
    vsum acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    UNROLL(16)
    for (int r = 0; r < rows; r++)
        row[r] = x->q + (size_t)r * x_r;
    size_t asked = 0, at = 0;
    for (int i = 0; i < k; first = 0) {
        const int end = k - i < group ? k : i + group, turns = i + (end - i) / turn * turn;
        dot_start(acc, y, ldy, sums, x->ld_sums, rows, n_panels, !first && scale == NULL, t);
        while (i < turns) {
            const int stop = turns - i < every ? turns : i + every;
            if (ahead != NULL)
                asked = dgm_ahead_ask(ahead, asked);
            for (; i < stop; i += turn) {
                const size_t soon = dgm_soon(i / per, k / per, w->stride, n_panels);
                UNROLL(4)
                for (int s = 0; s < turn / per;
                     s++, at += (size_t)per / 4 * x_quad, line += DGM_LINE) {
                    UNROLL(8)
                    for (int p = 0; thin && p < n_panels; p++)
                        __builtin_prefetch(line + (size_t)p * w->stride + soon, 0, 3);
                    dot_line(acc, row, at, x_quad, line, w->stride, rows, n_panels, t);
                }
            }
        }
        for (; i < end; i += per, at += (size_t)per / 4 * x_quad, line += DGM_LINE)
            dot_line(acc, row, at, x_quad, line, w->stride, rows, n_panels, t);
        dot_store(y, ldy, acc, rows, n_panels, scale, w->scales.stride, first);
        scale = scale != NULL ? scale + DGM_PANEL : NULL;
        sums++;
    }
}

#define DOT_TILE(r, np)                                                                            \
    dots(y, ldy, x, (size_t)4 * DOT_TILE_ROWS, 4, w, k, r, np, first, ahead, 0, type)

#define DOT_TILE_CASE(r)                                                                           \
    case r:                                                                                        \
        if (r <= DOT_TILE_ROWS && DOT_TILE_PANELS > 1 && n_panels == DOT_TILE_PANELS)              \
            DOT_TILE(r, DOT_TILE_PANELS);                                                          \
        else if (r <= DOT_TILE_ROWS)                                                               \
            DOT_TILE(r, 1);                                                                        \
        break;

#define DOT_TILES(name, t)                                                                         \
    static void name(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,       \
                     int rows, int n_panels, int first, const dgm_ahead *ahead)                    \
    {                                                                                              \
        const dgm_wtype type = t;                                                                  \
        switch (rows) {                                                                            \
            EACH_ROWS(DOT_TILE_CASE)                                                               \
        }                                                                                          \
    }

DOT_TILES(dot_tile_int8, DGM_W_INT8)
DOT_TILES(dot_tile_int4, DGM_W_INT4)

static void dot_tile(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,
                     int rows, int n_panels, int first, const dgm_ahead *ahead)
{
    if (w->type == DGM_W_INT8)
        dot_tile_int8(y, ldy, x, w, k, rows, n_panels, first, ahead);
    else
        dot_tile_int4(y, ldy, x, w, k, rows, n_panels, first, ahead);
}

V_INLINE void dot_all(int32_t *y, size_t ldy, const dgm_dot_rows *x, dgm_panels w, int k,
                      const int rows, int n_panels, const int at_once, const dgm_wtype t)
{
    for (int np; n_panels > 0; n_panels -= np) {
        np = n_panels >= at_once ? at_once : 1;
        if (np == at_once)
            dots(y, ldy, x, 4, x->ld, &w, k, rows, at_once, 1, NULL, 1, t);
        else
            dots(y, ldy, x, 4, x->ld, &w, k, rows, 1, 1, NULL, 1, t);
        y += DGM_PANEL * np;
        w.data = (const unsigned char *)w.data + w.stride * (size_t)np;
        w.scales.at = w.scales.at != NULL ? w.scales.at + w.scales.stride * (size_t)np : NULL;
    }
}

#define DOT_ROWS_CASE(r)                                                                           \
    case r:                                                                                        \
        if (r <= DOT_THIN_ROWS)                                                                    \
            dot_all(y, ldy, x, *w, k, r, n_panels, DOT_THIN_PANELS(r), type);                      \
        break;

#define DOT_ROWS(name, t)                                                                          \
    static void name(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,       \
                     int rows, int n_panels)                                                       \
    {                                                                                              \
        const dgm_wtype type = t;                                                                  \
        switch (rows) {                                                                            \
            EACH_ROWS(DOT_ROWS_CASE)                                                               \
        }                                                                                          \
    }

DOT_ROWS(dot_rows_int8, DGM_W_INT8)
DOT_ROWS(dot_rows_int4, DGM_W_INT4)

static void dot_rows(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,
                     int rows, int n_panels)
{
    if (w->type == DGM_W_INT8)
        dot_rows_int8(y, ldy, x, w, k, rows, n_panels);
    else
        dot_rows_int4(y, ldy, x, w, k, rows, n_panels);
}

static double dot_peak(float *sink, int n)
{
    enum { CHAINS = DOT_TILE_ROWS }; /* more, and compilers would spill some */
    int8_t x[4] = {1, 2, 3, 4};
    unsigned char line[DGM_LINE];
    for (int i = 0; i < DGM_LINE; i++)
        line[i] = (unsigned char)((int)sink[i % DGM_LANES] + i);
    const vdot_s8 w = vdot_of_s8(line);
    vsum acc[CHAINS];
    UNROLL(24)
    for (int c = 0; c < CHAINS; c++)
        acc[c] = vs_set1(c);
    for (int i = 0; i < n; i++) {
        UNROLL(4)
        for (int s = 0; s < DGM_TURN; s++) {
            UNROLL(24)
            for (int c = 0; c < CHAINS; c++)
                acc[c] = vs_dot_s8(acc[c], w, x);
        }
    }
    for (int c = 1; c < CHAINS; c++)
        acc[0] = vs_add(acc[0], acc[c]);
    v_store(sink, vs_float(acc[0]));
    return 2.0 * 4 * DGM_LANES * CHAINS * DGM_TURN * n;
}

static void dot_kernels_init(dgm_kernels *k)
{
    k->dot_tile_rows = DOT_TILE_ROWS;
    k->dot_tile = dot_tile;
    k->dot_thin_rows = DOT_THIN_ROWS;
    k->dot_rows = dot_rows;
    k->dot_peak = dot_peak;
}

#endif

/*
 * wide_kernels.h - private to kernels/: bf16, int8 and int4 weights made floats, written once over v16.
 *
 * Few rows wait for memory: their weights are widened in registers, one line of each panel at a time. Many rows want
 * the f32 tile: `widen` fills a buffer for it. The including <isa>/kernels.c defines, beside what tile_kernels.h wants,
 *   WIDE_PANELS(rows, type)   how many panels wide_rows takes at once
 *   WIDE_SIDE                 whether one row takes groups of int4 side by side instead
 */
#ifndef DGM_KERNELS_WIDE_KERNELS_H
#define DGM_KERNELS_WIDE_KERNELS_H

#include "kernels/tile_kernels.h"

/* few: with few rows it is the conversion that counts, with more the registers that it takes. */
V_INLINE v16 wide(vline line, const int s, const dgm_wtype t, const int few)
{
    return t == DGM_W_BF16   ? v_bf16(line, s)
           : t == DGM_W_INT4 ? (few ? v_u4_few(line, s) : v_u4(line, s))
           : few             ? v_s8_few(line, s)
                             : v_s8(line, s);
}

static void widen(float *dst, dgm_wtype type, const void *panel, int k);

/* wide_input - one input of all rows, x[r][at], with its weights. */
V_INLINE void wide_input(v16 acc[][MOST_PANELS], const float *const *x, int at, const v16 *wv,
                         const int rows, const int n_panels)
{
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        const v16 xv = v_set1(x[r][at]);
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            acc[r][p] = v_fma(xv, wv[p], acc[r][p]);
    }
}

V_INLINE void wide_line(v16 acc[][MOST_PANELS], const float *const *x, int at,
                        const unsigned char *w, size_t stride, size_t soon, const int rows,
                        const int n_panels, const dgm_wtype t)
{
    const int few = rows == 2 || (rows == 1 && t == DGM_W_INT4); /* int8, 1 row: 0.76, not 0.82 */
    vline line[MOST_PANELS];
    v16 wv[MOST_PANELS];
    UNROLL(8)
    for (int p = 0; p < n_panels; p++) {
        line[p] = v_line(w + (size_t)p * stride);
        __builtin_prefetch(w + (size_t)p * stride + soon, 0, 3);
    }
    UNROLL(8)
    for (int s = 0; s < dgm_line_inputs(t); s++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            wv[p] = wide(line[p], s, t, few);
        wide_input(acc, x, at + s, wv, rows, n_panels);
    }
}

/* wide_part - the `left` inputs of a line that is not full: there is no more of x. */
V_INLINE void wide_part(v16 acc[][MOST_PANELS], const float *const *x, int at,
                        const unsigned char *w, size_t stride, int left, const int rows,
                        const int n_panels, const dgm_wtype t)
{
    float line[MOST_PANELS][8 * DGM_PANEL];
    v16 wv[MOST_PANELS];
    for (int p = 0; p < n_panels; p++)
        widen(line[p], t, w + (size_t)p * stride, left);
    for (int s = 0; s < left; s++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            wv[p] = v_load(line[p] + s * DGM_PANEL);
        wide_input(acc, x, at + s, wv, rows, n_panels);
    }
}

V_INLINE void wide_chains(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w,
                          int k, int first, const int rows, const int n_panels, const dgm_wtype t)
{
    const int per = dgm_line_inputs(t), group = w->scales.at != NULL ? w->scales.group : k;
    const unsigned char *line = w->data;
    const float *scale = w->scales.at, *row[DGM_MAX_TILE_ROWS];
    const int soon_groups = scale != NULL ? dgm_soon_groups(group, k, n_panels, t) : 0;
    v16 acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    UNROLL(16)
    for (int r = 0; r < rows; r++)
        row[r] = x + (size_t)r * ldx;
    for (int i = 0; i < k; first = 0) {
        const int end = k - i < group ? k : i + group, whole = i + (end - i) / per * per;
        clear(acc, rows, n_panels);
        if (scale != NULL)
            dgm_soon_scales(scale, end + soon_groups * group < k, soon_groups, w->scales.stride,
                            n_panels);
        for (; i < whole; i += per, line += DGM_LINE) {
            const size_t soon = dgm_soon(i / per, k / per, w->stride, n_panels);
            wide_line(acc, row, i, line, w->stride, soon, rows, n_panels, t);
        }
        if (i < end)
            wide_part(acc, row, i, line, w->stride, end - i, rows, n_panels, t);
        i = end;
        if (scale == NULL) {
            store(y, ldy, acc, rows, n_panels);
        } else {
            store_scaled(y, ldy, acc, rows, n_panels, scale, w->scales.stride, first);
            scale += DGM_PANEL;
        }
    }
}

/*
 * side_groups - of one row and one panel of int4, `side` whole groups side by side, from x and w on: groups are chains that do
 * not wait for one another, and one panel at a time is the order of memory. total goes on from what is there.
 */
V_INLINE v16 side_groups(v16 total, const float *x, const unsigned char *w, int group,
                         const float *scale, const int side)
{
    const int per = dgm_line_inputs(DGM_W_INT4);
    const size_t apart = (size_t)(group / per) * DGM_LINE;
    v16 acc[MOST_PANELS];
    UNROLL(8)
    for (int g = 0; g < side; g++) {
        acc[g] = v_set1(0.0f);
        __builtin_prefetch(scale + (MOST_PANELS * 4 + g) * DGM_PANEL, 0, 3);
    }
    for (int i = 0; i < group; i += per, w += DGM_LINE) {
        const unsigned char *soon = w + (size_t)(i / per * (side - 1) + DGM_SOON) * DGM_LINE;
        vline line[MOST_PANELS];
        UNROLL(8)
        for (int g = 0; g < side; g++) {
            line[g] = v_line(w + (size_t)g * apart);
            __builtin_prefetch(soon + g * DGM_LINE, 0, 3);
        }
        UNROLL(8)
        for (int s = 0; s < per; s++) {
            UNROLL(8)
            for (int g = 0; g < side; g++)
                acc[g] = v_fma(v_set1(x[g * group + i + s]), v_u4_side(line[g], s), acc[g]);
        }
    }
    UNROLL(8)
    for (int g = 0; g < side; g++)
        total = v_fma(acc[g], v_load(scale + g * DGM_PANEL), total);
    return total;
}

#define SIDE_BY(side)                                                                              \
    for (; i + (side)*group <= k; i += (side)*group, scale += (side)*DGM_PANEL) {                  \
        total = side_groups(total, x + i, line, group, scale, side);                               \
        line += (size_t)((side)*group / dgm_line_inputs(DGM_W_INT4)) * DGM_LINE;                   \
    }

/* side_panel - one row with one panel of int4 of which groups have scales. */
V_INLINE void side_panel(float *y, const float *x, const dgm_panels *w, int k)
{
    const int group = w->scales.group;
    const unsigned char *line = w->data;
    const float *scale = w->scales.at;
    v16 total = v_set1(0.0f);
    int i = 0;
    SIDE_BY(8)
    SIDE_BY(4)
    SIDE_BY(1)
    v_store(y, total);
    if (i < k) { /* a group that is not full */
        const dgm_panels rest = {.data = line, .scales = {scale, 0, group}};
        wide_chains(y, 0, x + i, 0, &rest, k - i, 0, 1, 1, DGM_W_INT4);
    }
}

V_INLINE void wide_all(float *y, size_t ldy, const float *x, size_t ldx, dgm_panels w, int k,
                       const int rows, int n_panels, const int at_once, const dgm_wtype t)
{
    if (WIDE_SIDE && rows == 1 && t == DGM_W_INT4 && w.scales.at != NULL) {
        for (; n_panels > 0; n_panels--, y += DGM_PANEL, w.scales.at += w.scales.stride) {
            side_panel(y, x, &w, k);
            w.data = (const unsigned char *)w.data + w.stride;
        }
        return;
    }
    for (int np; n_panels > 0; n_panels -= np) {
        np = n_panels >= at_once ? at_once : 1;
        if (np == at_once)
            wide_chains(y, ldy, x, ldx, &w, k, 1, rows, at_once, t);
        else
            wide_chains(y, ldy, x, ldx, &w, k, 1, rows, 1, t);
        y += DGM_PANEL * np;
        w.data = (const unsigned char *)w.data + w.stride * (size_t)np;
        w.scales.at = w.scales.at != NULL ? w.scales.at + w.scales.stride * (size_t)np : NULL;
    }
}

#define WIDE_CASE(r)                                                                               \
    case r:                                                                                        \
        if (r <= THIN_ROWS)                                                                        \
            wide_all(y, ldy, x, ldx, *w, k, r, n_panels, WIDE_PANELS(r, type), type);              \
        break;

#define WIDE_ROWS(name, t)                                                                         \
    static void name(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w, int k, \
                     int rows, int n_panels)                                                       \
    {                                                                                              \
        const dgm_wtype type = t;                                                                  \
        switch (rows) {                                                                            \
            EACH_ROWS(WIDE_CASE)                                                                   \
        }                                                                                          \
    }

WIDE_ROWS(wide_rows_bf16, DGM_W_BF16)
WIDE_ROWS(wide_rows_int8, DGM_W_INT8)
WIDE_ROWS(wide_rows_int4, DGM_W_INT4)

static void wide_rows(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w, int k,
                      int rows, int n_panels)
{
    if (w->type == DGM_W_BF16)
        wide_rows_bf16(y, ldy, x, ldx, w, k, rows, n_panels);
    else if (w->type == DGM_W_INT8)
        wide_rows_int8(y, ldy, x, ldx, w, k, rows, n_panels);
    else
        wide_rows_int4(y, ldy, x, ldx, w, k, rows, n_panels);
}

V_INLINE void widen_panel(float *dst, const unsigned char *panel, int k, const dgm_wtype t)
{
    const int per = dgm_line_inputs(t), whole = k / per * per;
    int i = 0;
    for (; i < whole; i += per, panel += DGM_LINE) {
        const vline line = v_line(panel);
        UNROLL(8)
        for (int s = 0; s < per; s++)
            v_store(dst + (size_t)(i + s) * DGM_PANEL, wide(line, s, t, 0));
    }
    if (i == k)
        return;
    const vline line = v_line(panel);
    UNROLL(8)
    for (int s = 0; s < per; s++)
        if (i + s < k)
            v_store(dst + (size_t)(i + s) * DGM_PANEL, wide(line, s, t, 0));
}

static void widen(float *dst, dgm_wtype type, const void *panel, int k)
{
    if (type == DGM_W_BF16)
        widen_panel(dst, panel, k, DGM_W_BF16);
    else if (type == DGM_W_INT8)
        widen_panel(dst, panel, k, DGM_W_INT8);
    else
        widen_panel(dst, panel, k, DGM_W_INT4);
}

V_INLINE void wide_kernels_init(dgm_kernels *k)
{
    k->wide_rows = wide_rows;
    k->widen = widen;
}

#endif

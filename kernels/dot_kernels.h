/*
 * dot_kernels.h - private to kernels/: integer dot products of rows with int8 and int4 panels, written once over vsum.
 *
 * The shapes are those of tile_kernels.h with 4 inputs in the place of one. The including <isa>/kernels.c defines
 *   DOT_TILE_ROWS, DOT_TILE_PANELS   the largest tile of dot_tile
 *   DOT_GROUP_ROWS                   of that tile's rows, how many pass by at once where groups have scales
 *   DOT_THIN_ROWS                    the most rows of dot_rows
 *   DOT_THIN_PANELS(rows, type, grouped)   how many panels dot_rows takes at once, 1 or 2
 *   DOT_THIN_CHAINS(rows)            of one panel: sums of an output that do not wait for one another, 1, 2 or 4; their
 *                                    order is free, integers are exact
 *
 * Few rows wait for memory, and that comes soonest in its own order: one panel after the other gave 0.88 to 0.97 of what
 * reading alone gives, several side by side, each asked for ahead of itself, 0.7 to 0.8 (1024 inputs). Two at once share a load of x, which
 * counts from 5 rows on.
 */
#ifndef DGM_KERNELS_DOT_KERNELS_H
#define DGM_KERNELS_DOT_KERNELS_H

#include "kernels/ahead.h"
#include "kernels/unroll.h"

/* dot_line - one line of each panel with all rows to the sums from column `col` on, the second half of an int4 line to those
 * `apart` columns on; x: its 4 inputs of each row, then, int4, x_quad bytes on, 4 more. */
V_INLINE void dot_line(vsum acc[][MOST_PANELS], const int col, const int apart, const int8_t *x,
                       size_t x_quad, const unsigned char *w, size_t stride, const int rows,
                       const int n_panels, const dgm_wtype t)
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
                acc[r][col + p] = vs_dot_s8(acc[r][col + p], wv[p], x + 4 * r);
        }
        return;
    }
    if (DOT_U4_PAIRS && apart == 0) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++) {
            const vdot_u4 low = vdot_of_u4(w + (size_t)p * stride, 0),
                          high = vdot_of_u4(w + (size_t)p * stride, 1);
            UNROLL(16)
            for (int r = 0; r < rows; r++)
                acc[r][col + p] =
                    vs_dot_u4_pair(acc[r][col + p], low, x + 4 * r, high, x + x_quad + 4 * r);
        }
        return;
    }
    UNROLL(2)
    for (int half = 0; half < 2; half++) {
        const int to = col + half * apart;
        vdot_u4 wv[MOST_PANELS];
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            wv[p] = vdot_of_u4(w + (size_t)p * stride, half);
        UNROLL(16)
        for (int r = 0; r < rows; r++) {
            UNROLL(8)
            for (int p = 0; p < n_panels; p++)
                acc[r][to + p] =
                    vs_dot_u4(acc[r][to + p], wv[p], x + (size_t)half * x_quad + 4 * r);
        }
    }
}

/* dot_start - sums before the first product: less what unsigned weights will add; of several chains the first has that. */
V_INLINE void dot_start(vsum acc[][MOST_PANELS], const int32_t *sums, size_t ld_sums,
                        const int rows, const int n_panels, const int chains, const dgm_wtype t)
{
    const int added = t == DGM_W_INT8 ? DOT_S8_ADDED : DOT_U4_ADDED;
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        const vsum s = vs_set1(added == 0 ? 0 : -added * sums[(size_t)r * ld_sums]);
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            acc[r][p] = s;
        UNROLL(4)
        for (int c = 1; c < chains; c++)
            acc[r][c] = vs_set1(0);
    }
}

/* dot_joined - several chains become one. */
V_INLINE void dot_joined(vsum acc[][MOST_PANELS], const int rows, const int chains)
{
    UNROLL(4)
    for (int c = 1; c < chains; c++) {
        UNROLL(16)
        for (int r = 0; r < rows; r++)
            acc[r][0] = vs_add(acc[r][0], acc[r][c]);
    }
}

/* dot_store - sums, or, with scales, the products of sums with theirs onto what is there. */
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

/* dot_sums - adds inputs from .. to, whose lines begin at *w and numbers at *x; both are moved on. Of several chains each
 * line takes the next. What thin calls ask for lies in the order of memory: of one panel DGM_SOON lines on, of two those that
 * follow both. */
V_INLINE void dot_sums(vsum acc[][MOST_PANELS], const int8_t **x, size_t x_quad,
                       const unsigned char **w, size_t stride, int from, int to, const int rows,
                       const int n_panels, const int thin, const int chains, const dgm_wtype t)
{
    const int per = dgm_line_inputs(t), turn = 4 * DGM_TURN, apart = chains > 1;
    const int turns = from + (to - from) / turn * turn, each = t == DGM_W_INT4 ? 2 : 1;
    int i = from;
    for (; i < turns; i += turn) {
        size_t soon = (size_t)DGM_SOON * DGM_LINE;
        if (n_panels > 1)
            soon = (size_t)n_panels * stride + (size_t)((n_panels - 1) * (i / per)) * DGM_LINE;
        UNROLL(4)
        for (int s = 0; s < turn / per; s++, *x += (size_t)per / 4 * x_quad, *w += DGM_LINE) {
            const int col = chains > 1 ? s * each % chains : 0;
            UNROLL(8)
            for (int p = 0; thin && p < n_panels; p++)
                __builtin_prefetch(*w + soon + (size_t)((n_panels - 1) * s + p) * DGM_LINE, 0, 3);
            dot_line(acc, col, apart, *x, x_quad, *w, stride, rows, n_panels, t);
        }
    }
    for (; i < to; i += per, *x += (size_t)per / 4 * x_quad, *w += DGM_LINE)
        dot_line(acc, 0, 0, *x, x_quad, *w, stride, rows, n_panels, t);
    dot_joined(acc, rows, chains);
}

/* dots - without scales; x_quad: bytes of x from 4 inputs to the next 4. */
V_INLINE void dots(int32_t *y, size_t ldy, const dgm_dot_rows *x, size_t x_quad,
                   const dgm_panels *w, int k, const int rows, const int n_panels, int first,
                   const dgm_ahead *ahead, const int thin, const int chains, const dgm_wtype t)
{
    const unsigned char *line = w->data;
    const int8_t *q = x->q;
    const int every = ahead != NULL ? ahead->every * 4 * DGM_TURN : k;
    vsum acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    size_t asked = 0;
    dot_start(acc, x->sums, x->ld_sums, rows, n_panels, chains, t);
    UNROLL(16)
    for (int r = 0; r < rows && !first; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            acc[r][p] = vs_load(y + (size_t)r * ldy + 16 * p);
    }
    for (int i = 0, to; i < k; i = to) {
        to = k - i < every ? k : i + every;
        if (ahead != NULL)
            asked = dgm_ahead_ask(ahead, asked);
        dot_sums(acc, &q, x_quad, &line, w->stride, i, to, rows, n_panels, thin, chains, t);
    }
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            vs_store(y + (size_t)r * ldy + 16 * p, acc[r][p]);
    }
}

/* group_dots - with scales of groups: two sums an output, of a group in integers, of all groups in floats. */
V_INLINE void group_dots(float *y, size_t ldy, const dgm_dot_rows *x, size_t x_quad,
                         const dgm_panels *w, int k, const int rows, const int n_panels, int first,
                         const dgm_ahead *ahead, const int thin, const int chains,
                         const dgm_wtype t)
{
    const unsigned char *line = w->data;
    const int8_t *q = x->q;
    const int group = w->scales.group, soon = dgm_soon_groups(group, k, n_panels, t);
    const int every = ahead != NULL ? ahead->every * 4 * DGM_TURN : k;
    const float *scale = w->scales.at;
    const int32_t *sums = x->sums;
    vsum acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    v16 total[DGM_MAX_TILE_ROWS][MOST_PANELS];
    size_t asked = 0;
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            total[r][p] = first ? v_set1(0.0f) : v_load(y + (size_t)r * ldy + 16 * p);
    }
    for (int i = 0, due = 0, to; i < k; i = to, scale += DGM_PANEL) {
        to = k - i < group ? k : i + group;
        for (; ahead != NULL && due < to; due += every)
            asked = dgm_ahead_ask(ahead, asked);
        if (thin)
            dgm_soon_scales(scale, to + soon * group < k, soon, w->scales.stride, n_panels);
        dot_start(acc, sums++, x->ld_sums, rows, n_panels, chains, t);
        dot_sums(acc, &q, x_quad, &line, w->stride, i, to, rows, n_panels, thin, chains, t);
        UNROLL(16)
        for (int r = 0; r < rows; r++) {
            UNROLL(8)
            for (int p = 0; p < n_panels; p++)
                total[r][p] = v_fma(vs_float(acc[r][p]),
                                    v_load(scale + (size_t)p * w->scales.stride), total[r][p]);
        }
    }
    UNROLL(16)
    for (int r = 0; r < rows; r++) {
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            v_store(y + (size_t)r * ldy + 16 * p, total[r][p]);
    }
}

#define DOT_TILE(r, np)                                                                            \
    dots(y, ldy, x, (size_t)4 * DOT_TILE_ROWS, w, k, r, np, first, ahead, 0, 1, type)

#define DOT_TILE_CASE(r)                                                                           \
    case r:                                                                                        \
        if (r <= DOT_TILE_ROWS && DOT_TILE_PANELS > 1 && n_panels == DOT_TILE_PANELS)              \
            DOT_TILE(r, DOT_TILE_PANELS);                                                          \
        else if (r <= DOT_TILE_ROWS)                                                               \
            DOT_TILE(r, 1);                                                                        \
        break;

#define DOT_TILES(name, t)                                                                         \
    static void name(int32_t *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,    \
                     int rows, int n_panels, int first, const dgm_ahead *ahead)                    \
    {                                                                                              \
        const dgm_wtype type = t;                                                                  \
        switch (rows) {                                                                            \
            EACH_ROWS(DOT_TILE_CASE)                                                               \
        }                                                                                          \
    }

DOT_TILES(dot_tile_int8, DGM_W_INT8)
DOT_TILES(dot_tile_int4, DGM_W_INT4)

#define GROUP_TILE(r, np)                                                                          \
    group_dots(y, ldy, x, (size_t)4 * DOT_TILE_ROWS, w, k, r, np, first, ahead, 0, 1, type)

#define GROUP_TILE_CASE(r)                                                                         \
    case r:                                                                                        \
        if (r <= DOT_GROUP_ROWS && DOT_TILE_PANELS > 1 && n_panels == DOT_TILE_PANELS)             \
            GROUP_TILE(r, DOT_TILE_PANELS);                                                        \
        else if (r <= DOT_GROUP_ROWS)                                                              \
            GROUP_TILE(r, 1);                                                                      \
        break;

#define GROUP_TILES(name, t)                                                                       \
    static void name(float *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,      \
                     int rows, int n_panels, int first, const dgm_ahead *ahead)                    \
    {                                                                                              \
        const dgm_wtype type = t;                                                                  \
        switch (rows) {                                                                            \
            EACH_ROWS(GROUP_TILE_CASE)                                                             \
        }                                                                                          \
    }

GROUP_TILES(group_tile_int8, DGM_W_INT8)
GROUP_TILES(group_tile_int4, DGM_W_INT4)

static void dot_tile(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,
                     int rows, int n_panels, int first, const dgm_ahead *ahead)
{
    if (w->scales.at == NULL) {
        (w->type == DGM_W_INT8 ? dot_tile_int8 : dot_tile_int4)(y, ldy, x, w, k, rows, n_panels,
                                                                first, ahead);
        return;
    }
    for (int r = 0; r < rows; r += DOT_GROUP_ROWS) { /* as many as have both sums in registers */
        const int n = rows - r < DOT_GROUP_ROWS ? rows - r : DOT_GROUP_ROWS;
        const dgm_dot_rows part = {
            .q = x->q + 4 * r, .sums = x->sums + (size_t)r * x->ld_sums, .ld_sums = x->ld_sums};
        (w->type == DGM_W_INT8 ? group_tile_int8 : group_tile_int4)((float *)y + (size_t)r * ldy,
                                                                    ldy, &part, w, k, n, n_panels,
                                                                    first, r == 0 ? ahead : NULL);
    }
}

/* dot_panels - n_panels panels, a number that is known where this is inlined. */
V_INLINE void dot_panels(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,
                         const int rows, const int n_panels, const int grouped, const dgm_wtype t)
{
    const int chains = n_panels > 1 ? 1 : DOT_THIN_CHAINS(rows);
    if (grouped)
        group_dots(y, ldy, x, x->ld, w, k, rows, n_panels, 1, NULL, 1, chains, t);
    else
        dots(y, ldy, x, x->ld, w, k, rows, n_panels, 1, NULL, 1, chains, t);
}

V_INLINE void dot_all(int32_t *y, size_t ldy, const dgm_dot_rows *x, dgm_panels w, int k,
                      const int rows, int n_panels, const int at_once, const int grouped,
                      const dgm_wtype t)
{
    for (int np; n_panels > 0; n_panels -= np) {
        np = n_panels >= at_once ? at_once : 1;
        if (np == at_once)
            dot_panels(y, ldy, x, &w, k, rows, at_once, grouped, t);
        else
            dot_panels(y, ldy, x, &w, k, rows, 1, grouped, t);
        y += DGM_PANEL * np;
        w.data = (const unsigned char *)w.data + w.stride * (size_t)np;
        w.scales.at = grouped ? w.scales.at + w.scales.stride * (size_t)np : NULL;
    }
}

#define DOT_ROWS_CASE(r)                                                                           \
    case r:                                                                                        \
        if (r <= DOT_THIN_ROWS)                                                                    \
            dot_all(y, ldy, x, *w, k, r, n_panels, DOT_THIN_PANELS(r, type, grouped), grouped,     \
                    type);                                                                         \
        break;

#define DOT_ROWS(name, t, with_groups)                                                             \
    static void name(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,       \
                     int rows, int n_panels)                                                       \
    {                                                                                              \
        const dgm_wtype type = t;                                                                  \
        const int grouped = with_groups;                                                           \
        switch (rows) {                                                                            \
            EACH_ROWS(DOT_ROWS_CASE)                                                               \
        }                                                                                          \
    }

DOT_ROWS(dot_rows_int8, DGM_W_INT8, 0)
DOT_ROWS(dot_rows_int4, DGM_W_INT4, 0)
DOT_ROWS(dot_rows_int8_groups, DGM_W_INT8, 1)
DOT_ROWS(dot_rows_int4_groups, DGM_W_INT4, 1)

static void dot_rows(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,
                     int rows, int n_panels)
{
    if (w->scales.at != NULL)
        (w->type == DGM_W_INT8 ? dot_rows_int8_groups : dot_rows_int4_groups)(y, ldy, x, w, k, rows,
                                                                              n_panels);
    else
        (w->type == DGM_W_INT8 ? dot_rows_int8 : dot_rows_int4)(y, ldy, x, w, k, rows, n_panels);
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
            for (int c = 0; c < CHAINS; c++) {
#ifndef DOT_ONE_INSTRUCTION
                __asm__ volatile("" : "+m"(x)); /* else products are made once, and only added */
#endif
                acc[c] = vs_dot_s8(acc[c], w, x);
            }
        }
    }
    for (int c = 1; c < CHAINS; c++)
        acc[0] = vs_add(acc[0], acc[c]);
    v_store(sink, vs_float(acc[0]));
    return 2.0 * 4 * DGM_LANES * CHAINS * DGM_TURN * n;
}

V_INLINE void dot_kernels_init(dgm_kernels *k)
{
    k->dot_tile_rows = DOT_TILE_ROWS;
    k->dot_tile = dot_tile;
    k->dot_thin_rows = DOT_THIN_ROWS;
    k->dot_rows = dot_rows;
    k->dot_peak = dot_peak;
}

#endif

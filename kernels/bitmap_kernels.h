/*
 * bitmap_kernels.h - private to kernels/: a few rows with weights stored as a bitmap and what it keeps, written once over v16.
 *
 * A line is made whole in a register and multiplied, zeros and all: the chain is the dense one, whatever the rows are. The
 * including <isa>/kernels.c defines, beside what wide_kernels.h wants,
 *   BITMAP_PANELS(rows)   how many panels bitmap_rows takes at once
 */
#ifndef DGM_KERNELS_BITMAP_KERNELS_H
#define DGM_KERNELS_BITMAP_KERNELS_H

#include "kernels/sparse.h"
#include "kernels/whole_line.h"
#include "kernels/wide_kernels.h"

/* A panel being read: where it ends, and how much further on the one begins that is read after it. */
typedef struct bitmap_at {
    const unsigned char *data, *end;
    const uint16_t *mask;
    ptrdiff_t jump;
} bitmap_at;

/* bitmap_open - panel `panel` of w, of n_panels at once. */
static bitmap_at bitmap_open(const dgm_packed *w, int panel, int n_panels)
{
    const dgm_zipped z = dgm_sparse_stretch(w, panel, 0);
    const size_t blocks = (size_t)dgm_sparse_blocks(DGM_BITMAP, w->k),
                 size = dgm_element_bytes(w->type);
    const size_t panels = dgm_packed_panels(w->n), next = (size_t)(panel + n_panels);
    bitmap_at at = {.data = z.data, .mask = z.index};
    at.end = (const unsigned char *)w->data + size * w->starts[(size_t)(panel + 1) * blocks];
    if (next < panels)
        at.jump = (const unsigned char *)w->data + size * w->starts[next * blocks] - at.end;
    return at;
}

/* bitmap_ask - for what is kept and, now and then, for masks: as dgm_soon, of numbers that have no fixed places. */
V_INLINE void bitmap_ask(const bitmap_at *at, int i, size_t masks, const int n_panels)
{
    const unsigned char *soon = at->data + DGM_SOON / n_panels * DGM_LINE;
    __builtin_prefetch(soon + (soon < at->end ? 0 : at->jump), 0, 3);
    if (i % 32 == 0)
        __builtin_prefetch((const unsigned char *)at->mask + masks, 0, 3);
}

/* bitmap_line - the next n inputs, from x[r][i] on: a line's, or what there is of the last. masks: bytes to those to ask for. */
V_INLINE void bitmap_line(v16 acc[][MOST_PANELS], const float *const *x, int i, int n,
                          bitmap_at *at, size_t masks, const int rows, const int n_panels,
                          const dgm_wtype t)
{
    const int per = dgm_line_inputs(t), size = 4 / per;
    vline line[MOST_PANELS];
    v16 w[MOST_PANELS];
    UNROLL(8)
    for (int p = 0; p < n_panels; p++) {
        bitmap_ask(&at[p], i, masks, n_panels);
        line[p] = v_whole_line(&at[p].data, at[p].mask, size);
        at[p].mask += per;
    }
    UNROLL(4)
    for (int s = 0; s < per; s++) {
        if (s >= n)
            return;
        UNROLL(8)
        for (int p = 0; p < n_panels; p++)
            w[p] = t == DGM_W_F32 ? v_line_f32(line[p]) : wide(line[p], s, t, rows <= 2);
        wide_input(acc, x, i + s, w, rows, n_panels);
    }
}

V_INLINE void bitmap_chains(float *y, size_t ldy, const float *x, size_t ldx, const dgm_packed *w,
                            int panel, const int rows, const int n_panels, const dgm_wtype t)
{
    const int per = dgm_line_inputs(t), groups = dgm_packed_groups(w->k, w->group);
    const int group = groups > 1 ? w->group : w->k;
    const float *scale = groups > 1 ? w->scale + (size_t)panel * (size_t)groups * DGM_PANEL : NULL;
    const float *row[DGM_MAX_TILE_ROWS];
    bitmap_at at[MOST_PANELS];
    v16 acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    for (int r = 0; r < rows; r++)
        row[r] = x + (size_t)r * ldx;
    for (int p = 0; p < n_panels; p++)
        at[p] = bitmap_open(w, panel + p, n_panels);
    const size_t stride = dgm_sparse_index_bytes(DGM_BITMAP, t, w->k);
    const int lines = (int)(stride / DGM_LINE) + 1;
    for (int i = 0, first = 1; i < w->k; first = 0) {
        const int end = w->k - i < group ? w->k : i + group, whole = i + (end - i) / per * per;
        clear(acc, rows, n_panels);
        for (; i < whole; i += per)
            bitmap_line(acc, row, i, per, at,
                        dgm_soon_of(DGM_SOON / 8, i / 32, lines, stride, n_panels), rows, n_panels,
                        t);
        if (i < end)
            bitmap_line(acc, row, i, end - i, at, 0, rows, n_panels, t);
        i = end;
        if (scale == NULL) {
            store(y, ldy, acc, rows, n_panels);
        } else {
            store_scaled(y, ldy, acc, rows, n_panels, scale, (size_t)groups * DGM_PANEL, first);
            scale += DGM_PANEL;
        }
    }
}

V_INLINE void bitmap_all(float *y, size_t ldy, const float *x, size_t ldx, const dgm_packed *w,
                         int panel, const int rows, int n_panels, const int at_once,
                         const dgm_wtype t)
{
    for (int np; n_panels > 0; n_panels -= np, panel += np, y += DGM_PANEL * np) {
        np = n_panels >= at_once ? at_once : 1;
        if (np == at_once)
            bitmap_chains(y, ldy, x, ldx, w, panel, rows, at_once, t);
        else
            bitmap_chains(y, ldy, x, ldx, w, panel, rows, 1, t);
    }
}

#define BITMAP_CASE(r)                                                                             \
    case r:                                                                                        \
        if (r <= THIN_ROWS)                                                                        \
            bitmap_all(y, ldy, x, ldx, w, panel, r, n_panels, BITMAP_PANELS(r), type);             \
        break;

#define BITMAP_ROWS(name, t)                                                                       \
    static void name(float *y, size_t ldy, const float *x, size_t ldx, const dgm_packed *w,        \
                     int panel, int rows, int n_panels)                                            \
    {                                                                                              \
        const dgm_wtype type = t;                                                                  \
        switch (rows) {                                                                            \
            EACH_ROWS(BITMAP_CASE)                                                                 \
        }                                                                                          \
    }

BITMAP_ROWS(bitmap_f32, DGM_W_F32)
BITMAP_ROWS(bitmap_bf16, DGM_W_BF16)
BITMAP_ROWS(bitmap_int8, DGM_W_INT8)

static void bitmap_rows(float *y, size_t ldy, const float *x, size_t ldx, const dgm_packed *w,
                        int panel, int rows, int n_panels)
{
    (w->type == DGM_W_F32    ? bitmap_f32
     : w->type == DGM_W_BF16 ? bitmap_bf16
                             : bitmap_int8)(y, ldy, x, ldx, w, panel, rows, n_panels);
}

V_INLINE void bitmap_kernels_init(dgm_kernels *k)
{
    k->bitmap_rows = bitmap_rows;
}

#endif

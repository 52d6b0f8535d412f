/*
 * bitmap_dots.h - private to kernels/: integer dot products of a few rows with int8 stored as a bitmap and what it keeps,
 * written once over vsum, for the including <isa>/kernels.c and what dot_kernels.h wants of it.
 *
 * A line is made whole in a register and multiplied, zeros and all; one panel after the other, in the order of memory.
 */
#ifndef DGM_KERNELS_BITMAP_DOTS_H
#define DGM_KERNELS_BITMAP_DOTS_H

#include "kernels/picked_dots.h"
#include "kernels/whole_line.h"

enum { BITMAP_TURN = 4 }; /* lines */

/* bitmap_dot_line - 4 inputs of all rows, q[0 .. 3] of each, with the next line. */
V_INLINE void bitmap_dot_line(vsum acc[][MOST_PANELS], const int chain, const int8_t *q, size_t ldq,
                              const unsigned char **data, const uint16_t *mask, const int rows)
{
    __builtin_prefetch(*data + (size_t)DGM_SOON * DGM_LINE, 0, 3);
    const vdot_s8 w = vdot_s8_of(v_whole_line(data, mask, 1));
    UNROLL(16)
    for (int r = 0; r < rows; r++)
        acc[r][chain] = vs_dot_s8(acc[r][chain], w, q + (size_t)r * ldq);
}

V_INLINE void bitmap_sums(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_packed *w,
                          int panel, const int rows, const int chains)
{
    const int groups = dgm_packed_groups(w->k, w->group), group = groups > 1 ? w->group : w->k;
    const size_t soon = (size_t)DGM_SOON * DGM_LINE / 8; /* of masks: bits of half as many bytes */
    const float *scale = groups > 1 ? w->scale + (size_t)panel * (size_t)groups * DGM_PANEL : NULL;
    const dgm_zipped z = dgm_sparse_stretch(w, panel, 0);
    const unsigned char *data = z.data;
    const uint16_t *mask = z.index;
    vsum acc[DGM_MAX_TILE_ROWS][MOST_PANELS];
    for (int i = 0, g = 0; i < w->k; g++) {
        const int end = w->k - i < group ? w->k : i + group;
        const int turns = i + (end - i) / (4 * BITMAP_TURN) * (4 * BITMAP_TURN);
        dot_start(acc, x->sums + g, x->ld_sums, rows, 1, chains, DGM_W_INT8);
        for (; i < turns; i += 4 * BITMAP_TURN, mask += 4 * BITMAP_TURN) {
            __builtin_prefetch((const unsigned char *)mask + soon, 0, 3);
            UNROLL(4)
            for (int s = 0; s < BITMAP_TURN; s++)
                bitmap_dot_line(acc, s % chains, x->q + i + 4 * s, x->ld, &data, mask + 4 * s,
                                rows);
        }
        for (; i < end; i += 4, mask += 4)
            bitmap_dot_line(acc, 0, x->q + i, x->ld, &data, mask, rows);
        dot_joined(acc, rows, chains);
        dot_store(y, ldy, acc, scale, 0, rows, 1, g == 0);
        scale = scale != NULL ? scale + DGM_PANEL : NULL;
    }
}

#define BITMAP_DOTS_CASE(r)                                                                        \
    case r:                                                                                        \
        for (int p = 0; r <= DOT_THIN_ROWS && p < n_panels; p++)                                   \
            bitmap_sums((float *)y + (size_t)p * DGM_PANEL, ldy, x, w, panel + p, r,               \
                        DOT_THIN_CHAINS(r));                                                       \
        break;

static void bitmap_dots(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_packed *w, int panel,
                        int rows, int n_panels)
{
    switch (rows) {
        EACH_ROWS(BITMAP_DOTS_CASE)
    }
}

V_INLINE void bitmap_dots_init(dgm_kernels *k)
{
    k->bitmap_dots = bitmap_dots;
}

#endif

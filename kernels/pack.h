/*
 * pack.h - weights in the one layout that every instruction set reads.
 *
 * A matrix w [n, k] (n outputs, k inputs) becomes ceil(n / 16) panels of 16 outputs, outputs past n zero. A panel is
 *   f32    [k][16]
 *   bf16   [ceil(k / 2)][16][2]   inputs 2 b, 2 b + 1
 *   int8   [ceil(k / 4)][16][4]   inputs 4 b .. 4 b + 3, two's complement
 *   int4   [ceil(k / 8)][16][4]   byte j: input 8 b + j in the low nibble, 8 b + 4 + j in the high, each q + 8
 * with inputs past k zero (int4: q = 0, so the nibble is 8). Integers stand for q * scale; scales are
 * [panels][groups][16] f32, outputs past n zero, where a group is `group` consecutive inputs (a multiple of 32, at
 * most DGM_MAX_GROUP), or all of k when group is 0. The same tensor serves as a GEMM operand and, for the tied embedding, for looking up a row.
 */
#ifndef DGM_KERNELS_PACK_H
#define DGM_KERNELS_PACK_H

#include "kernels/dtype.h"
#include "kernels/kernels.h"

enum { DGM_MAX_GROUP = 1024 };

typedef struct dgm_packed {
    int n, k; /* outputs, inputs */
    dgm_wtype type;
    int group;           /* integers: inputs that share a scale, 0: all */
    const void *data;    /* panels, 64-byte aligned; NULL: not on this rank */
    const float *scale;  /* integers: [panels][groups][16], 64-byte aligned; else NULL */
    dgm_pattern pattern; /* not dense: data is what sparse.h says, and so are: */
    const void *index;
    const uint32_t *starts;
} dgm_packed;

static inline size_t dgm_packed_panels(int n)
{
    return (size_t)((n + DGM_PANEL - 1) / DGM_PANEL);
}

/* dgm_panel_bytes - of one panel of k inputs. */
static inline size_t dgm_panel_bytes(dgm_wtype t, int k)
{
    const size_t in = (size_t)k;
    switch (t) {
    case DGM_W_BF16:
        return (in + 1) / 2 * 64;
    case DGM_W_INT8:
        return (in + 3) / 4 * 64;
    case DGM_W_INT4:
        return (in + 7) / 8 * 64;
    default:
        return in * 64;
    }
}

/* dgm_packed_bytes - of the panels of [n, k]; scales not included. */
static inline size_t dgm_packed_bytes(dgm_wtype t, int n, int k)
{
    return dgm_packed_panels(n) * dgm_panel_bytes(t, k);
}

/* dgm_packed_groups - scales of one output. */
static inline int dgm_packed_groups(int k, int group)
{
    return group == 0 ? 1 : (k + group - 1) / group;
}

/* dgm_packed_clear - dst [dgm_packed_bytes()] becomes the panels of a matrix of zeros. */
void dgm_packed_clear(void *dst, dgm_wtype t, int n, int k);

/*
 * dgm_pack - packs `rows` rows of src [rows, k] (row-major, type t, no alignment needed) as outputs
 * row0 .. row0 + rows - 1 of dst (f32 panels of some [n, k], n >= row0 + rows, cleared beforehand).
 * F16 and BF16 are widened exactly. This and the two below write those outputs' bytes and no others, so rows may be
 * packed in any order and by several threads.
 */
void dgm_pack(float *dst, const void *src, dgm_dtype t, int row0, int rows, int k);

/* dgm_pack_bf16 - likewise into bf16 panels; src is BF16, for nothing else becomes it exactly. */
void dgm_pack_bf16(void *dst, const void *src, int row0, int rows, int k);

/* dgm_pack_integers - likewise into panels of type t, DGM_W_INT8 or DGM_W_INT4, of q [rows, k]: -128 .. 127 or -8 .. 7.
 * Scales are the caller's to place: output r, group g at dgm_packed_scale_at(). */
void dgm_pack_integers(void *dst, dgm_wtype t, const int8_t *q, int row0, int rows, int k);

/* dgm_packed_scale_at - where the scale of output r, group g stands among `groups` an output. */
static inline size_t dgm_packed_scale_at(int groups, int r, int g)
{
    const size_t panel = (size_t)(r / DGM_PANEL);
    return (panel * (size_t)groups + (size_t)g) * DGM_PANEL + (size_t)(r % DGM_PANEL);
}

/* dgm_packed_scales - floats that the scales of [n, k] take: 0 unless they are integers. */
static inline size_t dgm_packed_scales(dgm_wtype t, int n, int k, int group)
{
    if (t != DGM_W_INT8 && t != DGM_W_INT4)
        return 0;
    return dgm_packed_panels(n) * (size_t)dgm_packed_groups(k, group) * DGM_PANEL;
}

/*
 * dgm_packed_gather - outputs rows[0 .. n - 1] of w, in this order, as a matrix of their own (of a dense w): data [dgm_packed_bytes()]
 * and scale [dgm_packed_scales()], both 64-byte aligned, n >= 1. The same type and groups, so each output computes the
 * bits that it computes in w.
 */
dgm_packed dgm_packed_gather(void *data, float *scale, const dgm_packed *w, const int32_t *rows,
                             int n);

/* dgm_packed_read - dst [k] = row r as floats, whatever the type; integers: q * scale, rounded once. */
void dgm_packed_read(float *dst, const dgm_packed *w, int r);

/* dgm_packed_at - one element of that row, of a dense matrix. */
float dgm_packed_at(const dgm_packed *w, int r, int i);

/* dgm_packed_zero - element i of row r of panels of type t becomes 0 (int4: q = 0). Rows may be changed by several threads. */
void dgm_packed_zero(void *panels, dgm_wtype t, int k, int r, int i);

/* dgm_widen - n elements of type t to f32, exactly. src needs no alignment. */
void dgm_widen(float *dst, const void *src, dgm_dtype t, size_t n);

/* dgm_packed_row - f32: the first element of row r; its elements are DGM_PANEL apart. */
static inline const float *dgm_packed_row(const dgm_packed *w, int r)
{
    return (const float *)w->data + (size_t)(r / DGM_PANEL) * DGM_PANEL * (size_t)w->k +
           (size_t)(r % DGM_PANEL);
}

#endif

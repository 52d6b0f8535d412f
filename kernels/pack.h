/*
 * pack.h - weights in the one layout that every instruction set reads.
 *
 * A matrix w [n, k] (n outputs, k inputs) becomes ceil(n / 16) panels of [k][16] f32; outputs past n
 * are zero. The same tensor serves as a GEMM operand and, for the tied embedding, for looking up a
 * row (element i of row r: data[(r / 16) * 16 * k + i * 16 + r % 16]).
 */
#ifndef DGM_KERNELS_PACK_H
#define DGM_KERNELS_PACK_H

#include "kernels/dtype.h"
#include "kernels/kernels.h"

typedef struct dgm_packed {
    int n, k;          /* outputs, inputs */
    const float *data; /* [ceil(n / 16)][k][16], 64-byte aligned; NULL: not on this rank */
} dgm_packed;

/* dgm_packed_bytes - size of the packed form of [n, k] f32. */
static inline size_t dgm_packed_bytes(int n, int k)
{
    return (size_t)((n + DGM_PANEL - 1) / DGM_PANEL) * DGM_PANEL * (size_t)k * sizeof(float);
}

/*
 * dgm_pack - packs `rows` rows of src [rows, k] (row-major, type t, no alignment needed) as outputs
 * row0 .. row0 + rows - 1 of dst (packed form of some [n, k], n >= row0 + rows, zero beforehand).
 * F16 and BF16 are widened exactly.
 */
void dgm_pack(float *dst, const void *src, dgm_dtype t, int row0, int rows, int k);

/* dgm_widen - n elements of type t to f32, exactly. src needs no alignment. */
void dgm_widen(float *dst, const void *src, dgm_dtype t, size_t n);

/* dgm_packed_row - the first element of row r; its elements are DGM_PANEL apart. */
static inline const float *dgm_packed_row(const dgm_packed *w, int r)
{
    return w->data + (size_t)(r / DGM_PANEL) * DGM_PANEL * (size_t)w->k + (size_t)(r % DGM_PANEL);
}

#endif

/* dtype.h - element types of tensors in files and of packed weights. */
#ifndef DGM_KERNELS_DTYPE_H
#define DGM_KERNELS_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum dgm_dtype { DGM_F32, DGM_F16, DGM_BF16 } dgm_dtype;

/* Types of packed weights (pack.h). */
typedef enum dgm_wtype { DGM_W_F32, DGM_W_BF16, DGM_W_INT8, DGM_W_INT4 } dgm_wtype;

/* Which numbers of packed weights are stored: all, n of m consecutive inputs, or those that a bitmap names (sparse.h). */
typedef enum dgm_pattern { DGM_DENSE, DGM_2_OF_4, DGM_4_OF_8, DGM_BITMAP } dgm_pattern;

/* What multiplies int8 and int4 weights: f32 rows, or rows quantised to int8. */
typedef enum dgm_compute { DGM_COMPUTE_F32, DGM_COMPUTE_INT8 } dgm_compute;

/* dgm_line_inputs - inputs in a line of 64 bytes of a panel. */
static inline int dgm_line_inputs(dgm_wtype t)
{
    return t == DGM_W_INT4 ? 8 : t == DGM_W_INT8 ? 4 : t == DGM_W_BF16 ? 2 : 1;
}

static inline size_t dgm_dtype_bytes(dgm_dtype t)
{
    return t == DGM_F32 ? 4 : 2;
}

/* dgm_bf16_round - the nearest bf16, ties to even; a NaN stays one, a number beyond the largest becomes infinity. */
static inline uint16_t dgm_bf16_round(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#endif

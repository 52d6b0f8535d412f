/* dtype.h - element types of tensors in files and of packed weights. */
#ifndef DGM_KERNELS_DTYPE_H
#define DGM_KERNELS_DTYPE_H

#include <stddef.h>

typedef enum dgm_dtype { DGM_F32, DGM_F16, DGM_BF16 } dgm_dtype;

/* Types of packed weights (pack.h). */
typedef enum dgm_wtype { DGM_W_F32, DGM_W_BF16, DGM_W_INT8, DGM_W_INT4 } dgm_wtype;

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

#endif

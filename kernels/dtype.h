/* dtype.h - element types of tensors in files and of packed weights. */
#ifndef DGM_KERNELS_DTYPE_H
#define DGM_KERNELS_DTYPE_H

#include <stddef.h>

typedef enum dgm_dtype { DGM_F32, DGM_F16, DGM_BF16 } dgm_dtype;

/* Types of packed weights (pack.h). */
typedef enum dgm_wtype { DGM_W_F32, DGM_W_BF16, DGM_W_INT8, DGM_W_INT4 } dgm_wtype;

static inline size_t dgm_dtype_bytes(dgm_dtype t)
{
    return t == DGM_F32 ? 4 : 2;
}

#endif

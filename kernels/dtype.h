/* dtype.h - element types of tensors in files and of packed weights. */
#ifndef DGM_KERNELS_DTYPE_H
#define DGM_KERNELS_DTYPE_H

#include <stddef.h>

typedef enum dgm_dtype { DGM_F32, DGM_F16, DGM_BF16 } dgm_dtype;

static inline size_t dgm_dtype_bytes(dgm_dtype t)
{
    return t == DGM_F32 ? 4 : 2;
}

#endif

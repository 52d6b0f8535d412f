/* products.h - private to kernels/cuda/: which kernel computes a grouped product, and with how many blocks. */
#ifndef DGM_KERNELS_CUDA_PRODUCTS_H
#define DGM_KERNELS_CUDA_PRODUCTS_H

#include "kernels/cuda/prims.h"

/* launch_product - tiles [n_tiles] are those of p.tiles; `many`: they are large. integers: rows are p.q, else p.x. */
void launch_product(cudaStream_t stream, const Product &p, int type, int n_tiles, bool many,
                    bool integers);
void launch_quantize(cudaStream_t stream, int8_t *q, float *scale, size_t q_rows, const float *x,
                     size_t ldx, int k, int rows);
void launch_place(cudaStream_t stream, int8_t *q, size_t q_rows, const int8_t *from, size_t ld,
                  int k, int rows);
void launch_fma_peak(cudaStream_t stream, float *sink, int blocks, int rounds);
void launch_mma_peak(cudaStream_t stream, float *sink, int blocks, int rounds);

/* most_rows - of a tile. */
int most_rows(bool many);

#endif

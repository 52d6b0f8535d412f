/* parts.h - the parts of AVX-512's table that are compiled apart, for dgm_avx512_init alone. */
#ifndef DGM_KERNELS_AVX512_PARTS_H
#define DGM_KERNELS_AVX512_PARTS_H

#include "kernels/kernels.h"

void dgm_avx512_floats_init(dgm_kernels *k);  /* f32 tiles, those of weights widened */
void dgm_avx512_picked_init(dgm_kernels *k);  /* those of n of m */
void dgm_avx512_bitmaps_init(dgm_kernels *k); /* those of bitmaps, and unzip */
void dgm_avx512_dots_init(dgm_kernels *k);    /* integer dot products */

#endif

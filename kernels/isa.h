/*
 * isa.h - private to kernels/: the folders that fill the table.
 *
 * Each init but the last sets every entry, so a later one replaces an earlier one. Call it only where the CPU has what the name says.
 */
#ifndef DGM_KERNELS_ISA_H
#define DGM_KERNELS_ISA_H

#include "kernels/kernels.h"

void dgm_ref_init(dgm_kernels *k); /* plain C; fmaf is libm's */
void dgm_ref_fma_init(
    dgm_kernels *k); /* the same source, compiled for AVX2 and FMA: fmaf is one instruction */
void dgm_avx2_init(dgm_kernels *k);   /* AVX2, FMA, F16C */
void dgm_avx512_init(dgm_kernels *k); /* AVX-512 F, BW, DQ, VL */
void dgm_vnni_init(dgm_kernels *k);   /* AVX-512 VNNI on top */
void dgm_vbmi2_init(dgm_kernels *k);  /* bitmaps alone, in a table of VNNI's: with VBMI2 too */

/* NULL where the build ends at avx2, as under sanitizers. */
#if DGM_HAVE_AVX512
#define DGM_AVX512_OR_NULL(init) init
#else
#define DGM_AVX512_OR_NULL(init) NULL
#endif

#endif

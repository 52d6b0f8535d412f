/*
 * gemm.h - y = x w^T + bias, for one or many matrices in one parallel region.
 *
 * f32, bf16: acc = +0; acc = fma(x[k], w[n][k], acc), k ascending; then dgm_kernels.finish. Blocks, tiles and
 * threads never split or reorder k, so a row's bits depend on nothing but the row and w.
 * int8, int4: for each group of inputs that chain over (float)q; acc = fma(chain, scale, acc), groups ascending from +0.
 * With compute int8 rows are quantised (dgm_kernels.quantize_row), or given so; sums of integers are exact; one group:
 * y = fma((float)sum, row scale * scale, bias); more: acc = fma((float)sum, scale, acc), y = fma(acc, row scale, bias).
 * k <= 131072 there.
 */
#ifndef DGM_KERNELS_GEMM_H
#define DGM_KERNELS_GEMM_H

#include "base/arena.h"
#include "base/pool.h"
#include "kernels/pack.h"

typedef struct dgm_gemm_job {
    const float *x; /* [rows, w->k], stride ldx */
    size_t ldx;
    float *y; /* [rows, w->n], stride ldy */
    size_t ldy;
    const dgm_packed *w;
    const float *bias;     /* [w->n] or NULL */
    const float *residual; /* [rows, w->n], stride ldr, or NULL; may be y */
    size_t ldr;
    int rows; /* >= 0 */
    int relu;
    dgm_compute compute; /* int8: of int8 and int4 weights; others are always multiplied as f32 */
    /* compute int8: rows that are quantised already, q [rows, w->k] with stride ldq and q_scale [rows], and then x is
     * not read; or NULL. Only with int8 and int4 weights. */
    const int8_t *q;
    size_t ldq;
    const float *q_scale;
} dgm_gemm_job;

/*
 * dgm_gemm - all jobs in one region of the pool, partitioned by work rather than by job. Weights of
 * a job without rows are not read. Jobs must not write what another job of the call reads.
 * `scratch` holds packed and quantised x: dgm_gemm_scratch_bytes() of it are used and given back.
 */
void dgm_gemm(const dgm_kernels *kern, dgm_pool *pool, const dgm_gemm_job *jobs, int n_jobs,
              dgm_arena *scratch);

/* dgm_gemm_scratch_bytes - enough for calls with up to `rows` rows in all, n_jobs jobs, inputs up to
 * max_k, outputs up to max_n, on n_threads threads. */
size_t dgm_gemm_scratch_bytes(int rows, int n_jobs, int max_k, int max_n, int n_threads);

#endif

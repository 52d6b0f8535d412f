/*
 * moments.h - second moments of the rows x [n] that enter a matrix: H = sum of x x^T, what feedback.h needs of a text.
 *
 * f32, as exact as a text of some thousand lines asks for. The upper triangle alone, in rows of blocks of 64: block row b
 * is [64, N - 64 b] from column 64 b on, N being n rounded up to 64. Rows wait until there are enough of them for a
 * matrix product. The sums depend on the order of rows and on nothing else: not on threads or instruction set.
 */
#ifndef DGM_RUNTIME_MOMENTS_H
#define DGM_RUNTIME_MOMENTS_H

#include "kernels/gemm.h"

enum { DGM_MOMENTS_BLOCK = 64, DGM_MOMENTS_WAIT = 128 };

typedef struct dgm_moments {
    int n, n_waiting;
    uint64_t rows;  /* seen */
    float *h;       /* block row after block row */
    float *waiting; /* [DGM_MOMENTS_WAIT, n] rows that are not in h yet */
} dgm_moments;

/* What sums are made with. Borrowed. */
typedef struct dgm_moments_tools {
    const dgm_kernels *kern;
    dgm_pool *pool;
    dgm_arena *scratch; /* dgm_moments_scratch_bytes() of the widest */
} dgm_moments_tools;

static inline size_t dgm_moments_padded(int n)
{
    return (size_t)(n + DGM_MOMENTS_BLOCK - 1) / DGM_MOMENTS_BLOCK * DGM_MOMENTS_BLOCK;
}

/* dgm_moments_row - where block row b begins in h. */
static inline size_t dgm_moments_row(int n, size_t b)
{
    const size_t block = DGM_MOMENTS_BLOCK;
    return block * (b * dgm_moments_padded(n) - block * (b * (b - 1) / 2));
}

/* dgm_moments_bytes - of the memory of one. */
size_t dgm_moments_bytes(int n);
size_t dgm_moments_scratch_bytes(int n, int n_threads);

/* dgm_moments_init - zero. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_moments_init(dgm_moments *m, int n);
void dgm_moments_fini(dgm_moments *m);

/* dgm_moments_add - x [rows, n]. dgm_moments_end: those that wait too; afterwards dgm_moments_at() is the sum. */
void dgm_moments_add(dgm_moments *m, const float *x, int rows, const dgm_moments_tools *t);
void dgm_moments_end(dgm_moments *m, const dgm_moments_tools *t);

/* dgm_moments_at - the sum of x[i] x[j]. */
static inline float dgm_moments_at(const dgm_moments *m, int i, int j)
{
    const size_t a = (size_t)(i < j ? i : j), b = (size_t)(i < j ? j : i),
                 block = a / DGM_MOMENTS_BLOCK, first = block * DGM_MOMENTS_BLOCK;
    return m->h[dgm_moments_row(m->n, block) + (a - first) * (dgm_moments_padded(m->n) - first) +
                (b - first)];
}

#endif

/*
 * pool.h - a static pool of threads for kernels.
 *
 * dgm_pool_run calls fn(ctx, part, n_parts) once for each part in 0..n_parts-1, one part a thread,
 * the caller being part 0, and returns when all are done. Work is split by the callee from (part,
 * n_parts); results must not depend on n_parts. Threads spin briefly, then sleep.
 */
#ifndef DGM_BASE_POOL_H
#define DGM_BASE_POOL_H

#include "base/status.h"

typedef struct dgm_pool dgm_pool;
typedef void (*dgm_pool_fn)(void *ctx, int part, int n_parts);

/* dgm_pool_create - `n_threads` >= 1 threads in all, the caller included. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_pool_create(dgm_pool **out, int n_threads);
void dgm_pool_destroy(dgm_pool *p);

/* dgm_pool_run - from the thread that created the pool only; not reentrant. `p` may be NULL: one part. */
void dgm_pool_run(dgm_pool *p, dgm_pool_fn fn, void *ctx);
int dgm_pool_size(const dgm_pool *p);

/* dgm_pool_share - part `part` of `n_parts` of n items: [*begin, *end), sizes differing by at most 1. */
static inline void dgm_pool_share(int *begin, int *end, int n, int part, int n_parts)
{
    const int each = n / n_parts, rest = n % n_parts;
    *begin = part * each + (part < rest ? part : rest);
    *end = *begin + each + (part < rest ? 1 : 0);
}

#endif

#include "launch/bench_peak.h"

#include "base/arena.h"
#include "base/clock.h"

#include <stdlib.h>

enum { ROUNDS = 1 << 14 };
static const size_t COLD_BYTES = (size_t)256 << 20;

struct dgm_bench_peak {
    dgm_kernels best;
    dgm_pool *pool;
    float *cold;
    float *sink;  /* [16 * threads] */
    size_t again; /* floats of each of two streams of a thread */
};

int dgm_bench_peak_open(dgm_bench_peak **out, dgm_pool *pool)
{
    dgm_bench_peak *p = calloc(1, sizeof *p);
    if (p == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate a measurement");
    p->pool = pool;
    p->cold = dgm_reserve(COLD_BYTES);
    p->sink = calloc(16 * (size_t)dgm_pool_size(pool), sizeof *p->sink);
    const int rc =
        p->cold == NULL || p->sink == NULL
            ? dgm_fail(DGM_ENOMEM, "cannot reserve %zu MiB to measure memory", COLD_BYTES >> 20)
            : dgm_kernels_select(&p->best, NULL);
    if (rc != DGM_OK || p->cold == NULL) {
        dgm_bench_peak_close(p);
        return rc;
    }
    for (size_t i = 0; i < COLD_BYTES / sizeof *p->cold; i++) /* untouched pages would all be one */
        p->cold[i] = (float)(i & 1023) * 0x1p-10f;
    *out = p;
    return DGM_OK;
}

void dgm_bench_peak_close(dgm_bench_peak *p)
{
    if (p == NULL)
        return;
    if (p->cold != NULL)
        dgm_release(p->cold, COLD_BYTES);
    free(p->sink);
    free(p);
}

static void fma_part(void *ctx, int part, int n_parts)
{
    const dgm_bench_peak *p = ctx;
    (void)n_parts;
    (void)p->best.fma_peak(p->sink + 16 * part, ROUNDS);
}

static double rate(dgm_bench_peak *p, dgm_pool_fn fn, double burst, double seconds)
{
    const double begin = dgm_now_s();
    double work = 0, spent = 0;
    for (; work == 0 || spent < seconds; spent = dgm_now_s() - begin) {
        dgm_pool_run(p->pool, fn, p);
        work += burst;
    }
    return work / spent * 1e-9;
}

double dgm_bench_peak_gflops(dgm_bench_peak *p, double seconds)
{
    float sink[16] = {0};
    const double burst = p->best.fma_peak(sink, 1) * ROUNDS * dgm_pool_size(p->pool);
    return rate(p, fma_part, burst, seconds);
}

static void dot_part(void *ctx, int part, int n_parts)
{
    const dgm_bench_peak *p = ctx;
    (void)n_parts;
    (void)p->best.dot_peak(p->sink + 16 * part, ROUNDS);
}

double dgm_bench_peak_gops(dgm_bench_peak *p, double seconds)
{
    float sink[16] = {0};
    const double burst = p->best.dot_peak(sink, 1) * ROUNDS * dgm_pool_size(p->pool);
    return rate(p, dot_part, burst, seconds);
}

static void again_part(void *ctx, int part, int n_parts)
{
    const dgm_bench_peak *p = ctx;
    const float *mine = p->cold + 2 * p->again * (size_t)part;
    (void)n_parts;
    p->sink[16 * part] = p->best.dot(mine, mine + p->again, (int)p->again);
}

double dgm_bench_peak_again(dgm_bench_peak *p, double bytes, double seconds)
{
    const size_t streams = 2 * (size_t)dgm_pool_size(p->pool),
                 least = streams * DGM_LANES * sizeof(float);
    size_t at_hand = bytes < (double)COLD_BYTES ? (size_t)bytes : COLD_BYTES;
    if (at_hand < least)
        at_hand = least;
    p->again = at_hand / sizeof(float) / streams;
    dgm_pool_run(p->pool, again_part, p); /* what a cache can hold, it holds now */
    return rate(p, again_part, (double)(p->again * sizeof(float) * streams), seconds);
}

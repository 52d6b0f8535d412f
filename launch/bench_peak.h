/* bench_peak.h - what this machine can do at this moment: fma on registers, integer products, and reading memory. */
#ifndef DGM_LAUNCH_BENCH_PEAK_H
#define DGM_LAUNCH_BENCH_PEAK_H

#include "base/pool.h"
#include "kernels/kernels.h"

typedef struct dgm_bench_peak dgm_bench_peak;

/* dgm_bench_peak_open - memory that no cache holds, and the best instruction set of this CPU. pool outlives it. */
DGM_MUST_CHECK int dgm_bench_peak_open(dgm_bench_peak **out, dgm_pool *pool);
void dgm_bench_peak_close(dgm_bench_peak *p);

/* In 1e9 a second, over about `seconds`. */
double dgm_bench_peak_gflops(dgm_bench_peak *p, double seconds);
/* dgm_bench_peak_again - reading the same `bytes` again and again: few stay in a cache. */
double dgm_bench_peak_again(dgm_bench_peak *p, double bytes, double seconds);
/* dgm_bench_peak_gops - of the integer product of the best instruction set. */
double dgm_bench_peak_gops(dgm_bench_peak *p, double seconds);

#endif

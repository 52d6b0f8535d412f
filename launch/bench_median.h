/* bench_median.h - what a bench makes of its repeats. */
#ifndef DGM_LAUNCH_BENCH_MEDIAN_H
#define DGM_LAUNCH_BENCH_MEDIAN_H

/* dgm_bench_median - of v [n], which is sorted: v[0] is the least. n is at least 1. */
double dgm_bench_median(double *v, int n);

#endif

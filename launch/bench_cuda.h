/* bench_cuda.h - `dragoman bench cuda`. */
#ifndef DGM_LAUNCH_BENCH_CUDA_H
#define DGM_LAUNCH_BENCH_CUDA_H

#include "launch/options.h"

/*
 * dgm_bench_cuda - the expert FFNs of one layer on a GPU, of few rows and of many, for each type of weights, beside what the
 * card reaches in a large copy and on registers alone. The process's exit code: 2 without a GPU.
 */
int dgm_bench_cuda(const dgm_options *o);

#endif

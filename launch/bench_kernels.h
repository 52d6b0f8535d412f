/* bench_kernels.h - `dragoman bench kernels`. */
#ifndef DGM_LAUNCH_BENCH_KERNELS_H
#define DGM_LAUNCH_BENCH_KERNELS_H

#include "launch/options.h"

/*
 * dgm_bench_kernels - for each instruction set of this CPU (or the one that --isa names), on 1 thread and on
 * --threads: what the kernels reach beside the peak that is measured in the same run. Local: rank 0 alone. The
 * process's exit code.
 */
int dgm_bench_kernels(const dgm_options *o);

#endif

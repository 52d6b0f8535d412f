/* bench_experts.h - `dragoman bench experts`. */
#ifndef DGM_LAUNCH_BENCH_EXPERTS_H
#define DGM_LAUNCH_BENCH_EXPERTS_H

#include "launch/options.h"

/*
 * dgm_bench_experts - few rows over some of 128 experts, d 512, FFN 2048: all in one grouped product, beside the same experts
 * one after another; on 1 thread and on --threads. Local: rank 0 alone. The process's exit code.
 */
int dgm_bench_experts(const dgm_options *o);

#endif

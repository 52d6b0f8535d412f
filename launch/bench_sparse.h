/* bench_sparse.h - `dragoman bench sparse`. */
#ifndef DGM_LAUNCH_BENCH_SPARSE_H
#define DGM_LAUNCH_BENCH_SPARSE_H

#include "launch/options.h"

/*
 * dgm_bench_sparse - products of a few rows with half of the weights zero, stored as 2:4, 4:8 and a bitmap, beside the dense
 * kernel on the same weights: on one thread, by --isa, with weights that no cache holds and with one matrix again and
 * again. Bytes too. Local: rank 0 alone. The process's exit code.
 */
int dgm_bench_sparse(const dgm_options *o);

#endif

/* bench_pruning.h - `dragoman bench pruning`. */
#ifndef DGM_LAUNCH_BENCH_PRUNING_H
#define DGM_LAUNCH_BENCH_PRUNING_H

#include "launch/options.h"

/*
 * dgm_bench_pruning - what it brings that finished sentences leave the batch: random ids, translated to the lengths that a
 * file names (--lengths; one number of tokens a line), beside all of a batch translated to its longest. For
 * each of --batch; on many ranks rank 0's rows. The process's exit code.
 */
int dgm_bench_pruning(const dgm_options *o);

#endif

/* bench_exchange.h - `dragoman bench exchange`. */
#ifndef DGM_LAUNCH_BENCH_EXCHANGE_H
#define DGM_LAUNCH_BENCH_EXCHANGE_H

#include "launch/options.h"

/* dgm_bench_exchange - Collective. Prints dispatch + combine beside two MPI_Alltoallv; the
 * process's exit code. */
int dgm_bench_exchange(const dgm_options *o);

#endif

/* bench_routing.h - `dragoman bench routing`. */
#ifndef DGM_LAUNCH_BENCH_ROUTING_H
#define DGM_LAUNCH_BENCH_ROUTING_H

#include "launch/options.h"

/*
 * dgm_bench_routing - translates random ids into --targets languages with a model, for each of --batch, and shows what the
 * way in which its experts are chosen costs: tokens a second, time of a decode step, its share in the exchange,
 * experts that a layer reads in a step, decoder parameters that a rank holds; beside it the step of a model of bytes
 * and operations with the peaks of the same run. On many ranks: rank 0's. The process's exit code.
 */
int dgm_bench_routing(const dgm_options *o);

#endif

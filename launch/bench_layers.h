/* bench_layers.h - `dragoman bench layers`. */
#ifndef DGM_LAUNCH_BENCH_LAYERS_H
#define DGM_LAUNCH_BENCH_LAYERS_H

#include "launch/options.h"

/*
 * dgm_bench_layers - translates random ids with a model and shows, for each of --batch, the stages of an encode phase and of
 * a decode step: time, share, rate beside the peak of the same run, and which peak bounds it. On many ranks: rank
 * 0's stages. The process's exit code.
 */
int dgm_bench_layers(const dgm_options *o);

#endif

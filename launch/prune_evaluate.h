/* prune_evaluate.h - `dragoman prune --evaluate`: what a keep file costs, direction by direction. */
#ifndef DGM_LAUNCH_PRUNE_EVALUATE_H
#define DGM_LAUNCH_PRUNE_EVALUATE_H

#include "launch/options.h"

/* dgm_prune_evaluate - on every rank. Returns the exit code. */
int dgm_prune_evaluate(const dgm_options *o);

#endif

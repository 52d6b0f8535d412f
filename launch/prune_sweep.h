/* prune_sweep.h - `dragoman prune --sweep` and `--max-loss`: quality against bytes, over budgets and ratios. */
#ifndef DGM_LAUNCH_PRUNE_SWEEP_H
#define DGM_LAUNCH_PRUNE_SWEEP_H

#include "launch/options.h"

/* dgm_prune_measures - prune measures quality: --evaluate, --sweep, --max-loss. */
bool dgm_prune_measures(const dgm_options *o);

/* dgm_prune_sweep - on every rank. Returns the exit code. */
int dgm_prune_sweep(const dgm_options *o);

#endif

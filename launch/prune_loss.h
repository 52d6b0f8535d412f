/* prune_loss.h - `dragoman prune --algorithm loss`: sets chosen by the loss of given translations (runtime/keep_search.h). */
#ifndef DGM_LAUNCH_PRUNE_LOSS_H
#define DGM_LAUNCH_PRUNE_LOSS_H

#include "launch/options.h"

/* dgm_prune_by_loss - an algorithm of this kind is asked for, in which case prune is a job of all ranks. */
bool dgm_prune_by_loss(const dgm_options *o);

/* dgm_prune_loss - the whole command, on all ranks. Returns the exit code. */
int dgm_prune_loss(const dgm_options *o);

#endif

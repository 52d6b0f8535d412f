/*
 * footprint.h - how much memory a batch takes, and the batch that a machine's memory allows.
 *
 * Buffers are reservations for the worst case, touched as far as used; here is what will be touched when lines have
 * DGM_USUAL_LENGTH ids and translations as many. Pure arithmetic, the same on all ranks.
 */
#ifndef DGM_RUNTIME_FOOTPRINT_H
#define DGM_RUNTIME_FOOTPRINT_H

#include "runtime/engine.h"

enum {
    DGM_USUAL_LENGTH = 64,
    DGM_USUAL_TOKENS =
        4096, /* a dense rank: more gained nothing when measured (docs/performance.md) */
    DGM_USUAL_ROWS = 512
};

/* dgm_footprint - bytes of work (all but weights) that a dense rank of `ranks` touches with cfg's batch. */
double dgm_footprint(const dgm_engine_config *cfg, const dgm_model *model, int ranks,
                     int n_threads);

/*
 * dgm_choose_batch - fills batch_tokens and batch_rows where they are 0: DGM_USUAL_TOKENS and usual_rows a dense rank,
 * halved together until their footprint is at most `budget` bytes, but not below one sentence a rank. False if even that
 * is more than the budget.
 */
bool dgm_choose_batch(dgm_engine_config *cfg, const dgm_model *model, int ranks, int n_threads,
                      double budget);

#endif

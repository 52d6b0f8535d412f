/*
 * keep_search.h - which experts to keep, by the loss of given translations: the least harmful goes, again and again.
 *
 * Greedy backward removal over the experts of all layers of a set; all sets shrink at the same time, so each is chosen with
 * the others as they then are. Lazy: what an expert would cost is asked anew only while an older answer makes it the
 * cheapest of its set. Ties go to the lower expert. Rank 0 alone, while the others serve the engine.
 */
#ifndef DGM_RUNTIME_KEEP_SEARCH_H
#define DGM_RUNTIME_KEEP_SEARCH_H

#include "runtime/set_loss.h"

typedef struct dgm_search_set {
    int stack;
    int keep; /* experts, in all its layers */
} dgm_search_set;

typedef struct dgm_search_plan {
    const dgm_search_set *sets; /* [n_sets] as the losses have them */
    int n_sets;
    bool even; /* as many in each layer; else each layer has at least dgm_least_experts() */
} dgm_search_plan;

/* dgm_keep_search - l has begun. DGM_ENOMEM, and what the engine says. */
DGM_MUST_CHECK int dgm_keep_search(dgm_set_loss *l, const dgm_moe_shape *shape,
                                   const dgm_search_plan *plan);

#endif

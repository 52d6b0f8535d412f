/*
 * keep_search.h - which experts to keep, by the loss of given translations: the least harmful goes, again and again.
 *
 * Greedy backward removal over the experts of all layers of a set; all sets shrink at the same time, so each is chosen with
 * the others as they then are. Lazy: what an expert would cost is asked anew only while an older answer makes it the
 * cheapest of its set. Where sets share a budget, the cheaper half of what they offer goes at a time. Ties go to the lower set and expert. Rank 0 alone, while the others serve the engine.
 */
#ifndef DGM_RUNTIME_KEEP_SEARCH_H
#define DGM_RUNTIME_KEEP_SEARCH_H

#include "runtime/set_loss.h"

typedef struct dgm_search_set {
    int stack;
    int keep; /* experts, in all its layers */
} dgm_search_set;

/* What may be uneven; each layer of each set keeps dgm_least_experts() anyway. */
enum dgm_search_freedom {
    DGM_SEARCH_EVEN,   /* nothing: as many in each layer of a set */
    DGM_SEARCH_LAYERS, /* layers of a set */
    DGM_SEARCH_SETS    /* sets too, and so stacks and languages: the sum of `keep` is kept */
};

typedef struct dgm_search_plan {
    const dgm_search_set *sets; /* [n_sets] as the losses have them */
    int n_sets;
    enum dgm_search_freedom freedom;
} dgm_search_plan;

/* dgm_keep_search - l has begun. DGM_ENOMEM, and what the engine says. */
DGM_MUST_CHECK int dgm_keep_search(dgm_set_loss *l, const dgm_moe_shape *shape,
                                   const dgm_search_plan *plan);

#endif

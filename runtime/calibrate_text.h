/* calibrate_text.h - private to calibrate*.c: sentences and their translations as ids. */
#ifndef DGM_RUNTIME_CALIBRATE_TEXT_H
#define DGM_RUNTIME_CALIBRATE_TEXT_H

#include "runtime/expert_sets.h"

typedef struct dgm_pair {
    int32_t *source,
        *target; /* malloc'ed; target begins [start, code] and grows by the translation */
    int n_source, n_target;
    int experts[DGM_STACKS]; /* numbers among the sets */
    int task;                /* see dgm_target */
} dgm_pair;

typedef struct dgm_pairs {
    dgm_pair *pairs; /* [n] */
    size_t n, cap;
    uint64_t hash;        /* XXH3 of the lines */
    dgm_expert_sets sets; /* of a cut model: those of the lines' directions */
} dgm_pairs;

/* dgm_pairs_read - the lines of file `path`, see calibrate.h. DGM_EINPUT, DGM_EMODEL, DGM_ENOMEM; free in any case. */
DGM_MUST_CHECK int dgm_pairs_read(dgm_pairs *p, const char *path, const dgm_model *m);
void dgm_pairs_free(dgm_pairs *p);

/* dgm_pair_translated - ids [n] become the target behind the start token, which stays. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_pair_translated(dgm_pair *p, const int32_t *ids, int n);

#endif

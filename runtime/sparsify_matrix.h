/*
 * sparsify_matrix.h - private to sparsify*.c: the matrices of a loaded model that are pruned, and one of them at work.
 */
#ifndef DGM_RUNTIME_SPARSIFY_MATRIX_H
#define DGM_RUNTIME_SPARSIFY_MATRIX_H

#include "base/pool.h"
#include "runtime/sparsify_stats.h"
#include "runtime/zeros.h"

typedef struct dgm_prunable {
    dgm_packed *w;         /* the model's */
    const dgm_slot *slot;  /* the first of its slots, for names */
    void *own;             /* w's panels where the model's are a file's; else NULL */
    dgm_channels channels; /* while its layer is looked at */
    bool seen;             /* some row entered it */
    float *factor;         /* [w->k] likewise */
} dgm_prunable;

typedef struct dgm_prunables {
    dgm_prunable *all; /* [n] in the order of the file, which is that of layers */
    size_t n;
} dgm_prunables;

/* dgm_prunables_list - of m, which is loaded. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_prunables_list(dgm_prunables *p, const dgm_model *m);
void dgm_prunables_free(dgm_prunables *p);

/* dgm_prunables_layer - those of a layer: n from *first on. */
size_t dgm_prunables_layer(const dgm_prunables *p, int layer, dgm_prunable **first);

static inline double dgm_prunable_params(const dgm_prunable *p)
{
    return (double)p->w->n * (double)p->w->k;
}

/* dgm_prunable_weigh - p->factor from what was seen, or 1 for each input. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_prunable_weigh(dgm_prunable *p, const dgm_score_rule *rule);

/* dgm_prunable_above - how many scores are above `limit`; *sum: of all, row by row. DGM_EMODEL, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_prunable_above(uint64_t *above, double *sum, const dgm_prunable *p,
                                      double limit, dgm_pool *pool);

/* dgm_prunable_cut - in each row `goes` weights become 0, as factors say: in as many rows one more than in the others as
 * makes that the mean. *zeros: how many are 0 now. DGM_EMODEL for a weight that is no number, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_prunable_cut(uint64_t *zeros, dgm_prunable *p, double goes,
                                    dgm_n_of_m pattern, dgm_pool *pool);

#endif

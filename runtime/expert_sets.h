/*
 * expert_sets.h - the keep sets that a job's directions use, on every rank.
 *
 *   rank 0: dgm_expert_sets_add    the set of each direction; a job carries its number
 *   all:    dgm_expert_sets_share  the other ranks get them
 *
 * A router's logits outside the set of a row count as -infinity (kernels/route.h), which is what a router without those
 * experts would do. Experts in no set are not loaded.
 */
#ifndef DGM_RUNTIME_EXPERT_SETS_H
#define DGM_RUNTIME_EXPERT_SETS_H

#include "comm/comm.h"
#include "runtime/keep.h"

typedef struct dgm_expert_sets {
    dgm_moe_shape shape;
    int n;         /* 0: nothing is masked */
    uint8_t *kept; /* [n, shape.n_experts] 1: kept */
} dgm_expert_sets;

DGM_MUST_CHECK int dgm_expert_sets_init(dgm_expert_sets *s, const dgm_model_config *c);
void dgm_expert_sets_fini(dgm_expert_sets *s);

/* dgm_expert_sets_add - *number of the set, from 1 on; equal sets have one. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_expert_sets_add(int *number, dgm_expert_sets *s, const dgm_keep_set *set);

/* dgm_expert_sets_add_all - of the set of all experts of a stack, which masks nothing; 0 for a dense model. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_expert_sets_add_all(int *number, dgm_expert_sets *s, int stack);

/* dgm_expert_sets_share - Collective: rank 0's for all, instead of what they had. DGM_ENOMEM (local), DGM_EPEER,
 * DGM_EDEADLINE. */
DGM_MUST_CHECK int dgm_expert_sets_share(dgm_expert_sets *s, dgm_comm *comm);

/* dgm_expert_sets_wanted - an expert of MoE layer `moe` is in some set, or there are none. */
bool dgm_expert_sets_wanted(const dgm_expert_sets *s, int moe, int expert);

/* dgm_expert_set - set `number` as kept [shape.n_experts]; NULL for 0. */
static inline const uint8_t *dgm_expert_set(const dgm_expert_sets *s, int number)
{
    return number == 0 ? NULL : s->kept + (size_t)(number - 1) * s->shape.n_experts;
}

#endif

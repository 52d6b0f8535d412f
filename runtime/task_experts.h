/*
 * task_experts.h - which experts the tasks of a job need, where a stack is routed by task, and which ranks have them.
 *
 * A task has the same two experts for all rows, so a rank that translates for few tasks can hold what they need in every
 * such layer, and nothing travels (the decoder's case in arXiv 2110.03742, section 4.3).
 *
 * Every rank serves all of a job's tasks, or they are spread over groups of ranks: rank r serves the tasks of group
 * r mod task_groups and holds what those need. All groups have as many tasks and as many ranks: 4 tasks on 2 ranks are 2 groups
 * of 2 tasks, on 8 ranks 4 groups of 2 ranks, on 3 ranks one.
 */
#ifndef DGM_RUNTIME_TASK_EXPERTS_H
#define DGM_RUNTIME_TASK_EXPERTS_H

#include "runtime/model.h"

/* dgm_task_spread - before the load: the tasks of m->tasks_used in groups, for ranks 0 .. dense_ranks - 1. Without tasks_used,
 * and with keep sets, one. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_task_spread(dgm_model *m, int dense_ranks);

/* dgm_task_group - the group that serves a task. */
static inline int dgm_task_group(const dgm_model *m, int task)
{
    return m->task_group == NULL ? 0 : m->task_group[task];
}

/* dgm_task_needs - a rank that has sentences may come to an expert of this MoE layer. */
static inline bool dgm_task_needs(const dgm_model *m, int rank, int moe_layer, int expert)
{
    const size_t layers = (size_t)m->placement.n_layers, n = (size_t)m->placement.n_experts;
    return m->needed == NULL ||
           m->needed[((size_t)(rank % m->task_groups) * layers + (size_t)moe_layer) * n +
                     (size_t)expert] != 0;
}

/*
 * dgm_task_experts - places every layer of m that is routed by task at home (m->placement, which is set up). With
 * m->tasks_used it fills m->needed: experts of other layers 1, of these the ones that the group's tasks choose; all 1 with
 * keep sets, under which they may choose others. Reads the tables. DGM_EMODEL, DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_task_experts(dgm_model *m);

/* dgm_task_logits - out [n_tasks, experts] f32: the table of a layer that is routed by task, read from the files. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_task_logits(float *out, const dgm_model *m, const dgm_layer *layer);

#endif

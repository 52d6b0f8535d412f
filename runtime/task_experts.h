/*
 * task_experts.h - which experts the tasks of a job need, where a stack is routed by task.
 *
 * A task has the same two experts for all rows, so a rank that translates for few tasks can hold what they need in every
 * such layer, and nothing travels (the decoder's case in arXiv 2110.03742, section 4.3).
 */
#ifndef DGM_RUNTIME_TASK_EXPERTS_H
#define DGM_RUNTIME_TASK_EXPERTS_H

#include "runtime/model.h"

/*
 * dgm_task_experts - places every layer of m that is routed by task at home (m->placement, which is set up). With
 * m->tasks_used it fills m->needed: experts of other layers 1, of these the ones that those tasks choose; all 1 with keep
 * sets, under which they may choose others. Reads the tables. DGM_EMODEL, DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_task_experts(dgm_model *m);

/* dgm_task_logits - out [n_tasks, experts] f32: the table of a layer that is routed by task, read from the files. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_task_logits(float *out, const dgm_model *m, const dgm_layer *layer);

#endif

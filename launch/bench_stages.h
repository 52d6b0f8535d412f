/* bench_stages.h - how much arithmetic and memory traffic a stage needs, from what the clock counted. */
#ifndef DGM_LAUNCH_BENCH_STAGES_H
#define DGM_LAUNCH_BENCH_STAGES_H

#include "runtime/engine.h"

#include <stdbool.h>

/* All 0: not a matter of either (search). */
typedef struct dgm_stage_work {
    double flops;  /* of f32 */
    double iops;   /* of int8 x int8 (or x int4), a product and a sum each */
    double needed; /* bytes that have to be read: weights, caches, embeddings of tokens */
    double passed; /* bytes of activations, once in, once out; a cache may hold them */
} dgm_stage_work;

/* What the model is run with. */
typedef struct dgm_stage_types {
    dgm_compute compute;
    bool kv_bf16;
} dgm_stage_types;

/*
 * dgm_stage_work_of - of one stage in all steps that the clock saw. Weights count each time that rows go through them: once
 * a layer and step, twice where a step's rows go in two halves; experts once each time that they have rows, keys and values
 * once a sentence, layer and step (or half). Softmax counts as the f32 operations of its formula; norms, quantising rows and
 * the choice of experts and tokens as nothing.
 */
dgm_stage_work dgm_stage_work_of(const dgm_model *m, const dgm_stage_types *types,
                                 const dgm_stage_clock *c, int stack, enum dgm_stage stage);

void dgm_stage_work_add(dgm_stage_work *sum, dgm_stage_work w);

/* dgm_stage_name - "self attention", ..., as tables show it. */
const char *dgm_stage_name(enum dgm_stage stage);

#endif

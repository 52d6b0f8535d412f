/* bench_stages.h - how much arithmetic and memory traffic a stage needs, from what the clock counted. */
#ifndef DGM_LAUNCH_BENCH_STAGES_H
#define DGM_LAUNCH_BENCH_STAGES_H

#include "runtime/model.h"
#include "runtime/stages.h"

#include <stdbool.h>

typedef struct dgm_stage_work {
    double flops, bytes; /* 0, 0: not a matter of either (search) */
} dgm_stage_work;

/*
 * dgm_stage_work_of - of one stage in all steps that the clock saw. Weights count each time that rows go through them: once
 * a layer and step, twice where a step's rows go in two halves; caches as often as a row reads them; activations once in, once out.
 */
dgm_stage_work dgm_stage_work_of(const dgm_model *m, const dgm_stage_clock *c, int stack,
                                 enum dgm_stage stage);

/* dgm_stage_name - "encoder self attention", ..., as tables show it. */
const char *dgm_stage_name(enum dgm_stage stage);

#endif

/* serving_gauge.h - what a step leaves in the gauge. Engine thread. */
#ifndef DGM_RUNTIME_SERVING_GAUGE_H
#define DGM_RUNTIME_SERVING_GAUGE_H

#include "runtime/serving.h"

/* What the steps before this one had come to, where totals grow and a step is their difference. */
typedef struct dgm_seen {
    dgm_stage_clock clock;
    double wait_s;
    dgm_engine_load loads[DGM_STACKS];
    double mean
        [DGM_STACKS]
        [3]; /* of steps with rows, smoothed: rows, of the busiest expert, of the busiest rank */
} dgm_seen;

/* dgm_serving_publish - after a step that took ns. */
void dgm_serving_publish(const dgm_serving_config *cfg, dgm_serving_gauge *g, dgm_seen *seen,
                         const dgm_stage_clock *clock, int64_t ns);

/* dgm_serving_engine_is - whom dgm_serving_look asks where the engine is, and what signal to heed; NULL: nobody, once this has returned. */
void dgm_serving_engine_is(dgm_serving_gauge *g, const dgm_serving_config *cfg);
/* dgm_serving_heed - a signal was there: nothing new is taken. Any thread. */
void dgm_serving_heed(dgm_serving_gauge *g, dgm_requests *q);

#endif

/*
 * plan.h - what rank 0 tells each rank before a step, and what comes back after it.
 *
 * All ranks run one binary on one architecture, so messages are plain structs one behind the other, each
 * padded to 8 bytes. A reader points into the message; a writer fills a reservation sized for the most.
 */
#ifndef DGM_RUNTIME_PLAN_H
#define DGM_RUNTIME_PLAN_H

#include "runtime/engine.h"

/* OVERLAP: in two halves (runtime/layers.h). SETS: rank 0's sets of experts follow, and nothing else happens. */
enum {
    DGM_PLAN_ENCODE = 1,
    DGM_PLAN_DECODE = 2,
    DGM_PLAN_STOP = 4,
    DGM_PLAN_OVERLAP = 8,
    DGM_PLAN_SETS = 16,
    DGM_PLAN_URGENT = 32 /* only urgent targets are decoded */
};

enum { DGM_PLAN_LAYERS = 512 }; /* no model has more (runtime/config_model.c) */

typedef struct dgm_plan_head {
    uint32_t step, flags;
    int32_t status, n_jobs;    /* status: with STOP, how the job ends */
    int32_t n_cancels, others; /* others: see dgm_engine_pace */
    uint8_t skip
        [DGM_PLAN_LAYERS /
         8]; /* a bit for each MoE layer, encoder then decoder: its rows do not travel in this step */
    char sentence[512];
} dgm_plan_head;

/* Then the ids of jobs that nobody waits for any more [n_cancels], whose results come back without hypotheses. */

/* Then for each job: this, the source ids, and for each target a dgm_plan_target and the prompt. */
typedef struct dgm_plan_job {
    uint64_t id, line;
    int32_t n_source, n_targets, score, urgent;
    dgm_decode_options options;
} dgm_plan_job;

typedef struct dgm_plan_target {
    int32_t n_prompt, experts, source_experts, task, number, pad;
} dgm_plan_target;

typedef struct dgm_report_head {
    uint32_t step;
    int32_t status, n_results, pad;
    dgm_engine_stats stats;
    char sentence[512];
} dgm_report_head;

/* Then what this rank's experts had to do in the step, layer by layer (dgm_layer_load [MoE layers of encoder, then decoder]). */

/* Then for each result: this, its marks where kept (dgm_plan_marks), and for each hypothesis a dgm_report_hyp, ids, and logp and looks where kept. */
typedef struct dgm_report_result {
    uint64_t id;
    double seconds;
    dgm_absent absent;
    int32_t target, n_hyps, has_logp, has_align;
    int32_t status, pad; /* not DGM_OK: the head's sentence says why there are none */
} dgm_report_result;

typedef struct dgm_report_hyp {
    int32_t n, ended;
    float score;
    int32_t pad;
} dgm_report_hyp;

typedef struct dgm_buf {
    char *base;
    size_t used, cap;
} dgm_buf;

/* dgm_buf_put - appends `bytes` (src NULL: leaves them as they are) and pads to 8; returns their place. */
void *dgm_buf_put(dgm_buf *b, const void *src, size_t bytes);
/* dgm_buf_get - the next `bytes` of a message, advancing *at; a message shorter than it claims is our own mistake. */
const void *dgm_buf_get(const dgm_buf *b, size_t *at, size_t bytes);

/* Sizes of the longest message with these limits; dense: ranks that have `slots`. */
size_t dgm_plan_bytes(const dgm_engine_config *cfg, int slots, int dense);
size_t dgm_report_bytes(const dgm_engine_config *cfg, int slots);

/* dgm_plan_marks - bytes of a result's marks: experts of all MoE layers, or 0. */
size_t dgm_plan_marks(const dgm_engine_config *cfg);

/* dgm_plan_job_bytes - what a job takes in a message. */
size_t dgm_plan_job_bytes(const dgm_job *job);
/* dgm_plan_put_job - appends a job. */
void dgm_plan_put_job(dgm_buf *b, const dgm_job *job);
/* dgm_plan_get_job - reads the next; pointers go into the message, targets into `targets` [max_targets]. */
void dgm_plan_get_job(dgm_job *job, dgm_target *targets, const dgm_buf *b, size_t *at);

#endif

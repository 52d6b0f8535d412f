/*
 * engine.h - the twelve stages' middle: sentences as ids in, hypotheses as ids out, on any number of ranks.
 *
 * All ranks open the engine; rank 0 submits, steps and polls; the others serve. A step is: rank 0's plan to all,
 * encode phase if anyone has new sentences, one decode step, report to rank 0. Finished sentences leave at
 * once and new ones enter at the next step. The result for a sentence depends on nothing but the model, the
 * options and the sentence.
 */
#ifndef DGM_RUNTIME_ENGINE_H
#define DGM_RUNTIME_ENGINE_H

#include "base/pool.h"
#include "comm/comm.h"
#include "runtime/model.h"
#include "runtime/observe.h"
#include "runtime/overlap.h"
#include "runtime/search.h"
#include "runtime/stages.h"

typedef struct dgm_engine dgm_engine;
struct dgm_shortlists; /* runtime/shortlist.h */

typedef struct dgm_engine_config {
    int batch_tokens; /* most source tokens encoded in a step over all ranks, at least one sentence */
    int batch_rows;   /* decoder rows over all ranks, at least one sentence a dense rank */
    int usual_rows;   /* of a dense rank, for dgm_choose_batch */
    int spare_slots; /* of a dense rank, beyond those of batch_rows: a server's, for urgent jobs */
    int dense_ranks; /* ranks that hold dense weights and sentences: ranks 0 .. n-1; 0: all */
    int max_source;  /* longest source, ids */
    int max_target;  /* longest target, ids, start token counted */
    int max_beam;
    int usual_beam;      /* of most jobs: batch_rows are as many of these; 0: max_beam */
    int max_targets;     /* most targets of one job */
    dgm_compute compute; /* of products with integer weights; bears on results */
    bool kv_bf16;        /* attention caches in bf16: other bits */
    /* gathered; from which ids a target chooses, by its code, prompt[1]; NULL: from all. They outlive the engine. */
    const struct dgm_shortlists *lists;
    /* of which jobs name one, or NULL; they outlive the engine; dgm_engine_share_sets */
    struct dgm_expert_sets *sets;
    struct dgm_gpu_experts
        *gpu;        /* this rank's, or NULL; no bearing on results. It outlives the engine */
    bool fail_lines; /* a number that is none fails its line (dgm_result.status), not the step */
    bool marks; /* results tell which experts they went to (dgm_result.marks), not what they lost */
    bool record;              /* statistics of the routers; equal jobs are then computed each */
    int prompt_rows;          /* prompt tokens that one sentence may feed in a step (score: more) */
    dgm_overlap_mode overlap; /* of exchange and compute; no bearing on results */
} dgm_engine_config;

/* dgm_engine_usual_beam - what a slot counts of batch_rows. A job with a wider beam has more rows than that. */
static inline int dgm_engine_usual_beam(const dgm_engine_config *cfg)
{
    return cfg->usual_beam > 0 ? cfg->usual_beam : cfg->max_beam;
}

/* dgm_engine_open - Collective. The model is loaded; comm, kernels, pool outlive the engine. */
DGM_MUST_CHECK int dgm_engine_open(dgm_engine **out, const dgm_engine_config *cfg,
                                   const dgm_model *model, const dgm_kernels *kern, dgm_pool *pool,
                                   dgm_comm *comm);
void dgm_engine_close(dgm_engine *e);

/*
 * One sentence and its targets. For each target the prompt is [start, code, prefix...]. score: the prompt is the
 * whole target (ending in </s>) and what comes back is log p of each of its tokens after the code.
 */
typedef struct dgm_target {
    const int32_t *prompt;
    int n_prompt;
    int experts;        /* number of the decoder's set in cfg.sets; 0: all */
    int source_experts; /* of the encoder's */
    int task;           /* row of the model's tasks; 0 where it has none */
    int number;         /* dgm_engine_submit: which of the job's targets it is */
} dgm_target;

typedef struct dgm_job {
    uint64_t id;   /* the caller's; comes back with each result */
    uint64_t line; /* keys sampling */
    const int32_t *source;
    int n_source;
    const dgm_target *targets;
    int n_targets; /* encoded once for all whose encoder has the same experts, on the same ranks */
    int group;     /* the engine's own: which ranks may have it (runtime/batch.h) */
    bool score;
    bool urgent; /* enters before those that are not; see dgm_engine_set_pace */
    dgm_decode_options options;
} dgm_job;

/* dgm_engine_submit - rank 0. Copies the job; one that equals another in flight is not computed again, one that differs in its targets or
 * options alone shares the encoding where both are on one rank, and they tend to be. DGM_EBUSY when the queue is full: step and try again.
 * DGM_EINPUT when it can never fit (longer than max_source, max_target, max_beam). */
DGM_MUST_CHECK int dgm_engine_submit(dgm_engine *e, const dgm_job *job);
/* dgm_engine_pending - jobs' targets submitted and not yet polled. */
int dgm_engine_pending(const dgm_engine *e);
/* dgm_engine_slots - targets that can be decoded at once, over all ranks. */
int dgm_engine_slots(const dgm_engine *e);

/*
 * dgm_engine_cancel - rank 0, between steps: nothing comes back any more for the job of this id; its slots are free after the
 * next step. An equal job that others wait for goes on for them. False when no such job is in flight.
 */
bool dgm_engine_cancel(dgm_engine *e, uint64_t id);

/*
 * dgm_engine_pace - how much a step does, so that what is urgent need not wait for what is many. Results do not depend on it:
 * rows that are left out keep their state until a step takes them.
 */
typedef struct dgm_engine_pace {
    bool urgent_only; /* nothing else enters or is decoded */
    int encode_tokens; /* most source tokens that enter, at least one sentence; 0: cfg.batch_tokens */
    int others;        /* most targets of a rank that are decoded and not urgent, in turn; 0: all */
} dgm_engine_pace;

/* dgm_engine_set_pace - rank 0: of the steps from now on; at first all zero. */
void dgm_engine_set_pace(dgm_engine *e, const dgm_engine_pace *pace);

/* dgm_engine_share_sets - rank 0, with nothing in flight, collective with the others' dgm_engine_serve: cfg.sets are others
 * from now on; those of the other ranks become the same. Experts that were not loaded cannot be in them. */
DGM_MUST_CHECK int dgm_engine_share_sets(dgm_engine *e);

/* dgm_engine_step - rank 0, collective with the others' dgm_engine_serve: one plan, encode, decode, report cycle.
 * With nothing in flight it is a heartbeat; call it every dgm_comm_beat_ms while idle. */
DGM_MUST_CHECK int dgm_engine_step(dgm_engine *e);
/* dgm_engine_stop - rank 0: lets the others return from dgm_engine_serve. `status` goes with it: all exit alike. */
DGM_MUST_CHECK int dgm_engine_stop(dgm_engine *e, int status, const char *sentence);
/* dgm_engine_serve - ranks above 0: runs steps until stop; returns the status that rank 0 gave (sentence in dgm_error_text). */
DGM_MUST_CHECK int dgm_engine_serve(dgm_engine *e);

/*
 * dgm_absent - gate weight that a result went without because of cfg.sets: for each token in each MoE layer, what the gates
 * that it would have had without sets give to experts outside its set. 0 is nothing, 1 all. Source: arXiv 2212.09811 prunes
 * so; the measure is ours.
 */
typedef struct dgm_absent {
    double sum;        /* over tokens of the source and of the best hypothesis, and MoE layers */
    int64_t n;         /* how many those are; 0: nothing was masked */
    double worst_mean; /* over the tokens of the layer where it is greatest, */
    int32_t worst; /* which is this one: MoE layers of encoder, then decoder; -1: nothing lost */
    float most;    /* of one token in one layer */
} dgm_absent;

/* dgm_absent_add - of two parts of a line, or two lines. */
void dgm_absent_add(dgm_absent *sum, const dgm_absent *part);

typedef struct dgm_result {
    uint64_t id;
    int target; /* which of the job's targets */
    int status; /* DGM_OK, or why this sentence failed (dgm_error_text holds the sentence) */
    int n_hyps; /* n-best, best first; score: 1 */
    const dgm_hypothesis *
        hyps; /* rows is not filled; score: ids and logp of the whole prompt after the start token */
    const int16_t *const
        *align;     /* per hypothesis [n] source position that each token looked at, or NULL */
    double seconds; /* from entering the encoder to the end */
    dgm_absent absent;
    const uint8_t *
        marks; /* with cfg.marks: [experts of all MoE layers] 1 where a token of source or target went */
} dgm_result;

/* dgm_engine_poll - rank 0: the next finished target; false when there is none now. Valid until the next poll; all must
 * be polled before the next step. */
bool dgm_engine_poll(dgm_engine *e, dgm_result *out);

typedef struct dgm_engine_stats {
    uint64_t steps, encoded_tokens, decoded_rows, exchange_bytes,
        exchange_received,      /* this rank; exchange: sent to others, had from them */
        decoder_exchange_bytes; /* of exchange_bytes */
    uint64_t shared_tokens;     /* of sources whose encoding another job had here already */
    double exchange_wait_s;
    uint64_t rss_bytes;      /* resident, about a second ago */
    uint64_t peak_rss_bytes; /* known after the stop */
} dgm_engine_stats;
/* dgm_engine_all_stats - rank 0, after the last step: one entry a rank (gathered with the stop). */
const dgm_engine_stats *dgm_engine_all_stats(const dgm_engine *e);
/*
 * dgm_engine_load - how evenly the rows of a stack fall on experts and ranks, summed over steps and MoE layers: rows (one for each
 * expert that a row goes to), and what the busiest expert of each step and layer had, and the busiest rank. With E experts in a
 * layer, busiest_expert * E / rows is the most over the mean: 1 when all had the same.
 */
typedef struct dgm_engine_load {
    uint64_t rows, busiest_expert, busiest_rank;
} dgm_engine_load;
/* dgm_engine_loads - rank 0: [DGM_STACKS], after each step. */
const dgm_engine_load *dgm_engine_loads(const dgm_engine *e);
/* dgm_engine_gather_gates - Collective, after the stop, with cfg.record: dgm_gate_record_gather. */
struct dgm_gate_stats;
DGM_MUST_CHECK int dgm_engine_gather_gates(dgm_engine *e, struct dgm_gate_stats *out);
/* dgm_engine_set_clock - from now on this rank's stages go on `clock`; NULL, as at first: on none. Between steps. */
void dgm_engine_set_clock(dgm_engine *e, dgm_stage_clock *clock);
/* dgm_engine_set_observer - from now on this rank's matrices show their rows to `observer` (f32 rows only: not with compute
 * int8); NULL, as at first: to nobody. Between steps. */
void dgm_engine_set_observer(dgm_engine *e, const dgm_observer *observer);

#endif

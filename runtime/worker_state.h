/* worker_state.h - what the files of the worker share. worker.c is the step; read it first. */
#ifndef DGM_RUNTIME_WORKER_STATE_H
#define DGM_RUNTIME_WORKER_STATE_H

#include "runtime/decoder.h"
#include "runtime/gate_record.h"
#include "runtime/lost_mass.h"
#include "runtime/moe.h"
#include "runtime/worker.h"

/* One target of one sentence. */
typedef struct dgm_worker_slot {
    bool live, score, urgent;
    bool steps; /* in the step at hand */
    bool bad;   /* a number of its rows is none */
    uint64_t id, line;
    int target, memory, n_source; /* memory: slot of the cross cache */
    int n_prompt, fed;            /* prompt tokens, and how many went through the decoder */
    int look_from, look_to;
    int32_t source_code; /* of its language */
    int experts;         /* set of the decoder, or 0 */
    int task;
    int n_rows;                /* rows in the step at hand */
    int32_t *prompt;           /* [max_target] */
    const dgm_shortlist *list; /* what it chooses from; NULL: all ids */
    float *logp;               /* [max_target] of prompt tokens, when scoring */
    int16_t *looked;           /* [max_target, max_beam] source position that each row looked at */
    void *search_mem;
    dgm_search *search; /* NULL while the prompt is fed */
    dgm_decode_options options;
    double entered_s;
} dgm_worker_slot;

/* An encoding, and what it is of: who wants the same while somebody uses it uses it, too. */
typedef struct dgm_worker_memory {
    int users; /* targets; 0: it is free */
    int n_source, source_experts;
    int task;        /* where the encoder is routed by it, else 0 */
    int32_t *source; /* [max_source] */
} dgm_worker_memory;

struct dgm_worker {
    dgm_engine_config cfg;
    dgm_forward f;
    dgm_arena life, step;
    dgm_moe *moe;
    dgm_gate_record *record;    /* NULL: no statistics */
    dgm_lost_mass *lost;        /* NULL: nothing is masked */
    size_t n_marks;             /* dgm_plan_marks */
    uint8_t *marks[DGM_STACKS]; /* [n_slots, n_marks] by encoding, by slot */
    dgm_kvcache kv;
    int n_slots;
    dgm_worker_slot *slots;      /* [n_slots] */
    dgm_worker_memory *memories; /* [n_slots] */
    float
        *means; /* [n_slots, d] of encodings, where the decoder is routed by sentence; else NULL */
    dgm_target *targets; /* [max_targets] of the job being read */
    dgm_buf report;
    char bad_text[DGM_BAD_TEXT]; /* about the first row of the step in which a number is none */
    dgm_engine_stats stats;
    dgm_comm *comm;
    double decode_s;
    int64_t memory_ns; /* when stats.rss_bytes was taken */
    int turn;          /* slot from which the next step takes those that are not urgent */
};

/* ---- worker_gates.c: what statistics and keep sets need of a step; all do nothing, or say NULL, without them ---- */

/* dgm_worker_source_code - the id of a source's language. */
int32_t dgm_worker_source_code(const dgm_worker *w, const dgm_job *job);

/* dgm_worker_token_gates, dgm_worker_row_gates - dgm_forward.gates of n source tokens, of decoder rows. From the step. */
float *const *dgm_worker_token_gates(dgm_worker *w, int n);
float *const *dgm_worker_row_gates(dgm_worker *w, const dgm_decoder_row *rows, int n);
/* dgm_worker_token_absent, dgm_worker_row_absent - dgm_forward.absent, likewise. */
float *const *dgm_worker_token_absent(dgm_worker *w, int n);
float *const *dgm_worker_row_absent(dgm_worker *w, const dgm_decoder_row *rows, int n);
/* dgm_worker_mask - experts that a row of set `number` may choose: the set's, else those that the model has; NULL: all.
 * dgm_worker_masks - some rows have a mask. */
const uint8_t *dgm_worker_mask(const dgm_worker *w, int number);
bool dgm_worker_masks(const dgm_worker *w);
/* dgm_worker_token_marks, dgm_worker_row_marks - dgm_forward.marks, likewise; tokens of job j are starts[j] ..
 * starts[j + 1] - 1, its encoding is memory[j], whose marks begin anew. */
uint8_t *const *dgm_worker_token_marks(dgm_worker *w, const int32_t *starts, const int *memory,
                                       int n_jobs);
uint8_t *const *dgm_worker_row_marks(dgm_worker *w, const dgm_decoder_row *rows, int n);
/* dgm_worker_put_marks - of a finished slot into the report. */
void dgm_worker_put_marks(dgm_worker *w, const dgm_worker_slot *s);
/* dgm_worker_row_experts - dgm_forward.experts of decoder rows. From the step. */
const uint8_t *const *dgm_worker_row_experts(dgm_worker *w, const dgm_decoder_row *rows, int n);

/* dgm_worker_row_routing - dgm_forward.tasks and .means of decoder rows. From the step. */
void dgm_worker_row_routing(dgm_worker *w, const dgm_decoder_row *rows, int n);

/* dgm_worker_count_tokens - of the n_jobs sentences at `at` in the plan, whose tokens are starts[j] .. starts[j + 1] - 1 of
 * the phase that is over; a source counts for each of its targets. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_worker_count_tokens(dgm_worker *w, const dgm_buf *plan, size_t at,
                                           const int32_t *starts, int n_jobs);
/* dgm_worker_count_path - the rows that a hypothesis went through: its last id was never fed. rows NULL: 0.
 * DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_worker_count_path(const dgm_worker *w, const dgm_worker_slot *s,
                                         const dgm_hypothesis *h);

#endif

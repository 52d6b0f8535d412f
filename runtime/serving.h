/*
 * serving.h - the engine thread of a server: requests from the queue through the engine and back.
 *
 * Lines that somebody waits for enter first, but for a third of the slots, which others may have before them; and while some are in
 * work the others are decoded in some of the steps only (runtime/serving_pace.h). What is cancelled or late leaves the engine at the next step. With nothing to do the thread sleeps;
 * other ranks hear of it now and then (dgm_comm_beat_ms).
 */
#ifndef DGM_RUNTIME_SERVING_H
#define DGM_RUNTIME_SERVING_H

#include "runtime/histogram.h"
#include "runtime/requests.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum {
    DGM_SERVING_RANKS = 64,
    DGM_SERVING_STALLS = 5, /* times stall_ms without a round or a layer: the engine stands */
};

typedef struct dgm_serving_rank {
    atomic_uint_least64_t sent_bytes, received_bytes, wait_ns, encoded_tokens, decoded_rows,
        resident_bytes;
} dgm_serving_rank;

enum dgm_serving_state {
    DGM_SERVING_STARTING,
    DGM_SERVING_READY,
    DGM_SERVING_STALLED,
    DGM_SERVING_DRAINING,
    DGM_SERVING_OVER
};

/* What other threads may look at while it runs. */
typedef struct dgm_serving_gauge {
    atomic_int_least64_t tick_ns; /* dgm_now_ns of the last round */
    atomic_bool ready;            /* took its first line, which nobody asked for */
    atomic_bool over;             /* computes no more */
    pthread_mutex_t lock;         /* guards: */
    char stall
        [512]; /* why no step comes to its end: which rank waits for which, where; "": one does */
    const dgm_comm *comm; /* while the engine runs */
    int stall_ms;         /* as long, likewise */
    /* of dgm_serving_watch: */
    int64_t watched_ns, told_ns; /* told_ns: systemd, that all is well */
    bool told;
    enum dgm_serving_state told_state;
    atomic_uint_least64_t steps, segments, src_tokens, tgt_tokens, failures;
    atomic_uint_least64_t shared_tokens;              /* dgm_engine_stats, over all ranks */
    atomic_uint_least64_t flagged[DGM_LINE_STATUSES]; /* lines by status */
    atomic_uint_least64_t retried[2]; /* lines decoded twice: the first was given, the second */
    atomic_int in_flight, slots;
    atomic_uint_least64_t busy_slots; /* in_flight, summed over steps */
    dgm_histogram step, queue, compute;
    /* of rank 0: encode phases and decode steps, their stages, and the time in a step that it waits for other ranks */
    dgm_histogram phase[DGM_STACKS], stage[DGM_STACKS][DGM_STAGES], wait;
    /* by stack, over the last steps: the most over the mean of the rows of experts, and of ranks; in parts per million, 0: none yet */
    atomic_uint_least64_t expert_imbalance_ppm[DGM_STACKS], rank_imbalance_ppm[DGM_STACKS];
    atomic_uint_least64_t expert_rows[DGM_STACKS];
    /* of each rank, as far as there is room */
    atomic_int n_ranks;
    dgm_serving_rank ranks[DGM_SERVING_RANKS];
} dgm_serving_gauge;

/* dgm_serving_gauge_init - all zero. */
void dgm_serving_gauge_init(dgm_serving_gauge *g);
/* dgm_serving_stall - a dgm_comm_on_stall; ctx is the gauge. */
void dgm_serving_stall(void *ctx, const char *sentence);

typedef struct dgm_serving_health {
    enum dgm_serving_state state; /* READY: takes requests */
    bool alive;                   /* the engine ticked lately, or need not */
    bool waits;                   /* for another rank, too long */
    char why[512];                /* not READY, or not alive: a sentence */
    int64_t tick_age_ms;          /* since its last round or layer; 0 where it is not running */
} dgm_serving_health;

/* dgm_serving_look - any thread. */
dgm_serving_health dgm_serving_look(dgm_serving_gauge *g, dgm_requests *q);
/* dgm_serving_watch - logs once that the engine stands, and that it goes on; tells systemd how things are. One thread, several times
 * a second. */
void dgm_serving_watch(dgm_serving_gauge *g, dgm_requests *q);

typedef struct dgm_serving_config {
    dgm_engine *engine;
    dgm_comm *comm; /* its ranks; NULL: nobody watches */
    int stall_ms;   /* ranks warn after so long without a sign of life */
    dgm_requests *requests;
    int n_experts[DGM_STACKS];         /* in a layer */
    int ranks;                         /* above 1: the others hear of us while we are idle */
    int dense_ranks;                   /* those that have sentences */
    int spare;                         /* slots that lines of many never take */
    const volatile sig_atomic_t *stop; /* not 0: drain */
    int drain_ms;
} dgm_serving_config;

/*
 * dgm_serving_run - until drained. DGM_OK; what ended the engine otherwise (a lost rank), after all requests were answered
 * with it.
 */
DGM_MUST_CHECK int dgm_serving_run(const dgm_serving_config *cfg, dgm_serving_gauge *gauge);

#endif

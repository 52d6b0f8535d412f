/*
 * serving.h - the engine thread of a server: requests from the queue through the engine and back.
 *
 * Lines that somebody waits for enter first, and while some are in work the others are decoded in some of the steps only
 * (runtime/serving_pace.h). What is cancelled or late leaves the engine at the next step. With nothing to do the thread sleeps;
 * other ranks hear of it twice a second.
 */
#ifndef DGM_RUNTIME_SERVING_H
#define DGM_RUNTIME_SERVING_H

#include "runtime/histogram.h"
#include "runtime/requests.h"

#include <signal.h>
#include <stdatomic.h>

enum { DGM_SERVING_RANKS = 64, DGM_SERVING_STALL_MS = 10000 };

/* What other threads may look at while it runs. */
typedef struct dgm_serving_gauge {
    atomic_int_least64_t tick_ns; /* dgm_now_ns of the last round */
    atomic_bool ready;            /* took its first line, which nobody asked for */
    atomic_bool over;             /* computes no more */
    atomic_uint_least64_t steps, segments, src_tokens, tgt_tokens, failures;
    atomic_uint_least64_t flagged[DGM_LINE_STATUSES]; /* lines by status */
    atomic_uint_least64_t retried[2]; /* lines decoded twice: the first was given, the second */
    atomic_int in_flight, slots;
    dgm_histogram step, queue, compute;
    atomic_uint_least64_t stage_ns[2][DGM_STAGES]; /* of rank 0, encoder and decoder */
    /* of each rank, as far as there is room */
    atomic_int n_ranks;
    struct {
        atomic_uint_least64_t exchange_bytes, encoded_tokens, decoded_rows;
    } ranks[DGM_SERVING_RANKS];
} dgm_serving_gauge;

/* dgm_serving_health - "" when all is well, else what is not. ready: could take a request now, not merely alive. */
const char *dgm_serving_health(const dgm_serving_gauge *g, dgm_requests *q, bool ready);

typedef struct dgm_serving_config {
    dgm_engine *engine;
    dgm_requests *requests;
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

#include "runtime/serving.h"

#include "base/clock.h"
#include "base/log.h"
#include "runtime/serving_gauge.h"
#include "runtime/serving_pace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IDLE_MS = 100,  /* a signal is seen after so long */
    KEPT_SLOTS = 3, /* one in so many is for lines of many, however many urgent ones wait */
};

/* A segment in the engine; its place in the list is the job's id. */
typedef struct flight {
    dgm_request *r;
    int segment;
    bool urgent;
} flight;

typedef struct serving {
    const dgm_serving_config *cfg;
    dgm_serving_gauge *gauge;
    flight *flights; /* [n_flights] */
    int *free;       /* [n_free] places */
    int n_flights, n_free;
    int urgent, others;     /* in flight */
    int most_others;        /* of them */
    dgm_request *partly[2]; /* whose segments are not all in the engine: by urgency */
    dgm_serving_pace pace;
    dgm_stage_clock clock;
    dgm_seen seen;
    int64_t encode_ns, stepped_ns; /* on the clock before the last step; when that ended */
    uint64_t encoded, decoded;     /* tokens and rows before it, over all ranks */
} serving;

static int open_serving(serving *s)
{
    const int slots = dgm_engine_slots(s->cfg->engine);
    s->n_flights = s->n_free = slots;
    s->most_others = slots > s->cfg->spare ? slots - s->cfg->spare : 1;
    s->flights = calloc((size_t)slots, sizeof *s->flights);
    s->free = calloc((size_t)slots, sizeof *s->free);
    if (s->flights == NULL || s->free == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the lines in work");
    for (int i = 0; i < slots; i++)
        s->free[i] = slots - 1 - i;
    return DGM_OK;
}

static void land(serving *s, int at)
{
    flight *f = &s->flights[at];
    *(f->urgent ? &s->urgent : &s->others) -= 1;
    f->r = NULL;
    s->free[s->n_free++] = at;
    atomic_store(&s->gauge->in_flight, s->urgent + s->others);
}

static void finish(serving *s, dgm_request *r, enum dgm_request_end end)
{
    for (int u = 0; u < 2; u++)
        if (s->partly[u] == r)
            s->partly[u] = NULL;
    if (end == DGM_REQUEST_DONE)
        dgm_stream_line_judge(&r->line, &r->cfg);
    if (end == DGM_REQUEST_DONE && r->started_ns > 0) {
        dgm_histogram_note(&s->gauge->queue, r->started_ns - r->arrived_ns);
        dgm_histogram_note(&s->gauge->compute, dgm_now_ns() - r->started_ns);
        atomic_fetch_add(&s->gauge->flagged[r->line.status], 1);
    }
    dgm_requests_finish(s->cfg->requests, r, end);
}

/* withdraw - what is in the engine of r. */
static void withdraw(serving *s, const dgm_request *r)
{
    for (int i = 0; i < s->n_flights; i++)
        if (s->flights[i].r == r) {
            (void)dgm_engine_cancel(s->cfg->engine, (uint64_t)i);
            land(s, i);
        }
}

static void fail(serving *s, dgm_request *r, int code, const char *why)
{
    r->code = code;
    r->message = strdup(why);
    atomic_fetch_add(&s->gauge->failures, 1);
    finish(s, r, DGM_REQUEST_FAILED);
}

/* fail_all - what is in the engine; with `lost` the engine is no more, else its slots are free for others. */
static void fail_all(serving *s, int code, bool lost)
{
    char why[512];
    (void)snprintf(why, sizeof why, "%s", dgm_error_text());
    for (int i = 0; i < s->n_flights; i++) {
        dgm_request *r = s->flights[i].r;
        if (r == NULL)
            continue;
        for (int k = i; k < s->n_flights; k++)
            if (s->flights[k].r == r) {
                if (!lost)
                    (void)dgm_engine_cancel(s->cfg->engine, (uint64_t)k);
                land(s, k);
            }
        fail(s, r, code, why);
    }
    (void)dgm_fail(code, "%s", why);
}

static void let_go(serving *s)
{
    dgm_requests *q = s->cfg->requests;
    dgm_requests_expire(q, dgm_now_ns());
    for (dgm_request *r; (r = dgm_requests_stopped(q)) != NULL;) {
        withdraw(s, r);
        finish(s, r, r->stop_as);
    }
}

/* ---- into the engine ---- */

/* submit_segment - *taken false: the engine takes no more now. */
static int submit_segment(serving *s, dgm_request *r, bool *taken)
{
    const int at = s->free[s->n_free - 1];
    r->cfg.engine = s->cfg->engine;
    r->cfg.urgent = r->urgent;
    *taken = true;
    const int rc = dgm_stream_line_submit(&r->line, &r->cfg, r->sent, (uint64_t)at);
    if (rc == DGM_EBUSY) {
        *taken = false;
        return DGM_OK;
    }
    if (rc == DGM_EINPUT) { /* it will never take it: the line says why */
        DGM_TRY(dgm_stream_line_refused(&r->line, &r->cfg, rc));
        r->sent++;
        return DGM_OK;
    }
    DGM_TRY(rc);
    s->n_free--;
    s->flights[at] = (flight){.r = r, .segment = r->sent++, .urgent = r->urgent};
    *(r->urgent ? &s->urgent : &s->others) += 1;
    return DGM_OK;
}

/* next - the request whose turn it is, or that is partly in. */
static dgm_request *next(serving *s, enum dgm_requests_kind kind)
{
    dgm_request **partly = &s->partly[kind == DGM_REQUESTS_URGENT];
    if (*partly == NULL) {
        *partly = dgm_requests_next(s->cfg->requests, kind);
        if (*partly != NULL && (*partly)->started_ns == 0) /* else it is decoded once more */
            (*partly)->started_ns = dgm_now_ns();
    }
    return *partly;
}

/* room - for one that is not urgent: no more than a step takes, and some slots are left to others. */
static bool room(const serving *s)
{
    const int n = s->cfg->dense_ranks * dgm_pace_others(&s->pace);
    return s->others < (n > 0 && n < s->most_others ? n : s->most_others);
}

/* may_enter - lines of many may fill a few slots before urgent ones do, which would else have them all as long as some wait. */
static bool may_enter(const serving *s, enum dgm_requests_kind kind)
{
    const int kept = s->n_flights / KEPT_SLOTS;
    if (s->n_free == 0)
        return false;
    return kind == DGM_REQUESTS_URGENT ||
           (room(s) && (kind == DGM_REQUESTS_ALL || s->others < kept));
}

static void submit(serving *s, enum dgm_requests_kind kind)
{
    while (may_enter(s, kind)) {
        dgm_request *r = next(s, kind);
        bool taken;
        if (r == NULL)
            return;
        const int rc = submit_segment(s, r, &taken);
        if (rc != DGM_OK) {
            char why[512];
            (void)snprintf(why, sizeof why, "%s", dgm_error_text());
            withdraw(s, r);
            fail(s, r, rc, why);
            continue;
        }
        if (!taken)
            return;
        if (r->sent == r->line.segments.n)
            s->partly[kind == DGM_REQUESTS_URGENT] = NULL;
        if (r->line.left == 0)
            finish(s, r, DGM_REQUEST_DONE);
    }
}

/* ---- a step ---- */

/* of_a_rank - how many of n the fullest rank has. */
static int of_a_rank(const serving *s, int n)
{
    return (n + s->cfg->dense_ranks - 1) / s->cfg->dense_ranks;
}

static dgm_engine_pace choose_pace(serving *s)
{
    const dgm_engine_pace pace =
        dgm_pace_choose(&s->pace, of_a_rank(s, s->urgent), of_a_rank(s, s->others));
    dgm_engine_set_pace(s->cfg->engine, &pace);
    return pace;
}

/* note_step - what took how long, for the pace of those that come. */
static void note_step(serving *s, const dgm_engine_pace *pace, int64_t ns)
{
    const dgm_engine_stats *all = dgm_engine_all_stats(s->cfg->engine);
    int64_t encode_ns = 0;
    uint64_t encoded = 0, decoded = 0;
    for (int i = 0; i < DGM_STAGES; i++)
        encode_ns += s->clock.total[DGM_ENCODER][i].ns;
    for (int r = 0; r < s->cfg->ranks; r++) {
        encoded += all[r].encoded_tokens;
        decoded += all[r].decoded_rows;
    }
    dgm_pace_step t = {.encode_ns = encode_ns - s->encode_ns,
                       .tokens = (int)(encoded - s->encoded)};
    t.decode_ns = ns - t.encode_ns;
    if (decoded > s->decoded) {
        const int others = of_a_rank(s, s->others);
        t.urgent = of_a_rank(s, s->urgent);
        t.others = pace->urgent_only                           ? 0
                   : pace->others > 0 && pace->others < others ? pace->others
                                                               : others;
    }
    dgm_pace_note(&s->pace, &t);
    s->encode_ns = encode_ns;
    s->encoded = encoded;
    s->decoded = decoded;
}

/* look_again - nothing is left of the line: it is done, or goes back to its place in the queue to be decoded once more. */
static void look_again(serving *s, dgm_request *r)
{
    bool again;
    const int rc = dgm_stream_line_retry(&r->line, &r->cfg, &again);
    if (rc != DGM_OK) {
        fail(s, r, rc, dgm_error_text());
        return;
    }
    if (again) {
        r->sent = 0;
        dgm_requests_again(s->cfg->requests, r);
        return;
    }
    if (r->line.retries != NULL)
        atomic_fetch_add(&s->gauge->retried[r->line.retries[0].taken], 1);
    finish(s, r, DGM_REQUEST_DONE);
}

static int take_results(serving *s)
{
    dgm_result r;
    bool told = false;
    while (dgm_engine_poll(s->cfg->engine, &r)) {
        if (r.status != DGM_OK && !told)
            dgm_log(DGM_LOG_WARN, "serve", "a line failed: %s", dgm_error_text());
        told = told || r.status != DGM_OK;
        const int at = (int)r.id;
        dgm_request *of = s->flights[at].r;
        const int segment = s->flights[at].segment;
        uint64_t pieces = 0;
        DGM_ASSERT(of != NULL);
        land(s, at);
        const int rc = dgm_stream_line_take(&of->line, &of->cfg, segment, &r, &pieces);
        atomic_fetch_add(&s->gauge->segments, 1);
        atomic_fetch_add(&s->gauge->src_tokens, (uint64_t)of->line.segments.at[segment].n);
        atomic_fetch_add(&s->gauge->tgt_tokens, pieces);
        if (rc != DGM_OK)
            return rc;
        if (of->line.left == 0)
            look_again(s, of);
    }
    return DGM_OK;
}

static bool lost(int rc)
{
    return rc == DGM_EPEER || rc == DGM_EDEADLINE;
}

/* step - a failure that is not a rank's end fails what was in work, and the service goes on. */
static int step(serving *s)
{
    const dgm_engine_pace pace = choose_pace(s);
    const int64_t began = dgm_now_ns();
    int rc = dgm_engine_step(s->cfg->engine);
    s->stepped_ns = dgm_now_ns();
    if (lost(rc))
        return rc;
    note_step(s, &pace, s->stepped_ns - began);
    dgm_serving_publish(s->cfg, s->gauge, &s->seen, &s->clock, s->stepped_ns - began);
    const int taken = take_results(s);
    rc = rc != DGM_OK ? rc : taken;
    if (rc != DGM_OK) {
        dgm_log(DGM_LOG_ERROR, "serve", "a step failed: %s", dgm_error_text());
        for (dgm_result r; dgm_engine_poll(s->cfg->engine, &r);)
            ;
        fail_all(s, rc, false);
    }
    return DGM_OK;
}

/* ---- the loop ---- */

/* drained - there is nothing left to do, or no time left for it. */
static bool drained(serving *s)
{
    dgm_requests *q = s->cfg->requests;
    int64_t limit_ns;
    if (*s->cfg->stop != 0 && !dgm_requests_draining(q, NULL)) {
        dgm_log(DGM_LOG_INFO, "serve", "draining: nothing new is taken; what is in work has %d ms",
                s->cfg->drain_ms);
        dgm_requests_drain(q, dgm_now_ns() + (int64_t)s->cfg->drain_ms * 1000000);
    }
    if (!dgm_requests_draining(q, &limit_ns))
        return false;
    const dgm_requests_state state = dgm_requests_look(q);
    if (state.waiting + state.computing + state.announced == 0)
        return true;
    if (dgm_now_ns() < limit_ns)
        return false;
    (void)dgm_fail(DGM_EBUSY, "the server ended before the line was done: ask again elsewhere");
    fail_all(s, DGM_EBUSY, false);
    for (int u = 0; u < 2; u++)
        if (s->partly[u] != NULL)
            fail(s, s->partly[u], DGM_EBUSY, dgm_error_text());
    dgm_requests_fail_waiting(q, DGM_EBUSY);
    return true;
}

/* wait_for_work - for a while; other ranks hear of us, and whoever looks whether the engine goes on sees that it does. */
static int wait_for_work(serving *s)
{
    const int beat_ms = dgm_comm_beat_ms(s->cfg->stall_ms);
    dgm_requests_flush(s->cfg->requests);
    dgm_requests_wait(s->cfg->requests, beat_ms < IDLE_MS ? beat_ms : IDLE_MS);
    if (s->cfg->ranks > 1 && dgm_now_ns() - s->stepped_ns > beat_ms * INT64_C(1000000))
        return step(s);
    return DGM_OK;
}

static int round_of(serving *s)
{
    if (s->cfg->comm != NULL)
        dgm_comm_at(s->cfg->comm, "requests", -1);
    let_go(s);
    submit(s, DGM_REQUESTS_OTHERS);
    submit(s, DGM_REQUESTS_URGENT);
    submit(s, DGM_REQUESTS_ALL);
    atomic_store(&s->gauge->in_flight, s->urgent + s->others);
    atomic_store(&s->gauge->tick_ns, dgm_now_ns());
    const int rc = dgm_engine_pending(s->cfg->engine) > 0 ? step(s) : wait_for_work(s);
    dgm_requests_flush(s->cfg->requests);
    return rc;
}

int dgm_serving_run(const dgm_serving_config *cfg, dgm_serving_gauge *gauge)
{
    serving s = {.cfg = cfg, .gauge = gauge};
    int rc = open_serving(&s);
    atomic_store(&gauge->tick_ns, dgm_now_ns());
    atomic_store(&gauge->slots, s.n_flights);
    atomic_store(&gauge->n_ranks, cfg->ranks < DGM_SERVING_RANKS ? cfg->ranks : DGM_SERVING_RANKS);
    dgm_engine_set_clock(cfg->engine, &s.clock);
    dgm_serving_engine_is(gauge, cfg->comm, cfg->stall_ms);
    atomic_store(&gauge->ready, rc == DGM_OK);
    while (rc == DGM_OK && !drained(&s))
        rc = round_of(&s);
    if (rc != DGM_OK) {
        fail_all(&s, rc, true);
        for (int u = 0; u < 2; u++)
            if (s.partly[u] != NULL)
                fail(&s, s.partly[u], rc, dgm_error_text());
        dgm_requests_drain(cfg->requests, 0);
        dgm_requests_fail_waiting(cfg->requests, rc);
    }
    dgm_engine_set_clock(cfg->engine, NULL);
    atomic_store(&gauge->over, true);
    dgm_serving_engine_is(gauge, NULL, 0);
    dgm_requests_flush(cfg->requests);
    free(s.flights);
    free(s.free);
    return rc;
}

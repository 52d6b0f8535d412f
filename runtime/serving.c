#include "runtime/serving.h"

#include "base/clock.h"
#include "base/log.h"
#include "runtime/serving_gauge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IDLE_MS = 100,   /* a signal is seen after so long, */
    BEAT_MS = 500,   /* and other ranks hear of us this often */
    STEP_RATIO = 12, /* a step of many takes at most so many times one of few, */
    SHARE_OF_MANY =
        2, /* and while few are in work, many get one part of time for so many of theirs */
    ENCODE_TOKENS = 512,
    SMOOTH = 8,
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
    int64_t step_ns[2];     /* smoothed: of a step of few; what one more costs a step of many */
    dgm_stage_clock clock;
    dgm_seen seen;
    int64_t owed_ns, stepped_ns; /* time that many have a right to; when the last step ended */
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
        r->line.left -= r->cfg.n_targets;
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
static dgm_request *next(serving *s, bool urgent)
{
    dgm_request **partly = &s->partly[urgent];
    if (*partly == NULL) {
        *partly = dgm_requests_next(s->cfg->requests, urgent);
        if (*partly != NULL)
            (*partly)->started_ns = dgm_now_ns();
    }
    return *partly;
}

static void submit(serving *s, bool urgent)
{
    while (s->n_free > 0 && (urgent || s->others < s->most_others)) {
        dgm_request *r = next(s, urgent);
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
            s->partly[urgent] = NULL;
        if (r->line.left == 0)
            finish(s, r, DGM_REQUEST_DONE);
    }
}

/* ---- a step ---- */

/* most_in_step - of many: as many as take STEP_RATIO times what a step of few takes. */
static int most_in_step(const serving *s)
{
    if (s->step_ns[0] == 0 || s->step_ns[1] == 0)
        return 0;
    const int64_t n = STEP_RATIO * s->step_ns[0] / s->step_ns[1];
    return n < 1 ? 1 : n < s->n_flights ? (int)n : 0;
}

static void smooth(int64_t *mean, int64_t value)
{
    *mean = *mean == 0 ? value : *mean + (value - *mean) / SMOOTH;
}

/* choose_pace - true when the step leaves those that are many out. */
static bool choose_pace(serving *s)
{
    dgm_engine_pace pace = {.encode_tokens = ENCODE_TOKENS, .others = most_in_step(s)};
    if (s->urgent > 0 && s->others > 0) {
        const int n = pace.others > 0 && pace.others < s->others ? pace.others : s->others;
        pace.urgent_only = s->owed_ns < n * s->step_ns[1];
        if (!pace.urgent_only)
            s->owed_ns = 0;
    }
    dgm_engine_set_pace(s->cfg->engine, &pace);
    return pace.urgent_only;
}

static void note_step(serving *s, bool urgent_only, int64_t ns)
{
    const int n = most_in_step(s), others = n > 0 && n < s->others ? n : s->others;
    if (urgent_only)
        s->owed_ns += ns / SHARE_OF_MANY;
    if (urgent_only || (s->others == 0 && s->urgent > 0))
        smooth(&s->step_ns[0], ns);
    else if (others > 0)
        smooth(&s->step_ns[1], ns / others);
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
            finish(s, of, DGM_REQUEST_DONE);
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
    const bool urgent_only = choose_pace(s);
    const int64_t began = dgm_now_ns();
    int rc = dgm_engine_step(s->cfg->engine);
    s->stepped_ns = dgm_now_ns();
    if (lost(rc))
        return rc;
    note_step(s, urgent_only, s->stepped_ns - began);
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

static int round_of(serving *s)
{
    let_go(s);
    submit(s, true);
    submit(s, false);
    atomic_store(&s->gauge->in_flight, s->urgent + s->others);
    atomic_store(&s->gauge->tick_ns, dgm_now_ns());
    int rc = DGM_OK;
    if (dgm_engine_pending(s->cfg->engine) > 0) {
        rc = step(s);
    } else {
        dgm_requests_flush(s->cfg->requests);
        dgm_requests_wait(s->cfg->requests, IDLE_MS);
        if (s->cfg->ranks > 1 && dgm_now_ns() - s->stepped_ns > BEAT_MS * 1000000LL)
            rc = step(s);
    }
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
    dgm_requests_flush(cfg->requests);
    free(s.flights);
    free(s.free);
    return rc;
}

/* Lines to translate: a Translate frame becomes requests, requests that came back become answers. */
#include "base/clock.h"
#include "base/log.h"
#include "runtime/server_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CROWDED_RETRY_MS = 500 };

/* ---- in ---- */

void dgm_server_free_request(dgm_request *r)
{
    dgm_stream_line_free(&r->line, 1);
    free(r->message);
    r->message = NULL;
}

void dgm_server_free_job(dgm_server_job *j)
{
    for (int i = 0; i < j->n; i++)
        dgm_server_free_request(&j->requests[i]);
    free(j);
}

static dgm_server_job *create_job(dgm_server *s, uint64_t id, int n)
{
    dgm_server_job *j = calloc(1, sizeof *j + (size_t)n * sizeof j->requests[0]);
    if (j == NULL)
        return NULL;
    j->server = s;
    j->id = id;
    j->n = j->left = n;
    const int64_t now = j->told.began_ns = dgm_now_ns();
    for (int i = 0; i < n; i++) {
        j->requests[i].owner = j;
        j->requests[i].number = (uint32_t)i;
        j->requests[i].arrived_ns = now;
    }
    return j;
}

static void link_job(dgm_conn *c, dgm_server_job *j)
{
    j->conn = c;
    j->connection = c->number;
    j->next = c->jobs;
    if (j->next != NULL)
        j->next->before = j;
    c->jobs = j;
}

static void unlink_job(dgm_server_job *j)
{
    if (j->conn == NULL)
        return;
    if (j->before != NULL)
        j->before->next = j->next;
    else
        j->conn->jobs = j->next;
    if (j->next != NULL)
        j->next->before = j->before;
    /* Waiting is no idleness, however long it was: that begins here. */
    if (j->conn->jobs == NULL)
        j->conn->heard_ns = dgm_now_ns();
    j->next = j->before = NULL;
    j->conn = NULL;
}

/* busy_code - why nothing is taken now, or NONE. */
static enum dgm_wire_error_code busy_code(const dgm_server *s, int *retry_ms)
{
    *retry_ms = 0;
    if (dgm_requests_draining(s->requests, NULL)) {
        (void)dgm_fail(DGM_EBUSY, "the server is draining: it takes nothing new");
        return DGM_WIRE_ERROR_DRAINING;
    }
    if (!atomic_load(&s->cfg.gauge->ready)) {
        *retry_ms = 1000;
        (void)dgm_fail(DGM_EBUSY, "the server reads its model");
        return DGM_WIRE_ERROR_NOT_READY;
    }
    if (dgm_server_crowded(s)) {
        *retry_ms = CROWDED_RETRY_MS;
        return DGM_WIRE_ERROR_BUSY;
    }
    if (!dgm_requests_full(s->requests, retry_ms))
        return DGM_WIRE_ERROR_NONE;
    (void)dgm_fail(DGM_EBUSY, "the queue is full: want at most %lld tokens (--max-queue-tokens)",
                   (long long)s->cfg.max_queue_tokens);
    return DGM_WIRE_ERROR_BUSY;
}

/* admit - those that need the engine, all or none. */
static int admit(dgm_conn *c, dgm_server_job *j, enum dgm_wire_error_code *code, int *retry_ms)
{
    dgm_requests *q = c->server->requests;
    dgm_request **waits = malloc((size_t)j->n * sizeof(dgm_request *));
    int n = 0;
    *code = DGM_WIRE_ERROR_INTERNAL;
    if (waits == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a request");
    for (int i = 0; i < j->n; i++)
        if (j->requests[i].line.left > 0 && !j->requests[i].cached)
            waits[n++] = &j->requests[i];
    const int rc = n == 0 ? DGM_OK : dgm_requests_admit(q, c->client, waits, n, retry_ms);
    free(waits);
    if (rc == DGM_EBUSY)
        *code = DGM_WIRE_ERROR_BUSY;
    else if (rc == DGM_EUNSUPPORTED)
        *code = DGM_WIRE_ERROR_DRAINING;
    return rc;
}

/* answer_at_once - lines that need no engine. The last answer frees the job. */
static void answer_at_once(dgm_server_job *j, const bool *at_once)
{
    for (int i = 0, n = j->n, left = n; i < n && left > 0; i++)
        if (at_once[i]) {
            left = j->left - 1;
            j->requests[i].end = DGM_REQUEST_DONE;
            dgm_server_answer(&j->requests[i]);
        }
}

/* begin - the connection's from now on, unless it fails. */
static int begin(dgm_conn *c, dgm_server_job *j, enum dgm_wire_error_code *code, int *retry_ms)
{
    dgm_server *s = c->server;
    *code = DGM_WIRE_ERROR_INTERNAL;
    bool *at_once = calloc((size_t)j->n, sizeof *at_once); /* read before others may write */
    if (at_once == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a request");
    for (int i = 0; i < j->n; i++) {
        dgm_request *r = &j->requests[i];
        r->cached = r->line.left > 0 && dgm_answer_cache_has(s->cache, r);
        at_once[i] = r->line.left == 0 || r->cached;
    }
    int rc = dgm_server_take_work(s, j);
    if (rc != DGM_OK) {
        *code = DGM_WIRE_ERROR_BUSY;
        *retry_ms = CROWDED_RETRY_MS;
    } else if ((rc = admit(c, j, code, retry_ms)) != DGM_OK) {
        dgm_server_end_work(s, j);
    } else {
        link_job(c, j);
        answer_at_once(j, at_once);
    }
    free(at_once);
    return rc;
}

void dgm_server_begin(dgm_conn *c, dgm_server_job *j, int rc, enum dgm_wire_error_code code)
{
    int retry_ms = 0;
    if (rc == DGM_OK)
        rc = begin(c, j, &code, &retry_ms);
    if (rc == DGM_OK)
        return;
    dgm_conn_error(c, j->id, code, dgm_error_text(), retry_ms, j->n);
    dgm_server_free_job(j);
}

/* read_lines - now, or later where that takes long. */
static int read_lines(dgm_conn *c, uint64_t id, const dgm_wire_translate *t,
                      enum dgm_wire_error_code *code, int *retry_ms)
{
    *code = busy_code(c->server, retry_ms);
    if (*code != DGM_WIRE_ERROR_NONE)
        return DGM_EBUSY;
    *code = DGM_WIRE_ERROR_INTERNAL;
    dgm_server_job *j = create_job(c->server, id, (int)t->n_segments);
    if (j == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a request");
    if (dgm_server_read_is_long(t)) {
        const int rc = dgm_server_read_later(c, j, t);
        if (rc == DGM_EUNSUPPORTED)
            *code = DGM_WIRE_ERROR_DRAINING;
        if (rc != DGM_OK)
            dgm_server_free_job(j);
        return rc;
    }
    const int rc = dgm_server_read(j, code, t, &c->server->cfg);
    dgm_server_begin(c, j, rc, *code);
    return DGM_OK;
}

void dgm_server_translate(dgm_conn *c, uint64_t id, const dgm_wire_translate *t)
{
    const size_t n = t->n_segments, most = (size_t)c->server->cfg.request_segments;
    enum dgm_wire_error_code code = DGM_WIRE_ERROR_NONE;
    int retry_ms = 0, rc = DGM_OK;
    if (n > (size_t)c->credits && n <= most) {
        (void)dgm_fail(DGM_EINPUT, "%zu segments, but only %d credits", n, c->credits);
        dgm_conn_error(c, id, DGM_WIRE_ERROR_CREDIT, dgm_error_text(), 0, 0);
        return;
    }
    const int taken = n <= (size_t)c->credits ? (int)n : 0;
    c->credits -= taken;
    if (n == 0) {
        rc = dgm_fail(DGM_EINPUT, "want at least one segment");
        code = DGM_WIRE_ERROR_BAD_REQUEST;
    } else if (n > most) {
        rc = dgm_fail(DGM_EINPUT, "want at most %zu segments, found %zu", most, n);
        code = DGM_WIRE_ERROR_TOO_LARGE;
    } else {
        rc = read_lines(c, id, t, &code, &retry_ms);
    }
    if (rc != DGM_OK)
        dgm_conn_error(c, id, code, dgm_error_text(), retry_ms, taken);
}

/* cancel - of a job that the queue still has; what came back, or never went, has no client. */
static void cancel(dgm_server *s, dgm_request *r)
{
    if (r->client != NULL)
        dgm_requests_cancel(s->requests, r);
}

static void cancel_all(dgm_server *s, dgm_server_job *j)
{
    for (int i = 0; i < j->n; i++)
        cancel(s, &j->requests[i]);
}

void dgm_server_cancel(dgm_conn *c, const dgm_wire_cancel *what)
{
    dgm_server_job *j = c->jobs;
    while (j != NULL && j->id != what->request)
        j = j->next;
    if (j == NULL)
        return;
    if (what->n_segments == 0)
        cancel_all(c->server, j);
    for (size_t i = 0; i < what->n_segments; i++)
        if (what->segments[i] < (uint32_t)j->n)
            cancel(c->server, &j->requests[what->segments[i]]);
}

void dgm_server_forget(dgm_conn *c)
{
    if (c->reading != NULL) /* it is freed when it has been read */
        c->reading->conn = NULL;
    c->reading = NULL;
    while (c->jobs != NULL) {
        dgm_server_job *j = c->jobs;
        cancel_all(c->server, j);
        unlink_job(j);
    }
}

/* ---- out ---- */

static uint32_t wire_status(enum dgm_line_status s)
{
    static const uint32_t to[DGM_LINE_STATUSES] = {
        [DGM_LINE_STATUS_OK] = DGM_WIRE_STATUS_OK,
        [DGM_LINE_STATUS_EMPTY] = DGM_WIRE_STATUS_EMPTY,
        [DGM_LINE_STATUS_SPLIT] = DGM_WIRE_STATUS_SPLIT,
        [DGM_LINE_STATUS_TRUNCATED] = DGM_WIRE_STATUS_TRUNCATED,
        [DGM_LINE_STATUS_TOO_LONG] = DGM_WIRE_STATUS_TOO_LONG,
        [DGM_LINE_STATUS_BAD_INPUT] = DGM_WIRE_STATUS_BAD_INPUT,
        [DGM_LINE_STATUS_FAILED] = DGM_WIRE_STATUS_FAILED,
        [DGM_LINE_STATUS_COPIED] = DGM_WIRE_STATUS_COPIED,
        [DGM_LINE_STATUS_LOOPED] = DGM_WIRE_STATUS_LOOPED,
        [DGM_LINE_STATUS_WRONG_SCRIPT] = DGM_WIRE_STATUS_WRONG_SCRIPT,
    };
    return to[s];
}

static uint32_t count_unknown(const dgm_stream_line *l)
{
    int n = 0;
    for (int i = 0; i < l->segments.n; i++)
        n += dgm_tok_unknowns(l->segments.at[i].ids, l->segments.at[i].n);
    return (uint32_t)n;
}

/* count_unknown_target - of the best translation; 0 where there is none. */
static uint32_t count_unknown_target(const dgm_request *r)
{
    int n = 0;
    for (int i = 0; dgm_stream_line_has(&r->line, &r->cfg, 0, 0) && i < r->line.segments.n; i++)
        n += dgm_stream_line_hyp(&r->line, &r->cfg, i, 0, 0)->n_unknown;
    return (uint32_t)n;
}

/* fail_answer - a request that did not come to its end. */
static void fail_answer(dgm_wire_answer *a, const dgm_request *r)
{
    const bool lost = r->code == DGM_EPEER || r->code == DGM_EDEADLINE;
    a->message = r->message != NULL ? r->message : "";
    switch (r->end) {
    case DGM_REQUEST_CANCELLED:
        a->status = DGM_WIRE_STATUS_CANCELLED;
        break;
    case DGM_REQUEST_TIMED_OUT:
        a->status = DGM_WIRE_STATUS_TIMED_OUT;
        break;
    default:
        a->status = DGM_WIRE_STATUS_FAILED;
        a->code = lost                   ? DGM_WIRE_ERROR_RANK_LOST
                  : r->code == DGM_EBUSY ? DGM_WIRE_ERROR_DRAINING
                                         : DGM_WIRE_ERROR_INTERNAL;
        a->retry = dgm_wire_error_retry(a->code);
        a->retry_after_ms = a->retry ? 1000 : 0;
        break;
    }
}

/* What an answer's hypotheses point at. */
typedef struct answer_memory {
    dgm_wire_hypothesis hyps[DGM_MAX_BEAM];
    char *text[DGM_MAX_BEAM];
    const char **tokens[DGM_MAX_BEAM];
    float *scores[DGM_MAX_BEAM];
    uint32_t *pairs[DGM_MAX_BEAM];
} answer_memory;

static void free_answer(answer_memory *m)
{
    for (int i = 0; i < DGM_MAX_BEAM; i++) {
        free(m->text[i]);
        free(m->tokens[i]);
        free(m->scores[i]);
        free(m->pairs[i]);
    }
}

static int fill_tokens(answer_memory *m, int i, const dgm_request *r)
{
    const dgm_stream_line *l = &r->line;
    size_t n = 0;
    for (int s = 0; s < l->segments.n; s++)
        n += (size_t)dgm_stream_line_hyp(l, &r->cfg, s, 0, i)->n_tokens;
    m->tokens[i] = malloc((n + 1) * sizeof(const char *));
    m->scores[i] = malloc((n + 1) * sizeof *m->scores[i]);
    if (m->tokens[i] == NULL || m->scores[i] == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for an answer");
    n = 0;
    for (int s = 0; s < l->segments.n; s++) {
        const dgm_stream_hyp *h = dgm_stream_line_hyp(l, &r->cfg, s, 0, i);
        for (int k = 0; k < h->n_tokens; k++) {
            m->tokens[i][n] = dgm_tok_piece(r->cfg.tok, h->tokens[k]);
            m->scores[i][n++] = h->token_logp[k];
        }
    }
    m->hyps[i].tokens = m->tokens[i];
    m->hyps[i].token_scores = m->scores[i];
    m->hyps[i].n_tokens = n;
    return DGM_OK;
}

static int fill_pairs(answer_memory *m, int i, const dgm_request *r)
{
    dgm_word_pair *pairs = NULL;
    int n = 0;
    DGM_TRY(dgm_stream_line_pairs(&pairs, &n, &r->line, &r->cfg, 0, i));
    m->pairs[i] = malloc((2 * (size_t)n + 1) * sizeof *m->pairs[i]);
    for (int p = 0; m->pairs[i] != NULL && p < n; p++) {
        m->pairs[i][2 * p] = (uint32_t)pairs[p].source;
        m->pairs[i][2 * p + 1] = (uint32_t)pairs[p].target;
    }
    free(pairs);
    if (m->pairs[i] == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for an answer");
    m->hyps[i].alignment = m->pairs[i];
    m->hyps[i].n_alignment = (size_t)n;
    return DGM_OK;
}

static int fill_hyps(dgm_wire_answer *a, answer_memory *m, const dgm_request *r)
{
    const int n = r->cfg.decode.n_best;
    for (int i = 0; i < n && dgm_stream_line_has(&r->line, &r->cfg, 0, i); i++) {
        dgm_wire_hypothesis *h = &m->hyps[i];
        DGM_TRY(dgm_stream_line_text(&m->text[i], &h->text_len, &r->line, &r->cfg, 0, i));
        h->text = m->text[i];
        h->score = dgm_stream_line_score(&r->line, &r->cfg, 0, i);
        if (r->cfg.token_scores)
            DGM_TRY(fill_tokens(m, i, r));
        if (r->cfg.alignment)
            DGM_TRY(fill_pairs(m, i, r));
        a->n_hyps++;
    }
    a->hyps = m->hyps;
    return DGM_OK;
}

static uint64_t microseconds(int64_t from_ns, int64_t to_ns)
{
    return from_ns > 0 && to_ns > from_ns ? (uint64_t)(to_ns - from_ns) / 1000 : 0;
}

/* send_again - what was answered before; between the look and this nothing was kept, so it is still there. */
static void send_again(dgm_conn *c, const dgm_server_job *j, const dgm_request *r)
{
    dgm_wire_frame f = {.id = j->id, .kind = DGM_WIRE_ANSWER};
    dgm_wire_answer *a = &f.as.answer;
    const bool found = dgm_answer_cache_find(c->server->cache, a, r);
    DGM_ASSERT(found);
    a->segment = r->number;
    a->last = j->left == 1;
    a->credits = 1;
    a->queue_us = a->compute_us = 0;
    c->credits++;
    dgm_conn_send(c, &f);
}

static void send_answer(dgm_conn *c, dgm_server_job *j, const dgm_request *r)
{
    answer_memory m = {0};
    dgm_line_report told = {0};
    dgm_wire_frame f = {.id = j->id,
                        .kind = DGM_WIRE_ANSWER,
                        .as.answer = {.segment = r->number,
                                      .last = j->left == 1,
                                      .credits = 1,
                                      .src_unknown = count_unknown(&r->line)}};
    dgm_wire_answer *a = &f.as.answer;
    dgm_stream_line_report(&told, &r->line, &r->cfg, 0);
    a->src_tokens = (uint32_t)told.src_tokens;
    a->parts = (uint32_t)told.segments;
    if (r->started_ns > 0) {
        a->queue_us = microseconds(r->arrived_ns, r->started_ns);
        a->compute_us = microseconds(r->started_ns, r->ended_ns);
    } else {
        a->queue_us = microseconds(r->arrived_ns, r->ended_ns);
    }
    int rc = DGM_OK;
    if (r->end == DGM_REQUEST_DONE) {
        a->status = wire_status(told.status);
        a->message = told.message;
        a->tgt_tokens = (uint32_t)told.tgt_tokens;
        a->tgt_unknown = count_unknown_target(r);
        a->checks = told.checks;
        a->retried = told.retried;
        a->second = told.second;
        a->first_score = told.first_score;
        a->second_score = told.second_score;
        a->first_checks = told.first_checks;
        a->second_checks = told.second_checks;
        a->absent_mass = told.absent_mass;
        a->absent_most = told.absent_most;
        a->worst_layer = told.worst_layer;
        a->code =
            a->status == DGM_WIRE_STATUS_FAILED ? DGM_WIRE_ERROR_INTERNAL : DGM_WIRE_ERROR_NONE;
        rc = fill_hyps(a, &m, r);
        if (rc == DGM_OK && r->started_ns > 0)
            dgm_answer_cache_keep(c->server->cache, r, a);
    } else {
        fail_answer(a, r);
    }
    c->credits++;
    if (rc == DGM_OK)
        dgm_conn_send(c, &f);
    else
        dgm_conn_close(c);
    free_answer(&m);
}

/* note - a line of the request, for the log. */
static void note(dgm_server_told *t, const dgm_request *r)
{
    t->by_end[r->end]++;
    t->cached += r->cached;
    for (int i = 0; i < r->line.segments.n; i++)
        t->src_tokens += (uint32_t)r->line.segments.at[i].n;
    for (int i = 0; r->end == DGM_REQUEST_DONE && r->line.parts != NULL && i < r->line.segments.n;
         i++)
        if (r->line.parts[i].n_hyps > 0)
            t->tgt_tokens += (uint32_t)r->line.parts[i].hyps[0].n;
    const int64_t waited = r->started_ns > 0 ? r->started_ns - r->arrived_ns : 0;
    t->waited_ns = waited > t->waited_ns ? waited : t->waited_ns;
}

/* tell - the one line that the log has of a request; nothing of what was in it. */
static void tell(const dgm_server_job *j)
{
    const dgm_server_told *t = &j->told;
    dgm_log_of(DGM_LOG_DEBUG, "serve", (dgm_log_id){j->connection, j->id},
               "translated: %d lines, %d done (%d cached), %d cancelled, %d timed out, %d failed; "
               "%u tokens in, %u out; waited %.1f ms of %.1f ms%s",
               j->n, t->by_end[DGM_REQUEST_DONE], t->cached, t->by_end[DGM_REQUEST_CANCELLED],
               t->by_end[DGM_REQUEST_TIMED_OUT], t->by_end[DGM_REQUEST_FAILED], t->src_tokens,
               t->tgt_tokens, (double)t->waited_ns * 1e-6,
               (double)(dgm_now_ns() - t->began_ns) * 1e-6,
               j->conn == NULL ? "; its client has gone" : "");
}

void dgm_server_answer(dgm_request *r)
{
    dgm_server_job *j = r->owner;
    if (j->conn != NULL && r->cached)
        send_again(j->conn, j, r);
    else if (j->conn != NULL)
        send_answer(j->conn, j, r);
    note(&j->told, r);
    dgm_server_free_request(r);
    if (--j->left > 0)
        return;
    tell(j);
    dgm_histogram_note(&j->server->request_times, dgm_now_ns() - j->told.began_ns);
    dgm_server_end_work(j->server, j);
    unlink_job(j);
    dgm_server_free_job(j);
}

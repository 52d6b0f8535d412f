/* The client's segments: queue, frames by credit, answers, and what is tried again. */
#include "base/clock.h"
#include "proto/client_internal.h"

#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const int64_t ms = 1000000;

/* ---- lists ---- */

static void push(dgm_client_list *l, dgm_client_item *it)
{
    it->next = NULL;
    it->previous = l->last;
    if (l->last != NULL)
        l->last->next = it;
    else
        l->first = it;
    l->last = it;
    l->n++;
}

static void push_front(dgm_client_list *l, dgm_client_item *it)
{
    it->previous = NULL;
    it->next = l->first;
    if (l->first != NULL)
        l->first->previous = it;
    else
        l->last = it;
    l->first = it;
    l->n++;
}

static void take_out(dgm_client_list *l, dgm_client_item *it)
{
    if (it->previous != NULL)
        it->previous->next = it->next;
    else
        l->first = it->next;
    if (it->next != NULL)
        it->next->previous = it->previous;
    else
        l->last = it->previous;
    l->n--;
}

static dgm_client_item **bucket(dgm_client *c, uint64_t id)
{
    return &c->buckets[id % DGM_CLIENT_BUCKETS];
}

/* find - the first item sent as `id`, with that place or (segment < 0) any. */
static dgm_client_item *find(dgm_client *c, uint64_t id, int64_t segment)
{
    dgm_client_item *it = *bucket(c, id);
    while (it != NULL && (it->id != id || (segment >= 0 && it->segment != segment)))
        it = it->chain;
    return it;
}

static void note_sent(dgm_client *c, dgm_client_item *it, uint64_t id, uint32_t segment)
{
    take_out(&c->waiting, it);
    it->id = id;
    it->segment = segment;
    it->chain = *bucket(c, id);
    *bucket(c, id) = it;
    push(&c->sent, it);
}

static void forget_sent(dgm_client *c, dgm_client_item *it)
{
    dgm_client_item **at = bucket(c, it->id);
    while (*at != it)
        at = &(*at)->chain;
    *at = it->chain;
    it->id = 0;
    take_out(&c->sent, it);
}

/* finish - it ends without an answer of the server's. It is in no list now. */
static void finish(dgm_client *c, dgm_client_item *it, uint32_t status, uint32_t code, bool retry,
                   const char *message)
{
    it->status = it->cancelled ? DGM_WIRE_STATUS_CANCELLED : status;
    it->code = it->cancelled ? DGM_WIRE_ERROR_NONE : code;
    it->retry = retry && !it->cancelled;
    it->message = it->cancelled ? NULL : strdup(message);
    push(&c->done, it);
}

static void destroy_item(dgm_client_item *it)
{
    if (it != NULL)
        free(it->message);
    free(it);
}

static void destroy_list(dgm_client_list *l)
{
    for (dgm_client_item *it = l->first, *next; it != NULL; it = next) {
        next = it->next;
        destroy_item(it);
    }
    *l = (dgm_client_list){0};
}

/* ---- open, close ---- */

static int set_up(dgm_client *c, const dgm_client_config *cfg)
{
    c->cfg = *cfg;
    c->fd = -1;
    c->address = strdup(cfg->address);
    c->token = strdup(cfg->token == NULL ? "" : cfg->token);
    c->name = strdup(cfg->name == NULL ? "libdragoman_client" : cfg->name);
    if (c->address == NULL || c->token == NULL || c->name == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a client");
    c->cfg.connect_ms = cfg->connect_ms > 0 ? cfg->connect_ms : 10000;
    c->cfg.attempts = cfg->attempts != 0 ? cfg->attempts : 10;
    c->cfg.pause_ms = cfg->pause_ms > 0 ? cfg->pause_ms : 100;
    c->cfg.tries = cfg->tries > 0 ? cfg->tries : 5;
    c->random = (uint64_t)dgm_now_ns() ^ (uint64_t)getpid() << 32;
    DGM_TRY(dgm_client_check_address(c->address));
    return dgm_client_tls_open(c, cfg);
}

int dgm_client_create(dgm_client **out, const dgm_client_config *cfg)
{
    dgm_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a client");
    const int rc = set_up(c, cfg);
    if (rc != DGM_OK) {
        dgm_client_destroy(c);
        return rc;
    }
    *out = c;
    return DGM_OK;
}

void dgm_client_destroy(dgm_client *c)
{
    if (c == NULL)
        return;
    if (c->fd >= 0)
        (void)close(c->fd);
    if (c->hosts != NULL)
        freeaddrinfo(c->hosts);
    destroy_list(&c->waiting);
    destroy_list(&c->sent);
    destroy_list(&c->done);
    destroy_item(c->out_item);
    dgm_client_tls_close(c);
    dgm_frame_reader_fini(&c->reader);
    dgm_frame_buffer_fini(&c->out);
    dgm_wire_memory_fini(&c->memory);
    dgm_wire_memory_fini(&c->scratch);
    dgm_wire_memory_fini(&c->welcome_memory);
    free(c->address);
    free(c->token);
    free(c->name);
    free(c);
}

/* ---- in ---- */

static char *keep(const char **to, char *at, const char *text, size_t len)
{
    if (len > 0)
        memcpy(at, text, len);
    at[len] = '\0';
    *to = at;
    return at + len + 1;
}

static size_t length(const char *s)
{
    return s == NULL ? 0 : strlen(s);
}

int dgm_client_submit(dgm_client *c, uint64_t user, const dgm_wire_segment *s)
{
    DGM_TRY(dgm_client_well(c));
    const size_t src = length(s->src), tgt = length(s->tgt);
    const size_t bytes = s->text_len + s->prefix_len + src + tgt;
    const dgm_wire_welcome *w = dgm_client_welcome(c);
    const size_t most = w != NULL && w->limits.segment_bytes > 0 ? w->limits.segment_bytes
                                                                 : DGM_FRAME_MAX_BODY - 1024;
    if (s->text_len > most || bytes > DGM_FRAME_MAX_BODY - 1024)
        return dgm_fail(DGM_EINPUT, "a segment has at most %zu bytes, found %zu", most,
                        s->text_len);
    dgm_client_item *it = calloc(1, sizeof *it + bytes + 4);
    if (it == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a segment");
    char *at = (char *)(it + 1);
    at = keep(&it->data.text, at, s->text, s->text_len);
    at = keep(&it->data.prefix, at, s->prefix, s->prefix_len);
    at = keep(&it->data.src, at, s->src, src);
    (void)keep(&it->data.tgt, at, s->tgt, tgt);
    it->data.text_len = s->text_len;
    it->data.prefix_len = s->prefix_len;
    it->data.number = s->number;
    if (s->options != NULL)
        it->options = *s->options;
    it->kind = DGM_WIRE_TRANSLATE;
    it->user = user;
    it->submitted_ns = dgm_now_ns();
    push(&c->waiting, it);
    return DGM_OK;
}

int dgm_client_request(dgm_client *c, uint64_t user, enum dgm_wire_kind kind, uint32_t limit_ms)
{
    DGM_ASSERT(kind >= DGM_WIRE_LANGUAGES_REQUEST && kind <= DGM_WIRE_DRAIN);
    DGM_TRY(dgm_client_well(c));
    dgm_client_item *it = calloc(1, sizeof *it);
    if (it == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a request");
    it->kind = kind;
    it->user = user;
    it->limit_ms = limit_ms;
    push_front(&c->waiting, it);
    return DGM_OK;
}

/* cancel_sent - what is left of a frame, from *at on, as far as it is of that user; *at: the first item behind it. */
static int cancel_sent(dgm_client *c, dgm_client_item **at, uint64_t user)
{
    uint32_t segments[DGM_CLIENT_FRAME_SEGMENTS];
    const uint64_t id = (*at)->id;
    size_t n = 0;
    for (; *at != NULL && (*at)->id == id; *at = (*at)->next) {
        dgm_client_item *it = *at;
        if (it->user != user || it->cancelled || it->kind != DGM_WIRE_TRANSLATE)
            continue;
        it->cancelled = true;
        segments[n++] = it->segment;
    }
    const dgm_wire_frame f = {.kind = DGM_WIRE_CANCEL, .as.cancel = {id, segments, n}};
    return n == 0 || c->fd < 0 ? DGM_OK : dgm_wire_encode(&c->out, &c->scratch, &f);
}

void dgm_client_cancel(dgm_client *c, uint64_t user)
{
    for (dgm_client_item *it = c->waiting.first, *next; it != NULL; it = next) {
        next = it->next;
        if (it->user != user || it->kind != DGM_WIRE_TRANSLATE)
            continue;
        it->cancelled = true;
        take_out(&c->waiting, it);
        finish(c, it, DGM_WIRE_STATUS_CANCELLED, DGM_WIRE_ERROR_NONE, false, "");
    }
    for (dgm_client_item *it = c->sent.first; it != NULL;)
        if (cancel_sent(c, &it, user) != DGM_OK)
            return; /* then they come to their end by themselves */
}

size_t dgm_client_pending(const dgm_client *c)
{
    return c->waiting.n + c->sent.n + c->done.n;
}

size_t dgm_client_queued(const dgm_client *c)
{
    return c->waiting.n;
}

const dgm_wire_welcome *dgm_client_welcome(const dgm_client *c)
{
    return c->welcome.kind == DGM_WIRE_WELCOME ? &c->welcome.as.welcome : NULL;
}

/* ---- out ---- */

/* A connection that brought answers before it was lost counts against nobody; one that brought none, against all that were
 * sent: so what ends the server each time is found out in the end, and a bad line to it costs nothing but time. */
void dgm_client_requeue(dgm_client *c)
{
    const int counts = !c->answered;
    c->answered = false;
    while (c->sent.last != NULL) {
        dgm_client_item *it = c->sent.last;
        forget_sent(c, it);
        if (it->kind != DGM_WIRE_TRANSLATE)
            finish(c, it, DGM_WIRE_STATUS_FAILED,
                   c->parting.said ? c->parting.code : DGM_WIRE_ERROR_INTERNAL, true,
                   c->parting.said ? c->parting.message : "the connection was lost");
        else if (it->cancelled)
            finish(c, it, DGM_WIRE_STATUS_CANCELLED, DGM_WIRE_ERROR_NONE, false, "");
        else if ((it->tries += counts) >= c->cfg.tries)
            finish(c, it, DGM_WIRE_STATUS_FAILED, DGM_WIRE_ERROR_INTERNAL, true,
                   "the connection was lost each time that this was sent");
        else
            push_front(&c->waiting, it);
    }
}

static void end_one(dgm_client *c, dgm_client_item *it)
{
    const bool later = c->rc == DGM_EPEER || c->rc == DGM_EBUSY;
    finish(c, it, DGM_WIRE_STATUS_FAILED,
           c->parting.said ? c->parting.code : DGM_WIRE_ERROR_INTERNAL, later, c->why);
}

void dgm_client_end_all(dgm_client *c)
{
    for (dgm_client_item *it; (it = c->sent.first) != NULL;) {
        forget_sent(c, it);
        end_one(c, it);
    }
    for (dgm_client_item *it; (it = c->waiting.first) != NULL;) {
        take_out(&c->waiting, it);
        end_one(c, it);
    }
}

static int send_request(dgm_client *c, dgm_client_item *it)
{
    const dgm_wire_frame f = {
        .id = ++c->last_id, .kind = it->kind, .as.drain = {.limit_ms = it->limit_ms}};
    DGM_TRY(dgm_wire_encode(&c->out, &c->scratch, &f));
    note_sent(c, it, f.id, 0);
    return DGM_OK;
}

/* late - its deadline passed here. Otherwise the rest of its time is what the server gets. */
static bool late(dgm_client *c, dgm_client_item *it, dgm_wire_options *o)
{
    *o = it->options;
    if (o->deadline_ms == 0)
        return false;
    const int64_t left = (int64_t)o->deadline_ms - (dgm_now_ns() - it->submitted_ns) / ms;
    if (left > 0) {
        o->deadline_ms = (uint32_t)left;
        return false;
    }
    take_out(&c->waiting, it);
    finish(c, it, DGM_WIRE_STATUS_TIMED_OUT, DGM_WIRE_ERROR_NONE, false,
           "the deadline passed before it was sent");
    return true;
}

/* same_options - a NaN differs from itself, which costs bytes and no more. */
static bool same_options(const dgm_wire_options *a, const dgm_wire_options *b)
{
    return a->beam_size == b->beam_size && a->n_best == b->n_best &&
           a->max_length == b->max_length && a->min_length == b->min_length &&
           a->no_repeat_ngram_size == b->no_repeat_ngram_size &&
           a->has_length_penalty == b->has_length_penalty &&
           a->length_penalty == b->length_penalty &&
           a->repetition_penalty == b->repetition_penalty &&
           a->penalty_skip_special == b->penalty_skip_special &&
           a->early_stopping == b->early_stopping && a->sampling_topk == b->sampling_topk &&
           a->sampling_topp == b->sampling_topp && a->temperature == b->temperature &&
           a->seed == b->seed && a->split == b->split && a->retry == b->retry &&
           a->token_scores == b->token_scores && a->alignment == b->alignment &&
           a->priority == b->priority && a->deadline_ms == b->deadline_ms;
}

/* A frame of segments from the front of the queue: as many as fit, and credits allow. */
static int send_segments(dgm_client *c)
{
    dgm_client_item *items[DGM_CLIENT_FRAME_SEGMENTS];
    dgm_wire_segment segments[DGM_CLIENT_FRAME_SEGMENTS];
    dgm_wire_options options[DGM_CLIENT_FRAME_SEGMENTS];
    const uint32_t limit = c->welcome.as.welcome.limits.request_segments;
    const size_t most =
        limit > 0 && limit < DGM_CLIENT_FRAME_SEGMENTS ? limit : DGM_CLIENT_FRAME_SEGMENTS;
    dgm_wire_frame f = {.id = ++c->last_id, .kind = DGM_WIRE_TRANSLATE};
    dgm_wire_translate *t = &f.as.translate;
    size_t bytes = 0, n = 0;
    for (dgm_client_item *it = c->waiting.first, *next; it != NULL; it = next) {
        const size_t more = it->data.text_len + it->data.prefix_len + sizeof(dgm_wire_options);
        next = it->next;
        if (it->kind != DGM_WIRE_TRANSLATE || n == most || n >= c->credits ||
            (n > 0 && (it->alone || items[0]->alone || bytes + more > DGM_CLIENT_FRAME_BYTES)))
            break;
        if (late(c, it, &options[n]))
            continue;
        segments[n] = it->data;
        segments[n].options = &options[n];
        items[n++] = it;
        bytes += more;
    }
    /* What all have in common stands in the request. */
    t->segments = segments;
    t->n_segments = n;
    for (size_t i = 0; i < n; i++) {
        if (i == 0) {
            t->src = segments[0].src;
            t->tgt = segments[0].tgt;
            t->options = options[0];
        }
        if (same_options(&options[i], &options[0]))
            segments[i].options = NULL;
        segments[i].src = strcmp(segments[i].src, t->src) == 0 ? "" : segments[i].src;
        segments[i].tgt = strcmp(segments[i].tgt, t->tgt) == 0 ? "" : segments[i].tgt;
    }
    if (n == 0)
        return DGM_OK;
    DGM_TRY(dgm_wire_encode(&c->out, &c->scratch, &f));
    for (size_t i = 0; i < n; i++)
        note_sent(c, items[i], f.id, (uint32_t)i);
    c->credits -= n;
    return DGM_OK;
}

int dgm_client_fill(dgm_client *c)
{
    while (c->waiting.first != NULL && !c->parting.said) {
        size_t unsent;
        (void)dgm_frame_buffer_bytes(&c->out, &unsent);
        if (unsent > DGM_CLIENT_UNSENT_BYTES)
            return DGM_OK;
        if (c->waiting.first->kind != DGM_WIRE_TRANSLATE) {
            DGM_TRY(send_request(c, c->waiting.first));
            continue;
        }
        if (c->credits == 0 || c->draining || dgm_now_ns() < c->resume_ns)
            return DGM_OK;
        DGM_TRY(send_segments(c));
    }
    return DGM_OK;
}

/* ---- answers ---- */

static void pause_sending(dgm_client *c, uint32_t retry_after_ms)
{
    const int64_t until = dgm_now_ns() + (retry_after_ms > 0 ? retry_after_ms : 50) * ms;
    if (until > c->resume_ns)
        c->resume_ns = until;
}

/* again - an item that the server did not do, and may later: true when it waits again. It is not in a list. */
static bool again(dgm_client *c, dgm_client_item *it, uint32_t code, uint32_t retry_after_ms)
{
    const bool busy = code == DGM_WIRE_ERROR_BUSY || code == DGM_WIRE_ERROR_DRAINING ||
                      code == DGM_WIRE_ERROR_NOT_READY || code == DGM_WIRE_ERROR_CREDIT;
    if (it->cancelled || it->kind != DGM_WIRE_TRANSLATE || (!busy && ++it->tries >= c->cfg.tries))
        return false;
    pause_sending(c, retry_after_ms);
    push_front(&c->waiting, it);
    return true;
}

static void emit(dgm_client *c, dgm_client_item *it, dgm_client_event *e)
{
    c->out_item = it;
    *e = (dgm_client_event){it->user, &c->frame, c->rc != DGM_OK};
}

/* take_answer - 1 when it is the next event. */
static int take_answer(dgm_client *c, dgm_client_event *e)
{
    const dgm_wire_answer *a = &c->frame.as.answer;
    dgm_client_item *it = find(c, c->frame.id, a->segment);
    c->credits += a->credits;
    if (it == NULL || it->kind != DGM_WIRE_TRANSLATE)
        return 0; /* not ours: a server that answers twice is not believed the second time */
    forget_sent(c, it);
    c->answered = true;
    /* A server that knows no Cancel.segments cancels the whole request: the others are sent again. */
    const bool failed = (a->status == DGM_WIRE_STATUS_FAILED && a->retry) ||
                        (a->status == DGM_WIRE_STATUS_CANCELLED && !it->cancelled);
    if (failed && again(c, it, a->code, a->retry_after_ms))
        return 0;
    emit(c, it, e);
    return 1;
}

static size_t count_sent(dgm_client *c, uint64_t id)
{
    size_t n = 0;
    for (const dgm_client_item *it = *bucket(c, id); it != NULL; it = it->chain)
        n += it->id == id;
    return n;
}

/* An Error about a request ends what is left of it; last first, so that the order stays when it waits again. */
static int take_error(dgm_client *c)
{
    const dgm_wire_error *error = &c->frame.as.error;
    dgm_client_item *it;
    c->credits += error->credits;
    if (c->frame.id ==
        0) { /* what was asked before may still be answered: the end is the stream's */
        if (error->closing && !c->parting.said)
            dgm_client_parts(c, error);
        return DGM_OK;
    }
    const bool several = count_sent(c, c->frame.id) > 1;
    while ((it = find(c, c->frame.id, -1)) != NULL) {
        forget_sent(c, it);
        if (several && !error->retry && !it->cancelled) { /* which of them is it? */
            it->alone = true;
            push_front(&c->waiting, it);
        } else if (!error->retry || !again(c, it, error->code, error->retry_after_ms))
            finish(c, it, DGM_WIRE_STATUS_FAILED, error->code, error->retry, error->message);
    }
    return DGM_OK;
}

static int take_other(dgm_client *c, dgm_client_event *e)
{
    if (c->frame.kind == DGM_WIRE_HEALTH && c->frame.id == 0)
        c->draining = c->frame.as.health.state == DGM_WIRE_STATE_DRAINING;
    dgm_client_item *it = c->frame.id == 0 ? NULL : find(c, c->frame.id, -1);
    if (it == NULL || it->kind == DGM_WIRE_TRANSLATE)
        return 0;
    forget_sent(c, it);
    emit(c, it, e);
    return 1;
}

static int take_frame(dgm_client *c, dgm_client_event *e)
{
    switch (c->frame.kind) {
    case DGM_WIRE_ANSWER:
        return take_answer(c, e);
    case DGM_WIRE_ERROR:
        return take_error(c);
    case DGM_WIRE_CREDIT:
        c->credits += c->frame.as.credit.credits;
        return 0;
    default:
        return take_other(c, e);
    }
}

/* emit_done - what ended without an answer, as if it had one. */
static int emit_done(dgm_client *c, dgm_client_event *e)
{
    dgm_client_item *it = c->done.first;
    const char *message = it->message == NULL ? "" : it->message;
    take_out(&c->done, it);
    if (it->kind == DGM_WIRE_TRANSLATE)
        c->frame = (dgm_wire_frame){.kind = DGM_WIRE_ANSWER,
                                    .as.answer = {.status = it->status,
                                                  .worst_layer = "",
                                                  .message = message,
                                                  .code = it->code,
                                                  .retry = it->retry}};
    else
        c->frame = (dgm_wire_frame){
            .kind = DGM_WIRE_ERROR,
            .as.error = {.code = it->code, .message = message, .retry = it->retry}};
    emit(c, it, e);
    return 1;
}

static int next_frame(dgm_client *c, dgm_client_event *e)
{
    const uint8_t *body;
    size_t len;
    int found;
    enum dgm_wire_error_code code;
    if (c->state != DGM_CLIENT_READY)
        return 0;
    for (;;) {
        if (dgm_frame_reader_next(&c->reader, &found, &body, &len) != DGM_OK)
            return dgm_client_lost(c, "%s", dgm_error_text());
        if (!found)
            return c->fd >= 0 ? 0 : dgm_client_lost(c, "the server closed the connection");
        if (dgm_wire_decode(&c->frame, &code, &c->memory, body, len) != DGM_OK)
            return dgm_client_lost(c, "%s", dgm_error_text());
        const int rc = take_frame(c, e);
        if (rc != 0)
            return rc;
    }
}

int dgm_client_next(dgm_client *c, dgm_client_event *e)
{
    destroy_item(c->out_item);
    c->out_item = NULL;
    if (c->done.first != NULL)
        return emit_done(c, e);
    DGM_TRY(dgm_client_well(c));
    const int rc = next_frame(c, e);
    return rc <= 0 && c->done.first != NULL ? emit_done(c, e) : rc;
}

/* ---- waiting ---- */

static int until(int64_t ns)
{
    const int64_t left = ns - dgm_now_ns();
    return left <= 0 ? 0 : left / ms > 3600000 ? 3600000 : (int)(left / ms) + 1;
}

/* sendable - the next step sends something, unless it has to pause. */
static bool sendable(const dgm_client *c, size_t unsent)
{
    const dgm_client_item *it = c->waiting.first;
    return it != NULL && !c->parting.said && unsent <= DGM_CLIENT_UNSENT_BYTES &&
           (it->kind != DGM_WIRE_TRANSLATE || (c->credits > 0 && !c->draining));
}

/* wants_to_send - and could. */
static bool wants_to_send(const dgm_client *c, size_t unsent)
{
    size_t sealed;
    (void)dgm_frame_buffer_bytes(&c->sealed, &sealed);
    return sealed > 0 || (unsent > 0 && (c->tls == NULL || dgm_client_tls_ready(c)));
}

void dgm_client_waiting(const dgm_client *c, dgm_client_waiting_for *w)
{
    size_t unsent;
    (void)dgm_frame_buffer_bytes(&c->out, &unsent);
    *w = (dgm_client_waiting_for){c->fd, 0, -1};
    if (c->done.first != NULL || c->rc != DGM_OK || (c->state == DGM_CLIENT_READY && c->fd < 0)) {
        *w = (dgm_client_waiting_for){-1, 0, 0};
        return;
    }
    switch (c->state) {
    case DGM_CLIENT_ASLEEP:
        if (!c->welcomed || dgm_client_has_work(c))
            w->timeout_ms = until(c->wake_ns);
        return;
    case DGM_CLIENT_CONNECTING:
        w->events = POLLOUT;
        w->timeout_ms = until(c->wake_ns);
        return;
    case DGM_CLIENT_GREETING:
        w->timeout_ms = until(c->wake_ns);
        break;
    case DGM_CLIENT_READY:
        if (sendable(c, unsent))
            w->timeout_ms = until(c->resume_ns);
        break;
    }
    w->events = (short)(wants_to_send(c, unsent) ? POLLIN | POLLOUT : POLLIN);
}

int dgm_client_step(dgm_client *c)
{
    const int rc = dgm_client_link(c);
    return rc == DGM_OK ? rc : dgm_client_give_up(c, rc);
}

int dgm_client_wait(dgm_client *c, int timeout_ms)
{
    dgm_client_waiting_for w;
    dgm_client_waiting(c, &w);
    if (w.timeout_ms >= 0 && (timeout_ms < 0 || w.timeout_ms < timeout_ms))
        timeout_ms = w.timeout_ms;
    struct pollfd p = {.fd = w.fd, .events = w.events};
    (void)poll(&p, 1, timeout_ms);
    return dgm_client_step(c);
}

/* await - the one event that is pending. */
static int await(dgm_client *c, dgm_client_event *e)
{
    int rc;
    while ((rc = dgm_client_next(c, e)) == 0)
        if (dgm_client_wait(c, -1) != DGM_OK)
            continue; /* dgm_client_next says so too */
    while (rc > 0 && e->given_up)
        rc = dgm_client_next(c, e);
    return rc > 0 ? DGM_OK : rc;
}

static int alone(const dgm_client *c)
{
    const size_t n = dgm_client_pending(c);
    DGM_TRY(dgm_client_well(c));
    return n == 0
               ? DGM_OK
               : dgm_fail(DGM_EUSAGE, "a call that waits wants nothing else pending, found %zu", n);
}

int dgm_client_call(dgm_client *c, const dgm_wire_answer **answer, const dgm_wire_segment *segment)
{
    dgm_client_event e = {0};
    DGM_TRY(alone(c));
    DGM_TRY(dgm_client_submit(c, 0, segment));
    DGM_TRY(await(c, &e));
    *answer = &e.frame->as.answer;
    return DGM_OK;
}

int dgm_client_ask(dgm_client *c, const dgm_wire_frame **frame, enum dgm_wire_kind kind,
                   uint32_t limit_ms)
{
    dgm_client_event e = {0};
    DGM_TRY(alone(c));
    DGM_TRY(dgm_client_request(c, 0, kind, limit_ms));
    DGM_TRY(await(c, &e));
    *frame = e.frame;
    return DGM_OK;
}

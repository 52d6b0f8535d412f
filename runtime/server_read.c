/* A Translate frame's segments become requests: options checked, languages found, text split and tokenised. Here or in another thread. */
#include "base/fpenv.h"
#include "runtime/server_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

enum {
    LONG_BYTES = 4096, /* take some milliseconds */
    LARGE_BYTES =
        64 * 1024, /* take some 200 times as much memory meanwhile, in many small pieces */
};

/* ---- options ---- */

/* refuse - *code for a DGM_EINPUT. */
static int refuse(enum dgm_wire_error_code *code, enum dgm_wire_error_code with)
{
    *code = with;
    return DGM_EINPUT;
}

/* in_range - of an option that is not 0, or has no say. It was a float on its way, and so are the borders, which are within. */
static int in_range(const char *name, double value, double min, double max)
{
    if (value >= (double)(float)min && value <= (double)(float)max)
        return DGM_OK;
    return dgm_fail(DGM_EINPUT, "%s: want %.10g to %.10g, found %.10g", name, min, max, value);
}

/* said - what the client asked for, as a number that the options may be too small to hold; 0: what stands there. */
static double said(uint32_t value, int32_t there)
{
    return value != 0 ? (double)value : (double)there;
}

static void set_int(int32_t *to, uint32_t value)
{
    if (value != 0)
        *to = value > INT32_MAX ? INT32_MAX : (int32_t)value;
}

static void set_float(float *to, float value)
{
    if (value != 0)
        *to = value;
}

static void set_switch(int32_t *to, uint32_t value)
{
    if (value != DGM_WIRE_SWITCH_SERVER)
        *to = value == DGM_WIRE_SWITCH_ON;
}

static int known(const char *name, uint32_t value, uint32_t most)
{
    return value <= most
               ? DGM_OK
               : dgm_fail(DGM_EINPUT, "%s: this server knows 0 to %u, found %u", name, most, value);
}

/* check_known - values of enums. One that a later version may have is not passed over: another text could come of it. */
static int check_known(const dgm_wire_options *o)
{
    DGM_TRY(known("penalty_skip_special", o->penalty_skip_special, DGM_WIRE_SWITCH_OFF));
    DGM_TRY(known("early_stopping", o->early_stopping, DGM_WIRE_SWITCH_OFF));
    DGM_TRY(known("split", o->split, DGM_WIRE_SPLIT_NEVER));
    DGM_TRY(known("retry", o->retry, DGM_WIRE_RETRY_CHECKS));
    return known("priority", o->priority, DGM_WIRE_BULK);
}

static int check_options(const dgm_decode_options *d, const dgm_wire_options *o,
                         const dgm_server_config *cfg)
{
    if (d->sampling)
        DGM_TRY(in_range("beam_size, with sampling", said(o->beam_size, d->beam), 1, 1));
    DGM_TRY(in_range("beam_size", said(o->beam_size, d->beam), 1, cfg->max_beam));
    DGM_TRY(in_range("n_best", said(o->n_best, d->n_best), 1, d->beam));
    DGM_TRY(in_range("max_length", said(o->max_length, d->max_length), 3, cfg->base.max_target));
    DGM_TRY(in_range("min_length", said(o->min_length, d->min_length), 0, d->max_length));
    DGM_TRY(in_range("no_repeat_ngram_size", said(o->no_repeat_ngram_size, d->no_repeat_ngram), 0,
                     1000000));
    DGM_TRY(in_range("length_penalty", (double)d->length_penalty, -10, 10));
    DGM_TRY(in_range("repetition_penalty", (double)d->repetition_penalty, 0.01, 100));
    DGM_TRY(in_range("sampling_topk", said(o->sampling_topk, d->sampling_topk), 0, 1000000));
    DGM_TRY(in_range("sampling_topp", (double)d->sampling_topp, 0.000001, 1));
    return in_range("temperature", (double)d->temperature, 0.001, 1000);
}

/* take_options - what a request asks of decoding, where it asks anything. */
static int take_options(dgm_request *r, enum dgm_wire_error_code *code, const dgm_wire_options *o,
                        const dgm_server_config *cfg)
{
    dgm_decode_options *d = &r->cfg.decode;
    if (check_known(o) != DGM_OK)
        return refuse(code, DGM_WIRE_ERROR_UNSUPPORTED);
    if (o->retry != DGM_WIRE_RETRY_SERVER)
        r->cfg.retry = o->retry == DGM_WIRE_RETRY_CHECKS;
    d->token_scores = r->cfg.token_scores = o->token_scores;
    d->alignment = r->cfg.alignment = o->alignment;
    set_int(&d->sampling_topk, o->sampling_topk);
    set_float(&d->sampling_topp, o->sampling_topp);
    set_float(&d->temperature, o->temperature);
    d->sampling = d->sampling_topk > 0 || d->sampling_topp < 1 || d->temperature != 1;
    if (d->sampling && !cfg->base.decode.sampling)
        d->beam = d->n_best = 1;
    set_int(&d->beam, o->beam_size);
    if (d->n_best > d->beam)
        d->n_best = d->beam;
    set_int(&d->n_best, o->n_best);
    if (o->has_length_penalty)
        d->length_penalty = o->length_penalty;
    set_int(&d->max_length, o->max_length);
    set_int(&d->min_length, o->min_length);
    set_int(&d->no_repeat_ngram, o->no_repeat_ngram_size);
    set_float(&d->repetition_penalty, o->repetition_penalty);
    set_switch(&d->penalty_skip_special, o->penalty_skip_special);
    set_switch(&d->early_stopping, o->early_stopping);
    if (o->seed != 0)
        d->seed = o->seed;
    if (o->split != DGM_WIRE_SPLIT_SERVER)
        r->cfg.source.split = o->split == DGM_WIRE_SPLIT_ALWAYS  ? DGM_SPLIT_ALWAYS
                              : o->split == DGM_WIRE_SPLIT_NEVER ? DGM_SPLIT_NEVER
                                                                 : DGM_SPLIT_AUTO;
    r->priority = o->priority == DGM_WIRE_INTERACTIVE ? DGM_PRIORITY_INTERACTIVE
                  : o->priority == DGM_WIRE_BULK      ? DGM_PRIORITY_BULK
                                                      : DGM_PRIORITY_NORMAL;
    if (o->deadline_ms != 0)
        r->deadline_ns = r->arrived_ns + (int64_t)o->deadline_ms * 1000000;
    return check_options(d, o, cfg) == DGM_OK ? DGM_OK : refuse(code, DGM_WIRE_ERROR_BAD_REQUEST);
}

/* ---- lines ---- */

/* line_of - bytes as the reader of a file would have them. */
static dgm_line line_of(const char *text, size_t len, int64_t bad, uint64_t number, size_t most)
{
    dgm_line line = {.text = text, .len = len, .n_bytes = len, .number = number};
    if (len > most) {
        line.state = DGM_LINE_TOO_LONG;
        line.text = "";
        line.len = 0;
    } else if (bad != DGM_WIRE_TEXT_GOOD) {
        line.bad_at = (size_t)bad;
        line.state = text[bad] == '\0' ? DGM_LINE_NUL : DGM_LINE_NOT_UTF8;
    }
    return line;
}

static int take_segment(dgm_request *r, enum dgm_wire_error_code *code, const dgm_wire_segment *s,
                        const dgm_server_config *cfg)
{
    const size_t most = (size_t)cfg->segment_bytes;
    r->cfg = cfg->base;
    r->cfg.targets = &r->target;
    r->cfg.n_targets = 1;
    DGM_TRY(take_options(r, code, s->options, cfg));
    if (cfg->direction(cfg->direction_ctx, &r->cfg.source, &r->target, s->src, s->tgt) != DGM_OK)
        return refuse(code, DGM_WIRE_ERROR_LANGUAGE);
    const dgm_line line = line_of(s->text, s->text_len, s->text_bad, r->number + 1, most),
                   prefix = line_of(s->prefix, s->prefix_len, s->prefix_bad, r->number + 1, most);
    *code = DGM_WIRE_ERROR_INTERNAL;
    DGM_TRY(dgm_stream_line_fill(&r->line, &r->cfg, &line, s->prefix_len > 0 ? &prefix : NULL));
    r->line.number = s->number != 0 ? s->number : 1; /* keys the draws of sampling from now on */
    return DGM_OK;
}

int dgm_server_read(dgm_server_job *j, enum dgm_wire_error_code *code, const dgm_wire_translate *t,
                    const dgm_server_config *cfg)
{
    int rc = DGM_OK;
    *code = DGM_WIRE_ERROR_INTERNAL;
    for (int i = 0; rc == DGM_OK && i < j->n; i++) {
        rc = take_segment(&j->requests[i], code, &t->segments[i], cfg);
        if (rc != DGM_OK && j->n > 1)
            (void)dgm_fail(rc, "segment %d: %s", i, dgm_error_text());
    }
    return rc;
}

/* ---- in another thread, one frame at a time ---- */

/* A frame whose lines wait for that, or are at it. */
struct dgm_server_reading {
    dgm_wire_memory memory; /* where t points to */
    dgm_wire_translate t;
    const dgm_server_config *cfg;
    int rc; /* how it went: */
    enum dgm_wire_error_code code;
    char why[512];
};

static size_t text_bytes(const dgm_wire_translate *t)
{
    size_t bytes = 0;
    for (size_t i = 0; i < t->n_segments; i++)
        bytes += t->segments[i].text_len + t->segments[i].prefix_len;
    return bytes;
}

bool dgm_server_read_is_long(const dgm_wire_translate *t)
{
    return text_bytes(t) > LONG_BYTES;
}

/* give_back - what tokenising took: else each of libuv's threads keeps as much as the longest line ever took it, 200 MiB for one of 1 MiB. */
static void give_back(const dgm_wire_translate *t)
{
#ifdef __GLIBC__
    if (text_bytes(t) > LARGE_BYTES)
        (void)malloc_trim(0);
#else
    (void)t;
#endif
}

/* work - in a thread of libuv's. */
static void work(uv_work_t *w)
{
    const dgm_server *s = w->data;
    dgm_server_job *j = s->to_read;
    struct dgm_server_reading *r = j->reading;
    dgm_fpenv_set();
    r->rc = dgm_server_read(j, &r->code, &r->t, r->cfg);
    (void)snprintf(r->why, sizeof r->why, "%s", dgm_error_text());
    give_back(&r->t);
}

static void after(uv_work_t *w, int status);

static void start(dgm_server *s)
{
    s->read_work.data = s;
    const int rc = uv_queue_work(&s->loop, &s->read_work, work, after);
    DGM_ASSERT(rc == 0); /* no other is under way, and there is something to do */
}

static dgm_server_job *take_first(dgm_server *s)
{
    dgm_server_job *j = s->to_read;
    s->to_read = j->next;
    if (s->to_read == NULL)
        s->to_read_end = &s->to_read;
    j->next = NULL;
    return j;
}

/* let_go - whose connection went while it waited: it is not read. */
static void let_go(dgm_server *s, dgm_server_job *j)
{
    dgm_wire_memory_fini(&j->reading->memory);
    free(j->reading);
    j->reading = NULL;
    dgm_requests_arrived(s->requests);
    dgm_server_free_job(j);
}

/* after - on the net thread: the connection goes on, if it is there. */
static void after(uv_work_t *w, int status)
{
    dgm_server *s = w->data;
    dgm_server_job *j = s->to_read;
    struct dgm_server_reading *r = j->reading;
    dgm_conn *c = j->conn;
    DGM_ASSERT(status == 0); /* is never cancelled */
    (void)take_first(s);
    while (s->to_read != NULL && s->to_read->conn == NULL)
        let_go(s, take_first(s));
    if (s->to_read != NULL)
        start(s);
    j->reading = NULL;
    j->conn = NULL;
    dgm_wire_memory_fini(&r->memory);
    if (r->rc != DGM_OK)
        (void)dgm_fail(r->rc, "%s", r->why);
    const int rc = r->rc;
    const enum dgm_wire_error_code code = r->code;
    free(r);
    if (c == NULL) {
        dgm_requests_arrived(s->requests);
        dgm_server_free_job(j);
        return;
    }
    c->reading = NULL;
    dgm_server_begin(c, j, rc, code);
    dgm_requests_arrived(s->requests);
    dgm_conn_go_on(c);
}

int dgm_server_read_later(dgm_conn *c, dgm_server_job *j, const dgm_wire_translate *t)
{
    dgm_server *s = c->server;
    DGM_TRY(dgm_requests_announce(s->requests));
    struct dgm_server_reading *r = malloc(sizeof *r);
    if (r == NULL) {
        dgm_requests_arrived(s->requests);
        return dgm_fail(DGM_ENOMEM, "out of memory for a request");
    }
    *r = (struct dgm_server_reading){.memory = s->memory, .t = *t, .cfg = &s->cfg};
    s->memory = (dgm_wire_memory){0};
    j->bytes = r->memory.used;
    j->reading = r;
    j->conn = c;
    c->reading = j;
    *s->to_read_end = j;
    s->to_read_end = &j->next;
    if (s->to_read == j)
        start(s);
    return DGM_OK;
}

/* Plain structs to bytes: pointed at by protobuf-c's structs in the frame's memory, then packed behind their length. */
#include "proto/dragoman.pb-c.h"
#include "proto/wire_internal.h"

#include <stdio.h>
#include <string.h>

/* Memory that is not there is found once, at the end: until then everybody goes on with what there is. */
#define NEW(m, type) ((type *)dgm_wire_take_array(m, 1, sizeof(type)))

static ProtobufCBinaryData bytes(const char *s, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)s};
}

static ProtobufCBinaryData text(const char *s)
{
    return bytes(s, s == NULL ? 0 : strlen(s));
}

static ProtobufCBinaryData *texts(size_t *n_out, const char *const *s, size_t n, dgm_wire_memory *m)
{
    ProtobufCBinaryData *out = dgm_wire_take_array(m, n, sizeof *out);
    for (size_t i = 0; out != NULL && i < n; i++)
        out[i] = text(s[i]);
    *n_out = out == NULL ? 0 : n;
    return out;
}

static Dragoman__V1__Options *put_options(const dgm_wire_options *o, dgm_wire_memory *m)
{
    Dragoman__V1__Options *p = NEW(m, Dragoman__V1__Options);
    if (p == NULL)
        return NULL;
    dragoman__v1__options__init(p);
    p->beam_size = o->beam_size;
    p->n_best = o->n_best;
    p->max_length = o->max_length;
    p->min_length = o->min_length;
    p->no_repeat_ngram_size = o->no_repeat_ngram_size;
    if (o->has_length_penalty) {
        p->length_penalty_kind_case = DRAGOMAN__V1__OPTIONS__LENGTH_PENALTY_KIND_LENGTH_PENALTY;
        p->length_penalty = o->length_penalty;
    }
    p->repetition_penalty = o->repetition_penalty;
    p->penalty_skip_special = (Dragoman__V1__Switch)o->penalty_skip_special;
    p->early_stopping = (Dragoman__V1__Switch)o->early_stopping;
    p->sampling_topk = o->sampling_topk;
    p->sampling_topp = o->sampling_topp;
    p->temperature = o->temperature;
    p->seed = o->seed;
    p->split = (Dragoman__V1__Split)o->split;
    p->retry = (Dragoman__V1__Retry)o->retry;
    p->token_scores = o->token_scores;
    p->alignment = o->alignment;
    p->priority = (Dragoman__V1__Priority)o->priority;
    p->deadline_ms = o->deadline_ms;
    return p;
}

static void put_segment(Dragoman__V1__Segment *p, const dgm_wire_segment *s, dgm_wire_memory *m)
{
    dragoman__v1__segment__init(p);
    p->text = bytes(s->text, s->text_len);
    p->prefix = bytes(s->prefix, s->prefix_len);
    p->src = text(s->src);
    p->tgt = text(s->tgt);
    p->number = s->number;
    p->options = s->options == NULL ? NULL : put_options(s->options, m);
}

/* point_at - protobuf-c wants arrays of messages as pointers to them. *n becomes 0 where memory ran out. */
static void *point_at(size_t *n, void *messages, size_t count, size_t size, dgm_wire_memory *m)
{
    void **to = dgm_wire_take_array(m, count, sizeof *to);
    *n = messages != NULL && to != NULL ? count : 0;
    for (size_t i = 0; i < *n; i++)
        to[i] = (char *)messages + i * size;
    return to;
}

static Dragoman__V1__Translate *put_translate(const dgm_wire_translate *t, dgm_wire_memory *m)
{
    Dragoman__V1__Translate *p = NEW(m, Dragoman__V1__Translate);
    if (p == NULL)
        return NULL;
    dragoman__v1__translate__init(p);
    p->src = text(t->src);
    p->tgt = text(t->tgt);
    p->options = put_options(&t->options, m);
    if (p->options != NULL && dragoman__v1__options__get_packed_size(p->options) == 0)
        p->options = NULL; /* nothing but defaults */
    Dragoman__V1__Segment *at = dgm_wire_take_array(m, t->n_segments, sizeof *at);
    p->segments = point_at(&p->n_segments, at, t->n_segments, sizeof *at, m);
    for (size_t i = 0; i < p->n_segments; i++)
        put_segment(&at[i], &t->segments[i], m);
    return p;
}

static Dragoman__V1__Limits *put_limits(const dgm_wire_limits *l, dgm_wire_memory *m)
{
    Dragoman__V1__Limits *p = NEW(m, Dragoman__V1__Limits);
    if (p == NULL)
        return NULL;
    dragoman__v1__limits__init(p);
    p->frame_bytes = l->frame_bytes;
    p->request_segments = l->request_segments;
    p->segment_bytes = l->segment_bytes;
    p->in_flight = l->in_flight;
    p->beam_size = l->beam_size;
    p->n_best = l->n_best;
    p->source_tokens = l->source_tokens;
    p->target_tokens = l->target_tokens;
    p->idle_ms = l->idle_ms;
    return p;
}

static Dragoman__V1__Welcome *put_welcome(const dgm_wire_welcome *w, dgm_wire_memory *m)
{
    Dragoman__V1__Welcome *p = NEW(m, Dragoman__V1__Welcome);
    if (p == NULL)
        return NULL;
    dragoman__v1__welcome__init(p);
    p->version = w->version;
    p->server = text(w->server);
    p->model = text(w->model);
    p->model_hash = w->model_hash;
    p->option_hash = w->option_hash;
    p->source_languages = texts(&p->n_source_languages, w->sources, w->n_sources, m);
    p->target_languages = texts(&p->n_target_languages, w->targets, w->n_targets, m);
    p->limits = put_limits(&w->limits, m);
    p->credits = w->credits;
    return p;
}

static void put_hypothesis(Dragoman__V1__Hypothesis *p, const dgm_wire_hypothesis *h,
                           dgm_wire_memory *m)
{
    dragoman__v1__hypothesis__init(p);
    p->text = bytes(h->text, h->text_len);
    p->score = h->score;
    p->tokens = texts(&p->n_tokens, h->tokens, h->n_tokens, m);
    p->token_scores = (float *)(uintptr_t)h->token_scores;
    p->n_token_scores = h->n_tokens;
    p->alignment = (uint32_t *)(uintptr_t)h->alignment;
    p->n_alignment = 2 * h->n_alignment;
}

static Dragoman__V1__Answer *put_answer(const dgm_wire_answer *a, dgm_wire_memory *m)
{
    Dragoman__V1__Answer *p = NEW(m, Dragoman__V1__Answer);
    if (p == NULL)
        return NULL;
    dragoman__v1__answer__init(p);
    p->segment = a->segment;
    p->status = (Dragoman__V1__Status)a->status;
    Dragoman__V1__Hypothesis *at = dgm_wire_take_array(m, a->n_hyps, sizeof *at);
    p->hypotheses = point_at(&p->n_hypotheses, at, a->n_hyps, sizeof *at, m);
    for (size_t i = 0; i < p->n_hypotheses; i++)
        put_hypothesis(&at[i], &a->hyps[i], m);
    p->src_tokens = a->src_tokens;
    p->tgt_tokens = a->tgt_tokens;
    p->src_unknown = a->src_unknown;
    p->tgt_unknown = a->tgt_unknown;
    p->queue_us = a->queue_us;
    p->compute_us = a->compute_us;
    p->parts = a->parts;
    p->absent_mass = a->absent_mass;
    p->absent_most = a->absent_most;
    p->worst_layer = text(a->worst_layer);
    p->checks = a->checks;
    p->retried = a->retried;
    p->first_score = a->first_score;
    p->second_score = a->second_score;
    p->first_checks = a->first_checks;
    p->cached = a->cached;
    p->last = a->last;
    p->credits = a->credits;
    p->message = text(a->message);
    p->code = (Dragoman__V1__ErrorCode)a->code;
    p->retry = a->retry;
    p->retry_after_ms = a->retry_after_ms;
    p->second = a->second;
    p->second_checks = a->second_checks;
    return p;
}

static void put_language(Dragoman__V1__Language *p, const dgm_wire_language *l, dgm_wire_memory *m)
{
    dragoman__v1__language__init(p);
    p->code = text(l->code);
    p->name = text(l->name);
    p->aliases = texts(&p->n_aliases, l->aliases, l->n_aliases, m);
    p->source = l->source;
    p->target = l->target;
}

static Dragoman__V1__Languages *put_languages(const dgm_wire_languages *l, dgm_wire_memory *m)
{
    Dragoman__V1__Languages *p = NEW(m, Dragoman__V1__Languages);
    if (p == NULL)
        return NULL;
    dragoman__v1__languages__init(p);
    Dragoman__V1__Language *at = dgm_wire_take_array(m, l->n, sizeof *at);
    p->languages = point_at(&p->n_languages, at, l->n, sizeof *at, m);
    for (size_t i = 0; i < p->n_languages; i++)
        put_language(&at[i], &l->at[i], m);
    return p;
}

static void put_metric(Dragoman__V1__Metric *p, const dgm_wire_metric *metric)
{
    dragoman__v1__metric__init(p);
    p->name = text(metric->name);
    p->value = metric->value;
}

static Dragoman__V1__Statistics *put_statistics(const dgm_wire_statistics *s, dgm_wire_memory *m)
{
    Dragoman__V1__Statistics *p = NEW(m, Dragoman__V1__Statistics);
    if (p == NULL)
        return NULL;
    dragoman__v1__statistics__init(p);
    Dragoman__V1__Metric *at = dgm_wire_take_array(m, s->n, sizeof *at);
    p->metrics = point_at(&p->n_metrics, at, s->n, sizeof *at, m);
    for (size_t i = 0; i < p->n_metrics; i++)
        put_metric(&at[i], &s->at[i]);
    return p;
}

/* The messages of a few fields each. A pointer stays NULL where memory ran out. */
static void put_small(Dragoman__V1__Frame *p, const dgm_wire_frame *f, dgm_wire_memory *m)
{
    switch (f->kind) {
    case DGM_WIRE_HELLO:
        if ((p->hello = NEW(m, Dragoman__V1__Hello)) == NULL)
            return;
        dragoman__v1__hello__init(p->hello);
        p->hello->version = f->as.hello.version;
        p->hello->token = text(f->as.hello.token);
        p->hello->client = text(f->as.hello.client);
        break;
    case DGM_WIRE_CANCEL:
        if ((p->cancel = NEW(m, Dragoman__V1__Cancel)) == NULL)
            return;
        dragoman__v1__cancel__init(p->cancel);
        p->cancel->request = f->as.cancel.request;
        p->cancel->segments = (uint32_t *)(uintptr_t)f->as.cancel.segments;
        p->cancel->n_segments = f->as.cancel.n_segments;
        break;
    case DGM_WIRE_LANGUAGES_REQUEST:
        if ((p->languages_request = NEW(m, Dragoman__V1__LanguagesRequest)) != NULL)
            dragoman__v1__languages_request__init(p->languages_request);
        break;
    case DGM_WIRE_STATISTICS_REQUEST:
        if ((p->statistics_request = NEW(m, Dragoman__V1__StatisticsRequest)) != NULL)
            dragoman__v1__statistics_request__init(p->statistics_request);
        break;
    case DGM_WIRE_HEALTH_REQUEST:
        if ((p->health_request = NEW(m, Dragoman__V1__HealthRequest)) != NULL)
            dragoman__v1__health_request__init(p->health_request);
        break;
    case DGM_WIRE_DRAIN:
        if ((p->drain = NEW(m, Dragoman__V1__Drain)) == NULL)
            return;
        dragoman__v1__drain__init(p->drain);
        p->drain->limit_ms = f->as.drain.limit_ms;
        break;
    case DGM_WIRE_CREDIT:
        if ((p->credit = NEW(m, Dragoman__V1__Credit)) == NULL)
            return;
        dragoman__v1__credit__init(p->credit);
        p->credit->credits = f->as.credit.credits;
        break;
    default:
        break;
    }
}

static Dragoman__V1__Health *put_health(const dgm_wire_health *h, dgm_wire_memory *m)
{
    Dragoman__V1__Health *p = NEW(m, Dragoman__V1__Health);
    if (p == NULL)
        return NULL;
    dragoman__v1__health__init(p);
    p->state = (Dragoman__V1__State)h->state;
    p->message = text(h->message);
    p->queued_tokens = h->queued_tokens;
    p->in_flight = h->in_flight;
    p->tick_age_ms = h->tick_age_ms;
    return p;
}

static Dragoman__V1__Error *put_error(const dgm_wire_error *e, dgm_wire_memory *m)
{
    Dragoman__V1__Error *p = NEW(m, Dragoman__V1__Error);
    if (p == NULL)
        return NULL;
    dragoman__v1__error__init(p);
    p->code = (Dragoman__V1__ErrorCode)e->code;
    p->message = text(e->message);
    p->retry = e->retry;
    p->retry_after_ms = e->retry_after_ms;
    p->closing = e->closing;
    p->credits = e->credits;
    return p;
}

static void put_frame(Dragoman__V1__Frame *p, const dgm_wire_frame *f, dgm_wire_memory *m)
{
    dragoman__v1__frame__init(p);
    p->id = f->id;
    p->kind_case = (Dragoman__V1__Frame__KindCase)f->kind;
    switch (f->kind) {
    case DGM_WIRE_TRANSLATE:
        p->translate = put_translate(&f->as.translate, m);
        break;
    case DGM_WIRE_WELCOME:
        p->welcome = put_welcome(&f->as.welcome, m);
        break;
    case DGM_WIRE_ANSWER:
        p->answer = put_answer(&f->as.answer, m);
        break;
    case DGM_WIRE_LANGUAGES:
        p->languages = put_languages(&f->as.languages, m);
        break;
    case DGM_WIRE_STATISTICS:
        p->statistics = put_statistics(&f->as.statistics, m);
        break;
    case DGM_WIRE_HEALTH:
        p->health = put_health(&f->as.health, m);
        break;
    case DGM_WIRE_ERROR:
        p->error = put_error(&f->as.error, m);
        break;
    default:
        put_small(p, f, m);
        break;
    }
}

int dgm_wire_encode(dgm_frame_buffer *to, dgm_wire_memory *m, const dgm_wire_frame *f)
{
    Dragoman__V1__Frame frame;
    dgm_wire_memory_reset(m);
    put_frame(&frame, f, m);
    if (m->failed != DGM_OK)
        return dgm_fail(DGM_ENOMEM, "%s: no memory to encode it", dgm_wire_kind_name(f->kind));
    const size_t n = dragoman__v1__frame__get_packed_size(&frame);
    if (n > DGM_FRAME_MAX_BODY)
        return dgm_fail(DGM_EINPUT, "%s: a frame has at most %d bytes, this one would have %zu",
                        dgm_wire_kind_name(f->kind), DGM_FRAME_MAX_BODY, n);
    uint8_t *p = dgm_frame_buffer_add(to, DGM_FRAME_HEAD + n);
    if (p == NULL)
        return DGM_ENOMEM;
    p[0] = (uint8_t)(n >> 24);
    p[1] = (uint8_t)(n >> 16);
    p[2] = (uint8_t)(n >> 8);
    p[3] = (uint8_t)n;
    (void)dragoman__v1__frame__pack(&frame, p + DGM_FRAME_HEAD);
    return DGM_OK;
}

int dgm_wire_encode_or_fail(dgm_frame_buffer *to, dgm_wire_memory *m, const dgm_wire_frame *f)
{
    const int rc = dgm_wire_encode(to, m, f);
    if (rc != DGM_EINPUT || f->kind != DGM_WIRE_ANSWER)
        return rc;
    const dgm_wire_answer *a = &f->as.answer;
    char why[256];
    (void)snprintf(why, sizeof why, "%s", dgm_error_text());
    const dgm_wire_frame failed = {.id = f->id,
                                   .kind = DGM_WIRE_ANSWER,
                                   .as.answer = {.segment = a->segment,
                                                 .status = DGM_WIRE_STATUS_FAILED,
                                                 .code = DGM_WIRE_ERROR_TOO_LARGE,
                                                 .message = why,
                                                 .last = a->last,
                                                 .credits = a->credits}};
    return dgm_wire_encode(to, m, &failed);
}

int dgm_wire_encode_error(dgm_frame_buffer *to, dgm_wire_memory *m, uint64_t id,
                          enum dgm_wire_error_code code, const char *message, bool closing,
                          uint32_t retry_after_ms)
{
    const dgm_wire_frame f = {.id = id,
                              .kind = DGM_WIRE_ERROR,
                              .as.error = {.code = code,
                                           .message = message,
                                           .retry = dgm_wire_error_retry(code),
                                           .retry_after_ms = retry_after_ms,
                                           .closing = closing}};
    return dgm_wire_encode(to, m, &f);
}

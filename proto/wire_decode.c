/* Bytes to plain structs: unpacked by protobuf-c into the frame's memory, then checked and put beside it. */
#include "base/utf8.h"
#include "proto/dragoman.pb-c.h"
#include "proto/wire_internal.h"

#include <string.h>

/* What a decoding goes on with: the first failure stays, and everything after it is harmless. */
typedef struct decoding {
    dgm_wire_memory *m;
    int rc;
    const char *kind; /* for sentences */
} decoding;

static void *take(size_t n, decoding *d)
{
    void *p = dgm_wire_take(d->m, n);
    if (p == NULL && d->rc == DGM_OK)
        d->rc = DGM_ENOMEM;
    return p;
}

static void *take_array(size_t count, size_t size, decoding *d)
{
    void *p = dgm_wire_take_array(d->m, count, size);
    if (p == NULL && d->rc == DGM_OK)
        d->rc = DGM_ENOMEM;
    return p;
}

/* A copy with a NUL behind it. */
static const char *copy(const ProtobufCBinaryData *b, decoding *d)
{
    if (b->len == 0)
        return "";
    char *s = take(b->len + 1, d);
    if (s == NULL)
        return "";
    memcpy(s, b->data, b->len);
    s[b->len] = '\0';
    return s;
}

static int64_t bad_at(const ProtobufCBinaryData *b)
{
    size_t at;
    return dgm_utf8_check((const char *)b->data, b->len, &at) ? DGM_WIRE_TEXT_GOOD : (int64_t)at;
}

static const char *text(const ProtobufCBinaryData *b, const char *field, decoding *d)
{
    const int64_t at = bad_at(b);
    if (at == DGM_WIRE_TEXT_GOOD)
        return copy(b, d);
    if (d->rc == DGM_OK)
        d->rc = dgm_fail(DGM_EINPUT, "%s: %s: byte %lld is %s", d->kind, field, (long long)at + 1,
                         b->data[at] == 0 ? "NUL" : "not UTF-8");
    return "";
}

static const char *const *texts(const ProtobufCBinaryData *b, size_t n, const char *field,
                                decoding *d)
{
    const char **out = take_array(n, sizeof *out, d);
    for (size_t i = 0; out != NULL && i < n; i++)
        out[i] = text(&b[i], field, d);
    return out;
}

static void get_options(dgm_wire_options *o, const Dragoman__V1__Options *p)
{
    *o = (dgm_wire_options){
        .beam_size = p->beam_size,
        .n_best = p->n_best,
        .max_length = p->max_length,
        .min_length = p->min_length,
        .no_repeat_ngram_size = p->no_repeat_ngram_size,
        .has_length_penalty = p->length_penalty_kind_case ==
                              DRAGOMAN__V1__OPTIONS__LENGTH_PENALTY_KIND_LENGTH_PENALTY,
        .repetition_penalty = p->repetition_penalty,
        .penalty_skip_special = (uint32_t)p->penalty_skip_special,
        .early_stopping = (uint32_t)p->early_stopping,
        .sampling_topk = p->sampling_topk,
        .sampling_topp = p->sampling_topp,
        .temperature = p->temperature,
        .seed = p->seed,
        .split = (uint32_t)p->split,
        .retry = (uint32_t)p->retry,
        .token_scores = p->token_scores,
        .alignment = p->alignment,
        .priority = (uint32_t)p->priority,
        .deadline_ms = p->deadline_ms,
    };
    if (o->has_length_penalty)
        o->length_penalty = p->length_penalty;
}

static void get_segment(dgm_wire_segment *s, const Dragoman__V1__Segment *p,
                        const dgm_wire_translate *t, const dgm_wire_options *of_all, decoding *d)
{
    dgm_wire_options *own = p->options == NULL ? NULL : take_array(1, sizeof *own, d);
    if (own != NULL)
        get_options(own, p->options);
    *s = (dgm_wire_segment){
        .text = copy(&p->text, d),
        .text_len = p->text.len,
        .text_bad = bad_at(&p->text),
        .prefix = copy(&p->prefix, d),
        .prefix_len = p->prefix.len,
        .prefix_bad = bad_at(&p->prefix),
        .src = p->src.len > 0 ? text(&p->src, "src of a segment", d) : t->src,
        .tgt = p->tgt.len > 0 ? text(&p->tgt, "tgt of a segment", d) : t->tgt,
        .options = own != NULL ? own : of_all,
        .number = p->number,
    };
}

static void get_translate(dgm_wire_translate *t, const Dragoman__V1__Translate *p, decoding *d)
{
    *t = (dgm_wire_translate){.src = text(&p->src, "src", d), .tgt = text(&p->tgt, "tgt", d)};
    if (p->options != NULL)
        get_options(&t->options, p->options);
    /* segments are to be of use wherever t itself lies */
    dgm_wire_options *of_all = take_array(1, sizeof *of_all, d);
    if (of_all != NULL)
        *of_all = t->options;
    dgm_wire_segment *s = take_array(p->n_segments, sizeof *s, d);
    for (size_t i = 0; s != NULL && d->rc == DGM_OK && i < p->n_segments; i++)
        get_segment(&s[i], p->segments[i], t, of_all, d);
    t->segments = s;
    t->n_segments = p->n_segments;
}

static void get_limits(dgm_wire_limits *l, const Dragoman__V1__Limits *p)
{
    *l = (dgm_wire_limits){p->frame_bytes,   p->request_segments, p->segment_bytes,
                           p->in_flight,     p->beam_size,        p->n_best,
                           p->source_tokens, p->target_tokens,    p->idle_ms};
}

static void get_welcome(dgm_wire_welcome *w, const Dragoman__V1__Welcome *p, decoding *d)
{
    *w = (dgm_wire_welcome){
        .version = p->version,
        .server = text(&p->server, "server", d),
        .model = text(&p->model, "model", d),
        .model_hash = p->model_hash,
        .option_hash = p->option_hash,
        .sources = texts(p->source_languages, p->n_source_languages, "source_languages", d),
        .targets = texts(p->target_languages, p->n_target_languages, "target_languages", d),
        .n_sources = p->n_source_languages,
        .n_targets = p->n_target_languages,
        .credits = p->credits,
    };
    if (p->limits != NULL)
        get_limits(&w->limits, p->limits);
}

static void get_hypothesis(dgm_wire_hypothesis *h, const Dragoman__V1__Hypothesis *p, decoding *d)
{
    if (p->n_tokens != p->n_token_scores && d->rc == DGM_OK)
        d->rc = dgm_fail(DGM_EINPUT, "%s: %zu tokens with %zu token_scores", d->kind, p->n_tokens,
                         p->n_token_scores);
    *h = (dgm_wire_hypothesis){
        .text = text(&p->text, "text", d),
        .text_len = p->text.len,
        .score = p->score,
        .tokens = texts(p->tokens, p->n_tokens, "tokens", d),
        .token_scores = p->token_scores,
        .n_tokens = p->n_tokens,
        .alignment = p->alignment,
        .n_alignment = p->n_alignment / 2,
    };
}

static void get_answer(dgm_wire_answer *a, const Dragoman__V1__Answer *p, decoding *d)
{
    dgm_wire_hypothesis *h = take_array(p->n_hypotheses, sizeof *h, d);
    for (size_t i = 0; h != NULL && d->rc == DGM_OK && i < p->n_hypotheses; i++)
        get_hypothesis(&h[i], p->hypotheses[i], d);
    *a = (dgm_wire_answer){
        .segment = p->segment,
        .status = (uint32_t)p->status,
        .hyps = h,
        .n_hyps = p->n_hypotheses,
        .src_tokens = p->src_tokens,
        .tgt_tokens = p->tgt_tokens,
        .src_unknown = p->src_unknown,
        .tgt_unknown = p->tgt_unknown,
        .queue_us = p->queue_us,
        .compute_us = p->compute_us,
        .parts = p->parts,
        .absent_mass = p->absent_mass,
        .absent_most = p->absent_most,
        .worst_layer = text(&p->worst_layer, "worst_layer", d),
        .checks = p->checks,
        .retried = p->retried,
        .first_score = p->first_score,
        .second_score = p->second_score,
        .first_checks = p->first_checks,
        .cached = p->cached,
        .last = p->last,
        .credits = p->credits,
        .message = text(&p->message, "message", d),
        .code = (uint32_t)p->code,
        .retry = p->retry,
        .retry_after_ms = p->retry_after_ms,
        .second = p->second,
        .second_checks = p->second_checks,
    };
}

static void get_languages(dgm_wire_languages *l, const Dragoman__V1__Languages *p, decoding *d)
{
    dgm_wire_language *at = take_array(p->n_languages, sizeof *at, d);
    for (size_t i = 0; at != NULL && d->rc == DGM_OK && i < p->n_languages; i++) {
        const Dragoman__V1__Language *q = p->languages[i];
        at[i] = (dgm_wire_language){
            .code = text(&q->code, "code", d),
            .name = text(&q->name, "name", d),
            .aliases = texts(q->aliases, q->n_aliases, "aliases", d),
            .n_aliases = q->n_aliases,
            .source = q->source,
            .target = q->target,
        };
    }
    *l = (dgm_wire_languages){at, p->n_languages};
}

static void get_statistics(dgm_wire_statistics *s, const Dragoman__V1__Statistics *p, decoding *d)
{
    dgm_wire_metric *at = take_array(p->n_metrics, sizeof *at, d);
    for (size_t i = 0; at != NULL && d->rc == DGM_OK && i < p->n_metrics; i++)
        at[i] = (dgm_wire_metric){text(&p->metrics[i]->name, "name", d), p->metrics[i]->value};
    *s = (dgm_wire_statistics){at, p->n_metrics};
}

static void get_health(dgm_wire_health *h, const Dragoman__V1__Health *p, decoding *d)
{
    *h = (dgm_wire_health){(uint32_t)p->state, text(&p->message, "message", d), p->queued_tokens,
                           p->in_flight, p->tick_age_ms};
}

static void get_error(dgm_wire_error *e, const Dragoman__V1__Error *p, decoding *d)
{
    *e = (dgm_wire_error){(uint32_t)p->code, text(&p->message, "message", d),
                          p->retry,          p->retry_after_ms,
                          p->closing,        p->credits};
}

static void get_frame(dgm_wire_frame *f, const Dragoman__V1__Frame *p, decoding *d)
{
    f->kind = (enum dgm_wire_kind)p->kind_case;
    d->kind = dgm_wire_kind_name(f->kind);
    switch (f->kind) {
    case DGM_WIRE_HELLO:
        f->as.hello = (dgm_wire_hello){p->hello->version, text(&p->hello->token, "token", d),
                                       text(&p->hello->client, "client", d)};
        break;
    case DGM_WIRE_TRANSLATE:
        get_translate(&f->as.translate, p->translate, d);
        break;
    case DGM_WIRE_CANCEL:
        f->as.cancel =
            (dgm_wire_cancel){p->cancel->request, p->cancel->segments, p->cancel->n_segments};
        break;
    case DGM_WIRE_DRAIN:
        f->as.drain.limit_ms = p->drain->limit_ms;
        break;
    case DGM_WIRE_WELCOME:
        get_welcome(&f->as.welcome, p->welcome, d);
        break;
    case DGM_WIRE_ANSWER:
        get_answer(&f->as.answer, p->answer, d);
        break;
    case DGM_WIRE_CREDIT:
        f->as.credit.credits = p->credit->credits;
        break;
    case DGM_WIRE_LANGUAGES:
        get_languages(&f->as.languages, p->languages, d);
        break;
    case DGM_WIRE_STATISTICS:
        get_statistics(&f->as.statistics, p->statistics, d);
        break;
    case DGM_WIRE_HEALTH:
        get_health(&f->as.health, p->health, d);
        break;
    case DGM_WIRE_ERROR:
        get_error(&f->as.error, p->error, d);
        break;
    default: /* without fields, or not known here */
        break;
    }
}

static void *allocate(void *m, size_t n)
{
    return dgm_wire_take(m, n);
}

static void release(void *m, void *p)
{
    (void)m;
    (void)p; /* the frame's memory goes as a whole */
}

/* The id of a body that may be broken behind it: field 1, which everybody writes first. */
static uint64_t peek_id(const uint8_t *body, size_t len)
{
    uint64_t id = 0;
    if (len == 0 || body[0] != 0x08)
        return 0;
    for (size_t i = 1; i < len && i <= 10; i++) {
        id |= (uint64_t)(body[i] & 0x7F) << (7 * (i - 1));
        if (body[i] < 0x80)
            return id;
    }
    return 0;
}

int dgm_wire_decode(dgm_wire_frame *out, enum dgm_wire_error_code *code, dgm_wire_memory *m,
                    const uint8_t *body, size_t len)
{
    ProtobufCAllocator allocator = {allocate, release, m};
    decoding d = {m, DGM_OK, "frame"};
    dgm_wire_memory_reset(m);
    *out = (dgm_wire_frame){.id = peek_id(body, len)};
    *code = DGM_WIRE_ERROR_NONE;
    const Dragoman__V1__Frame *p = dragoman__v1__frame__unpack(&allocator, len, body);
    if (p != NULL) {
        out->id = p->id;
        get_frame(out, p, &d);
    }
    if (m->failed == DGM_EBUSY) {
        *code = DGM_WIRE_ERROR_TOO_LARGE;
        return dgm_fail(DGM_ENOMEM,
                        "a frame of %zu bytes has too many parts: they would take more than "
                        "%zu bytes",
                        len, m->budget != 0 ? m->budget : (size_t)DGM_WIRE_BUDGET);
    }
    if (m->failed != DGM_OK) {
        *code = DGM_WIRE_ERROR_INTERNAL;
        return dgm_fail(DGM_ENOMEM, "no memory for a frame of %zu bytes", len);
    }
    *code = DGM_WIRE_ERROR_BAD_FRAME;
    if (p == NULL)
        return dgm_fail(DGM_EINPUT, "want a Frame of dragoman.v1, found %zu other bytes", len);
    if (d.rc == DGM_OK)
        *code = DGM_WIRE_ERROR_NONE;
    return d.rc;
}

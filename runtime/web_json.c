#include "runtime/web_json.h"

#include "runtime/config_json.h"

#include <stdio.h>
#include <string.h>

/* ---- in ---- */

enum kind { WHOLE, REAL, SWITCH };

static const struct option {
    const char *key;
    size_t at; /* in dgm_wire_options */
    enum kind kind;
} options[] = {
#define OPTION(key, kind)                                                                          \
    {                                                                                              \
#key, offsetof(dgm_wire_options, key), kind                                                \
    }
    OPTION(beam_size, WHOLE),         OPTION(n_best, WHOLE),
    OPTION(max_length, WHOLE),        OPTION(min_length, WHOLE),
    OPTION(length_penalty, REAL),     OPTION(no_repeat_ngram_size, WHOLE),
    OPTION(repetition_penalty, REAL), OPTION(deadline_ms, WHOLE),
    OPTION(alignment, SWITCH),
#undef OPTION
};

static int take_whole(uint32_t *to, const char *key, const json_t *value)
{
    const json_int_t n = json_is_integer(value) ? json_integer_value(value) : -1;
    if (n < 0 || n > UINT32_MAX)
        return dgm_fail(DGM_EINPUT, "%s: want a whole number from 0 on", key);
    *to = (uint32_t)n;
    return DGM_OK;
}

static int take_option(dgm_wire_options *o, const struct option *row, const json_t *value)
{
    char *at = (char *)o + row->at;
    switch (row->kind) {
    case WHOLE:
        return take_whole((uint32_t *)(void *)at, row->key, value);
    case REAL:
        if (!json_is_number(value))
            return dgm_fail(DGM_EINPUT, "%s: want a number", row->key);
        *(float *)(void *)at = (float)json_number_value(value);
        o->has_length_penalty |= row->at == offsetof(dgm_wire_options, length_penalty);
        return DGM_OK;
    default:
        if (!json_is_boolean(value))
            return dgm_fail(DGM_EINPUT, "%s: want true or false", row->key);
        *(bool *)(void *)at = json_is_true(value);
        return DGM_OK;
    }
}

static int take_retry(dgm_wire_options *o, const json_t *value)
{
    const char *text = json_string_value(value);
    if (text == NULL || (strcmp(text, "none") != 0 && strcmp(text, "checks") != 0))
        return dgm_fail(DGM_EINPUT, "retry: want \"none\" or \"checks\"");
    o->retry = strcmp(text, "checks") == 0 ? DGM_WIRE_RETRY_CHECKS : DGM_WIRE_RETRY_NONE;
    return DGM_OK;
}

static int take_language(const char **to, const char *key, const json_t *value)
{
    *to = json_string_value(value);
    if (*to == NULL || strlen(*to) != json_string_length(value))
        return dgm_fail(DGM_EINPUT, "%s: want the name of a language", key);
    return DGM_OK;
}

static int take_lines(dgm_web_request *r, const json_t *lines)
{
    dgm_wire_translate *t = &r->frame.as.translate;
    if (!json_is_array(lines) || json_array_size(lines) == 0)
        return dgm_fail(DGM_EINPUT, "lines: want a list of texts");
    if (json_array_size(lines) > DGM_WEB_LINES)
        return dgm_fail(DGM_EINPUT, "lines: want at most %d, found %zu", DGM_WEB_LINES,
                        json_array_size(lines));
    t->n_segments = json_array_size(lines);
    t->segments = r->segments;
    for (size_t i = 0; i < t->n_segments; i++) {
        const json_t *line = json_array_get(lines, i);
        if (!json_is_string(line))
            return dgm_fail(DGM_EINPUT, "lines: want texts, found something else at %zu", i);
        r->segments[i] = (dgm_wire_segment){.text = json_string_value(line),
                                            .text_len = json_string_length(line)};
    }
    return DGM_OK;
}

static int take_key(dgm_web_request *r, const char *key, const json_t *value)
{
    dgm_wire_translate *t = &r->frame.as.translate;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (strcmp(key, options[i].key) == 0)
            return take_option(&t->options, &options[i], value);
    if (strcmp(key, "retry") == 0)
        return take_retry(&t->options, value);
    if (strcmp(key, "src") == 0)
        return take_language(&t->src, key, value);
    if (strcmp(key, "tgt") == 0)
        return take_language(&t->tgt, key, value);
    if (strcmp(key, "lines") == 0)
        return take_lines(r, value);
    return dgm_fail(DGM_EINPUT, "no such key: '%s'", dgm_printable(key));
}

static int take_object(dgm_web_request *r)
{
    dgm_wire_translate *t = &r->frame.as.translate;
    const char *key;
    json_t *value;
    json_object_foreach(r->root, key, value) DGM_TRY(take_key(r, key, value));
    if (t->src == NULL || t->tgt == NULL || t->segments == NULL)
        return dgm_fail(DGM_EINPUT, "want src, tgt and lines");
    if (json_object_get(r->root, "deadline_ms") == NULL)
        t->options.deadline_ms = DGM_WEB_DEADLINE_MS;
    if (t->options.deadline_ms < 1 || t->options.deadline_ms > DGM_WEB_DEADLINE_MS)
        return dgm_fail(DGM_EINPUT, "deadline_ms: want 1 to %d, found %u", DGM_WEB_DEADLINE_MS,
                        t->options.deadline_ms);
    return DGM_OK;
}

int dgm_web_request_read(dgm_web_request *r, enum dgm_wire_error_code *code, const char *body,
                         size_t len)
{
    json_error_t error;
    *code = DGM_WIRE_ERROR_TOO_LARGE;
    if (len > DGM_WEB_BODY_BYTES)
        return dgm_fail(DGM_EINPUT, "want at most %d bytes, found more", DGM_WEB_BODY_BYTES);
    *code = DGM_WIRE_ERROR_BAD_REQUEST;
    *r = (dgm_web_request){.frame = {.id = 1, .kind = DGM_WIRE_TRANSLATE}};
    r->frame.as.translate.options.priority = DGM_WIRE_INTERACTIVE;
    r->root = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (r->root == NULL)
        return dgm_fail(DGM_EINPUT, "want JSON, found at line %d, column %d: %s", error.line,
                        error.column, dgm_printable(error.text));
    int rc = DGM_OK;
    if (!json_is_object(r->root))
        rc = dgm_fail(DGM_EINPUT, "want a JSON object, found another kind of value");
    if (rc == DGM_OK)
        rc = take_object(r);
    if (rc != DGM_OK)
        dgm_web_request_fini(r);
    return rc;
}

void dgm_web_request_fini(dgm_web_request *r)
{
    json_decref(r->root);
    r->root = NULL;
}

/* ---- out ---- */

static void put_text(json_t *o, const char *key, const char *text)
{
    (void)json_object_set_new(o, key, json_string(text));
}

static void put_whole(json_t *o, const char *key, uint64_t n)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)n));
}

static json_t *hypothesis(const dgm_wire_hypothesis *h)
{
    json_t *o = json_object(), *pairs = json_array();
    for (size_t i = 0; i < h->n_alignment; i++)
        (void)json_array_append_new(pairs, json_pack("[I, I]", (json_int_t)h->alignment[2 * i],
                                                     (json_int_t)h->alignment[2 * i + 1]));
    (void)json_object_set_new(o, "text", json_stringn(h->text, h->text_len));
    (void)json_object_set_new(o, "score", json_real(h->score));
    (void)json_object_set_new(o, "alignment", pairs);
    return o;
}

static json_t *check_names(uint32_t checks)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{DGM_WIRE_CHECK_WRONG_SCRIPT, "wrong_script"},
                 {DGM_WIRE_CHECK_LOOPED, "looped"},
                 {DGM_WIRE_CHECK_LENGTH_RATIO, "length_ratio"},
                 {DGM_WIRE_CHECK_COPIED, "copied"},
                 {DGM_WIRE_CHECK_NO_END, "no_end"}};
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if ((checks & names[i].bit) != 0)
            (void)json_array_append_new(list, json_string(names[i].name));
    return list;
}

static void put_retried(json_t *o, const dgm_wire_answer *a)
{
    (void)json_object_set_new(o, "retried", json_boolean(a->retried));
    if (!a->retried)
        return;
    (void)json_object_set_new(o, "first_score", json_real(a->first_score));
    (void)json_object_set_new(o, "second_score", json_real(a->second_score));
    (void)json_object_set_new(o, "first_checks", check_names(a->first_checks));
    (void)json_object_set_new(o, "second_checks", check_names(a->second_checks));
    (void)json_object_set_new(o, "second", json_boolean(a->second));
}

static json_t *answer(const dgm_wire_answer *a)
{
    json_t *o = json_object(), *hyps = json_array();
    for (size_t i = 0; i < a->n_hyps; i++)
        (void)json_array_append_new(hyps, hypothesis(&a->hyps[i]));
    put_text(o, "status", dgm_wire_status_name(a->status));
    put_text(o, "message", a->message);
    (void)json_object_set_new(o, "hypotheses", hyps);
    (void)json_object_set_new(o, "checks", check_names(a->checks));
    put_whole(o, "src_tokens", a->src_tokens);
    put_whole(o, "tgt_tokens", a->tgt_tokens);
    put_whole(o, "src_unknown", a->src_unknown);
    put_whole(o, "tgt_unknown", a->tgt_unknown);
    put_whole(o, "queue_us", a->queue_us);
    put_whole(o, "compute_us", a->compute_us);
    put_whole(o, "parts", a->parts);
    (void)json_object_set_new(o, "absent_mass", json_real(a->absent_mass));
    (void)json_object_set_new(o, "cached", json_boolean(a->cached));
    put_retried(o, a);
    if (a->status == DGM_WIRE_STATUS_FAILED) {
        put_text(o, "code", dgm_wire_error_name(a->code));
        (void)json_object_set_new(o, "retry", json_boolean(a->retry));
        put_whole(o, "retry_after_ms", a->retry_after_ms);
    }
    return o;
}

static json_t *language_list(const dgm_wire_languages *l)
{
    json_t *list = json_array();
    for (size_t i = 0; i < l->n; i++) {
        json_t *o = json_object(), *aliases = json_array();
        put_text(o, "code", l->at[i].code);
        put_text(o, "name", l->at[i].name);
        for (size_t k = 0; k < l->at[i].n_aliases; k++)
            (void)json_array_append_new(aliases, json_string(l->at[i].aliases[k]));
        (void)json_object_set_new(o, "aliases", aliases);
        (void)json_object_set_new(o, "source", json_boolean(l->at[i].source));
        (void)json_object_set_new(o, "target", json_boolean(l->at[i].target));
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *health(const dgm_wire_health *h)
{
    static const char *const states[] = {"unknown", "starting", "ready", "draining", "stalled"};
    const size_t n = sizeof states / sizeof states[0];
    json_t *o = json_object();
    put_text(o, "state", states[h->state < n ? h->state : 0]);
    put_text(o, "message", h->message);
    put_whole(o, "queued_tokens", h->queued_tokens);
    put_whole(o, "in_flight", h->in_flight);
    put_whole(o, "tick_age_ms", h->tick_age_ms);
    return o;
}

static void put_welcome(json_t *o, const dgm_wire_welcome *w)
{
    const uint32_t lines = w->limits.request_segments;
    put_text(o, "server", w->server);
    put_text(o, "model", w->model);
    put_whole(o, "beam_size", w->limits.beam_size);
    put_whole(o, "n_best", w->limits.n_best);
    put_whole(o, "lines", lines < DGM_WEB_LINES ? lines : DGM_WEB_LINES);
}

static void put_answer(json_t *o, const dgm_wire_answer *a)
{
    json_t *list = json_object_get(o, "answers");
    if (list == NULL) {
        list = json_array();
        (void)json_object_set_new(o, "answers", list);
    }
    while (list != NULL && json_array_size(list) <= a->segment)
        if (json_array_append_new(list, json_null()) != 0)
            return;
    (void)json_array_set_new(list, a->segment, answer(a));
}

bool dgm_web_reply_take(void *ctx, const dgm_wire_frame *f)
{
    dgm_web_reply *r = ctx;
    if (f->kind == DGM_WIRE_ERROR) {
        dgm_web_reply_fail(r, f->as.error.code, f->as.error.message, f->as.error.retry_after_ms);
        return true;
    }
    if (r->root == NULL)
        r->root = json_object();
    if (f->kind == DGM_WIRE_WELCOME && r->until != DGM_WIRE_ANSWER)
        put_welcome(r->root, &f->as.welcome);
    else if (f->kind == DGM_WIRE_LANGUAGES)
        (void)json_object_set_new(r->root, "languages", language_list(&f->as.languages));
    else if (f->kind == DGM_WIRE_HEALTH && f->id != 0)
        (void)json_object_set_new(r->root, "health", health(&f->as.health));
    else if (f->kind == DGM_WIRE_ANSWER)
        put_answer(r->root, &f->as.answer);
    return f->id != 0 && f->kind == r->until && (f->kind != DGM_WIRE_ANSWER || f->as.answer.last);
}

void dgm_web_reply_fail(dgm_web_reply *r, enum dgm_wire_error_code code, const char *message,
                        uint32_t retry_after_ms)
{
    json_t *said = json_string(message), *o = json_object();
    if (said == NULL) /* not UTF-8 */
        said = json_string(dgm_printable(message));
    put_text(o, "code", dgm_wire_error_name(code));
    (void)json_object_set_new(o, "message", said);
    (void)json_object_set_new(o, "retry", json_boolean(dgm_wire_error_retry(code)));
    put_whole(o, "retry_after_ms", retry_after_ms);
    json_decref(r->root);
    r->root = json_object();
    (void)json_object_set_new(r->root, "error", o);
    r->error = code;
    r->retry_after_ms = retry_after_ms;
}

void dgm_web_reply_fini(dgm_web_reply *r)
{
    json_decref(r->root);
    r->root = NULL;
}

/* Each message: the first byte chooses the kind, the rest is the message. What decodes is encoded, and decodes to the same
 * bytes again; texts are text. */
#include "base/utf8.h"
#include "proto/wire.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t kinds[] = {
    DGM_WIRE_HELLO,
    DGM_WIRE_TRANSLATE,
    DGM_WIRE_CANCEL,
    DGM_WIRE_LANGUAGES_REQUEST,
    DGM_WIRE_STATISTICS_REQUEST,
    DGM_WIRE_HEALTH_REQUEST,
    DGM_WIRE_DRAIN,
    DGM_WIRE_WELCOME,
    DGM_WIRE_ANSWER,
    DGM_WIRE_CREDIT,
    DGM_WIRE_LANGUAGES,
    DGM_WIRE_STATISTICS,
    DGM_WIRE_HEALTH,
    DGM_WIRE_ERROR,
};

static size_t put_varint(uint8_t *to, size_t v)
{
    size_t n = 0;
    for (; v > 127; v >>= 7)
        to[n++] = (uint8_t)(v | 128);
    to[n++] = (uint8_t)v;
    return n;
}

static void check_text(const char *s)
{
    size_t bad;
    DGM_ASSERT(s != NULL && dgm_utf8_check(s, strlen(s), &bad));
}

static void check_translate(const dgm_wire_translate *t)
{
    check_text(t->src);
    check_text(t->tgt);
    for (size_t i = 0; i < t->n_segments; i++) {
        const dgm_wire_segment *s = &t->segments[i];
        size_t bad = 0;
        const bool good = dgm_utf8_check(s->text, s->text_len, &bad);
        DGM_ASSERT(s->text[s->text_len] == '\0' && s->prefix[s->prefix_len] == '\0');
        DGM_ASSERT(good ? s->text_bad == DGM_WIRE_TEXT_GOOD : s->text_bad == (int64_t)bad);
        DGM_ASSERT(s->options != NULL);
        check_text(s->src);
        check_text(s->tgt);
    }
}

static void check_answer(const dgm_wire_answer *a)
{
    check_text(a->message);
    check_text(a->worst_layer);
    for (size_t i = 0; i < a->n_hyps; i++) {
        check_text(a->hyps[i].text);
        DGM_ASSERT(strlen(a->hyps[i].text) == a->hyps[i].text_len);
        for (size_t k = 0; k < a->hyps[i].n_tokens; k++)
            check_text(a->hyps[i].tokens[k]);
    }
}

static void check_texts(const char *const *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_text(at[i]);
}

static void check_welcome(const dgm_wire_welcome *w)
{
    check_text(w->server);
    check_text(w->model);
    check_texts(w->sources, w->n_sources);
    check_texts(w->targets, w->n_targets);
}

static void check_languages(const dgm_wire_languages *l)
{
    for (size_t i = 0; i < l->n; i++) {
        check_text(l->at[i].code);
        check_text(l->at[i].name);
        check_texts(l->at[i].aliases, l->at[i].n_aliases);
    }
}

static void check_message(const dgm_wire_frame *f)
{
    switch (f->kind) {
    case DGM_WIRE_HELLO:
        check_text(f->as.hello.token);
        check_text(f->as.hello.client);
        break;
    case DGM_WIRE_TRANSLATE:
        check_translate(&f->as.translate);
        break;
    case DGM_WIRE_WELCOME:
        check_welcome(&f->as.welcome);
        break;
    case DGM_WIRE_ANSWER:
        check_answer(&f->as.answer);
        break;
    case DGM_WIRE_LANGUAGES:
        check_languages(&f->as.languages);
        break;
    case DGM_WIRE_STATISTICS:
        for (size_t i = 0; i < f->as.statistics.n; i++)
            check_text(f->as.statistics.at[i].name);
        break;
    case DGM_WIRE_HEALTH:
        check_text(f->as.health.message);
        break;
    case DGM_WIRE_ERROR:
        check_text(f->as.error.message);
        break;
    default:
        break;
    }
}

/* Encoded, decoded and encoded again it is the same. */
static void check_again(const dgm_wire_frame *f)
{
    static dgm_wire_memory scratch, memory;
    dgm_frame_buffer one = {0}, two = {0};
    dgm_wire_frame again;
    enum dgm_wire_error_code code;
    size_t n_one, n_two;
    if (dgm_wire_encode(&one, &scratch, f) != DGM_OK)
        abort();
    const uint8_t *bytes = dgm_frame_buffer_bytes(&one, &n_one);
    if (dgm_wire_decode(&again, &code, &memory, bytes + DGM_FRAME_HEAD, n_one - DGM_FRAME_HEAD) !=
            DGM_OK ||
        again.kind != f->kind || again.id != f->id ||
        dgm_wire_encode(&two, &scratch, &again) != DGM_OK)
        abort();
    const uint8_t *same = dgm_frame_buffer_bytes(&two, &n_two);
    DGM_ASSERT(n_one == n_two && memcmp(bytes, same, n_one) == 0);
    dgm_frame_buffer_fini(&one);
    dgm_frame_buffer_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dgm_wire_memory memory = {.budget = 1 << 16}; /* which 4 KB of empty parts go beyond */
    if (size == 0)
        return 0;
    uint8_t *body = malloc(size + 16); /* id 3, then one field of that kind */
    size_t n = 0;
    body[n++] = 8;
    body[n++] = 3;
    n += put_varint(body + n, (size_t)kinds[data[0] % sizeof kinds] << 3 | 2);
    n += put_varint(body + n, size - 1);
    memcpy(body + n, data + 1, size - 1);
    dgm_wire_frame f;
    enum dgm_wire_error_code code;
    const int rc = dgm_wire_decode(&f, &code, &memory, body, n + size - 1);
    DGM_ASSERT(f.id == 3 && memory.used <= memory.budget);
    DGM_ASSERT((rc == DGM_OK) == (code == DGM_WIRE_ERROR_NONE));
    if (rc == DGM_OK) {
        DGM_ASSERT(f.kind == (enum dgm_wire_kind)kinds[data[0] % sizeof kinds]);
        check_message(&f);
        check_again(&f);
    }
    free(body);
    return 0;
}

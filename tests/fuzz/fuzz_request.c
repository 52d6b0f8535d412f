/* A Translate message as the server takes it: refused in one sentence with the code that says why, or lines with options that decoding can
 * live with. */
#include "base/utf8.h"
#include "runtime/server_state.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 6206, MAX_SOURCE = 40, MAX_TARGET = 60, MOST_SEGMENTS = 16, SEGMENT_BYTES = 1000 };

static int direction(void *ctx, dgm_segment_config *source, dgm_stream_target *target,
                     const char *src, const char *tgt)
{
    const dgm_tokenizer *t = ctx;
    if (src[0] == '\0' || tgt[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "want a language");
    DGM_TRY(dgm_tok_lang(t, &source->code, src));
    DGM_TRY(dgm_tok_lang(t, &target->code, tgt));
    source->lang = dgm_tok_piece(t, source->code);
    target->lang = dgm_tok_piece(t, target->code);
    return DGM_OK;
}

static dgm_server_config config(void)
{
    dgm_tokenizer *t;
    if (dgm_tokenizer_open(&t, DGM_SOURCE_DIR "/models/multi30k-token", VOCAB) != DGM_OK) {
        (void)fprintf(stderr, "%s\n", dgm_error_text());
        abort();
    }
    return (dgm_server_config){.segment_bytes = SEGMENT_BYTES,
                               .base = {.tok = t,
                                        .source = {.tok = t, .max_ids = MAX_SOURCE},
                                        .start_id = 2,
                                        .eos_id = 2,
                                        .max_target = MAX_TARGET,
                                        .decode = {.beam = 4,
                                                   .n_best = 1,
                                                   .max_length = MAX_TARGET,
                                                   .length_penalty = 1,
                                                   .repetition_penalty = 1,
                                                   .sampling_topp = 1,
                                                   .temperature = 1,
                                                   .eos_id = 2}},
                               .max_beam = 4,
                               .direction = direction,
                               .direction_ctx = t};
}

static void check_options(const dgm_decode_options *d)
{
    DGM_ASSERT(d->beam >= 1 && d->beam <= (d->sampling ? 1 : 4));
    DGM_ASSERT(d->n_best >= 1 && d->n_best <= d->beam);
    DGM_ASSERT(d->max_length >= 3 && d->max_length <= MAX_TARGET);
    DGM_ASSERT(d->min_length >= 0 && d->min_length <= d->max_length && d->no_repeat_ngram >= 0);
    DGM_ASSERT(isfinite(d->length_penalty) && d->repetition_penalty > 0 &&
               isfinite(d->repetition_penalty) && d->temperature > 0 && isfinite(d->temperature));
    DGM_ASSERT(d->sampling_topk >= 0 && d->sampling_topp > 0 && d->sampling_topp <= 1);
}

static void check_line(const dgm_request *r, const dgm_wire_segment *s)
{
    const dgm_stream_line *l = &r->line;
    const size_t n = (size_t)l->segments.n;
    DGM_ASSERT((l->left > 0) == (n > 0) && l->left == l->segments.n);
    DGM_ASSERT(n == 0 || (s->text_bad == DGM_WIRE_TEXT_GOOD && s->text_len <= SEGMENT_BYTES));
    for (size_t i = 0; i < n; i++)
        DGM_ASSERT(l->segments.at[i].n >= 2 && l->segments.at[i].n <= MAX_SOURCE);
    DGM_ASSERT(r->deadline_ns == 0 || r->deadline_ns > r->arrived_ns);
}

static void check(const dgm_wire_translate *t)
{
    static dgm_server_config cfg;
    const size_t n = t->n_segments < MOST_SEGMENTS ? t->n_segments : MOST_SEGMENTS;
    enum dgm_wire_error_code code;
    if (cfg.segment_bytes == 0)
        cfg = config();
    dgm_server_job *j = calloc(1, sizeof *j + n * sizeof j->requests[0]);
    DGM_ASSERT(j != NULL);
    j->n = (int)n;
    for (size_t i = 0; i < n; i++)
        j->requests[i] = (dgm_request){.owner = j, .number = (uint32_t)i, .arrived_ns = 1};
    const int rc = dgm_server_read(j, &code, t, &cfg);
    DGM_ASSERT(rc == DGM_OK || rc == DGM_EINPUT);
    if (rc != DGM_OK) {
        DGM_ASSERT(code == DGM_WIRE_ERROR_BAD_REQUEST || code == DGM_WIRE_ERROR_LANGUAGE ||
                   code == DGM_WIRE_ERROR_UNSUPPORTED);
        size_t bad;
        DGM_ASSERT(dgm_error_text()[0] != '\0' && strchr(dgm_error_text(), '\n') == NULL);
        DGM_ASSERT(dgm_utf8_check(dgm_error_text(), strlen(dgm_error_text()), &bad));
    }
    for (size_t i = 0; rc == DGM_OK && i < n; i++) {
        check_options(&j->requests[i].cfg.decode);
        check_line(&j->requests[i], &t->segments[i]);
    }
    dgm_server_free_job(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dgm_wire_memory memory = {.budget = 1 << 20};
    dgm_wire_frame f;
    enum dgm_wire_error_code code;
    uint8_t head[8] = {3 << 3 | 2}; /* Frame.translate */
    size_t at = 1, left = size;
    for (; left > 127; left >>= 7)
        head[at++] = (uint8_t)(left | 128);
    head[at++] = (uint8_t)left;
    uint8_t *body = malloc(at + size);
    DGM_ASSERT(body != NULL);
    memcpy(body, head, at);
    if (size > 0)
        memcpy(body + at, data, size);
    if (dgm_wire_decode(&f, &code, &memory, body, at + size) == DGM_OK)
        check(&f.as.translate);
    free(body);
    return 0;
}

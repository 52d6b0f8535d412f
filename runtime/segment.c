#include "runtime/segment.h"

#include "runtime/split.h"

#include <stdlib.h>
#include <string.h>

/* Shorter pieces than this are not tried: a character of three bytes may become eighteen ("U+FDFA"), not more. */
enum { MIN_PIECE_BYTES = 4 };

static int encode(dgm_segment *seg, const dgm_segment_config *cfg, const char *text, dgm_span span)
{
    *seg = (dgm_segment){.begin = span.begin, .end = span.end};
    return dgm_tok_encode(cfg->tok, &seg->ids, &seg->n, text + span.begin, span.end - span.begin,
                          cfg->code, cfg->suffix);
}

/* push - takes over seg->ids, also when it fails. */
static int push(dgm_segments *s, dgm_segment seg)
{
    if (s->n == s->cap) {
        const int cap = s->cap == 0 ? 1 : 2 * s->cap;
        dgm_segment *grown = realloc(s->at, (size_t)cap * sizeof *grown);
        if (grown == NULL) {
            free(seg.ids);
            return dgm_fail(DGM_ENOMEM, "out of memory for a line of many sentences");
        }
        s->at = grown;
        s->cap = cap;
    }
    s->at[s->n++] = seg;
    return DGM_OK;
}

static void drop_from(dgm_segments *s, int n)
{
    while (s->n > n)
        free(s->at[--s->n].ids);
}

/* Cuts `span` at word borders into parts of at most max_bytes; *fits says whether all of them are short enough. */
static int try_words(dgm_segments *out, bool *fits, const dgm_segment_config *cfg, const char *text,
                     dgm_span span, size_t max_bytes)
{
    dgm_span *words = NULL;
    int n = 0, rc;
    *fits = true;
    DGM_TRY(dgm_split_words(&words, &n, text + span.begin, span.end - span.begin, cfg->lang,
                            max_bytes));
    rc = DGM_OK;
    for (int i = 0; rc == DGM_OK && *fits && i < n; i++) {
        const dgm_span part = {span.begin + words[i].begin, span.begin + words[i].end};
        dgm_segment seg;
        rc = encode(&seg, cfg, text, part);
        if (rc == DGM_OK) {
            *fits = seg.n <= cfg->max_ids;
            rc = push(out, seg);
        }
    }
    free(words);
    return rc;
}

/* How many bytes fit is not known before they are tokenised: begins at the average and halves. */
static int cut_words(dgm_segments *out, const dgm_segment_config *cfg, const char *text,
                     dgm_span span, int n_ids)
{
    const int mark = out->n;
    const size_t bytes = span.end - span.begin;
    size_t max_bytes = bytes * (size_t)cfg->max_ids / (size_t)n_ids;
    for (; max_bytes >= MIN_PIECE_BYTES; max_bytes /= 2) {
        bool fits;
        DGM_TRY(try_words(out, &fits, cfg, text, span, max_bytes));
        if (fits)
            return DGM_OK;
        drop_from(out, mark);
    }
    return dgm_fail(DGM_ETEXT, "%zu bytes cannot be split into sources of %d tokens", bytes,
                    cfg->max_ids);
}

static int cut_sentences(dgm_segments *out, const dgm_segment_config *cfg, const char *text,
                         size_t len)
{
    dgm_span *spans = NULL;
    int n = 0, rc = DGM_OK;
    DGM_TRY(dgm_split_sentences(&spans, &n, text, len, cfg->lang));
    for (int i = 0; rc == DGM_OK && i < n; i++) {
        dgm_segment seg;
        rc = encode(&seg, cfg, text, spans[i]);
        if (rc != DGM_OK)
            break;
        if (seg.n <= cfg->max_ids) {
            rc = push(out, seg);
        } else {
            free(seg.ids);
            rc = cut_words(out, cfg, text, spans[i], seg.n);
        }
    }
    free(spans);
    return rc;
}

int dgm_segment_line(dgm_segments *out, const dgm_segment_config *cfg, const char *text, size_t len)
{
    dgm_segment whole = {0};
    int rc = DGM_OK;
    *out = (dgm_segments){0};
    if (cfg->split != DGM_SPLIT_ALWAYS) {
        DGM_TRY(encode(&whole, cfg, text, (dgm_span){0, len}));
        if (whole.n <= cfg->max_ids)
            return push(out, whole);
        free(whole.ids);
    }
    if (cfg->split == DGM_SPLIT_NEVER)
        return dgm_fail(DGM_ETEXT, "too long: want at most %d tokens, found %d (--split never)",
                        cfg->max_ids, whole.n);
    rc = cut_sentences(out, cfg, text, len);
    if (rc != DGM_OK)
        dgm_segments_free(out);
    return rc;
}

void dgm_segments_free(dgm_segments *s)
{
    drop_from(s, 0);
    free(s->at);
    *s = (dgm_segments){0};
}

static bool writes_without_spaces(const char *lang)
{
    static const char *const scripts[] = {"_Hans", "_Hant", "_Jpan"};
    const char *script = strchr(lang, '_');
    for (size_t i = 0; script != NULL && i < sizeof scripts / sizeof scripts[0]; i++) {
        if (strcmp(script, scripts[i]) == 0)
            return true;
    }
    return false;
}

const char *dgm_segment_gap(size_t *len, const dgm_segments *s, int i, const char *text,
                            const char *target_lang)
{
    *len = 0;
    if (i == 0 || writes_without_spaces(target_lang))
        return "";
    const size_t begin = s->at[i - 1].end;
    *len = s->at[i].begin - begin;
    if (*len > 0)
        return text + begin;
    *len = 1;
    return " ";
}

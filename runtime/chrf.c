#include "runtime/metric_words.h"
#include "runtime/metrics.h"

#include <stdlib.h>
#include <string.h>

/* Code points without white space; ids [len] is room enough. */
static size_t characters(int32_t *ids, const char *line, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        const size_t space = dgm_space_at(line + i, len - i);
        if (space > 0) {
            i += space;
            continue;
        }
        int32_t c = (unsigned char)line[i++];
        while (i < len && ((unsigned char)line[i] & 0xC0) == 0x80)
            c = c << 6 | ((unsigned char)line[i++] & 0x3F);
        ids[n++] = c; /* not the code point, but one number for each */
    }
    return n;
}

/* Code points of a word, as far as it matters: is it one? */
static bool single(const dgm_word *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->len && n < 2; i++)
        n += ((unsigned char)w->text[i] & 0xC0) != 0x80;
    return n == 1;
}

static bool punctuation(char c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

/* One mark at the end of a word, or else at its beginning, is a word of its own. */
static int list_words(dgm_words *out, const char *line, size_t len)
{
    dgm_words whole = {0};
    int rc = dgm_words_split(&whole, line, len);
    for (size_t i = 0; rc == DGM_OK && i < whole.n; i++) {
        const dgm_word *w = &whole.at[i];
        size_t cut = 0;
        if (!single(w) && punctuation(w->text[w->len - 1]))
            cut = w->len - 1;
        else if (!single(w) && punctuation(w->text[0]))
            cut = 1;
        if (cut > 0)
            rc = dgm_words_push(out, w->text, cut);
        if (rc == DGM_OK)
            rc = dgm_words_push(out, w->text + cut, w->len - cut);
    }
    free(whole.at);
    return rc;
}

/* add_orders - n-grams of a line whose reference has none do not count against it. */
static int add_orders(dgm_ngram_count *sum, int orders, const int32_t *hyp, size_t n_hyp,
                      const int32_t *ref, size_t n_ref)
{
    dgm_ngram_count line[DGM_CHRF_CHARS] = {{0}};
    DGM_TRY(dgm_ngrams_match(line, orders, hyp, n_hyp, ref, n_ref));
    for (int n = 0; n < orders; n++) {
        sum[n].hyp += line[n].ref > 0 ? line[n].hyp : 0;
        sum[n].ref += line[n].ref;
        sum[n].match += line[n].match;
    }
    return DGM_OK;
}

static int add_words(dgm_ngram_count *sum, int32_t *ids, const char *hyp, size_t hyp_len,
                     const char *ref, size_t ref_len)
{
    dgm_words h = {0}, r = {0};
    int rc = list_words(&h, hyp, hyp_len);
    if (rc == DGM_OK)
        rc = list_words(&r, ref, ref_len);
    if (rc == DGM_OK)
        rc = dgm_words_number(ids, &h, ids + h.n, &r);
    if (rc == DGM_OK)
        rc = add_orders(sum, DGM_CHRF_WORDS, ids, h.n, ids + h.n, r.n);
    free(h.at);
    free(r.at);
    return rc;
}

int dgm_chrf_add(dgm_chrf *sum, const char *hyp, size_t hyp_len, const char *ref, size_t ref_len)
{
    int32_t *ids = calloc(hyp_len + ref_len + 1, sizeof *ids); /* a word has at least a byte */
    if (ids == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a line of %zu bytes", hyp_len + ref_len);
    const size_t h = characters(ids, hyp, hyp_len), r = characters(ids + h, ref, ref_len);
    int rc = add_orders(sum->order, DGM_CHRF_CHARS, ids, h, ids + h, r);
    if (rc == DGM_OK)
        rc = add_words(sum->order + DGM_CHRF_CHARS, ids, hyp, hyp_len, ref, ref_len);
    free(ids);
    return rc;
}

double dgm_chrf_score(const dgm_chrf *sum)
{
    const double beta2 = 4;
    double precision = 0, recall = 0;
    int orders = 0;
    for (int n = 0; n < DGM_CHRF_CHARS + DGM_CHRF_WORDS; n++) {
        const dgm_ngram_count *c = &sum->order[n];
        if (c->hyp == 0 || c->ref == 0)
            continue;
        precision += (double)c->match / (double)c->hyp;
        recall += (double)c->match / (double)c->ref;
        orders++;
    }
    if (precision + recall <= 0)
        return 0;
    precision /= orders;
    recall /= orders;
    return 100 * (1 + beta2) * precision * recall / (beta2 * precision + recall);
}

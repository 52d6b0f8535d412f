#include "runtime/metric_words.h"
#include "runtime/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- mteval-v13a: a line to words; each pass reads one buffer and writes another ---- */

typedef struct text {
    char *at; /* room for what a pass may make of it: each byte becomes at most 3 */
    size_t len;
} text;

/* replace - every `word` becomes `with`, which is shorter. */
static void replace(text *t, const char *word, const char *with)
{
    const size_t n = strlen(word), m = strlen(with);
    size_t to = 0;
    for (size_t i = 0; i < t->len;) {
        if (t->len - i >= n && memcmp(t->at + i, word, n) == 0) {
            memcpy(t->at + to, with, m);
            to += m;
            i += n;
        } else {
            t->at[to++] = t->at[i++];
        }
    }
    t->len = to;
}

static void put(text *to, const char *bytes, size_t n)
{
    memcpy(to->at + to->len, bytes, n);
    to->len += n;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool stop(char c)
{
    return c == '.' || c == ',';
}

/* ASCII punctuation, but not the apostrophe, comma, hyphen and full stop. */
static bool apart(char c)
{
    return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
           (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

static void part_punctuation(text *to, const text *from)
{
    for (size_t i = 0; i < from->len; i++) {
        const char c = from->at[i], with[3] = {' ', c, ' '};
        if (apart(c))
            put(to, with, 3);
        else
            put(to, &c, 1);
    }
}

/* A pair of neighbours for which `is` holds is written as `first` and `second` say: 's' a space, 'c' the byte. */
static void part_pairs(text *to, const text *from, bool (*is)(char, char), bool before, bool behind)
{
    size_t i = 0;
    while (i < from->len) {
        const char *c = from->at + i;
        if (i + 1 == from->len || !is(c[0], c[1])) {
            put(to, c, 1);
            i++;
            continue;
        }
        put(to, " ", before);
        put(to, c, 1);
        put(to, " ", 1);
        put(to, c + 1, 1);
        put(to, " ", behind);
        i += 2;
    }
}

static bool stop_behind_other(char a, char b)
{
    return !digit(a) && stop(b);
}

static bool stop_before_other(char a, char b)
{
    return stop(a) && !digit(b);
}

static bool hyphen_behind_digit(char a, char b)
{
    return digit(a) && b == '-';
}

/* tokenise - words point into *room, which the caller frees. */
static int tokenise(dgm_words *words, char **room, const char *line, size_t len)
{
    /* The passes make at most 3, 2, 2 and 2 bytes of one. */
    const size_t most = 24 * (len + 2);
    *room = malloc(2 * most);
    if (*room == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a line of %zu bytes", len);
    text a = {*room, 0}, b = {*room + most, 0};
    put(&a, " ", 1);
    put(&a, line, len);
    put(&a, " ", 1);
    replace(&a, "<skipped>", "");
    replace(&a, "&quot;", "\"");
    replace(&a, "&amp;", "&");
    replace(&a, "&lt;", "<");
    replace(&a, "&gt;", ">");
    part_punctuation(&b, &a);
    a.len = 0;
    part_pairs(&a, &b, stop_behind_other, false, true);
    b.len = 0;
    part_pairs(&b, &a, stop_before_other, true, false);
    a.len = 0;
    part_pairs(&a, &b, hyphen_behind_digit, false, true);
    return dgm_words_split(words, a.at, a.len);
}

/* ---- counts and score ---- */

int dgm_bleu_add_ids(dgm_bleu *sum, const int32_t *hyp, size_t n_hyp, const int32_t *ref,
                     size_t n_ref)
{
    DGM_TRY(dgm_ngrams_match(sum->order, DGM_BLEU_ORDERS, hyp, n_hyp, ref, n_ref));
    sum->hyp += (int64_t)n_hyp;
    sum->ref += (int64_t)n_ref;
    return DGM_OK;
}

static int add_words(dgm_bleu *sum, const dgm_words *hyp, const dgm_words *ref)
{
    int32_t *ids = calloc(hyp->n + ref->n + 1, sizeof *ids);
    if (ids == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the words of a line");
    int rc = dgm_words_number(ids, hyp, ids + hyp->n, ref);
    if (rc == DGM_OK)
        rc = dgm_bleu_add_ids(sum, ids, hyp->n, ids + hyp->n, ref->n);
    free(ids);
    return rc;
}

int dgm_bleu_add(dgm_bleu *sum, const char *hyp, size_t hyp_len, const char *ref, size_t ref_len)
{
    dgm_words h = {0}, r = {0};
    char *hyp_room = NULL, *ref_room = NULL;
    int rc = tokenise(&h, &hyp_room, hyp, hyp_len);
    if (rc == DGM_OK)
        rc = tokenise(&r, &ref_room, ref, ref_len);
    if (rc == DGM_OK)
        rc = add_words(sum, &h, &r);
    free(h.at);
    free(r.at);
    free(hyp_room);
    free(ref_room);
    return rc;
}

double dgm_bleu_score(const dgm_bleu *sum)
{
    double logs = 0, halving = 1;
    if (sum->order[0].match == 0)
        return 0;
    for (int n = 0; n < DGM_BLEU_ORDERS; n++) {
        const dgm_ngram_count *c = &sum->order[n];
        if (c->hyp == 0)
            return 0; /* no n-gram of this order, and orders are not left out */
        if (c->match == 0)
            halving *= 2;
        const double precision = c->match > 0 ? 100.0 * (double)c->match / (double)c->hyp
                                              : 100.0 / (halving * (double)c->hyp);
        logs += log(precision);
    }
    const double brevity = sum->hyp < sum->ref ? exp(1 - (double)sum->ref / (double)sum->hyp) : 1;
    return brevity * exp(logs / DGM_BLEU_ORDERS);
}

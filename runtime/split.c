#include "runtime/split.h"

#include "runtime/split_icu.h"
#include "runtime/split_rules.h"
#include "runtime/split_text.h"

#include <stdlib.h>

/* A growing list of spans. */
typedef struct list {
    dgm_span *rows;
    int n, cap;
} list;

static int list_add(list *l, dgm_span s)
{
    if (l->n == l->cap) {
        const int cap = l->cap == 0 ? 4 : l->cap * 2;
        dgm_span *grown = realloc(l->rows, (size_t)cap * sizeof *grown);
        if (grown == NULL)
            return dgm_fail(DGM_ENOMEM, "no memory for %d parts of a line", cap);
        l->rows = grown;
        l->cap = cap;
    }
    l->rows[l->n++] = s;
    return DGM_OK;
}

/* Hands the list out, or frees it after a failure. Blank text is one empty span, so that *n >= 1. */
static int list_finish(list *l, int rc, dgm_span **spans, int *n)
{
    if (rc == DGM_OK && l->n == 0)
        rc = list_add(l, (dgm_span){0, 0});
    if (rc != DGM_OK) {
        free(l->rows);
        return rc;
    }
    *spans = l->rows;
    *n = l->n;
    return DGM_OK;
}

int dgm_split_sentences(dgm_span **spans, int *n, const char *text, size_t len, const char *lang)
{
    dgm_breaker *b;
    DGM_TRY(dgm_breaker_open(&b, DGM_BREAK_SENTENCE, text, len, lang));
    list l = {0};
    int rc = DGM_OK;
    dgm_has left_has = {false, false};
    for (size_t from = 0, to; rc == DGM_OK && dgm_breaker_next(b, &to); from = to) {
        const dgm_span s = dgm_span_trim(text, (dgm_span){from, to});
        if (s.begin == s.end)
            continue;
        const dgm_has has = dgm_span_has(text, s);
        if (l.n > 0 && dgm_split_belong(text, l.rows[l.n - 1], left_has, s, has, lang)) {
            l.rows[l.n - 1].end = s.end;
            left_has.letter = left_has.letter || has.letter;
            left_has.word = left_has.word || has.word;
        } else {
            rc = list_add(&l, s);
            left_has = has;
        }
    }
    dgm_breaker_close(b);
    return list_finish(&l, rc, spans, n);
}

/* A walk over borders: last is the one it stands on, next the one that follows (SIZE_MAX: none). */
typedef struct walk {
    dgm_breaker *b;
    size_t last, next;
} walk;

/* Goes to the next border if that is not beyond limit. */
static bool step(walk *w, size_t limit)
{
    if (w->next > limit)
        return false;
    w->last = w->next;
    if (!dgm_breaker_next(w->b, &w->next))
        w->next = SIZE_MAX;
    return true;
}

static bool ends_clause(const char *text, size_t begin, size_t at)
{
    static const int32_t marks[] = {',',    ';',    ':',    0x2013, 0x2014, 0x060C,
                                    0x061B, 0x3001, 0xFF0C, 0xFF1A, 0xFF1B, 0x0964};
    const dgm_span s = dgm_span_trim(text, (dgm_span){begin, at});
    const int32_t c = s.begin >= s.end ? 0 : dgm_char_at(text, dgm_char_previous(text, s.end));
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (c == marks[i])
            return true;
    return false;
}

typedef struct word_walk {
    walk lines, chars;
    size_t clause; /* the last border of lines that ends a clause */
} word_walk;

/* Where to cut what begins at `begin` and goes on past `limit`: after a clause in the second half if there is one,
 * else between words, else between what a reader takes for characters, else at limit. */
static size_t choose_cut(word_walk *w, const char *text, size_t begin, size_t limit)
{
    while (step(&w->lines, limit))
        if (ends_clause(text, begin, w->lines.last))
            w->clause = w->lines.last;
    if (w->clause > begin + (limit - begin) / 2)
        return w->clause;
    if (w->lines.last > begin)
        return w->lines.last;
    while (step(&w->chars, limit))
        ;
    return w->chars.last > begin ? w->chars.last : limit;
}

int dgm_split_words(dgm_span **spans, int *n, const char *text, size_t len, const char *lang,
                    size_t max_bytes)
{
    DGM_ASSERT(max_bytes >= 4); /* so that any character fits */
    word_walk w = {0};
    DGM_TRY(dgm_breaker_open(&w.lines.b, DGM_BREAK_LINE, text, len, lang));
    list l = {0};
    int rc = dgm_breaker_open(&w.chars.b, DGM_BREAK_CHARACTER, text, len, lang);
    if (rc != DGM_OK)
        goto err_lines;
    dgm_span rest = dgm_span_trim(text, (dgm_span){0, len});
    while (rest.begin < rest.end && rc == DGM_OK) {
        size_t cut = rest.end;
        if (rest.end - rest.begin > max_bytes) {
            size_t limit = rest.begin + max_bytes;
            while (dgm_is_continuation(text[limit]))
                limit--;
            cut = choose_cut(&w, text, rest.begin, limit);
        }
        rc = list_add(&l, dgm_span_trim(text, (dgm_span){rest.begin, cut}));
        rest.begin = dgm_span_trim(text, (dgm_span){cut, rest.end}).begin;
    }
    dgm_breaker_close(w.chars.b);
err_lines:
    dgm_breaker_close(w.lines.b);
    return list_finish(&l, rc, spans, n);
}

#include "runtime/split.h"

#include "runtime/split_icu.h"
#include "runtime/split_rules.h"
#include "runtime/split_text.h"

#include <stdlib.h>

/* A growing list of spans; NULL rows after a failure. */
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

/* Hands the list out; a text without a word is one span, so that *n >= 1. */
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

static bool ends_clause(const char *text, size_t begin, size_t at)
{
    static const int32_t marks[] = {',',    ';',    ':',    0x2013, 0x2014, 0x060C,
                                    0x061B, 0x3001, 0xFF0C, 0xFF1A, 0xFF1B, 0x0964};
    const dgm_span s = dgm_span_trim(text, (dgm_span){begin, at});
    const int32_t c = s.begin == s.end ? 0 : dgm_char_at(text, dgm_char_previous(text, s.end));
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (c == marks[i])
            return true;
    return false;
}

/* Where to cut what begins at `begin` and goes on past `limit`: after a clause in the second half if there is one,
 * else between words, else between what a reader takes for characters, else at limit. */
static size_t choose_cut(dgm_breaker *lines, dgm_breaker *chars, const char *text, size_t begin,
                         size_t limit)
{
    const size_t word = dgm_breaker_at_or_before(lines, limit);
    if (word <= begin) {
        const size_t grapheme = dgm_breaker_at_or_before(chars, limit);
        return grapheme > begin ? grapheme : limit;
    }
    for (size_t at = word; at > begin + (limit - begin) / 2;
         at = dgm_breaker_at_or_before(lines, dgm_char_previous(text, at)))
        if (ends_clause(text, begin, at))
            return at;
    return word;
}

int dgm_split_words(dgm_span **spans, int *n, const char *text, size_t len, const char *lang,
                    size_t max_bytes)
{
    DGM_ASSERT(max_bytes >= 4); /* so that any character fits */
    dgm_breaker *lines, *chars;
    DGM_TRY(dgm_breaker_open(&lines, DGM_BREAK_LINE, text, len, lang));
    list l = {0};
    int rc = dgm_breaker_open(&chars, DGM_BREAK_CHARACTER, text, len, lang);
    if (rc != DGM_OK)
        goto err_lines;
    dgm_span rest = dgm_span_trim(text, (dgm_span){0, len});
    while (rest.begin < rest.end && rc == DGM_OK) {
        size_t cut = rest.end;
        if (rest.end - rest.begin > max_bytes) {
            size_t limit = rest.begin + max_bytes;
            while (dgm_is_continuation(text[limit]))
                limit--;
            cut = choose_cut(lines, chars, text, rest.begin, limit);
        }
        rc = list_add(&l, dgm_span_trim(text, (dgm_span){rest.begin, cut}));
        rest = dgm_span_trim(text, (dgm_span){cut, rest.end});
    }
    dgm_breaker_close(chars);
err_lines:
    dgm_breaker_close(lines);
    return list_finish(&l, rc, spans, n);
}

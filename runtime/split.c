#include "runtime/split.h"

#include "runtime/lang.h"
#include "runtime/split_abbrev.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/utext.h>
#include <unicode/utf8.h>

/* ---- iterators ---- */

/*
 * ICU falls back to the machine's own locale for a language that it has no data for, and then the same line would be
 * split one way here and another way there. So only languages with data are named, all others are "root".
 */
static const char suppressed[] = " de en es fr it pt ru "; /* have abbreviations: @ss=standard */
static const char line_rules[] = " ja ko zh "; /* have line breaking rules of their own */

enum { LONGEST_ABBREV = 24 }; /* bytes */
enum { LOCALE_BYTES = 24, KINDS = 3, N_LOCALES = 12 };

/* Opening an iterator with abbreviations takes up to a millisecond, cloning one some microseconds. */
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char locale[LOCALE_BYTES];
    UBreakIteratorType kind;
    UBreakIterator *it;
} cache[N_LOCALES * KINDS]; /* under cache_lock; there are fewer locales than rows */
static int n_cached;

static void choose_locale(char *out, const char *lang, UBreakIteratorType kind)
{
    const dgm_lang *l = dgm_lang_find(lang);
    char key[8];
    (void)snprintf(key, sizeof key, " %.2s ", l != NULL ? l->iso1 : "");
    const bool named = strlen(key) == 4;
    if (kind == UBRK_SENTENCE && named && strstr(suppressed, key) != NULL)
        (void)snprintf(out, LOCALE_BYTES, "%s@ss=standard", l->iso1);
    else if (kind == UBRK_SENTENCE && strncmp(lang, "ell_", 4) == 0)
        (void)snprintf(out, LOCALE_BYTES, "el"); /* `;` is a question mark */
    else if (kind == UBRK_LINE && named && strstr(line_rules, key) != NULL)
        (void)snprintf(out, LOCALE_BYTES, "%s", l->iso1);
    else
        (void)snprintf(out, LOCALE_BYTES, "root");
}

static UBreakIterator *clone_cached(const char *locale, UBreakIteratorType kind, UErrorCode *status)
{
    for (int i = 0; i < n_cached; i++)
        if (cache[i].kind == kind && strcmp(cache[i].locale, locale) == 0)
            return ubrk_clone(cache[i].it, status);
    UBreakIterator *it = ubrk_open(kind, locale, NULL, 0, status);
    if (U_FAILURE(*status))
        return NULL;
    DGM_ASSERT(n_cached < N_LOCALES * KINDS);
    (void)snprintf(cache[n_cached].locale, LOCALE_BYTES, "%s", locale);
    cache[n_cached].kind = kind;
    cache[n_cached].it = it;
    return ubrk_clone(cache[n_cached++].it, status);
}

typedef struct breaker {
    UText text;
    UBreakIterator *it;
} breaker;

static void breaker_fini(breaker *b)
{
    if (b->it != NULL)
        ubrk_close(b->it);
    (void)utext_close(&b->text);
}

/* An iterator of borders over text; byte offsets. */
static int breaker_init(breaker *b, UBreakIteratorType kind, const char *text, size_t len,
                        const char *lang)
{
    static const UText empty = UTEXT_INITIALIZER;
    *b = (breaker){.text = empty};
    char locale[LOCALE_BYTES];
    choose_locale(locale, lang, kind);
    UErrorCode status = U_ZERO_ERROR;
    (void)utext_openUTF8(&b->text, text, (int64_t)len, &status);
    (void)pthread_mutex_lock(&cache_lock);
    if (U_SUCCESS(status))
        b->it = clone_cached(locale, kind, &status);
    (void)pthread_mutex_unlock(&cache_lock);
    if (U_SUCCESS(status))
        ubrk_setUText(b->it, &b->text, &status);
    if (U_SUCCESS(status))
        return DGM_OK;
    breaker_fini(b);
    return dgm_fail(DGM_EINTERNAL, "ICU cannot split text of %s: %s", lang, u_errorName(status));
}

/* ---- characters; text is valid UTF-8, so ICU's unsafe macros are safe ---- */

static UChar32 char_at(const char *text, size_t at)
{
    UChar32 c;
    U8_GET_UNSAFE((const uint8_t *)text, at, c);
    return c;
}

static size_t next_char(const char *text, size_t at)
{
    U8_FWD_1_UNSAFE((const uint8_t *)text, at);
    return at;
}

static size_t previous_char(const char *text, size_t at)
{
    U8_BACK_1_UNSAFE((const uint8_t *)text, at);
    return at;
}

static dgm_span trim(const char *text, dgm_span s)
{
    while (s.begin < s.end && u_isUWhiteSpace(char_at(text, s.begin)))
        s.begin = next_char(text, s.begin);
    while (s.begin < s.end && u_isUWhiteSpace(char_at(text, previous_char(text, s.end))))
        s.end = previous_char(text, s.end);
    return s;
}

/* A quotation mark or bracket, opening or closing. */
static bool is_wrapper(UChar32 c)
{
    switch (u_charType(c)) {
    case U_START_PUNCTUATION:
    case U_END_PUNCTUATION:
    case U_INITIAL_PUNCTUATION:
    case U_FINAL_PUNCTUATION:
        return true;
    default:
        return c == '"' || c == '\'' || c == '*' || c == '_';
    }
}

static bool has_word(const char *text, dgm_span s)
{
    for (size_t i = s.begin; i < s.end; i = next_char(text, i))
        if (u_isalnum(char_at(text, i)))
            return true;
    return false;
}

/* ---- sentences ---- */

/* The word that ends at `end` (where its full stop stands); empty when too long for an abbreviation. */
static dgm_span word_before(const char *text, size_t begin, size_t end)
{
    dgm_span w = {.begin = end, .end = end};
    while (w.begin > begin) {
        if (end - w.begin > LONGEST_ABBREV)
            return (dgm_span){end, end};
        const size_t at = previous_char(text, w.begin);
        const UChar32 c = char_at(text, at);
        if (u_isUWhiteSpace(c) || is_wrapper(c) || c == '/')
            break;
        w.begin = at;
    }
    return w;
}

/* "J", "U.S", "z.B", "J.-C": single letters with full stops (and hyphens) between; one alone must be a capital. */
static bool is_initials(const char *text, dgm_span w)
{
    int letters = 0;
    bool capital = false;
    for (size_t i = w.begin; i < w.end;) {
        const UChar32 c = char_at(text, i);
        if (!u_isalpha(c))
            return false;
        letters++;
        capital = u_isupper(c);
        i = next_char(text, i);
        if (i == w.end)
            break;
        if (text[i] != '.')
            return false;
        i += i + 1 < w.end && text[i + 1] == '-' ? 2 : 1;
    }
    return letters > 1 || capital;
}

/* "3", "19", "XIX": what a full stop makes an ordinal in some languages. */
static bool is_numeral(const char *text, dgm_span w)
{
    size_t digits = 0, roman = 0;
    const size_t len = w.end - w.begin;
    for (size_t i = w.begin; i < w.end; i++) {
        digits += text[i] >= '0' && text[i] <= '9';
        roman += strchr("IVXLC", text[i]) != NULL;
    }
    return len > 0 && ((digits == len && len <= 2) || roman == len);
}

/* Does the full stop at `stop` belong to the word before it? */
static bool is_abbreviation(const char *text, size_t begin, size_t stop, UChar32 next,
                            const char *lang)
{
    const dgm_span w = word_before(text, begin, stop);
    return is_initials(text, w) ||
           dgm_abbrev_known(text + w.begin, w.end - w.begin, lang, u_isdigit(next)) ||
           (dgm_abbrev_ordinal(lang) && is_numeral(text, w));
}

/* "Vraiment ? » demanda-t-elle.": French sets a space before its closing mark, and ICU parts them there. */
static bool starts_with_closer(const char *text, dgm_span s)
{
    const int8_t type = u_charType(char_at(text, s.begin));
    const size_t next = next_char(text, s.begin);
    return (type == U_FINAL_PUNCTUATION || type == U_END_PUNCTUATION) && next < s.end &&
           u_isUWhiteSpace(char_at(text, next));
}

/* Are two neighbours that ICU parted, both with words, one sentence after all? When in doubt yes: halves translate
 * badly. */
static bool belong(const char *text, dgm_span left, dgm_span right, const char *lang)
{
    if (starts_with_closer(text, right))
        return true;
    size_t end = left.end;
    while (is_wrapper(char_at(text, previous_char(text, end)))) /* left has a word, so this ends */
        end = previous_char(text, end);
    const bool closed = end < left.end;
    const bool dash = u_charType(char_at(text, right.begin)) == U_DASH_PUNCTUATION;
    size_t begin = right.begin;
    while (!u_isalnum(char_at(text, begin)))
        begin = next_char(text, begin);
    const UChar32 first = char_at(text, begin);
    if (u_islower(first) && (dash || (closed && begin == right.begin)))
        return true; /* "Really?" he asked.  Opravdu? – zeptal se. */
    if (closed && begin == right.begin && (first == 0x3068 || first == 0x3063))
        return true; /* 「はい。」と言った。 (と, って) */
    const size_t stop = previous_char(text, end);
    return !closed && text[stop] == '.' && is_abbreviation(text, left.begin, stop, first, lang);
}

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
    breaker b;
    DGM_TRY(breaker_init(&b, UBRK_SENTENCE, text, len, lang));
    list l = {0};
    int rc = DGM_OK;
    size_t from = 0;
    bool left_worded =
        false; /* kept, since asking again for a growing span would take quadratic time */
    for (int32_t to = ubrk_next(b.it); to != UBRK_DONE && rc == DGM_OK; to = ubrk_next(b.it)) {
        const dgm_span s = trim(text, (dgm_span){from, (size_t)to});
        from = (size_t)to;
        if (s.begin == s.end)
            continue;
        /* Without a word: "1." before "Take it.", ":-)" after "Fine." */
        const bool worded = has_word(text, s);
        const bool joins =
            l.n > 0 && (!left_worded || !worded || belong(text, l.rows[l.n - 1], s, lang));
        if (joins)
            l.rows[l.n - 1].end = s.end;
        else
            rc = list_add(&l, s);
        left_worded = worded || (joins && left_worded);
    }
    breaker_fini(&b);
    return list_finish(&l, rc, spans, n);
}

/* ---- words ---- */

static bool ends_clause(const char *text, size_t begin, size_t at)
{
    const dgm_span s = trim(text, (dgm_span){begin, at});
    if (s.begin == s.end)
        return false;
    const UChar32 c = char_at(text, previous_char(text, s.end));
    static const UChar32 marks[] = {',',    ';',    ':',    0x2013, 0x2014, 0x060C,
                                    0x061B, 0x3001, 0xFF0C, 0xFF1A, 0xFF1B, 0x0964};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (c == marks[i])
            return true;
    return false;
}

/* The last border of `b` in (begin, limit], or 0. limit is a character border. */
static size_t last_border(const breaker *b, size_t begin, size_t limit)
{
    if (ubrk_isBoundary(b->it, (int32_t)limit))
        return limit;
    const int32_t at = ubrk_preceding(b->it, (int32_t)limit);
    return at != UBRK_DONE && (size_t)at > begin ? (size_t)at : 0;
}

/* Where to cut text that begins at `begin` and is longer than fits before `limit`: after a clause in the second half
 * if there is one, else between words, else between what a reader takes for characters, else at limit. */
static size_t choose_cut(const breaker *lines, const breaker *chars, const char *text, size_t begin,
                         size_t limit)
{
    const size_t word = last_border(lines, begin, limit);
    if (word == 0) {
        const size_t grapheme = last_border(chars, begin, limit);
        return grapheme != 0 ? grapheme : limit;
    }
    for (size_t at = word; at > begin + (limit - begin) / 2;) {
        if (ends_clause(text, begin, at))
            return at;
        const int32_t before = ubrk_preceding(lines->it, (int32_t)at);
        at = before == UBRK_DONE ? 0 : (size_t)before;
    }
    return word;
}

int dgm_split_words(dgm_span **spans, int *n, const char *text, size_t len, const char *lang,
                    size_t max_bytes)
{
    DGM_ASSERT(max_bytes >= 4); /* any character fits */
    breaker lines, chars;
    DGM_TRY(breaker_init(&lines, UBRK_LINE, text, len, lang));
    int rc = breaker_init(&chars, UBRK_CHARACTER, text, len, lang);
    if (rc != DGM_OK) {
        breaker_fini(&lines);
        return rc;
    }
    list l = {0};
    dgm_span rest = trim(text, (dgm_span){0, len});
    while (rest.begin < rest.end && rc == DGM_OK) {
        size_t cut = rest.end;
        if (rest.end - rest.begin > max_bytes) {
            size_t limit = rest.begin + max_bytes;
            U8_SET_CP_START_UNSAFE((const uint8_t *)text, limit);
            cut = choose_cut(&lines, &chars, text, rest.begin, limit);
        }
        rc = list_add(&l, trim(text, (dgm_span){rest.begin, cut}));
        rest = trim(text, (dgm_span){cut, rest.end});
    }
    breaker_fini(&chars);
    breaker_fini(&lines);
    return list_finish(&l, rc, spans, n);
}

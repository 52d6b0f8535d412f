#include "runtime/split_icu.h"

#include "runtime/lang.h"
#include "runtime/split_text.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicode/ubrk.h>
#include <unicode/udata.h>
#include <unicode/ures.h>
#include <unicode/ustring.h>
#include <unicode/utext.h>

/*
 * ICU falls back to the machine's own locale for a language that it has no data for, and then one line would be
 * split one way here and another way there. So only languages with data are named, all others are "root".
 */
static const char *const line_locales[] = {"ja", "ko", "zh", "root"};
static const char *const sentence_locales[] = {"el", "root"}; /* Greek asks with `;` */
static const char *const listed[] = {"de", "en", "es", "fr",
                                     "it", "pt", "ru"}; /* have abbreviations */
enum { N_LISTED = sizeof listed / sizeof listed[0], N_LOCALES = 4 };

static const UBreakIteratorType icu_kinds[DGM_BREAK_KINDS] = {UBRK_SENTENCE, UBRK_LINE,
                                                              UBRK_CHARACTER};

/* Iterators are opened once and cloned, lists are read once; both live as long as the process. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static UBreakIterator *masters[DGM_BREAK_KINDS][N_LOCALES]; /* under lock */
static char *lists[N_LISTED]; /* under lock; set once, then only read */

struct dgm_breaker {
    UText text;
    UBreakIterator *it;
};

static const char *iso1(const char *lang)
{
    const dgm_lang *l = dgm_lang_find(lang);
    return l == NULL ? "" : l->iso1;
}

static const char *choose_locale(int *index, enum dgm_break_kind kind, const char *lang)
{
    const char *const *names = kind == DGM_BREAK_LINE ? line_locales : sentence_locales;
    const char *wanted = kind == DGM_BREAK_CHARACTER ? "root" : iso1(lang);
    for (*index = 0; strcmp(names[*index], "root") != 0; ++*index)
        if (strcmp(names[*index], wanted) == 0)
            break;
    return names[*index];
}

static UBreakIterator *clone_master(enum dgm_break_kind kind, const char *lang, UErrorCode *status)
{
    int i;
    const char *locale = choose_locale(&i, kind, lang);
    (void)pthread_mutex_lock(&lock);
    if (masters[kind][i] == NULL)
        masters[kind][i] = ubrk_open(icu_kinds[kind], locale, NULL, 0, status);
    UBreakIterator *it = U_SUCCESS(*status) ? ubrk_clone(masters[kind][i], status) : NULL;
    (void)pthread_mutex_unlock(&lock);
    return it;
}

int dgm_breaker_open(dgm_breaker **out, enum dgm_break_kind kind, const char *text, size_t len,
                     const char *lang)
{
    static const UText empty = UTEXT_INITIALIZER;
    if (len > INT32_MAX)
        return dgm_fail(DGM_ETEXT, "a line of %zu bytes is too long to split", len);
    dgm_breaker *b = malloc(sizeof *b);
    if (b == NULL)
        return dgm_fail(DGM_ENOMEM, "no memory to split a line");
    UErrorCode status = U_ZERO_ERROR;
    b->text = empty;
    (void)utext_openUTF8(&b->text, text, (int64_t)len, &status);
    b->it = U_SUCCESS(status) ? clone_master(kind, lang, &status) : NULL;
    if (U_SUCCESS(status))
        ubrk_setUText(b->it, &b->text, &status);
    if (U_FAILURE(status)) {
        dgm_breaker_close(b);
        return dgm_fail(DGM_EINTERNAL, "ICU cannot split text of %s: %s", lang,
                        u_errorName(status));
    }
    *out = b;
    return DGM_OK;
}

void dgm_breaker_close(dgm_breaker *b)
{
    if (b == NULL)
        return;
    ubrk_close(b->it); /* NULL is fine */
    (void)utext_close(&b->text);
    free(b);
}

bool dgm_breaker_next(dgm_breaker *b, size_t *at)
{
    const int32_t next = ubrk_next(b->it);
    if (next == UBRK_DONE)
        return false;
    *at = (size_t)next;
    return true;
}

/* ICU's strings as UTF-8 with a newline behind each; "" when this ICU has none. NULL: no memory. */
static char *read_list(const char *locale)
{
    UErrorCode status = U_ZERO_ERROR;
    UResourceBundle *root =
        ures_openDirect(U_ICUDATA_NAME U_TREE_SEPARATOR_STRING "brkitr", locale, &status);
    UResourceBundle *all = ures_getByKey(root, "exceptions", NULL, &status);
    UResourceBundle *words = ures_getByKey(all, "SentenceBreak", NULL, &status);
    const int32_t n = U_SUCCESS(status) ? ures_getSize(words) : 0;
    enum { WORD_BYTES = 128 };
    char *list = calloc((size_t)n * WORD_BYTES + 1, 1);
    char *end = list;
    for (int32_t i = 0; list != NULL && i < n; i++) {
        int32_t units, bytes = 0;
        const UChar *s = ures_getStringByIndex(words, i, &units, &status);
        (void)u_strToUTF8(end, WORD_BYTES - 1, &bytes, s, units, &status);
        if (U_FAILURE(status))
            break;
        end += bytes;
        *end++ = '\n';
    }
    if (list != NULL)
        *end = '\0';
    ures_close(words);
    ures_close(all);
    ures_close(root);
    return list;
}

static const char *get_list(const char *lang)
{
    const char *locale = iso1(lang);
    int i = 0;
    while (i < N_LISTED && strcmp(listed[i], locale) != 0)
        i++;
    if (i == N_LISTED)
        return "";
    (void)pthread_mutex_lock(&lock);
    if (lists[i] == NULL)
        lists[i] = read_list(locale);
    const char *list = lists[i];
    (void)pthread_mutex_unlock(&lock);
    return list == NULL ? "" : list;
}

/*
 * ICU can do this itself (locale de@ss=standard), but compares ends of words: since "r." is in its German list,
 * "Dann ging er. Anna blieb." stays one sentence (seen with ICU 72).
 */
bool dgm_icu_abbreviation(const char *text, size_t stop, const char *lang)
{
    const char *const end = text + stop + 1;
    for (const char *s = get_list(lang), *next; *s != '\0'; s = next + 1) {
        next = strchr(s, '\n');
        const size_t n = (size_t)(next - s);
        if (n > stop + 1 || memcmp(end - n, s, n) != 0)
            continue;
        const size_t begin = stop + 1 - n;
        const size_t before = begin == 0 ? 0 : dgm_char_previous(text, begin);
        if (begin == 0 || dgm_space_bytes(text + before, begin - before) > 0 ||
            strchr("([\"'", text[before]) != NULL)
            return true;
    }
    return false;
}

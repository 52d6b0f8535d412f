/*
 * split.h - a line into sentences (ICU break iterator), so that nothing too long is cut in silence.
 *
 * Text is UTF-8 without NUL (it need not end in one). Parts are byte ranges of the line, ascending, without the
 * white space around them: what stands between two parts is white space alone, or nothing, to rejoin with.
 * Languages are FLORES codes; one that is not known gets ICU's rules for no language in particular. Any thread.
 */
#ifndef DGM_RUNTIME_SPLIT_H
#define DGM_RUNTIME_SPLIT_H

#include "base/status.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct dgm_span {
    size_t begin, end;
} dgm_span;

/* dgm_text_script - how many letters a text has, and how many of them are in the script with this code (the half behind the
 * underscore of a language's); false when there is no such script. */
bool dgm_text_script(int *letters, int *within, const char *text, size_t len, const char *code);

/* dgm_text_blank - only Unicode white space (or empty). */
bool dgm_text_blank(const char *text, size_t len);

/*
 * dgm_split_sentences - *spans is malloc'ed (the caller frees), *n >= 1 (blank text is one empty span). By ICU's rules,
 * then joined again where a full stop ends an abbreviation, initials or an ordinal, and where a quotation goes on in
 * lower case: halves of a sentence translate badly, so when in doubt two sentences stay one. DGM_EINTERNAL when
 * ICU cannot start.
 */
DGM_MUST_CHECK int dgm_split_sentences(dgm_span **spans, int *n, const char *text, size_t len,
                                       const char *lang);

/*
 * dgm_split_words - for one sentence that is still too long: spans of at most max_bytes (>= 4), cut after a clause
 * where the second half of a span has one, else at a word border (ICU line breaks; Thai and the like by
 * dictionary), else at a grapheme border.
 */
DGM_MUST_CHECK int dgm_split_words(dgm_span **spans, int *n, const char *text, size_t len,
                                   const char *lang, size_t max_bytes);

#endif

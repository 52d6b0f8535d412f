/*
 * split.h - a line into sentences (ICU break iterator), so that nothing too long is cut in silence.
 *
 * Text is UTF-8 without NUL. Pieces are byte ranges of the line, ascending, without the white space between
 * them; `gap` is the white space that stood before the piece ("" for the first), to rejoin with.
 */
#ifndef DGM_RUNTIME_SPLIT_H
#define DGM_RUNTIME_SPLIT_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct dgm_span {
    size_t begin, end;
} dgm_span;

/* dgm_utf8_check - true when text is valid UTF-8 (no surrogates, no overlong forms, up to U+10FFFF) without NUL. */
bool dgm_utf8_check(const char *text, size_t len, size_t *bad_at);
/* dgm_text_blank - only Unicode white space (or empty). */
bool dgm_text_blank(const char *text, size_t len);

/*
 * dgm_split_sentences - *spans is malloc'ed (the caller frees), *n >= 1. `lang` a FLORES code (chooses ICU's
 * rules). DGM_EINTERNAL when ICU cannot start.
 */
DGM_MUST_CHECK int dgm_split_sentences(dgm_span **spans, int *n, const char *text, size_t len,
                                       const char *lang);

/*
 * dgm_split_words - for one sentence that is still too long: spans at word borders (ICU line breaks, then
 * grapheme borders for text without any), each at most `max_bytes` long.
 */
DGM_MUST_CHECK int dgm_split_words(dgm_span **spans, int *n, const char *text, size_t len, const char *lang,
                                   size_t max_bytes);

#endif

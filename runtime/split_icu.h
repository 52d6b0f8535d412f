/* split_icu.h - ICU's borders in text, and its lists of abbreviations. Private to split*.c. */
#ifndef DGM_RUNTIME_SPLIT_ICU_H
#define DGM_RUNTIME_SPLIT_ICU_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

enum dgm_break_kind { DGM_BREAK_SENTENCE, DGM_BREAK_LINE, DGM_BREAK_CHARACTER, DGM_BREAK_KINDS };

/* Borders are byte offsets. */
typedef struct dgm_breaker dgm_breaker;

/* dgm_breaker_open - over text [len], which must outlive it; `lang` a FLORES code. DGM_EINTERNAL when ICU cannot. */
DGM_MUST_CHECK int dgm_breaker_open(dgm_breaker **out, enum dgm_break_kind kind, const char *text,
                                    size_t len, const char *lang);
void dgm_breaker_close(dgm_breaker *b);

/* dgm_breaker_next - the next border; false at the end. Forwards only: ICU's way back may lead to the start of the
 * text for each border, which makes a hostile megabyte take a minute. */
bool dgm_breaker_next(dgm_breaker *b, size_t *at);

/* dgm_icu_abbreviation - does text [stop + 1 bytes, the last one a full stop] end in a whole word (or several) that is in
 * ICU's list of abbreviations for the language? */
bool dgm_icu_abbreviation(const char *text, size_t stop, const char *lang);

#endif

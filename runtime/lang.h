/*
 * lang.h - the 202 language codes of NLLB-200, their English names, and the aliases people write.
 *
 * Canonical: FLORES-200 `xxx_Ssss`. Aliases: ISO 639-1 (`de`), ISO 639-3 (`deu`), BCP 47 (`de-DE`, `zh-Hant`),
 * withdrawn and bibliographic codes (`iw`, `ger`), the English name (`german`); any case, `-` or `_`. An alias that fits several codes (`zh`, `ar`, `no`, `ku`) is refused with
 * the choices.
 */
#ifndef DGM_RUNTIME_LANG_H
#define DGM_RUNTIME_LANG_H

#include "base/status.h"

#include <stddef.h>

typedef struct dgm_lang {
    const char *code; /* "deu_Latn" */
    const char *name; /* "German" */
    const char *iso1; /* "de" or "" */
} dgm_lang;

/* dgm_langs - the table in NLLB's id order; *n receives its length (202). */
const dgm_lang *dgm_langs(int *n);

/* dgm_lang_find - the row of a canonical code; NULL when it is none. */
const dgm_lang *dgm_lang_find(const char *code);

/* dgm_lang_resolve - the canonical code for `name`. DGM_EUSAGE with the choices or near names. */
DGM_MUST_CHECK int dgm_lang_resolve(const char **code, const char *name);

/* dgm_lang_aliases - the aliases that resolve to `code`, separated by spaces ("de deu ger"); cut at `size`. */
void dgm_lang_aliases(char *text, size_t size, const char *code);

#endif

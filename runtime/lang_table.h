/* lang_table.h - the data behind lang.h. Private to lang.c. */
#ifndef DGM_RUNTIME_LANG_TABLE_H
#define DGM_RUNTIME_LANG_TABLE_H

#include "runtime/lang.h"

enum { DGM_N_LANGS = 202 };
extern const dgm_lang dgm_lang_rows[DGM_N_LANGS];

/* Names beyond code, ISO 639-3 part of the code, ISO 639-1 and English name. */
typedef struct dgm_lang_alias {
    const char *alias, *code;
} dgm_lang_alias;
extern const dgm_lang_alias dgm_lang_alias_rows[];
extern const int dgm_lang_n_aliases;

#endif

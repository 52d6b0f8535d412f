/*
 * tokenizer_langs.h - which language codes a model's tokeniser has, and their ids. Private to tokenizer.c.
 *
 * The ids are what `added_tokens_decoder` (tokenizer_config.json), else added_tokens.json, says. Codes of NLLB's list of
 * 202 count as `pieces + 1 + row` unless those files place any of the 202 themselves. An added special token counts as
 * a language when it looks like one (`tyv_Cyrl`) or stands among `additional_special_tokens`.
 */
#ifndef DGM_RUNTIME_TOKENIZER_LANGS_H
#define DGM_RUNTIME_TOKENIZER_LANGS_H

#include "base/status.h"

#include <stdint.h>

typedef struct dgm_tok_lang_row {
    char *code;
    int32_t id;
} dgm_tok_lang_row;

typedef struct dgm_tok_langs {
    dgm_tok_lang_row *rows; /* by ascending id */
    int n;
    int32_t mask; /* id of <mask>, -1 when there is none */
} dgm_tok_langs;

/* dgm_tok_langs_init - pieces: SentencePiece's. DGM_EMODEL for an id that is a piece's, another token's, or past the
 * vocabulary, and for a tokeniser that is not NLLB's. */
DGM_MUST_CHECK int dgm_tok_langs_init(dgm_tok_langs *out, const char *dir, int pieces,
                                      int vocab_size);
void dgm_tok_langs_fini(dgm_tok_langs *l);

/* dgm_tok_langs_find - the row with this id or NULL. */
const dgm_tok_lang_row *dgm_tok_langs_find(const dgm_tok_langs *l, int32_t id);
/* dgm_tok_langs_resolve - as dgm_tok_lang (runtime/tokenizer.h). */
DGM_MUST_CHECK int dgm_tok_langs_resolve(const dgm_tok_langs *l, int32_t *id, const char *name);

#endif

/*
 * tokenizer.h - stages 2 and 11: text to ids and back.
 *
 * SentencePiece behind a C face, in NLLB's id layout: 0 <s>, 1 <pad>, 2 </s>, 3 <unk>, SentencePiece id
 * s -> s + 1 (s = 0 -> 3), then the language codes, then <mask>. Input is only text: `</s>`, `<mask>`
 * or `eng_Latn` in a line are ordinary characters. Functions on an open tokenizer may be called from
 * any thread.
 */
#ifndef DGM_RUNTIME_TOKENIZER_H
#define DGM_RUNTIME_TOKENIZER_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dgm_tokenizer dgm_tokenizer;

/* dgm_tokenizer_open - from a model directory (sentencepiece.bpe.model, tokenizer_config.json,
 * added_tokens.json); vocab_size: rows of the embedding, every id is checked against it. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_tokenizer_open(dgm_tokenizer **out, const char *dir, int vocab_size);
void dgm_tokenizer_close(dgm_tokenizer *t);

struct dgm_model_config;
/* dgm_tokenizer_open_dir - the same, for who has no open model: *cfg (runtime/model.h) is read from the directory too.
 * Switches that make results depend on the batch are let through: they are no matter of text. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_tokenizer_open_dir(dgm_tokenizer **out, struct dgm_model_config *cfg,
                                          const char *dir);

/*
 * dgm_tok_encode - pieces of text [len bytes, valid UTF-8 without NUL] with the source code and </s> around
 * them: `code pieces </s>`, or `pieces </s> code` when suffix. *ids is malloc'ed (the caller frees), *n its
 * length. DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_tok_encode(const dgm_tokenizer *t, int32_t **ids, int *n, const char *text,
                                  size_t len, int32_t src_code, bool suffix);
/* dgm_tok_pieces - the pieces alone (for target prefixes and references). */
DGM_MUST_CHECK int dgm_tok_pieces(const dgm_tokenizer *t, int32_t **ids, int *n, const char *text,
                                  size_t len);

/*
 * dgm_tok_decode - ids to text: drops 0-3, codes, <mask> and rows past the tokeniser; joins; U+2581 becomes a
 * space; strips. *text is malloc'ed, NUL-terminated (the caller frees), *len its length without the NUL.
 */
DGM_MUST_CHECK int dgm_tok_decode(const dgm_tokenizer *t, char **text, size_t *len,
                                  const int32_t *ids, int n);

/* dgm_tok_piece - the surface of one id for people to read: "▁Mann", "deu_Latn", "</s>"; never NULL. */
const char *dgm_tok_piece(const dgm_tokenizer *t, int32_t id);
/* dgm_tok_find - the reverse: the id whose surface is piece [len bytes], -1 when there is none. Rows past the tokeniser
 * have no surface of their own, so "<unused>" is not found. */
int32_t dgm_tok_find(const dgm_tokenizer *t, const char *piece, size_t len);
/* dgm_tok_is_word_start - the id's piece begins with U+2581. */
bool dgm_tok_is_word_start(const dgm_tokenizer *t, int32_t id);
/* dgm_tok_is_text - the id is a piece of text: no special token, code, <mask> or row past the tokeniser. */
bool dgm_tok_is_text(const dgm_tokenizer *t, int32_t id);

/*
 * dgm_tok_lang - the id of a language given by code or alias (runtime/lang.h resolves; codes added to this model's
 * tokeniser count). DGM_EUSAGE names the choices when ambiguous, and near names when unknown.
 */
DGM_MUST_CHECK int dgm_tok_lang(const dgm_tokenizer *t, int32_t *id, const char *name);
/* dgm_tok_n_langs, dgm_tok_lang_code - the codes that this model knows, by ascending id. */
int dgm_tok_n_langs(const dgm_tokenizer *t);
const char *dgm_tok_lang_code(const dgm_tokenizer *t, int index);
int32_t dgm_tok_lang_id(const dgm_tokenizer *t, int index);
/* dgm_tok_unknowns - how many of ids are <unk>. */
int dgm_tok_unknowns(const int32_t *ids, int n);

#endif

#include "runtime/tokenizer.h"

#include "runtime/config_model.h"
#include "runtime/split_text.h"
#include "runtime/spm_shim.h"
#include "runtime/tokenizer_langs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNK = 3, EOS = 2, FIRST_PIECE = 4 };

/* U+2581, which SentencePiece writes for the space before a word. */
static const char word_mark[] = "\xE2\x96\x81";
enum { WORD_MARK_BYTES = 3 };

struct dgm_tokenizer {
    dgm_spm *spm;
    dgm_tok_langs langs;
    int pieces; /* ids FIRST_PIECE .. pieces are text */
    int vocab_size;
};

int dgm_tokenizer_open(dgm_tokenizer **out, const char *dir, int vocab_size)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/sentencepiece.bpe.model", dir);
    dgm_tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: no memory", path);
    int rc = dgm_spm_open(&t->spm, path);
    if (rc != DGM_OK)
        goto err_free;
    t->pieces = dgm_spm_size(t->spm);
    t->vocab_size = vocab_size;
    if (t->pieces >= vocab_size) {
        rc =
            dgm_fail(DGM_EMODEL, "%s: %d pieces need a vocabulary of at least %d, the model has %d",
                     path, t->pieces, t->pieces + 1, vocab_size);
        goto err_spm;
    }
    rc = dgm_tok_langs_init(&t->langs, dir, t->pieces, vocab_size);
    if (rc != DGM_OK)
        goto err_spm;
    *out = t;
    return DGM_OK;
err_spm:
    dgm_spm_close(t->spm);
err_free:
    free(t);
    return rc;
}

int dgm_tokenizer_open_dir(dgm_tokenizer **out, struct dgm_model_config *cfg, const char *dir)
{
    const dgm_model_options opt = {.dropless = true, .source_order = -1};
    DGM_TRY(dgm_config_read(cfg, dir, &opt));
    return dgm_tokenizer_open(out, dir, cfg->vocab_size);
}

void dgm_tokenizer_close(dgm_tokenizer *t)
{
    if (t == NULL)
        return;
    dgm_tok_langs_fini(&t->langs);
    dgm_spm_close(t->spm);
    free(t);
}

int dgm_tok_pieces(const dgm_tokenizer *t, int32_t **ids, int *n, const char *text, size_t len)
{
    DGM_TRY(dgm_spm_encode(t->spm, ids, n, text, len));
    for (int i = 0; i < *n; i++)
        (*ids)[i] = (*ids)[i] == 0 ? UNK : (*ids)[i] + 1;
    return DGM_OK;
}

int dgm_tok_encode(const dgm_tokenizer *t, int32_t **ids, int *n, const char *text, size_t len,
                   int32_t src_code, bool suffix)
{
    DGM_ASSERT(src_code >= 0 && src_code < t->vocab_size);
    DGM_TRY(dgm_tok_pieces(t, ids, n, text, len)); /* with room for two more */
    int32_t *const p = *ids;
    if (suffix) {
        p[*n] = EOS;
        p[*n + 1] = src_code;
    } else {
        memmove(p + 1, p, (size_t)*n * sizeof *p);
        p[0] = src_code;
        p[*n + 1] = EOS;
    }
    *n += 2;
    return DGM_OK;
}

/* Joins into out (NULL: only counts); *len receives the length. */
static void join(const dgm_tokenizer *t, char *out, size_t *len, const int32_t *ids, int n)
{
    size_t used = 0;
    for (int i = 0; i < n; i++) {
        if (!dgm_tok_is_text(t, ids[i]))
            continue;
        for (const char *s = dgm_spm_piece(t->spm, ids[i] - 1); *s != '\0'; used++) {
            const bool mark = strncmp(s, word_mark, WORD_MARK_BYTES) == 0;
            if (out != NULL)
                out[used] = mark ? ' ' : *s;
            s += mark ? WORD_MARK_BYTES : 1;
        }
    }
    *len = used;
}

int dgm_tok_decode(const dgm_tokenizer *t, char **text, size_t *len, const int32_t *ids, int n)
{
    join(t, NULL, len, ids, n);
    char *s = malloc(*len + 1);
    if (s == NULL)
        return dgm_fail(DGM_ENOMEM, "no memory for a text of %zu bytes", *len);
    join(t, s, len, ids, n);
    const dgm_span kept = dgm_span_trim(s, (dgm_span){0, *len});
    *len = kept.end - kept.begin;
    memmove(s, s + kept.begin, *len);
    s[*len] = '\0';
    *text = s;
    return DGM_OK;
}

static const char *const specials[FIRST_PIECE] = {"<s>", "<pad>", "</s>", "<unk>"};

const char *dgm_tok_piece(const dgm_tokenizer *t, int32_t id)
{
    if (id >= 0 && id < FIRST_PIECE)
        return specials[id];
    if (dgm_tok_is_text(t, id))
        return dgm_spm_piece(t->spm, id - 1);
    const dgm_tok_lang_row *l = dgm_tok_langs_find(&t->langs, id);
    if (l != NULL)
        return l->code;
    return id == t->langs.mask ? "<mask>" : "<unused>";
}

static bool is_named(const char *name, const char *piece, size_t len)
{
    return strlen(name) == len && memcmp(name, piece, len) == 0;
}

int32_t dgm_tok_find(const dgm_tokenizer *t, const char *piece, size_t len)
{
    const int32_t id = dgm_spm_find(t->spm, piece, len) + 1;
    if (dgm_tok_is_text(t, id))
        return id;
    for (int32_t i = 0; i < FIRST_PIECE; i++)
        if (is_named(specials[i], piece, len))
            return i;
    for (int i = 0; i < t->langs.n; i++)
        if (is_named(t->langs.rows[i].code, piece, len))
            return t->langs.rows[i].id;
    return is_named("<mask>", piece, len) ? t->langs.mask : -1;
}

bool dgm_tok_is_word_start(const dgm_tokenizer *t, int32_t id)
{
    return dgm_tok_is_text(t, id) &&
           strncmp(dgm_spm_piece(t->spm, id - 1), word_mark, WORD_MARK_BYTES) == 0;
}

bool dgm_tok_is_text(const dgm_tokenizer *t, int32_t id)
{
    return id >= FIRST_PIECE && id <= t->pieces;
}

int dgm_tok_lang(const dgm_tokenizer *t, int32_t *id, const char *name)
{
    return dgm_tok_langs_resolve(&t->langs, id, name);
}

int dgm_tok_n_langs(const dgm_tokenizer *t)
{
    return t->langs.n;
}

const char *dgm_tok_lang_code(const dgm_tokenizer *t, int index)
{
    DGM_ASSERT(index >= 0 && index < t->langs.n);
    return t->langs.rows[index].code;
}

int32_t dgm_tok_lang_id(const dgm_tokenizer *t, int index)
{
    DGM_ASSERT(index >= 0 && index < t->langs.n);
    return t->langs.rows[index].id;
}

int dgm_tok_unknowns(const int32_t *ids, int n)
{
    int unknowns = 0;
    for (int i = 0; i < n; i++)
        unknowns += ids[i] == UNK;
    return unknowns;
}

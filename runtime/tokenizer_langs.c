#include "runtime/tokenizer_langs.h"

#include "runtime/config_json.h"
#include "runtime/lang.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char *const specials[] = {"<s>", "<pad>", "</s>", "<unk>"}; /* ids 0 to 3 */
enum { N_SPECIALS = 4, MAX_JSON_BYTES = 64 << 20 };

/* What is being put together, and what messages name. */
typedef struct build {
    dgm_tok_langs *langs;
    const char *file;
    const json_t *extra; /* additional_special_tokens or NULL */
    int pieces, vocab_size;
    bool placed; /* a file gave an id to one of the 202 */
} build;

/* Looks like a FLORES code: tyv_Cyrl. */
static bool is_code_shaped(const char *s)
{
    if (strlen(s) != 8 || s[3] != '_' || !(s[4] >= 'A' && s[4] <= 'Z'))
        return false;
    for (int i = 0; i < 8; i++)
        if (i != 3 && i != 4 && !(s[i] >= 'a' && s[i] <= 'z'))
            return false;
    return true;
}

static int special_id(const char *content)
{
    for (int i = 0; i < N_SPECIALS; i++)
        if (strcmp(content, specials[i]) == 0)
            return i;
    return -1;
}

/* An entry of additional_special_tokens is a string, or an object with `content`. */
static const char *token_text(const json_t *entry)
{
    return json_string_value(json_is_object(entry) ? json_object_get(entry, "content") : entry);
}

static bool is_listed(const json_t *list, const char *content)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = token_text(json_array_get(list, i));
        if (s != NULL && strcmp(s, content) == 0)
            return true;
    }
    return false;
}

static int add_lang(build *b, const char *code, json_int_t id)
{
    if (id <= b->pieces || id >= b->vocab_size)
        return dgm_fail(DGM_EMODEL,
                        "%s: language %s has id %" JSON_INTEGER_FORMAT
                        ", want %d to %d (pieces end, rows end)",
                        b->file, code, id, b->pieces + 1, b->vocab_size - 1);
    dgm_tok_langs *l = b->langs;
    dgm_tok_lang_row *grown = realloc(l->rows, (size_t)(l->n + 1) * sizeof *grown);
    if (grown == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: no memory for language codes", b->file);
    l->rows = grown;
    char *copy = strdup(code);
    if (copy == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: no memory for language codes", b->file);
    l->rows[l->n++] = (dgm_tok_lang_row){.code = copy, .id = (int32_t)id};
    return DGM_OK;
}

/* One added token as a file tells it. */
static int add_token(build *b, const char *content, json_int_t id, bool special)
{
    const int want = special_id(content);
    if (want >= 0 && id != want)
        return dgm_fail(DGM_EMODEL,
                        "%s: token %s has id %" JSON_INTEGER_FORMAT ", want %d as NLLB has it",
                        b->file, content, id, want);
    if (want >= 0)
        return DGM_OK;
    if (strcmp(content, "<mask>") == 0) {
        b->langs->mask = id > b->pieces && id < b->vocab_size ? (int32_t)id : -1;
        return DGM_OK;
    }
    /* What a listed token is called comes from a file and goes to terminals. */
    const bool listed = is_listed(b->extra, content) && dgm_printable(content) == content;
    if (!special || !(is_code_shaped(content) || listed))
        return DGM_OK;
    b->placed = b->placed || dgm_lang_find(content) != NULL;
    return add_lang(b, content, id);
}

/* {"256001": {"content": "ace_Arab", "special": true, ..}, ..} */
static int add_decoder(build *b, json_t *decoder)
{
    const char *key;
    json_t *token;
    json_object_foreach(decoder, key, token)
    {
        char *end;
        errno = 0;
        const long long id = strtoll(key, &end, 10);
        const char *content = token_text(token);
        if (end == key || *end != '\0' || errno != 0 || content == NULL)
            return dgm_fail(
                DGM_EMODEL,
                "%s: added_tokens_decoder: want \"ID\": {\"content\": ..}, found key %s", b->file,
                dgm_printable(key));
        DGM_TRY(add_token(b, content, id, json_is_true(json_object_get(token, "special"))));
    }
    return DGM_OK;
}

/* {"ace_Arab": 256001, ..}: the older file, which does not say what is special. */
static int add_encoder(build *b, json_t *encoder)
{
    const char *content;
    json_t *id;
    json_object_foreach(encoder, content, id)
    {
        if (!json_is_integer(id))
            return dgm_fail(DGM_EMODEL, "%s: want \"token\": id, found %s without an integer",
                            b->file, dgm_printable(content));
        DGM_TRY(add_token(b, content, json_integer_value(id), true));
    }
    return DGM_OK;
}

static int add_202(build *b)
{
    int n;
    const dgm_lang *all = dgm_langs(&n);
    for (int i = 0; i < n; i++)
        DGM_TRY(add_lang(b, all[i].code, b->pieces + 1 + i));
    if (b->langs->mask < 0)
        b->langs->mask = b->pieces + 1 + n;
    return DGM_OK;
}

/* out->root is NULL when there is no such file. */
static int load_json(dgm_json *out, const char *path)
{
    *out = (dgm_json){0};
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return DGM_OK;
    char *text;
    size_t len;
    DGM_TRY(dgm_file_slurp(&text, &len, path, MAX_JSON_BYTES));
    const int rc = dgm_json_open(out, path, text, len, false);
    free(text);
    return rc;
}

static int by_id(const void *a, const void *b)
{
    const int32_t x = ((const dgm_tok_lang_row *)a)->id, y = ((const dgm_tok_lang_row *)b)->id;
    return (x > y) - (x < y);
}

static int by_code(const void *a, const void *b)
{
    return strcmp(((const dgm_tok_lang_row *)a)->code, ((const dgm_tok_lang_row *)b)->code);
}

/* Neighbours in both orders must differ: one id is one language, one language has one id. */
static int sort_and_check(build *b)
{
    dgm_tok_langs *l = b->langs;
    qsort(l->rows, (size_t)l->n, sizeof *l->rows, by_code);
    for (int i = 1; i < l->n; i++)
        if (by_code(&l->rows[i - 1], &l->rows[i]) == 0)
            return dgm_fail(DGM_EMODEL, "%s: language %s has two ids: %d and %d", b->file,
                            l->rows[i].code, l->rows[i - 1].id, l->rows[i].id);
    qsort(l->rows, (size_t)l->n, sizeof *l->rows, by_id);
    for (int i = 1; i < l->n; i++)
        if (l->rows[i - 1].id == l->rows[i].id)
            return dgm_fail(DGM_EMODEL, "%s: languages %s and %s have one id: %d", b->file,
                            l->rows[i - 1].code, l->rows[i].code, l->rows[i].id);
    return DGM_OK;
}

static int build_all(build *b, const json_t *config, json_t *encoder, const char *encoder_file)
{
    const char *class = json_string_value(json_object_get(config, "tokenizer_class"));
    if (class != NULL && strncmp(class, "M2M100", 6) == 0)
        return dgm_fail(DGM_EMODEL,
                        "%s: tokenizer_class is %s, want NllbTokenizer (M2M-100 is not supported)",
                        b->file, dgm_printable(class));
    b->extra = json_object_get(config, "additional_special_tokens");
    json_t *decoder = json_object_get(config, "added_tokens_decoder");
    if (decoder != NULL && !json_is_object(decoder))
        return dgm_fail(DGM_EMODEL, "%s: added_tokens_decoder: want an object", b->file);
    if (decoder != NULL) {
        DGM_TRY(add_decoder(b, decoder));
    } else if (encoder != NULL) {
        b->file = encoder_file;
        DGM_TRY(add_encoder(b, encoder));
    }
    if (!b->placed)
        DGM_TRY(add_202(b));
    return sort_and_check(b);
}

int dgm_tok_langs_init(dgm_tok_langs *out, const char *dir, int pieces, int vocab_size)
{
    *out = (dgm_tok_langs){.mask = -1};
    char config_file[4096], encoder_file[4096];
    (void)snprintf(config_file, sizeof config_file, "%s/tokenizer_config.json", dir);
    (void)snprintf(encoder_file, sizeof encoder_file, "%s/added_tokens.json", dir);
    dgm_json config = {0}, encoder = {0};
    build b = {.langs = out, .file = config_file, .pieces = pieces, .vocab_size = vocab_size};
    int rc = load_json(&config, config_file);
    if (rc == DGM_OK)
        rc = load_json(&encoder, encoder_file);
    if (rc == DGM_OK)
        rc = build_all(&b, config.root, encoder.root, encoder_file);
    dgm_json_close(&encoder);
    dgm_json_close(&config);
    if (rc != DGM_OK)
        dgm_tok_langs_fini(out);
    return rc;
}

void dgm_tok_langs_fini(dgm_tok_langs *l)
{
    for (int i = 0; i < l->n; i++)
        free(l->rows[i].code);
    free(l->rows);
    *l = (dgm_tok_langs){.mask = -1};
}

const dgm_tok_lang_row *dgm_tok_langs_find(const dgm_tok_langs *l, int32_t id)
{
    const dgm_tok_lang_row key = {.id = id};
    return l->n == 0 ? NULL : bsearch(&key, l->rows, (size_t)l->n, sizeof key, by_id);
}

/* The one code of the model that equals `name` in its first n characters, case and `-` aside; -1 none, -2 several. */
static int match(const dgm_tok_langs *l, const char *name, size_t n, bool added_only)
{
    int found = -1;
    for (int i = 0; i < l->n; i++) {
        const char *code = l->rows[i].code;
        if (added_only && dgm_lang_find(code) != NULL)
            continue;
        size_t same = 0;
        while (same < n && code[same] != '\0' &&
               (strncasecmp(code + same, name + same, 1) == 0 ||
                (code[same] == '_' && name[same] == '-')))
            same++;
        if (same == n && (added_only ? code[n] == '_' : code[n] == '\0'))
            found = found == -1 ? i : -2;
    }
    return found;
}

int dgm_tok_langs_resolve(const dgm_tok_langs *l, int32_t *id, const char *name)
{
    int i = match(l, name, strlen(name), false);
    if (i < 0) {
        const char *code = name;
        const int rc = dgm_lang_resolve(&code, name);
        if (rc == DGM_OK)
            i = match(l, code, strlen(code), false);
        else if ((i = match(l, name, strlen(name), true)) < 0)
            return rc;
        if (i < 0)
            return dgm_fail(DGM_EUSAGE,
                            "language %s: the model does not have it, but %d others, from %s to %s",
                            code, l->n, l->n > 0 ? l->rows[0].code : "none",
                            l->n > 0 ? l->rows[l->n - 1].code : "none");
    }
    *id = l->rows[i].id;
    return DGM_OK;
}

#define _GNU_SOURCE
#include "runtime/synth.h"

#include "base/log.h"
#include "runtime/config_json.h"
#include "runtime/model_writer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 8 << 20, MIN_PARALLEL = 1 << 16, MAX_TOKENIZER = 64 << 20 };
static const uint64_t SHARD_BYTES = (uint64_t)4 << 30;

/* ---- weights ---- */

typedef struct piece {
    const dgm_synth_list *list;
    size_t i;
    uint64_t seed, begin;
    size_t bytes;
    char *data;
} piece;

static void fill_share(void *ctx, int part, int n_parts)
{
    const piece *p = ctx;
    int begin, end;
    dgm_pool_share(&begin, &end, (int)((p->bytes + DGM_SYNTH_UNIT - 1) / DGM_SYNTH_UNIT), part,
                   n_parts);
    const size_t from = (size_t)begin * DGM_SYNTH_UNIT, to = (size_t)end * DGM_SYNTH_UNIT;
    if (from < to)
        dgm_synth_fill_part(p->data + from, p->list, p->i, p->seed, p->begin + from,
                            (to < p->bytes ? to : p->bytes) - from);
}

static int put_tensor(dgm_model_writer *w, piece *p, dgm_pool *pool)
{
    const uint64_t all = p->list->tensors[p->i].bytes;
    for (p->begin = 0; p->begin < all; p->begin += p->bytes) {
        const uint64_t rest = all - p->begin;
        p->bytes = rest < PIECE_BYTES ? (size_t)rest : PIECE_BYTES;
        dgm_pool_run(p->bytes < MIN_PARALLEL ? NULL : pool, fill_share, p);
        DGM_TRY(dgm_model_writer_put(w, p->data, p->bytes));
    }
    return DGM_OK;
}

static int put_all(dgm_model_writer *w, const dgm_synth *s, const dgm_synth_list *list,
                   dgm_pool *pool)
{
    piece p = {.list = list, .seed = s->seed, .data = malloc(PIECE_BYTES)};
    if (p.data == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate %d bytes of weights", PIECE_BYTES);
    int rc = DGM_OK;
    for (p.i = 0; p.i < list->n && rc == DGM_OK; p.i++)
        rc = put_tensor(w, &p, pool);
    free(p.data);
    return rc;
}

static int plan(dgm_model_writer *w, const dgm_synth *s, const dgm_synth_list *list)
{
    dgm_new_tensor *all = calloc(list->n + 1, sizeof *all);
    bool named = all != NULL;
    for (size_t i = 0; i < list->n && named; i++) {
        const dgm_synth_tensor *t = &list->tensors[i];
        all[i] = (dgm_new_tensor){.name = strdup(t->name),
                                  .type = t->type,
                                  .n_dims = t->n_dims,
                                  .bytes = t->bytes,
                                  .unit = t->unit,
                                  .page = t->page,
                                  .loose = !s->packed};
        memcpy(all[i].dims, t->dims, sizeof t->dims);
        named = all[i].name != NULL;
    }
    if (named)
        return dgm_model_writer_plan(w, all, list->n, SHARD_BYTES);
    for (size_t i = 0; all != NULL && i < list->n; i++)
        free(all[i].name);
    free(all);
    return dgm_fail(DGM_ENOMEM, "cannot allocate a list of %zu tensors", list->n);
}

/* ---- the other files ---- */

static int write_text(dgm_model_writer *w, const char *name, int made, char *text)
{
    DGM_TRY(made);
    DGM_ASSERT(text != NULL);
    const int rc = dgm_model_writer_file(w, name, text, strlen(text));
    free(text);
    return rc;
}

/* The other model's tokeniser, with this one's limit of positions. */
static int write_tokenizer(dgm_model_writer *w, const dgm_synth *s, const char *from)
{
    char path[4200], *text = NULL;
    size_t len;
    dgm_json j;
    DGM_TRY(dgm_model_writer_copy(w, from, "sentencepiece.bpe.model"));
    (void)snprintf(path, sizeof path, "%s/tokenizer_config.json", from);
    DGM_TRY(dgm_file_slurp(&text, &len, path, MAX_TOKENIZER));
    const int rc = dgm_json_open(&j, path, text, len, false);
    free(text);
    DGM_TRY(rc);
    (void)json_object_set_new(j.root, "model_max_length", json_integer(s->positions));
    text = json_dumps(j.root, JSON_INDENT(1));
    dgm_json_close(&j);
    return write_text(w, "tokenizer_config.json",
                      text != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "cannot allocate %s", path),
                      text);
}

static int write_texts(dgm_model_writer *w, const dgm_synth *s, uint64_t params,
                       const char *tokenizer)
{
    char *text = NULL;
    DGM_TRY(write_tokenizer(w, s, tokenizer));
    int made = dgm_synth_generation_json(&text);
    DGM_TRY(write_text(w, "generation_config.json", made, text));
    made = dgm_synth_readme(&text, s, params);
    return write_text(w, "README.md", made, text);
}

/* ---- all ---- */

static int write_all(dgm_model_writer *w, const dgm_synth *s, const dgm_synth_list *list,
                     const char *dir, const char *tokenizer, dgm_pool *pool)
{
    uint64_t bytes = 0;
    char *config = NULL;
    for (size_t i = 0; i < list->n; i++)
        bytes += list->tensors[i].bytes;
    dgm_log(DGM_LOG_INFO, "synth", "%s: random weights, %.3f billion parameters, %.2f GiB to %s",
            s->like, (double)list->params * 1e-9, (double)bytes / (1 << 30), dir);
    DGM_TRY(write_texts(w, s, list->params, tokenizer));
    DGM_TRY(plan(w, s, list));
    DGM_TRY(put_all(w, s, list, pool));
    DGM_TRY(dgm_synth_config_json(&config, s));
    const int rc = dgm_model_writer_commit(&bytes, w, config, strlen(config));
    free(config);
    return rc;
}

int dgm_synth_write(const dgm_synth *s, const char *dir, const char *tokenizer, dgm_pool *pool)
{
    dgm_model_writer *w = NULL;
    dgm_synth_list list;
    DGM_TRY(dgm_synth_list_make(&list, s));
    int rc = dgm_model_writer_open(&w, dir);
    if (rc == DGM_OK)
        rc = write_all(w, s, &list, dir, tokenizer, pool);
    dgm_model_writer_close(w);
    dgm_synth_list_free(&list);
    return rc;
}

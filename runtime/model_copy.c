#include "runtime/model_copy.h"

#include "runtime/cut.h"
#include "runtime/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { PIECE_BYTES = 4 << 20 };
static const uint64_t SHARD_BYTES = (uint64_t)4 << 30;

int dgm_model_copy_open(dgm_model_copy *c, const dgm_model *from, const char *out, size_t most,
                        dgm_copy_progress progress, void *ctx)
{
    *c = (dgm_model_copy){.from = from,
                          .list = calloc(most + 1, sizeof *c->list),
                          .progress = progress,
                          .ctx = ctx,
                          .piece = malloc(PIECE_BYTES),
                          .hash = XXH3_createState()};
    if (c->list == NULL || c->piece == NULL || c->hash == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d bytes at a time", PIECE_BYTES);
    DGM_TRY(dgm_history_zeroed(&c->zeroed, from->dir));
    return dgm_model_writer_open(&c->to, out);
}

void dgm_model_copy_close(dgm_model_copy *c)
{
    dgm_model_writer_close(c->to);
    XXH3_freeState(c->hash);
    free(c->piece);
    for (size_t i = 0; c->list != NULL && i < c->n; i++)
        free(c->list[i].name);
    free(c->list);
    *c = (dgm_model_copy){0};
}

bool dgm_slot_starts(const dgm_model *m, const dgm_slot *s)
{
    if (s->expert < 0)
        return s->matrix != NULL && dgm_slot_has_weights(s);
    return s == m->files->slots || s[-1].expert != s->expert || s[-1].moe != s->moe;
}

/* ---- plan ---- */

int dgm_model_copy_add(dgm_model_copy *c, char *name, dgm_new_tensor t)
{
    if (name == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of tensors");
    t.name = name;
    t.bytes = dgm_st_element_bytes(t.type);
    for (int i = 0; i < t.n_dims; i++)
        t.bytes *= t.dims[i];
    t.loose = !c->from->cfg.weights.packed;
    c->total_bytes += t.bytes;
    c->list[c->n++] = t;
    return DGM_OK;
}

int dgm_model_copy_add_slot(dgm_model_copy *c, char *name, const dgm_slot *s)
{
    const dgm_tensor *from = s->tensor;
    dgm_new_tensor t = {
        .type = from->type, .n_dims = from->n_dims, .unit = dgm_slot_starts(c->from, s)};
    t.page = t.unit && s->expert >= 0 && c->from->cfg.weights.packed;
    memcpy(t.dims, from->dims, sizeof t.dims);
    return dgm_model_copy_add(c, name, t);
}

int dgm_model_copy_plan(dgm_model_copy *c, uint64_t shard_bytes)
{
    dgm_new_tensor *list = c->list;
    c->list = NULL; /* the writer's, also after a failure */
    return dgm_model_writer_plan(c->to, list, c->n, shard_bytes != 0 ? shard_bytes : SHARD_BYTES);
}

/* ---- fill ---- */

int dgm_model_copy_put(dgm_model_copy *c, const void *data, size_t bytes)
{
    DGM_TRY(dgm_model_writer_put(c->to, data, bytes));
    c->done_bytes += bytes;
    if (c->progress != NULL)
        c->progress(c->ctx, c->done_bytes, c->total_bytes);
    return DGM_OK;
}

int dgm_model_copy_run(dgm_model_copy *c, const dgm_slot *s)
{
    const dgm_tensor *t = s->tensor;
    (void)XXH3_64bits_reset(c->hash);
    if (c->zeroed)
        dgm_zeros_add_slot(&c->zeros, s);
    for (uint64_t at = 0, n; at < t->bytes; at += n) {
        n = t->bytes - at < PIECE_BYTES ? t->bytes - at : PIECE_BYTES;
        DGM_TRY(dgm_tensors_read(c->from->files->tensors, t, c->piece, at, (size_t)n, PIECE_BYTES));
        (void)XXH3_64bits_update(c->hash, c->piece, (size_t)n);
        if (c->zeroed)
            dgm_zeros_see_bytes(&c->zeros, s, c->piece, (size_t)n);
        DGM_TRY(dgm_model_copy_put(c, c->piece, (size_t)n));
    }
    const uint64_t found = XXH3_64bits_digest(c->hash);
    if (t->has_xxh && found != t->xxh)
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted bytes of checksum %016" PRIx64 ", found %016" PRIx64
                        " (the file is damaged: copy it again)",
                        dgm_tensors_path(c->from->files->tensors, t), t->name, t->xxh, found);
    return DGM_OK;
}

/* ---- the rest ---- */

static int write_beside(dgm_model_writer *to, const dgm_model *from, const dgm_text *keep)
{
    DGM_TRY(dgm_model_writer_beside(to, from->dir));
    if (keep != NULL)
        return keep->text == NULL
                   ? DGM_OK
                   : dgm_model_writer_file(to, DGM_CUT_KEEP_NAME, keep->text, keep->len);
    return from->cut != NULL ? dgm_model_writer_copy(to, from->dir, DGM_CUT_KEEP_NAME) : DGM_OK;
}

int dgm_model_finish(uint64_t *bytes, dgm_model_writer *to, const dgm_model *from,
                     const dgm_text *keep, dgm_text config)
{
    int rc = write_beside(to, from, keep);
    if (rc == DGM_OK)
        rc = dgm_model_writer_commit(bytes, to, config.text, config.len);
    free(config.text);
    return rc;
}

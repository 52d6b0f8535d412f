#include "runtime/tensor_copy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { PIECE_BYTES = 4 << 20 };

int dgm_tensor_copy_init(dgm_tensor_copy *c)
{
    c->piece = malloc(PIECE_BYTES);
    c->hash = XXH3_createState();
    if (c->piece == NULL || c->hash == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d bytes at a time", PIECE_BYTES);
    return DGM_OK;
}

void dgm_tensor_copy_fini(dgm_tensor_copy *c)
{
    XXH3_freeState(c->hash);
    free(c->piece);
    c->hash = c->piece = NULL;
}

bool dgm_tensor_copy_plan(dgm_tensor_copy *c, dgm_new_tensor *out, const dgm_tensor *t)
{
    *out = (dgm_new_tensor){
        .name = strdup(t->name), .type = t->type, .n_dims = t->n_dims, .bytes = t->bytes};
    memcpy(out->dims, t->dims, sizeof out->dims);
    c->total_bytes += t->bytes;
    return out->name != NULL;
}

void dgm_tensor_copy_tell(dgm_tensor_copy *c, uint64_t bytes)
{
    c->done_bytes += bytes;
    if (c->progress != NULL)
        c->progress(c->ctx, c->done_bytes, c->total_bytes);
}

int dgm_tensor_copy_run(dgm_tensor_copy *c, const dgm_tensor *t)
{
    (void)XXH3_64bits_reset(c->hash);
    for (uint64_t at = 0, n; at < t->bytes; at += n) {
        n = t->bytes - at < PIECE_BYTES ? t->bytes - at : PIECE_BYTES;
        DGM_TRY(dgm_tensors_read(c->from, t, c->piece, at, (size_t)n, PIECE_BYTES));
        (void)XXH3_64bits_update(c->hash, c->piece, (size_t)n);
        DGM_TRY(dgm_model_writer_put(c->to, c->piece, (size_t)n));
        dgm_tensor_copy_tell(c, n);
    }
    const uint64_t found = XXH3_64bits_digest(c->hash);
    if (t->has_xxh && found != t->xxh)
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted bytes of checksum %016" PRIx64 ", found %016" PRIx64
                        " (the file is damaged: copy it again)",
                        dgm_tensors_path(c->from, t), t->name, t->xxh, found);
    return DGM_OK;
}

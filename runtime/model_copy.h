/*
 * model_copy.h - a model directory made from another, most of whose tensors are copied as they are: what `prune -o`, `extract` and
 * `sparsify` have in common.
 *
 *   open, add or add_slot for each tensor in its order, plan, then put or run for each in the same order, finish; close in any case
 *
 * Weights that a step before set to zero are counted again on the way, for the history (runtime/history.h).
 */
#ifndef DGM_RUNTIME_MODEL_COPY_H
#define DGM_RUNTIME_MODEL_COPY_H

#include "runtime/model_writer.h"
#include "runtime/zeros.h"

/* Told now and then how many of the bytes to write are written. ctx may be NULL. */
typedef void (*dgm_copy_progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);

typedef struct dgm_model_copy {
    const dgm_model *from;
    dgm_model_writer *to;
    dgm_new_tensor *list; /* [n], the writer's once it is planned */
    size_t n;
    bool zeroed;     /* a step before set weights to zero, so that: */
    dgm_zeros zeros; /* of what was written so far */
    uint64_t done_bytes, total_bytes;
    dgm_copy_progress progress; /* NULL: nobody is told */
    void *ctx;
    void *piece; /* private, as is: */
    void *hash;
} dgm_model_copy;

/* dgm_model_copy_open - of `from` (opened; outlives it) as directory `out`, of at most `most` tensors; progress may be NULL.
 * Close it in any case. DGM_EMODEL (the history), DGM_ENOMEM, DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_model_copy_open(dgm_model_copy *c, const dgm_model *from, const char *out,
                                       size_t most, dgm_copy_progress progress, void *ctx);
/* dgm_model_copy_close - fine on zeros. What was not finished is removed. */
void dgm_model_copy_close(dgm_model_copy *c);

/* dgm_slot_starts - the slot's tensor is the first of what stays together: of an expert, or a dense matrix. */
bool dgm_slot_starts(const dgm_model *m, const dgm_slot *s);

/* dgm_model_copy_add - a tensor to come, of which type, shape and place are set; its name is taken. Its bytes follow from the
 * others. DGM_ENOMEM when name is NULL. */
DGM_MUST_CHECK int dgm_model_copy_add(dgm_model_copy *c, char *name, dgm_new_tensor t);
/* dgm_model_copy_add_slot - the slot's tensor as it is, under `name` (taken; NULL: out of memory). */
DGM_MUST_CHECK int dgm_model_copy_add_slot(dgm_model_copy *c, char *name, const dgm_slot *s);

/* dgm_model_copy_plan - all are there. shard_bytes: of the largest weight file, 0: 4 GiB. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_model_copy_plan(dgm_model_copy *c, uint64_t shard_bytes);

/* dgm_model_copy_run - the slot's tensor is what comes next; a few MiB at a time. A checksum in the source is compared on the way:
 * bytes that were damaged must not get a new one that fits. DGM_EMODEL, DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_model_copy_run(dgm_model_copy *c, const dgm_slot *s);
/* dgm_model_copy_put - the next bytes of what comes next, which is not the source's. */
DGM_MUST_CHECK int dgm_model_copy_put(dgm_model_copy *c, const void *data, size_t bytes);

/* dgm_model_copy_zeros - for the history, when all is written: NULL where no step zeroed weights. */
static inline const dgm_zeros *dgm_model_copy_zeros(const dgm_model_copy *c)
{
    return c->zeroed ? &c->zeros : NULL;
}

/* dgm_model_finish - what a model made from `from` has beside its weights, then it appears: tokeniser, keep.json (`keep`, which may
 * hold none; NULL: the source's, where that was cut), config.json (taken). *bytes: of all weight files. DGM_EOUTPUT. */
typedef struct dgm_text {
    char *text;
    size_t len;
} dgm_text;
DGM_MUST_CHECK int dgm_model_finish(uint64_t *bytes, dgm_model_writer *to, const dgm_model *from,
                                    const dgm_text *keep, dgm_text config);

#endif

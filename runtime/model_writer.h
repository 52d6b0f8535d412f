/*
 * model_writer.h - a model directory being written, packed or Hugging Face's: all of it appears at once, or nothing.
 *
 * Everything goes to OUT.part/ beside OUT, config.json last; commit makes it durable and renames it. A run that was
 * killed leaves an OUT.part that does not load, and the next run starts it anew. Layout: docs/adr/0006.
 */
#ifndef DGM_RUNTIME_MODEL_WRITER_H
#define DGM_RUNTIME_MODEL_WRITER_H

#include "base/status.h"
#include "runtime/safetensors.h"

typedef struct dgm_model_writer dgm_model_writer;

/* A tensor to come. */
typedef struct dgm_new_tensor {
    char *name;       /* malloc'ed; the writer's from dgm_model_writer_plan on */
    const char *type; /* "F32", "BF16", "I8", "U8" */
    int n_dims;
    uint64_t dims[DGM_TENSOR_DIMS];
    uint64_t bytes;
    bool unit; /* begins what stays in one file: a matrix with its scales, an expert */
    bool page; /* begins on a page of the file, else at a multiple of 64 bytes */
    bool
        loose; /* begins where the one before ends: for Hugging Face directories, which have no pads. All or none. */
} dgm_new_tensor;

/* dgm_model_writer_open - DGM_EOUTPUT when OUT is there already or OUT.part cannot be made or is being written. */
DGM_MUST_CHECK int dgm_model_writer_open(dgm_model_writer **out, const char *dir);
/* dgm_model_writer_close - without commit OUT.part is removed. NULL is fine. */
void dgm_model_writer_close(dgm_model_writer *w);

/* dgm_model_writer_plan - once: all tensors [n] in their order (malloc'ed array, the writer's from now on), in files of at
 * most shard_bytes where a unit is not larger alone. DGM_EOUTPUT when the disk has less room than they need. */
DGM_MUST_CHECK int dgm_model_writer_plan(dgm_model_writer *w, dgm_new_tensor *tensors, size_t n,
                                         uint64_t shard_bytes);
/* dgm_model_writer_put - the next bytes of the tensors, which follow one another as planned; a piece belongs to one. */
DGM_MUST_CHECK int dgm_model_writer_put(dgm_model_writer *w, const void *data, size_t bytes);

/* dgm_model_writer_file - a whole file beside the weights; dgm_model_writer_copy: the one of that name in `from`, if any;
 * dgm_model_writer_beside: tokeniser and generation_config.json of the model there. */
DGM_MUST_CHECK int dgm_model_writer_file(dgm_model_writer *w, const char *name, const char *text,
                                         size_t len);
DGM_MUST_CHECK int dgm_model_writer_copy(dgm_model_writer *w, const char *from, const char *name);
DGM_MUST_CHECK int dgm_model_writer_beside(dgm_model_writer *w, const char *from);

/* dgm_model_writer_commit - all tensors are there: writes headers with checksums, then config.json, and renames. *bytes:
 * of all weight files. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_model_writer_commit(uint64_t *bytes, dgm_model_writer *w, const char *config,
                                           size_t config_len);

#endif

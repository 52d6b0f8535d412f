/* tensor_copy.h - tensors of one model directory copied as they are into another that is being written. */
#ifndef DGM_RUNTIME_TENSOR_COPY_H
#define DGM_RUNTIME_TENSOR_COPY_H

#include "runtime/model_writer.h"

/* Told now and then how many of the bytes to copy are copied. ctx may be NULL. */
typedef void (*dgm_copy_progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);

typedef struct dgm_tensor_copy {
    const dgm_tensors *from;
    dgm_model_writer *to;
    uint64_t done_bytes, total_bytes;
    dgm_copy_progress progress; /* NULL: nobody is told */
    void *ctx;
    void *piece; /* private, as is: */
    void *hash;
} dgm_tensor_copy;

/* dgm_tensor_copy_init - the other fields are the caller's to set. DGM_ENOMEM. dgm_tensor_copy_fini: fine on zeros. */
DGM_MUST_CHECK int dgm_tensor_copy_init(dgm_tensor_copy *c);
void dgm_tensor_copy_fini(dgm_tensor_copy *c);

/* dgm_tensor_copy_plan - what stands for t in the new directory, under its name: type, shape and bytes; the place in the file
 * is the caller's to set. The bytes count as some to copy. False: out of memory. */
bool dgm_tensor_copy_plan(dgm_tensor_copy *c, dgm_new_tensor *out, const dgm_tensor *t);

/* dgm_tensor_copy_run - t is what the writer wants next; a few MiB at a time. A checksum in the source is compared on the way:
 * bytes that were damaged must not get a new one that fits. DGM_EMODEL, DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_tensor_copy_run(dgm_tensor_copy *c, const dgm_tensor *t);

/* dgm_tensor_copy_tell - bytes that were done without dgm_tensor_copy_run. */
void dgm_tensor_copy_tell(dgm_tensor_copy *c, uint64_t bytes);

#endif

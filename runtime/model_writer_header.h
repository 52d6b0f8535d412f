/* model_writer_header.h - private to model_writer*.c: where each tensor goes, and the headers and index that say so. */
#ifndef DGM_RUNTIME_MODEL_WRITER_HEADER_H
#define DGM_RUNTIME_MODEL_WRITER_HEADER_H

#include "runtime/model_writer.h"

enum { DGM_SHARD_NAME = 48 };

typedef struct dgm_placed {
    dgm_new_tensor what;
    int shard;
    uint64_t at;  /* from the first byte of the file */
    uint64_t pad; /* bytes in front of it that a tensor pad.N fills */
    uint64_t xxh;
} dgm_placed;

typedef struct dgm_layout {
    dgm_placed *placed; /* [n] */
    size_t n;
    struct {
        size_t first, n;
        uint64_t header,
            bytes; /* of the header with its length, a multiple of a page; of the file */
    } * shards;
    int n_shards;
} dgm_layout;

/* dgm_layout_make - takes over `tensors` [n], also when it fails. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_layout_make(dgm_layout *out, dgm_new_tensor *tensors, size_t n,
                                   uint64_t shard_bytes);
void dgm_layout_fini(dgm_layout *l);

/* dgm_layout_name - "model.safetensors", or "model-00002-of-00007.safetensors". */
void dgm_layout_name(char name[DGM_SHARD_NAME], const dgm_layout *l, int shard);

/* The first bytes of a shard, checksums as they are now (they do not change the length); the index over all.
 * *text is malloc'ed. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_layout_header(char **text, size_t *len, const dgm_layout *l, int shard);
DGM_MUST_CHECK int dgm_layout_index(char **text, size_t *len, const dgm_layout *l);

#endif

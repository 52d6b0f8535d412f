/*
 * pickle.h - the tensors that a pickle by torch.save() describes, by name. Nothing is executed.
 *
 * A pickle is a program for a stack machine, and Python's own reader calls whatever it names. This one knows the
 * opcodes and the globals that torch.save() writes for a dictionary of tensors (protocol 2), and refuses
 * every other in one sentence. Each byte of a pickle makes at most one value, so memory is bounded by its length.
 */
#ifndef DGM_RUNTIME_PICKLE_H
#define DGM_RUNTIME_PICKLE_H

#include "runtime/safetensors.h"

enum { DGM_PICKLE_KEY = 32 };

/* A view of a storage: element [i, j, ..] is number offset + i * strides[0] + j * strides[1] + .. of it. */
typedef struct dgm_pickled {
    char *name;
    char storage[DGM_PICKLE_KEY]; /* its file in the archive is data/<storage> */
    const char *type;             /* as safetensors spells it; static */
    uint64_t storage_elements, offset;
    int n_dims;
    uint64_t dims[DGM_TENSOR_DIMS], strides[DGM_TENSOR_DIMS];
} dgm_pickled;

/*
 * dgm_pickle_parse - the tensors of the dictionary that `data` [len] builds, in its order; dgm_pickle_free frees
 * them. `path` is for sentences. DGM_EMODEL names the opcode, the global or the entry that is not wanted.
 */
DGM_MUST_CHECK int dgm_pickle_parse(dgm_pickled **out, size_t *n_out, const char *path,
                                    const unsigned char *data, size_t len);
void dgm_pickle_free(dgm_pickled *tensors, size_t n);

#endif

/*
 * safetensors.h - the tensors of a model directory: names, types, shapes, and where their bytes lie.
 *
 * Weights come as safetensors or as what torch.save() writes (torch_file.h). A safetensors file is 8 bytes of header
 * length (little endian), a JSON header, the data. Everything in a header is checked before it is believed: a dgm_tensor
 * that came out of here lies inside its file, overlaps no
 * other (tied tensors of a torch file share theirs) and has exactly the bytes of its shape.
 *
 * Bytes that get another form in memory are read, not mapped: an I/O error is then a sentence, not a SIGBUS, and
 * nothing stays resident but what was packed. Packed models (docs/adr/0006) are mapped: all ranks of a node share
 * the page cache, and a disk that fails under a mapping ends the process.
 */
#ifndef DGM_RUNTIME_SAFETENSORS_H
#define DGM_RUNTIME_SAFETENSORS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DGM_TENSOR_DIMS = 4 };

typedef struct dgm_tensor {
    char *name;
    const char *type; /* as the file spells it: "F32", "BF16", "I64"; static */
    int dtype;        /* dgm_dtype, or -1 when the type is none of those */
    int n_dims;
    uint64_t dims[DGM_TENSOR_DIMS];
    uint64_t begin, bytes; /* from the first byte of the file */
    bool has_xxh;          /* __metadata__ holds an XXH3 under the tensor's name: */
    uint64_t xxh;
    int file;
} dgm_tensor;

/* One file's header: tensors by ascending offset. */
typedef struct dgm_st_header {
    dgm_tensor *tensors;
    size_t n;
} dgm_st_header;

/* dgm_st_header_bytes - the length of the JSON header from a file's first bytes. `path` is for sentences. */
DGM_MUST_CHECK int dgm_st_header_bytes(size_t *out, const char *path, const unsigned char *first,
                                       size_t n_first, uint64_t file_bytes);
/* dgm_st_parse - reads and checks the JSON header [len] of a file of file_bytes. */
DGM_MUST_CHECK int dgm_st_parse(dgm_st_header *out, const char *path, const char *json, size_t len,
                                uint64_t file_bytes);
/* dgm_st_type - sets t's type and *element_bytes from a name such as "BF16"; false: no such type. */
bool dgm_st_type(dgm_tensor *t, uint64_t *element_bytes, const char *name);
/* dgm_st_element_bytes - of a type's name; 0: no such type. */
uint64_t dgm_st_element_bytes(const char *name);
/* dgm_st_sort - by ascending offset; of one offset, the smaller first, then by name. */
void dgm_st_sort(dgm_st_header *h);
void dgm_st_header_fini(dgm_st_header *h);

/* All tensors of a directory: model.safetensors or pytorch_model.bin, or the shards that the index of either names. */
typedef struct dgm_tensors dgm_tensors;

/* dgm_tensors_there - dir has weights of one of those names. */
bool dgm_tensors_there(const char *dir);
/* dgm_tensors_open - reads and checks all headers, no data. Files stay open. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_tensors_open(dgm_tensors **out, const char *dir);
void dgm_tensors_close(dgm_tensors *t);

/* dgm_tensors_find - by name (a hash table); NULL when there is none. */
const dgm_tensor *dgm_tensors_find(const dgm_tensors *t, const char *name);
/* All of them, by file and offset. */
const dgm_tensor *dgm_tensors_all(const dgm_tensors *t, size_t *n);

/* dgm_tensors_read - `bytes` bytes of a tensor, from its byte `offset` on. `ahead` bytes after them are asked for
 * in the background (0: none; never past the tensor's end). Any thread. */
DGM_MUST_CHECK int dgm_tensors_read(const dgm_tensors *t, const dgm_tensor *tensor, void *dst,
                                    uint64_t offset, size_t bytes, size_t ahead);

/* dgm_tensors_map - the tensor's bytes, where they lie in a shared, read-only mapping of the whole file, which is made
 * when first asked for and lasts as long as t. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_tensors_map(const void **out, dgm_tensors *t, const dgm_tensor *tensor);

/* dgm_tensors_want - asks the system to read a mapped tensor in the background. Any thread. */
void dgm_tensors_want(const dgm_tensors *t, const dgm_tensor *tensor);

/* dgm_tensors_hash - XXH3 of all headers and file sizes; dgm_tensors_bytes - file sizes in all; dgm_tensors_files - how many. */
uint64_t dgm_tensors_hash(const dgm_tensors *t);
uint64_t dgm_tensors_bytes(const dgm_tensors *t);
int dgm_tensors_files(const dgm_tensors *t);
/* dgm_tensors_path - the file that holds a tensor, for sentences. */
const char *dgm_tensors_path(const dgm_tensors *t, const dgm_tensor *tensor);

#endif

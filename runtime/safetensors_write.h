/*
 * safetensors_write.h - one safetensors file, written from front to back without holding it in memory.
 *
 * The list of tensors comes first, so every offset is known before the first byte; data follow in the order of the
 * list, in pieces of any size. The header is written last: until then the file begins with zeros, which no reader takes
 * for a header. Gaps that alignment asks for are tensors `pad.N` of zeros, since safetensors allows no holes.
 */
#ifndef DGM_RUNTIME_SAFETENSORS_WRITE_H
#define DGM_RUNTIME_SAFETENSORS_WRITE_H

#include "runtime/safetensors.h"

#include <stdbool.h>

typedef struct dgm_st_spec {
    char name[112];
    const char *type; /* "F32", "BF16", "I8", "U8" */
    int n_dims;
    uint64_t dims[DGM_TENSOR_DIMS];
    uint32_t
        align; /* its data begin at a multiple of this, at most 4096, in the file; 0: anywhere */
} dgm_st_spec;

/* dgm_st_spec_bytes - of its data. */
uint64_t dgm_st_spec_bytes(const dgm_st_spec *s);

typedef struct dgm_st_writer dgm_st_writer;

/*
 * dgm_st_writer_open - creates or truncates `path` and asks the file system for all of its bytes, so that a disk that
 * is too small is found now. specs [n] outlives the writer. sums: __metadata__ gets the XXH3 of each tensor, as 16
 * hexadecimal digits under its name. DGM_EOUTPUT, DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_st_writer_open(dgm_st_writer **out, const char *path,
                                      const dgm_st_spec *specs, size_t n, bool sums);
/* dgm_st_writer_put - the next bytes of the tensor at hand; never of two tensors. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_st_writer_put(dgm_st_writer *w, const void *data, size_t bytes);
/* dgm_st_writer_finish - after the last byte of the last tensor: the header, and everything is on the disk. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_st_writer_finish(dgm_st_writer *w);
/* dgm_st_writer_close - a file that was not finished stays behind and is no model. NULL is fine. */
void dgm_st_writer_close(dgm_st_writer *w);

/* dgm_st_writer_bytes - of the whole file. */
uint64_t dgm_st_writer_bytes(const dgm_st_writer *w);

#endif

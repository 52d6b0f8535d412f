/*
 * sparse_write.h - matrices with many zeros as the tensors of a packed model: `<name>.q` and what says where its
 * numbers stand (kernels/sparse.h, docs/adr/0021).
 *
 * A writer of models walks its matrices twice, as quantize.c does: dgm_sparse_plan for each, in their order, then
 * dgm_model_writer_plan; dgm_sparse_put for each, in the same order. What counts as a zero is dgm_sparse_keeps(): a
 * weight closer to zero than DGM_SPARSE_LEAST is dropped, which is why the bits are those of the zeroed matrix.
 */
#ifndef DGM_RUNTIME_SPARSE_WRITE_H
#define DGM_RUNTIME_SPARSE_WRITE_H

#include "kernels/sparse.h"
#include "runtime/model_writer.h"

/* One matrix [n, k] of our graph. */
typedef struct dgm_sparse_shape {
    dgm_pattern pattern; /* DGM_DENSE: the usual panels */
    dgm_wtype type;      /* int4: only dense */
    int n, k;
    int group;       /* integers: inputs that share a scale, 0: all */
    uint64_t values; /* DGM_BITMAP: the most numbers that will be kept */
} dgm_sparse_shape;

/* dgm_sparse_choose - s.pattern, or DGM_DENSE where that would be no smaller or cannot be (int4, 2^32 values). */
dgm_pattern dgm_sparse_choose(const dgm_sparse_shape *s);

/* What rows of a matrix look like; zeroed at first, but for k. */
typedef struct dgm_sparse_found {
    int k;
    uint64_t rows, values; /* values: kept */
    bool over_2_of_4, over_4_of_8;
    bool tiny; /* there is a weight other than zero that would not be kept */
} dgm_sparse_found;

/* dgm_sparse_look - adds `rows` rows of w [rows, f->k]. */
void dgm_sparse_look(dgm_sparse_found *f, const float *w, int rows);

/* dgm_sparse_fit - s (type, n, k, group) gets the pattern, and the values, that suit a matrix whose rows were all looked
 * at: 2:4, else 4:8, else a bitmap, where that is smaller and keeps each bit of what is computed; else DGM_DENSE. */
void dgm_sparse_fit(dgm_sparse_shape *s, const dgm_sparse_found *f);

/* dgm_sparse_plan - appends to list [at least *n + 4] the tensors of matrix `name` ("encoder.layers.0.fc1.weight"), as
 * s->pattern says; the first begins a unit if `unit` and a page if `page`. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_sparse_plan(dgm_new_tensor *list, size_t *n, const char *name,
                                   const dgm_sparse_shape *s, bool unit, bool page);

/*
 * dgm_sparse_put - writes those tensors of one matrix.
 *   w      [n, k] row-major: floats for f32 and bf16 (rounded to the nearest), int8_t for integers
 *   scale  [panels, groups, 16] of integers, as in the file (dgm_packed_scale_at()); else NULL
 * The numbers must fit the pattern: more than n of m inputs, or more than s->values in all, are DGM_EUSAGE with a sentence that
 * names row and input. DGM_ENOMEM, DGM_EOUTPUT.
 */
DGM_MUST_CHECK int dgm_sparse_put(dgm_model_writer *w_out, const char *name,
                                  const dgm_sparse_shape *s, const void *w, const float *scale);

#endif

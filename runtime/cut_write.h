/*
 * cut_write.h - a model directory made from another by leaving experts out: `dragoman prune -o DIR`.
 *
 * Tensors that stay are copied as they are, a few MiB at a time; a checksum in the source is compared on the way. What a
 * checkpoint carries beside the model (aliases of the embedding, tables of positions) is left behind.
 */
#ifndef DGM_RUNTIME_CUT_WRITE_H
#define DGM_RUNTIME_CUT_WRITE_H

#include "runtime/cut.h"
#include "runtime/model_copy.h"

typedef struct dgm_cut_plan {
    const char *keep;              /* file, which goes into the directory */
    const dgm_moe_shape *shape;    /* of the source */
    const uint8_t *there;          /* [shape->n_experts] 1: stays */
    const char *const *directions; /* [n] "eng_Latn-deu_Latn" */
    int n_directions;
    uint64_t shard_bytes; /* largest weight file; 0: 4 GiB */
} dgm_cut_plan;

typedef struct dgm_cut_report {
    uint64_t bytes_before, bytes_after; /* of weight files */
} dgm_cut_report;

/* dgm_cut_write - writes `in` (opened, not loaded) as directory `out`, which appears when it is whole. DGM_EMODEL for a
 * checksum that does not fit, DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_cut_write(dgm_cut_report *report, const dgm_model *in, const char *out,
                                 const dgm_cut_plan *plan, dgm_copy_progress progress, void *ctx);

#endif

/*
 * quantize.h - a model written anew with smaller weights: `dragoman quantize`.
 *
 * Symmetric integers with a scale an output channel or a group of inputs (quantize_row.h), bf16, or f32. Routers stay
 * f32, so do vectors; the embedding is dense, one copy for lookup and projection. Matrices stream through, a few MiB of
 * rows at a time, each panel's rows shared out over the pool; the result does not depend on the threads. With a
 * calibration text, integers are made with feedback (feedback.h) where enough rows of the text entered the matrix.
 */
#ifndef DGM_RUNTIME_QUANTIZE_H
#define DGM_RUNTIME_QUANTIZE_H

#include "base/pool.h"
#include "runtime/calibrate.h"
#include "runtime/feedback.h"
#include "runtime/model.h"
#include "runtime/quantize_row.h"
#include "runtime/zeros.h"

typedef struct dgm_quantize_options {
    dgm_wtype experts, dense; /* dense: not int4 */
    int group;                /* integers: inputs that share a scale, 0: all */
    enum dgm_scale_rule rule;
    bool clip;
    bool
        compact; /* matrices are looked at for zeros, and stored without where that is smaller (sparse_write.h) */
    dgm_compute compute;          /* what the model asks for when nobody says otherwise */
    uint64_t shard_bytes;         /* largest weight file; 0: 4 GiB */
    dgm_calibration *calibration; /* of the same model; NULL: none. Used up. */
    const dgm_kernels *kern;      /* with calibration */
} dgm_quantize_options;

/* In units of the mean second moment of a matrix's inputs; what GPTQ's authors use. */
#define DGM_QUANTIZE_DAMP 0.01
/* Fewer rows than so many times its inputs entered a matrix: it is rounded without feedback. Moments of few rows fit
 * these rows and no others (docs/compression.md). */
enum { DGM_QUANTIZE_ROWS = 4 };

/* Squares summed over the weights of one part of one layer. */
typedef struct dgm_quantize_error {
    double wrong, all; /* of (w - what stands for it), of w */
} dgm_quantize_error;

typedef struct dgm_quantize_report {
    uint64_t bytes_before, bytes_after; /* of weight files */
    int n_layers;                       /* encoder and decoder */
    dgm_quantize_error (
        *error)[DGM_PARTS]; /* [1 + n_layers], malloc'ed: outside of layers, then layer by layer */
    /* of the outputs over the calibration text, of matrices with feedback; likewise, NULL without calibration */
    dgm_feedback_error (*output)[DGM_PARTS];
    int n_fed, n_few,
        n_unsolved; /* matrices with feedback; without, for too few rows; for moments that say nothing */
} dgm_quantize_report;

/* dgm_quantize_report_free - what the report holds. */
void dgm_quantize_report_free(dgm_quantize_report *report);

/* Told now and then how much of the source is done; its sentence may be shown. ctx may be NULL. */
typedef void (*dgm_quantize_progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);

/*
 * dgm_quantize - writes `in` (opened, not loaded; not integers) as directory `out`, which appears when it is whole.
 * DGM_EUSAGE for a source of integers, DGM_EMODEL for a weight that is no finite number, DGM_EOUTPUT.
 */
DGM_MUST_CHECK int dgm_quantize(dgm_quantize_report *report, const dgm_model *in, const char *out,
                                const dgm_quantize_options *opt, dgm_pool *pool,
                                dgm_quantize_progress progress, void *ctx);

/* dgm_quantize_config - config.json of the result: the source's, and what was done to it under `dragoman`. zeros: for the history,
 * NULL: none. */
DGM_MUST_CHECK int dgm_quantize_config(char **text, size_t *len, const dgm_model *in,
                                       const dgm_quantize_options *opt, const dgm_zeros *zeros);

#endif

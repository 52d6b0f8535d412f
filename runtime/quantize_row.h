/*
 * quantize_row.h - one row of weights as integers and scales: symmetric, so w stands as q * scale.
 *
 *   rule       scale of a group             q
 *   paper      amax / 2^(b-1)               round(w / scale) in [-2^(b-1), 2^(b-1) - 1]
 *   127        amax / (2^(b-1) - 1)         round(w / scale) in [-(2^(b-1) - 1), 2^(b-1) - 1]
 *
 * b is 8 or 4, amax the largest |w| of the group, round goes half away from zero. A group whose scale would be no
 * normal number (all zero, or nearly) gets scale 0 and q 0. With `clip`, amax is first multiplied by the factor from 1.15 to
 * 0.30, in steps of 0.01, that gives the least squared error (the largest factor of equals).
 * Sources: paper: `symmetric_quantize` of FasterTransformer's release for arXiv 2211.10017; clip: as is common.
 */
#ifndef DGM_RUNTIME_QUANTIZE_ROW_H
#define DGM_RUNTIME_QUANTIZE_ROW_H

#include "kernels/dtype.h"

#include <stdbool.h>
#include <stdint.h>

enum dgm_scale_rule { DGM_SCALE_PAPER, DGM_SCALE_127 };

typedef struct dgm_quantizer {
    dgm_wtype type; /* DGM_W_INT8 or DGM_W_INT4 */
    int group;      /* inputs that share a scale, 0: all */
    enum dgm_scale_rule rule;
    bool clip;
} dgm_quantizer;

/* dgm_quantize_row - q [k], scale [groups] of w [k], which are finite. Local. */
void dgm_quantize_row(int8_t *q, float *scale, const float *w, int k, const dgm_quantizer *z);

/* dgm_quantize_one - the q of any w under a scale that is given: dgm_quantize_row's where that made the scale. */
int dgm_quantize_one(float w, float scale, const dgm_quantizer *z);

#endif

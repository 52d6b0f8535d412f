/*
 * feedback.h - integers for a matrix whose inputs are known: each weight's rounding error is fed back into the weights of
 * its output that are still to be rounded, so that the outputs come out right rather than the weights.
 *
 * For one output w [n] and moments H = sum of x x^T over some text, (w - q) H (w - q)^T is the squared error of the output
 * over that text. With H + damp I = R R^T, R upper triangular, D = diag(R)^2 and U = R diag(R)^-1 it is the sum over k of
 * D_k (w_k - q_k + sum of (w_j - q_j) U_jk over j < k)^2: rounding w_k + that sum, one k after the other, makes each term
 * least in its turn. Inputs are taken by descending H_ii (ties: the lower first), scales are given and stay.
 *
 * Sources: Frantar et al., arXiv 2210.17323 (GPTQ: the damping, the order); in this form, which needs no inverse, Chee et al.,
 * arXiv 2307.13304, theorem 6.
 * The same bits on any number of threads and any instruction set.
 */
#ifndef DGM_RUNTIME_FEEDBACK_H
#define DGM_RUNTIME_FEEDBACK_H

#include "runtime/moments.h"
#include "runtime/quantize_row.h"

#include <stdbool.h>

typedef struct dgm_feedback {
    int n;
    float damp; /* what was added to the diagonal */
    int *order; /* [n] the input that comes k-th */
    float *
        u; /* by blocks of 64 inputs k: of all inputs j in front of it panels of U_jk, then its own [64, 64] */
    double *d;    /* [n] */
    float *error; /* rows being worked on: */
    float *sums;
    int8_t *q;
    size_t cap_rows;
} dgm_feedback;

/*
 * dgm_feedback_init - factors m. damp: in units of the mean of H's diagonal. An input that was never other than zero has
 * nothing to feed back and is rounded alone. *solved false (and nothing to free): H is zero or holds what is no number.
 * Takes 8 n^2 bytes on the way and 2 n^2 to keep, and 100 bytes or so for each weight of a chunk. DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_feedback_init(dgm_feedback *f, bool *solved, const dgm_moments *m,
                                     double damp, dgm_pool *pool);
void dgm_feedback_fini(dgm_feedback *f);

/* What an output is worth over the text, squared: w itself, w - q rounded alone, w - q with feedback. */
typedef struct dgm_feedback_error {
    double all, alone, fed;
} dgm_feedback_error;

/* Outputs of one matrix: weights and, rounded alone by dgm_quantize_row, their integers and scales. */
typedef struct dgm_feedback_rows {
    int rows;
    const float *w; /* [rows, n] */
    int8_t *q;      /* [rows, n], stride ldq */
    size_t ldq;
    const float *scale; /* [rows, groups], stride ld_scale */
    size_t ld_scale;
    dgm_feedback_error *error; /* out [rows] */
    bool keep_zeros;           /* weights that are zero stay so: what they are fed is passed on */
} dgm_feedback_rows;

/* dgm_feedback_run - q with feedback, except in rows where that would do worse. t->scratch: dgm_feedback_scratch_bytes() of
 * the most rows and inputs. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_feedback_run(dgm_feedback *f, const dgm_feedback_rows *r,
                                    const dgm_quantizer *z, const dgm_moments_tools *t);
size_t dgm_feedback_scratch_bytes(int rows, int n, int n_threads);

#endif

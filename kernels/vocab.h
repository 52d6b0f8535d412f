/*
 * vocab.h - the vocabulary projection with log-sum-exp and the best candidates in the same pass.
 *
 * Logits come in blocks of 2048 ids, m_b = max, s_b = 16-lane sum of exp(x - m_b); M = max m_b,
 * S = sum of s_b * exp(m_b - M) in block order; log p = (x - M) - log S. Threads split at block
 * borders only. No full row of logits exists unless a row asks for it.
 */
#ifndef DGM_KERNELS_VOCAB_H
#define DGM_KERNELS_VOCAB_H

#include "base/arena.h"
#include "base/pool.h"
#include "kernels/pack.h"

typedef struct dgm_vocab_row {
    const float *x;  /* in: [k], the last layer norm's output */
    int n_best;      /* in: how many candidates are wanted, 0 .. vocabulary */
    int32_t want_id; /* in: an id whose logit is wanted too, or -1 */
    float *full;     /* in: [vocabulary] to receive all logits, or NULL */
    int32_t *ids;    /* out: [n_best] best logit first, ties to the lower id */
    float *logits;   /* out: [n_best] */
    int n_found; /* out: candidates written (less than n_best only if the vocabulary is smaller) */
    float max, log_sum; /* out: M, log S */
    float want_logit;   /* out: the logit of want_id */
} dgm_vocab_row;

/*
 * dgm_vocab - fills the out fields of `rows`; logits are those of gemm.h, without bias, for any type of w and
 * `compute`. DGM_ENAN if a logit is NaN (the sentence names the
 * row). dgm_vocab_scratch_bytes() of scratch are used and given back.
 */
DGM_MUST_CHECK int dgm_vocab(const dgm_kernels *kern, dgm_pool *pool, dgm_vocab_row *rows,
                             int n_rows, const dgm_packed *w, dgm_compute compute,
                             dgm_arena *scratch);
size_t dgm_vocab_scratch_bytes(int n_rows, int max_best, int n_vocab, int k, int n_threads);

#endif

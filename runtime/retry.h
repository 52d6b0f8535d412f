/*
 * retry.h - `--retry checks`: a line that a check strikes is decoded once more, and the better of both is given.
 *
 * How, and which is better, is fixed (docs/decoding.md, ADR 24), so a retried line is as much a pure function of model, options
 * and line as any other: the second decoding is what `translate` gives with dgm_retry_options. Any thread.
 */
#ifndef DGM_RUNTIME_RETRY_H
#define DGM_RUNTIME_RETRY_H

#include "runtime/search.h"

enum {
    DGM_RETRY_NGRAM = 4, /* no 4 tokens in a row twice: a loop that the check knows repeats 6 */
    DGM_RETRY_BEAM = 4   /* at least; else twice the beam */
};

/* dgm_retry_beam - of the second decoding; at most DGM_MAX_BEAM. It grows with `beam`. */
int32_t dgm_retry_beam(int32_t beam);

/* dgm_retry_options - of the second decoding: that beam, the n-gram block (one that is stricter stays), and no draws. */
dgm_decode_options dgm_retry_options(const dgm_decode_options *first);

#endif

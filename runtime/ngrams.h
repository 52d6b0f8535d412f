/* ngrams.h - how many n-grams two sequences have in common. Any thread. */
#ifndef DGM_RUNTIME_NGRAMS_H
#define DGM_RUNTIME_NGRAMS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dgm_ngram_count {
    int64_t hyp, ref, match; /* an n-gram matches as often as the sequence that has it less often */
} dgm_ngram_count;

/* dgm_ngrams_match - count[n - 1] += that of n-grams, for n = 1 .. orders, of hyp [n_hyp] against ref [n_ref]. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_ngrams_match(dgm_ngram_count *count, int orders, const int32_t *hyp,
                                    size_t n_hyp, const int32_t *ref, size_t n_ref);

#endif

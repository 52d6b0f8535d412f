/*
 * metrics.h - BLEU and chrF++ of translations against one reference, as sacreBLEU 2.6 computes them.
 *
 * Counts of a line add up to those of a corpus, so a bootstrap draws lines without looking at text again. Lines are valid
 * UTF-8 without newline. Any thread.
 */
#ifndef DGM_RUNTIME_METRICS_H
#define DGM_RUNTIME_METRICS_H

#include "runtime/ngrams.h"

enum { DGM_BLEU_ORDERS = 4, DGM_CHRF_CHARS = 6, DGM_CHRF_WORDS = 2 };

#define DGM_BLEU_SIGNATURE "BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp"
#define DGM_SPBLEU_SIGNATURE "BLEU|nrefs:1|case:mixed|eff:no|tok:pieces of the model|smooth:exp"
#define DGM_CHRF_SIGNATURE "chrF2++|nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no"

typedef struct dgm_bleu {
    int64_t hyp, ref; /* tokens */
    dgm_ngram_count order[DGM_BLEU_ORDERS];
} dgm_bleu;

/* Character n-grams without white space, then word n-grams. */
typedef struct dgm_chrf {
    dgm_ngram_count order[DGM_CHRF_CHARS + DGM_CHRF_WORDS];
} dgm_chrf;

/* dgm_bleu_add - *sum += a line, tokenised as mteval-v13a does. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_bleu_add(dgm_bleu *sum, const char *hyp, size_t hyp_len, const char *ref,
                                size_t ref_len);
/* dgm_bleu_add_ids - the same for tokens that are there already: pieces of a model. */
DGM_MUST_CHECK int dgm_bleu_add_ids(dgm_bleu *sum, const int32_t *hyp, size_t n_hyp,
                                    const int32_t *ref, size_t n_ref);
/* dgm_bleu_score - 0 to 100; exponential smoothing, no effective order. */
double dgm_bleu_score(const dgm_bleu *sum);

DGM_MUST_CHECK int dgm_chrf_add(dgm_chrf *sum, const char *hyp, size_t hyp_len, const char *ref,
                                size_t ref_len);
/* dgm_chrf_score - 0 to 100; beta 2, orders that either side lacks are left out. */
double dgm_chrf_score(const dgm_chrf *sum);

#endif

/*
 * quality.h - what there is to say of a translation beside its reference: counts of a line, which add up to those of a text.
 *
 * Any thread; the tokenizer is shared.
 */
#ifndef DGM_RUNTIME_QUALITY_H
#define DGM_RUNTIME_QUALITY_H

#include "runtime/metrics.h"
#include "runtime/tokenizer.h"

enum dgm_score { DGM_SCORE_BLEU, DGM_SCORE_SPBLEU, DGM_SCORE_CHRF, DGM_SCORES };

/* All int64_t, so that texts are added up as lists of numbers. */
typedef struct dgm_quality {
    dgm_bleu words, pieces; /* as mteval-v13a parts words; as the model parts pieces */
    dgm_chrf chrf;
    int64_t lines;
    int64_t empty;      /* nothing where the reference says something */
    int64_t looping;    /* see loops.h */
    int64_t unfinished; /* the caller's: cut at the longest length, without </s> */
} dgm_quality;

/* dgm_quality_of - *q of one line; valid UTF-8 without newline. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_quality_of(dgm_quality *q, const dgm_tokenizer *tok, const char *hyp,
                                  size_t hyp_len, const char *ref, size_t ref_len);

void dgm_quality_add(dgm_quality *sum, const dgm_quality *q);

/* dgm_quality_score - 0 to 100. */
double dgm_quality_score(const dgm_quality *q, enum dgm_score score);
/* dgm_quality_length_ratio - words of the translation for one of the reference; 0 when that has none. */
double dgm_quality_length_ratio(const dgm_quality *q);

/* dgm_score_name - "BLEU", "spBLEU", "chrF++"; dgm_score_signature - how it is counted. Static. */
const char *dgm_score_name(enum dgm_score score);
const char *dgm_score_signature(enum dgm_score score);

#endif

/*
 * bootstrap.h - how far a difference of corpus scores is chance: the paired bootstrap of Koehn (2004).
 *
 * A resample draws as many lines as the text has, with replacement, the same ones for both translations, and scores them as
 * corpora, from the sums of their lines' counts. Draw i of resample r in a text of n lines is line
 * floor((bits >> 32) * n / 2^32), bits = dgm_sampling_bits(seed, r, i): texts of as many lines draw the same lines, so that
 * translations of the same sentences into several languages are drawn together.
 */
#ifndef DGM_RUNTIME_BOOTSTRAP_H
#define DGM_RUNTIME_BOOTSTRAP_H

#include "runtime/quality.h"

enum { DGM_RESAMPLES = 1000 };

/* Of each score, in each resample. */
typedef struct dgm_resamples {
    double score[DGM_SCORES][DGM_RESAMPLES];
} dgm_resamples;

/* 95 % of the resamples lie within: the values at places n / 40 and n - n / 40 - 1 in order, as sacreBLEU takes them. */
typedef struct dgm_interval {
    double low, high;
} dgm_interval;

/* dgm_bootstrap - one of the resamples: *out += score(after) - score(before) of lines [n] of the same text. One at a time, since
 * texts may be long and others may wait for a sign of life. Any thread. */
void dgm_bootstrap(dgm_resamples *out, int resample, const dgm_quality *before,
                   const dgm_quality *after, size_t n, uint64_t seed);

/* dgm_bootstrap_interval - of values [DGM_RESAMPLES], which are sorted, divided by `by` (texts that were added up). */
dgm_interval dgm_bootstrap_interval(double *values, int by);

#endif

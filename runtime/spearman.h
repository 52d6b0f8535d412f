/* spearman.h - how alike two orders are. */
#ifndef DGM_RUNTIME_SPEARMAN_H
#define DGM_RUNTIME_SPEARMAN_H

#include "base/status.h"

/*
 * dgm_spearman - rank correlation of a [n] and b [n] as scipy.stats.spearmanr gives it: Pearson's of their ranks, equal values
 * sharing the mean of theirs. 1: the same order; NaN when one of them is constant. Local. Any thread. DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_spearman(double *out, const double *a, const double *b, int n);

#endif

/*
 * sparsify_stats.h - what entered the inputs of a matrix over a text, language by language.
 *
 * Sums of squares are f64 and made in the order of rows; counts are exact. So they depend on the order of rows alone, not on
 * threads, instruction set, or how many rows came at a time.
 *
 * A language of which no row came is missing, not zero: an expert knows only those whose tokens were routed to it.
 */
#ifndef DGM_RUNTIME_SPARSIFY_STATS_H
#define DGM_RUNTIME_SPARSIFY_STATS_H

#include "runtime/sparsify_score.h"

#include "base/status.h"

typedef struct dgm_channels {
    int k, n_langs;
    uint64_t *rows;  /* [n_langs] seen */
    double *squares; /* [n_langs, k] sums of x^2 */
    uint64_t *fired; /* [n_langs, k] rows in which |x| > tau */
} dgm_channels;

/* dgm_channels_init - zero. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_channels_init(dgm_channels *c, int k, int n_langs);
void dgm_channels_fini(dgm_channels *c);

/* dgm_channels_add - x [rows, k] of a language. */
void dgm_channels_add(dgm_channels *c, int lang, const float *x, int rows, float tau);

/* dgm_channels_rows - of all languages. */
uint64_t dgm_channels_rows(const dgm_channels *c);

/*
 * dgm_channels_get - input j. a^2 is the mean over all rows of all languages, as Wanda has it: its sum over a sequence, averaged over
 * sequences, is that times their length, which changes no order in a row. variance: over the languages that came, each
 * language's a counting once, divided by their number; 0 where fewer than two came. Some row was seen.
 */
dgm_channel dgm_channels_get(const dgm_channels *c, int j);

/* dgm_channels_correlation - Pearson's, of two languages' a over the inputs; false where one did not come, or is the same in all. */
bool dgm_channels_correlation(double *out, const dgm_channels *c, int lang, int other);

#endif

#include "runtime/bootstrap.h"

#include "runtime/sampling.h"

#include <stdlib.h>

void dgm_bootstrap(dgm_resamples *out, int resample, const dgm_quality *before,
                   const dgm_quality *after, size_t n, uint64_t seed)
{
    dgm_quality a = {0}, b = {0};
    for (size_t i = 0; i < n; i++) {
        const uint64_t draw = dgm_sampling_bits(seed, (uint64_t)resample, (int)i) >> 32;
        const size_t line = (size_t)(draw * n >> 32);
        dgm_quality_add(&a, &before[line]);
        dgm_quality_add(&b, &after[line]);
    }
    for (int k = 0; k < DGM_SCORES; k++)
        out->score[k][resample] +=
            dgm_quality_score(&b, (enum dgm_score)k) - dgm_quality_score(&a, (enum dgm_score)k);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

dgm_interval dgm_bootstrap_interval(double *values, int by)
{
    enum { CUT = DGM_RESAMPLES / 40 };
    qsort(values, DGM_RESAMPLES, sizeof *values, ascending);
    return (dgm_interval){values[CUT] / by, values[DGM_RESAMPLES - CUT - 1] / by};
}

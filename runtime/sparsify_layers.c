#include "runtime/sparsify_layers.h"

static double clamped(double s)
{
    return s < DGM_LEAST_SPARSITY  ? DGM_LEAST_SPARSITY
           : s > DGM_MOST_SPARSITY ? DGM_MOST_SPARSITY
                                   : s;
}

/* weigh - the mean of x [n]. Weights are divided by the first, so that equal layers have the plain mean's bits. */
static double weigh(const double *x, const double *params, int n)
{
    double sum = 0, all = 0;
    for (int l = 0; l < n; l++) {
        const double w = params[l] / params[0];
        sum += w * x[l];
        all += w;
    }
    return sum / all;
}

/* make_up - those that are not at a bound share what is missing; each turn at least one more reaches its bound, or none is left over. */
static void make_up(double *sparsity, const double *params, int n, double mean)
{
    for (int turn = 0; turn < n; turn++) {
        double missing = 0, room = 0;
        for (int l = 0; l < n; l++) {
            const double s = clamped(sparsity[l]);
            missing += params[l] * (mean - s);
            sparsity[l] = s;
        }
        for (int l = 0; l < n; l++)
            if (missing > 0 ? sparsity[l] < DGM_MOST_SPARSITY : sparsity[l] > DGM_LEAST_SPARSITY)
                room += params[l];
        if (missing == 0 || room == 0)
            return;
        for (int l = 0; l < n; l++)
            if (missing > 0 ? sparsity[l] < DGM_MOST_SPARSITY : sparsity[l] > DGM_LEAST_SPARSITY)
                sparsity[l] += missing / room;
    }
    for (int l = 0; l < n; l++)
        sparsity[l] = clamped(sparsity[l]);
}

void dgm_layers_spread(double *sparsity, const double *worth, const double *params, int n,
                       double mean, double spread)
{
    double least = worth[0], most = worth[0];
    int beyond = 0;
    for (int l = 1; l < n; l++) {
        least = worth[l] < least ? worth[l] : least;
        most = worth[l] > most ? worth[l] : most;
    }
    for (int l = 0; l < n; l++)
        sparsity[l] = most > least ? spread * (worth[l] - least) / (most - least) : 0; /* kept */
    const double shift = (1 - mean) - weigh(sparsity, params, n);
    for (int l = 0; l < n; l++) {
        sparsity[l] = 1 - (sparsity[l] + shift);
        beyond += sparsity[l] != clamped(sparsity[l]);
    }
    if (beyond > 0)
        make_up(sparsity, params, n, mean);
}

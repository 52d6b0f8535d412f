#include "runtime/sparsify_stats.h"

#include <math.h>
#include <stdlib.h>

int dgm_channels_init(dgm_channels *c, int k, int n_langs)
{
    const size_t n = (size_t)k * (size_t)n_langs;
    *c = (dgm_channels){.k = k, .n_langs = n_langs};
    c->rows = calloc((size_t)n_langs, sizeof *c->rows);
    c->squares = calloc(n, sizeof *c->squares);
    c->fired = calloc(n, sizeof *c->fired);
    if (c->rows != NULL && c->squares != NULL && c->fired != NULL)
        return DGM_OK;
    dgm_channels_fini(c);
    return dgm_fail(DGM_ENOMEM, "out of memory for statistics of %d inputs in %d languages", k,
                    n_langs);
}

void dgm_channels_fini(dgm_channels *c)
{
    free(c->rows);
    free(c->squares);
    free(c->fired);
    *c = (dgm_channels){0};
}

void dgm_channels_add(dgm_channels *c, int lang, const float *x, int rows, float tau)
{
    const size_t k = (size_t)c->k;
    double *squares = c->squares + (size_t)lang * k;
    uint64_t *fired = c->fired + (size_t)lang * k;
    c->rows[lang] += (uint64_t)rows;
    for (int r = 0; r < rows; r++, x += k)
        for (size_t j = 0; j < k; j++) {
            squares[j] += (double)x[j] * (double)x[j];
            fired[j] += fabsf(x[j]) > tau;
        }
}

uint64_t dgm_channels_rows(const dgm_channels *c)
{
    uint64_t rows = 0;
    for (int l = 0; l < c->n_langs; l++)
        rows += c->rows[l];
    return rows;
}

/* of_language - a language's a; some row of it came. */
static double of_language(const dgm_channels *c, int lang, int j)
{
    return sqrt(c->squares[(size_t)lang * (size_t)c->k + (size_t)j] / (double)c->rows[lang]);
}

static double variance(const dgm_channels *c, int j)
{
    double mean = 0, sum = 0;
    int n = 0;
    for (int l = 0; l < c->n_langs; l++)
        if (c->rows[l] > 0) {
            mean += of_language(c, l, j);
            n++;
        }
    if (n < 2)
        return 0;
    mean /= n;
    for (int l = 0; l < c->n_langs; l++)
        if (c->rows[l] > 0) {
            const double d = of_language(c, l, j) - mean;
            sum += d * d;
        }
    return sum / n;
}

dgm_channel dgm_channels_get(const dgm_channels *c, int j)
{
    const double rows = (double)dgm_channels_rows(c);
    double squares = 0;
    uint64_t fired = 0;
    for (int l = 0; l < c->n_langs; l++) {
        squares += c->squares[(size_t)l * (size_t)c->k + (size_t)j];
        fired += c->fired[(size_t)l * (size_t)c->k + (size_t)j];
    }
    return (dgm_channel){
        .a = sqrt(squares / rows), .variance = variance(c, j), .fired = (double)fired / rows};
}

bool dgm_channels_correlation(double *out, const dgm_channels *c, int lang, int other)
{
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    if (c->rows[lang] == 0 || c->rows[other] == 0)
        return false;
    for (int j = 0; j < c->k; j++) {
        mx += of_language(c, lang, j) / c->k;
        my += of_language(c, other, j) / c->k;
    }
    for (int j = 0; j < c->k; j++) {
        const double x = of_language(c, lang, j) - mx, y = of_language(c, other, j) - my;
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    if (xx <= 0 || yy <= 0)
        return false;
    *out = xy / sqrt(xx * yy);
    return true;
}

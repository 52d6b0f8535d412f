#include "runtime/factor.h"

#include <math.h>
#include <stddef.h>

enum { BLOCK = DGM_FACTOR_BLOCK, TILE = 4 };

typedef struct step {
    double *a;
    size_t n, k0;   /* columns k0 .. k0 + 64 are being made */
    double *turned; /* [64, k0] the transpose of r[.. k0][k0 ..] */
} step;

/* The block on the diagonal: columns right of k are r already. */
static bool diagonal(double *a, size_t n, size_t k0)
{
    for (size_t k = k0 + BLOCK; k-- > k0;) {
        const double *row = a + k * n;
        double rest = row[k];
        for (size_t j = k + 1; j < k0 + BLOCK; j++)
            rest -= row[j] * row[j];
        if (!(rest > 0) || !isfinite(rest))
            return false;
        const double root = sqrt(rest);
        a[k * n + k] = root;
        for (size_t i = k0; i < k; i++) {
            double x = a[i * n + k];
            for (size_t j = k + 1; j < k0 + BLOCK; j++)
                x -= a[i * n + j] * row[j];
            a[i * n + k] = x / root;
        }
    }
    return true;
}

/* Row i above the block: x = its 64 columns becomes r, column after column from the right. */
static void solve_row(const step *s, size_t i)
{
    double *x = s->a + i * s->n + s->k0;
    for (size_t k = BLOCK; k-- > 0;) {
        const double root = s->a[(s->k0 + k) * s->n + s->k0 + k];
        x[k] /= root;
        for (size_t j = 0; j < k; j++) /* what r[i][k] takes from the columns left of it */
            x[j] -= x[k] * s->a[(s->k0 + j) * s->n + s->k0 + k];
    }
    for (size_t k = 0; k < BLOCK; k++)
        s->turned[k * s->k0 + i] = x[k];
}

static void solve_part(void *ctx, int part, int n_parts)
{
    const step *s = ctx;
    int begin, end;
    dgm_pool_share(&begin, &end, (int)s->k0, part, n_parts);
    for (int i = begin; i < end; i++)
        solve_row(s, (size_t)i);
}

/* c [4, 4] -= a [4, 64] turned [64, 4]. */
static void update_tile(double *c, const double *a, const double *turned, size_t n, size_t ld)
{
    double sum[TILE][TILE] = {{0}};
    for (size_t k = 0; k < BLOCK; k++)
        for (size_t i = 0; i < TILE; i++)
            for (size_t j = 0; j < TILE; j++)
                sum[i][j] += a[i * n + k] * turned[k * ld + j];
    for (size_t i = 0; i < TILE; i++)
        for (size_t j = 0; j < TILE; j++)
            c[i * n + j] -= sum[i][j];
}

/* Rows get shorter downwards: every n_parts-th strip of 4 for each thread. */
static void update_part(void *ctx, int part, int n_parts)
{
    const step *s = ctx;
    for (size_t i = (size_t)part * TILE; i < s->k0; i += (size_t)n_parts * TILE)
        for (size_t j = i; j < s->k0; j += TILE)
            update_tile(s->a + i * s->n + j, s->a + i * s->n + s->k0, s->turned + j, s->n, s->k0);
}

bool dgm_factor(double *a, size_t n, double *work, dgm_pool *pool)
{
    for (size_t k0 = n; k0 >= BLOCK;) {
        k0 -= BLOCK;
        step s = {a, n, k0, work};
        if (!diagonal(a, n, k0))
            return false;
        dgm_pool_run(pool, solve_part, &s);
        dgm_pool_run(pool, update_part, &s);
    }
    return true;
}

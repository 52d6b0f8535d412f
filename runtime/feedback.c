#include "runtime/feedback.h"

#include "runtime/factor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = DGM_MOMENTS_BLOCK };

/* Block b of u: [4 panels][64 b][16] of the inputs in front, then [64, 64]. */
static size_t block_at(size_t b)
{
    return (size_t)BLOCK * BLOCK * (b * (b + 1) / 2);
}

static size_t padded_of(const dgm_feedback *f)
{
    return dgm_moments_padded(f->n);
}

/* ---- from moments to factors ---- */

typedef struct rank {
    float weight;
    int input;
} rank;

static int heavier(const void *a, const void *b)
{
    const rank *x = a, *y = b;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return x->input - y->input;
}

/* Fills f->order and f->damp. false: nothing to go by. */
static bool choose_order(dgm_feedback *f, rank *ranks, const dgm_moments *m, double damp)
{
    double sum = 0;
    for (int i = 0; i < f->n; i++) {
        ranks[i] = (rank){dgm_moments_at(m, i, i), i};
        sum += (double)ranks[i].weight;
    }
    if (!(sum > 0) || !isfinite(sum))
        return false;
    qsort(ranks, (size_t)f->n, sizeof *ranks, heavier);
    for (int k = 0; k < f->n; k++)
        f->order[k] = ranks[k].input;
    f->damp = (float)(damp * sum / f->n);
    return true;
}

/* a [padded, padded]: H in its order with the damping, and the identity where there is no input. */
static void fill(double *a, const dgm_feedback *f, const dgm_moments *m)
{
    const size_t padded = padded_of(f), n = (size_t)f->n;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i; j < n; j++)
            a[i * padded + j] = (double)dgm_moments_at(m, f->order[i], f->order[j]);
        a[i * padded + i] += (double)f->damp;
    }
    for (size_t i = n; i < padded; i++)
        a[i * padded + i] = 1;
}

/* Keeps U and D of r. */
static void keep(dgm_feedback *f, const double *r)
{
    const size_t padded = padded_of(f);
    for (size_t k = 0; k < padded; k++) {
        const size_t b = k / BLOCK, first = b * BLOCK, c = k - first;
        const double root = r[k * padded + k];
        float *front = f->u + block_at(b) + c / DGM_PANEL * first * DGM_PANEL + c % DGM_PANEL;
        float *own = f->u + block_at(b) + first * BLOCK + c;
        for (size_t j = 0; j < first; j++)
            front[j * DGM_PANEL] = (float)(r[j * padded + k] / root);
        for (size_t j = first; j < k; j++)
            own[(j - first) * BLOCK] = (float)(r[j * padded + k] / root);
        f->d[k] = root * root;
    }
}

int dgm_feedback_init(dgm_feedback *f, bool *solved, const dgm_moments *m, double damp,
                      dgm_pool *pool)
{
    *f = (dgm_feedback){.n = m->n};
    const size_t padded = padded_of(f), blocks = padded / BLOCK;
    rank *ranks = malloc(padded * sizeof *ranks);
    double *a = calloc(padded * padded, sizeof *a), *work = malloc(padded * BLOCK * sizeof *work);
    f->order = calloc(padded, sizeof *f->order);
    f->d = malloc(padded * sizeof *f->d);
    f->u = aligned_alloc(64, block_at(blocks) * sizeof *f->u);
    int rc = DGM_OK;
    *solved = false;
    if (ranks == NULL || a == NULL || work == NULL || f->order == NULL || f->d == NULL ||
        f->u == NULL) {
        rc = dgm_fail(DGM_ENOMEM, "out of memory for a factor of %d inputs", m->n);
    } else if (choose_order(f, ranks, m, damp)) {
        fill(a, f, m);
        *solved = dgm_factor(a, padded, work, pool);
        if (*solved)
            keep(f, a);
    }
    free(ranks);
    free(a);
    free(work);
    if (!*solved)
        dgm_feedback_fini(f);
    return rc;
}

void dgm_feedback_fini(dgm_feedback *f)
{
    free(f->order);
    free(f->u);
    free(f->d);
    free(f->error);
    free(f->sums);
    free(f->q);
    *f = (dgm_feedback){0};
}

/* ---- outputs ---- */

enum pass { ALL, ALONE, FED };

/* One walk over all inputs of some outputs. */
typedef struct walk {
    const dgm_feedback *f;
    const dgm_feedback_rows *r;
    const dgm_quantizer *z;
    enum pass pass;
    size_t block;
} walk;

/* What stands in the walk for input k of output i: the weight, its error, or the error that feedback leaves. */
static float next_error(const walk *w, int i, int k, float fed_back)
{
    const dgm_feedback_rows *r = w->r;
    const int input = w->f->order[k], n = w->f->n;
    const float weight = r->w[(size_t)i * (size_t)n + (size_t)input];
    const int group = w->z->group == 0 ? 0 : input / w->z->group;
    const float scale = r->scale[(size_t)i * r->ld_scale + (size_t)group];
    if (w->pass == ALL)
        return weight;
    if (w->pass == ALONE)
        return weight - (float)r->q[(size_t)i * r->ldq + (size_t)input] * scale;
    const int8_t q =
        (int8_t)(r->keep_zeros && weight == 0 ? 0
                                              : dgm_quantize_one(weight + fed_back, scale, w->z));
    w->f->q[(size_t)i * (size_t)n + (size_t)input] = q;
    return weight - (float)q * scale;
}

/* The 64 inputs of a block, one after the other; sums [64] holds what the blocks in front feed back. */
static double walk_block(const walk *w, int i, float *error, float *sums)
{
    const size_t first = w->block * BLOCK, n = (size_t)w->f->n;
    const size_t inputs = n - first < BLOCK ? n - first : BLOCK;
    const float *own = w->f->u + block_at(w->block) + first * BLOCK;
    double sum = 0;
    for (size_t k = 0; k < inputs; k++) {
        const float e = next_error(w, i, (int)(first + k), sums[k]), *u = own + k * BLOCK;
        const double left = (double)e + (double)sums[k];
        error[first + k] = e;
        /* the damping is no part of what the text makes of it */
        sum += w->f->d[first + k] * left * left - (double)w->f->damp * (double)e * (double)e;
        for (size_t j = k + 1; j < inputs; j++)
            sums[j] += e * u[j];
    }
    return sum;
}

static void walk_part(void *ctx, int part, int n_parts)
{
    const walk *w = ctx;
    int begin, end;
    dgm_pool_share(&begin, &end, w->r->rows, part, n_parts);
    for (int i = begin; i < end; i++) {
        dgm_feedback_error *e = &w->r->error[i];
        double *sum = w->pass == ALL ? &e->all : w->pass == ALONE ? &e->alone : &e->fed;
        float *sums = w->f->sums + (size_t)i * BLOCK;
        if (w->block == 0) {
            memset(sums, 0, BLOCK * sizeof *sums);
            *sum = 0;
        }
        *sum += walk_block(w, i, w->f->error + (size_t)i * padded_of(w->f), sums);
    }
}

/* sums [rows, 64] = errors of the inputs in front times U. */
static void feed(const walk *w, const dgm_moments_tools *t)
{
    const size_t first = w->block * BLOCK;
    const dgm_packed u = {
        .n = BLOCK, .k = (int)first, .type = DGM_W_F32, .data = w->f->u + block_at(w->block)};
    const dgm_gemm_job job = {.x = w->f->error,
                              .ldx = padded_of(w->f),
                              .y = w->f->sums,
                              .ldy = BLOCK,
                              .w = &u,
                              .rows = w->r->rows};
    if (first > 0)
        dgm_gemm(t->kern, t->pool, &job, 1, t->scratch);
}

static int reserve(dgm_feedback *f, int rows)
{
    const size_t n = (size_t)rows, padded = padded_of(f);
    if (n <= f->cap_rows)
        return DGM_OK;
    free(f->error);
    free(f->sums);
    free(f->q);
    f->error = malloc(n * padded * sizeof *f->error);
    f->sums = malloc(n * BLOCK * sizeof *f->sums);
    f->q = malloc(n * (size_t)f->n);
    f->cap_rows = n;
    if (f->error != NULL && f->sums != NULL && f->q != NULL)
        return DGM_OK;
    f->cap_rows = 0;
    return dgm_fail(DGM_ENOMEM, "out of memory for the errors of %d outputs", rows);
}

int dgm_feedback_run(dgm_feedback *f, const dgm_feedback_rows *r, const dgm_quantizer *z,
                     const dgm_moments_tools *t)
{
    DGM_TRY(reserve(f, r->rows));
    for (enum pass p = ALL; p <= FED; p++)
        for (size_t b = 0; b < padded_of(f) / BLOCK; b++) {
            walk w = {.f = f, .r = r, .z = z, .pass = p, .block = b};
            feed(&w, t);
            dgm_pool_run(t->pool, walk_part, &w);
        }
    for (int i = 0; i < r->rows; i++) {
        dgm_feedback_error *e = &r->error[i];
        if (e->fed <= e->alone)
            memcpy(r->q + (size_t)i * r->ldq, f->q + (size_t)i * (size_t)f->n, (size_t)f->n);
        else
            e->fed = e->alone;
    }
    return DGM_OK;
}

size_t dgm_feedback_scratch_bytes(int rows, int n, int n_threads)
{
    return dgm_gemm_scratch_bytes(rows, 1, n, BLOCK, n_threads);
}

#include "runtime/sparsify_matrix.h"

#include "kernels/sparse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list ---- */

int dgm_prunables_list(dgm_prunables *p, const dgm_model *m)
{
    const struct dgm_model_files *f = m->files;
    *p = (dgm_prunables){.all = calloc(f->n_slots + 1, sizeof *p->all)};
    if (p->all == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of matrices");
    for (size_t i = 0; i < f->n_slots; i++) {
        const dgm_slot *s = &f->slots[i];
        if (dgm_prunable_slot(s) && (p->n == 0 || p->all[p->n - 1].w != s->matrix))
            p->all[p->n++] = (dgm_prunable){.w = s->matrix, .slot = s};
    }
    return DGM_OK;
}

void dgm_prunables_free(dgm_prunables *p)
{
    for (size_t i = 0; i < p->n; i++) {
        dgm_channels_fini(&p->all[i].channels);
        free(p->all[i].factor);
        free(p->all[i].own);
    }
    free(p->all);
    *p = (dgm_prunables){0};
}

size_t dgm_prunables_layer(const dgm_prunables *p, int layer, dgm_prunable **first)
{
    size_t at = 0, n = 0;
    while (at < p->n && p->all[at].slot->layer != layer)
        at++;
    while (at + n < p->n && p->all[at + n].slot->layer == layer)
        n++;
    *first = &p->all[at];
    return n;
}

int dgm_prunable_weigh(dgm_prunable *p, const dgm_score_rule *rule)
{
    if (p->factor == NULL)
        p->factor = malloc((size_t)p->w->k * sizeof *p->factor);
    if (p->factor == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the scores of a matrix");
    p->seen = p->channels.k != 0 && dgm_channels_rows(&p->channels) > 0;
    for (int j = 0; j < p->w->k; j++) {
        const dgm_channel c =
            p->seen ? dgm_channels_get(&p->channels, j) : (dgm_channel){.a = 1, .fired = 1};
        p->factor[j] = dgm_score_factor(&c, rule);
    }
    return DGM_OK;
}

/* ---- all rows, shared out over the pool ---- */

/* What a part of the rows brings. */
typedef struct share {
    uint64_t *keys; /* [k] */
    float *row;     /* [k] */
    int32_t *gone;  /* [k] */
    uint64_t count;
    bool bad;
} share;

typedef struct work {
    dgm_prunable *p;
    const dgm_prunable *look;
    share *shares; /* [parts] */
    double *sums;  /* [n] of rows, looking */
    double limit, goes;
    dgm_n_of_m pattern;
} work;

static void end_work(work *w, int parts)
{
    for (int i = 0; w->shares != NULL && i < parts; i++) {
        free(w->shares[i].keys);
        free(w->shares[i].row);
        free(w->shares[i].gone);
    }
    free(w->shares);
    free(w->sums);
}

static int begin_work(work *w, const dgm_packed *matrix, int parts)
{
    const size_t k = (size_t)matrix->k;
    bool good = true;
    w->shares = calloc((size_t)parts, sizeof *w->shares);
    w->sums = calloc((size_t)matrix->n, sizeof *w->sums);
    for (int i = 0; w->shares != NULL && i < parts; i++) {
        share *s = &w->shares[i];
        s->keys = malloc(k * sizeof *s->keys);
        s->row = malloc(k * sizeof *s->row);
        s->gone = malloc(k * sizeof *s->gone);
        good = good && s->keys != NULL && s->row != NULL && s->gone != NULL;
    }
    if (good && w->shares != NULL && w->sums != NULL)
        return DGM_OK;
    end_work(w, parts);
    return dgm_fail(DGM_ENOMEM, "out of memory for the rows of a matrix");
}

/* finish - the parts' counts together, or the sentence about a weight that is no number. */
static int finish(uint64_t *count, work *w, const dgm_prunable *p, int parts)
{
    bool bad = false;
    *count = 0;
    for (int i = 0; i < parts; i++) {
        *count += w->shares[i].count;
        bad = bad || w->shares[i].bad;
    }
    return !bad ? DGM_OK
                : dgm_fail(DGM_EMODEL,
                           "%s: wanted weights and inputs that are finite numbers, "
                           "found others",
                           p->slot->name);
}

static void look_at_rows(void *ctx, int part, int n_parts)
{
    work *w = ctx;
    const dgm_prunable *p = w->look;
    share *s = &w->shares[part];
    int begin, end;
    dgm_pool_share(&begin, &end, p->w->n, part, n_parts);
    for (int r = begin; r < end; r++) {
        dgm_packed_read(s->row, p->w, r);
        for (int j = 0; j < p->w->k; j++) {
            const double score = (double)(fabsf(s->row[j]) * p->factor[j]);
            w->sums[r] += score;
            s->count += score > w->limit;
        }
        s->bad = s->bad || !isfinite(w->sums[r]);
    }
}

int dgm_prunable_above(uint64_t *above, double *sum, const dgm_prunable *p, double limit,
                       dgm_pool *pool)
{
    const int parts = dgm_pool_size(pool);
    work w = {.look = p, .limit = limit};
    DGM_TRY(begin_work(&w, p->w, parts));
    dgm_pool_run(pool, look_at_rows, &w);
    *sum = 0;
    for (int r = 0; r < p->w->n; r++)
        *sum += w.sums[r];
    const int rc = finish(above, &w, p, parts);
    end_work(&w, parts);
    return rc;
}

static void cut_rows(void *ctx, int part, int n_parts)
{
    work *w = ctx;
    const dgm_packed *m = w->p->w;
    share *s = &w->shares[part];
    void *panels = (void *)m->data; /* ours: the model's arena, or a copy */
    int begin, end;
    dgm_pool_share(&begin, &end, m->n, part, n_parts);
    for (int r = begin; r < end; r++) {
        dgm_packed_read(s->row, m, r);
        const int goes = dgm_score_goes_row(r, m->k, w->goes);
        if (!dgm_score_choose(s->gone, s->keys, s->row, w->p->factor, m->k, goes, w->pattern)) {
            s->bad = true;
            return;
        }
        for (int i = 0; i < goes; i++) {
            dgm_packed_zero(panels, m->type, m->k, r, s->gone[i]);
            s->row[s->gone[i]] = 0;
        }
        for (int j = 0; j < m->k; j++)
            s->count += s->row[j] == 0;
    }
}

/* make_own - panels that may change: dense ones. */
static int make_own(dgm_prunable *p)
{
    const size_t bytes = dgm_packed_bytes(p->w->type, p->w->n, p->w->k);
    dgm_kernels kern;
    if (p->slot->form != DGM_SLOT_PANELS || p->own != NULL)
        return DGM_OK;
    p->own = aligned_alloc(64, bytes);
    if (p->own == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %s", p->slot->name);
    if (p->w->pattern == DGM_DENSE) {
        memcpy(p->own, p->w->data, bytes);
    } else {
        DGM_TRY(dgm_kernels_select(&kern, NULL)); /* any gives the same panels */
        dgm_sparse_expand(&kern, p->own, p->w);
        p->w->pattern = DGM_DENSE;
    }
    p->w->data = p->own;
    return DGM_OK;
}

int dgm_prunable_cut(uint64_t *zeros, dgm_prunable *p, double goes, dgm_n_of_m pattern,
                     dgm_pool *pool)
{
    const int parts = dgm_pool_size(pool);
    work w = {.p = p, .goes = goes, .pattern = pattern};
    DGM_TRY(make_own(p));
    DGM_TRY(begin_work(&w, p->w, parts));
    dgm_pool_run(pool, cut_rows, &w);
    const int rc = finish(zeros, &w, p, parts);
    end_work(&w, parts);
    return rc;
}

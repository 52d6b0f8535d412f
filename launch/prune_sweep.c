#include "launch/prune_sweep.h"

#include "launch/prune_loss.h"
#include "launch/sweep_show.h"
#include "runtime/knee.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool bounds_loss(const dgm_options *o)
{
    return o->max_loss >= 0;
}

bool dgm_prune_measures(const dgm_options *o)
{
    return o->evaluate || o->sweep || bounds_loss(o);
}

/* ---- before the model is loaded ---- */

static int warn_of_same_text(const dgm_sweep *s, const dgm_evaluation *e)
{
    uint64_t *corpora = calloc((size_t)s->stats.n_runs + 1, sizeof *corpora);
    if (corpora == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the names of %d texts", s->stats.n_runs);
    for (int i = 0; i < s->stats.n_runs; i++)
        corpora[i] = s->stats.runs[i].corpus;
    dgm_evaluation_warn(e, corpora, s->stats.n_runs, s->o->stats);
    free(corpora);
    return DGM_OK;
}

static int prepare(dgm_evaluation *e, void *ctx)
{
    dgm_sweep *s = ctx;
    DGM_TRY(dgm_sweep_points(s, e));
    return warn_of_same_text(s, e);
}

/* ---- --sweep ---- */

/* By bytes; of as many, by what they lose. */
static int smallest_first(const void *a, const void *b)
{
    const dgm_point *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return (x->lost > y->lost) - (x->lost < y->lost);
}

/* find_knee - among the points and all experts, which are points[0] and the largest; -1: none. */
static int find_knee(int *knee, const dgm_sweep *s)
{
    double *x = calloc(2 * (size_t)s->n, sizeof *x), *y = x + s->n;
    if (x == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d points", s->n);
    for (int i = 0; i < s->n; i++) {
        const dgm_point *p = &s->points[(i + 1) % s->n];
        x[i] = (double)p->bytes;
        y[i] = p->score[DGM_SCORE_CHRF];
    }
    *knee = dgm_knee(x, y, s->n);
    *knee = *knee < 0 || *knee == s->n - 1 ? -1 : *knee + 1;
    free(x);
    return DGM_OK;
}

static int sweep(dgm_evaluation *e, void *ctx)
{
    dgm_sweep *s = ctx;
    int knee = -1;
    dgm_sweep_show_head();
    for (int i = 0; i < s->n; i++) {
        const int rc = dgm_sweep_measure(s, e, &s->points[i]);
        if (rc != DGM_OK)
            return rc;
        dgm_sweep_show_point(&s->points[i], e);
    }
    qsort(s->points + 1, (size_t)s->n - 1, sizeof *s->points, smallest_first);
    DGM_TRY(find_knee(&knee, s));
    dgm_sweep_plot(s, knee);
    if (knee < 0) {
        (void)printf("no knee: no choice is above the line from the smallest to all experts\n");
    } else {
        const dgm_point *p = &s->points[knee];
        (void)printf("knee: fraction %g, ratio %g: %.2f chrF++ lost with %.1f %% of the bytes\n",
                     p->fraction, p->ratio, p->lost,
                     100.0 * (double)p->bytes / (double)s->points[0].bytes);
    }
    if (s->o->output[0] != '\0')
        DGM_TRY(dgm_sweep_write(s, e, knee, s->o->output));
    return s->o->keep[0] != '\0' && knee > 0 ? dgm_sweep_keep(s, e, &s->points[knee]) : DGM_OK;
}

/* ---- --max-loss ---- */

typedef struct search {
    dgm_sweep *s;
    dgm_evaluation *e;
    const dgm_point *best,
        *nearest; /* within the bound, fewest bytes; of the others the one that loses least */
} search;

static double loss_of(const search *a, const dgm_point *p)
{
    return strcmp(a->s->o->loss_of, "mean") == 0 ? p->lost : p->worst_lost;
}

/* try - *within: the point loses no more than it may. */
static int try(bool *within, search *a, dgm_point *p)
{
    const int rc = dgm_sweep_measure(a->s, a->e, p);
    if (rc != DGM_OK)
        return rc;
    dgm_sweep_show_point(p, a->e);
    *within = loss_of(a, p) <= (double)a->s->o->max_loss;
    if (*within && (a->best == NULL || p->bytes < a->best->bytes))
        a->best = p;
    if (!*within && (a->nearest == NULL || loss_of(a, p) < loss_of(a, a->nearest)))
        a->nearest = p;
    return DGM_OK;
}

/*
 * bisect - points [n] of one ratio, from most bytes to fewest: the last one within the bound, if the loss grows as bytes go. Those
 * that are not smaller than the best of another ratio need no look; if the first that is fails, so would the rest.
 */
static int bisect(search *a, dgm_point *points, int n)
{
    bool within;
    int low = 0, high = n;
    while (a->best != NULL && low < n && points[low].bytes >= a->best->bytes)
        low++;
    if (a->best != NULL && low < n) {
        const int rc = try(&within, a, &points[low]);
        if (rc != DGM_OK || !within)
            return rc;
        low++;
    }
    while (low < high) {
        const int mid = low + (high - low) / 2;
        const int rc = try(&within, a, &points[mid]);
        if (rc != DGM_OK)
            return rc;
        if (within)
            low = mid + 1;
        else
            high = mid;
    }
    return DGM_OK;
}

static int largest_first(const void *a, const void *b)
{
    const dgm_point *x = a, *y = b;
    if (x->ratio != y->ratio)
        return x->ratio < y->ratio ? -1 : 1;
    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static int show_found(const search *a)
{
    const dgm_options *o = a->s->o;
    const dgm_point *p = a->best;
    DGM_ASSERT(p != NULL || a->nearest != NULL); /* there is one that removes experts */
    if (p == NULL)
        return dgm_fail(DGM_EINPUT,
                        "--max-loss %g: no choice of fewer experts loses so little on these texts; "
                        "fraction %g, ratio %g loses %.3f (%s)",
                        (double)o->max_loss, a->nearest->fraction, a->nearest->ratio,
                        loss_of(a, a->nearest), o->loss_of);
    (void)printf(
        "\nfewest bytes within %g chrF++ (%s): fraction %g, ratio %g: %.3f lost with %.1f %% "
        "of the bytes\n",
        (double)o->max_loss, o->loss_of, p->fraction, p->ratio, loss_of(a, p),
        100.0 * (double)p->bytes / (double)a->s->points[0].bytes);
    return dgm_sweep_keep(a->s, a->e, p);
}

static int find(dgm_evaluation *e, void *ctx)
{
    dgm_sweep *s = ctx;
    search a = {.s = s, .e = e};
    dgm_sweep_show_head();
    const int rc = dgm_sweep_measure(s, e, &s->points[0]);
    if (rc != DGM_OK)
        return rc;
    dgm_sweep_show_point(&s->points[0], e);
    qsort(s->points + 1, (size_t)s->n - 1, sizeof *s->points, largest_first);
    for (int from = 1, to; from < s->n; from = to) {
        for (to = from + 1; to < s->n && s->points[to].ratio == s->points[from].ratio;)
            to++;
        const int found = bisect(&a, s->points + from, to - from);
        if (found != DGM_OK)
            return found;
    }
    return show_found(&a);
}

/* ---- both ---- */

static int check(const dgm_options *o)
{
    if (o->sweep && bounds_loss(o))
        return dgm_fail(DGM_EUSAGE, "prune: want --sweep or --max-loss, found both");
    if (o->stats[0] == '\0')
        return dgm_fail(DGM_EUSAGE,
                        "prune: want --stats FILE with --sweep and --max-loss, as dragoman stats "
                        "writes it");
    if (dgm_prune_by_loss(o))
        return dgm_fail(DGM_EUSAGE,
                        "prune: want an --algorithm that goes by statistics with --sweep and "
                        "--max-loss, found %s",
                        o->algorithm);
    if (bounds_loss(o) && o->keep[0] == '\0')
        return dgm_fail(DGM_EUSAGE,
                        "prune --max-loss: want -k FILE, where the experts to keep are written");
    if (o->json || (bounds_loss(o) && o->output[0] != '\0'))
        return dgm_fail(DGM_EUSAGE, "prune: --sweep -o FILE writes JSON, %s does not",
                        o->json ? "--json" : "--max-loss");
    return DGM_OK;
}

int dgm_prune_sweep(const dgm_options *o)
{
    dgm_sweep s = {.o = o};
    const int code = dgm_evaluation_run(o, check(o), prepare, o->sweep ? sweep : find, &s);
    dgm_sweep_free(&s, o->n_directions);
    return code;
}

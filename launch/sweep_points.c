#include "launch/sweep_points.h"

#include "base/log.h"
#include "launch/prune_plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };
static const char usual_fractions[] = "0.25,0.5,0.625,0.75,0.8125,0.875";

/* ---- which ---- */

typedef struct numbers {
    double at[MOST];
    int n;
} numbers;

static int read_numbers(numbers *out, const char *list, const char *option, double most)
{
    out->n = 0;
    for (const char *at = list;; at++) {
        char *end;
        const double v = strtod(at, &end);
        if (end == at || !(v >= 0 && v <= most) || out->n == MOST || (*end != ',' && *end != '\0'))
            return dgm_fail(DGM_EUSAGE,
                            "%s: want at most %d numbers from 0 to %g such as 0.5,0.75, found '%s'",
                            option, MOST, most, list);
        out->at[out->n++] = v;
        if (*end == '\0')
            return DGM_OK;
        at = end;
    }
}

static int read_grid(numbers *fractions, numbers *ratios, const dgm_options *o)
{
    const char *given = o->fractions[0] != '\0' ? o->fractions : usual_fractions;
    DGM_TRY(read_numbers(ratios, o->ratios, "--ratios", 1000));
    DGM_TRY(read_numbers(fractions, given, "--fractions", 1));
    if (o->sweep || o->fractions[0] != '\0')
        return DGM_OK;
    fractions->n =
        MOST - 1; /* a layer less of each stack at a time, where layers have 32 experts or more */
    for (int i = 1; i < MOST; i++)
        fractions->at[i - 1] = (double)i / MOST;
    return DGM_OK;
}

/* choose - the experts of a pair, as prune --fraction --ratio chooses them. */
static int choose(dgm_keep *k, const dgm_sweep *s, const dgm_model *m, double fraction,
                  double ratio, dgm_keep_plan *plan)
{
    dgm_options o = *s->o;
    o.fraction = (float)fraction;
    o.ratio = (float)ratio;
    o.keep_total = o.keep_encoder = 0;
    DGM_TRY(dgm_prune_plan(plan, &o, &s->stats, &m->cfg));
    DGM_TRY(dgm_keep_init(k, &m->cfg, m->hash));
    return dgm_keep_choose(k, &s->stats, plan);
}

/* bytes_of - the weights on one rank that holds these sets alone. */
static int bytes_of(uint64_t *bytes, dgm_model *m, const dgm_expert_sets *all,
                    const dgm_evaluation_set *sets, int n)
{
    const struct dgm_expert_sets *before = m->sets;
    dgm_expert_sets some;
    uint64_t dense, experts;
    DGM_TRY(dgm_expert_sets_init(&some, &m->cfg));
    int rc = DGM_OK;
    for (int i = 0; i < n; i++)
        for (int stack = 0; stack < DGM_STACKS && rc == DGM_OK; stack++) {
            const int number = stack == DGM_ENCODER ? sets[i].encoder : sets[i].decoder;
            const dgm_keep_set set = {.kept = (uint8_t *)dgm_expert_set(all, number)};
            int added;
            if (set.kept != NULL)
                rc = dgm_expert_sets_add(&added, &some, &set);
        }
    m->sets = &some;
    dgm_model_rank_bytes(&dense, &experts, m, 0, 1, true);
    m->sets = before;
    dgm_expert_sets_fini(&some);
    *bytes = dense + experts;
    return rc;
}

/* size_up - what a point keeps, and how large that is. */
static int size_up(dgm_point *p, const dgm_evaluation *e)
{
    const dgm_expert_sets *all = &e->session.sets;
    uint64_t sum = 0;
    for (int i = 0; i < e->n; i++) {
        uint64_t bytes;
        DGM_TRY(bytes_of(&bytes, e->session.model, all, &p->sets[i], 1));
        sum += bytes;
        for (int stack = 0; stack < DGM_STACKS; stack++) {
            const uint8_t *kept =
                dgm_expert_set(all, stack == DGM_ENCODER ? p->sets[i].encoder : p->sets[i].decoder);
            for (size_t x = 0; kept != NULL && x < all->shape.n_experts; x++)
                p->kept[stack] += (double)kept[x] / e->n;
        }
    }
    p->bytes = sum / (uint64_t)e->n;
    return bytes_of(&p->bytes_all, e->session.model, all, p->sets, e->n);
}

/* fail_missing - the sets are the languages that the statistics know. */
static int fail_missing(const dgm_sweep *s, const dgm_keep *k, int stack, const char *direction)
{
    char names[512] = "";
    size_t n = 0;
    for (int i = 0; i < k->n[stack] && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i > 0 ? ", " : "",
                              k->sets[stack][i].name);
    return dgm_fail(DGM_EINPUT, "%s: want statistics for the %s of %s, found only those of %s",
                    s->o->stats, stack == DGM_ENCODER ? "encoder" : "decoder", direction, names);
}

/* check_languages - each direction has sets, unless --keep-missing says that it need not. */
static int check_languages(const dgm_sweep *s, const dgm_evaluation *e, const dgm_keep *k)
{
    for (int i = 0; i < e->n && strcmp(s->o->keep_missing, "exact") != 0; i++) {
        const dgm_filter_direction *d = &e->directions[i].direction;
        const char *src = dgm_tok_piece(e->session.tok, d->source), *tgt = d->targets[0].lang;
        for (int stack = 0; stack < DGM_STACKS; stack++)
            if (dgm_keep_find(k, stack, src, tgt) == NULL)
                return fail_missing(s, k, stack, e->directions[i].name);
    }
    return DGM_OK;
}

static int add_point(dgm_sweep *s, dgm_evaluation *e, const dgm_keep *keep, double fraction,
                     double ratio)
{
    const size_t bytes = (size_t)e->n * sizeof(dgm_evaluation_set);
    dgm_point *p = &s->points[s->n];
    *p = (dgm_point){.fraction = fraction, .ratio = ratio, .worst = -1};
    p->sets = malloc(bytes);
    p->sums = calloc((size_t)e->n, sizeof *p->sums);
    s->n++;
    if (p->sets == NULL || p->sums == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d directions", e->n);
    DGM_TRY(dgm_evaluation_sets(p->sets, e, keep));
    for (int i = 0; i < s->n - 1; i++)
        if (memcmp(s->points[i].sets, p->sets, bytes) == 0) {
            free(p->sets);
            free(p->sums);
            s->n--;
            return DGM_OK;
        }
    return size_up(p, e);
}

static int add_pair(dgm_sweep *s, dgm_evaluation *e, double fraction, double ratio)
{
    dgm_keep keep = {0};
    dgm_keep_plan plan = {0};
    dgm_comm_busy(e->session.comm, "choosing experts");
    int rc = choose(&keep, s, e->session.model, fraction, ratio, &plan);
    if (rc == DGM_OK) {
        rc = check_languages(s, e, &keep);
        if (rc == DGM_OK)
            rc = add_point(s, e, &keep, fraction, ratio);
    } else if (rc == DGM_EUSAGE) { /* a budget that does not fit */
        dgm_log(DGM_LOG_DEBUG, "prune", "fraction %g, ratio %g: left out: %s", fraction, ratio,
                dgm_error_text());
        rc = DGM_OK;
    }
    free((void *)plan.targets);
    dgm_keep_fini(&keep);
    return rc;
}

int dgm_sweep_points(dgm_sweep *s, dgm_evaluation *e)
{
    numbers fractions = {.n = 0}, ratios = {.n = 0};
    DGM_TRY(read_grid(&fractions, &ratios, s->o));
    DGM_TRY(dgm_prune_stats(&s->stats, s->o, e->session.model));
    s->before = calloc((size_t)e->n, sizeof(dgm_quality *));
    s->points = calloc(1 + (size_t)fractions.n * (size_t)ratios.n, sizeof *s->points);
    if (s->before == NULL || s->points == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for choices of experts");
    DGM_TRY(add_point(s, e, NULL, 0, 0));
    for (int r = 0; r < ratios.n; r++)
        for (int f = 0; f < fractions.n; f++)
            DGM_TRY(add_pair(s, e, fractions.at[f], ratios.at[r]));
    if (s->n == 1) /* say why of one of them */
    {
        dgm_keep keep = {0};
        dgm_keep_plan plan = {0};
        const int rc = choose(&keep, s, e->session.model, fractions.at[0], ratios.at[0], &plan);
        free((void *)plan.targets);
        dgm_keep_fini(&keep);
        return rc != DGM_OK ? rc
                            : dgm_fail(DGM_EUSAGE, "--fractions: want one that removes experts");
    }
    return DGM_OK;
}

void dgm_sweep_free(dgm_sweep *s, int n_directions)
{
    for (int i = 0; i < s->n; i++) {
        free(s->points[i].sets);
        free(s->points[i].sums);
    }
    for (int i = 0; s->before != NULL && i < n_directions; i++)
        free(s->before[i]);
    free(s->before);
    free(s->points);
    dgm_gates_fini(&s->stats);
    *s = (dgm_sweep){0};
}

int dgm_sweep_keep(const dgm_sweep *s, const dgm_evaluation *e, const dgm_point *p)
{
    dgm_keep keep = {0};
    dgm_keep_plan plan = {0};
    dgm_options chosen = *s->o; /* the file says what prune alone would be asked */
    chosen.fraction = (float)p->fraction;
    chosen.ratio = (float)p->ratio;
    chosen.keep_total = 0;
    int rc = choose(&keep, s, e->session.model, p->fraction, p->ratio, &plan);
    if (rc == DGM_OK)
        rc = dgm_prune_write(&keep, &chosen, &s->stats, &plan);
    free((void *)plan.targets);
    dgm_keep_fini(&keep);
    return rc;
}

/* ---- how good ---- */

static double chrf(const dgm_quality *q)
{
    return dgm_quality_score(q, DGM_SCORE_CHRF);
}

/* sum_up - means and counts from the sums of the directions. */
static void sum_up(dgm_point *p, const dgm_point *all, int n)
{
    for (int i = 0; i < n; i++) {
        const dgm_quality *q = &p->sums[i];
        const double lost = chrf(&all->sums[i]) - chrf(q);
        for (int k = 0; k < DGM_SCORES; k++)
            p->score[k] += dgm_quality_score(q, (enum dgm_score)k) / n;
        p->length_ratio += dgm_quality_length_ratio(q) / n;
        p->lost += lost / n;
        p->empty += q->empty;
        p->looping += q->looping;
        p->unfinished += q->unfinished;
        if (p != all && (p->worst < 0 || lost > p->worst_lost)) {
            p->worst = i;
            p->worst_lost = lost;
        }
    }
    p->measured = true;
}

/* measure_direction - the lines of points[0] are kept for the others. */
static int measure_direction(dgm_sweep *s, dgm_evaluation *e, dgm_point *p, int i,
                             dgm_resamples *change)
{
    const size_t n = e->directions[i].text.n_lines;
    dgm_quality *lines = calloc(n, sizeof *lines);
    if (lines == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu lines", n);
    const int rc = dgm_evaluation_translate(lines, e, i, p->sets[i]);
    for (size_t k = 0; rc == DGM_OK && k < n; k++)
        dgm_quality_add(&p->sums[i], &lines[k]);
    if (rc == DGM_OK && p == s->points) {
        s->before[i] = lines;
        return rc;
    }
    if (rc == DGM_OK)
        dgm_evaluation_resample(change, e, i, s->before[i], lines);
    free(lines);
    return rc;
}

int dgm_sweep_measure(dgm_sweep *s, dgm_evaluation *e, dgm_point *p)
{
    dgm_resamples *change = calloc(1, sizeof *change);
    if (change == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for resamples");
    int rc = DGM_OK;
    for (int i = 0; i < e->n && rc == DGM_OK; i++)
        rc = measure_direction(s, e, p, i, change);
    if (rc == DGM_OK) {
        sum_up(p, s->points, e->n);
        const dgm_interval i = dgm_bootstrap_interval(change->score[DGM_SCORE_CHRF], e->n);
        if (p != s->points) /* of the loss: the other way round */
            p->interval = (dgm_interval){-i.high, -i.low};
    }
    free(change);
    return rc;
}

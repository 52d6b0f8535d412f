#include "launch/prune_evaluate.h"

#include "base/log.h"
#include "launch/evaluation.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BEFORE, AFTER, SIDES };

/* A row of the result: one direction, or their mean. */
typedef struct row {
    const char *name, *src, *tgt; /* src, tgt NULL: of the mean */
    int n;                        /* directions in it: scores are sums over them, counts too */
    double score[SIDES][DGM_SCORES], ratio[SIDES];
    dgm_quality sum[SIDES];
    dgm_resamples change;
    dgm_interval interval[DGM_SCORES];
} row;

typedef struct comparison {
    const dgm_options *o;
    dgm_evaluation_set *sets[SIDES]; /* [directions] */
    row *rows;                       /* [directions + 1], the mean last */
} comparison;

/* ---- before the model is loaded ---- */

static int warn_of_same_text(const dgm_evaluation *e, const char *path)
{
    uint64_t *corpora;
    int n;
    DGM_TRY(dgm_keep_read_corpora(&corpora, &n, path));
    dgm_evaluation_warn(e, corpora, n, path);
    free(corpora);
    return DGM_OK;
}

static int prepare(dgm_evaluation *e, void *ctx)
{
    comparison *c = ctx;
    const dgm_model *m = e->session.model;
    dgm_keep keep;
    DGM_TRY(dgm_keep_read(&keep, c->o->keep, &m->cfg, m->hash));
    int rc = DGM_OK;
    for (int k = 0; k < SIDES && rc == DGM_OK; k++) {
        c->sets[k] = calloc((size_t)e->n, sizeof *c->sets[k]);
        rc = c->sets[k] == NULL ? dgm_fail(DGM_ENOMEM, "out of memory for %d directions", e->n)
                                : dgm_evaluation_sets(c->sets[k], e, k == BEFORE ? NULL : &keep);
    }
    dgm_keep_fini(&keep);
    DGM_TRY(rc);
    c->rows = calloc((size_t)e->n + 1, sizeof *c->rows);
    if (c->rows == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d directions", e->n);
    return warn_of_same_text(e, c->o->keep);
}

/* ---- measuring ---- */

/* add_row - into the mean. */
static void add_row(row *mean, const row *r)
{
    mean->n++;
    for (int k = 0; k < SIDES; k++) {
        dgm_quality_add(&mean->sum[k], &r->sum[k]);
        mean->ratio[k] += r->ratio[k];
        for (int s = 0; s < DGM_SCORES; s++)
            mean->score[k][s] += r->score[k][s];
    }
    for (int s = 0; s < DGM_SCORES; s++)
        for (int i = 0; i < DGM_RESAMPLES; i++)
            mean->change.score[s][i] += r->change.score[s][i];
}

static void find_intervals(row *r)
{
    for (int s = 0; s < DGM_SCORES; s++)
        r->interval[s] = dgm_bootstrap_interval(r->change.score[s], r->n);
}

/* fill_row - of direction i, from the lines of both sides, one behind the other. */
static void fill_row(row *r, const dgm_evaluation *e, int i, const dgm_quality *lines, size_t n)
{
    r->n = 1;
    for (int k = 0; k < SIDES; k++) {
        for (size_t line = 0; line < n; line++)
            dgm_quality_add(&r->sum[k], &lines[(size_t)k * n + line]);
        r->ratio[k] = dgm_quality_length_ratio(&r->sum[k]);
        for (int s = 0; s < DGM_SCORES; s++)
            r->score[k][s] = dgm_quality_score(&r->sum[k], (enum dgm_score)s);
    }
    dgm_evaluation_resample(&r->change, e, i, lines, lines + n);
}

static int measure(dgm_evaluation *e, comparison *c, int i)
{
    const dgm_evaluated *d = &e->directions[i];
    const size_t n = d->text.n_lines;
    row *r = &c->rows[i];
    dgm_quality *lines = calloc(SIDES * n, sizeof *lines);
    if (lines == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu lines", n);
    int rc = DGM_OK;
    for (int k = 0; k < SIDES && rc == DGM_OK; k++)
        rc = dgm_evaluation_translate(lines + (size_t)k * n, e, i, c->sets[k][i]);
    if (rc == DGM_OK) {
        r->name = d->name;
        r->src = dgm_tok_piece(e->session.tok, d->direction.source);
        r->tgt = d->direction.targets[0].lang;
        fill_row(r, e, i, lines, n);
        add_row(&c->rows[e->n], r);
        find_intervals(r);
        dgm_log(DGM_LOG_INFO, "prune", "%s: %zu lines, chrF++ %.2f, then %.2f", d->name, n,
                r->score[BEFORE][DGM_SCORE_CHRF], r->score[AFTER][DGM_SCORE_CHRF]);
    }
    free(lines);
    return rc;
}

/* ---- showing ---- */

static double change_of(const row *r, int score)
{
    return (r->score[AFTER][score] - r->score[BEFORE][score]) / r->n;
}

/* What loses most chrF++ comes first. */
static int worst_first(const void *a, const void *b)
{
    const double x = change_of(a, DGM_SCORE_CHRF), y = change_of(b, DGM_SCORE_CHRF);
    return x != y ? (x > y) - (x < y) : strcmp(((const row *)a)->name, ((const row *)b)->name);
}

static void print_counts(const char *what, int64_t before, int64_t after)
{
    (void)printf("  %-29s %8" PRId64 " %8" PRId64 " %+8" PRId64 "\n", what, before, after,
                 after - before);
}

static void print_row(const row *r)
{
    (void)printf("%s: %" PRId64 " lines\n", r->name, r->sum[BEFORE].lines);
    for (int s = 0; s < DGM_SCORES; s++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s%s", dgm_score_name((enum dgm_score)s),
                       s == DGM_SCORE_SPBLEU ? " (this model's pieces)" : "");
        (void)printf("  %-29s %8.2f %8.2f %+8.2f   [%+.2f, %+.2f]\n", name,
                     r->score[BEFORE][s] / r->n, r->score[AFTER][s] / r->n, change_of(r, s),
                     r->interval[s].low, r->interval[s].high);
    }
    (void)printf("  %-29s %8.3f %8.3f %+8.3f\n", "length ratio", r->ratio[BEFORE] / r->n,
                 r->ratio[AFTER] / r->n, (r->ratio[AFTER] - r->ratio[BEFORE]) / r->n);
    print_counts("empty", r->sum[BEFORE].empty, r->sum[AFTER].empty);
    print_counts("looping", r->sum[BEFORE].looping, r->sum[AFTER].looping);
    print_counts("unfinished", r->sum[BEFORE].unfinished, r->sum[AFTER].unfinished);
}

static void print(const comparison *c, int n)
{
    (void)printf("%-31s %8s %8s %8s   95 %% interval of the change\n", "worst first", "before",
                 "after", "change");
    for (int i = 0; i <= n; i++)
        if (i < n || n > 1)
            print_row(&c->rows[i]);
    (void)printf("\nintervals: paired bootstrap over lines, %d resamples, --seed %" PRIu64 "\n",
                 DGM_RESAMPLES, c->o->seed);
    for (int s = 0; s < DGM_SCORES; s++)
        (void)printf("%-6s %s\n", dgm_score_name((enum dgm_score)s),
                     dgm_score_signature((enum dgm_score)s));
}

static void print_json_row(const row *r)
{
    static const char *const keys[DGM_SCORES] = {"bleu", "spbleu", "chrf++"};
    if (r->src != NULL)
        (void)printf("{\"src\":\"%s\",\"tgt\":\"%s\",", r->src, r->tgt);
    else
        (void)printf("{\"directions\":%d,", r->n);
    (void)printf("\"lines\":%" PRId64, r->sum[BEFORE].lines);
    for (int s = 0; s < DGM_SCORES; s++)
        (void)printf(",\"%s\":{\"before\":%.9f,\"after\":%.9f,\"change\":%.9f,\"low\":%.9f,"
                     "\"high\":%.9f}",
                     keys[s], r->score[BEFORE][s] / r->n, r->score[AFTER][s] / r->n,
                     change_of(r, s), r->interval[s].low, r->interval[s].high);
    (void)printf(",\"length_ratio\":{\"before\":%.9f,\"after\":%.9f}", r->ratio[BEFORE] / r->n,
                 r->ratio[AFTER] / r->n);
    (void)printf(",\"empty\":{\"before\":%" PRId64 ",\"after\":%" PRId64 "}", r->sum[BEFORE].empty,
                 r->sum[AFTER].empty);
    (void)printf(",\"looping\":{\"before\":%" PRId64 ",\"after\":%" PRId64 "}",
                 r->sum[BEFORE].looping, r->sum[AFTER].looping);
    (void)printf(",\"unfinished\":{\"before\":%" PRId64 ",\"after\":%" PRId64 "}}",
                 r->sum[BEFORE].unfinished, r->sum[AFTER].unfinished);
}

static void print_json(const comparison *c, const dgm_evaluation *e)
{
    (void)printf("{\"model\":\"%016" PRIx64 "\",\"seed\":%" PRIu64
                 ",\"resamples\":%d,\"directions\":[",
                 e->session.model->hash, c->o->seed, DGM_RESAMPLES);
    for (int i = 0; i < e->n; i++) {
        (void)printf("%s", i > 0 ? "," : "");
        print_json_row(&c->rows[i]);
    }
    (void)printf("],\"mean\":");
    print_json_row(&c->rows[e->n]);
    (void)printf(",\"signatures\":[");
    for (int s = 0; s < DGM_SCORES; s++)
        (void)printf("%s\"%s\"", s > 0 ? "," : "", dgm_score_signature((enum dgm_score)s));
    (void)printf("]}\n");
}

static int work(dgm_evaluation *e, void *ctx)
{
    comparison *c = ctx;
    char name[64];
    for (int i = 0; i < e->n; i++)
        DGM_TRY(measure(e, c, i));
    find_intervals(&c->rows[e->n]);
    (void)snprintf(name, sizeof name, "mean of %d directions", e->n);
    c->rows[e->n].name = name;
    qsort(c->rows, (size_t)e->n, sizeof *c->rows, worst_first);
    if (c->o->json)
        print_json(c, e);
    else
        print(c, e->n);
    return DGM_OK;
}

int dgm_prune_evaluate(const dgm_options *o)
{
    comparison c = {.o = o};
    const int bad = o->keep[0] != '\0' ? DGM_OK
                                       : dgm_fail(DGM_EUSAGE, "prune --evaluate: want -k FILE, the "
                                                              "experts to keep");
    const int code = dgm_evaluation_run(o, bad, prepare, work, &c);
    for (int k = 0; k < SIDES; k++)
        free(c.sets[k]);
    free(c.rows);
    return code;
}

/* cmd_prune.c - `dragoman prune -m MODEL --stats FILE -k KEEP`: which experts each language keeps; --import LIST: as others
 * chose; -o DIR: a model of those alone. */
#include "launch/commands.h"
#include "launch/prune_cut.h"
#include "launch/prune_evaluate.h"
#include "launch/prune_guards.h"
#include "launch/prune_loss.h"
#include "launch/prune_plan.h"
#include "launch/prune_sweep.h"
#include "runtime/config_model.h"
#include "runtime/cut.h"
#include "runtime/keep_choice.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Values in the order of the options' choices. */
static const char *const metrics[] = {"top1", "top2", "load", "vanilla", "importance", "gate"};
static const char *const algorithms[] = {"fixed", "threshold",   "stack-thresholds",
                                         "loss",  "loss-stacks", "loss-layers"};
static const char *const granularities[] = {"language", "pair", "all"};
static const char *const modes[] = {"forced", "beam"};

static int index_of(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

/* stats_mode - auto: what the best hypotheses used, if that was recorded. */
static int stats_mode(const dgm_options *o, const dgm_gate_stats *s)
{
    const int mode = index_of(o->stats_mode, modes, 2);
    for (int i = 0; mode < 0 && i < s->n_runs; i++)
        if (s->runs[i].mode == DGM_GATES_BEAM)
            return DGM_GATES_BEAM;
    return mode < 0 ? DGM_GATES_FORCED : mode;
}

int dgm_prune_plan(dgm_keep_plan *p, const dgm_options *o, const dgm_gate_stats *s,
                   const dgm_model_config *c)
{
    *p = (dgm_keep_plan){
        .metric = (enum dgm_metric)index_of(o->metric, metrics, DGM_METRICS),
        .algorithm = (enum dgm_choice_algorithm)index_of(o->algorithm, algorithms, 6),
        .granularity = (enum dgm_granularity)index_of(o->granularity, granularities, 3),
        .mode = stats_mode(o, s),
        .by_tokens = strcmp(o->average, "tokens") == 0,
        .by_task = {dgm_routing_by_task(c->routing[DGM_ENCODER]),
                    dgm_routing_by_task(c->routing[DGM_DECODER])},
    };
    DGM_TRY(dgm_prune_guards(p, o, s));
    if ((o->keep_total == 0) != (o->keep_encoder == 0))
        return dgm_fail(DGM_EUSAGE, "--keep-total and --keep-encoder: want both or none");
    if (o->keep_total > 0)
        return dgm_budget_of_counts(&p->budget, s, o->keep_total, o->keep_encoder);
    return dgm_budget_of_fraction(&p->budget, s, (double)o->fraction, (double)o->ratio);
}

static void print_counts(const dgm_keep *k)
{
    (void)printf("%-8s %-24s %9s  %s\n", "stack", "set", "experts", "by layer");
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < k->n[s]; i++) {
            const dgm_keep_set *set = &k->sets[s][i];
            int all = 0, of = 0;
            for (size_t e = 0; e < k->shape.n_experts; e++)
                all += set->kept[e];
            for (int l = 0; l < k->shape.n_layers; l++)
                of += k->shape.layers[l].stack == s ? k->shape.layers[l].n_experts : 0;
            (void)printf("%-8s %-24s %4d/%-4d ", dgm_stack_names[s], set->name, all, of);
            for (int l = 0; l < k->shape.n_layers; l++) {
                const dgm_moe_layer *layer = &k->shape.layers[l];
                int n = 0;
                for (int e = 0; e < layer->n_experts; e++)
                    n += set->kept[layer->first + (size_t)e];
                if (layer->stack == s)
                    (void)printf(" %d", n);
            }
            (void)printf("\n");
        }
}

/* describe - a choice as a JSON object, malloc'ed; NULL when memory is short. */
static char *describe(const dgm_options *o, const dgm_keep_plan *p)
{
    enum { EACH = DGM_GATES_NAME + 32 };
    const size_t size = 512 + (size_t)p->n_targets * EACH;
    char *out = malloc(size);
    if (out == NULL)
        return NULL;
    int n = snprintf(out, size,
                     "{\"metric\":\"%s\",\"algorithm\":\"%s\",\"granularity\":\"%s\","
                     "\"average\":\"%s\",\"stats_mode\":\"%s\",",
                     o->metric, o->algorithm, o->granularity, o->average, o->stats_mode);
    if (o->keep_total > 0)
        n += snprintf(out + n, size - (size_t)n, "\"keep_total\":%d,\"keep_encoder\":%d,",
                      o->keep_total, o->keep_encoder);
    else
        n += snprintf(out + n, size - (size_t)n, "\"fraction\":%.9g,\"ratio\":%.9g,",
                      (double)o->fraction, (double)o->ratio);
    n += snprintf(out + n, size - (size_t)n, "\"protect_eos\":%s,\"decoder_keep\":{",
                  p->protect_eos ? "true" : "false");
    for (int i = 0; i < p->n_targets; i++)
        n += snprintf(out + n, size - (size_t)n, "%s\"%s\":%g", i > 0 ? "," : "",
                      p->targets[i].target, p->targets[i].fraction);
    (void)snprintf(out + n, size - (size_t)n, "}}");
    return out;
}

int dgm_prune_write(const dgm_keep *k, const dgm_options *o, const dgm_gate_stats *s,
                    const dgm_keep_plan *p)
{
    static const dgm_keep_plan none = {0};
    char *options = describe(o, p != NULL ? p : &none);
    uint64_t *corpora = calloc((size_t)s->n_runs + 1, sizeof *corpora);
    int rc = DGM_OK;
    if (options == NULL || corpora == NULL)
        rc = dgm_fail(DGM_ENOMEM, "out of memory for the names of %d texts", s->n_runs);
    for (int i = 0; corpora != NULL && i < s->n_runs; i++)
        corpora[i] = s->runs[i].corpus;
    const dgm_keep_origin origin = {p != NULL ? options : NULL, corpora, s->n_runs};
    if (rc == DGM_OK)
        rc = dgm_keep_write(k, o->keep, &origin);
    free(corpora);
    free(options);
    if (rc == DGM_OK)
        print_counts(k);
    return rc;
}

int dgm_prune_stats(dgm_gate_stats *s, const dgm_options *o, const dgm_model *m)
{
    dgm_moe_shape shape;
    if (o->stats[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "prune: want --stats FILE, as dragoman stats writes it");
    DGM_TRY(dgm_moe_shape_init(&shape, &m->cfg));
    int rc = dgm_gates_read(s, o->stats);
    if (rc == DGM_OK && (s->model != m->hash || !dgm_moe_shape_equal(&s->shape, &shape))) {
        rc = dgm_fail(DGM_EINPUT, "%s is of another model: want %016llx, found %016llx", o->stats,
                      (unsigned long long)m->hash, (unsigned long long)s->model);
        dgm_gates_fini(s);
    }
    dgm_moe_shape_fini(&shape);
    return rc;
}

int dgm_prune_whole(const dgm_model *m)
{
    return m->cut == NULL ? DGM_OK
                          : dgm_fail(DGM_EUSAGE,
                                     "%s: want the whole model to choose experts of, found one "
                                     "that was cut",
                                     m->dir);
}

static int choose(const dgm_options *o, const dgm_model *m)
{
    dgm_gate_stats s;
    dgm_keep k = {0};
    dgm_keep_plan plan = {0};
    DGM_TRY(dgm_prune_stats(&s, o, m));
    int rc = dgm_keep_init(&k, &m->cfg, m->hash);
    if (rc == DGM_OK)
        rc = dgm_prune_plan(&plan, o, &s, &m->cfg);
    if (rc == DGM_OK)
        rc = dgm_keep_choose(&k, &s, &plan);
    if (rc == DGM_OK)
        rc = dgm_prune_write(&k, o, &s, &plan);
    free((void *)plan.targets);
    dgm_keep_fini(&k);
    dgm_gates_fini(&s);
    return rc;
}

static int no_experts(const dgm_options *o)
{
    return dgm_fail(DGM_EMODEL, "%s: want a mixture of experts, found a dense model", o->model);
}

/* import - lists of others know no model: what they say holds for any of the shape, whose weights need not be there. */
static int import(const dgm_options *o)
{
    const dgm_model_options opt = {.dropless = true, .source_order = -1};
    const dgm_gate_stats none = {0};
    dgm_model_config c;
    dgm_keep k;
    DGM_TRY(dgm_config_read(&c, o->model, &opt));
    if (dgm_config_most_experts(&c) == 0)
        return no_experts(o);
    DGM_TRY(dgm_keep_import(&k, o->import, &c, 0));
    const int rc = dgm_prune_write(&k, o, &none, NULL);
    dgm_keep_fini(&k);
    return rc;
}

static int prune(const dgm_options *o)
{
    dgm_model *m = NULL;
    if (o->output[0] != '\0' || o->cut_for[0] != '\0')
        return dgm_prune_cut(o);
    if (o->keep[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "prune: want -k FILE, where the experts to keep are written");
    if (o->import[0] != '\0' && o->stats[0] != '\0')
        return dgm_fail(DGM_EUSAGE, "prune: want --stats or --import, found both");
    if (o->import[0] != '\0')
        return import(o);
    if (o->stats[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "prune: want --stats FILE, as dragoman stats writes it, or "
                                    "--import FILE");
    DGM_TRY(
        dgm_model_open(&m, o->model, &(dgm_model_options){.dropless = true, .source_order = -1}));
    int rc = dgm_config_most_experts(&m->cfg) > 0 ? dgm_prune_whole(m) : no_experts(o);
    if (rc == DGM_OK)
        rc = choose(o, m);
    dgm_model_close(m);
    return rc;
}

int dgm_cmd_prune(const dgm_options *o)
{
    if (dgm_prune_measures(o))
        return o->evaluate ? dgm_prune_evaluate(o) : dgm_prune_sweep(o);
    if (dgm_prune_by_loss(o))
        return dgm_prune_loss(o);
    const int rc = prune(o);
    return dgm_command_end(rc);
}

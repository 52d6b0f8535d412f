#include "runtime/keep_choice.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct chooser {
    dgm_keep *keep;
    const dgm_gate_stats *s;
    const dgm_keep_plan *plan;
    double *values[2]; /* [n_experts]; the second is where a decoder's come from */
    double *guard;     /* [n_experts] */
    uint8_t *kept;
} chooser;

static bool counts(const chooser *c, const dgm_gates_run *r)
{
    return c->plan->mode < 0 || c->plan->mode == (int)r->mode;
}

int dgm_keep_plan_budget(dgm_expert_budget *b, const dgm_keep_plan *plan, const dgm_gate_stats *s,
                         const char *tgt)
{
    *b = plan->budget;
    for (int i = 0; tgt != NULL && i < plan->n_targets; i++)
        if (strcmp(plan->targets[i].target, tgt) == 0)
            return dgm_budget_decoder(b, s, plan->targets[i].fraction);
    return DGM_OK;
}

/* tell_ends - of each layer whose budget is too small for its EOS experts. */
static void tell_ends(const chooser *c, const char *name)
{
    for (int l = 0; l < c->s->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &c->s->shape.layers[l];
        double kept = 0;
        int want = 0, n = 0;
        for (int e = 0; e < layer->n_experts; e++) {
            const size_t at = layer->first + (size_t)e;
            want += c->guard[at] > 0;
            n += c->guard[at] > 0 && c->kept[at];
            kept += c->kept[at] ? c->guard[at] : 0;
        }
        if (n < want)
            dgm_log(DGM_LOG_WARN, "prune",
                    "decoder set %s, layer %d: %d experts have %.0f %% of the gates at </s>, the "
                    "budget keeps %d of them, which have %.1f %%",
                    name, layer->index, want, 100 * DGM_EOS_COVER, n, 100 * kept);
    }
}

/* metric_of - of a stack. Where it is routed by task, the best expert of a task has all first places: metrics of these would tell
 * nothing of the second. */
static enum dgm_metric metric_of(const chooser *c, int stack)
{
    return c->plan->by_task[stack] ? DGM_METRIC_GATE : c->plan->metric;
}

/* choose - sets named `name` from the encoder's values of directions that start in `src`, the decoder's of those that end in
 * `tgt` (NULL: any). A stack without such directions gets none. */
static int choose(const chooser *c, const char *name, const dgm_gates_filter *enc,
                  const dgm_gates_filter *dec)
{
    if (dgm_keep_named(c->keep, DGM_ENCODER, name) != NULL ||
        dgm_keep_named(c->keep, DGM_DECODER, name) != NULL)
        return DGM_OK; /* from an earlier run */
    const dgm_moe_shape *shape = &c->s->shape;
    int n[DGM_STACKS];
    DGM_TRY(dgm_metric_values(c->values[0], &n[DGM_ENCODER], c->s, metric_of(c, 0), enc));
    DGM_TRY(dgm_metric_values(c->values[1], &n[DGM_DECODER], c->s, metric_of(c, 1), dec));
    for (int l = 0; l < shape->n_layers; l++) {
        const dgm_moe_layer *layer = &shape->layers[l];
        if (layer->stack == DGM_DECODER)
            memcpy(c->values[0] + layer->first, c->values[1] + layer->first,
                   (size_t)layer->n_experts * sizeof(double));
    }
    if (c->plan->algorithm == DGM_CHOOSE_THRESHOLD && (n[0] == 0 || n[1] == 0))
        return dgm_fail(DGM_EUSAGE,
                        "one threshold for encoder and decoder: want directions from and into %s, "
                        "found none %s it",
                        name, n[0] == 0 ? "from" : "into");
    dgm_expert_budget budget;
    DGM_TRY(dgm_keep_plan_budget(&budget, c->plan, c->s, dec->tgt));
    if (c->plan->protect_eos)
        DGM_TRY(dgm_eos_experts(c->guard, c->s, dec));
    DGM_TRY(dgm_choose_experts(c->kept, c->values[0], c->guard, c->s, c->plan->algorithm, &budget));
    if (n[DGM_DECODER] > 0)
        tell_ends(c, name);
    for (int stack = 0; stack < DGM_STACKS; stack++)
        if (n[stack] > 0)
            DGM_TRY(dgm_keep_add(c->keep, stack, name, c->kept));
    return DGM_OK;
}

static dgm_gates_filter filter(const chooser *c, const char *src, const char *tgt)
{
    return (dgm_gates_filter){src, tgt, c->plan->mode, c->plan->by_tokens};
}

static int choose_language(const chooser *c, const char *lang)
{
    const dgm_gates_filter enc = filter(c, lang, NULL), dec = filter(c, NULL, lang);
    return choose(c, lang, &enc, &dec);
}

static int choose_run(const chooser *c, const dgm_gates_run *r)
{
    char pair[DGM_KEEP_NAME + 1];
    if (c->plan->granularity == DGM_BY_LANGUAGE) {
        DGM_TRY(choose_language(c, r->src));
        return choose_language(c, r->tgt);
    }
    (void)snprintf(pair, sizeof pair, "%s-%s", r->src, r->tgt);
    const bool all = c->plan->granularity == DGM_BY_ALL;
    const dgm_gates_filter f = all ? filter(c, NULL, NULL) : filter(c, r->src, r->tgt);
    return choose(c, all ? "*" : pair, &f, &f);
}

static int choose_all(const chooser *c)
{
    int n = 0;
    if (c->values[0] == NULL || c->values[1] == NULL || c->guard == NULL || c->kept == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the values of %zu experts",
                        c->s->shape.n_experts);
    for (int i = 0; i < c->s->n_runs; i++) {
        if (!counts(c, &c->s->runs[i]))
            continue;
        DGM_TRY(choose_run(c, &c->s->runs[i]));
        n++;
    }
    return n > 0 ? DGM_OK
                 : dgm_fail(DGM_EINPUT, "statistics: want a direction of the wanted kind, found "
                                        "none");
}

int dgm_keep_choose(dgm_keep *keep, const dgm_gate_stats *s, const dgm_keep_plan *plan)
{
    const size_t n = s->shape.n_experts + 1;
    chooser c = {.keep = keep,
                 .s = s,
                 .plan = plan,
                 .values = {calloc(n, sizeof(double)), calloc(n, sizeof(double))},
                 .guard = calloc(n, sizeof(double)),
                 .kept = calloc(n, 1)};
    const int rc = choose_all(&c);
    free(c.values[0]);
    free(c.values[1]);
    free(c.guard);
    free(c.kept);
    return rc;
}

#include "runtime/expert_choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- metrics ---- */

/* Means over directions of one expert. */
typedef struct means {
    double top1, top2, mean, conf, gate;
} means;

static bool lets_through(const dgm_gates_filter *f, const dgm_gates_run *r)
{
    return (f->src == NULL || strcmp(f->src, r->src) == 0) &&
           (f->tgt == NULL || strcmp(f->tgt, r->tgt) == 0) &&
           (f->mode < 0 || f->mode == (int)r->mode);
}

static double share(uint64_t n, double of)
{
    return of > 0 ? (double)n / of : 0;
}

/* add_run - one direction into the sums of all experts: its means, or (by_tokens) its counts. */
static void add_run(means *sum, const dgm_gate_stats *s, const dgm_gates_run *r, bool by_tokens)
{
    for (int l = 0; l < s->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &s->shape.layers[l];
        const double tokens = by_tokens ? 1 : (double)r->tokens[layer->stack];
        for (int i = 0; i < layer->n_experts; i++) {
            const size_t e = layer->first + (size_t)i;
            const uint64_t first = r->sum[DGM_GATES_TOP1][e];
            sum[e].top1 += share(first, tokens);
            sum[e].top2 += share(r->sum[DGM_GATES_TOP2][e], tokens);
            sum[e].mean += share(r->sum[DGM_GATES_MEAN][e], tokens) / DGM_GATES_ONE;
            sum[e].conf +=
                share(r->sum[DGM_GATES_CONF1][e], by_tokens ? 1 : (double)first) / DGM_GATES_ONE;
            sum[e].gate += share(r->sum[DGM_GATES_GATE][e], tokens) / DGM_GATES_ONE;
        }
    }
}

/* mean_of - of the sums of n directions that had `tokens` in all. */
static means mean_of(const means *sum, int n, uint64_t tokens, bool by_tokens)
{
    const double all = by_tokens ? (double)tokens : n, first = by_tokens ? sum->top1 : n;
    if (all <= 0)
        return (means){0};
    return (means){sum->top1 / all, sum->top2 / all, sum->mean / all,
                   first > 0 ? sum->conf / first : 0, sum->gate / all};
}

static double value_of(enum dgm_metric metric, const means *m)
{
    switch (metric) {
    case DGM_METRIC_TOP1:
        return m->top1;
    case DGM_METRIC_TOP2:
        return m->top1 + m->top2;
    case DGM_METRIC_LOAD:
        return m->top1 * m->mean;
    case DGM_METRIC_VANILLA:
        return m->top1 * m->conf;
    case DGM_METRIC_GATE:
        return m->gate;
    default:
        return m->top1 * exp(m->conf);
    }
}

static int want_gates(const dgm_gates_run *r)
{
    if (r->gated)
        return DGM_OK;
    return dgm_fail(DGM_EINPUT,
                    "statistics of %s to %s: want the gates of experts, which an older dragoman "
                    "did not record: take them anew (dragoman stats)",
                    r->src, r->tgt);
}

int dgm_metric_values(double *out, int *n_runs, const dgm_gate_stats *s, enum dgm_metric metric,
                      const dgm_gates_filter *filter)
{
    uint64_t tokens[DGM_STACKS] = {0};
    means *sum = calloc(s->shape.n_experts + 1, sizeof *sum);
    *n_runs = 0;
    if (sum == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the values of %zu experts",
                        s->shape.n_experts);
    for (int i = 0; i < s->n_runs; i++) {
        const dgm_gates_run *r = &s->runs[i];
        if (!lets_through(filter, r))
            continue;
        const int rc = metric == DGM_METRIC_GATE ? want_gates(r) : DGM_OK;
        if (rc != DGM_OK) {
            free(sum);
            return rc;
        }
        add_run(sum, s, r, filter->by_tokens);
        for (int k = 0; k < DGM_STACKS; k++)
            tokens[k] += r->tokens[k];
        ++*n_runs;
    }
    for (int l = 0; l < s->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &s->shape.layers[l];
        double *value = out + layer->first, all = 0;
        for (int e = 0; e < layer->n_experts; e++) {
            const means m = mean_of(&sum[layer->first + (size_t)e], *n_runs, tokens[layer->stack],
                                    filter->by_tokens);
            all += value[e] = value_of(metric, &m);
        }
        for (int e = 0; all > 0 && e < layer->n_experts; e++)
            value[e] /= all;
    }
    free(sum);
    return DGM_OK;
}

/* ---- budgets ---- */

int dgm_least_experts(int n)
{
    const int part = (n + 31) / 32;
    return part > 2 ? part : 2;
}

/* What a stack has: layers, experts in all, and how many must stay. */
typedef struct stack_size {
    int layers, experts, least;
} stack_size;

static stack_size size_of(const dgm_gate_stats *s, int stack)
{
    stack_size z = {0};
    for (int l = 0; l < s->shape.n_layers; l++) {
        if (s->shape.layers[l].stack != stack)
            continue;
        z.layers++;
        z.experts += s->shape.layers[l].n_experts;
        z.least += dgm_least_experts(s->shape.layers[l].n_experts);
    }
    return z;
}

static int check(const dgm_expert_budget *b, const dgm_gate_stats *s)
{
    const stack_size enc = size_of(s, DGM_ENCODER), dec = size_of(s, DGM_DECODER);
    const int *k = b->keep, n = enc.experts + dec.experts, least = enc.least + dec.least;
    if (k[DGM_ENCODER] >= enc.least && k[DGM_DECODER] >= dec.least &&
        k[DGM_ENCODER] <= enc.experts && k[DGM_DECODER] <= dec.experts)
        return DGM_OK;
    if (k[DGM_ENCODER] > enc.experts || k[DGM_DECODER] > dec.experts)
        return dgm_fail(DGM_EUSAGE,
                        "a budget of %d + %d experts: want at most %d in the encoder and %d in the "
                        "decoder; another --ratio divides the same number otherwise",
                        k[DGM_ENCODER], k[DGM_DECODER], enc.experts, dec.experts);
    return dgm_fail(DGM_EUSAGE,
                    "a budget of %d + %d experts: want at least %d in the encoder and %d in the "
                    "decoder, so the largest fraction that can be removed is %.4f",
                    k[DGM_ENCODER], k[DGM_DECODER], enc.least, dec.least,
                    n > 0 ? 1 - (double)least / n : 0.0);
}

int dgm_budget_of_fraction(dgm_expert_budget *out, const dgm_gate_stats *s, double fraction,
                           double ratio)
{
    const stack_size enc = size_of(s, DGM_ENCODER), dec = size_of(s, DGM_DECODER);
    const int total = (int)floor((1 - fraction) * (enc.experts + dec.experts) + 0.5);
    const int wanted = dec.layers == 0 ? total : (int)floor(total * ratio / (ratio + 1));
    const int e = enc.layers > 0 ? wanted / enc.layers : 0,
              d = dec.layers > 0 ? (total - enc.layers * e) / dec.layers : 0;
    *out = (dgm_expert_budget){{enc.layers * e, dec.layers * d}};
    return check(out, s);
}

int dgm_budget_of_counts(dgm_expert_budget *out, const dgm_gate_stats *s, int total, int encoder)
{
    *out = (dgm_expert_budget){{encoder, total - encoder}};
    return check(out, s);
}

int dgm_budget_decoder(dgm_expert_budget *b, const dgm_gate_stats *s, double fraction)
{
    b->keep[DGM_DECODER] = (int)floor(fraction * size_of(s, DGM_DECODER).experts + 0.5);
    return check(b, s);
}

/* ---- algorithms ---- */

typedef struct ranked {
    double guard, value;
    int expert;
} ranked;

static int best_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->guard != y->guard)
        return x->guard < y->guard ? 1 : -1;
    if (x->value != y->value)
        return x->value < y->value ? 1 : -1;
    return (x->expert > y->expert) - (x->expert < y->expert);
}

static void rank_layer(ranked *out, const double *values, const double *guard,
                       const dgm_moe_layer *layer)
{
    for (int e = 0; e < layer->n_experts; e++)
        out[e] = (ranked){guard == NULL ? 0 : guard[layer->first + (size_t)e],
                          values[layer->first + (size_t)e], e};
    qsort(out, (size_t)layer->n_experts, sizeof *out, best_first);
}

static void keep_best(uint8_t *keep, const ranked *order, const dgm_moe_layer *layer, int n)
{
    for (int i = 0; i < layer->n_experts; i++)
        keep[layer->first + (size_t)order[i].expert] = i < n;
}

/* forced - how many experts of a layer a threshold keeps anyway. */
static int forced(const ranked *order, const dgm_moe_layer *layer)
{
    int n = dgm_least_experts(layer->n_experts);
    while (n < layer->n_experts && order[n].guard > 0)
        n++;
    return n;
}

/* reach - how many it keeps: the forced ones, whose mass does not count, and those up to which the others' cumulative value
 * stays below it. */
static int reach(const ranked *order, const dgm_moe_layer *layer, double threshold)
{
    int n = forced(order, layer);
    double mass = 0;
    for (; n < layer->n_experts; n++) {
        mass += order[n].value;
        if (!(mass < threshold))
            break;
    }
    return n;
}

static bool counts(const dgm_moe_layer *layer, int stack)
{
    return stack < 0 || layer->stack == stack;
}

/* find_threshold - the first of 0.001, 0.002, ... 1 that keeps `budget` experts over the layers of `stack` (-1: all); *n
 * is how many it keeps. */
static double find_threshold(int *n, const ranked *order, const dgm_gate_stats *s, int stack,
                             int budget)
{
    enum { STEPS = 1000 };
    double threshold = 0;
    *n = 0;
    for (int step = 1; step <= STEPS && *n < budget; step++) {
        threshold = step / (double)STEPS;
        *n = 0;
        for (int l = 0; l < s->shape.n_layers; l++)
            if (counts(&s->shape.layers[l], stack))
                *n += reach(order + s->shape.layers[l].first, &s->shape.layers[l], threshold);
    }
    return threshold;
}

/* What a threshold keeps beyond the budget falls off behind: in the last layers, down to what they must keep; where guarded
 * experts alone are too many, those of the last layers fall too. */
static void keep_threshold(uint8_t *keep, const ranked *order, const dgm_gate_stats *s, int stack,
                           int budget)
{
    int n_kept, n_forced = 0;
    const double threshold = find_threshold(&n_kept, order, s, stack, budget);
    for (int l = 0; l < s->shape.n_layers; l++)
        if (counts(&s->shape.layers[l], stack))
            n_forced += forced(order + s->shape.layers[l].first, &s->shape.layers[l]);
    const bool guards_fall = n_forced > budget;
    for (int l = s->shape.n_layers - 1, over = n_kept - budget; l >= 0; l--) {
        const dgm_moe_layer *layer = &s->shape.layers[l];
        const ranked *first = order + layer->first;
        if (!counts(layer, stack))
            continue;
        const int n = reach(first, layer, threshold),
                  spare = n - (guards_fall ? dgm_least_experts(layer->n_experts)
                                           : forced(first, layer)),
                  cut = over < spare ? over : spare;
        keep_best(keep, first, layer, n - cut);
        over -= cut;
    }
}

static void keep_fixed(uint8_t *keep, const ranked *order, const dgm_gate_stats *s,
                       const dgm_expert_budget *budget)
{
    for (int l = 0; l < s->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &s->shape.layers[l];
        const int layers = size_of(s, layer->stack).layers;
        keep_best(keep, order + layer->first, layer, budget->keep[layer->stack] / layers);
    }
}

int dgm_choose_experts(uint8_t *keep, const double *values, const double *guard,
                       const dgm_gate_stats *s, enum dgm_choice_algorithm algorithm,
                       const dgm_expert_budget *budget)
{
    ranked *order = calloc(s->shape.n_experts + 1, sizeof *order);
    if (order == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the order of %zu experts",
                        s->shape.n_experts);
    for (int l = 0; l < s->shape.n_layers; l++)
        rank_layer(order + s->shape.layers[l].first, values, guard, &s->shape.layers[l]);
    if (algorithm == DGM_CHOOSE_FIXED) {
        keep_fixed(keep, order, s, budget);
    } else if (algorithm == DGM_CHOOSE_THRESHOLD) {
        keep_threshold(keep, order, s, -1, budget->keep[DGM_ENCODER] + budget->keep[DGM_DECODER]);
    } else {
        keep_threshold(keep, order, s, DGM_ENCODER, budget->keep[DGM_ENCODER]);
        keep_threshold(keep, order, s, DGM_DECODER, budget->keep[DGM_DECODER]);
    }
    free(order);
    return DGM_OK;
}

/* ---- ends of sentences ---- */

/* add_ends - of a direction, each expert's share of a layer's gates at ends, or (by_tokens) the gates themselves. */
static void add_ends(double *sum, const dgm_gate_stats *s, const dgm_gates_run *r, bool by_tokens)
{
    for (int l = 0; l < s->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &s->shape.layers[l];
        const uint64_t *ends = r->sum[DGM_GATES_EOS] + layer->first;
        double all = 0;
        for (int e = 0; e < layer->n_experts; e++)
            all += (double)ends[e];
        for (int e = 0; e < layer->n_experts && all > 0; e++)
            sum[layer->first + (size_t)e] += (double)ends[e] / (by_tokens ? DGM_GATES_ONE : all);
    }
}

/* cover - leaves of a layer's sums those that together have most of it, as shares. */
static void cover(double *sum, const ranked *order, int n)
{
    double all = 0, covered = 0;
    for (int i = 0; i < n; i++)
        all += order[i].value;
    for (int i = 0; i < n; i++) {
        const double part = all > 0 ? order[i].value / all : 0;
        sum[order[i].expert] = covered < DGM_EOS_COVER ? part : 0;
        covered += part;
    }
}

int dgm_eos_experts(double *guard, const dgm_gate_stats *s, const dgm_gates_filter *filter)
{
    memset(guard, 0, s->shape.n_experts * sizeof *guard);
    for (int i = 0; i < s->n_runs; i++) {
        if (!lets_through(filter, &s->runs[i]))
            continue;
        DGM_TRY(want_gates(&s->runs[i]));
        add_ends(guard, s, &s->runs[i], filter->by_tokens);
    }
    ranked *order = calloc(s->shape.n_experts + 1, sizeof *order);
    if (order == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the order of %zu experts",
                        s->shape.n_experts);
    for (int l = 0; l < s->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &s->shape.layers[l];
        rank_layer(order, guard, NULL, layer);
        cover(guard + layer->first, order, layer->n_experts);
    }
    free(order);
    return DGM_OK;
}

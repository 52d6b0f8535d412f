#include "runtime/expert_choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- metrics ---- */

/* Means over directions of one expert. */
typedef struct means {
    double top1, top2, mean, conf;
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

/* add_alike - a direction's own means; each direction weighs as much as any other. */
static void add_alike(means *m, const dgm_gates_run *r, size_t e, double tokens)
{
    m->top1 += share(r->sum[DGM_GATES_TOP1][e], tokens);
    m->top2 += share(r->sum[DGM_GATES_TOP2][e], tokens);
    m->mean += share(r->sum[DGM_GATES_MEAN][e], tokens) / DGM_GATES_ONE;
    m->conf += share(r->sum[DGM_GATES_CONF1][e], (double)r->sum[DGM_GATES_TOP1][e]) / DGM_GATES_ONE;
}

static means means_alike(const dgm_gate_stats *s, const dgm_gates_filter *f, int stack, size_t e)
{
    means m = {0};
    double n = 0;
    for (int i = 0; i < s->n_runs; i++) {
        if (!lets_through(f, &s->runs[i]))
            continue;
        add_alike(&m, &s->runs[i], e, (double)s->runs[i].tokens[stack]);
        n++;
    }
    return (means){m.top1 / n, m.top2 / n, m.mean / n, m.conf / n};
}

static means means_by_tokens(const dgm_gate_stats *s, const dgm_gates_filter *f, int stack,
                             size_t e)
{
    uint64_t tokens = 0, sum[DGM_GATES_SUMS] = {0};
    for (int i = 0; i < s->n_runs; i++) {
        if (!lets_through(f, &s->runs[i]))
            continue;
        tokens += s->runs[i].tokens[stack];
        for (int k = 0; k < DGM_GATES_SUMS; k++)
            sum[k] += s->runs[i].sum[k][e];
    }
    const double n = (double)tokens;
    return (means){share(sum[DGM_GATES_TOP1], n), share(sum[DGM_GATES_TOP2], n),
                   share(sum[DGM_GATES_MEAN], n) / DGM_GATES_ONE,
                   share(sum[DGM_GATES_CONF1], (double)sum[DGM_GATES_TOP1]) / DGM_GATES_ONE};
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
    default:
        return m->top1 * exp(m->conf);
    }
}

int dgm_metric_values(double *out, const dgm_gate_stats *s, enum dgm_metric metric,
                      const dgm_gates_filter *filter)
{
    int n = 0;
    for (int i = 0; i < s->n_runs; i++)
        n += lets_through(filter, &s->runs[i]);
    for (int l = 0; n > 0 && l < s->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &s->shape.layers[l];
        double *value = out + layer->first, sum = 0;
        for (int e = 0; e < layer->n_experts; e++) {
            const size_t at = layer->first + (size_t)e;
            const means m = filter->by_tokens ? means_by_tokens(s, filter, layer->stack, at)
                                              : means_alike(s, filter, layer->stack, at);
            value[e] = value_of(metric, &m);
            sum += value[e];
        }
        for (int e = 0; sum > 0 && e < layer->n_experts; e++)
            value[e] /= sum;
    }
    return n;
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
    return dgm_fail(DGM_EUSAGE,
                    "a budget of %d + %d experts: want %d to %d in the encoder and %d to %d in the "
                    "decoder, so the "
                    "largest fraction that can be removed is %.4f",
                    k[DGM_ENCODER], k[DGM_DECODER], enc.least, enc.experts, dec.least, dec.experts,
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

/* ---- algorithms ---- */

typedef struct ranked {
    double value;
    int expert;
} ranked;

static int best_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? 1 : -1;
    return (x->expert > y->expert) - (x->expert < y->expert);
}

static void rank_layer(ranked *out, const double *values, const dgm_moe_layer *layer)
{
    for (int e = 0; e < layer->n_experts; e++)
        out[e] = (ranked){values[layer->first + (size_t)e], e};
    qsort(out, (size_t)layer->n_experts, sizeof *out, best_first);
}

static void keep_best(uint8_t *keep, const ranked *order, const dgm_moe_layer *layer, int n)
{
    for (int i = 0; i < layer->n_experts; i++)
        keep[layer->first + (size_t)order[i].expert] = i < n;
}

/* reach - how many experts of a layer a threshold keeps: the forced ones, whose mass does not count, and those up to which
 * the others' cumulative value stays below it. */
static int reach(const ranked *order, const dgm_moe_layer *layer, double threshold)
{
    int n = dgm_least_experts(layer->n_experts);
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

/* What a threshold keeps beyond the budget falls off behind: in the last layers, down to what they must keep. */
static void keep_threshold(uint8_t *keep, const ranked *order, const dgm_gate_stats *s, int stack,
                           int budget)
{
    int n_kept;
    const double threshold = find_threshold(&n_kept, order, s, stack, budget);
    for (int l = s->shape.n_layers - 1, over = n_kept - budget; l >= 0; l--) {
        const dgm_moe_layer *layer = &s->shape.layers[l];
        if (!counts(layer, stack))
            continue;
        const int n = reach(order + layer->first, layer, threshold),
                  spare = n - dgm_least_experts(layer->n_experts),
                  cut = over < spare ? over : spare;
        keep_best(keep, order + layer->first, layer, n - cut);
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

int dgm_choose_experts(uint8_t *keep, const double *values, const dgm_gate_stats *s,
                       enum dgm_choice_algorithm algorithm, const dgm_expert_budget *budget)
{
    ranked *order = calloc(s->shape.n_experts + 1, sizeof *order);
    if (order == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the order of %zu experts",
                        s->shape.n_experts);
    for (int l = 0; l < s->shape.n_layers; l++)
        rank_layer(order + s->shape.layers[l].first, values, &s->shape.layers[l]);
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

#include "launch/bench_stages.h"

enum {
    SOFTMAX_FLOPS = 21, /* of one logit: less the maximum 1, exp 19 (kernels/exp_terms.h), sum 1 */
    WEIGHT_FLOPS = SOFTMAX_FLOPS + 2 /* of one key: scaled before, divided after */
};

static bool is_integer(const dgm_packed *w)
{
    return w->type == DGM_W_INT8 || w->type == DGM_W_INT4;
}

static double matrix_bytes(const dgm_packed *w)
{
    const double groups = is_integer(w) ? dgm_packed_groups(w->k, w->group) : 0;
    return (double)dgm_packed_bytes(w->type, w->n, w->k) +
           (double)dgm_packed_panels(w->n) * groups * DGM_PANEL * sizeof(float);
}

/* One row of an embedding: its own bytes, though they come in lines that hold 16 rows. */
static double row_bytes(const dgm_packed *w)
{
    return (double)dgm_panel_bytes(w->type, w->k) / DGM_PANEL;
}

static double floats(double n)
{
    return n * sizeof(float);
}

/* Of a matrix [n, k] with `rows` rows through it, its weights read `times` times. */
static dgm_stage_work product(const dgm_packed *w, const dgm_stage_types *types, double rows,
                              double times)
{
    const double n = w->n, k = w->k, ops = 2 * rows * n * k;
    const bool integers = types->compute == DGM_COMPUTE_INT8 && is_integer(w);
    return (dgm_stage_work){.flops = integers ? 0 : ops,
                            .iops = integers ? ops : 0,
                            .needed = times * matrix_bytes(w),
                            .passed = floats(rows * (n + k))};
}

void dgm_stage_work_add(dgm_stage_work *sum, dgm_stage_work w)
{
    sum->flops += w.flops;
    sum->iops += w.iops;
    sum->needed += w.needed;
    sum->passed += w.passed;
}

static const dgm_layer *find_layer(const dgm_model *m, int stack, bool sparse)
{
    const dgm_stack *s = &m->stack[stack];
    for (int i = 0; i < s->n_layers; i++)
        if (s->layers[i].sparse == sparse)
            return &s->layers[i];
    return NULL;
}

/* Two products, one after the other. Layers of a kind are alike, so one stands for all. */
static dgm_stage_work two_products(const dgm_ffn *ffn, const dgm_stage_types *types, double rows,
                                   double times)
{
    dgm_stage_work sum = product(&ffn->fc1.w, types, rows, times);
    dgm_stage_work_add(&sum, product(&ffn->fc2.w, types, rows, times));
    return sum;
}

static dgm_stage_work feed_forward(const dgm_model *m, const dgm_stage_types *types,
                                   const dgm_stage_total *t, int stack)
{
    const dgm_layer *l = find_layer(m, stack, false);
    if (l == NULL)
        return (dgm_stage_work){0};
    return two_products(&l->ffn, types, (double)t->rows, (double)t->passes);
}

static dgm_stage_work mixture(const dgm_model *m, const dgm_stage_types *types,
                              const dgm_stage_total *t, int stack, enum dgm_stage stage)
{
    const dgm_layer *l = find_layer(m, stack, true);
    const double rows = (double)t->rows, d = m->cfg.d_model;
    if (l == NULL)
        return (dgm_stage_work){0};
    /* a packed model's experts are of one type; rows travel as bytes if all compute so (runtime/moe.c) */
    const bool bytes = types->compute == DGM_COMPUTE_INT8 && is_integer(&l->experts[0].fc1.w);
    const double row = bytes ? d + sizeof(float) : floats(d);
    dgm_stage_work w = {0};
    switch (stage) {
    case DGM_STAGE_ROUTER:
        if (l->router.data == NULL) /* a table says it */
            return w;
        return product(&l->router, types, rows, (double)t->passes);
    case DGM_STAGE_EXPERTS:
        w = two_products(&l->experts[0], types, rows, (double)t->units);
        w.passed -= rows * (floats(d) - row);
        return w;
    case DGM_STAGE_EXCHANGE: /* copied out; on other ranks there and back */
        w.passed = rows * (floats(d) + row);
        return w;
    default: /* combine: two in, one out */
        w.passed = floats(3 * rows * d);
        return w;
    }
}

/* Encoder: the keys of a sentence were just made, so nothing has to be read but q, k, v once. */
static dgm_stage_work attention(const dgm_model *m, const dgm_stage_types *types,
                                const dgm_stage_total *t, int stack, bool cross)
{
    const dgm_layer *l = &m->stack[stack].layers[0];
    const double times = (double)t->passes, rows = (double)t->rows, d = m->cfg.d_model,
                 element = types->kv_bf16 ? 2 : 4;
    dgm_stage_work sum = {.flops = (double)t->units *
                                   (4 * d + WEIGHT_FLOPS * (double)m->cfg.n_heads[stack]),
                          .needed = 2 * (double)t->distinct * d * element,
                          .passed = floats((stack == DGM_ENCODER ? 4 : 2) * rows * d)};
    dgm_stage_work_add(&sum, product(cross ? &l->cross_q.w : &l->qkv.w, types, rows, times));
    dgm_stage_work_add(&sum, product(cross ? &l->cross_out.w : &l->self_out.w, types, rows, times));
    return sum;
}

/* Their keys and values go to the cache, as it holds them. */
static dgm_stage_work cross_kv(const dgm_model *m, const dgm_stage_types *types, double rows,
                               double times)
{
    const double layers = m->stack[DGM_DECODER].n_layers;
    const dgm_packed *kv = &m->stack[DGM_DECODER].layers[0].cross_kv.w;
    dgm_stage_work w = product(kv, types, rows * layers, times * layers);
    if (types->kv_bf16)
        w.passed -= rows * layers * kv->n * 2;
    return w;
}

/* Logits are looked at while they are in a cache, and go nowhere. */
static dgm_stage_work vocabulary(const dgm_model *m, const dgm_stage_types *types, double rows,
                                 double times)
{
    dgm_stage_work w = product(&m->embed, types, rows, times);
    w.flops += SOFTMAX_FLOPS * rows * m->embed.n;
    w.passed = floats(rows * m->cfg.d_model);
    return w;
}

dgm_stage_work dgm_stage_work_of(const dgm_model *m, const dgm_stage_types *types,
                                 const dgm_stage_clock *c, int stack, enum dgm_stage stage)
{
    const dgm_stage_total *t = &c->total[stack][stage];
    const double times = (double)t->passes, rows = (double)t->rows, d = m->cfg.d_model;
    switch (stage) {
    case DGM_STAGE_EMBED: /* row, position, result */
        return (dgm_stage_work){.flops = 2 * rows * d,
                                .needed = rows * row_bytes(&m->embed),
                                .passed = floats(2 * rows * d)};
    case DGM_STAGE_SELF:
    case DGM_STAGE_CROSS:
        return attention(m, types, t, stack, stage == DGM_STAGE_CROSS);
    case DGM_STAGE_CROSS_KV:
        return cross_kv(m, types, rows, times);
    case DGM_STAGE_FFN:
        return feed_forward(m, types, t, stack);
    case DGM_STAGE_VOCABULARY:
        return vocabulary(m, types, rows, times);
    case DGM_STAGE_SEARCH:
        return (dgm_stage_work){0};
    default:
        return mixture(m, types, t, stack, stage);
    }
}

const char *dgm_stage_name(enum dgm_stage stage)
{
    static const char *const names[DGM_STAGES] = {
        [DGM_STAGE_EMBED] = "embed",       [DGM_STAGE_SELF] = "self attention",
        [DGM_STAGE_CROSS_KV] = "cross kv", [DGM_STAGE_CROSS] = "cross attention",
        [DGM_STAGE_FFN] = "ffn",           [DGM_STAGE_ROUTER] = "router",
        [DGM_STAGE_EXCHANGE] = "exchange", [DGM_STAGE_EXPERTS] = "expert ffn",
        [DGM_STAGE_COMBINE] = "combine",   [DGM_STAGE_VOCABULARY] = "vocabulary",
        [DGM_STAGE_SEARCH] = "search"};
    return names[stage];
}

#include "launch/bench_stages.h"

static double matrix_bytes(const dgm_packed *w)
{
    const bool scales = w->type == DGM_W_INT8 || w->type == DGM_W_INT4;
    const double groups = scales ? dgm_packed_groups(w->k, w->group) : 0;
    return (double)dgm_packed_bytes(w->type, w->n, w->k) +
           (double)dgm_packed_panels(w->n) * groups * DGM_PANEL * sizeof(float);
}

/* Of a matrix [n, k] with `rows` rows through it, its weights read `times` times. */
static dgm_stage_work product(const dgm_packed *w, double rows, double times)
{
    const double n = w->n, k = w->k;
    return (dgm_stage_work){.flops = 2 * rows * n * k,
                            .bytes = times * matrix_bytes(w) + rows * (n + k) * sizeof(float)};
}

static void add(dgm_stage_work *sum, dgm_stage_work w)
{
    sum->flops += w.flops;
    sum->bytes += w.bytes;
}

static const dgm_layer *find_layer(const dgm_model *m, int stack, bool sparse)
{
    const dgm_stack *s = &m->stack[stack];
    for (int i = 0; i < s->n_layers; i++)
        if (s->layers[i].sparse == sparse)
            return &s->layers[i];
    return NULL;
}

/* Layers of a kind are alike, so the first stands for all. */
static dgm_stage_work feed_forward(const dgm_model *m, const dgm_stage_total *t, int stack)
{
    dgm_stage_work sum = {0, 0};
    const dgm_layer *l = find_layer(m, stack, false);
    if (l == NULL)
        return sum;
    const double times = (double)t->passes, rows = (double)t->rows;
    add(&sum, product(&l->ffn.fc1.w, rows, times));
    add(&sum, product(&l->ffn.fc2.w, rows, times));
    return sum;
}

static dgm_stage_work mixture(const dgm_model *m, const dgm_stage_total *t, int stack,
                              enum dgm_stage stage)
{
    dgm_stage_work sum = {0, 0};
    const dgm_layer *l = find_layer(m, stack, true);
    const double rows = (double)t->rows, row_bytes = (double)m->cfg.d_model * sizeof(float);
    if (l == NULL)
        return sum;
    switch (stage) {
    case DGM_STAGE_ROUTER:
        return product(&l->router, rows, (double)t->passes);
    case DGM_STAGE_EXPERTS:
        add(&sum, product(&l->experts[0].fc1.w, rows, (double)t->units));
        add(&sum, product(&l->experts[0].fc2.w, rows, (double)t->units));
        return sum;
    case DGM_STAGE_EXCHANGE: /* copied out; on other ranks there and back */
        return (dgm_stage_work){.bytes = 2 * rows * row_bytes};
    default: /* combine: two in, one out */
        return (dgm_stage_work){.bytes = 3 * rows * row_bytes};
    }
}

static dgm_stage_work attention(const dgm_model *m, const dgm_stage_total *t, int stack, bool cross)
{
    const dgm_layer *l = &m->stack[stack].layers[0];
    const double times = (double)t->passes, rows = (double)t->rows, keys = (double)t->units,
                 d = m->cfg.d_model;
    dgm_stage_work sum = {.flops = 4 * keys * d, .bytes = 2 * keys * d * sizeof(float)};
    if (stack == DGM_ENCODER) /* the keys of a sentence were just made: they are in cache */
        sum.bytes = 0;
    add(&sum, product(cross ? &l->cross_q.w : &l->qkv.w, rows, times));
    add(&sum, product(cross ? &l->cross_out.w : &l->self_out.w, rows, times));
    return sum;
}

dgm_stage_work dgm_stage_work_of(const dgm_model *m, const dgm_stage_clock *c, int stack,
                                 enum dgm_stage stage)
{
    const dgm_stage_total *t = &c->total[stack][stage];
    const double times = (double)t->passes, rows = (double)t->rows, d = m->cfg.d_model;
    switch (stage) {
    case DGM_STAGE_EMBED: /* row, position, result */
        return (dgm_stage_work){.flops = 2 * rows * d, .bytes = 3 * rows * d * sizeof(float)};
    case DGM_STAGE_SELF:
    case DGM_STAGE_CROSS:
        return attention(m, t, stack, stage == DGM_STAGE_CROSS);
    case DGM_STAGE_CROSS_KV: {
        const double layers = m->stack[DGM_DECODER].n_layers;
        return product(&m->stack[DGM_DECODER].layers[0].cross_kv.w, rows * layers, times * layers);
    }
    case DGM_STAGE_FFN:
        return feed_forward(m, t, stack);
    case DGM_STAGE_VOCABULARY:
        return product(&m->embed, rows, times);
    case DGM_STAGE_SEARCH:
        return (dgm_stage_work){0, 0};
    default:
        return mixture(m, t, stack, stage);
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

/* Which tensors a model has, in the order of the file: as Hugging Face names them, or packed (docs/adr/0006). */
#include "kernels/pack.h"
#include "runtime/synth.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The widest type of value is a whole number of about 8 bits with this standard deviation, see synth_fill.c. */
static const double VALUES_SD = 104.5, INT8_SD = 73.6, INT4_SD = 4.5;

/*
 * The embedding is the projection too: were it most of what reaches the end, each token would predict itself. A token's
 * own logit is about EMBED_GAIN^2 sqrt(d) / sd, sd that of the last layer's output, the others' spread EMBED_GAIN. With
 * these the first stays below the largest of the others in all known shapes, and logits spread as a trained model's do.
 */
static const double EMBED_GAIN = 2, OUT_GAIN = 32;
static const double PLANTED_GAIN = 0.0625; /* experts that change scores, not the text */

typedef struct maker {
    const dgm_synth *s;
    dgm_synth_list *l;
    const char *prefix;
    bool moe;                 /* names of nllb-moe, else of m2m_100 */
    int rc;                   /* the first failure; nothing is added after it */
    bool in_expert, page;     /* where the next tensor stands: page: on one of its own */
    dgm_wtype matrix;         /* type of matrices to come, of a packed file */
    enum dgm_synth_fill fill; /* of float matrices to come */
} maker;

static int nearest_power(double x)
{
    return (int)lround(log2(x));
}

/* ---- one tensor ---- */

static uint64_t type_bytes(const char *type)
{
    return strcmp(type, "F32") == 0 ? 4 : strcmp(type, "BF16") == 0 ? 2 : 1;
}

/* Completes `t`, which has fill, type and shape. */
static void add(maker *m, const dgm_synth_tensor *t, const char *name)
{
    dgm_synth_list *l = m->l;
    if (m->rc == DGM_OK && l->n == l->cap) {
        const size_t cap = l->cap == 0 ? 1024 : 2 * l->cap;
        dgm_synth_tensor *grown = realloc(l->tensors, cap * sizeof *grown);
        if (grown == NULL) {
            m->rc = dgm_fail(DGM_ENOMEM, "cannot allocate a list of %zu tensors", cap);
        } else {
            l->tensors = grown;
            l->cap = cap;
        }
    }
    if (m->rc != DGM_OK)
        return;
    dgm_synth_tensor *at = &l->tensors[l->n++];
    *at = *t;
    at->bytes = type_bytes(t->type);
    for (int i = 0; i < t->n_dims; i++)
        at->bytes *= t->dims[i];
    at->page = m->page;
    at->unit = m->page || (!m->in_expert && t->fill != DGM_SYNTH_SCALES);
    m->page = false;
    (void)snprintf(at->name, sizeof at->name, "%s%s", m->prefix, name);
}

static const char *float_type(dgm_wtype t)
{
    return t == DGM_W_F32 ? "F32" : "BF16";
}

static void add_vector(maker *m, enum dgm_synth_fill fill, int n, const char *name)
{
    const dgm_synth_tensor t = {.fill = fill,
                                .type = m->s->packed ? "F32" : float_type(m->s->dense_type),
                                .n_dims = 1,
                                .dims = {(uint64_t)n},
                                .exponent = -10,
                                .n = n};
    add(m, &t, name);
    m->l->params += (uint64_t)n;
}

static void add_scales(maker *m, int n, int k, double sd, const char *name)
{
    const int groups = dgm_packed_groups(k, m->s->group);
    const dgm_synth_tensor t = {
        .fill = DGM_SYNTH_SCALES,
        .type = "F32",
        .n_dims = 3,
        .dims = {dgm_packed_panels(n), (uint64_t)groups, DGM_PANEL},
        .exponent = nearest_power(sd / (m->matrix == DGM_W_INT8 ? INT8_SD : INT4_SD)),
        .panels = true,
        .n = n,
        .k = groups,
        .per = 1};
    add(m, &t, name);
}

/* The panels of a packed matrix and, for integers, its scales. */
static void add_panels(maker *m, int n, int k, double sd, const char *name)
{
    const struct {
        const char *type;
        int inputs, last; /* of 64 bytes; the last dimension, 0: none */
        enum dgm_synth_fill fill;
    } layouts[] = {[DGM_W_F32] = {"F32", 1, 0, m->fill},
                   [DGM_W_BF16] = {"BF16", 2, 2, m->fill},
                   [DGM_W_INT8] = {"I8", 4, 4, DGM_SYNTH_INT8},
                   [DGM_W_INT4] = {"U8", 8, 4, DGM_SYNTH_INT4}};
    const int inputs = layouts[m->matrix].inputs, last = layouts[m->matrix].last;
    char full[112];
    const dgm_synth_tensor t = {.fill = layouts[m->matrix].fill,
                                .type = layouts[m->matrix].type,
                                .n_dims = last > 0 ? 4 : 3,
                                .dims = {dgm_packed_panels(n),
                                         (uint64_t)((k + inputs - 1) / inputs), DGM_PANEL,
                                         (uint64_t)last},
                                .exponent = nearest_power(sd / VALUES_SD),
                                .panels = true,
                                .n = n,
                                .k = k,
                                .per = inputs};
    (void)snprintf(full, sizeof full, "%s.q", name);
    add(m, &t, full);
    (void)snprintf(full, sizeof full, "%s.scale", name);
    if (m->matrix == DGM_W_INT8 || m->matrix == DGM_W_INT4)
        add_scales(m, n, k, sd, full);
}

static void add_matrix(maker *m, int n, int k, double sd, const char *name)
{
    m->l->params += (uint64_t)n * (uint64_t)k;
    if (m->s->packed) {
        add_panels(m, n, k, sd, name);
        return;
    }
    const dgm_synth_tensor t = {.fill = m->fill,
                                .type = float_type(m->s->dense_type),
                                .n_dims = 2,
                                .dims = {(uint64_t)n, (uint64_t)k},
                                .exponent = nearest_power(sd / VALUES_SD),
                                .n = n,
                                .k = k};
    add(m, &t, name);
}

/* ---- parts of a layer ---- */

static void add_linear(maker *m, int n, int k, double gain, const char *stem)
{
    char name[104];
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    add_matrix(m, n, k, gain / sqrt(k), name);
    (void)snprintf(name, sizeof name, "%s.bias", stem);
    add_vector(m, DGM_SYNTH_VALUES, n, name);
}

static void add_norm(maker *m, const char *stem)
{
    char name[104];
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    add_vector(m, DGM_SYNTH_NORM, m->s->d_model, name);
    (void)snprintf(name, sizeof name, "%s.bias", stem);
    add_vector(m, DGM_SYNTH_VALUES, m->s->d_model, name);
}

/* parts: "qkv" is one matrix of a packed model and three of Hugging Face's. */
static void add_projections(maker *m, const char *layer, const char *attn, const char *parts)
{
    const int d = m->s->d_model, n = (int)strlen(parts);
    char stem[96];
    if (m->s->packed) {
        (void)snprintf(stem, sizeof stem, "%s.%s.%s_proj", layer, attn, parts);
        add_linear(m, n * d, d, 1, stem);
        return;
    }
    for (int i = 0; i < n; i++) {
        (void)snprintf(stem, sizeof stem, "%s.%s.%c_proj", layer, attn, parts[i]);
        add_linear(m, d, d, 1, stem);
    }
}

static void add_attention(maker *m, const char *layer, const char *attn, bool cross)
{
    char stem[96];
    (void)snprintf(stem, sizeof stem, "%s.%s_layer_norm", layer, attn);
    add_norm(m, stem);
    if (cross)
        add_projections(m, layer, attn, "q");
    add_projections(m, layer, attn, cross ? "kv" : "qkv");
    (void)snprintf(stem, sizeof stem, "%s.%s.out_proj", layer, attn);
    add_linear(m, m->s->d_model, m->s->d_model, OUT_GAIN, stem);
}

static void add_ffn(maker *m, int stack, const char *stem)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%sfc1", stem);
    add_linear(m, m->s->ffn[stack], m->s->d_model, 1, name);
    (void)snprintf(name, sizeof name, "%sfc2", stem);
    add_linear(m, m->s->d_model, m->s->ffn[stack],
               m->s->plant.languages > 0 ? PLANTED_GAIN : OUT_GAIN, name);
}

/* What chooses among n experts. */
static void add_router(maker *m, int stack, const char *layer, int n)
{
    const dgm_synth *s = m->s;
    const bool by_task = dgm_routing_by_task(s->routing[stack]);
    char name[88];
    (void)snprintf(name, sizeof name, "%s.ffn.router.%s.weight", layer,
                   by_task ? "task" : "classifier");
    m->matrix = DGM_W_F32; /* routers always are */
    m->fill = by_task ? DGM_SYNTH_TASKS : DGM_SYNTH_VALUES;
    if (by_task)
        add_matrix(m, s->tasks, n, s->router_spread, name);
    else
        add_matrix(m, n, s->d_model, s->router_spread / sqrt(s->d_model), name);
    m->fill = DGM_SYNTH_VALUES;
}

static void add_experts(maker *m, int stack, const char *layer)
{
    const dgm_synth *s = m->s;
    const int n = s->kept[stack] > 0 ? s->kept[stack] : s->experts;
    char name[88];
    add_router(m, stack, layer, n);
    m->matrix = s->experts_type;
    m->in_expert = true;
    for (int e = 0; e < n; e++) {
        (void)snprintf(name, sizeof name, "%s.ffn.experts.expert_%d.", layer, e);
        m->page = true;
        add_ffn(m, stack, name);
    }
    m->in_expert = false;
    m->page = true; /* what follows is not on an expert's last page */
    m->matrix = s->dense_type;
}

static void add_layer(maker *m, int stack, int i)
{
    const dgm_synth *s = m->s;
    const bool sparse = m->moe && s->sparse_step[stack] > 0 && (i + 1) % s->sparse_step[stack] == 0;
    char layer[40], stem[64];
    (void)snprintf(layer, sizeof layer, "%s.layers.%d",
                   stack == DGM_ENCODER ? "encoder" : "decoder", i);
    add_attention(m, layer, "self_attn", false);
    if (stack == DGM_DECODER)
        add_attention(m, layer, m->moe ? "cross_attention" : "encoder_attn", true);
    (void)snprintf(stem, sizeof stem, "%s.%s", layer,
                   m->moe ? "ff_layer_norm" : "final_layer_norm");
    add_norm(m, stem);
    if (sparse) {
        add_experts(m, stack, layer);
        return;
    }
    (void)snprintf(stem, sizeof stem, "%s.%s", layer, m->moe ? "ffn." : "");
    add_ffn(m, stack, stem);
}

/* ---- all ---- */

int dgm_synth_list_make(dgm_synth_list *out, const dgm_synth *s)
{
    *out = (dgm_synth_list){.spec = s};
    maker m = {
        .s = s, .l = out, .prefix = "model.", .moe = s->experts > 0, .matrix = s->dense_type};
    add_matrix(&m, s->vocab_size, s->d_model, EMBED_GAIN / sqrt(s->d_model), "shared.weight");
    for (int stack = 0; stack < DGM_STACKS; stack++) {
        for (int i = 0; i < s->layers[stack]; i++)
            add_layer(&m, stack, i);
        add_norm(&m, stack == DGM_ENCODER ? "encoder.layer_norm" : "decoder.layer_norm");
    }
    if (m.rc != DGM_OK)
        dgm_synth_list_free(out);
    return m.rc;
}

void dgm_synth_list_free(dgm_synth_list *l)
{
    free(l->tensors);
    *l = (dgm_synth_list){0};
}

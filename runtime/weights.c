#define _GNU_SOURCE
#include "runtime/weights.h"

#include "runtime/config_model.h"
#include "runtime/cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct binder {
    dgm_model *m;
    struct dgm_model_files *f;
    const char *prefix; /* "model." or "" */
    char at[96];        /* "encoder.layers.3." */
    enum dgm_part part; /* of the slots to come, with their owner: */
    int layer, moe, expert;
} binder;

/* type_of - the type of a packed matrix that belongs to part b->part; routers are always f32. */
static dgm_wtype type_of(const binder *b)
{
    const dgm_weight_types *types = &b->m->cfg.weights;
    if (b->part == DGM_ROUTER)
        return DGM_W_F32;
    return b->part == DGM_EXPERTS ? types->experts : types->dense;
}

/* ---- one tensor ---- */

static int add_slot(struct dgm_model_files *f, const dgm_slot *s)
{
    if (f->n_slots == f->cap_slots) {
        const size_t cap = f->cap_slots == 0 ? 256 : 2 * f->cap_slots;
        dgm_slot *grown = realloc(f->slots, cap * sizeof *grown);
        if (grown == NULL)
            return dgm_fail(DGM_ENOMEM, "cannot allocate a list of %zu tensors", cap);
        f->slots = grown;
        f->cap_slots = cap;
    }
    f->slots[f->n_slots++] = *s;
    return DGM_OK;
}

/* Completes the slot of our `name` with the tensor prefix + at + file_name and its owner, and enters it. */
static int bind(binder *b, dgm_slot s, const char *name, const char *file_name)
{
    char full[256];
    (void)snprintf(s.name, sizeof s.name, "%s%s", b->at, name);
    s.part = b->part;
    s.layer = b->layer;
    s.moe = b->moe;
    s.expert = b->expert;
    if (b->f->tensors == NULL) /* described only */
        return add_slot(b->f, &s);
    (void)snprintf(full, sizeof full, "%s%s%s", b->prefix, b->at, file_name);
    s.tensor = dgm_tensors_find(b->f->tensors, full);
    if (s.tensor == NULL)
        return dgm_fail(DGM_EMODEL, "%s: wanted a tensor %s, found none", b->m->dir, full);
    DGM_TRY(dgm_slot_check(b->f->tensors, &s));
    return add_slot(b->f, &s);
}

/* The matrix [n, k] of a packed model: its panels and, for integers, its scales. */
static int bind_packed(binder *b, dgm_packed *w, int n, int k, const char *name)
{
    char file_name[256];
    dgm_slot s = {.form = DGM_SLOT_PANELS, .matrix = w, .n = n, .rows = n, .k = k};
    w->type = type_of(b);
    (void)snprintf(file_name, sizeof file_name, "%s.q", name);
    if (w->type != DGM_W_INT8 && w->type != DGM_W_INT4)
        return bind(b, s, name, file_name);
    w->group = b->m->cfg.weights.group;
    DGM_TRY(bind(b, s, name, file_name));
    s.form = DGM_SLOT_SCALES;
    (void)snprintf(file_name, sizeof file_name, "%s.scale", name);
    return bind(b, s, name, file_name);
}

/* Rows row0 .. of the matrix `name` [n, k] of our graph, from the tensor file_name [rows, k]. */
static int bind_matrix(binder *b, dgm_packed *w, int n, int k, int row0, int rows, const char *name,
                       const char *file_name)
{
    w->n = n;
    w->k = k;
    if (b->m->cfg.weights.packed)
        return bind_packed(b, w, n, k, name);
    return bind(b, (dgm_slot){.matrix = w, .n = n, .row0 = row0, .rows = rows, .k = k}, name,
                file_name);
}

static int bind_vector(binder *b, const float **v, int n, int row0, int rows, const char *name,
                       const char *file_name)
{
    const dgm_slot s = {.form = b->m->cfg.weights.packed ? DGM_SLOT_VECTOR : DGM_SLOT_ROWS,
                        .vector = v,
                        .n = n,
                        .row0 = row0,
                        .rows = rows,
                        .k = 1};
    return bind(b, s, name, file_name);
}

/* The linear layer `name` [n, k] with its bias. */
static int bind_linear(binder *b, dgm_linear *l, int n, int k, const char *name)
{
    char full[96];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    DGM_TRY(bind_matrix(b, &l->w, n, k, 0, n, full, full));
    (void)snprintf(full, sizeof full, "%s.bias", name);
    return bind_vector(b, &l->b, n, 0, n, full, full);
}

static int bind_norm(binder *b, dgm_norm *norm, const char *name)
{
    char full[96];
    const int d = b->m->cfg.d_model;
    b->part = DGM_NORM;
    (void)snprintf(full, sizeof full, "%s.weight", name);
    DGM_TRY(bind_vector(b, &norm->w, d, 0, d, full, full));
    (void)snprintf(full, sizeof full, "%s.bias", name);
    return bind_vector(b, &norm->b, d, 0, d, full, full);
}

/* ---- a layer ---- */

/* What the two families call the same things. */
static const struct names {
    const char *cross, *cross_norm, *fc1, *fc2, *ffn_norm;
} nllb_moe = {"cross_attention", "cross_attention_layer_norm", "ffn.fc1", "ffn.fc2",
              "ff_layer_norm"},
  m2m_100 = {"encoder_attn", "encoder_attn_layer_norm", "fc1", "fc2", "final_layer_norm"};

/* One fused matrix [n * d, d] and its bias, from the n projections `parts` of attention `attn`. */
static int bind_fused(binder *b, dgm_linear *l, const char *attn, const char *parts)
{
    const int d = b->m->cfg.d_model, n = (int)strlen(parts);
    const bool packed = b->m->cfg.weights.packed;
    char stem[48], weight[64], bias[64], name[64];
    b->part = DGM_ATTENTION;
    (void)snprintf(stem, sizeof stem, "%s.%s_proj", attn, parts);
    if (packed || n == 1)
        return bind_linear(b, l, n * d, d, stem);
    (void)snprintf(weight, sizeof weight, "%s.weight", stem);
    (void)snprintf(bias, sizeof bias, "%s.bias", stem);
    for (int i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "%s.%c_proj.weight", attn, parts[i]);
        DGM_TRY(bind_matrix(b, &l->w, n * d, d, i * d, d, weight, name));
    }
    for (int i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "%s.%c_proj.bias", attn, parts[i]);
        DGM_TRY(bind_vector(b, &l->b, n * d, i * d, d, bias, name));
    }
    return DGM_OK;
}

static int bind_out(binder *b, dgm_linear *l, const char *attn)
{
    char name[64];
    const int d = b->m->cfg.d_model;
    (void)snprintf(name, sizeof name, "%s.out_proj", attn);
    return bind_linear(b, l, d, d, name);
}

static int bind_attention(binder *b, dgm_layer *l, const struct names *names, int stack)
{
    DGM_TRY(bind_norm(b, &l->self_norm, "self_attn_layer_norm"));
    DGM_TRY(bind_fused(b, &l->qkv, "self_attn", "qkv"));
    DGM_TRY(bind_out(b, &l->self_out, "self_attn"));
    if (stack == DGM_ENCODER)
        return DGM_OK;
    DGM_TRY(bind_norm(b, &l->cross_norm, names->cross_norm));
    DGM_TRY(bind_fused(b, &l->cross_q, names->cross, "q"));
    DGM_TRY(bind_fused(b, &l->cross_kv, names->cross, "kv"));
    return bind_out(b, &l->cross_out, names->cross);
}

static int bind_ffn(binder *b, dgm_ffn *ffn, int stack, const char *fc1, const char *fc2)
{
    const int d = b->m->cfg.d_model, f = b->m->cfg.ffn_dim[stack];
    DGM_TRY(bind_linear(b, &ffn->fc1, f, d, fc1));
    return bind_linear(b, &ffn->fc2, d, f, fc2);
}

/* The router, or the table of tasks; experts given by hand need neither, but may have gates. */
static int bind_router(binder *b, dgm_layer *l, int stack)
{
    static const char router[] = "ffn.router.classifier.weight", tasks[] = "ffn.router.task.weight",
                      gates[] = "ffn.router.gates";
    const dgm_model_config *c = &b->m->cfg;
    const int n = c->n_experts[stack];
    if (!dgm_routing_by_task(c->routing[stack]))
        return bind_matrix(b, &l->router, n, c->d_model, 0, n, router, router);
    l->router = (dgm_packed){.n = n, .k = c->d_model};
    if (c->routing[stack] == DGM_BY_TASK)
        return bind_matrix(b, &l->tasks, c->n_tasks, n, 0, c->n_tasks, tasks, tasks);
    return dgm_config_has_gates(c, stack)
               ? bind_vector(b, &l->gates, 2 * c->n_tasks, 0, 2 * c->n_tasks, gates, gates)
               : DGM_OK;
}

/* is_there - the model has the expert: it was not cut off, and where gates were given by hand, a task uses it. */
static bool is_there(const dgm_model *m, const dgm_layer *l, int stack, int expert)
{
    const int n_encoder = m->tasks.n_layers[DGM_ENCODER];
    if (!dgm_cut_has(m->cut, l->moe_index, expert))
        return false;
    return !dgm_config_has_gates(&m->cfg, stack) ||
           dgm_tasks_use(&m->tasks, stack, l->moe_index - (stack == DGM_DECODER ? n_encoder : 0),
                         expert);
}

static int bind_experts(binder *b, dgm_layer *l, int stack)
{
    const int n_experts = b->m->cfg.n_experts[stack];
    int rc = DGM_OK;
    l->moe_index = b->f->n_moe++;
    l->experts = calloc((size_t)n_experts, sizeof *l->experts);
    if (l->experts == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate a list of %d experts", n_experts);
    b->part = DGM_ROUTER;
    DGM_TRY(bind_router(b, l, stack));
    b->part = DGM_EXPERTS;
    b->moe = l->moe_index;
    for (int e = 0; e < n_experts && rc == DGM_OK; e++) {
        char fc1[48], fc2[48];
        b->expert = e;
        if (!is_there(b->m, l, stack, e))
            continue;
        (void)snprintf(fc1, sizeof fc1, "ffn.experts.expert_%d.fc1", e);
        (void)snprintf(fc2, sizeof fc2, "ffn.experts.expert_%d.fc2", e);
        rc = bind_ffn(b, &l->experts[e], stack, fc1, fc2);
    }
    b->moe = b->expert = -1;
    return rc;
}

static int bind_layer(binder *b, dgm_layer *l, int stack, bool sparse)
{
    const struct names *names = strcmp(b->m->cfg.model_type, "m2m_100") == 0 ? &m2m_100 : &nllb_moe;
    l->moe_index = -1;
    l->sparse = sparse;
    DGM_TRY(bind_attention(b, l, names, stack));
    DGM_TRY(bind_norm(b, &l->ffn_norm, names->ffn_norm));
    if (sparse)
        return bind_experts(b, l, stack);
    b->part = DGM_FFN;
    return bind_ffn(b, &l->ffn, stack, names->fc1, names->fc2);
}

/* ---- the model ---- */

/* lm_head is outside of what the prefix stands for. */
static const char *const embed_names[] = {"shared.weight", "encoder.embed_tokens.weight",
                                          "decoder.embed_tokens.weight", "lm_head.weight"};
enum { N_EMBED = sizeof embed_names / sizeof embed_names[0], LM_HEAD = N_EMBED - 1 };

static int bind_usual_embedding(binder *b)
{
    const dgm_model_config *c = &b->m->cfg;
    return bind_matrix(b, &b->m->embed, c->vocab_size, c->d_model, 0, c->vocab_size, embed_names[0],
                       embed_names[0]);
}

/* The lookup table and the projection are one tensor under up to four names; those that are there must agree
 * in shape (Hugging Face ties them whatever the others hold). */
static int bind_embedding(binder *b)
{
    const dgm_model_config *c = &b->m->cfg;
    const char *const prefix = b->prefix;
    int rc = DGM_OK, n = 0;
    b->part = DGM_EMBED;
    b->at[0] = '\0';
    if (c->weights.packed || b->f->tensors == NULL)
        return bind_usual_embedding(b);
    for (int i = 0; i < N_EMBED && rc == DGM_OK; i++) {
        char name[64];
        b->prefix = i == LM_HEAD ? "" : prefix;
        (void)snprintf(name, sizeof name, "%s%s", b->prefix, embed_names[i]);
        const dgm_tensor *t = dgm_tensors_find(b->f->tensors, name);
        const dgm_slot check = {
            .tensor = t, .matrix = &b->m->embed, .rows = c->vocab_size, .k = c->d_model};
        if (t == NULL)
            continue;
        rc = n++ == 0 ? bind_matrix(b, &b->m->embed, c->vocab_size, c->d_model, 0, c->vocab_size,
                                    embed_names[0], embed_names[i])
                      : dgm_slot_check(b->f->tensors, &check);
    }
    b->prefix = prefix;
    if (rc == DGM_OK && n == 0)
        rc = dgm_fail(DGM_EMODEL, "%s: wanted a tensor %sshared.weight, found none", b->m->dir,
                      prefix);
    return rc;
}

static int bind_stack(binder *b, int stack)
{
    const dgm_model_config *c = &b->m->cfg;
    dgm_stack *s = &b->m->stack[stack];
    const char *name = stack == DGM_ENCODER ? "encoder" : "decoder";
    s->layers = calloc((size_t)c->n_layers[stack], sizeof *s->layers);
    if (s->layers == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate a list of %d layers", c->n_layers[stack]);
    s->n_layers = c->n_layers[stack];
    for (int i = 0; i < s->n_layers; i++) {
        (void)snprintf(b->at, sizeof b->at, "%s.layers.%d.", name, i);
        b->layer = (stack == DGM_DECODER ? c->n_layers[DGM_ENCODER] : 0) + i;
        DGM_TRY(bind_layer(b, &s->layers[i], stack, dgm_config_is_sparse(c, stack, i)));
    }
    (void)snprintf(b->at, sizeof b->at, "%s.", name);
    b->layer = -1;
    return bind_norm(b, &s->norm, "layer_norm");
}

/* Tensors that checkpoints carry beside the model: the sinusoid table (we compute it) and aliases; packed files have
 * what fills gaps. */
static bool is_extra(const binder *b, const char *name)
{
    if (b->m->cfg.weights.packed)
        return strncmp(name, "pad.", 4) == 0;
    static const char *const extras[] = {"encoder.embed_positions.weights",
                                         "decoder.embed_positions.weights", "encoder.version",
                                         "decoder.version"};
    if (strcmp(name, embed_names[LM_HEAD]) == 0)
        return true;
    const size_t skip = strlen(b->prefix);
    if (strncmp(name, b->prefix, skip) != 0)
        return false;
    for (int i = 0; i < LM_HEAD; i++)
        if (strcmp(name + skip, embed_names[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++)
        if (strcmp(name + skip, extras[i]) == 0)
            return true;
    return false;
}

/* A tensor that nothing asked for means that the configuration describes another model than the file. */
static int check_leftovers(const binder *b)
{
    size_t n;
    const dgm_tensor *all = dgm_tensors_all(b->f->tensors, &n);
    bool *used = calloc(n + 1, sizeof *used);
    if (used == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate a list of %zu tensors", n);
    for (size_t i = 0; i < b->f->n_slots; i++)
        used[b->f->slots[i].tensor - all] = true;
    int rc = DGM_OK;
    for (size_t i = 0; i < n && rc == DGM_OK; i++)
        if (!used[i] && !is_extra(b, all[i].name))
            rc =
                dgm_fail(DGM_EMODEL, "%s: wanted only tensors that config.json describes, found %s",
                         dgm_tensors_path(b->f->tensors, &all[i]), all[i].name);
    free(used);
    return rc;
}

/*
 * A Hugging Face matrix of BF16 tensors stays BF16 in memory: widening is exact, so the bits of what is computed are
 * those of f32, from half the bytes. Anything else becomes f32.
 */
static void choose_types(const struct dgm_model_files *f, dgm_dtype described)
{
    for (size_t i = 0; i < f->n_slots; i++)
        if (f->slots[i].form == DGM_SLOT_ROWS && f->slots[i].matrix != NULL)
            f->slots[i].matrix->type = DGM_W_BF16;
    for (size_t i = 0; i < f->n_slots; i++)
        if (f->slots[i].form == DGM_SLOT_ROWS && f->slots[i].matrix != NULL &&
            (f->tensors == NULL ? (int)described : f->slots[i].tensor->dtype) != DGM_BF16)
            f->slots[i].matrix->type = DGM_W_F32;
}

/* shape_absent - experts that are not there look like those that are, without data: who asks about a layer's experts may
 * ask any. */
static void shape_absent(dgm_model *m)
{
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < m->stack[s].n_layers; i++) {
            const dgm_layer *l = &m->stack[s].layers[i];
            int like = 0;
            while (l->sparse && !is_there(m, l, s, like))
                like++;
            for (int e = 0; l->sparse && e < l->router.n; e++)
                if (!is_there(m, l, s, e))
                    l->experts[e] = l->experts[like];
        }
}

int dgm_weights_bind(dgm_model *m)
{
    /* Saved from the translation model, names begin with `model.`; saved from the bare one they do not. */
    const bool prefixed =
        m->files->tensors != NULL &&
        dgm_tensors_find(m->files->tensors, "model.encoder.layer_norm.weight") != NULL;
    binder b = {.m = m,
                .f = m->files,
                .prefix = prefixed ? "model." : "",
                .layer = -1,
                .moe = -1,
                .expert = -1};
    DGM_TRY(bind_embedding(&b));
    DGM_TRY(bind_stack(&b, DGM_ENCODER));
    DGM_TRY(bind_stack(&b, DGM_DECODER));
    if (m->files->tensors != NULL)
        DGM_TRY(check_leftovers(&b));
    choose_types(m->files, m->cfg.dtype);
    shape_absent(m);
    return DGM_OK;
}

size_t dgm_weights_bytes(const dgm_slot *s)
{
    if (s->form == DGM_SLOT_SCALES)
        return dgm_packed_panels(s->n) * (size_t)dgm_packed_groups(s->k, s->matrix->group) *
               DGM_PANEL * sizeof(float);
    if (s->row0 != 0) /* counted with the first part */
        return 0;
    const size_t bytes = s->matrix != NULL ? dgm_packed_bytes(s->matrix->type, s->n, s->k)
                                           : (size_t)s->n * sizeof(float);
    return s->form == DGM_SLOT_ROWS ? dgm_arena_align(bytes) : bytes;
}

#define _GNU_SOURCE
#include "runtime/weights.h"

#include "runtime/config_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct binder {
    dgm_model *m;
    struct dgm_model_files *f;
    const char *prefix; /* "model." or "" */
    char at[96];        /* "encoder.layers.3." */
    enum dgm_part part; /* of the slots to come, with their owner: */
    int moe, expert;
} binder;

/* ---- one tensor ---- */

static void shape_text(char *out, size_t size, int n_dims, const uint64_t *dims)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < n_dims && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRIu64, i > 0 ? ", " : "", dims[i]);
    if (used < size)
        (void)snprintf(out + used, size - used, "]");
}

static int check_tensor(const binder *b, const dgm_tensor *t, const dgm_slot *s)
{
    const char *path = dgm_tensors_path(b->f->tensors, t);
    if (t->dtype < 0)
        return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted F32, F16 or BF16, found %s", path,
                        t->name, t->type);
    const uint64_t want[2] = {(uint64_t)s->rows, (uint64_t)s->k};
    const int n_dims = s->matrix != NULL ? 2 : 1;
    if (t->n_dims != n_dims || memcmp(t->dims, want, (size_t)n_dims * sizeof want[0]) != 0) {
        char wanted[64], found[128];
        shape_text(wanted, sizeof wanted, n_dims, want);
        shape_text(found, sizeof found, t->n_dims, t->dims);
        return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted shape %s, found %s", path, t->name,
                        wanted, found);
    }
    return DGM_OK;
}

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

/* Completes the slot with the tensor prefix + at + name and its owner, and enters it. */
static int bind(binder *b, dgm_slot s, const char *name)
{
    char full[256];
    (void)snprintf(full, sizeof full, "%s%s%s", b->prefix, b->at, name);
    s.tensor = dgm_tensors_find(b->f->tensors, full);
    if (s.tensor == NULL)
        return dgm_fail(DGM_EMODEL, "%s: wanted a tensor %s, found none", b->m->dir, full);
    s.part = b->part;
    s.moe = b->moe;
    s.expert = b->expert;
    DGM_TRY(check_tensor(b, s.tensor, &s));
    return add_slot(b->f, &s);
}

static int bind_matrix(binder *b, dgm_packed *w, int n, int k, int row0, int rows, const char *name)
{
    w->n = n;
    w->k = k;
    return bind(b, (dgm_slot){.matrix = w, .n = n, .row0 = row0, .rows = rows, .k = k}, name);
}

static int bind_vector(binder *b, const float **v, int n, int row0, int rows, const char *name)
{
    return bind(b, (dgm_slot){.vector = v, .n = n, .row0 = row0, .rows = rows, .k = 1}, name);
}

/* `name` and its bias as rows row0 .. of the linear layer [n, k]. */
static int bind_linear(binder *b, dgm_linear *l, int n, int k, int row0, int rows, const char *name)
{
    char full[96];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    DGM_TRY(bind_matrix(b, &l->w, n, k, row0, rows, full));
    (void)snprintf(full, sizeof full, "%s.bias", name);
    return bind_vector(b, &l->b, n, row0, rows, full);
}

static int bind_norm(binder *b, dgm_norm *norm, const char *name)
{
    char full[96];
    const int d = b->m->cfg.d_model;
    b->part = DGM_NORM;
    (void)snprintf(full, sizeof full, "%s.weight", name);
    DGM_TRY(bind_vector(b, &norm->w, d, 0, d, full));
    (void)snprintf(full, sizeof full, "%s.bias", name);
    return bind_vector(b, &norm->b, d, 0, d, full);
}

/* ---- a layer ---- */

/* What the two families call the same things. */
static const struct names {
    const char *cross, *cross_norm, *fc1, *fc2, *ffn_norm;
} nllb_moe = {"cross_attention", "cross_attention_layer_norm", "ffn.fc1", "ffn.fc2",
              "ff_layer_norm"},
  m2m_100 = {"encoder_attn", "encoder_attn_layer_norm", "fc1", "fc2", "final_layer_norm"};

/* Rows [n * d, d] of one fused matrix, from `parts` projections of attention `attn`. */
static int bind_fused(binder *b, dgm_linear *l, const char *attn, const char *parts)
{
    const int d = b->m->cfg.d_model, n = (int)strlen(parts);
    b->part = DGM_ATTENTION;
    for (int i = 0; i < n; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s.%c_proj", attn, parts[i]);
        DGM_TRY(bind_linear(b, l, n * d, d, i * d, d, name));
    }
    return DGM_OK;
}

static int bind_out(binder *b, dgm_linear *l, const char *attn)
{
    char name[64];
    const int d = b->m->cfg.d_model;
    (void)snprintf(name, sizeof name, "%s.out_proj", attn);
    return bind_linear(b, l, d, d, 0, d, name);
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
    DGM_TRY(bind_linear(b, &ffn->fc1, f, d, 0, f, fc1));
    return bind_linear(b, &ffn->fc2, d, f, 0, d, fc2);
}

static int bind_experts(binder *b, dgm_layer *l, int stack)
{
    const int d = b->m->cfg.d_model, n_experts = b->m->cfg.n_experts[stack];
    int rc = DGM_OK;
    l->moe_index = b->f->n_moe++;
    l->experts = calloc((size_t)n_experts, sizeof *l->experts);
    if (l->experts == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate a list of %d experts", n_experts);
    b->part = DGM_ROUTER;
    DGM_TRY(bind_matrix(b, &l->router, n_experts, d, 0, n_experts, "ffn.router.classifier.weight"));
    b->part = DGM_EXPERTS;
    b->moe = l->moe_index;
    for (int e = 0; e < n_experts && rc == DGM_OK; e++) {
        char fc1[48], fc2[48];
        b->expert = e;
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

/* The lookup table and the projection are one tensor under up to four names; those that are there must agree
 * in shape (Hugging Face ties them whatever the others hold). */
static int bind_embedding(binder *b)
{
    const dgm_model_config *c = &b->m->cfg;
    const char *const prefix = b->prefix;
    int rc = DGM_OK, n = 0;
    b->part = DGM_EMBED;
    b->at[0] = '\0';
    for (int i = 0; i < N_EMBED && rc == DGM_OK; i++) {
        char name[64];
        b->prefix = i == LM_HEAD ? "" : prefix;
        (void)snprintf(name, sizeof name, "%s%s", b->prefix, embed_names[i]);
        const dgm_tensor *t = dgm_tensors_find(b->f->tensors, name);
        const dgm_slot want = {.matrix = &b->m->embed, .rows = c->vocab_size, .k = c->d_model};
        if (t == NULL)
            continue;
        rc = n++ == 0 ? bind_matrix(b, want.matrix, c->vocab_size, c->d_model, 0, c->vocab_size,
                                    embed_names[i])
                      : check_tensor(b, t, &want);
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
        DGM_TRY(bind_layer(b, &s->layers[i], stack, dgm_config_is_sparse(c, stack, i)));
    }
    (void)snprintf(b->at, sizeof b->at, "%s.", name);
    return bind_norm(b, &s->norm, "layer_norm");
}

/* Tensors that checkpoints carry beside the model: the sinusoid table (we compute it) and aliases. */
static bool is_extra(const binder *b, const char *name)
{
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

int dgm_weights_bind(dgm_model *m)
{
    /* Saved from the translation model, names begin with `model.`; saved from the bare one they do not. */
    const bool prefixed =
        dgm_tensors_find(m->files->tensors, "model.encoder.layer_norm.weight") != NULL;
    binder b = {.m = m, .f = m->files, .prefix = prefixed ? "model." : "", .moe = -1, .expert = -1};
    DGM_TRY(bind_embedding(&b));
    DGM_TRY(bind_stack(&b, DGM_ENCODER));
    DGM_TRY(bind_stack(&b, DGM_DECODER));
    DGM_TRY(check_leftovers(&b));
    m->files->experts = calloc((size_t)(m->files->n_moe * dgm_config_most_experts(&m->cfg)) + 1,
                               sizeof *m->files->experts);
    if (m->files->experts == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate a list of experts");
    return DGM_OK;
}

size_t dgm_weights_bytes(const dgm_slot *s)
{
    if (s->row0 != 0) /* counted with the first part */
        return 0;
    return dgm_arena_align(s->matrix != NULL ? dgm_packed_bytes(DGM_W_F32, s->n, s->k)
                                             : (size_t)s->n * sizeof(float));
}

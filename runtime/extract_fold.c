/* The folded model: an expert pair as one dense FFN. Tensors that change are made whole, in memory. */
#define _GNU_SOURCE
#include "runtime/extract.h"
#include "runtime/zeros.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How sources become one tensor. */
enum join {
    COPY,    /* as it is */
    ROWS,    /* one below the other */
    COLUMNS, /* one beside the other, each times its scale */
    SUM      /* of vectors, each times its scale */
};

/* A tensor of the new model. What sources leave of [rows, k] is zero. */
typedef struct item {
    enum join join;
    int n; /* sources */
    const dgm_slot *from[2];
    double scale[2];
    size_t rows, k; /* k 1: a vector */
    bool bf16;      /* else f32; of COPY neither */
} item;

typedef struct job {
    const dgm_extraction *x;
    dgm_extract_report *report;
    dgm_model_copy copy;
    item *items; /* [copy.n] */
    int wide;    /* an FFN of a folded stack is so many times as wide */
    bool dense;
} job;

/* ---- names ---- */

/* dense_name - what m2m_100 calls a tensor of nllb-moe; name itself where it is the same. Takes name. */
static char *dense_name(char *name)
{
    static const char *const pairs[][2] = {
        {".ffn.fc", ".fc"},
        {".ff_layer_norm.", ".final_layer_norm."},
        {".cross_attention_layer_norm.", ".encoder_attn_layer_norm."},
        {".cross_attention.", ".encoder_attn."},
    };
    for (size_t i = 0; name != NULL && i < sizeof pairs / sizeof pairs[0]; i++) {
        const char *at = strstr(name, pairs[i][0]);
        char *out = NULL;
        if (at == NULL)
            continue;
        if (asprintf(&out, "%.*s%s%s", (int)(at - name), name, pairs[i][1],
                     at + strlen(pairs[i][0])) < 0)
            out = NULL;
        free(name);
        return out;
    }
    return name;
}

/* merged_name - of `tail` where an expert's tensor is. malloc'ed. */
static char *merged_name(const char *name, const char *tail)
{
    char *out = NULL;
    const char *at = strstr(name, "experts.expert_");
    DGM_ASSERT(at != NULL); /* the binder gave the expert this name */
    return asprintf(&out, "%.*s%s", (int)(at - name), name, tail) < 0 ? NULL : out;
}

/* ---- plan ---- */

static const dgm_slot *slot_of(const dgm_model *m, const dgm_packed *matrix, const float **vector)
{
    const dgm_slot *s = m->files->slots;
    while (matrix != NULL ? s->matrix != matrix : s->vector != vector)
        s++; /* an expert that a task uses has one, or the model would not have opened */
    return s;
}

/* add - the item, as a tensor of that name (taken). */
static int add(job *j, const item *what, char *name)
{
    item *i = &j->items[j->copy.n];
    *i = *what;
    name = j->dense ? dense_name(name) : name;
    if (i->join == COPY)
        return dgm_model_copy_add_slot(&j->copy, name, i->from[0]);
    i->bf16 = i->join != SUM;
    for (int s = 0; s < i->n; s++)
        i->bf16 = i->bf16 && i->from[s]->tensor->dtype == DGM_BF16 && i->scale[s] == 1;
    const bool matrix = i->from[0]->matrix != NULL;
    const dgm_new_tensor t = {.type = i->bf16 ? "BF16" : "F32",
                              .n_dims = matrix ? 2 : 1,
                              .dims = {i->rows, i->k},
                              .unit = matrix};
    return dgm_model_copy_add(&j->copy, name, t);
}

static int add_copy(job *j, const dgm_slot *s)
{
    const item i = {.join = COPY, .n = 1, .from = {s}};
    return add(j, &i, strdup(s->tensor->name));
}

/* add_merged - what stands for the experts of a layer; first: the tensor where they begin. */
static int add_merged(job *j, const dgm_extract_layer *l, const dgm_slot *first)
{
    const dgm_model *m = j->x->m;
    const dgm_layer *layer = &m->stack[l->stack].layers[l->index];
    const size_t d = (size_t)m->cfg.d_model, f = (size_t)m->cfg.ffn_dim[l->stack] * (size_t)j->wide;
    item fc1 = {.join = ROWS, .scale = {1, 1}, .rows = f, .k = d}, b1 = fc1, fc2 = fc1, b2 = fc1;
    fc2 = (item){.join = COLUMNS, .rows = d, .k = f};
    b2 = (item){.join = SUM, .rows = d};
    b1.k = b2.k = 1;
    for (int i = 0; i < 2 && (i == 0 || l->pair[0][i] >= 0); i++) {
        const dgm_ffn *ffn = &layer->experts[l->experts[l->pair[0][i]]];
        fc1.from[i] = slot_of(m, &ffn->fc1.w, NULL);
        b1.from[i] = slot_of(m, NULL, (const float **)&ffn->fc1.b);
        fc2.from[i] = slot_of(m, &ffn->fc2.w, NULL);
        b2.from[i] = slot_of(m, NULL, (const float **)&ffn->fc2.b);
        fc2.scale[i] = b2.scale[i] = (double)l->gate[0][i] * (double)m->cfg.expert_scale;
        fc1.n = b1.n = fc2.n = b2.n = i + 1;
    }
    const uint64_t before = j->copy.total_bytes;
    const char *name = first->tensor->name;
    DGM_TRY(add(j, &fc1, merged_name(name, "fc1.weight")));
    DGM_TRY(add(j, &b1, merged_name(name, "fc1.bias")));
    DGM_TRY(add(j, &fc2, merged_name(name, "fc2.weight")));
    DGM_TRY(add(j, &b2, merged_name(name, "fc2.bias")));
    j->report->experts_after[l->stack] += j->copy.total_bytes - before;
    return DGM_OK;
}

/* add_wider - a dense FFN of a folded stack, with zeros up to the width of the folded ones; second: fc2. */
static int add_wider(job *j, const dgm_slot *s, int stack)
{
    const dgm_model *m = j->x->m;
    const size_t f = (size_t)m->cfg.ffn_dim[stack] * (size_t)j->wide;
    const dgm_ffn *ffn =
        &m->stack[stack].layers[s->layer - (stack == DGM_DECODER ? m->cfg.n_layers[0] : 0)].ffn;
    const item
        rows = {.join = ROWS, .n = 1, .from = {s}, .scale = {1}, .rows = f, .k = (size_t)s->k},
        columns = {
            .join = COLUMNS, .n = 1, .from = {s}, .scale = {1}, .rows = (size_t)s->n, .k = f};
    if (j->wide == 1 || s->vector == (const float **)&ffn->fc2.b)
        return add_copy(j, s);
    return add(j, s->matrix == &ffn->fc2.w ? &columns : &rows, strdup(s->tensor->name));
}

static int add_slot(job *j, const dgm_slot *s, bool first_of_layer)
{
    const dgm_model *m = j->x->m;
    const dgm_extract_layer *l = s->layer >= 0 ? dgm_extraction_layer(j->x, s->layer) : NULL;
    const int stack = s->layer >= m->cfg.n_layers[DGM_ENCODER] ? DGM_DECODER : DGM_ENCODER;
    const bool folded = m->cfg.n_experts[stack] > 0 && dgm_routing_by_task(m->cfg.routing[stack]);
    if (s->expert >= 0)
        j->report->experts_before[stack] += s->tensor->bytes;
    if (l != NULL && s->expert >= 0)
        return first_of_layer ? add_merged(j, l, s) : DGM_OK;
    if (l != NULL && s->part == DGM_ROUTER)
        return DGM_OK;
    if (s->expert >= 0)
        j->report->experts_after[stack] += s->tensor->bytes;
    return folded && s->part == DGM_FFN ? add_wider(j, s, stack) : add_copy(j, s);
}

static int add_tensors(job *j)
{
    const struct dgm_model_files *f = j->x->m->files;
    for (size_t i = 0; i < f->n_slots; i++) {
        const dgm_slot *s = &f->slots[i];
        DGM_TRY(add_slot(j, s, s->expert >= 0 && (i == 0 || s[-1].moe != s->moe)));
    }
    return dgm_model_copy_plan(&j->copy, 0);
}

/* ---- fill ---- */

static size_t count(const dgm_slot *s)
{
    return (size_t)s->rows * (size_t)s->k;
}

/* read - a source as f32 [count]; raw has as much room. */
static int read(float *w, void *raw, const job *j, const dgm_slot *s)
{
    DGM_TRY(
        dgm_tensors_read(j->x->m->files->tensors, s->tensor, raw, 0, (size_t)s->tensor->bytes, 0));
    dgm_widen(w, raw, (dgm_dtype)s->tensor->dtype, count(s));
    return DGM_OK;
}

/* join - source s, of which w are the weights, into its place of out. */
static void join(float *out, const item *i, int s, const float *w)
{
    const size_t rows = (size_t)i->from[s]->rows, k = (size_t)i->from[s]->k;
    if (i->join == ROWS)
        memcpy(out + (size_t)s * rows * k, w, rows * k * sizeof *out);
    for (size_t r = 0; i->join == COLUMNS && r < rows; r++)
        for (size_t c = 0; c < k; c++)
            out[r * i->k + (size_t)s * k + c] = (float)(i->scale[s] * (double)w[r * k + c]);
}

static void sum(float *out, const item *i, float *const w[2])
{
    for (size_t r = 0; r < i->rows; r++) {
        double y = 0;
        for (int s = 0; s < i->n; s++)
            y += i->scale[s] * (double)w[s][r];
        out[r] = (float)y;
    }
}

/* put - out, made narrow in its own room when it is bf16: it came from bf16, so that is exact. */
static int put(job *j, const item *i, float *out)
{
    const size_t n = i->rows * i->k;
    uint64_t zeros = 0;
    uint16_t *narrow = (uint16_t *)(void *)out; /* element x ends before x + 1 is read */
    for (size_t x = 0; x < n; x++)
        zeros += out[x] == 0;
    dgm_zeros_add(&j->copy.zeros, i->from[0]->matrix != NULL, n, zeros);
    for (size_t x = 0; i->bf16 && x < n; x++) {
        const uint16_t rounded = dgm_bf16_round(out[x]);
        memcpy(&narrow[x], &rounded, sizeof rounded);
    }
    return dgm_model_copy_put(&j->copy, out, n * (i->bf16 ? 2 : 4));
}

/* make - a tensor that changes; its sources, what their bytes were, and itself are held whole. */
static int make(job *j, const item *i)
{
    const size_t n = i->rows * i->k, most = count(i->from[0]);
    float *out = calloc(n + 3 * most, sizeof *out), *w[2];
    int rc = DGM_OK;
    if (out == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu weights", n);
    for (int s = 0; rc == DGM_OK && s < i->n; s++) {
        w[s] = out + n + (size_t)s * most; /* the sources of a tensor are alike */
        rc = read(w[s], out + n + 2 * most, j, i->from[s]);
        if (rc == DGM_OK)
            join(out, i, s, w[s]);
    }
    if (rc == DGM_OK && i->join == SUM)
        sum(out, i, w);
    if (rc == DGM_OK)
        rc = put(j, i, out);
    free(out);
    return rc;
}

/* ---- the whole ---- */

static int check(const dgm_extraction *x)
{
    if (x->n_tasks != 1)
        return dgm_fail(DGM_EUSAGE,
                        "--fold: want one task, whose gates are folded in, found %d: fold each "
                        "by itself",
                        x->n_tasks);
    return !x->m->cfg.weights.packed
               ? DGM_OK
               : dgm_fail(DGM_EMODEL,
                          "%s: --fold wants a model as Hugging Face has it, found a packed one: "
                          "fold the model that it was made from, then quantise",
                          x->m->dir);
}

static int widest(const dgm_extraction *x)
{
    int wide = 1;
    for (int l = 0; l < x->n_layers; l++)
        if (x->layers[l].pair[0][1] >= 0)
            wide = 2;
    return wide;
}

static int write_all(job *j)
{
    DGM_TRY(add_tensors(j));
    for (size_t i = 0; i < j->copy.n; i++)
        DGM_TRY(j->items[i].join == COPY ? dgm_model_copy_run(&j->copy, j->items[i].from[0])
                                         : make(j, &j->items[i]));
    return dgm_extract_finish(&j->report->bytes_after, &j->copy, j->x, j->wide);
}

int dgm_extract_fold(dgm_extract_report *report, const dgm_extraction *x, const char *out,
                     dgm_copy_progress progress, void *ctx)
{
    const size_t most = x->m->files->n_slots + 4 * (size_t)x->n_layers;
    DGM_TRY(check(x));
    *report = (dgm_extract_report){.bytes_before = dgm_tensors_bytes(x->m->files->tensors)};
    job j = {.x = x,
             .report = report,
             .items = calloc(most + 1, sizeof *j.items),
             .wide = widest(x),
             .dense = dgm_extract_all_dense(x)};
    int rc = dgm_model_copy_open(&j.copy, x->m, out, most, progress, ctx);
    if (rc == DGM_OK)
        rc = j.items != NULL ? write_all(&j)
                             : dgm_fail(DGM_ENOMEM, "out of memory for a list of tensors");
    dgm_model_copy_close(&j.copy);
    free(j.items);
    return rc;
}

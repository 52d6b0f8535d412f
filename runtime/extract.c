/* What some tasks use of a model. */
#include "runtime/extract_cut.h"

#include "kernels/route.h"
#include "runtime/task_experts.h"
#include "runtime/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- one layer ---- */

/* The source's own gates [n_tasks, 2] of an extracted model. */
static int read_gates(float *out, const dgm_model *m, const dgm_layer *layer)
{
    const struct dgm_model_files *f = m->files;
    const dgm_slot *s = dgm_slot_of_gates(f, layer);
    const dgm_tensor *t = s->tensor;
    void *raw = malloc((size_t)t->bytes + 1);
    if (raw == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the gates of a layer");
    const int rc = dgm_tensors_read(f->tensors, t, raw, 0, (size_t)t->bytes, 0);
    if (rc == DGM_OK)
        dgm_widen(out, raw, (dgm_dtype)t->dtype, 2 * (size_t)m->tasks.n);
    free(raw);
    return rc == DGM_OK ? dgm_gates_check(m, s, out) : rc;
}

/* What the choice in a layer depends on. */
typedef struct chooser {
    const dgm_extraction *x;
    const dgm_layer *layer;
    const dgm_kernels *kern;
    float *logits; /* [experts] room */
} chooser;

/* choose - experts and gates of a task, as dgm_moe chooses them: by its row of logits, or those by hand; kept NULL: of all. */
static int choose(int16_t pair[2], float gate[2], const chooser *c, const float *row,
                  const int16_t *by_hand, const uint8_t *kept)
{
    const dgm_model *m = c->x->m;
    const int n = c->layer->router.n;
    int32_t best[2];
    for (int e = 0; e < n; e++) {
        c->logits[e] = by_hand == NULL                      ? row[e]
                       : e == by_hand[0] || e == by_hand[1] ? 0.0f
                                                            : -INFINITY;
        if (kept != NULL && kept[e] == 0)
            c->logits[e] = -INFINITY;
    }
    const int rc = m->cfg.top_k == 1 ? dgm_route_top1(best, gate, c->kern, c->logits, n)
                                     : dgm_route_top2(best, gate, c->logits, n);
    for (int i = 0; i < 2; i++)
        pair[i] = (int16_t)best[i];
    return rc == DGM_OK
               ? DGM_OK
               : dgm_fail(DGM_EMODEL, "%s: wanted logits of tasks that are numbers, found others",
                          m->dir);
}

/* choose_cut - the same in a model that was cut, under the set of each direction of the task, which must come to the same. */
static int choose_cut(int16_t pair[2], float gate[2], const chooser *c, int task, const float *row,
                      const int16_t *by_hand)
{
    const dgm_model *m = c->x->m;
    int first = -1;
    for (int d = 0; d < m->cut->n_directions; d++) {
        int16_t p[2];
        float g[2];
        const uint8_t *kept = dgm_extract_cut_kept(c->x, c->layer->moe_index, task, d);
        if (kept == NULL)
            continue;
        DGM_TRY(choose(p, g, c, row, by_hand, kept));
        if (first >= 0 &&
            (p[0] != pair[0] || p[1] != pair[1] || g[0] != gate[0] || g[1] != gate[1]))
            return dgm_fail(DGM_EMODEL,
                            "%s: want the same experts of task %s for all directions that the "
                            "model was cut for, found others for %s than for %s: cut it for one "
                            "of them (prune --for)",
                            m->dir, m->tasks.name[task], m->cut->directions[d],
                            m->cut->directions[first]);
        first = first < 0 ? d : first;
        memcpy(pair, p, sizeof p);
        memcpy(gate, g, sizeof g);
    }
    return DGM_OK;
}

/* table: [tasks of the source, experts] logits, or [tasks of the source, 2] gates. */
static int choose_all(dgm_extract_layer *l, const dgm_extraction *x, const dgm_layer *layer,
                      int moe, float *table, const dgm_kernels *kern)
{
    const dgm_model *m = x->m;
    const dgm_tasks *t = &m->tasks;
    const int n = layer->router.n;
    const bool by_hand = m->cfg.routing[l->stack] == DGM_BY_HAND,
               gates = dgm_config_has_gates(&m->cfg, l->stack);
    const chooser c = {x, layer, kern, table + (size_t)t->n * (size_t)n};
    if (gates)
        DGM_TRY(read_gates(table, m, layer));
    else if (!by_hand)
        DGM_TRY(dgm_task_logits(table, m, layer));
    for (int i = 0; i < x->n_tasks; i++) {
        const int task = x->tasks[i];
        const float *row = table + (size_t)task * (size_t)n;
        const int16_t *hand =
            by_hand ? t->by_hand[l->stack][task * t->n_layers[l->stack] + moe] : NULL;
        if (gates && hand != NULL) { /* gates are of experts by hand */
            memcpy(l->pair[i], hand, sizeof l->pair[i]);
            memcpy(l->gate[i], table + 2 * (size_t)task, sizeof l->gate[i]);
        } else
            DGM_TRY(m->cut == NULL ? choose(l->pair[i], l->gate[i], &c, row, hand, NULL)
                                   : choose_cut(l->pair[i], l->gate[i], &c, task, row, hand));
    }
    return DGM_OK;
}

/* Pairs get the numbers of the new model. */
static void number_anew(dgm_extract_layer *l, int n_tasks, int n_experts)
{
    for (int e = 0; e < n_experts; e++) {
        bool used = false;
        for (int i = 0; i < 2 * n_tasks; i++)
            used = used || l->pair[i / 2][i % 2] == e;
        if (!used)
            continue;
        /* never above e, so no pair that comes later is hit */
        for (int i = 0; i < 2 * n_tasks; i++)
            if (l->pair[i / 2][i % 2] == e)
                l->pair[i / 2][i % 2] = (int16_t)l->n;
        l->experts[l->n++] = (int16_t)e;
    }
}

static int number_experts(dgm_extract_layer *l, const dgm_extraction *x, const dgm_layer *layer,
                          int moe, float *table, const dgm_kernels *kern)
{
    DGM_TRY(choose_all(l, x, layer, moe, table, kern));
    number_anew(l, x->n_tasks, layer->router.n);
    return DGM_OK;
}

static int init_layer(dgm_extract_layer *l, const dgm_extraction *x, const dgm_layer *layer,
                      int moe, const dgm_kernels *kern)
{
    const size_t n = (size_t)x->n_tasks, all = (size_t)layer->router.n;
    /* a row each, and one for logits; gates take two of a row, which may be one wide */
    float *table = calloc((size_t)(x->m->tasks.n + 2) * (all + 1), sizeof *table);
    l->experts = calloc(2 * n, sizeof *l->experts);
    l->pair = calloc(n, sizeof *l->pair);
    l->gate = calloc(n, sizeof *l->gate);
    int rc;
    if (table == NULL || l->experts == NULL || l->pair == NULL || l->gate == NULL)
        rc = dgm_fail(DGM_ENOMEM, "out of memory for the experts of %d tasks", x->n_tasks);
    else
        rc = number_experts(l, x, layer, moe, table, kern);
    free(table);
    return rc;
}

/* ---- the model ---- */

static int check_source(const dgm_model *m)
{
    const dgm_model_config *c = &m->cfg;
    bool routed = false;
    if (dgm_config_most_experts(c) == 0)
        return dgm_fail(DGM_EMODEL, "%s: want a mixture of experts, found a dense model", m->dir);
    for (int s = 0; s < DGM_STACKS; s++)
        routed = routed || (c->n_experts[s] > 0 && dgm_routing_by_task(c->routing[s]));
    if (routed)
        return DGM_OK;
    const char *by[DGM_STACKS];
    for (int s = 0; s < DGM_STACKS; s++)
        by[s] = c->n_experts[s] == 0 ? "no experts" : dgm_routing_name(c->routing[s]);
    return dgm_fail(DGM_EMODEL,
                    "%s: want experts that are routed by task, found encoder: %s, decoder: %s, "
                    "which choose anew for every text, so no task has experts of its own: "
                    "`dragoman prune` finds and keeps those that a language needs",
                    m->dir, by[DGM_ENCODER], by[DGM_DECODER]);
}

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int init_layers(dgm_extraction *x, const dgm_kernels *kern)
{
    const dgm_model *m = x->m;
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0, moe = 0; i < m->stack[s].n_layers; i++) {
            const dgm_layer *layer = &m->stack[s].layers[i];
            if (!layer->sparse || !dgm_routing_by_task(m->cfg.routing[s]))
                continue;
            dgm_extract_layer *l = &x->layers[x->n_layers++];
            *l = (dgm_extract_layer){.stack = s, .index = i};
            DGM_TRY(init_layer(l, x, layer, moe++, kern));
        }
    return DGM_OK;
}

static int read_cut(dgm_extraction *x)
{
    DGM_TRY(dgm_extract_cut_check(x));
    x->keep = calloc(1, sizeof *x->keep);
    if (x->keep == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a keep file");
    DGM_TRY(dgm_cut_read_keep(x->keep, "", x->m));
    return dgm_extract_cut_check_sets(x);
}

int dgm_extraction_init(dgm_extraction *x, const dgm_model *m, const int *tasks, int n,
                        const dgm_kernels *kern)
{
    DGM_TRY(check_source(m));
    *x = (dgm_extraction){.m = m, .n_tasks = n};
    x->tasks = malloc((size_t)n * sizeof *x->tasks);
    x->layers = calloc((size_t)m->files->n_moe + 1, sizeof *x->layers);
    int rc;
    if (x->tasks == NULL || x->layers == NULL)
        rc = dgm_fail(DGM_ENOMEM, "out of memory for %d tasks", n);
    else {
        memcpy(x->tasks, tasks, (size_t)n * sizeof *x->tasks);
        qsort(x->tasks, (size_t)n, sizeof *x->tasks, ascending);
        rc = m->cut == NULL ? DGM_OK : read_cut(x);
        if (rc == DGM_OK)
            rc = init_layers(x, kern);
    }
    if (rc != DGM_OK)
        dgm_extraction_fini(x);
    return rc;
}

void dgm_extraction_fini(dgm_extraction *x)
{
    for (int l = 0; x->layers != NULL && l < x->n_layers; l++) {
        free(x->layers[l].experts);
        free(x->layers[l].pair);
        free(x->layers[l].gate);
    }
    free(x->layers);
    free(x->tasks);
    if (x->keep != NULL)
        dgm_keep_fini(x->keep);
    free(x->keep);
    *x = (dgm_extraction){0};
}

const dgm_extract_layer *dgm_extraction_layer(const dgm_extraction *x, int layer)
{
    const int n_encoder = x->m->cfg.n_layers[DGM_ENCODER];
    for (int l = 0; l < x->n_layers; l++) {
        const dgm_extract_layer *e = &x->layers[l];
        if (e->index + (e->stack == DGM_DECODER ? n_encoder : 0) == layer)
            return e;
    }
    return NULL;
}

int dgm_extraction_most(const dgm_extraction *x, int stack)
{
    int most = 0;
    if (!dgm_routing_by_task(x->m->cfg.routing[stack]))
        return x->m->cfg.n_experts[stack];
    for (int l = 0; l < x->n_layers; l++)
        if (x->layers[l].stack == stack && x->layers[l].n > most)
            most = x->layers[l].n;
    return most;
}

bool dgm_extract_all_dense(const dgm_extraction *x)
{
    const dgm_model_config *c = &x->m->cfg;
    for (int s = 0; s < DGM_STACKS; s++)
        if (c->n_experts[s] > 0 && !dgm_routing_by_task(c->routing[s]))
            return false;
    return true;
}

#include "runtime/task_experts.h"

#include "kernels/route.h"
#include "runtime/expert_sets.h"
#include "runtime/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const dgm_slot *slot_of(const dgm_model *m, const dgm_packed *matrix)
{
    for (size_t i = 0; i < m->files->n_slots; i++)
        if (m->files->slots[i].matrix == matrix)
            return &m->files->slots[i];
    return NULL;
}

int dgm_task_logits(float *out, const dgm_model *m, const dgm_layer *layer)
{
    const dgm_slot *s = slot_of(m, &layer->tasks);
    DGM_ASSERT(s != NULL);
    const size_t bytes = (size_t)s->tensor->bytes;
    void *raw = malloc(bytes + 1);
    if (raw == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate %zu bytes for tasks", bytes);
    const int rc = dgm_tensors_read(m->files->tensors, s->tensor, raw, 0, bytes, 0);
    dgm_packed table = layer->tasks;
    table.data = raw;
    if (rc == DGM_OK && s->form == DGM_SLOT_ROWS)
        dgm_widen(out, raw, (dgm_dtype)s->tensor->dtype, (size_t)s->n * (size_t)s->k);
    for (int t = 0; rc == DGM_OK && s->form != DGM_SLOT_ROWS && t < s->n; t++)
        dgm_packed_read(out + (size_t)t * (size_t)s->k, &table, t);
    free(raw);
    return rc;
}

/* need - the two best of a row of logits, as a token would have them. */
static int need(uint8_t *needed, const dgm_model *m, const dgm_layer *layer, const float *logits)
{
    int32_t best[2];
    float gate[2];
    if (dgm_route_top2(best, gate, logits, layer->router.n) != DGM_OK)
        return dgm_fail(DGM_EMODEL,
                        "%s: mixture-of-experts layer %d: wanted logits of tasks that are numbers",
                        m->dir, layer->moe_index);
    for (int i = 0; i < m->cfg.top_k; i++)
        if (best[i] >= 0)
            needed[best[i]] = 1;
    return DGM_OK;
}

static bool is_used(const dgm_model *m, int task)
{
    return m->tasks_used != NULL && m->tasks_used[task] != 0;
}

/* needs_of - [experts] a group's of a layer. */
static uint8_t *needs_of(const dgm_model *m, int group, const dgm_layer *layer)
{
    return m->needed + ((size_t)group * (size_t)m->placement.n_layers + (size_t)layer->moe_index) *
                           (size_t)m->placement.n_experts;
}

static int need_layer(const dgm_model *m, const dgm_layer *layer, int stack, int index)
{
    const dgm_tasks *t = &m->tasks;
    const size_t n = (size_t)layer->router.n;
    float *table = calloc((size_t)t->n * n + 1, sizeof *table);
    if (table == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate the logits of %d tasks", t->n);
    int rc = t->by_hand[stack] == NULL ? dgm_task_logits(table, m, layer) : DGM_OK;
    for (int g = 0; g < m->task_groups; g++)
        memset(needs_of(m, g, layer), 0, n);
    for (int i = 0; rc == DGM_OK && i < t->n; i++) {
        uint8_t *needed = needs_of(m, dgm_task_group(m, i), layer);
        if (!is_used(m, i))
            continue;
        const int16_t *pair =
            t->by_hand[stack] == NULL ? NULL : t->by_hand[stack][i * t->n_layers[stack] + index];
        for (int e = 0; pair != NULL && e < 2; e++)
            if (pair[e] >= 0)
                needed[pair[e]] = 1;
        if (pair == NULL)
            rc = need(needed, m, layer, table + (size_t)i * n);
    }
    free(table);
    return rc;
}

/* place_stack - index counts the stack's MoE layers. */
static int place_stack(dgm_model *m, int stack)
{
    for (int l = 0, index = 0; l < m->stack[stack].n_layers; l++) {
        const dgm_layer *layer = &m->stack[stack].layers[l];
        if (!layer->sparse)
            continue;
        m->placement.home[layer->moe_index] = 1;
        if (m->needed != NULL && (m->sets == NULL || m->sets->n == 0))
            DGM_TRY(need_layer(m, layer, stack, index));
        index++;
    }
    return DGM_OK;
}

static int common_divisor(int a, int b)
{
    return b == 0 ? a : common_divisor(b, a % b);
}

int dgm_task_spread(dgm_model *m, int dense_ranks)
{
    int used = 0;
    for (int i = 0; i < m->tasks.n; i++)
        used += is_used(m, i);
    if (used == 0 || (m->sets != NULL && m->sets->n > 0))
        return DGM_OK;
    m->task_group = calloc((size_t)m->tasks.n, sizeof *m->task_group);
    if (m->task_group == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate the groups of %d tasks", m->tasks.n);
    m->task_groups = common_divisor(used, dense_ranks);
    for (int i = 0, at = 0; i < m->tasks.n; i++)
        if (is_used(m, i))
            m->task_group[i] = (int16_t)(at++ % m->task_groups);
    return DGM_OK;
}

int dgm_task_experts(dgm_model *m)
{
    const size_t n =
        (size_t)m->task_groups * (size_t)m->placement.n_layers * (size_t)m->placement.n_experts;
    if (m->tasks_used != NULL) {
        free(m->needed);
        m->needed = malloc(n + 1);
        if (m->needed == NULL)
            return dgm_fail(DGM_ENOMEM, "cannot allocate a list of %zu experts", n);
        memset(m->needed, 1, n);
    }
    for (int s = 0; s < DGM_STACKS; s++)
        if (dgm_routing_by_task(m->cfg.routing[s]))
            DGM_TRY(place_stack(m, s));
    return DGM_OK;
}

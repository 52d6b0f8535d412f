#include "runtime/gate_stats.h"

#include "kernels/math.h"

#include <stdlib.h>
#include <string.h>

int dgm_gates_init(dgm_gate_stats *s, const dgm_model *m)
{
    int n = 0;
    *s = (dgm_gate_stats){.model = m->hash, .top_k = m->cfg.top_k};
    for (int k = 0; k < DGM_STACKS; k++)
        for (int i = 0; i < m->stack[k].n_layers; i++)
            n += m->stack[k].layers[i].sparse;
    s->layers = calloc((size_t)n + 1, sizeof *s->layers);
    if (s->layers == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for statistics of %d layers", n);
    for (int k = 0; k < DGM_STACKS; k++)
        for (int i = 0; i < m->stack[k].n_layers; i++) {
            const dgm_layer *layer = &m->stack[k].layers[i];
            if (!layer->sparse)
                continue;
            s->layers[s->n_layers++] = (dgm_gates_layer){k, i, layer->router.n, s->n_experts};
            s->n_experts += (size_t)layer->router.n;
        }
    return DGM_OK;
}

void dgm_gates_fini(dgm_gate_stats *s)
{
    for (int i = 0; i < s->n_runs; i++)
        free(s->runs[i].sum[0]);
    free(s->runs);
    free(s->layers);
    *s = (dgm_gate_stats){0};
}

int dgm_gates_add_run(dgm_gates_run **out, dgm_gate_stats *s)
{
    dgm_gates_run *more = realloc(s->runs, ((size_t)s->n_runs + 1) * sizeof *more);
    uint64_t *sums = calloc(DGM_GATES_SUMS * s->n_experts + 1, sizeof *sums);
    if (more != NULL)
        s->runs = more;
    if (more == NULL || sums == NULL) {
        free(sums);
        return dgm_fail(DGM_ENOMEM, "out of memory for statistics of %zu experts", s->n_experts);
    }
    *out = &s->runs[s->n_runs++];
    **out = (dgm_gates_run){0};
    for (int k = 0; k < DGM_GATES_SUMS; k++)
        (*out)->sum[k] = sums + (size_t)k * s->n_experts;
    return DGM_OK;
}

/* softmax - p [n] over all experts; experts that are masked have 0. */
static void softmax(float *p, const dgm_kernels *kern, const float *logits, int n)
{
    float max, sum, top[DGM_LANES];
    kern->block_max_sum(&max, &sum, top, logits, n);
    for (int e = 0; e < n; e++)
        p[e] = dgm_exp(logits[e] - max) / sum;
}

void dgm_gates_count(dgm_gates_run *run, const dgm_gates_layer *layer, const dgm_kernels *kern,
                     const float *logits, float *room)
{
    const int n = layer->n_experts;
    softmax(room, kern, logits, n);
    for (int e = 0; e < n; e++) {
        const size_t at = layer->first + (size_t)e;
        const uint64_t part = (uint64_t)((double)room[e] * DGM_GATES_ONE + 0.5);
        uint64_t rank = 1;
        for (int i = 0; i < n; i++)
            rank += logits[i] > logits[e] || (logits[i] == logits[e] && i < e);
        run->sum[DGM_GATES_MEAN][at] += part;
        run->sum[DGM_GATES_RANK][at] += rank;
        run->sum[DGM_GATES_TOP1][at] += rank == 1;
        run->sum[DGM_GATES_TOP2][at] += rank == 2;
        run->sum[DGM_GATES_CONF1][at] += rank == 1 ? part : 0;
        run->sum[DGM_GATES_CONF2][at] += rank == 2 ? part : 0;
    }
}

static bool same_layers(const dgm_gate_stats *a, const dgm_gate_stats *b)
{
    bool same = a->model == b->model && a->top_k == b->top_k && a->n_layers == b->n_layers;
    for (int l = 0; same && l < a->n_layers; l++)
        same = a->layers[l].stack == b->layers[l].stack &&
               a->layers[l].index == b->layers[l].index &&
               a->layers[l].n_experts == b->layers[l].n_experts;
    return same;
}

static bool same_text(const dgm_gates_run *a, const dgm_gates_run *b)
{
    return a->corpus == b->corpus && a->mode == b->mode && strcmp(a->src, b->src) == 0 &&
           strcmp(a->tgt, b->tgt) == 0;
}

int dgm_gates_merge(dgm_gate_stats *s, const dgm_gate_stats *from)
{
    if (!same_layers(s, from))
        return dgm_fail(DGM_EINPUT, "statistics of two models: want model %016llx, found %016llx",
                        (unsigned long long)s->model, (unsigned long long)from->model);
    for (int i = 0; i < from->n_runs; i++) {
        const dgm_gates_run *r = &from->runs[i];
        dgm_gates_run *copy;
        for (int k = 0; k < s->n_runs; k++)
            if (same_text(&s->runs[k], r))
                return dgm_fail(DGM_EINPUT, "%s to %s: the text %016llx is counted already", r->src,
                                r->tgt, (unsigned long long)r->corpus);
        DGM_TRY(dgm_gates_add_run(&copy, s));
        uint64_t *sums = copy->sum[0];
        *copy = *r;
        for (int k = 0; k < DGM_GATES_SUMS; k++) {
            copy->sum[k] = sums + (size_t)k * s->n_experts;
            memcpy(copy->sum[k], r->sum[k], s->n_experts * sizeof *sums);
        }
    }
    return DGM_OK;
}

#include "runtime/gate_stats.h"

#include "kernels/math.h"
#include "kernels/route.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

int dgm_gates_init(dgm_gate_stats *s, const dgm_model_config *c, uint64_t model)
{
    *s = (dgm_gate_stats){.model = model, .top_k = c->top_k};
    return dgm_moe_shape_init(&s->shape, c);
}

void dgm_gates_fini(dgm_gate_stats *s)
{
    for (int i = 0; i < s->n_runs; i++)
        free(s->runs[i].sum[0]);
    free(s->runs);
    dgm_moe_shape_fini(&s->shape);
    *s = (dgm_gate_stats){0};
}

int dgm_gates_add_run(dgm_gates_run **out, dgm_gate_stats *s)
{
    dgm_gates_run *more = realloc(s->runs, ((size_t)s->n_runs + 1) * sizeof *more);
    uint64_t *sums = calloc(DGM_GATES_SUMS * s->shape.n_experts + 1, sizeof *sums);
    if (more != NULL)
        s->runs = more;
    if (more == NULL || sums == NULL) {
        free(sums);
        return dgm_fail(DGM_ENOMEM, "out of memory for statistics of %zu experts",
                        s->shape.n_experts);
    }
    *out = &s->runs[s->n_runs++];
    **out = (dgm_gates_run){0};
    for (int k = 0; k < DGM_GATES_SUMS; k++)
        (*out)->sum[k] = sums + (size_t)k * s->shape.n_experts;
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

/* rank_all - rank [n] from 0 on: how many logits are larger, or as large and in front. Floats, so that compilers find lanes. */
static void rank_all(float *rank, const float *logits, int n)
{
    memset(rank, 0, (size_t)n * sizeof *rank);
    for (int i = 0; i < n; i++) {
        const float x = logits[i];
        for (int e = 0; e < i; e++)
            rank[e] += x > logits[e] ? 1.0f : 0.0f;
        for (int e = i + 1; e < n; e++)
            rank[e] += x >= logits[e] ? 1.0f : 0.0f;
    }
}

void dgm_gates_count(dgm_gates_run *run, const dgm_moe_layer *layer, const dgm_kernels *kern,
                     const float *logits, float *room)
{
    const int n = layer->n_experts;
    float *const p = room, *const rank = room + n;
    uint64_t *const mean = run->sum[DGM_GATES_MEAN] + layer->first, *const place =
                                                                        run->sum[DGM_GATES_RANK] +
                                                                        layer->first;
    softmax(p, kern, logits, n);
    rank_all(rank, logits, n);
    for (int e = 0; e < n; e++) {
        const uint64_t part = (uint64_t)((double)p[e] * DGM_GATES_ONE + 0.5);
        mean[e] += part;
        place[e] += 1 + (uint64_t)rank[e];
        if (rank[e] > 1)
            continue;
        const bool first = rank[e] < 1;
        run->sum[first ? DGM_GATES_TOP1 : DGM_GATES_TOP2][layer->first + (size_t)e]++;
        run->sum[first ? DGM_GATES_CONF1 : DGM_GATES_CONF2][layer->first + (size_t)e] += part;
    }
}

void dgm_gates_count_gates(dgm_gates_run *run, const dgm_moe_layer *layer, const float *logits,
                           int top_k, bool ends)
{
    int32_t expert[2];
    float gate[2];
    const int rc = dgm_route_top2(expert, gate, logits, layer->n_experts);
    DGM_ASSERT(rc == DGM_OK); /* the router has taken them already */
    if (top_k == 1) {
        expert[1] = -1;
        gate[0] = 1.0f;
    }
    for (int i = 0; i < 2 && expert[i] >= 0; i++) {
        const size_t at = layer->first + (size_t)expert[i];
        const uint64_t part = (uint64_t)((double)gate[i] * DGM_GATES_ONE + 0.5);
        run->sum[DGM_GATES_GATE][at] += part;
        run->sum[DGM_GATES_EOS][at] += ends ? part : 0;
    }
}

static bool same_text(const dgm_gates_run *a, const dgm_gates_run *b)
{
    return a->corpus == b->corpus && a->mode == b->mode && strcmp(a->src, b->src) == 0 &&
           strcmp(a->tgt, b->tgt) == 0;
}

uint64_t dgm_gates_text(const int32_t *src, int n_src, const int32_t *tgt, int n_tgt)
{
    const uint64_t seed = n_tgt > 0 ? XXH3_64bits(tgt, (size_t)n_tgt * sizeof *tgt) : 0;
    return XXH3_64bits_withSeed(src, (size_t)n_src * sizeof *src, seed);
}

int dgm_gates_merge(dgm_gate_stats *s, const dgm_gate_stats *from)
{
    if (s->model != from->model || s->top_k != from->top_k ||
        !dgm_moe_shape_equal(&s->shape, &from->shape))
        return dgm_fail(DGM_EINPUT, "statistics of two models: want model %016llx, found %016llx",
                        (unsigned long long)s->model, (unsigned long long)from->model);
    for (int i = 0; i < from->n_runs; i++) {
        const dgm_gates_run *r = &from->runs[i];
        dgm_gates_run *copy = NULL;
        for (int k = 0; k < s->n_runs; k++)
            if (same_text(&s->runs[k], r))
                return dgm_fail(DGM_EINPUT, "%s to %s: the text %016llx is counted already", r->src,
                                r->tgt, (unsigned long long)r->corpus);
        DGM_TRY(dgm_gates_add_run(&copy, s));
        DGM_ASSERT(copy != NULL && copy->sum[0] != NULL);
        uint64_t *sums = copy->sum[0];
        *copy = *r;
        for (int k = 0; k < DGM_GATES_SUMS; k++) {
            copy->sum[k] = sums + (size_t)k * s->shape.n_experts;
            memcpy(copy->sum[k], r->sum[k], s->shape.n_experts * sizeof *sums);
        }
    }
    return DGM_OK;
}

#include "runtime/expert_sets.h"

#include <stdlib.h>
#include <string.h>

int dgm_expert_sets_init(dgm_expert_sets *s, const dgm_model_config *c)
{
    *s = (dgm_expert_sets){0};
    return dgm_moe_shape_init(&s->shape, c);
}

void dgm_expert_sets_fini(dgm_expert_sets *s)
{
    dgm_moe_shape_fini(&s->shape);
    free(s->kept);
    *s = (dgm_expert_sets){0};
}

int dgm_expert_sets_add(int *number, dgm_expert_sets *s, const dgm_keep_set *set)
{
    const size_t one = s->shape.n_experts;
    for (*number = 1; *number <= s->n; ++*number)
        if (memcmp(dgm_expert_set(s, *number), set->kept, one) == 0)
            return DGM_OK;
    uint8_t *more = realloc(s->kept, ((size_t)s->n + 1) * one);
    if (more == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d sets of experts", s->n + 1);
    s->kept = more;
    memcpy(more + (size_t)s->n++ * one, set->kept, one);
    return DGM_OK;
}

int dgm_expert_sets_add_all(int *number, dgm_expert_sets *s, int stack)
{
    const dgm_moe_shape *shape = &s->shape;
    *number = 0;
    if (shape->n_experts == 0)
        return DGM_OK;
    dgm_keep_set all = {.kept = calloc(shape->n_experts, 1)};
    if (all.kept == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a set of experts");
    for (int l = 0; l < shape->n_layers; l++)
        if (shape->layers[l].stack == stack)
            memset(all.kept + shape->layers[l].first, 1, (size_t)shape->layers[l].n_experts);
    const int rc = dgm_expert_sets_add(number, s, &all);
    free(all.kept);
    return rc;
}

static int take(dgm_expert_sets *s, dgm_comm *comm)
{
    const void *base;
    size_t bytes;
    DGM_TRY(dgm_comm_recv(comm, 0, &base, &bytes));
    free(s->kept);
    s->n = 0;
    s->kept = bytes == 0 ? NULL : malloc(bytes);
    if (bytes == 0)
        return DGM_OK;
    if (s->kept == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu sets of experts",
                        bytes / s->shape.n_experts);
    memcpy(s->kept, base, bytes);
    s->n = (int)(bytes / s->shape.n_experts);
    return DGM_OK;
}

int dgm_expert_sets_share(dgm_expert_sets *s, dgm_comm *comm)
{
    if (s->shape.n_experts == 0)
        return DGM_OK;
    if (dgm_comm_rank(comm) > 0)
        return take(s, comm);
    for (int r = 1; r < dgm_comm_size(comm); r++)
        DGM_TRY(dgm_comm_send(comm, r, s->kept == NULL ? (const uint8_t *)"" : s->kept,
                              (size_t)s->n * s->shape.n_experts));
    return DGM_OK;
}

bool dgm_expert_sets_wanted(const dgm_expert_sets *s, int moe, int expert)
{
    const size_t at = s->shape.layers[moe].first + (size_t)expert;
    for (int i = 0; i < s->n; i++)
        if (s->kept[(size_t)i * s->shape.n_experts + at] != 0)
            return true;
    return s->n == 0;
}

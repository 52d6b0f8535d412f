#include "runtime/moe_shape.h"

#include <stdlib.h>
#include <string.h>

int dgm_moe_shape_init(dgm_moe_shape *s, const dgm_model_config *c)
{
    const int all = c->n_layers[DGM_ENCODER] + c->n_layers[DGM_DECODER];
    *s = (dgm_moe_shape){.layers = calloc((size_t)all + 1, sizeof *s->layers)};
    if (s->layers == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d layers", all);
    for (int k = 0; k < DGM_STACKS; k++)
        for (int i = 0; i < c->n_layers[k]; i++) {
            if (!dgm_config_is_sparse(c, k, i))
                continue;
            s->layers[s->n_layers++] = (dgm_moe_layer){k, i, c->n_experts[k], s->n_experts};
            s->n_experts += (size_t)c->n_experts[k];
        }
    return DGM_OK;
}

int dgm_moe_shape_copy(dgm_moe_shape *s, const dgm_moe_shape *from)
{
    *s = *from;
    s->layers = calloc((size_t)from->n_layers + 1, sizeof *s->layers);
    if (s->layers == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d layers", from->n_layers);
    memcpy(s->layers, from->layers, (size_t)from->n_layers * sizeof *s->layers);
    return DGM_OK;
}

void dgm_moe_shape_fini(dgm_moe_shape *s)
{
    free(s->layers);
    *s = (dgm_moe_shape){0};
}

bool dgm_moe_shape_equal(const dgm_moe_shape *a, const dgm_moe_shape *b)
{
    bool same = a->n_layers == b->n_layers;
    for (int l = 0; same && l < a->n_layers; l++)
        same = a->layers[l].stack == b->layers[l].stack &&
               a->layers[l].index == b->layers[l].index &&
               a->layers[l].n_experts == b->layers[l].n_experts;
    return same;
}

int dgm_moe_shape_find(const dgm_moe_shape *s, int stack, int index)
{
    for (int l = 0; l < s->n_layers; l++)
        if (s->layers[l].stack == stack && s->layers[l].index == index)
            return l;
    return -1;
}

json_t *dgm_moe_shape_json(const dgm_moe_shape *s)
{
    json_t *layers = json_array();
    for (int l = 0; l < s->n_layers; l++)
        (void)json_array_append_new(
            layers, json_pack("{s:s, s:i, s:i}", "stack", dgm_stack_names[s->layers[l].stack],
                              "index", s->layers[l].index, "experts", s->layers[l].n_experts));
    return layers;
}

/* moe_shape.h - the mixture-of-experts layers of a model, as lists of experts go over them: encoder, then decoder. */
#ifndef DGM_RUNTIME_MOE_SHAPE_H
#define DGM_RUNTIME_MOE_SHAPE_H

#include "runtime/config_model.h"

#include <jansson.h>

typedef struct dgm_moe_layer {
    int stack, index; /* which layer of its stack */
    int n_experts;
    size_t first; /* its expert 0 among all */
} dgm_moe_layer;

typedef struct dgm_moe_shape {
    int n_layers;
    dgm_moe_layer *layers; /* [n_layers] */
    size_t n_experts;      /* of all layers */
} dgm_moe_shape;

/* dgm_moe_shape_init - of a configuration. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_moe_shape_init(dgm_moe_shape *s, const dgm_model_config *c);
/* dgm_moe_shape_copy - DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_moe_shape_copy(dgm_moe_shape *s, const dgm_moe_shape *from);
void dgm_moe_shape_fini(dgm_moe_shape *s);

/* dgm_moe_shape_equal - the same layers with as many experts. */
bool dgm_moe_shape_equal(const dgm_moe_shape *a, const dgm_moe_shape *b);
/* dgm_moe_shape_find - number of layer `index` of a stack, or -1. */
int dgm_moe_shape_find(const dgm_moe_shape *s, int stack, int index);
/* dgm_moe_shape_json - [{"stack":"encoder","index":1,"experts":32},..]; NULL or incomplete when memory runs out. */
json_t *dgm_moe_shape_json(const dgm_moe_shape *s);

#endif

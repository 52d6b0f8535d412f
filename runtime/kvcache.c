#include "runtime/kvcache.h"

#include "base/arena.h"

int dgm_kvcache_init(dgm_kvcache *c, const dgm_model *m, int n_slots, int rows, int max_target,
                     int max_source)
{
    const size_t d = (size_t)m->cfg.d_model, layers = (size_t)m->cfg.n_layers[DGM_DECODER];
    *c = (dgm_kvcache){.n_slots = n_slots, .rows = rows, .d = d};
    c->self_layer = (size_t)max_target * (size_t)rows * 2 * d;
    c->cross_layer = (size_t)max_source * 2 * d;
    c->self_slot = layers * c->self_layer;
    c->cross_slot = layers * c->cross_layer;
    c->self_bytes = (size_t)n_slots * c->self_slot * sizeof(float);
    c->cross_bytes = (size_t)n_slots * c->cross_slot * sizeof(float);
    c->self = dgm_reserve(c->self_bytes);
    c->cross = dgm_reserve(c->cross_bytes);
    if (c->self == NULL || c->cross == NULL) {
        const size_t want = c->self_bytes + c->cross_bytes;
        dgm_kvcache_fini(c);
        return dgm_fail(
            DGM_ENOMEM,
            "key-value cache: cannot reserve %zu bytes for %d sentences; lower --batch-rows", want,
            n_slots);
    }
    return DGM_OK;
}

void dgm_kvcache_fini(dgm_kvcache *c)
{
    dgm_release(c->self, c->self_bytes);
    dgm_release(c->cross, c->cross_bytes);
    *c = (dgm_kvcache){0};
}

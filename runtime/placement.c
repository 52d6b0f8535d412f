#include "runtime/placement.h"

#include <stdlib.h>

int dgm_placement_init(dgm_placement *p, int n_layers, int n_experts, int ranks)
{
    *p = (dgm_placement){0};
    if (n_layers < 0 || n_experts < 0 || ranks < 1 || ranks > INT16_MAX)
        return dgm_fail(DGM_EUSAGE, "wanted 1 to %d ranks, found %d", INT16_MAX, ranks);
    const size_t n = (size_t)n_layers * (size_t)n_experts;
    int16_t *owner =
        malloc((n + 1) * sizeof *owner); /* a dense model places nothing, and still gets a table */
    uint8_t *home = calloc((size_t)n_layers + 1, sizeof *home);
    if (owner == NULL || home == NULL) {
        free(owner);
        free(home);
        return dgm_fail(DGM_ENOMEM, "cannot allocate the places of %zu experts", n);
    }
    for (size_t i = 0; i < n; i++)
        owner[i] = (int16_t)dgm_placement_default_owner((int)(i % (size_t)n_experts), ranks);
    *p = (dgm_placement){
        .n_layers = n_layers, .n_experts = n_experts, .ranks = ranks, .owner = owner, .home = home};
    return DGM_OK;
}

void dgm_placement_fini(dgm_placement *p)
{
    free(p->owner);
    free(p->home);
    *p = (dgm_placement){0};
}

/*
 * layers.h - the layers of a stack over the rows of a step, which may come in two halves.
 *
 * With two, the rows of one half travel to and from their experts while the other half computes (docs/adr/0010):
 *
 *   A | attention, router, send | ................ | experts, send | ................. | receive, attention, ...
 *   B | ....................... | attention, ...   | ............. | experts, send     | ...
 *
 * With one it is layer after layer. A row's bits depend on neither.
 */
#ifndef DGM_RUNTIME_LAYERS_H
#define DGM_RUNTIME_LAYERS_H

#include "runtime/block.h"

/* dgm_half - rows first .. first + rows - 1 of a step. */
typedef struct dgm_half {
    float *x; /* [rows, d_model], changed in place */
    int rows, first;
    const void *ctx; /* what `attend` needs */
} dgm_half;

/* x += attention(norm(x)) of layer l; called when there are rows. Local. */
typedef void (*dgm_attend_fn)(const dgm_forward *f, const dgm_half *half, int l);

/*
 * dgm_layers_run - all layers of `stack` over n halves, 1 or DGM_HALVES, the same n on all ranks; halves may be empty. What
 * the first half leaves in a layer (keys and values), the second one finds there. `stage`: see dgm_comm_at. Collective
 * where a layer is sparse: a rank without rows takes part with none. DGM_EPEER, DGM_EDEADLINE; local failures wait in
 * the moe.
 */
DGM_MUST_CHECK int dgm_layers_run(const dgm_forward *f, int stack, const char *stage,
                                  const dgm_half *halves, int n, dgm_attend_fn attend);

#endif

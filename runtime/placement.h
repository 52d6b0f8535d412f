/*
 * placement.h - which rank holds which expert of which MoE layer. The only place that knows.
 *
 * Round robin by default: expert e of every layer lives on rank e mod ranks. The experts of a layer may be at home
 * everywhere instead, on every rank that has rows: those that a layer routed by task needs are few. An epoch numbers the
 * placement; a new one takes effect between steps, on all ranks at once.
 */
#ifndef DGM_RUNTIME_PLACEMENT_H
#define DGM_RUNTIME_PLACEMENT_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct dgm_placement {
    uint32_t epoch;
    int n_layers, n_experts, ranks; /* MoE layers (encoder, then decoder), most experts of one */
    int16_t *owner;                 /* [n_layers * n_experts] */
    uint8_t *home;                  /* [n_layers] 1: at home everywhere */
} dgm_placement;

/* dgm_placement_default_owner - round robin: where an expert starts, whatever its layer. */
static inline int dgm_placement_default_owner(int expert, int ranks)
{
    return expert % ranks;
}

/* dgm_placement_default_count - how many of a layer's experts that gives to a rank. */
static inline int dgm_placement_default_count(int n_experts, int rank, int ranks)
{
    return n_experts / ranks + (rank < n_experts % ranks ? 1 : 0);
}

/* dgm_placement_init - everything round robin, epoch 0. DGM_EUSAGE for a bad number of ranks, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_placement_init(dgm_placement *p, int n_layers, int n_experts, int ranks);
void dgm_placement_fini(dgm_placement *p);

/* dgm_placement_at_home - rows of the layer need not travel. */
static inline bool dgm_placement_at_home(const dgm_placement *p, int moe_layer)
{
    return p->home[moe_layer] != 0;
}

static inline int dgm_placement_owner(const dgm_placement *p, int moe_layer, int expert)
{
    return p->owner[moe_layer * p->n_experts + expert];
}

#endif

/*
 * kvcache.h - keys and values of sentences that are being decoded.
 *
 * Self-attention: a slot a sentence, [layer][position][row][2 d] (k, then v). A hypothesis is a path through
 * the rows of its slot, so beams reorder by index and nothing is copied. Cross-attention: a slot an
 * encoding, [layer][source position][2 d], computed once and shared by all targets of a line. Both are
 * reservations of address space: memory is used as far as sentences are long.
 */
#ifndef DGM_RUNTIME_KVCACHE_H
#define DGM_RUNTIME_KVCACHE_H

#include "runtime/model.h"

typedef struct dgm_kvcache {
    float *self, *cross;
    size_t self_layer, self_slot, cross_layer, cross_slot; /* strides in elements */
    size_t self_bytes, cross_bytes;
    int n_slots, rows; /* rows of a slot: the widest beam */
    size_t d;
} dgm_kvcache;

/* dgm_kvcache_init - n_slots sentences and as many encodings. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_kvcache_init(dgm_kvcache *c, const dgm_model *m, int n_slots, int rows,
                                    int max_target, int max_source);
void dgm_kvcache_fini(dgm_kvcache *c);

/* dgm_kv_self - k of position 0, row 0; position p, row r is (p * rows + r) * 2 d further; v is d behind k. */
static inline float *dgm_kv_self(const dgm_kvcache *c, int slot, int layer)
{
    return c->self + (size_t)slot * c->self_slot + (size_t)layer * c->self_layer;
}

/* dgm_kv_cross - k of source position 0; position p is p * 2 d further; v is d behind k. */
static inline float *dgm_kv_cross(const dgm_kvcache *c, int slot, int layer)
{
    return c->cross + (size_t)slot * c->cross_slot + (size_t)layer * c->cross_layer;
}

#endif

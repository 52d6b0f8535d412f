/*
 * zeros.h - weights that are zero, counted in a model as it is written: dgm_zeros of a history, which is of the model that the step left.
 *
 * Matrices that sparsify prunes count (attention and feed-forward, experts among them), against these and against all parameters. Of
 * tensors that are copied the numbers other than zero are counted: then pads and what is not stored need no thought.
 */
#ifndef DGM_RUNTIME_ZEROS_H
#define DGM_RUNTIME_ZEROS_H

#include "runtime/weights.h"

/* Weights that are zero, and the two numbers to see them against: of the matrices that were pruned, of the whole model. */
typedef struct dgm_zeros {
    uint64_t zeros, pruned, parameters;
} dgm_zeros;

/* dgm_prunable_slot - the slot holds weights that sparsify may zero, or belongs to such a matrix. */
bool dgm_prunable_slot(const dgm_slot *s);

/* dgm_zeros_add - n more weights; of a matrix that may be pruned, so many of them zero. */
void dgm_zeros_add(dgm_zeros *z, bool prunable, uint64_t n, uint64_t zeros);

/* dgm_zeros_add_slot - the slot's weights, all zero so far as is known; dgm_zeros_see_bytes: then, piece by piece, its tensor's
 * bytes, whole numbers in each piece. */
void dgm_zeros_add_slot(dgm_zeros *z, const dgm_slot *s);
void dgm_zeros_see_bytes(dgm_zeros *z, const dgm_slot *s, const void *data, size_t bytes);

#endif

/*
 * encoder.h - stage 4: source ids to memory rows.
 *
 * Sentences of one step lie one behind the other without padding; attention stays inside a sentence.
 */
#ifndef DGM_RUNTIME_ENCODER_H
#define DGM_RUNTIME_ENCODER_H

#include "runtime/block.h"

typedef struct dgm_encoder_batch {
    int n_seqs, n_tokens;  /* both may be 0: the rank still takes part in the exchanges */
    const int32_t *ids;    /* [n_tokens] code and </s> included */
    const int32_t *pos;    /* [n_tokens] position in its sentence, from 0 */
    const int32_t *starts; /* [n_seqs + 1] */
} dgm_encoder_batch;

/* dgm_encoder_forward - memory out [n_tokens, d_model]. Collective (its sparse layers are). DGM_EPEER, DGM_EDEADLINE. */
DGM_MUST_CHECK int dgm_encoder_forward(const dgm_forward *f, float *memory,
                                       const dgm_encoder_batch *batch);

/* dgm_encoder_scratch_bytes - step memory for up to n_tokens tokens, block scratch not included. */
size_t dgm_encoder_scratch_bytes(const dgm_model *m, int n_tokens);

#endif

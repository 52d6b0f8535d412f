/*
 * decoder.h - stage 9: one step of the decoder over rows of many sentences.
 *
 * A row is one token at one position of one hypothesis. Rows of one sentence at successive positions may
 * go in one step (a prompt): every row's key and value are written before any row attends, so that is
 * the same as feeding them one by one.
 */
#ifndef DGM_RUNTIME_DECODER_H
#define DGM_RUNTIME_DECODER_H

#include "kernels/vocab.h"
#include "runtime/block.h"
#include "runtime/kvcache.h"
#include "runtime/shortlist.h"

typedef struct dgm_decoder_row {
    int32_t token, pos; /* pos 0 is the start token's */
    int slot, row;      /* where its key and value go: slot of the self cache, row in it */
    const uint8_t *
        path; /* [pos + 1] the row that holds each position of its history; NULL: row 0 all along */
    int memory, n_source; /* slot of the cross cache and its length */
    dgm_vocab_row *best;  /* what is wanted of the vocabulary (x is filled here), or NULL */
    const dgm_shortlist *
        list; /* one of dgm_forward.lists that `best` is among; NULL: all ids, and only then want_id */
    int16_t *
        looked_at; /* receives the source position it looked at most, of [look_from, look_to), or NULL */
    int look_from, look_to;
} dgm_decoder_row;

/*
 * dgm_decoder_cross - keys and values of n_seqs encodings for every decoder layer: memory [n_tokens, d_model],
 * sentence s is rows starts[s] .. starts[s + 1] and goes to the empty slot slots[s], which the caller drops. Local.
 */
void dgm_decoder_cross(const dgm_forward *f, dgm_kvcache *kv, const float *memory,
                       const int32_t *starts, const int *slots, int n_seqs);

/* dgm_decoder_step - rows' keys and values are added to their slots, which the caller drops when a sentence is done.
 * Collective (its sparse layers are). DGM_EPEER, DGM_EDEADLINE; DGM_ENAN is local: a logit is
 * not a number; the rank has taken part in every exchange nevertheless. */
DGM_MUST_CHECK int dgm_decoder_step(const dgm_forward *f, dgm_kvcache *kv,
                                    const dgm_decoder_row *rows, int n_rows);

/* dgm_decoder_scratch_bytes - step memory for up to n_rows rows and n_tokens source tokens, block scratch not included. */
size_t dgm_decoder_scratch_bytes(const dgm_model *m, int n_rows, int n_tokens, int max_target,
                                 int max_source, int max_best, int n_threads);

#endif

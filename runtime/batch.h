/*
 * batch.h - stage 3: which waiting sentences enter at the next step, and on which rank.
 *
 * Rank 0 alone. Sentences wait in the order in which they came (the front sorts its window by length), urgent ones before
 * the others. A step
 * takes as many as fit `batch_tokens` (at least one, of urgent ones and of the others, where those may enter) and the free slots; each goes to the rank with the most
 * free slots whose share of the tokens it fits, ties to the lower rank; but to the one where its source went last, if that has half as
 * many free, since it may be encoded there already. With groups (runtime/task_experts.h) those are
 * the ranks of the job's group, and who waits for them holds up nobody of another. What a sentence becomes does not depend
 * on any of this.
 */
#ifndef DGM_RUNTIME_BATCH_H
#define DGM_RUNTIME_BATCH_H

#include "runtime/engine.h"

typedef struct dgm_batch dgm_batch;

/* dgm_batch_share - of a step's `batch_tokens`, how many one of the dense ranks takes; one sentence may exceed it. */
static inline int dgm_batch_share(int batch_tokens, int dense_ranks)
{
    return (batch_tokens + dense_ranks - 1) / dense_ranks;
}

/* dgm_batch_create - for ranks 0 .. dense_ranks - 1 with `slots` sentences each; rank r takes jobs of group r mod groups.
 * DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_batch_create(dgm_batch **out, int dense_ranks, int groups, int slots,
                                    int batch_tokens);
void dgm_batch_destroy(dgm_batch *b);

/* dgm_batch_full - enough waits already. */
bool dgm_batch_full(const dgm_batch *b);

/* dgm_batch_push - copies the job to the end of the queue. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_batch_push(dgm_batch *b, const dgm_job *job);

/* dgm_batch_drop - forgets what waits under this id; returns how many targets that were. */
int dgm_batch_drop(dgm_batch *b, uint64_t id);

/* dgm_batch_form - calls take(ctx, rank, job) for each sentence that enters now; the job lives until it returns. pace as in
 * dgm_engine_pace. */
void dgm_batch_form(dgm_batch *b, const dgm_engine_pace *pace,
                    void (*take)(void *ctx, int rank, const dgm_job *job), void *ctx);

/* dgm_batch_done - a target on `rank` has finished: its slot is free. */
void dgm_batch_done(dgm_batch *b, int rank);

int dgm_batch_waiting(const dgm_batch *b); /* targets in the queue */
int dgm_batch_running(const dgm_batch *b); /* targets in slots */

#endif

/*
 * set_loss.h - what an expert is worth: how much less probable given translations become when a set lacks it.
 *
 *   dgm_set_loss_create, _add_set, _add_text    sets, and translations that go through two of them
 *   dgm_set_loss_begin                          loss of every line as things stand
 *   dgm_set_loss_ask                            what removals would cost, one at a time
 *   dgm_set_loss_remove                         some are made
 *
 * The loss of a line is -log p of its tokens, </s> among them. Of a removal only lines are computed that
 * went to the expert; the others keep their bits. Losses are sums in the order of lines: they do not depend on ranks or
 * batches. Rank 0 alone, while the others serve the engine.
 */
#ifndef DGM_RUNTIME_SET_LOSS_H
#define DGM_RUNTIME_SET_LOSS_H

#include "runtime/calibrate_text.h"
#include "runtime/engine.h"
#include "runtime/expert_sets.h"

typedef struct dgm_set_loss dgm_set_loss;

enum { DGM_SET_LOSS_TARGETS = 16 }; /* of one source, asked at once */

/* What the engine has: opened with cfg.sets = sets, cfg.marks, beam 1 and max_targets DGM_SET_LOSS_TARGETS; all experts are
 * loaded. All outlive the losses. */
typedef struct dgm_set_loss_config {
    dgm_engine *engine;
    dgm_expert_sets *sets;
    const dgm_model *model;
    int max_target; /* of the engine */
} dgm_set_loss_config;

DGM_MUST_CHECK int dgm_set_loss_create(dgm_set_loss **out, const dgm_set_loss_config *cfg);
void dgm_set_loss_destroy(dgm_set_loss *l);

/* dgm_set_loss_add_set - *number of a set of a stack: a copy of kept [experts of all MoE layers], NULL: all of the stack.
 * DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_set_loss_add_set(int *number, dgm_set_loss *l, int stack,
                                        const uint8_t *kept);
/* dgm_set_loss_add_text - translations through these sets of encoder and decoder, as a task of the model; the text is moved, also by a failure.
 * DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_set_loss_add_text(dgm_set_loss *l, dgm_pairs *text, int encoder, int decoder,
                                         int task);

/* dgm_set_loss_set - kept [experts of all MoE layers]. */
const uint8_t *dgm_set_loss_set(const dgm_set_loss *l, int number);

DGM_MUST_CHECK int dgm_set_loss_begin(dgm_set_loss *l);

typedef struct dgm_removal {
    int set, expert; /* among those of all MoE layers; the set keeps it */
    double harm;     /* out: loss a token that it adds, mean over the set's texts */
} dgm_removal;

DGM_MUST_CHECK int dgm_set_loss_ask(dgm_set_loss *l, dgm_removal *asked, int n);
DGM_MUST_CHECK int dgm_set_loss_remove(dgm_set_loss *l, const dgm_removal *chosen, int n);

/* dgm_set_loss_passes - how many times its texts' lines the engine has computed. */
double dgm_set_loss_passes(const dgm_set_loss *l);
/* dgm_set_loss_mean - loss a token, mean over all texts. */
double dgm_set_loss_mean(const dgm_set_loss *l);

#endif

/*
 * gate_record.h - statistics of the routers while an engine works: one rank's part.
 *
 * Stage 5 leaves the router logits of every row where the record says. An encoder's tokens are counted when their phase is
 * over. A decoder's wait, for each hypothesis, until its line is finished; then those on the path of the best one count,
 * which are what that hypothesis would give as a forced translation.
 */
#ifndef DGM_RUNTIME_GATE_RECORD_H
#define DGM_RUNTIME_GATE_RECORD_H

#include "base/arena.h"
#include "comm/comm.h"
#include "runtime/gate_stats.h"

typedef struct dgm_gate_record dgm_gate_record;

/* dgm_gate_record_create - for encode phases of up to `tokens` tokens, and `slots` sentences of up to `beam` hypotheses of
 * `positions` positions. Reserves address space, touched as far as used. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_gate_record_create(dgm_gate_record **out, const dgm_model *m,
                                          const dgm_kernels *kern, int tokens, int slots, int beam,
                                          int positions);
void dgm_gate_record_destroy(dgm_gate_record *r);

/* Where the logits of a row go: of all MoE layers of its stack, one behind the other. */
float *dgm_gate_record_token(const dgm_gate_record *r, int token);
float *dgm_gate_record_row(const dgm_gate_record *r, int slot, int position, int row);

/* dgm_gate_record_run - number of the run of a direction, by ids of codes. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_gate_record_run(int *run, dgm_gate_record *r, int32_t src, int32_t tgt,
                                       enum dgm_gates_mode mode);

/* dgm_gate_record_add - counts one token that went through `stack`; logits as the row left them; `ends`: it predicts </s>. */
void dgm_gate_record_add(dgm_gate_record *r, int run, int stack, const float *logits, bool ends);

/* dgm_gate_record_text - what was counted belongs to the run's text: ids of a source and of a given translation (n_tgt 0:
 * none). The order in which texts come does not matter. */
void dgm_gate_record_text(dgm_gate_record *r, int run, const int32_t *src, int n_src,
                          const int32_t *tgt, int n_tgt);

/*
 * dgm_gate_record_gather - Collective, after the last step: on rank 0, *out receives everybody's sums (dgm_gates_fini it);
 * its runs' src and tgt are numbers in decimal, for the caller to name. DGM_ENOMEM, DGM_EPEER, DGM_EDEADLINE.
 */
DGM_MUST_CHECK int dgm_gate_record_gather(dgm_gate_stats *out, dgm_gate_record *r, dgm_comm *comm);

#endif

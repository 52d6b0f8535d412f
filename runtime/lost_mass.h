/*
 * lost_mass.h - the gate weight that lines go without because their languages' sets lack experts (dgm_absent); one rank's.
 *
 * Stage 5 leaves a number for each row and layer, as gate_record.h has it for logits; an encoding keeps the sums of its
 * tokens, and a finished line adds the path of its best hypothesis.
 */
#ifndef DGM_RUNTIME_LOST_MASS_H
#define DGM_RUNTIME_LOST_MASS_H

#include "runtime/engine.h"

typedef struct dgm_lost_mass dgm_lost_mass;

/* dgm_lost_mass_create - for encode phases of up to `tokens` tokens, `slots` encodings and sentences of up to `beam`
 * hypotheses of `positions` positions. Reserves address space, touched as far as used. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_lost_mass_create(dgm_lost_mass **out, const dgm_model *m, int tokens,
                                        int slots, int beam, int positions);
void dgm_lost_mass_destroy(dgm_lost_mass *l);

/* Where a row's numbers go: of the MoE layers of its stack. */
float *dgm_lost_mass_token(const dgm_lost_mass *l, int token);
float *dgm_lost_mass_row(const dgm_lost_mass *l, int slot, int position, int row);

/* dgm_lost_mass_source - encoding `memory` is tokens first .. first + n - 1 of the phase that is over. */
void dgm_lost_mass_source(dgm_lost_mass *l, int memory, int first, int n);

/* dgm_lost_mass_path - of that encoding and of a hypothesis that went through positions 0 .. n - 1 in `rows` (NULL: row 0). */
dgm_absent dgm_lost_mass_path(const dgm_lost_mass *l, int memory, int slot, const uint8_t *rows,
                              int n);

#endif

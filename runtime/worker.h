/*
 * worker.h - one rank's part of a step: takes a plan, encodes, decodes, searches, and writes a report.
 *
 * A sentence that is being decoded has a slot; its search is local to the rank; only finished hypotheses
 * leave. Nothing is allocated after dgm_worker_create.
 */
#ifndef DGM_RUNTIME_WORKER_H
#define DGM_RUNTIME_WORKER_H

#include "runtime/observe.h"
#include "runtime/plan.h"

typedef struct dgm_worker dgm_worker;

/* dgm_worker_create - with `slots` sentences at once (0: a rank that holds experts only); most_slots: of the rank that has
 * most, whose rows may all come here. */
DGM_MUST_CHECK int dgm_worker_create(dgm_worker **out, const dgm_engine_config *cfg, int slots,
                                     int most_slots, const dgm_model *model,
                                     const dgm_kernels *kern, dgm_pool *pool, dgm_comm *comm);
void dgm_worker_destroy(dgm_worker *w);

/*
 * dgm_worker_step - Collective. Runs `plan` and leaves the report in *report (valid until the next step). DGM_EPEER,
 * DGM_EDEADLINE; any other failure is local and goes into the report.
 */
DGM_MUST_CHECK int dgm_worker_step(dgm_worker *w, const dgm_buf *plan, dgm_buf *report);

/* dgm_worker_set_clock - see dgm_engine_set_clock. */
void dgm_worker_set_clock(dgm_worker *w, dgm_stage_clock *clock);
/* dgm_worker_set_observer - see dgm_engine_set_observer. */
void dgm_worker_set_observer(dgm_worker *w, const dgm_observer *observer);
/* dgm_worker_decode_s - how long the last decode step took this rank, waiting included. */
double dgm_worker_decode_s(const dgm_worker *w);
/* dgm_worker_stats - this rank's totals so far. */
dgm_engine_stats dgm_worker_stats(const dgm_worker *w);

/* With cfg.record. dgm_worker_record_text - rank 0: a job was taken. dgm_worker_gather_gates - dgm_gate_record_gather. */
struct dgm_gate_stats;
DGM_MUST_CHECK int dgm_worker_record_text(dgm_worker *w, const dgm_job *job);
DGM_MUST_CHECK int dgm_worker_gather_gates(dgm_worker *w, struct dgm_gate_stats *out);

#endif

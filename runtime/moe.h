/*
 * moe.h - stages 5 to 8: the mixture-of-experts layer, shared by both stacks.
 *
 * route (f32, top 2 or top 1, ties to the lower id) -> rows to the owners of their experts -> grouped expert FFN -> rows
 * back -> combine: fl(fl(g1 * fl(c * y1)) + fl(g2 * fl(c * y2))), c = 1 - moe_token_dropout. The owner weighs
 * (and adds, when it holds both experts), so a row travels once to each rank and comes back as one row,
 * with the same bits wherever its experts live. Nothing is ever dropped. With top 1 there is one term, of the gate
 * that dgm_route_top1 gives. What a row is routed by, itself or its sentence or its task: runtime/routing.h.
 *
 * The rows of a step may come in two halves, each with its own exchange: what is between begin and serve, and between
 * serve and end, of one half overlaps with the work of the other (docs/adr/0010).
 * Source: NLLB-200 MoE as in arXiv 2212.09811.
 */
#ifndef DGM_RUNTIME_MOE_H
#define DGM_RUNTIME_MOE_H

#include "comm/exchange.h"
#include "runtime/block.h"
#include "runtime/gpu_experts.h"

typedef struct dgm_moe dgm_moe;

/*
 * dgm_moe_create - for up to max_rows rows of this rank in a layer. comm and model outlive it. compute int8 with integer
 * experts: rows travel as int8 with their scale, which is what the owner would make of them: the same bits from a quarter
 * of the bytes.
 */
DGM_MUST_CHECK int dgm_moe_create(dgm_moe **out, const dgm_model *model, dgm_comm *comm,
                                  int max_rows, int n_threads, dgm_compute compute);
void dgm_moe_destroy(dgm_moe *m);

/* dgm_moe_use_gpu - the experts of this rank are computed there from now on, to the same bits; gpu outlives m. */
void dgm_moe_use_gpu(dgm_moe *m, dgm_gpu_experts *gpu);

/*
 * dgm_moe_forward - x [rows, d] += MoE(h [rows, d]): begin, serve, end of half 0. Collective. DGM_EPEER, DGM_EDEADLINE: the
 * epoch is over. A local failure (a NaN router logit) waits: this rank sends nobody anything for the rest of the step,
 * still serves its experts to the others, and tells dgm_moe_verdict.
 */
DGM_MUST_CHECK int dgm_moe_forward(dgm_moe *m, const dgm_forward *f, float *x, const float *h,
                                   const dgm_layer *layer, int rows);

/*
 * Its three pieces, for one of DGM_HALVES. Each is collective; all ranks call them in the same order, with rows or without.
 *   dgm_moe_begin  routes h [rows, d] and sends the rows; h is free when it returns
 *   dgm_moe_serve  waits for rows, runs this rank's experts, and sends the results
 *   dgm_moe_end    waits for results; x [rows, d] += them
 * first: the number of the half's first row in the step, for messages.
 */
enum { DGM_HALVES = 2 };
DGM_MUST_CHECK int dgm_moe_begin(dgm_moe *m, int half, const dgm_forward *f, const float *h,
                                 const dgm_layer *layer, int rows, int first);
DGM_MUST_CHECK int dgm_moe_serve(dgm_moe *m, int half, const dgm_forward *f,
                                 const dgm_layer *layer);
DGM_MUST_CHECK int dgm_moe_end(dgm_moe *m, int half, const dgm_forward *f, float *x);

/* dgm_moe_mean - y [d] = the mean of x [rows, d]: summed in order in f32, divided once. What a sentence is routed by. */
void dgm_moe_mean(float *y, const dgm_forward *f, const float *x, int rows);

/* dgm_moe_verdict - DGM_OK, or the local failure of this step (its sentence is in dgm_error_text again); clears it. */
int dgm_moe_verdict(dgm_moe *m);

dgm_xchg_stats dgm_moe_exchange_stats(const dgm_moe *m);

/* dgm_layer_load - what this rank's experts had to do in a layer: rows (one that goes to two experts counts twice), and how
 * many of them the busiest expert had. */
typedef struct dgm_layer_load {
    uint32_t rows, busiest;
} dgm_layer_load;

/* dgm_moe_take_load - of the rounds since it was last taken: out [MoE layers of encoder, then decoder]. */
void dgm_moe_take_load(dgm_moe *m, dgm_layer_load *out);

#endif

/*
 * route.h - choose two experts for each row, or one.
 *
 * logits [n] f32 of one row -> the two best, ties to the lower id; e = exp(l_b - l_a),
 * g_a = 1 / (1 + e), g_b = e / (1 + e). Nothing else enters, so masked, sliced and whole routers
 * agree. Source: NLLB-200 MoE as in arXiv 2212.09811 (there p_a / (p_a + p_b) of the softmax).
 *
 * Top 1 (Switch): the best one, and its softmax over all experts of the layer, not renormalised. So its gate depends
 * on which experts there are.
 */
#ifndef DGM_KERNELS_ROUTE_H
#define DGM_KERNELS_ROUTE_H

#include "kernels/kernels.h"

/*
 * dgm_route_top2 - idx out [2] best first, gate out [2]; n >= 1. A logit of -inf is a masked expert and never
 * chosen: where only one expert is left, idx[1] = -1 and gate = {1, 0}, as for n == 1.
 * DGM_ENAN when a logit is NaN or the best one is not finite.
 */
DGM_MUST_CHECK int dgm_route_top2(int32_t *idx, float *gate, const float *logits, int n);

/*
 * dgm_route_top1 - idx out [2] the best and -1, gate out [2] its softmax and 0: with S the 16-lane sum of
 * exp(l_i - l_a) over all n, g_a = 1 / S. Masks and errors as above. Source: Switch as in arXiv 2211.10017.
 */
DGM_MUST_CHECK int dgm_route_top1(int32_t *idx, float *gate, const dgm_kernels *kern,
                                  const float *logits, int n);

#endif

/*
 * sampling.h - drawing one token, with the same bytes on every machine.
 *
 * Probabilities become integers, round-down(exp((z - max z) / temperature) * 2^40), so sums are
 * exact in any order and a draw is one multiplication and a walk in id order. (A token 10^-12 times
 * as likely as the best one weighs nothing.)
 */
#ifndef DGM_RUNTIME_SAMPLING_H
#define DGM_RUNTIME_SAMPLING_H

#include "runtime/search.h"

/* dgm_sampling_philox - Philox4x32-10 (Salmon et al., SC 2011): the block of a counter and a key. */
void dgm_sampling_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* dgm_sampling_bits - the 64 random bits of a step: key = seed, counter = (line, step). */
uint64_t dgm_sampling_bits(uint64_t seed, uint64_t line, int step);

/*
 * dgm_sampling_draw - the id that `bits` fall on. z [n]: processed logits; overwritten.
 * Temperature, then top-k (ties with the k-th stay), then top-p (an id stays when those before it,
 * ties to the lower id, hold less than top_p of what top-k left). -1 when every id is banned
 * (-inf).
 */
int32_t dgm_sampling_draw(float *z, int n, const dgm_decode_options *opt, uint64_t bits);

#endif

/*
 * synth_planted.h - models of which it is known which experts each language needs, to test what finds that out.
 *
 * They copy their source: decoder row t attends to source position t by its position alone and repeats that token, </s>
 * too. Attention of the first layers hands the code's language to every position, and routers follow it: a token's class,
 * a hash of its id, says which two of its language's four experts it takes. The decoder's start token knows no language:
 * its two experts are in every language's set. Experts are random and small: they change scores, not the text.
 */
#ifndef DGM_RUNTIME_SYNTH_PLANTED_H
#define DGM_RUNTIME_SYNTH_PLANTED_H

#include "runtime/synth.h"

enum { DGM_PLANTED_SET = 5 }; /* four experts, and in the last decoder layer perhaps that of </s> */

/* dgm_planted_shape - the shape of such a model; s->plant says how many languages. DGM_EUSAGE unless 2 to
 * DGM_PLANTED_LANGUAGES. */
DGM_MUST_CHECK int dgm_planted_shape(dgm_synth *s);

/* dgm_planted_find - the ids of the languages' codes in a tokeniser's directory. DGM_EMODEL, DGM_EUSAGE: it has none. */
DGM_MUST_CHECK int dgm_planted_find(dgm_synth *s, const char *tokenizer);

/*
 * dgm_planted_set - the experts of language l in MoE layer `layer` of a stack; how many. In the encoder two of its own, one
 * shared with its neighbour (0 and 1, 2 and 3, ..) and one shared by all, but the last language shares none; in the decoder
 * one of its own, one shared with its neighbour and two shared by all.
 */
int dgm_planted_set(int set[DGM_PLANTED_SET], const dgm_synth *s, int stack, int layer, int l);

/* dgm_planted_put - elements first .. first + n of tensor t at dst (F32 or BF16, random so far) become what is planted. */
void dgm_planted_put(void *dst, const dgm_synth *s, const dgm_synth_tensor *t, uint64_t first,
                     size_t n);

/* dgm_planted_write - DIR/planted.json: the sets, as a keep file for any model of this shape. `dir` is a model already. */
DGM_MUST_CHECK int dgm_planted_write(const dgm_synth *s, const char *dir);

#endif

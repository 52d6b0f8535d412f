/*
 * processors.h - what a hypothesis' own history raises, lowers or bans: repetition penalty, then
 * n-gram block, then minimum length, as Hugging Face 4.55.4 orders them. Not renormalised.
 *
 * Few ids are touched in a step (those of the history and </s>), so they are kept as a small set: a
 * row needs only as many candidates more as there are touched ids, not all its logits
 * (dgm_search_needs).
 */
#ifndef DGM_RUNTIME_PROCESSORS_H
#define DGM_RUNTIME_PROCESSORS_H

#include "runtime/search.h"

typedef struct dgm_touched {
    int32_t id;
    bool banned; /* else penalised */
} dgm_touched;

typedef struct dgm_processors {
    float penalty; /* 1: off */
    int ngram, min_length;
    int32_t eos_id, start, code;
    bool skip_special;
    dgm_touched *touched; /* [n_touched] in the order of the history, each id once */
    int n_touched;
    int32_t *table; /* open addressing: 1 + index into touched, 0 = free */
    uint32_t mask;
} dgm_processors;

/* dgm_processors_on - do these options ask for any? */
bool dgm_processors_on(const dgm_decode_options *opt);

/* dgm_processors_init - into `mem`, dgm_processors_bytes, whatever is on. prompt: start token,
 * code, prefix. */
size_t dgm_processors_bytes(const dgm_decode_options *opt);
void dgm_processors_init(dgm_processors *p, void *mem, const dgm_decode_options *opt,
                         const int32_t *prompt, int n_prompt);

/* dgm_processors_read - takes in the history [n] of a hypothesis, start token first; forgets the
 * last one. */
void dgm_processors_read(dgm_processors *p, const int32_t *history, int n);

/* dgm_processors_find - what was done to `id` by the last history; NULL: nothing. */
const dgm_touched *dgm_processors_find(const dgm_processors *p, int32_t id);

/* dgm_processors_apply - x, the logit or log p of `id`, processed: x < 0 ? x * penalty : x /
 * penalty; -inf when banned. */
float dgm_processors_apply(const dgm_processors *p, int32_t id, float x);

#endif

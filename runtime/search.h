/*
 * search.h - stage 10: what to decode next, for one sentence: greedy, beam search, sampling.
 *
 * A search lives in memory that the caller hands in and allocates nothing. The caller runs the
 * prompt (`</s> code prefix`) through the decoder and then, step by step, decodes dgm_search_rows()
 * rows and gives each row's candidates to dgm_search_advance(), which makes the next rows of them.
 *
 * Meaning as Hugging Face 4.55.4 (docs/decoding.md): each step takes the 2 x beam best of beam x
 * vocabulary by (score, beam index, token id); those that end are final only if ranked among the
 * first `beam`, with score sum(log p) / n^length_penalty, n = tokens generated, code and </s>
 * included. A prompt longer than start token and code is given text: it counts in length only, and
 * then neither does the code count in n. Processors, in this order: repetition penalty, n-gram
 * block, minimum length; on log p in beam search, on logits in greedy; not renormalised. Within one
 * beam, logits that differ and scores that do not (rounding) order by logit before id, so that a
 * row's candidates, best logit first, are all that a search can ever need of it.
 */
#ifndef DGM_RUNTIME_SEARCH_H
#define DGM_RUNTIME_SEARCH_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DGM_MAX_BEAM = 128 };

/* dgm_decode_options - plain data: it travels in plans and takes part in the hash that ranks
 * compare. */
typedef struct dgm_decode_options {
    int32_t beam;                 /* 1 .. DGM_MAX_BEAM; 1 and no sampling: greedy */
    int32_t n_best;               /* 1 .. beam */
    int32_t max_length;           /* ids of a target, start token and code counted */
    int32_t min_length;           /* the same count; </s> is banned below it; 0: off */
    int32_t no_repeat_ngram;      /* 0: off */
    int32_t early_stopping;       /* 0, 1 */
    float length_penalty;         /* 1 */
    float repetition_penalty;     /* 1: off; above 0 */
    int32_t penalty_skip_special; /* start token, code and </s> are never penalised as repeated */
    int32_t sampling_topk;        /* 0: off */
    float sampling_topp;          /* 1: off */
    float temperature;            /* 1; above 0 */
    int32_t sampling;             /* 1: draw instead of arg max; needs beam 1 */
    int32_t eos_id;
    uint64_t seed;
    int32_t token_scores; /* keep what each token added to the score */
    int32_t alignment;    /* keep where attention looked, for each token */
} dgm_decode_options;

typedef struct dgm_row_best {
    const int32_t *ids;  /* [n] best logit first, ties to the lower id */
    const float *logits; /* [n] */
    int n;
    float max, log_sum; /* log p(id) = (logit - max) - log_sum */
    const float *full;  /* [vocab] all logits, when dgm_search_needs said so */
} dgm_row_best;

/*
 * dgm_hypothesis - one result.
 *   ids    [n]      everything after the start token: code, prefix, pieces, and </s> when it ended
 *   logp   [n]      what each added to the score, or NULL: log p (in beam search after processors),
 *                   0 for code and prefix
 *   rows   [n + 1]  its path through the cache: the row that held token i as input, 0 being the
 *                   start token; 0 for a last token that never was an input
 *   score           sum(log p) / n^length_penalty; greedy and sampling: sum(log p) / n, log p as
 *                   the model gives it, before processors and temperature
 *   ended           with </s>; false: cut by max_length, or because processors banned every id
 */
typedef struct dgm_hypothesis {
    const int32_t *ids;
    const float *logp;
    const uint8_t *rows;
    int n;
    float score;
    bool ended;
} dgm_hypothesis;

typedef struct dgm_search dgm_search;

/* dgm_search_bytes - memory of one search. Only beam, max_length, token_scores and sampling count,
 * and it grows with each of them: what the widest options need serves all. */
size_t dgm_search_bytes(const dgm_decode_options *opt, int vocab_size);

/*
 * dgm_search_init - starts in `mem` (64-byte aligned, dgm_search_bytes). prompt [n_prompt]: start
 * token, code, prefix, at most max_length (a longer one is the caller's mistake; one as long is
 * finished at once: look at dgm_search_rows before decoding). `line` numbers the sentence in the
 * job: sampling is keyed by (seed, line, step).
 */
dgm_search *dgm_search_init(void *mem, const dgm_decode_options *opt, int vocab_size,
                            const int32_t *prompt, int n_prompt, uint64_t line);

/* dgm_search_rows - rows to decode next: 1 after the prompt, then the live hypotheses; 0 when it
 * has finished. */
int dgm_search_rows(const dgm_search *s);
/* dgm_search_token - the input token of row r; dgm_search_path - [length] rows that held its tokens
 * so far, the last being r itself; the token's index is dgm_search_length() - 1. */
int32_t dgm_search_token(const dgm_search *s, int row);
const uint8_t *dgm_search_path(const dgm_search *s, int row);
int dgm_search_length(const dgm_search *s);

/* dgm_search_needs - how many candidates each row must bring now, and whether all logits are needed
 * (too). */
void dgm_search_needs(const dgm_search *s, int *n_best, bool *full);

/* dgm_search_advance - one step: best [dgm_search_rows(s)]. */
void dgm_search_advance(dgm_search *s, const dgm_row_best *best);

/* dgm_search_result - hypothesis i (0 is the best) of a finished search; false past the last. */
bool dgm_search_result(const dgm_search *s, int i, dgm_hypothesis *out);

#endif

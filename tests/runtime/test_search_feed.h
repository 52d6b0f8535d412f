/*
 * test_search_feed.h - feeds a search from a function of the history, as the engine does from a
 * model.
 *
 * It keeps its own table of which row held which token, walks every history back through the paths
 * that the search gives, and fails the test where they disagree. Rows get exactly the candidates
 * that were asked for, in memory of exactly that size.
 */
#ifndef DGM_TESTS_RUNTIME_TEST_SEARCH_FEED_H
#define DGM_TESTS_RUNTIME_TEST_SEARCH_FEED_H

#include "runtime/search.h"

typedef void (*feed_logits)(void *ctx, float *logits, int vocab, const int32_t *history, int n);

typedef struct feed {
    feed_logits logits;
    void *ctx;
    int vocab;
    bool generous; /* give all candidates and all logits whatever was asked for */
    int n_steps;   /* out */
    int most_rows; /* out */
    void *mem;     /* of the search, until feed_free */
    int32_t *held; /* [max_length][beam] */
    dgm_search *search;
    dgm_decode_options opt;
} feed;

/* feed_run - decodes to the end and checks each result's path. */
void feed_run(feed *f, const dgm_decode_options *opt, const int32_t *prompt, int n_prompt,
              uint64_t line);
void feed_free(feed *f);

/* feed_result - result i, which there must be. */
dgm_hypothesis feed_result(const feed *f, int i);

/* feed_options - beam `beam`, lengths up to `max_length`, </s> is 2, all else off. */
dgm_decode_options feed_options(int beam, int max_length);

/* feed_hash - logits from a hash of the history, the same as in tests/golden/search/make.py. */
typedef struct feed_hash_model {
    float spread, bonus; /* range of the logits; what </s> has more */
    uint64_t seed;
} feed_hash_model;
void feed_hash(void *ctx, float *logits, int vocab, const int32_t *history, int n);

#endif

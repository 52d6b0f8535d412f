/*
 * sparsify_pass.h - a parallel text through the model, teacher-forced, and what enters some matrices of one stack on the way.
 *
 * The encoder's are counted by source language and see each sentence once (once a direction where its experts depend on the
 * target); the decoder's by target language, in every direction. Direction by direction, each line's rows in one step, so sums are made in the
 * order of the text. One process; a matrix may change between passes, not while one runs.
 */
#ifndef DGM_RUNTIME_SPARSIFY_PASS_H
#define DGM_RUNTIME_SPARSIFY_PASS_H

#include "runtime/engine.h"
#include "runtime/sparsify_stats.h"
#include "runtime/sparsify_text.h"

typedef struct dgm_pass dgm_pass;

/* Told after each step: sentences and tokens so far, of all passes. */
typedef void (*dgm_pass_progress)(void *ctx, uint64_t sentences, uint64_t tokens);

typedef struct dgm_pass_config {
    const dgm_model *model; /* loaded, all of it */
    dgm_parallel_text *text;
    const dgm_kernels *kern;
    dgm_pool *pool;
    float tau;
    dgm_pass_progress progress; /* NULL: nobody asks */
    void *ctx;
} dgm_pass_config;

/* dgm_pass_open - what cfg names outlives it. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_pass_open(dgm_pass **out, const dgm_pass_config *cfg);
void dgm_pass_close(dgm_pass *p);

/* A matrix, and where its inputs are counted. */
typedef struct dgm_watched {
    const dgm_packed *w;
    dgm_channels *channels;
} dgm_watched;

/* dgm_pass_run - adds what enters watched [n], which gets sorted. DGM_ENAN, DGM_EMODEL, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_pass_run(dgm_pass *p, int stack, dgm_watched *watched, size_t n);

/* dgm_pass_sentences - that a pass over a stack takes. */
uint64_t dgm_pass_sentences(const dgm_pass *p, int stack);

#endif

/*
 * evaluation.h - texts with references through one engine, under one choice of experts after another: the model is loaded once.
 *
 *   prepare (rank 0)   dgm_evaluation_sets for every choice there will be; the ranks share them when the model is loaded
 *   work (rank 0)      dgm_evaluation_translate, as often as wanted, while the other ranks serve
 *
 * The directions are those of the options: the n-th -s, -t, -i and --reference.
 */
#ifndef DGM_LAUNCH_EVALUATION_H
#define DGM_LAUNCH_EVALUATION_H

#include "launch/evaluation_text.h"
#include "launch/filter_direction.h"
#include "runtime/bootstrap.h"

enum { DGM_EVALUATION_NAME = 136 };

typedef struct dgm_evaluated {
    dgm_filter_direction direction;
    char name[DGM_EVALUATION_NAME]; /* eng_Latn-deu_Latn */
    dgm_evaluation_text text;
    uint64_t corpus
        [2]; /* the text, as statistics name it: translated, and with these translations given */
} dgm_evaluated;

typedef struct dgm_evaluation {
    const dgm_options *o;
    dgm_session session;
    dgm_engine_config engine;
    dgm_decode_options decode;
    dgm_evaluated *directions; /* [n] rank 0 */
    int n;
} dgm_evaluation;

/* A direction's choice of experts: numbers in the session's sets. */
typedef struct dgm_evaluation_set {
    int encoder, decoder;
} dgm_evaluation_set;

/* dgm_evaluation_run - the whole job, on every rank; prepare and work on rank 0, which may print. work returns DGM_OK, an error,
 * or an exit code. status: of the options, the same on every rank. Returns the exit code. */
int dgm_evaluation_run(const dgm_options *o, int status,
                       int (*prepare)(dgm_evaluation *e, void *ctx),
                       int (*work)(dgm_evaluation *e, void *ctx), void *ctx);

/* dgm_evaluation_sets - sets [e->n] of a keep file; NULL: all experts. DGM_EINPUT: it lacks a language. */
DGM_MUST_CHECK int dgm_evaluation_sets(dgm_evaluation_set *sets, dgm_evaluation *e,
                                       const dgm_keep *keep);

/* dgm_evaluation_warn - says once when a text is one of those that `corpora` [n], from `source`, were counted on. */
void dgm_evaluation_warn(const dgm_evaluation *e, const uint64_t *corpora, int n,
                         const char *source);

/* dgm_evaluation_translate - direction i: lines [its text's n_lines]. DGM_OK, an error, or (positive) the exit code of a signal. */
DGM_MUST_CHECK int dgm_evaluation_translate(dgm_quality *lines, dgm_evaluation *e, int i,
                                            dgm_evaluation_set set);

/* dgm_evaluation_resample - *change += all resamples of lines of direction i, after less before; the other ranks hear of us. */
void dgm_evaluation_resample(dgm_resamples *change, const dgm_evaluation *e, int i,
                             const dgm_quality *before, const dgm_quality *after);

#endif

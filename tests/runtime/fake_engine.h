/*
 * fake_engine.h - an engine that copies, for tests of what stands around the real one.
 *
 * Every hypothesis is the code, the prefix and the source's pieces (hypothesis i repeats the last piece i times), so the
 * output is the input. Jobs finish in an order of their own, a few a step, and the queue is short.
 */
#ifndef DGM_TESTS_FAKE_ENGINE_H
#define DGM_TESTS_FAKE_ENGINE_H

#include "runtime/engine.h"

#include <signal.h>
#include <stdatomic.h>

enum { FAKE_QUEUE = 50, FAKE_MAX_IDS = 4096 };

typedef struct fake_job {
    uint64_t id;
    int32_t source[FAKE_MAX_IDS], prompt[FAKE_MAX_IDS];
    int n_source, n_prompt, target;
    bool score;
    dgm_decode_options options;
} fake_job;

struct dgm_engine {
    fake_job jobs[FAKE_QUEUE * 4];
    int n_jobs, n_ready;
    uint32_t random;
    int finish_each_step; /* at most so many targets finish in a step */
    int32_t eos_id;

    /* what went on */
    uint64_t submitted, busy;
    int *longest_first;     /* sources' lengths in order of submission, when not NULL [65536] */
    atomic_int *idle_steps; /* steps with nothing in flight; shared with another process, or NULL */

    bool score_by_length; /* a hypothesis scores minus the length of its source */
    int32_t mends;        /* with an n-gram block a source comes out without this id, */
    int blocked;          /* and how many targets with one came */
    /* after each step; NULL: nothing */
    void (*on_step)(void *ctx);
    void *on_step_ctx;

    /* trouble to make */
    int32_t poison;      /* a source with this id fails alone */
    int32_t refuse;      /* a source with this id is never taken */
    uint64_t stop_after; /* sets *stop when so many targets have finished */
    uint64_t fail_after; /* the step fails when so many targets have finished */
    volatile sig_atomic_t *stop;
    uint64_t finished;
};

void fake_engine_init(dgm_engine *e);

#endif

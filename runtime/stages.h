/*
 * stages.h - where the time of a step goes, when somebody asks.
 *
 * dgm_forward carries a clock or NULL; NULL, the usual case, costs one test a stage. Engine thread only. A stage's time
 * is that of the thread that leads the pool, waiting included. Stages share that thread, so their times add up also where
 * one half of a step's rows travels while the other computes: the exchange has what is spent in it, not what it lasts.
 */
#ifndef DGM_RUNTIME_STAGES_H
#define DGM_RUNTIME_STAGES_H

#include "base/clock.h"

#include <stddef.h>
#include <stdint.h>

enum dgm_stage {
    DGM_STAGE_EMBED,
    DGM_STAGE_SELF, /* self-attention with its norm and projections */
    DGM_STAGE_CROSS_KV,
    DGM_STAGE_CROSS,
    DGM_STAGE_FFN, /* dense layers */
    DGM_STAGE_ROUTER,
    DGM_STAGE_EXCHANGE, /* rows out and back: packing, beginning, waiting for the end */
    DGM_STAGE_EXPERTS,
    DGM_STAGE_COMBINE,
    DGM_STAGE_VOCABULARY,
    DGM_STAGE_SEARCH,
    DGM_STAGES
};

typedef struct dgm_stage_total {
    int64_t ns;
    uint64_t rows;
    uint64_t
        passes; /* times that rows went through: once a layer and step, or once for each half of it */
    uint64_t units; /* attention: keys over all rows; experts: how many had rows */
    uint64_t
        distinct; /* attention over a cache: keys, those that several rows of a sentence see once */
} dgm_stage_total;

typedef struct dgm_stage_clock {
    int stack;         /* of what runs now: DGM_ENCODER, DGM_DECODER */
    uint64_t steps[2]; /* encode phases, decode steps */
    dgm_stage_total total[2][DGM_STAGES];
} dgm_stage_clock;

/* dgm_stage_begin, dgm_stage_end - around a stage; began is what begin returned. */
static inline int64_t dgm_stage_begin(const dgm_stage_clock *c)
{
    return c == NULL ? 0 : dgm_now_ns();
}

static inline void dgm_stage_end(dgm_stage_clock *c, enum dgm_stage s, int64_t began, int rows,
                                 uint64_t units)
{
    if (c == NULL)
        return;
    dgm_stage_total *t = &c->total[c->stack][s];
    t->ns += dgm_now_ns() - began;
    t->rows += (uint64_t)rows;
    t->passes += rows > 0;
    t->units += units;
}

static inline void dgm_stage_distinct(dgm_stage_clock *c, enum dgm_stage s, uint64_t keys)
{
    if (c != NULL)
        c->total[c->stack][s].distinct += keys;
}

/* dgm_stage_enter - an encode phase or a decode step begins. */
static inline void dgm_stage_enter(dgm_stage_clock *c, int stack)
{
    if (c == NULL)
        return;
    c->stack = stack;
    c->steps[stack]++;
}

#endif

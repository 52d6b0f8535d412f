/*
 * observe.h - the rows that enter each matrix, shown to whoever asks (calibrate.h).
 *
 * dgm_forward carries an observer or NULL; NULL, the usual case, costs one test a matrix. Engine thread only.
 */
#ifndef DGM_RUNTIME_OBSERVE_H
#define DGM_RUNTIME_OBSERVE_H

#include "kernels/pack.h"

typedef struct dgm_observer {
    /* x [rows, w->k], valid during the call; w is the model's own matrix, so its address says which */
    void (*see)(void *ctx, const dgm_packed *w, const float *x, int rows);
    void *ctx;
} dgm_observer;

static inline void dgm_observe(const dgm_observer *o, const dgm_packed *w, const float *x, int rows)
{
    if (o != NULL && rows > 0)
        o->see(o->ctx, w, x, rows);
}

#endif

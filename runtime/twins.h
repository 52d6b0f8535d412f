/*
 * twins.h - equal jobs in flight are computed once.
 *
 * A result is a pure function of model, options and ids, so whoever asks for what is being computed already waits for
 * that. Drawn translations are keyed by their line and have no twin; what is urgent does not wait for what is not. Rank 0
 * alone.
 */
#ifndef DGM_RUNTIME_TWINS_H
#define DGM_RUNTIME_TWINS_H

#include "runtime/engine.h"

typedef struct dgm_twins dgm_twins;

DGM_MUST_CHECK int dgm_twins_create(dgm_twins **out);
void dgm_twins_destroy(dgm_twins *t);

/*
 * dgm_twins_join - *key: what the job is computed as. *first: it is the first of its kind and has to be submitted under
 * *key (always when `alone`); else it comes with the results of *key, to which dgm_twins_done adds its id. DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_twins_join(dgm_twins *t, const dgm_job *job, bool alone, uint64_t *key,
                                  bool *first);

/* dgm_twins_leave - takes back the join of a first one that could not be submitted. */
void dgm_twins_leave(dgm_twins *t, uint64_t key);

/*
 * dgm_twins_done - a target of *key is done: ids [*n] of all jobs that wait for it, in the order in which they came,
 * valid until the next call. From now on nobody else can join.
 */
const uint64_t *dgm_twins_done(dgm_twins *t, uint64_t key, int *n);

/*
 * dgm_twins_drop - a caller no longer wants its job. False when it has none in flight; else *key says which that is and
 * *wanted whether anybody else waits for it. If not, nobody can join any more, and dgm_twins_done tells nobody.
 */
bool dgm_twins_drop(dgm_twins *t, uint64_t id, uint64_t *key, bool *wanted);
/* dgm_twins_left - targets of *key that are not done. */
int dgm_twins_left(const dgm_twins *t, uint64_t key);
/* dgm_twins_forget - n targets of a dropped *key were never begun. */
void dgm_twins_forget(dgm_twins *t, uint64_t key, int n);

/* dgm_twins_echoes - targets that others than the first of their kind wait for. */
int dgm_twins_echoes(const dgm_twins *t);

#endif

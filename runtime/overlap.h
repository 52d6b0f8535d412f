/*
 * overlap.h - does a step run in two halves, so that the exchange of one hides behind the work of the other?
 *
 * Rank 0 asks before each step and tells all ranks in the plan. `auto` tries: on several hosts some decode steps run in turns
 * with and without, and the way whose median step was shorter is kept until the next trial (docs/adr/0010). The text
 * does not depend on any of this. Local; no clock of its own.
 */
#ifndef DGM_RUNTIME_OVERLAP_H
#define DGM_RUNTIME_OVERLAP_H

#include <stdbool.h>

typedef enum dgm_overlap_mode {
    DGM_OVERLAP_AUTO,
    DGM_OVERLAP_ON,
    DGM_OVERLAP_OFF
} dgm_overlap_mode;

enum { DGM_OVERLAP_TRIES = 9, DGM_OVERLAP_KEEP = 512 };

typedef struct dgm_overlap {
    dgm_overlap_mode mode; /* AUTO while it has to be found out, else what is done */
    bool kept;             /* what the last trial said */
    int left;              /* steps until the next trial; 0: it is on */
    int n[2];              /* steps tried without, with */
    double seconds[2][DGM_OVERLAP_TRIES];
} dgm_overlap;

/* dgm_overlap_init - several_hosts: auto tries at all, else it is off. */
void dgm_overlap_init(dgm_overlap *o, dgm_overlap_mode mode, bool several_hosts);

/* dgm_overlap_next - for the step that is planned now. */
bool dgm_overlap_next(const dgm_overlap *o);

/* dgm_overlap_took - how long the decode step of that plan took, encoding left out; not called when there was none. */
void dgm_overlap_took(dgm_overlap *o, double seconds);

#endif

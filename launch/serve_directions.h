/* serve_directions.h - what a server knows of each direction before anybody asks: languages and the experts they keep. */
#ifndef DGM_LAUNCH_SERVE_DIRECTIONS_H
#define DGM_LAUNCH_SERVE_DIRECTIONS_H

#include "launch/session.h"
#include "runtime/stream.h"

typedef struct dgm_serve_pair {
    int experts, source_experts; /* numbers of sets */
    bool missing;                /* the keep file has none for this direction */
} dgm_serve_pair;

typedef struct dgm_serve_directions {
    const dgm_session *session;
    int n; /* languages of the model */
    const char **codes;
    dgm_serve_pair *pairs; /* [n, n] by source and target, or NULL: all experts for all */
    const char **sources,
        **targets; /* [n_sources], [n_targets] of codes: those of the directions that are served */
    int n_sources, n_targets;
} dgm_serve_directions;

/* dgm_serve_directions_open - rank 0, between join and load: the sets of all directions go into the session. *s outlives d.
 * DGM_EINPUT, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_serve_directions_open(dgm_serve_directions *d, dgm_session *s);
void dgm_serve_directions_close(dgm_serve_directions *d);

/* dgm_serve_direction - for dgm_server_config.direction; any thread. ctx: the directions. DGM_EUSAGE, DGM_EINPUT. */
DGM_MUST_CHECK int dgm_serve_direction(void *ctx, dgm_segment_config *source,
                                       dgm_stream_target *target, const char *src, const char *tgt);

#endif

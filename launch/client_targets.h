/* client_targets.h - the languages that a client's -t names, as a server's model calls them. */
#ifndef DGM_LAUNCH_CLIENT_TARGETS_H
#define DGM_LAUNCH_CLIENT_TARGETS_H

#include "proto/wire.h"
#include "runtime/stream.h"

typedef struct dgm_client_targets {
    char *list;                                   /* what was asked for, cut at its commas */
    dgm_stream_target at[DGM_STREAM_MAX_TARGETS]; /* [n] lang alone */
    int n;
} dgm_client_targets;

/* dgm_client_targets_open - from CODE,.. : aliases become the codes that *w lists; what it does not list stays as it is, for the server
 * to refuse. DGM_EUSAGE: one that is there twice, none, or too many. dgm_client_targets_close - also after a failure. */
DGM_MUST_CHECK int dgm_client_targets_open(dgm_client_targets *t, const char *list,
                                           const dgm_wire_welcome *w);
void dgm_client_targets_close(dgm_client_targets *t);

#endif

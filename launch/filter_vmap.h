/* filter_vmap.h - --vmap: from which pieces each target of a job is chosen. Rank 0 alone. */
#ifndef DGM_LAUNCH_FILTER_VMAP_H
#define DGM_LAUNCH_FILTER_VMAP_H

#include "launch/session.h"
#include "runtime/stream.h"

/* dgm_filter_vmap_read - the session's lists, from the file that its options name, if any. DGM_EINPUT with file and
 * line. */
DGM_MUST_CHECK int dgm_filter_vmap_read(dgm_session *s, const dgm_stream_target *targets,
                                        int n_targets);

/* dgm_filter_vmap_hash - those lists into the hash of a job; without any it stays `before`. */
uint64_t dgm_filter_vmap_hash(uint64_t before, const dgm_shortlists *lists);

#endif

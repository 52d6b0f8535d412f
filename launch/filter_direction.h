/*
 * filter_direction.h - one direction of a job: its languages, the experts that they keep, and its text's way through the engine.
 *
 *   all ranks: dgm_filter_engine      what the options mean for the model
 *   rank 0:    dgm_filter_languages   of each direction
 *              dgm_filter_experts     their sets, from a keep file
 *              dgm_filter_stream      the stream, but for engine and files
 *
 * Rank 0 does its part between dgm_session_join and dgm_session_load.
 */
#ifndef DGM_LAUNCH_FILTER_DIRECTION_H
#define DGM_LAUNCH_FILTER_DIRECTION_H

#include "launch/session.h"
#include "runtime/keep.h"
#include "runtime/stream.h"

enum { DGM_FILTER_PREFIX_ROWS = 16 }; /* tokens of a given beginning that are fed in a step */

typedef struct dgm_filter_direction {
    dgm_options o;                                     /* of the job, with this direction's texts */
    int32_t source;                                    /* id of its code */
    dgm_stream_target targets[DGM_STREAM_MAX_TARGETS]; /* [n_targets] */
    int n_targets;
} dgm_filter_direction;

/* dgm_filter_options - of direction i of a job. */
dgm_options dgm_filter_options(const dgm_options *o, int i);

/* dgm_filter_engine - the same on every rank; decoding options and limits. DGM_EUSAGE, DGM_EUNSUPPORTED. */
DGM_MUST_CHECK int dgm_filter_engine(dgm_engine_config *engine, dgm_decode_options *decode,
                                     const dgm_session *s);

/* dgm_filter_languages - checks and resolves -s, -t and --reference. d->o is set. DGM_EUSAGE. */
DGM_MUST_CHECK int dgm_filter_languages(dgm_filter_direction *d, const dgm_session *s);

/* dgm_filter_experts - the sets of the direction into s->sets. keep NULL: no set, all experts. DGM_EINPUT when it lists no
 * set and --keep-missing does not say `exact`. */
DGM_MUST_CHECK int dgm_filter_experts(dgm_filter_direction *d, dgm_session *s,
                                      const dgm_keep *keep);

/* dgm_filter_set - of one direction in a stack: its number in s->sets; all of the stack with --keep-missing exact. */
DGM_MUST_CHECK int dgm_filter_set(int *number, dgm_session *s, const dgm_keep *keep, int stack,
                                  const char *src, const char *tgt);

/* dgm_filter_stream - *d outlives it. */
dgm_stream_config dgm_filter_stream(const dgm_filter_direction *d, const dgm_session *s,
                                    const dgm_engine_config *engine,
                                    const dgm_decode_options *decode);

#endif

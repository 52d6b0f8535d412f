/*
 * session.h - what translate and score need before the first line: ranks that agree, a model in memory, an engine.
 *
 *   dgm_session_join    ranks meet; options, model and CPUs are compared; instruction set and threads chosen
 *   (rank 0 opens its inputs and outputs)
 *   dgm_session_load    rank 0's lists of vocabulary to all; weights and engine; the start line
 *   rank 0 streams, the others dgm_session_serve
 *   dgm_session_leave   everybody ends with one exit code, rank 0 having said why
 *
 * With --device cuda, join opens the plug-in and load copies the experts.
 *
 * A failure before the stream is everybody's: dgm_comm_agree makes it so.
 */
#ifndef DGM_LAUNCH_SESSION_H
#define DGM_LAUNCH_SESSION_H

#include "launch/options.h"
#include "runtime/engine.h"
#include "runtime/expert_sets.h"
#include "runtime/gate_stats.h"
#include "runtime/gpu_experts.h"
#include "runtime/shortlist.h"
#include "runtime/tokenizer.h"

#include <signal.h>

typedef struct dgm_session {
    const dgm_options *options;
    dgm_comm *comm;
    int rank, ranks;
    int dense_ranks; /* how many ranks hold sentences */
    dgm_kernels kern;
    const dgm_device_ops *device; /* --device cuda: the plug-in, or NULL */
    int gpu_index, gpu_count;     /* this rank's GPU of those of its host */
    dgm_gpu_experts *gpu;         /* NULL: experts run on the CPU */
    dgm_pool *pool;
    dgm_model *model;
    dgm_tokenizer *tok;   /* rank 0 */
    dgm_shortlists lists; /* rank 0 may choose some before the load, which gives them to all */
    dgm_engine *engine;
    int threads_min, threads_max; /* of the ranks */
    dgm_expert_sets sets;         /* rank 0 fills them before load: experts that languages keep */
    uint8_t *tasks;               /* see dgm_session_task; [model->tasks.n], or NULL */
    bool record;                  /* statistics of the routers are taken */
    dgm_gate_stats gates;         /* rank 0, with record, after leave: all ranks' */
    double budget; /* bytes for the work of a rank; below 0: not even the weights fit */
} dgm_session;

/*
 * dgm_session_signal - the signal (TERM, INT) that asked us to stop, or 0. Only once dgm_session_heed has said that somebody looks at
 * it: until then, as while a model of minutes is read, a signal ends the process at once, and so does a second one.
 */
extern volatile sig_atomic_t dgm_session_signal;
void dgm_session_heed(void);
/* dgm_session_at_once - what such an end still calls, before dgm_session_join: async-signal-safe, from any thread. */
void dgm_session_at_once(void (*last)(void));

/* dgm_session_join - Collective. On failure *s can still be left. */
DGM_MUST_CHECK int dgm_session_join(dgm_session *s, const dgm_options *o);

/* dgm_session_types - into cfg what options and model say of arithmetic and ranks: compute, kv_bf16, dense_ranks. The
 * same on all ranks. DGM_EUNSUPPORTED. */
DGM_MUST_CHECK int dgm_session_types(dgm_engine_config *cfg, const dgm_session *s);

/* dgm_session_task - rank 0, before the load, of a job that knows all its tasks: it has this one. Without, and with keep sets that
 * come later, it may have any. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_session_task(dgm_session *s, int task);

/* dgm_session_overlap - what --overlap says. */
dgm_overlap_mode dgm_session_overlap(const dgm_session *s);

/* dgm_session_load - Collective. `status`: how this rank's own preparations went. cfg is the same on all ranks; its lists
 * are the session's. */
DGM_MUST_CHECK int dgm_session_load(dgm_session *s, int status, const dgm_engine_config *cfg);

/* dgm_session_serve - ranks above 0: works until rank 0 leaves. Its status, or (positive) its exit code. */
DGM_MUST_CHECK int dgm_session_serve(dgm_session *s);

/*
 * dgm_session_leave - lets all ranks end. rc: DGM_OK, an error, or a positive exit code (flagged lines, a signal).
 * Returns the exit code of the process; rank 0 has printed the sentence. Does not return when a rank was lost.
 */
int dgm_session_leave(dgm_session *s, int rc);

/* dgm_session_close - Collective, after leave. Frees everything. */
void dgm_session_close(dgm_session *s);

#endif

/*
 * server.h - stages 1 and 12 of a server: clients on sockets, their frames into requests, results into answers.
 *
 * One net thread with an event loop owns all connections; it tokenises and splits, as `dragoman translate` does before its
 * engine. The engine thread (runtime/serving.h) meets it only in the queue of runtime/requests.h. docs/protocol.md says what is
 * spoken, docs/serving.md what is promised.
 */
#ifndef DGM_RUNTIME_SERVER_H
#define DGM_RUNTIME_SERVER_H

#include "proto/wire.h"
#include "runtime/answer_cache.h"
#include "runtime/requests.h"
#include "runtime/server_tls.h"
#include "runtime/serving.h"

typedef struct dgm_server dgm_server;

typedef struct dgm_server_languages {
    const char *const *at; /* [n] codes */
    int n;
} dgm_server_languages;

typedef struct dgm_server_config {
    const char *const *listen; /* [n_listen] unix:PATH, tcp:HOST:PORT */
    int n_listen;
    int n_inherited;    /* dgm_server_inherited */
    bool insecure;      /* tcp beyond loopback is allowed without TLS and tokens */
    const char *tokens; /* file (runtime/server_tokens.h); "": whoever connects may ask */

    dgm_tls_files tls; /* for tcp addresses; all "": they are plain */

    /* limits; all above 0 */
    int max_connections, in_flight, request_segments, segment_bytes;
    int spare_files; /* descriptors that others in this process will want; may be 0 */
    int64_t max_queue_tokens;
    size_t cache_bytes; /* of answers; 0: none are kept */
    size_t
        memory_bytes; /* of connections and of lines that wait, in all (runtime/server_memory.c) */
    int hello_ms, idle_ms, write_ms, drain_ms; /* idle 0: never */

    /* what a welcome says */
    const char *name, *model;
    uint64_t model_hash, option_hash;
    /* those of the model; of these (the same pointers), who is the source, and the target, of a direction that is served */
    dgm_server_languages languages, sources, targets;

    dgm_stream_config
        base; /* of a line, but for its languages; max_ids, decode: as the server was started */
    int max_beam;
    /* Fills source and target of one line. Any thread. DGM_EUSAGE, DGM_EINPUT: no such direction. */
    int (*direction)(void *ctx, dgm_segment_config *source, dgm_stream_target *target,
                     const char *src, const char *tgt);
    void *direction_ctx;
    dgm_serving_gauge *gauge;
} dgm_server_config;

/* dgm_server_inherited - listening sockets that systemd passed to this process (LISTEN_PID, LISTEN_FDS), from descriptor 3 on. */
int dgm_server_inherited(void);

/*
 * dgm_server_open - listens, but answers nobody yet. A Unix socket has mode 0600; one that a dead server left is replaced.
 * DGM_EUSAGE: an address that makes no sense, is in use, or is not allowed; files that are not what they should be. They are
 * read again on SIGHUP, which is taken only where there are any; if they are bad then, those from before stay.
 */
DGM_MUST_CHECK int dgm_server_open(dgm_server **out, const dgm_server_config *cfg);
dgm_requests *dgm_server_requests(dgm_server *s);

/* What there is to tell of clients. */
typedef struct dgm_server_counts {
    int connections;
    uint64_t accepted, refused, received_bytes, sent_bytes;
    size_t memory_bytes, memory_max_bytes;
    dgm_answer_cache_state cache;
} dgm_server_counts;

/* dgm_server_look, dgm_server_request_times (from a Translate frame to its last answer) - any thread. */
dgm_server_counts dgm_server_look(const dgm_server *s);
const dgm_histogram *dgm_server_request_times(const dgm_server *s);

/* dgm_server_start - the net thread begins. */
DGM_MUST_CHECK int dgm_server_start(dgm_server *s);

/*
 * dgm_server_attach - a connection from within this process, as if it came over a Unix socket: *fd is its other end, which
 * blocks, and is the caller's to close. Any thread, until dgm_server_close. DGM_EBUSY: the server ends, or too many wait;
 * DGM_ENOMEM: no descriptor.
 */
DGM_MUST_CHECK int dgm_server_attach(dgm_server *s, int *fd);

/* dgm_server_stop - after the engine thread has ended: what is answered is sent, for flush_ms at most; then all is closed. */
void dgm_server_stop(dgm_server *s, int flush_ms);
void dgm_server_close(dgm_server *s);

#endif

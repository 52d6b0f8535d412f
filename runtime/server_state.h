/* server_state.h - what the files of the server share. server.c is the thread and its rounds; read it first. */
#ifndef DGM_RUNTIME_SERVER_STATE_H
#define DGM_RUNTIME_SERVER_STATE_H

#include "runtime/answer_cache.h"
#include "runtime/server.h"
#include "runtime/server_tls.h"
#include "runtime/server_tokens.h"
#include "runtime/server_unix.h"

#include <pthread.h>
#include <uv.h>

enum {
    DGM_SERVER_LISTENERS = 16,
    DGM_SERVER_ATTACHED = 64,          /* that wait to be taken */
    DGM_SERVER_READ_LIMIT = 1 << 20,   /* a client with so many unsent bytes is not read from, */
    DGM_SERVER_WRITE_LIMIT = 16 << 20, /* and with so many is let go */
    DGM_SERVER_TICK_MS = 250,
    DGM_SERVER_NAME = 64,
    DGM_SERVER_SEALED_BYTES = 64 << 10, /* read at once where there is TLS */
};

typedef union dgm_server_socket {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tcp_t tcp;
} dgm_server_socket;

/* Sockets that other threads of this process hand over (server_attach.c). */
typedef struct dgm_server_attached {
    pthread_mutex_t lock; /* guards the others */
    int fds[DGM_SERVER_ATTACHED], n;
    bool closed;
} dgm_server_attached;

typedef struct dgm_server_listener {
    uv_poll_t poll;
    dgm_server *server;
    int fd;                 /* -1: closed */
    bool local;             /* a Unix socket */
    bool resting;           /* nobody is taken for a while: there is no file descriptor */
    dgm_server_unix *entry; /* of a Unix socket that goes when it is closed; NULL: not ours */
} dgm_server_listener;

/* What the log tells of a Translate frame. */
typedef struct dgm_server_told {
    int by_end[DGM_REQUEST_FAILED + 1], cached;
    uint32_t src_tokens, tgt_tokens;
    int64_t began_ns, waited_ns; /* waited: the longest of its lines for the engine */
} dgm_server_told;

/* One Translate frame on its way. */
typedef struct dgm_server_job {
    struct dgm_server_job *next, *before; /* of its connection */
    struct dgm_server *server;
    struct dgm_conn *conn;              /* NULL: gone */
    uint64_t id, connection;            /* its number, which outlives it */
    int n, left;                        /* requests; those not yet answered */
    dgm_server_told told;               /* of those that were */
    size_t bytes;                       /* that it counts, once it was admitted */
    struct dgm_server_reading *reading; /* its lines are not all requests yet */
    dgm_request requests[];
} dgm_server_job;

typedef struct dgm_conn {
    struct dgm_conn *next, *before;
    struct dgm_conn *next_answered; /* of those that the round at hand has answers for; */
    bool answered;                  /* is one of these */
    dgm_server *server;
    dgm_server_socket socket;
    uv_write_t write;
    uint64_t number;
    char name[DGM_SERVER_NAME];    /* of its token, or what its client calls itself */
    uint8_t token[DGM_TOKEN_HASH]; /* greeted, and the server has tokens */
    /* ending: closed when all is sent; parted: and it is, and nothing is waited for but the peer's end */
    bool local, greeted, paused, writing, ending, parted, closing;
    dgm_tls *tls; /* between socket and frames; NULL: none */
    dgm_frame_reader in;
    dgm_frame_buffer out, flying;
    uint64_t last_id;
    int credits; /* that the client has */
    dgm_requests_client *client;
    dgm_server_job *jobs;
    dgm_server_job *reading; /* is not among jobs yet; nothing more is taken until it is */
    size_t held;             /* bytes that it counts (server_memory.c) */
    int64_t began_ns, heard_ns, moved_ns; /* moved: bytes went out */
    uint32_t told; /* the server's state when it was greeted, or that it was told of since */
    size_t queued; /* bytes unsent when it was last looked at */
} dgm_conn;

struct dgm_server {
    dgm_server_config cfg;
    dgm_requests *requests;
    pthread_t thread;
    bool running;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t tick;
    uv_signal_t hang_up; /* SIGHUP */
    dgm_server_listener listeners[DGM_SERVER_LISTENERS];
    int n_listeners;
    dgm_server_attached attached;
    dgm_conn *conns;
    atomic_int n_conns; /* others look at it */
    uint64_t n_accepted;
    bool full;                 /* clients are being refused, and it was said; */
    bool short_of_descriptors; /* the same, for another reason */
    int spare;                 /* a file descriptor to refuse the next client with; -1: none */
    atomic_uint_least64_t accepted, refused, received_bytes, sent_bytes;
    atomic_size_t held, work_held; /* bytes of connections, and of jobs */
    dgm_histogram request_times;
    dgm_server_job *to_read, **to_read_end; /* [0] is being read */
    uv_work_t read_work;
    dgm_tokens tokens;                    /* of none: not asked for */
    dgm_tls_keys *keys;                   /* NULL: no TLS */
    char sealed[DGM_SERVER_SEALED_BYTES]; /* what was just read */
    dgm_answer_cache *cache;
    dgm_wire_language *languages; /* [n_languages] that are served, once somebody asked, */
    int n_languages;
    struct dgm_server_names *names; /* and what they point at */
    dgm_wire_memory memory;         /* of the frame being read, */
    dgm_wire_memory scratch;        /* and of those being written */
    atomic_int stopping;            /* 0, or the milliseconds for the rest, plus 1 */
    int64_t stop_ns;
    bool closing;
};

/* server_listen.c: DGM_EUSAGE. */
DGM_MUST_CHECK int dgm_server_listen(dgm_server *s, const char *address);
/* dgm_server_unlisten - at once; the loop still has to run. */
void dgm_server_unlisten(dgm_server_listener *l);
/* dgm_server_listen_inherited - on the i-th socket that systemd opened; who opened it removes it, too. */
DGM_MUST_CHECK int dgm_server_listen_inherited(dgm_server *s, int i);

/* server_limits.c: dgm_server_limit_connections - fewer where there are too few file descriptors; says so. DGM_EUSAGE: none at all. */
DGM_MUST_CHECK int dgm_server_limit_connections(dgm_server *s);

/* server_attach.c: dgm_server_take_attached - what was handed over becomes connections. dgm_server_detach - nothing more is taken. */
void dgm_server_take_attached(dgm_server *s);
void dgm_server_detach(dgm_server *s);

/* server_accept.c: dgm_server_accept - whoever waits at l, from its poll callback. dgm_server_accept_again - listeners that rest try again. */
void dgm_server_accept(uv_poll_t *poll, int status, int events);
void dgm_server_accept_again(dgm_server *s);
void dgm_server_open_spare(dgm_server *s);

/* server_memory.c: dgm_conn_weigh - after its buffers grew or shrank. dgm_server_shed - while all hold too much, who holds most is let go. */
void dgm_conn_weigh(dgm_conn *c);
void dgm_conn_weigh_nothing(dgm_conn *c);
void dgm_server_shed(dgm_server *s);
/* dgm_server_take_work - DGM_EBUSY: no room for the job. dgm_server_end_work - it is over. */
DGM_MUST_CHECK int dgm_server_take_work(dgm_server *s, dgm_server_job *j);
void dgm_server_end_work(dgm_server *s, const dgm_server_job *j);
/* dgm_server_crowded - no work is taken now. */
bool dgm_server_crowded(const dgm_server *s);

/* server_conn.c: bytes. dgm_conn_open - of a connected socket, a Unix one or TCP; owns fd. */
void dgm_conn_open(dgm_server *s, int fd, bool local);
/* dgm_conn_go_on - frames that came meanwhile, and reading. */
void dgm_conn_go_on(dgm_conn *c);
/* dgm_conn_send - queues a frame; dgm_conn_flush writes what is queued. */
void dgm_conn_send(dgm_conn *c, const dgm_wire_frame *f);
/* dgm_conn_error - the connection goes on, if it was greeted. dgm_conn_last_error - about the connection, which ends. */
void dgm_conn_error(dgm_conn *c, uint64_t id, enum dgm_wire_error_code code, const char *message,
                    int retry_ms, int credits);
void dgm_conn_last_error(dgm_conn *c, enum dgm_wire_error_code code, const char *message,
                         int retry_ms);
void dgm_conn_flush(dgm_conn *c);
/* dgm_conn_check_token - one that is not known any more ends the connection. */
void dgm_conn_check_token(dgm_conn *c);
/* dgm_conn_end - nothing more is read; closed when all is sent. dgm_conn_close - at once. */
void dgm_conn_end(dgm_conn *c);
void dgm_conn_close(dgm_conn *c);
void dgm_conn_tick(dgm_conn *c, int64_t now_ns);

/* server_frames.c: what a frame asks for. dgm_server_tell_health - clients for whom it changed. */
void dgm_server_tell_health(dgm_server *s);
void dgm_server_frame(dgm_conn *c, const uint8_t *body, size_t len);

/*
 * server_read.c: lines into requests. dgm_server_read - all of t, now. dgm_server_read_later - by another thread, so that other clients need
 * not wait: takes the server's frame memory; then comes dgm_server_begin. *code for what is not DGM_OK.
 */
DGM_MUST_CHECK int dgm_server_read(dgm_server_job *j, enum dgm_wire_error_code *code,
                                   const dgm_wire_translate *t, const dgm_server_config *cfg);
DGM_MUST_CHECK int dgm_server_read_later(dgm_conn *c, dgm_server_job *j,
                                         const dgm_wire_translate *t);
/* dgm_server_read_is_long - other clients would notice. */
bool dgm_server_read_is_long(const dgm_wire_translate *t);

/* server_translate.c: dgm_server_begin - a job that was read: rc, code and dgm_error_text say how. */
void dgm_server_begin(dgm_conn *c, dgm_server_job *j, int rc, enum dgm_wire_error_code code);
void dgm_server_free_job(dgm_server_job *j);
void dgm_server_free_request(dgm_request *r);
void dgm_server_translate(dgm_conn *c, uint64_t id, const dgm_wire_translate *t);
void dgm_server_cancel(dgm_conn *c, const dgm_wire_cancel *what);
/* dgm_server_answer - a request that came back, to whoever asked. */
void dgm_server_answer(dgm_request *r);
/* dgm_server_forget - the connection's jobs go on for nobody. */
void dgm_server_forget(dgm_conn *c);

#endif

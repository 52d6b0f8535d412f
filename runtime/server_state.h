/* server_state.h - what the files of the server share. server.c is the thread and its rounds; read it first. */
#ifndef DGM_RUNTIME_SERVER_STATE_H
#define DGM_RUNTIME_SERVER_STATE_H

#include "runtime/answer_cache.h"
#include "runtime/server.h"
#include "runtime/server_tls.h"
#include "runtime/server_tokens.h"

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
    dgm_server_socket socket;
    dgm_server *server;
    bool local; /* a Unix socket, which libuv removes when it is closed */
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
    struct dgm_conn *conn;                /* NULL: gone */
    uint64_t id, connection;              /* its number, which outlives it */
    int n, left;                          /* requests; those not yet answered */
    dgm_server_told told;                 /* of those that were */
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
    bool local, greeted, paused, writing, ending, closing; /* ending: closed when all is sent */
    dgm_tls *tls; /* between socket and frames; NULL: none */
    dgm_frame_reader in;
    dgm_frame_buffer out, flying;
    uint64_t last_id;
    int credits; /* that the client has */
    dgm_requests_client *client;
    dgm_server_job *jobs;
    int64_t began_ns, heard_ns, moved_ns; /* moved: bytes went out */
    size_t queued;                        /* bytes unsent when it was last looked at */
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
    bool full;                            /* clients are being refused, and it was said */
    dgm_tokens tokens;                    /* of none: not asked for */
    dgm_tls_keys *keys;                   /* NULL: no TLS */
    char sealed[DGM_SERVER_SEALED_BYTES]; /* what was just read */
    dgm_answer_cache *cache;
    dgm_wire_language *languages;   /* [n_languages] once somebody asked, */
    struct dgm_server_names *names; /* and what they point at */
    dgm_wire_memory memory;         /* of the frame being read, */
    dgm_wire_memory scratch;        /* and of those being written */
    atomic_int stopping;            /* 0, or the milliseconds for the rest, plus 1 */
    int64_t stop_ns;
    bool closing;
};

/* server_listen.c: DGM_EUSAGE. */
DGM_MUST_CHECK int dgm_server_listen(dgm_server *s, const char *address);
/* dgm_server_listen_inherited - on the i-th socket that systemd opened; who opened it removes it, too. */
DGM_MUST_CHECK int dgm_server_listen_inherited(dgm_server *s, int i);

/* server_limits.c: dgm_server_limit_connections - fewer where there are too few file descriptors; says so. DGM_EUSAGE: none at all. */
DGM_MUST_CHECK int dgm_server_limit_connections(dgm_server *s);

/* server_attach.c: dgm_server_take_attached - what was handed over becomes connections. dgm_server_detach - nothing more is taken. */
void dgm_server_take_attached(dgm_server *s);
void dgm_server_detach(dgm_server *s);

/* server_conn.c: bytes. dgm_conn_accept - on a listener's connection callback. dgm_conn_adopt - a socket that is connected; owns fd. */
void dgm_conn_accept(dgm_server_listener *l);
void dgm_conn_adopt(dgm_server *s, int fd);
/* dgm_conn_send - queues a frame; dgm_conn_flush writes what is queued. */
void dgm_conn_send(dgm_conn *c, const dgm_wire_frame *f);
void dgm_conn_error(dgm_conn *c, uint64_t id, enum dgm_wire_error_code code, const char *message,
                    int retry_ms, int credits);
void dgm_conn_flush(dgm_conn *c);
/* dgm_conn_check_token - one that is not known any more ends the connection. */
void dgm_conn_check_token(dgm_conn *c);
/* dgm_conn_end - nothing more is read; closed when all is sent. dgm_conn_close - at once. */
void dgm_conn_end(dgm_conn *c);
void dgm_conn_close(dgm_conn *c);
void dgm_conn_tick(dgm_conn *c, int64_t now_ns);

/* server_frames.c: what a frame asks for. */
void dgm_server_frame(dgm_conn *c, const uint8_t *body, size_t len);

/* server_translate.c: lines. */
void dgm_server_translate(dgm_conn *c, uint64_t id, const dgm_wire_translate *t);
void dgm_server_cancel(dgm_conn *c, const dgm_wire_cancel *what);
/* dgm_server_answer - a request that came back, to whoever asked. */
void dgm_server_answer(dgm_request *r);
/* dgm_server_forget - the connection's jobs go on for nobody. */
void dgm_server_forget(dgm_conn *c);

#endif

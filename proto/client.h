/*
 * client.h - libdragoman_client: segments to a `dragoman serve`, translations back.
 *
 * The client keeps a queue of segments, sends as many as the server gives credits for, and hands out answers as they come.
 * A connection that is lost is made again, with growing pauses, and what was not answered is sent again: an answer depends
 * on nothing but model, options and segment, so that is safe. A server that comes back with another model or other options
 * is an error. What the server refuses for the moment (busy, draining, a lost rank) is tried again after the time it names.
 *
 * Nothing here waits, but dgm_client_wait, dgm_client_call and dgm_client_ask, and the look-up of a host's name:
 *
 *     dgm_client_submit(c, 1, &segment); ...
 *     for (;;) {
 *         dgm_client_waiting(c, &w);                   w.fd, w.events, w.timeout_ms for your poll
 *         poll(...);
 *         if (dgm_client_step(c) != DGM_OK) ...        given up: dgm_error_text() says why
 *         while (dgm_client_next(c, &event) > 0) ...
 *     }
 *
 * Thread: one at a time for each client. SIGPIPE is not raised. Sentences of errors: dgm_error_text.
 */
#ifndef DGM_PROTO_CLIENT_H
#define DGM_PROTO_CLIENT_H

#include "proto/wire.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dgm_client dgm_client;

typedef struct dgm_client_config {
    const char *address; /* unix:PATH or tcp:HOST:PORT (tcp:[::1]:PORT) */
    const char *token;   /* NULL: none */
    const char *name;    /* of the program, for the server's logs; NULL: "libdragoman_client" */
    int connect_ms;      /* for connection and Welcome; 0: 10000 */
    int attempts; /* in a row that may fail before the client gives up; 0: 10; below 0: no limit */
    int pause_ms; /* before the second attempt; doubles with each, up to 10 s; 0: 100 */
    int tries;    /* how often a segment is sent that the server fails on; 0: 5 */
    bool
        tls; /* over a tcp address; the server's certificate must be for the host in it. Files are PEM: */
    const char *tls_ca;             /* certificates that are trusted; NULL, "": the system's */
    const char *tls_cert, *tls_key; /* shown to a server that asks for one; NULL, "": none */
} dgm_client_config;

/* dgm_client_create - *cfg is copied; the first dgm_client_step connects. DGM_EUSAGE: an address that is none, files
 * that are not what they should be; DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_client_create(dgm_client **out, const dgm_client_config *cfg);
void dgm_client_destroy(dgm_client *c);

/*
 * dgm_client_submit - copies the segment into the queue; `user` comes back with its answer and is the caller's to choose.
 * src and tgt are needed; options may be NULL. A deadline counts from here. DGM_EINPUT: larger than a frame, or than the
 * server takes; DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_client_submit(dgm_client *c, uint64_t user, const dgm_wire_segment *segment);
/* dgm_client_request - languages, statistics, health or drain (limit_ms); its answer, or an Error, is an event. Sent once
 * the connection is there, and not again after a loss: then it ends in an Error with retry. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_client_request(dgm_client *c, uint64_t user, enum dgm_wire_kind kind,
                                      uint32_t limit_ms);
/* dgm_client_cancel - segments of that `user`, and no others: each still ends in an answer, CANCELLED unless it was done before. */
void dgm_client_cancel(dgm_client *c, uint64_t user);

/* dgm_client_pending - segments and requests without an event yet; dgm_client_queued - those of them not sent. */
size_t dgm_client_pending(const dgm_client *c);
size_t dgm_client_queued(const dgm_client *c);
/* dgm_client_welcome - what the server said last; NULL before the first Welcome. Valid until the next step. */
const dgm_wire_welcome *dgm_client_welcome(const dgm_client *c);

typedef struct dgm_client_waiting_for {
    int fd;         /* -1: nothing but time */
    short events;   /* POLLIN, POLLOUT */
    int timeout_ms; /* -1: no limit */
} dgm_client_waiting_for;
void dgm_client_waiting(const dgm_client *c, dgm_client_waiting_for *w);

/*
 * dgm_client_step - connects, sends, receives, as far as goes without waiting. Not DGM_OK: the client has given up, and says
 * the same from now on; whatever has no answer ends in an event (dgm_client_next). DGM_EPEER: the server could not be reached, attempt after attempt; DGM_EBUSY: it has no room for one
 * client more; DGM_EUSAGE: it refuses token or version, or TLS finds the wrong server or none; DGM_ECONFIG: it came back with
 * another model or options; DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_client_step(dgm_client *c);

typedef struct dgm_client_event {
    uint64_t user;
    const dgm_wire_frame *frame; /* ANSWER; or LANGUAGES, STATISTICS, HEALTH, ERROR for a request */
    bool given_up; /* by the client, with all else: dgm_client_next says behind them why */
} dgm_client_event;

/* dgm_client_next - 1: *e is the next event, valid until the next call on c; 0: none now; below 0: as dgm_client_step. Each segment and
 * each request has one event: also those of a client that gives up, FAILED (an Error for a request) with the reason, and with retry
 * where the same may do later. A server that ends the connection for good (a token that is withdrawn) has its last answers first. */
DGM_MUST_CHECK int dgm_client_next(dgm_client *c, dgm_client_event *e);

/* dgm_client_wait - poll for at most timeout_ms (-1: no limit), then step. A signal ends the wait. */
DGM_MUST_CHECK int dgm_client_wait(dgm_client *c, int timeout_ms);

/* dgm_client_call - one segment, and waits for its answer; nothing else may be pending (DGM_EUSAGE). *answer is valid until the
 * next call on c. DGM_OK whatever its status. */
DGM_MUST_CHECK int dgm_client_call(dgm_client *c, const dgm_wire_answer **answer,
                                   const dgm_wire_segment *segment);
/* dgm_client_ask - the same for dgm_client_request; *frame may be an Error. */
DGM_MUST_CHECK int dgm_client_ask(dgm_client *c, const dgm_wire_frame **frame,
                                  enum dgm_wire_kind kind, uint32_t limit_ms);

#ifdef __cplusplus
}
#endif

#endif

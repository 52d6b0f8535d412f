/*
 * requests.h - what is asked of a server, between the thread that talks to clients and the thread that computes.
 *
 *   net thread: admit ─► waiting, a queue a client ─► engine thread: next ... finish ─► net thread: take_done
 *
 * A request is one line in one direction. From dgm_requests_admit on it belongs to the queue; it comes back exactly once,
 * through dgm_requests_take_done, whatever happens. Both ways are bounded: admission counts tokens until then.
 *
 * Who is next: of each client and priority the oldest waits for its turn; turns are shared by tokens, so a client with
 * ten thousand lines has the share of one with few, and an interactive line weighs less than a normal one, that less than
 * bulk. Lines of a client that has few here, when they come or later, are urgent. Order never bears on what a line becomes.
 */
#ifndef DGM_RUNTIME_REQUESTS_H
#define DGM_RUNTIME_REQUESTS_H

#include "runtime/stream_line.h"

typedef struct dgm_requests dgm_requests;
typedef struct dgm_requests_client dgm_requests_client;

enum dgm_priority {
    DGM_PRIORITY_NORMAL,
    DGM_PRIORITY_INTERACTIVE,
    DGM_PRIORITY_BULK,
    DGM_PRIORITIES
};

/* How a request ended. */
enum dgm_request_end {
    DGM_REQUEST_DONE, /* line has what there is to tell */
    DGM_REQUEST_CANCELLED,
    DGM_REQUEST_TIMED_OUT,
    DGM_REQUEST_FAILED, /* code and message say why */
};

typedef struct dgm_request {
    /* the net thread's, before it is admitted and after it came back */
    void *owner;
    uint32_t number; /* of the line in its owner */
    bool cached;     /* was answered before; is not admitted */

    /* set before it is admitted; then the engine thread's until it is finished */
    dgm_stream_config cfg; /* targets is &target */
    dgm_stream_target target;
    dgm_stream_line line;
    enum dgm_priority priority;
    int64_t arrived_ns, deadline_ns; /* deadline 0: none */

    /* the engine thread's */
    bool urgent;                  /* the queue's, until it is the engine thread's */
    int sent;                     /* segments given to the engine */
    int64_t started_ns, ended_ns; /* started 0: never */
    int code;                     /* FAILED: a status */
    char *message;

    /* the queue's, under its mutex */
    dgm_requests_client *client;
    struct dgm_request *next, *before;
    int tokens, heap_at;
    enum { DGM_REQUEST_IN_QUEUE, DGM_REQUEST_IN_ENGINE, DGM_REQUEST_IS_DONE } place;
    bool stopping; /* the engine thread was told to let it go, */
    enum dgm_request_end stop_as;
    enum dgm_request_end end;
} dgm_request;

/* dgm_requests_create - max_tokens: of all that was admitted and has not come back. wake(ctx) is called on the engine thread
 * when something can be taken. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_requests_create(dgm_requests **out, int64_t max_tokens, void (*wake)(void *),
                                       void *ctx);
/* dgm_requests_destroy - nothing is in flight. */
void dgm_requests_destroy(dgm_requests *q);

/* ---- net thread ---- */

/* dgm_requests_join - a client. leave: cancels all it asked for; the client is gone, its requests still come back. */
DGM_MUST_CHECK int dgm_requests_join(dgm_requests *q, dgm_requests_client **out);
void dgm_requests_leave(dgm_requests *q, dgm_requests_client *c);

/* dgm_requests_tokens - what a request counts: its source, and something for being one. */
int dgm_requests_tokens(const dgm_request *r);

/*
 * dgm_requests_admit - all of r [n], or none. DGM_EBUSY: too many tokens wait already (*retry_ms says when to ask again), unless nothing waits
 * at all. DGM_EUNSUPPORTED: draining.
 */
DGM_MUST_CHECK int dgm_requests_admit(dgm_requests *q, dgm_requests_client *c,
                                      dgm_request *const *r, int n, int *retry_ms);
/* dgm_requests_announce - some that are to be admitted later are on their way, and draining waits for them. DGM_EUNSUPPORTED: draining already.
 * dgm_requests_arrived - they were admitted, or will not be. */
DGM_MUST_CHECK int dgm_requests_announce(dgm_requests *q);
void dgm_requests_arrived(dgm_requests *q);

/* dgm_requests_full - admission would say busy now; retry_ms as above. */
bool dgm_requests_full(dgm_requests *q, int *retry_ms);

/* dgm_requests_cancel - one that was admitted and did not come back yet. */
void dgm_requests_cancel(dgm_requests *q, dgm_request *r);

/* dgm_requests_take_done - all that came back, linked by next; the caller's from now on. */
dgm_request *dgm_requests_take_done(dgm_requests *q);

/* ---- engine thread ---- */

/* dgm_requests_next - whose turn it is, if any: of all, of those that somebody waits for, or of the others. */
enum dgm_requests_kind { DGM_REQUESTS_ALL, DGM_REQUESTS_URGENT, DGM_REQUESTS_OTHERS };
dgm_request *dgm_requests_next(dgm_requests *q, enum dgm_requests_kind kind);
/* dgm_requests_stopped - the next one in the engine that was cancelled or is late; stop_as says which. It is finished by
 * dgm_requests_finish like all. */
dgm_request *dgm_requests_stopped(dgm_requests *q);
/* dgm_requests_again - r, of which nothing is in the engine, waits once more, before all else that its client asks for at its
 * priority; it counts for whose turn it is like any other. One that was stopped stays, and is finished as stopped. */
void dgm_requests_again(dgm_requests *q, dgm_request *r);
/* dgm_requests_finish - r goes back to the net thread. */
void dgm_requests_finish(dgm_requests *q, dgm_request *r, enum dgm_request_end end);
/* dgm_requests_flush - wakes the net thread if something was finished since the last flush. */
void dgm_requests_flush(dgm_requests *q);
/* dgm_requests_expire - ends what is late by now_ns. */
void dgm_requests_expire(dgm_requests *q, int64_t now_ns);
/* dgm_requests_wait - until something waits or was stopped, at most timeout_ms. */
void dgm_requests_wait(dgm_requests *q, int timeout_ms);
/* dgm_requests_fail_waiting - all that waits ends as FAILED with this code and dgm_error_text(), and nothing comes after it. */
void dgm_requests_fail_waiting(dgm_requests *q, int code);

/* ---- either ---- */

/* dgm_requests_drain - nothing more is admitted; at limit_ns (0: never) what is left should end. The first call counts. */
void dgm_requests_drain(dgm_requests *q, int64_t limit_ns);
bool dgm_requests_draining(dgm_requests *q, int64_t *limit_ns);

typedef struct dgm_requests_state {
    int64_t tokens; /* admitted and not back */
    int waiting, computing, announced, clients;
    uint64_t admitted, refused, by_end[DGM_REQUEST_FAILED + 1];
} dgm_requests_state;
dgm_requests_state dgm_requests_look(dgm_requests *q);

#endif

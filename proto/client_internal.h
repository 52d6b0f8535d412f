/* client_internal.h - the client's state. client.c knows segments, client_link.c the connection. Private to proto/. */
#ifndef DGM_PROTO_CLIENT_INTERNAL_H
#define DGM_PROTO_CLIENT_INTERNAL_H

#include "proto/client.h"

enum {
    DGM_CLIENT_BUCKETS = 1024,          /* of the table of what is sent */
    DGM_CLIENT_FRAME_SEGMENTS = 64,     /* most segments of one Translate */
    DGM_CLIENT_FRAME_BYTES = 256 << 10, /* and most of their bytes, but for one that is longer */
    DGM_CLIENT_UNSENT_BYTES = 1 << 20,  /* beyond, nothing is added to what is to be sent */
    DGM_CLIENT_UNREAD_BYTES = DGM_FRAME_MAX_BODY + (1 << 20),
};

/* One segment, or one request of another kind, until its event is handed out. */
typedef struct dgm_client_item {
    struct dgm_client_item *next, *previous; /* in the list that it is in */
    struct dgm_client_item *chain;           /* in its bucket, when sent */
    uint64_t user;
    uint64_t id;      /* of the frame that it went in; 0: not sent */
    uint32_t segment; /* its place there */
    enum dgm_wire_kind kind;
    int tries;
    bool cancelled;
    bool alone; /* in its frame: another of the same frame, or it, was refused */
    int64_t submitted_ns;
    dgm_wire_segment data; /* texts lie behind the item */
    dgm_wire_options options;
    uint32_t limit_ms;
    /* when it ends without the server */
    uint32_t status, code;
    bool retry;
    char *message;
} dgm_client_item;

typedef struct dgm_client_list {
    dgm_client_item *first, *last;
    size_t n;
} dgm_client_list;

enum dgm_client_state {
    DGM_CLIENT_ASLEEP,
    DGM_CLIENT_CONNECTING,
    DGM_CLIENT_GREETING,
    DGM_CLIENT_READY
};

/* What the server said last: it reads no more of a connection on which it said so, or takes none. */
typedef struct dgm_client_parting {
    bool said, retry;
    uint32_t code, retry_after_ms;
    char message[400];
} dgm_client_parting;

typedef struct dgm_client_tls dgm_client_tls;

struct dgm_client {
    dgm_client_config cfg;
    char *address, *token, *name;
    int rc; /* not DGM_OK: given up, why says it */
    char why[512];

    /* the connection */
    enum dgm_client_state state;
    int fd;
    int attempts;      /* failed in a row */
    int64_t wake_ns;   /* asleep: when to connect; connecting, greeting: when it is too late */
    int64_t resume_ns; /* ready: nothing is sent before */
    bool draining;
    bool answered;                 /* something, on this connection */
    dgm_client_parting parting;    /* on this connection, or in place of it */
    struct addrinfo *hosts, *host; /* tcp: all addresses, and the one being tried */
    dgm_frame_reader reader;
    dgm_frame_buffer out;
    dgm_client_tls *tls;     /* NULL: none. Then what is sent is */
    dgm_frame_buffer sealed; /* `out`, sealed */
    dgm_wire_memory memory, scratch, welcome_memory;
    dgm_wire_frame welcome, frame;
    bool welcomed; /* at least once */
    uint64_t model_hash, option_hash;
    uint64_t last_id;
    uint64_t credits;
    uint64_t random;

    /* segments */
    dgm_client_list waiting, sent, done; /* done: ended without the server, to be handed out */
    dgm_client_item *buckets[DGM_CLIENT_BUCKETS];
    dgm_client_item *out_item; /* handed out last, freed at the next call */
};

/* client_link.c */
/* dgm_client_link - brings the connection forward. */
int dgm_client_link(dgm_client *c);
/* dgm_client_lost - the connection is gone, or has to go; DGM_OK unless that was the last attempt. Sentence by dgm_fail. */
int dgm_client_lost(dgm_client *c, const char *fmt, ...) DGM_PRINTF(2, 3);
/* dgm_client_give_up - says the same from now on; what has no answer ends here. */
int dgm_client_give_up(dgm_client *c, int rc);
void dgm_client_parts(dgm_client *c, const dgm_wire_error *e);
/* dgm_client_check_address - DGM_EUSAGE. */
int dgm_client_check_address(const char *address);

/* client_tls.c */
/* dgm_client_tls_open - where cfg asks for it: DGM_EUSAGE, DGM_ENOMEM. dgm_client_tls_close - also after a failure. */
int dgm_client_tls_open(dgm_client *c, const dgm_client_config *cfg);
void dgm_client_tls_close(dgm_client *c);
/* The others want c->tls, but for dgm_client_tls_end. begin, end: of one connection, to `host`. */
int dgm_client_tls_begin(dgm_client *c, const char *host);
void dgm_client_tls_end(dgm_client *c);
/* dgm_client_tls_receive - opens n > 0 bytes into c->reader. It may end the connection, or give up: then not DGM_OK or c->fd < 0. */
int dgm_client_tls_receive(dgm_client *c, const void *bytes, size_t n, bool *ended);
/* dgm_client_tls_seal - from c->out into c->sealed, as far as the handshake allows; likewise. */
int dgm_client_tls_seal(dgm_client *c);
/* dgm_client_tls_ready - c->out can be sealed. */
bool dgm_client_tls_ready(const dgm_client *c);

/* client.c */
/* dgm_client_fill - as many frames into c->out as credits and queue allow. */
int dgm_client_fill(dgm_client *c);
/* dgm_client_requeue - what was sent and not answered waits again, in front. */
void dgm_client_requeue(dgm_client *c);
/* dgm_client_end_all - of a client that has given up: whatever was submitted ends with its reason. */
void dgm_client_end_all(dgm_client *c);

/* dgm_client_well - or what it gave up with. */
static inline int dgm_client_well(const dgm_client *c)
{
    return c->rc == DGM_OK ? DGM_OK : dgm_fail(c->rc, "%s", c->why);
}

static inline bool dgm_client_has_work(const dgm_client *c)
{
    return c->waiting.n + c->sent.n > 0;
}

#endif

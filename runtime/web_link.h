/* web_link.h - a question to the server from within its process: a connection like any client's, and a wait for the answer. */
#ifndef DGM_RUNTIME_WEB_LINK_H
#define DGM_RUNTIME_WEB_LINK_H

#include "runtime/server.h"

typedef struct dgm_web_question {
    const char *token; /* "": none */
    const dgm_wire_frame
        *asked; /* [n_asked] behind a hello; ids are the caller's, ascending from 1 */
    int n_asked;
    int asker;      /* socket of who waits: hangs up, and what was asked is cancelled */
    int timeout_ms; /* for all of it */
    /* Each frame that comes back, the welcome first; valid during the call. True: it was the last. */
    bool (*take)(void *ctx, const dgm_wire_frame *f);
    void *ctx;
} dgm_web_question;

/*
 * dgm_web_ask - returns when the last frame was taken. Any thread, which it blocks. DGM_EPEER: the asker has gone; DGM_EBUSY: the
 * server ends, or too many ask; DGM_EDEADLINE: no answer in time; DGM_ENOMEM, DGM_EINTERNAL.
 */
DGM_MUST_CHECK int dgm_web_ask(dgm_server *s, const dgm_web_question *q);

#endif

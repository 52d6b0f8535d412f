/*
 * web_json.h - what the page posts, as a Translate frame; and frames that come back, as JSON.
 *
 *     {"src": "eng_Latn", "tgt": "deu_Latn", "lines": ["A man."], "n_best": 4, "alignment": true, ...}
 *     {"answers": [{"status": "ok", "hypotheses": [{"text": "Ein Mann.", "score": -0.1, "alignment": [[0, 0]]}], ...}]}
 *     {"error": {"code": "busy", "message": "...", "retry": true, "retry_after_ms": 50}}
 *
 * Keys are named as the fields in dragoman.proto. Any thread, each object one at a time.
 */
#ifndef DGM_RUNTIME_WEB_JSON_H
#define DGM_RUNTIME_WEB_JSON_H

#include "proto/wire.h"

#include <jansson.h>

enum {
    DGM_WEB_BODY_BYTES = 256 << 10,
    DGM_WEB_LINES = 64,
    DGM_WEB_DEADLINE_MS = 60000, /* of a line, where none is given; and the longest that may be */
};

typedef struct dgm_web_request {
    json_t *root; /* which the frame points into */
    dgm_wire_segment segments[DGM_WEB_LINES];
    dgm_wire_frame frame; /* id 1 */
} dgm_web_request;

/*
 * dgm_web_request_read - one object, known keys alone. A NUL in a line is taken: its answer is bad_input. DGM_EINPUT: *code is
 * BAD_REQUEST or TOO_LARGE; nothing is held then.
 */
DGM_MUST_CHECK int dgm_web_request_read(dgm_web_request *r, enum dgm_wire_error_code *code,
                                        const char *body, size_t len);
void dgm_web_request_fini(dgm_web_request *r);

/* What is said to the page. Starts as {.until = ...}. */
typedef struct dgm_web_reply {
    enum dgm_wire_kind
        until;    /* of the last frame: ANSWER, to as many segments as were asked; HEALTH */
    json_t *root; /* NULL: no memory, or nothing yet */
    enum dgm_wire_error_code error;
    uint32_t retry_after_ms;
} dgm_web_reply;

/* dgm_web_reply_take - for dgm_web_question.take; ctx: the reply. An Error replaces what came before it, and is the last. */
bool dgm_web_reply_take(void *ctx, const dgm_wire_frame *f);
void dgm_web_reply_fail(dgm_web_reply *r, enum dgm_wire_error_code code, const char *message,
                        uint32_t retry_after_ms);
void dgm_web_reply_fini(dgm_web_reply *r);

#endif

/*
 * frame.h - frames in a stream of bytes: u32 big-endian length of the body, then the body.
 *
 * The reader takes bytes as they come and hands out whole bodies; it holds what was received and not handed out plus at most
 * DGM_FRAME_CHUNK bytes, whatever length a peer claims, and nothing at all while it is empty. The buffer gathers what is to be
 * sent. Neither is thread-safe; both start as {0}.
 */
#ifndef DGM_PROTO_FRAME_H
#define DGM_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/status.h"

enum {
    DGM_FRAME_HEAD = 4,
    DGM_FRAME_MAX_BODY = 4 << 20,
    DGM_FRAME_CHUNK = 32 << 10,
};

typedef struct dgm_frame_reader {
    uint8_t *data;
    size_t at, len, cap; /* received and not handed out: data[at .. len) */
    uint32_t max_body;   /* 0: DGM_FRAME_MAX_BODY */
} dgm_frame_reader;

void dgm_frame_reader_fini(dgm_frame_reader *r);

/*
 * dgm_frame_reader_space - where to receive: *n > 0 bytes at the address returned, until the next call on r. Then
 * dgm_frame_reader_filled says how many came. NULL and DGM_ENOMEM's sentence when there is no memory. Bodies handed out are
 * no longer valid.
 */
uint8_t *dgm_frame_reader_space(dgm_frame_reader *r, size_t *n);
void dgm_frame_reader_filled(dgm_frame_reader *r, size_t n);

/* dgm_frame_reader_push - the same for bytes that were received elsewhere. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_frame_reader_push(dgm_frame_reader *r, const void *bytes, size_t n);

/*
 * dgm_frame_reader_next - *found: a whole body is at *body [*len], valid until the next call on r. DGM_EINPUT when the length
 * is beyond max_body: as soon as its four bytes are there, and again on every later call, for what follows has no meaning.
 */
DGM_MUST_CHECK int dgm_frame_reader_next(dgm_frame_reader *r, int *found, const uint8_t **body,
                                         size_t *len);

/* dgm_frame_reader_pending - bytes received and not handed out: above 0 at the end of a stream, it was cut. */
static inline size_t dgm_frame_reader_pending(const dgm_frame_reader *r)
{
    return r->len - r->at;
}

typedef struct dgm_frame_buffer {
    uint8_t *data;
    size_t at, len, cap; /* to be sent: data[at .. len) */
} dgm_frame_buffer;

void dgm_frame_buffer_fini(dgm_frame_buffer *b);
static inline const uint8_t *dgm_frame_buffer_bytes(const dgm_frame_buffer *b, size_t *n)
{
    *n = b->len - b->at;
    return b->data == NULL ? NULL : b->data + b->at;
}
/* dgm_frame_buffer_sent - the first n bytes are gone. */
void dgm_frame_buffer_sent(dgm_frame_buffer *b, size_t n);
/* dgm_frame_buffer_add - room for n more bytes, to be filled by the caller at once; n > 0. NULL: no memory (DGM_ENOMEM's sentence). */
uint8_t *dgm_frame_buffer_add(dgm_frame_buffer *b, size_t n);

#ifdef __cplusplus
}
#endif

#endif

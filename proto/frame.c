#include "proto/frame.h"

#include <stdlib.h>
#include <string.h>

static void release(dgm_frame_reader *r)
{
    free(r->data);
    r->data = NULL;
    r->at = r->len = r->cap = 0;
}

void dgm_frame_reader_fini(dgm_frame_reader *r)
{
    release(r);
}

/* By a chunk at a time, not by the length that a peer claims: it may never send so much. */
uint8_t *dgm_frame_reader_space(dgm_frame_reader *r, size_t *n)
{
    if (r->at > 0) {
        memmove(r->data, r->data + r->at, r->len - r->at);
        r->len -= r->at;
        r->at = 0;
    }
    /* A little room is not worth a system call, and a large buffer behind a large frame is not worth keeping. */
    if (r->cap - r->len < DGM_FRAME_CHUNK / 2 || r->cap - r->len > DGM_FRAME_CHUNK) {
        uint8_t *data = realloc(r->data, r->len + DGM_FRAME_CHUNK);
        if (data == NULL) {
            (void)dgm_fail(DGM_ENOMEM, "no memory to receive a frame");
            return NULL;
        }
        r->data = data;
        r->cap = r->len + DGM_FRAME_CHUNK;
    }
    *n = r->cap - r->len;
    return r->data + r->len;
}

void dgm_frame_reader_filled(dgm_frame_reader *r, size_t n)
{
    DGM_ASSERT(n <= r->cap - r->len);
    r->len += n;
}

int dgm_frame_reader_push(dgm_frame_reader *r, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    while (n > 0) {
        size_t room;
        uint8_t *to = dgm_frame_reader_space(r, &room);
        if (to == NULL)
            return DGM_ENOMEM;
        const size_t part = n < room ? n : room;
        memcpy(to, from, part);
        dgm_frame_reader_filled(r, part);
        from += part;
        n -= part;
    }
    return DGM_OK;
}

int dgm_frame_reader_next(dgm_frame_reader *r, int *found, const uint8_t **body, size_t *len)
{
    const uint32_t most = r->max_body != 0 ? r->max_body : DGM_FRAME_MAX_BODY;
    const size_t have = r->len - r->at;
    *found = 0;
    if (have == 0)
        release(r);
    if (have < DGM_FRAME_HEAD)
        return DGM_OK;
    const uint8_t *p = r->data + r->at;
    const uint32_t n =
        (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
    if (n > most)
        return dgm_fail(DGM_EINPUT, "a frame has at most %u bytes, this one says %u", most, n);
    if (have - DGM_FRAME_HEAD < n)
        return DGM_OK;
    *found = 1;
    *body = p + DGM_FRAME_HEAD;
    *len = n;
    r->at += DGM_FRAME_HEAD + (size_t)n;
    return DGM_OK;
}

void dgm_frame_buffer_fini(dgm_frame_buffer *b)
{
    free(b->data);
    *b = (dgm_frame_buffer){0};
}

void dgm_frame_buffer_sent(dgm_frame_buffer *b, size_t n)
{
    DGM_ASSERT(n <= b->len - b->at);
    b->at += n;
    if (b->at < b->len)
        return;
    b->at = b->len = 0;
    if (b->cap > DGM_FRAME_CHUNK)
        dgm_frame_buffer_fini(b);
}

uint8_t *dgm_frame_buffer_add(dgm_frame_buffer *b, size_t n)
{
    DGM_ASSERT(n > 0);
    if (b->cap - b->len < n && b->at > 0) {
        memmove(b->data, b->data + b->at, b->len - b->at);
        b->len -= b->at;
        b->at = 0;
    }
    if (b->cap - b->len < n) {
        const size_t twice = 2 * b->cap, cap = twice > b->len + n ? twice : b->len + n;
        uint8_t *data = realloc(b->data, cap);
        if (data == NULL) {
            (void)dgm_fail(DGM_ENOMEM, "no memory to send a frame");
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    b->len += n;
    return b->data + b->len - n;
}

/* A stream of bytes as a peer sends it: the first byte says in which pieces it comes, the rest is what comes. The reader hands out
 * what a plain walk over the bytes finds, in bounded memory, and every body is decoded. */
#include "proto/wire.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { MAX_BODY = 3000 };

static size_t length_at(const uint8_t *p)
{
    return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* A frame that was read must be the next one of data[*at .. size). */
static void check_body(const uint8_t *data, size_t size, size_t *at, const uint8_t *body,
                       size_t len)
{
    static dgm_wire_memory memory = {.budget = 1 << 20};
    dgm_wire_frame frame;
    enum dgm_wire_error_code code;
    DGM_ASSERT(size - *at >= DGM_FRAME_HEAD + len && length_at(data + *at) == len);
    DGM_ASSERT(memcmp(data + *at + DGM_FRAME_HEAD, body, len) == 0);
    *at += DGM_FRAME_HEAD + len;
    const int rc = dgm_wire_decode(&frame, &code, &memory, body, len);
    DGM_ASSERT((rc == DGM_OK) == (code == DGM_WIRE_ERROR_NONE));
    DGM_ASSERT(memory.used <= memory.budget);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const size_t piece = 1 + data[0];
    data++;
    size--;
    dgm_frame_reader r = {.max_body = MAX_BODY};
    size_t at = 0;
    int rc = DGM_OK;
    for (size_t got = 0; got < size && rc == DGM_OK;) {
        const size_t part = size - got < piece ? size - got : piece;
        DGM_ASSERT(dgm_frame_reader_push(&r, data + got, part) == DGM_OK);
        got += part;
        int found = 1;
        while (rc == DGM_OK && found) {
            const uint8_t *body;
            size_t len;
            rc = dgm_frame_reader_next(&r, &found, &body, &len);
            if (rc == DGM_OK && found)
                check_body(data, size, &at, body, len);
            DGM_ASSERT(r.cap <= r.len + DGM_FRAME_CHUNK);
        }
        /* what is left is no whole frame, or the length of none */
        const size_t left = got - at;
        DGM_ASSERT(left < DGM_FRAME_HEAD || (rc != DGM_OK) == (length_at(data + at) > MAX_BODY));
        DGM_ASSERT(rc != DGM_OK || left < DGM_FRAME_HEAD ||
                   left < DGM_FRAME_HEAD + length_at(data + at));
    }
    dgm_frame_reader_fini(&r);
    return 0;
}

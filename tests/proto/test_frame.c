/* Frames out of bytes that come in any pieces, and what a hostile length can do: nothing. */
#include "proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_FRAMES = 40 };

static size_t put_frame(uint8_t *to, size_t len, uint8_t fill)
{
    to[0] = (uint8_t)(len >> 24);
    to[1] = (uint8_t)(len >> 16);
    to[2] = (uint8_t)(len >> 8);
    to[3] = (uint8_t)len;
    memset(to + 4, fill, len);
    return len + 4;
}

static size_t length_of(int i)
{
    return (size_t)i * (size_t)i * 97 % 70001; /* 0 among them */
}

static void any_pieces_give_the_same_frames(void **state)
{
    (void)state;
    uint8_t *all = malloc((size_t)N_FRAMES * 70010);
    size_t n = 0;
    for (int i = 0; i < N_FRAMES; i++)
        n += put_frame(all + n, length_of(i), (uint8_t)i);
    const size_t pieces[] = {1, 3, 4, 1000, 65536, n};
    for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
        dgm_frame_reader r = {0};
        int next = 0;
        for (size_t at = 0; at < n; at += pieces[p]) {
            const size_t part = n - at < pieces[p] ? n - at : pieces[p];
            assert_int_equal(dgm_frame_reader_push(&r, all + at, part), DGM_OK);
            const uint8_t *body;
            size_t len;
            int found;
            for (;;) {
                assert_int_equal(dgm_frame_reader_next(&r, &found, &body, &len), DGM_OK);
                if (!found)
                    break;
                assert_int_equal(len, length_of(next));
                for (size_t i = 0; i < len; i++)
                    assert_int_equal(body[i], next);
                next++;
            }
        }
        assert_int_equal(next, N_FRAMES);
        assert_int_equal(dgm_frame_reader_pending(&r), 0);
        assert_null(r.data); /* an idle connection holds nothing */
        dgm_frame_reader_fini(&r);
    }
    free(all);
}

static void never_holds_more_than_received_and_a_chunk(void **state)
{
    (void)state;
    dgm_frame_reader r = {0};
    const uint8_t head[] = {0, 0x40, 0, 0}; /* 4 MiB are promised */
    static uint8_t some[20000];
    assert_int_equal(dgm_frame_reader_push(&r, head, sizeof head), DGM_OK);
    assert_true(r.cap <= sizeof head + DGM_FRAME_CHUNK);
    const uint8_t *body;
    size_t len;
    int found = 0;
    while (!found) {
        assert_true(r.cap <= r.len + DGM_FRAME_CHUNK);
        assert_int_equal(dgm_frame_reader_push(&r, some, sizeof some), DGM_OK);
        assert_int_equal(dgm_frame_reader_next(&r, &found, &body, &len), DGM_OK);
    }
    assert_int_equal(len, DGM_FRAME_MAX_BODY);
    size_t room; /* and lets a large frame's memory go */
    assert_non_null(dgm_frame_reader_space(&r, &room));
    assert_true(r.cap <= r.len + DGM_FRAME_CHUNK);
    dgm_frame_reader_fini(&r);
}

static void refuses_a_length_beyond_the_cap(void **state)
{
    (void)state;
    static const uint8_t lengths[][4] = {
        {0xFF, 0xFF, 0xFF, 0xFF}, {0, 0x40, 0, 1}, {0x80, 0, 0, 0}};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        dgm_frame_reader r = {0};
        const uint8_t *body;
        size_t len;
        int found;
        assert_int_equal(dgm_frame_reader_push(&r, lengths[i], 3), DGM_OK);
        assert_int_equal(dgm_frame_reader_next(&r, &found, &body, &len), DGM_OK);
        assert_int_equal(dgm_frame_reader_push(&r, lengths[i] + 3, 1), DGM_OK);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(dgm_frame_reader_next(&r, &found, &body, &len), DGM_EINPUT);
            assert_int_equal(found, 0);
            assert_non_null(strstr(dgm_error_text(), "at most 4194304 bytes"));
        }
        dgm_frame_reader_fini(&r);
    }
    dgm_frame_reader small = {.max_body = 10};
    const uint8_t *body, eleven[] = {0, 0, 0, 11};
    size_t len;
    int found;
    assert_int_equal(dgm_frame_reader_push(&small, eleven, 4), DGM_OK);
    assert_int_equal(dgm_frame_reader_next(&small, &found, &body, &len), DGM_EINPUT);
    dgm_frame_reader_fini(&small);
}

static void buffer_keeps_order_and_lets_go(void **state)
{
    (void)state;
    dgm_frame_buffer b = {0};
    uint8_t in = 0, out = 0;
    for (int i = 0; i < 3000; i++) {
        const size_t add = 1 + (size_t)i * 7 % 251;
        uint8_t *p = dgm_frame_buffer_add(&b, add);
        assert_non_null(p);
        for (size_t k = 0; k < add; k++)
            p[k] = in++;
        size_t n;
        const uint8_t *q = dgm_frame_buffer_bytes(&b, &n);
        const size_t send = i % 100 == 99 ? n : n / 3;
        for (size_t k = 0; k < send; k++)
            assert_int_equal(q[k], out++);
        dgm_frame_buffer_sent(&b, send);
    }
    assert_non_null(dgm_frame_buffer_add(&b, 1 << 20));
    size_t n;
    (void)dgm_frame_buffer_bytes(&b, &n);
    dgm_frame_buffer_sent(&b, n);
    assert_null(b.data);
    dgm_frame_buffer_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_pieces_give_the_same_frames),
        cmocka_unit_test(never_holds_more_than_received_and_a_chunk),
        cmocka_unit_test(refuses_a_length_beyond_the_cap),
        cmocka_unit_test(buffer_keeps_order_and_lets_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

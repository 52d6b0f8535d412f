/* Messages as bytes: equal to those that Google's protobuf makes (golden/), there and back; and what broken bytes give. */
#include "tests/proto/samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static dgm_wire_memory memory, scratch;
static dgm_wire_frame frame;
static enum dgm_wire_error_code code;

static uint8_t *golden(const char *name, size_t *len)
{
    char path[256];
    (void)snprintf(path, sizeof path, "tests/proto/golden/%s.bin", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t *bytes = malloc(1 << 16);
    *len = fread(bytes, 1, 1 << 16, f);
    assert_int_equal(fclose(f), 0);
    return bytes;
}

static void assert_same(const char *name, const dgm_wire_frame *f, const uint8_t *want, size_t len)
{
    dgm_frame_buffer b = {0};
    size_t n;
    assert_int_equal(dgm_wire_encode(&b, &scratch, f), DGM_OK);
    const uint8_t *bytes = dgm_frame_buffer_bytes(&b, &n);
    if (n != len || memcmp(bytes, want, n) != 0)
        fail_msg("%s: %zu bytes that are not the %zu of the golden file", name, n, len);
    dgm_frame_buffer_fini(&b);
}

static void encodes_as_protobuf_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_samples; i++) {
        size_t len;
        uint8_t *want = golden(samples[i].name, &len);
        assert_same(samples[i].name, &samples[i].frame, want, len);
        free(want);
    }
}

static void decodes_what_protobuf_wrote(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_samples; i++) {
        size_t len;
        uint8_t *want = golden(samples[i].name, &len);
        assert_int_equal(dgm_wire_decode(&frame, &code, &memory, want + 4, len - 4), DGM_OK);
        assert_int_equal(frame.id, samples[i].frame.id);
        assert_int_equal(frame.kind, samples[i].frame.kind);
        if (frame.kind != DGM_WIRE_TRANSLATE) /* whose segments get what the request says */
            assert_same(samples[i].name, &frame, want, len);
        free(want);
    }
}

static void segments_have_their_requests_options(void **state)
{
    (void)state;
    size_t len;
    uint8_t *want = golden("translate", &len);
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, want + 4, len - 4), DGM_OK);
    const dgm_wire_translate *t = &frame.as.translate;
    const dgm_wire_segment *s = t->segments;
    assert_int_equal(t->n_segments, 3);
    assert_string_equal(s[0].src, "eng_Latn");
    assert_string_equal(s[0].tgt, "de");
    assert_memory_equal(s[0].options, &t->options, sizeof t->options);
    assert_true(t->options.has_length_penalty && t->options.length_penalty == 0);
    assert_int_equal(t->options.deadline_ms, 1500);
    assert_true(t->options.seed == UINT64_MAX);
    assert_int_equal(s[0].text_bad, DGM_WIRE_TEXT_GOOD);
    assert_int_equal(s[1].text_bad, 4);
    assert_int_equal(s[1].text_len, 10);
    assert_memory_equal(s[1].text, "bad \377 byte", 11);
    assert_int_equal(s[1].prefix_bad, DGM_WIRE_TEXT_GOOD);
    assert_string_equal(s[1].src, "fra_Latn");
    assert_int_equal(s[1].options->beam_size, 1);
    assert_int_equal(s[1].options->n_best, 0); /* as a whole, not field by field */
    assert_true(!s[1].options->has_length_penalty);
    assert_true(s[1].number == 123456789012 && s[0].number == 0);
    assert_string_equal(s[2].text, "");
    assert_int_equal(s[2].text_len, 0);
    /* the same again, as a client would send it: the three with what was resolved */
    dgm_frame_buffer b = {0};
    assert_int_equal(dgm_wire_encode(&b, &scratch, &frame), DGM_OK);
    size_t n;
    const uint8_t *bytes = dgm_frame_buffer_bytes(&b, &n);
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, bytes + 4, n - 4), DGM_OK);
    assert_int_equal(frame.as.translate.segments[0].options->beam_size, 5);
    dgm_frame_buffer_fini(&b);
    free(want);
}

/* A frame of one field of kind `kind` (a message) with `n` bytes inside. */
static size_t one_field(uint8_t *to, int kind, const void *bytes, size_t n)
{
    size_t at = 0;
    const unsigned key = (unsigned)kind << 3 | 2;
    to[at++] = (uint8_t)(key < 128 ? key : (key & 127) | 128);
    if (key >= 128)
        to[at++] = (uint8_t)(key >> 7);
    assert_true(n < 128);
    to[at++] = (uint8_t)n;
    memcpy(to + at, bytes, n);
    return at + n;
}

static void texts_are_checked(void **state)
{
    (void)state;
    uint8_t body[64];
    size_t n = one_field(body, DGM_WIRE_HELLO, "\x12\x03\x61\x00\x62", 5); /* token "a\0b" */
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, body, n), DGM_EINPUT);
    assert_int_equal(code, DGM_WIRE_ERROR_BAD_FRAME);
    assert_string_equal(dgm_error_text(), "hello: token: byte 2 is NUL");
    n = one_field(body, DGM_WIRE_HELLO, "\x1a\x02\x61\xC0", 4); /* client */
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, body, n), DGM_EINPUT);
    assert_string_equal(dgm_error_text(), "hello: client: byte 2 is not UTF-8");
    n = one_field(body, DGM_WIRE_TRANSLATE, "\x0a\x03\xED\xA0\x80", 5); /* src: a surrogate */
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, body, n), DGM_EINPUT);
    assert_string_equal(dgm_error_text(), "translate: src: byte 1 is not UTF-8");
    n = one_field(body, DGM_WIRE_TRANSLATE, "\x22\x05\x0a\x03\x61\x00\x62", 7); /* text "a\0b" */
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, body, n), DGM_OK);
    assert_int_equal(frame.as.translate.segments[0].text_bad, 1);
    assert_int_equal(frame.as.translate.segments[0].text_len, 3);
}

static void unknown_fields_and_kinds_do_no_harm(void **state)
{
    (void)state;
    uint8_t body[64];
    /* id 5, then field 100 of a later version, then hello {version 2, field 15} */
    static const uint8_t later[] = {8, 5, 0xA2, 6, 2, 'h', 'i', 0x12, 4, 8, 2, 0x78, 9};
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, later, sizeof later), DGM_OK);
    assert_int_equal(frame.id, 5);
    assert_int_equal(frame.kind, DGM_WIRE_HELLO);
    assert_int_equal(frame.as.hello.version, 2);
    const size_t n = one_field(body, 99, "abc", 3);
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, body, n), DGM_OK);
    assert_int_equal(frame.kind, DGM_WIRE_UNKNOWN);
    static const uint8_t only_id[] = {8, 0xAC, 2};
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, only_id, sizeof only_id), DGM_OK);
    assert_int_equal(frame.id, 300);
    assert_int_equal(frame.kind, DGM_WIRE_UNKNOWN);
    static const uint8_t priority[] = {0x1A, 5, 0x1A, 3, 0x90, 1, 77};
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, priority, sizeof priority), DGM_OK);
    assert_int_equal(frame.as.translate.options.priority, 77);
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, body, 0), DGM_OK);
    assert_int_equal(frame.kind, DGM_WIRE_UNKNOWN);
}

static void broken_bodies_give_the_id_and_a_sentence(void **state)
{
    (void)state;
    size_t len, refused = 0;
    uint8_t *bytes = golden("translate", &len);
    for (size_t n = 3; n < len - 4; n++) {
        uint8_t *cut = malloc(n); /* just so much, so that reading on is seen */
        memcpy(cut, bytes + 4, n);
        const int rc = dgm_wire_decode(&frame, &code, &memory, cut, n);
        assert_true(rc == DGM_EINPUT && code == DGM_WIRE_ERROR_BAD_FRAME && frame.id == 7);
        assert_non_null(strstr(dgm_error_text(), "want a Frame of dragoman.v1"));
        refused++;
        free(cut);
    }
    assert_true(refused > 100);
    free(bytes);
}

static void many_tiny_parts_meet_the_budget(void **state)
{
    (void)state;
    enum { N = 3 << 20 };
    uint8_t *body = malloc(N + 16);
    size_t at = 0;
    body[at++] = 8;
    body[at++] = 42; /* id */
    body[at++] = DGM_WIRE_TRANSLATE << 3 | 2;
    for (uint32_t n = N; n > 0; n >>= 7)
        body[at++] = (uint8_t)((n & 127) | (n > 127 ? 128 : 0));
    for (size_t i = 0; i < N; i += 2) {
        body[at + i] = 0x22; /* an empty segment */
        body[at + i + 1] = 0;
    }
    dgm_wire_memory small = {.budget = 32 << 20};
    assert_int_equal(dgm_wire_decode(&frame, &code, &small, body, at + N), DGM_ENOMEM);
    assert_int_equal(code, DGM_WIRE_ERROR_TOO_LARGE);
    assert_int_equal(frame.id, 42);
    assert_true(small.used <= small.budget);
    /* and the next frame is none the worse */
    assert_int_equal(dgm_wire_decode(&frame, &code, &small, body, 2), DGM_OK);
    assert_true(small.used < 4096);
    dgm_wire_memory_fini(&small);
    free(body);
}

static void a_frame_beyond_the_cap_is_not_sent(void **state)
{
    (void)state;
    char *text = calloc(1, DGM_FRAME_MAX_BODY);
    const dgm_wire_segment s = {.text = text, .text_len = DGM_FRAME_MAX_BODY};
    const dgm_wire_frame f = {
        .id = 1, .kind = DGM_WIRE_TRANSLATE, .as.translate = {.segments = &s, .n_segments = 1}};
    dgm_frame_buffer b = {0};
    assert_int_equal(dgm_wire_encode(&b, &scratch, &f), DGM_EINPUT);
    assert_non_null(strstr(dgm_error_text(), "translate: a frame has at most 4194304 bytes"));
    assert_int_equal(b.len, 0);
    dgm_frame_buffer_fini(&b);
    free(text);
}

static void an_answer_beyond_the_cap_fails_alone(void **state)
{
    (void)state;
    char *text = calloc(1, DGM_FRAME_MAX_BODY + 1);
    memset(text, 'x', DGM_FRAME_MAX_BODY);
    dgm_wire_hypothesis h = {.text = text, .text_len = DGM_FRAME_MAX_BODY};
    const dgm_wire_frame f = {.id = 9,
                              .kind = DGM_WIRE_ANSWER,
                              .as.answer = {.segment = 3,
                                            .status = DGM_WIRE_STATUS_OK,
                                            .hyps = &h,
                                            .n_hyps = 1,
                                            .last = true,
                                            .credits = 1}};
    dgm_frame_buffer b = {0};
    size_t n;
    assert_int_equal(dgm_wire_encode_or_fail(&b, &scratch, &f), DGM_OK);
    const uint8_t *bytes = dgm_frame_buffer_bytes(&b, &n);
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, bytes + 4, n - 4), DGM_OK);
    const dgm_wire_answer *a = &frame.as.answer;
    assert_true(frame.id == 9 && a->segment == 3 && a->last && a->credits == 1);
    assert_int_equal(a->status, DGM_WIRE_STATUS_FAILED);
    assert_int_equal(a->code, DGM_WIRE_ERROR_TOO_LARGE);
    assert_true(a->n_hyps == 0 && !a->retry);
    assert_non_null(strstr(a->message, "answer: a frame has at most 4194304 bytes"));
    dgm_frame_buffer_sent(&b, n);
    h.text_len = 5; /* what fits goes as it is */
    text[5] = '\0';
    assert_int_equal(dgm_wire_encode_or_fail(&b, &scratch, &f), DGM_OK);
    bytes = dgm_frame_buffer_bytes(&b, &n);
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, bytes + 4, n - 4), DGM_OK);
    assert_int_equal(frame.as.answer.status, DGM_WIRE_STATUS_OK);
    assert_int_equal(frame.as.answer.hyps[0].text_len, 5);
    dgm_frame_buffer_fini(&b);
    free(text);
}

static void errors_say_whether_to_retry(void **state)
{
    (void)state;
    dgm_frame_buffer b = {0};
    size_t n;
    assert_int_equal(dgm_wire_encode_error(&b, &scratch, 9, DGM_WIRE_ERROR_BUSY, "full", false, 75),
                     DGM_OK);
    const uint8_t *bytes = dgm_frame_buffer_bytes(&b, &n);
    assert_int_equal(dgm_wire_decode(&frame, &code, &memory, bytes + 4, n - 4), DGM_OK);
    assert_int_equal(frame.id, 9);
    assert_int_equal(frame.as.error.code, DGM_WIRE_ERROR_BUSY);
    assert_true(frame.as.error.retry && frame.as.error.retry_after_ms == 75);
    assert_string_equal(frame.as.error.message, "full");
    assert_string_equal(dgm_wire_error_name(DGM_WIRE_ERROR_TIME_OUT), "time_out");
    assert_string_equal(dgm_wire_error_name(999), "unknown");
    assert_string_equal(dgm_wire_status_name(DGM_WIRE_STATUS_BAD_INPUT), "bad_input");
    assert_string_equal(dgm_wire_kind_name(DGM_WIRE_ANSWER), "answer");
    assert_true(!dgm_wire_error_retry(DGM_WIRE_ERROR_TOKEN));
    dgm_frame_buffer_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_as_protobuf_does),
        cmocka_unit_test(decodes_what_protobuf_wrote),
        cmocka_unit_test(segments_have_their_requests_options),
        cmocka_unit_test(texts_are_checked),
        cmocka_unit_test(unknown_fields_and_kinds_do_no_harm),
        cmocka_unit_test(broken_bodies_give_the_id_and_a_sentence),
        cmocka_unit_test(many_tiny_parts_meet_the_budget),
        cmocka_unit_test(a_frame_beyond_the_cap_is_not_sent),
        cmocka_unit_test(an_answer_beyond_the_cap_fails_alone),
        cmocka_unit_test(errors_say_whether_to_retry),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    dgm_wire_memory_fini(&memory);
    dgm_wire_memory_fini(&scratch);
    return failed;
}

/* What --web takes and refuses, before anything of it reaches the server; and what frames look like as JSON. */
#include "runtime/web_guard.h"
#include "runtime/web_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void hosts(void **state)
{
    static const char *const good[] = {"127.0.0.1",  "127.0.0.1:8080", "10.1.2.3:1",  "[::1]",
                                       "[::1]:8080", "localhost",      "LocalHost:80"},
                             *const bad[] = {"",
                                             ":80",
                                             "evil.example",
                                             "evil.example:8080",
                                             "localhost.evil.example",
                                             "127.0.0.1.evil.example",
                                             "127.0.0.1:80:80",
                                             "127.0.0.1:80x",
                                             "127.0.0.1@evil.example",
                                             "127.1",
                                             "[::1",
                                             "[::1]x",
                                             "[evil.example]",
                                             "::1",
                                             "localhost."};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(dgm_web_host(good[i], ""));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (dgm_web_host(bad[i], ""))
            fail_msg("Host %s is taken", bad[i]);
    assert_false(dgm_web_host(NULL, ""));
    assert_true(dgm_web_host("Here.example:9", "here.example"));
    assert_false(dgm_web_host("there.example:9", "here.example"));
}

static void origins(void **state)
{
    (void)state;
    assert_true(dgm_web_origin("http://127.0.0.1:8080", "127.0.0.1:8080"));
    assert_true(dgm_web_origin("http://localhost", "LOCALHOST"));
    static const char *const bad[] = {"null",
                                      "",
                                      "http://evil.example",
                                      "http://127.0.0.1:8081",
                                      "http://127.0.0.1",
                                      "https://127.0.0.1:8080",
                                      "http://127.0.0.1:8080.evil.example",
                                      "http://127.0.0.1:8080/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(dgm_web_origin(bad[i], "127.0.0.1:8080"));
    assert_false(dgm_web_origin(NULL, "127.0.0.1:8080"));
    assert_false(dgm_web_origin("http://x", NULL));
    assert_string_equal(dgm_web_bearer("bearer a b"), "a b");
    assert_string_equal(dgm_web_bearer("Basic a"), "");
    assert_string_equal(dgm_web_bearer(NULL), "");
}

/* The hashes of "a {}\n" and of "" are those of `printf ... | openssl dgst -sha256 -binary | base64`. */
static void policy(void **state)
{
    char text[512];
    (void)state;
    assert_int_equal(dgm_web_policy(text, sizeof text,
                                    "<style>a {}\n</style><script></script><script>x</script>"),
                     DGM_OK);
    assert_non_null(
        strstr(text, "style-src 'sha256-ffLTrIV+pQfEkN/w3Rbf9koq8M1pRhO8MKGADBLhsRg='"));
    assert_non_null(
        strstr(text, "script-src 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"));
    assert_non_null(strstr(text, "default-src 'none'"));
    assert_int_equal(dgm_web_policy(text, sizeof text, "<style></style>"), DGM_EINTERNAL);
}

static void reads(const char *body, const char *want)
{
    dgm_web_request r;
    enum dgm_wire_error_code code;
    const int rc = dgm_web_request_read(&r, &code, body, strlen(body));
    if (want == NULL) {
        if (rc != DGM_OK)
            fail_msg("%s: %s", body, dgm_error_text());
        dgm_web_request_fini(&r);
        return;
    }
    assert_int_equal(rc, DGM_EINPUT);
    assert_int_equal(code, DGM_WIRE_ERROR_BAD_REQUEST);
    assert_null(r.root);
    if (strstr(dgm_error_text(), want) == NULL)
        fail_msg("%s: %s", body, dgm_error_text());
}

static void bodies(void **state)
{
    (void)state;
#define AND(more) "{\"src\":\"en\",\"tgt\":\"de\",\"lines\":[\"x\"]" more "}"
    reads(AND(""), NULL);
    reads(AND(",\"n_best\":2,\"beam_size\":4,\"alignment\":true,\"length_penalty\":0,\"retry\":"
              "\"none\""),
          NULL);
    reads("", "want JSON, found at line 1");
    reads("[1]", "want a JSON object");
    reads("{}", "want src, tgt and lines");
    reads("{\"src\":\"en\",\"tgt\":\"de\",\"lines\":[\"\xff\"]}", "want JSON");
    reads("{\"src\":\"en\",\"tgt\":\"de\",\"lines\":[]}", "lines: want a list of texts");
    reads("{\"src\":\"en\",\"tgt\":\"de\",\"lines\":[\"x\",7]}", "found something else at 1");
    reads("{\"src\":\"e\\u0000n\",\"tgt\":\"de\",\"lines\":[\"x\"]}", "src: want the name");
    reads(AND(",\"src\":\"en\""), "want JSON");
    reads(AND(",\"beam\":1"), "no such key: 'beam'");
    reads(AND(",\"n_best\":-1"), "n_best: want a whole number");
    reads(AND(",\"n_best\":4294967296"), "n_best: want a whole number");
    reads(AND(",\"n_best\":1.5"), "n_best: want a whole number");
    reads(AND(",\"alignment\":1"), "alignment: want true or false");
    reads(AND(",\"length_penalty\":\"x\""), "length_penalty: want a number");
    reads(AND(",\"deadline_ms\":60001"), "deadline_ms: want 1 to 60000, found 60001");
    reads(AND(",\"deadline_ms\":0"), "deadline_ms: want 1 to 60000, found 0");
    reads(AND(",\"retry\":true"), "retry: want");
#undef AND
}

static void limits(void **state)
{
    static char body[DGM_WEB_BODY_BYTES + 1];
    dgm_web_request r;
    enum dgm_wire_error_code code;
    (void)state;
    memset(body, ' ', sizeof body);
    assert_int_equal(dgm_web_request_read(&r, &code, body, sizeof body), DGM_EINPUT);
    assert_int_equal(code, DGM_WIRE_ERROR_TOO_LARGE);
    char *at = body + sprintf(body, "{\"src\":\"en\",\"tgt\":\"de\",\"lines\":[\"a\\u0000b\"");
    for (int i = 1; i < DGM_WEB_LINES; i++)
        at += sprintf(at, ",\"\"");
    (void)sprintf(at, "]}");
    assert_int_equal(dgm_web_request_read(&r, &code, body, strlen(body)), DGM_OK);
    assert_int_equal(r.frame.as.translate.n_segments, DGM_WEB_LINES);
    assert_int_equal(r.segments[0].text_len, 3); /* the server says that it is bad input */
    assert_int_equal(r.frame.as.translate.options.priority, DGM_WIRE_INTERACTIVE);
    dgm_web_request_fini(&r);
    (void)sprintf(at, ",\"\"]}");
    reads(body, "lines: want at most 64, found 65");
}

static void answers(void **state)
{
    const uint32_t pairs[] = {0, 0, 1, 2};
    const dgm_wire_hypothesis hyp = {
        .text = "<b>", .text_len = 3, .score = -0.5, .alignment = pairs, .n_alignment = 2};
    const dgm_wire_answer second = {.segment = 1,
                                    .status = DGM_WIRE_STATUS_LOOPED,
                                    .hyps = &hyp,
                                    .n_hyps = 1,
                                    .worst_layer = "",
                                    .message = "",
                                    .checks = DGM_WIRE_CHECK_LOOPED | DGM_WIRE_CHECK_NO_END,
                                    .retried = true,
                                    .second = true,
                                    .second_score = -0.5},
                          first = {.status = DGM_WIRE_STATUS_FAILED,
                                   .message = "why",
                                   .code = DGM_WIRE_ERROR_RANK_LOST,
                                   .retry = true,
                                   .last = true};
    dgm_wire_frame f = {.id = 1, .kind = DGM_WIRE_ANSWER, .as.answer = second};
    dgm_web_reply r = {.until = DGM_WIRE_ANSWER};
    (void)state;
    assert_false(dgm_web_reply_take(&r, &f));
    f.as.answer = first;
    assert_true(dgm_web_reply_take(&r, &f));
    const json_t *list = json_object_get(r.root, "answers"), *a = json_array_get(list, 1);
    assert_int_equal(json_array_size(list), 2);
    char *text = json_dumps(json_object_get(a, "hypotheses"), JSON_COMPACT);
    assert_string_equal(text, "[{\"text\":\"<b>\",\"score\":-0.5,\"alignment\":[[0,0],[1,2]]}]");
    free(text);
    text = json_dumps(json_object_get(a, "checks"), JSON_COMPACT);
    assert_string_equal(text, "[\"looped\",\"no_end\"]");
    free(text);
    assert_true(json_is_true(json_object_get(a, "second")));
    assert_true(json_number_value(json_object_get(a, "second_score")) == -0.5);
    assert_int_equal(json_array_size(json_object_get(a, "second_checks")), 0);
    a = json_array_get(list, 0);
    assert_true(json_is_false(json_object_get(a, "retried")));
    assert_string_equal(json_string_value(json_object_get(a, "code")), "rank_lost");
    /* an error is all that is left */
    f = (dgm_wire_frame){
        .kind = DGM_WIRE_ERROR,
        .as.error = {.code = DGM_WIRE_ERROR_BUSY, .message = "full", .retry_after_ms = 7}};
    assert_true(dgm_web_reply_take(&r, &f));
    text = json_dumps(r.root, JSON_COMPACT);
    assert_string_equal(text, "{\"error\":{\"code\":\"busy\",\"message\":\"full\",\"retry\":true,"
                              "\"retry_after_ms\":7}}");
    free(text);
    assert_int_equal(r.error, DGM_WIRE_ERROR_BUSY);
    dgm_web_reply_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts),  cmocka_unit_test(origins), cmocka_unit_test(policy),
        cmocka_unit_test(bodies), cmocka_unit_test(limits),  cmocka_unit_test(answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

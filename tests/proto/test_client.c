/* The client library against a server that drops, refuses, fails and dawdles: each segment gets one answer, and the right one. */
#include "base/clock.h"
#include "proto/client.h"
#include "tests/proto/fake_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64], address[80];

static dgm_client *open_client(const dgm_client_config *more)
{
    dgm_client_config cfg = more == NULL ? (dgm_client_config){0} : *more;
    dgm_client *c = NULL;
    cfg.address = address;
    cfg.pause_ms = 2;
    assert_int_equal(dgm_client_create(&c, &cfg), DGM_OK);
    return c;
}

static int submit(dgm_client *c, uint64_t user, const char *text, const dgm_wire_options *options)
{
    const dgm_wire_segment s = {.text = text,
                                .text_len = strlen(text),
                                .src = "eng_Latn",
                                .tgt = user % 3 == 0 ? "ces_Latn" : "deu_Latn",
                                .options = options};
    return dgm_client_submit(c, user, &s);
}

static void text_of(char *text, size_t size, uint64_t user)
{
    (void)snprintf(text, size, "line %llu of some text", (unsigned long long)user);
}

/* Sends lines 0 .. n-1, and wants each once, as the fake translates it. */
static void run_job(dgm_client *c, int n)
{
    bool *got = calloc((size_t)n, sizeof *got);
    char text[64], want[96];
    for (int i = 0; i < n; i++) {
        text_of(text, sizeof text, (uint64_t)i);
        assert_int_equal(submit(c, (uint64_t)i, text, NULL), DGM_OK);
    }
    while (dgm_client_pending(c) > 0) {
        dgm_client_event e;
        int rc;
        if (dgm_client_wait(c, 5000) != DGM_OK)
            fail_msg("%s", dgm_error_text());
        while ((rc = dgm_client_next(c, &e)) > 0) {
            assert_int_equal(e.frame->kind, DGM_WIRE_ANSWER);
            assert_true(e.user < (uint64_t)n && !got[e.user]);
            got[e.user] = true;
            text_of(text, sizeof text, e.user);
            (void)snprintf(want, sizeof want, "%s:%s", e.user % 3 == 0 ? "ces_Latn" : "deu_Latn",
                           text);
            assert_int_equal(e.frame->as.answer.status, DGM_WIRE_STATUS_OK);
            assert_string_equal(e.frame->as.answer.hyps[0].text, want);
        }
        assert_int_equal(rc, 0);
    }
    for (int i = 0; i < n; i++)
        assert_true(got[i]);
    free(got);
}

static fake_counts job_with(const fake_script *script, const dgm_client_config *cfg, int n)
{
    fake_server *f = fake_start(path, script);
    dgm_client *c = open_client(cfg);
    run_job(c, n);
    dgm_client_destroy(c);
    const fake_counts counts = fake_stop(f);
    assert_int_equal(counts.overdrawn, 0);
    assert_int_equal(counts.bad_ids, 0);
    return counts;
}

static void many_segments_few_credits(void **state)
{
    (void)state;
    const fake_counts n = job_with(&(fake_script){.credits = 7}, NULL, 2500);
    assert_int_equal(n.segments, 2500);
    assert_int_equal(n.connections, 1);
    assert_true(n.requests >= 2500 / 7);
    const fake_counts many = job_with(&(fake_script){.credits = 2000}, NULL, 2500);
    assert_int_equal(many.segments, 2500);
    assert_true(many.requests <= 2500 / 10 + 200); /* request_segments 10 */
}

static void bytes_that_come_one_by_one(void **state)
{
    (void)state;
    (void)job_with(&(fake_script){.byte_by_byte = true}, NULL, 100);
}

static void a_lost_connection_loses_nothing(void **state)
{
    (void)state;
    const fake_counts n = job_with(&(fake_script){.drop_after = 37, .drops = 8}, NULL, 1000);
    assert_int_equal(n.connections, 9);
    assert_true(n.segments > 1000);
}

static void busy_and_lost_ranks_are_tried_again(void **state)
{
    (void)state;
    const fake_counts n = job_with(&(fake_script){.busy = 3, .lost_ranks = 20},
                                   &(dgm_client_config){.tries = 25}, 200);
    assert_int_equal(n.segments, 220);
    assert_int_equal(n.connections, 1);
}

static void a_server_that_drains_is_left_and_found_again(void **state)
{
    (void)state;
    const fake_counts n = job_with(&(fake_script){.drains = true, .credits = 10}, NULL, 100);
    assert_int_equal(n.connections, 2);
}

/* What the server says last ends the connection, not what was asked on it before: its answers come, and then it is told of the rest. */
static void what_comes_behind_the_last_word_counts(void **state)
{
    (void)state;
    fake_server *f =
        fake_start(path, &(fake_script){.closes = DGM_WIRE_ERROR_TOKEN, .credits = 10});
    dgm_client *c = open_client(NULL);
    dgm_client_event e;
    int good = 0, lost = 0, rc = DGM_OK;
    for (uint64_t i = 0; i < 30; i++)
        assert_int_equal(submit(c, i, "text", NULL), DGM_OK);
    while (rc == DGM_OK) {
        (void)!dgm_client_wait(c, 5000); /* dgm_client_next says the same */
        while ((rc = dgm_client_next(c, &e)) > 0) {
            const dgm_wire_answer *a = &e.frame->as.answer;
            good += a->status == DGM_WIRE_STATUS_OK;
            if (a->status == DGM_WIRE_STATUS_OK)
                continue;
            lost++;
            assert_true(e.given_up && e.user >= 10);
            assert_int_equal(a->status, DGM_WIRE_STATUS_FAILED);
            assert_int_equal(a->code, DGM_WIRE_ERROR_TOKEN);
            assert_false(a->retry);
            assert_non_null(strstr(a->message, "this is the last word"));
        }
    }
    assert_int_equal(rc, DGM_EUSAGE);
    assert_non_null(strstr(dgm_error_text(), "the server says: this is the last word"));
    assert_int_equal(good, 10);
    assert_int_equal(lost, 20);
    assert_int_equal(dgm_client_pending(c), 0);
    assert_int_equal(submit(c, 30, "more", NULL), DGM_EUSAGE);
    dgm_client_destroy(c);
    const fake_counts n = fake_stop(f);
    assert_int_equal(n.connections, 1);
    assert_int_equal(n.segments, 10);
    /* ... and where it may be otherwise next time, nothing is computed twice */
    const fake_counts again =
        job_with(&(fake_script){.closes = DGM_WIRE_ERROR_RANK_LOST, .credits = 10}, NULL, 100);
    assert_int_equal(again.segments, 100);
    assert_int_equal(again.connections, 2);
}

/* Who gives up says of each segment that it has no answer, and whether one may come another time. */
static void nothing_is_left_without_a_word(void **state)
{
    (void)state;
    dgm_client *c = open_client(&(dgm_client_config){.attempts = 2}); /* no server */
    dgm_client_event e;
    int lost = 0, rc = DGM_OK;
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(submit(c, i, "text", NULL), DGM_OK);
    while (rc == DGM_OK) {
        (void)!dgm_client_wait(c, 5000); /* dgm_client_next says the same */
        while ((rc = dgm_client_next(c, &e)) > 0) {
            assert_int_equal(e.user, lost++);
            assert_true(e.given_up && e.frame->as.answer.retry);
            assert_non_null(strstr(e.frame->as.answer.message, "after 2 attempts"));
        }
    }
    assert_int_equal(rc, DGM_EPEER);
    assert_int_equal(lost, 5);
    dgm_client_destroy(c);
}

static void what_is_failed_each_time_is_told(void **state)
{
    (void)state;
    fake_server *f = fake_start(path, &(fake_script){.lost_ranks = 1000, .poison = "poison"});
    dgm_client *c = open_client(&(dgm_client_config){.tries = 3});
    const dgm_wire_answer *a;
    const dgm_wire_segment s = {.text = "x", .text_len = 1, .src = "eng_Latn", .tgt = "deu_Latn"};
    assert_int_equal(dgm_client_call(c, &a, &s), DGM_OK);
    assert_int_equal(a->status, DGM_WIRE_STATUS_FAILED);
    assert_int_equal(a->code, DGM_WIRE_ERROR_RANK_LOST);
    assert_string_equal(a->message, "a rank was lost");
    const dgm_wire_segment poison = {.text = "poison", .text_len = 6, .src = "en", .tgt = "de"};
    assert_int_equal(dgm_client_call(c, &a, &poison), DGM_OK);
    assert_int_equal(a->status, DGM_WIRE_STATUS_FAILED);
    assert_true(a->retry);
    assert_non_null(strstr(a->message, "connection was lost each time"));
    dgm_client_destroy(c);
    const fake_counts n = fake_stop(f);
    /* the first connection brought answers, so its loss counts against nobody */
    assert_int_equal(n.segments, 3 + 4);
    assert_int_equal(n.connections, 4);
}

/* The answer's status of each user in turn, until nothing is pending. */
static void collect(dgm_client *c, uint32_t *status, int n)
{
    int left = n;
    while (left > 0) {
        dgm_client_event e;
        assert_int_equal(dgm_client_wait(c, 2000), DGM_OK);
        while (dgm_client_next(c, &e) > 0) {
            status[e.user] = e.frame->as.answer.status;
            left--;
        }
    }
}

static void a_refusal_is_the_requests_own(void **state)
{
    (void)state;
    fake_server *f = fake_start(path, &(fake_script){.refused = "no"});
    dgm_client *c = open_client(NULL);
    const dgm_wire_answer *a;
    const dgm_wire_segment no = {.text = "no", .text_len = 2, .src = "eng_Latn", .tgt = "xxx"};
    assert_int_equal(dgm_client_call(c, &a, &no), DGM_OK);
    assert_int_equal(a->status, DGM_WIRE_STATUS_FAILED);
    assert_int_equal(a->code, DGM_WIRE_ERROR_LANGUAGE);
    assert_true(!a->retry);
    assert_string_equal(a->message, "no such language");
    run_job(c, 50);
    /* among others in one frame, too */
    static const char *const texts[] = {"a", "no", "b", "c"};
    uint32_t status[4];
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(submit(c, i, texts[i], NULL), DGM_OK);
    collect(c, status, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(status[i], i == 1 ? DGM_WIRE_STATUS_FAILED : DGM_WIRE_STATUS_OK);
    const dgm_wire_segment bad = {
        .text = "a\xff\0b", .text_len = 4, .src = "eng_Latn", .tgt = "deu_Latn"};
    assert_int_equal(dgm_client_call(c, &a, &bad), DGM_OK);
    assert_int_equal(a->status, DGM_WIRE_STATUS_BAD_INPUT);
    dgm_client_destroy(c);
    assert_int_equal(fake_stop(f).connections, 1);
}

static void requests_of_other_kinds(void **state)
{
    (void)state;
    fake_server *f = fake_start(path, &(fake_script){0});
    dgm_client *c = open_client(NULL);
    const dgm_wire_frame *frame;
    assert_null(dgm_client_welcome(c));
    assert_int_equal(dgm_client_ask(c, &frame, DGM_WIRE_LANGUAGES_REQUEST, 0), DGM_OK);
    assert_int_equal(frame->kind, DGM_WIRE_LANGUAGES);
    assert_string_equal(frame->as.languages.at[0].code, "deu_Latn");
    assert_int_equal(dgm_client_ask(c, &frame, DGM_WIRE_HEALTH_REQUEST, 0), DGM_OK);
    assert_int_equal(frame->as.health.in_flight, 7);
    assert_int_equal(dgm_client_ask(c, &frame, DGM_WIRE_STATISTICS_REQUEST, 0), DGM_OK);
    assert_int_equal(frame->kind, DGM_WIRE_ERROR);
    assert_int_equal(frame->as.error.code, DGM_WIRE_ERROR_UNSUPPORTED);
    assert_string_equal(dgm_client_welcome(c)->model, "echo");
    dgm_client_destroy(c);
    (void)fake_stop(f);
}

static void cancelled_segments_are_answered(void **state)
{
    (void)state;
    fake_server *f = fake_start(path, &(fake_script){.slow = "slow"});
    dgm_client *c = open_client(NULL);
    uint32_t status[3];
    assert_int_equal(submit(c, 1, "slow", NULL), DGM_OK);
    while (dgm_client_queued(c) > 0)
        assert_int_equal(dgm_client_wait(c, 100), DGM_OK);
    assert_int_equal(submit(c, 2, "other", NULL), DGM_OK); /* not sent yet */
    dgm_client_cancel(c, 1);
    dgm_client_cancel(c, 2);
    collect(c, status + 0, 2);
    assert_int_equal(status[1], DGM_WIRE_STATUS_CANCELLED);
    assert_int_equal(status[2], DGM_WIRE_STATUS_CANCELLED);
    dgm_client_destroy(c);
    const fake_counts n = fake_stop(f);
    assert_int_equal(n.cancels, 1);
    assert_int_equal(n.segments, 1);
}

/* Two of a frame are cancelled, one after the other; also by a server that knows whole requests only. */
static void a_cancel_is_its_segments_own(void **state)
{
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        fake_server *f =
            fake_start(path, &(fake_script){.slow = "slow", .whole_cancels = whole == 1});
        dgm_client *c = open_client(NULL);
        uint32_t status[4] = {0};
        for (uint64_t i = 0; i < 3; i++)
            assert_int_equal(submit(c, i, i == 1 ? "quick" : "slow", NULL), DGM_OK);
        collect(c, status, 1);
        assert_int_equal(status[1], DGM_WIRE_STATUS_OK);
        dgm_client_cancel(c, 2);
        collect(c, status, 1);
        assert_int_equal(status[2], DGM_WIRE_STATUS_CANCELLED);
        /* a whole request that was cancelled is asked for again, without that one */
        for (const double end = dgm_now_s() + 0.1;
             fake_segments(f) < 3 + whole || dgm_now_s() < end;) {
            dgm_client_event e;
            assert_int_equal(dgm_client_wait(c, 10), DGM_OK);
            assert_int_equal(dgm_client_next(c, &e), 0); /* nobody cancelled the other */
        }
        assert_int_equal(dgm_client_pending(c), 1);
        dgm_client_cancel(c, 0);
        collect(c, status, 1);
        assert_int_equal(status[0], DGM_WIRE_STATUS_CANCELLED);
        dgm_client_destroy(c);
        const fake_counts n = fake_stop(f);
        assert_int_equal(n.cancels, 2);
        assert_int_equal(n.segments, 3 + whole);
        assert_int_equal(n.bad_ids, 0);
    }
}

static void deadlines_count_from_submission(void **state)
{
    (void)state;
    dgm_client *c = open_client(NULL); /* no server yet */
    const dgm_wire_options hurry = {.deadline_ms = 30}, time = {.deadline_ms = 60000};
    uint32_t status[3];
    assert_int_equal(submit(c, 1, "late", &hurry), DGM_OK);
    assert_int_equal(submit(c, 2, "in time", &time), DGM_OK);
    for (const double end = dgm_now_s() + 0.05; dgm_now_s() < end;)
        assert_int_equal(dgm_client_wait(c, 10), DGM_OK);
    fake_server *f = fake_start(path, &(fake_script){0});
    collect(c, status, 2);
    assert_int_equal(status[1], DGM_WIRE_STATUS_TIMED_OUT);
    assert_int_equal(status[2], DGM_WIRE_STATUS_OK);
    dgm_client_destroy(c);
    assert_int_equal(fake_stop(f).deadlines, 1);
}

static void assert_gives_up(const fake_script *script, const dgm_client_config *cfg, int rc,
                            const char *words)
{
    fake_server *f = script == NULL ? NULL : fake_start(path, script);
    dgm_client *c = open_client(cfg);
    const dgm_wire_answer *a;
    const dgm_wire_segment s = {.text = "x", .text_len = 1, .src = "eng_Latn", .tgt = "deu_Latn"};
    int got = DGM_OK;
    for (int i = 0; i < 20 && got == DGM_OK; i++)
        got = dgm_client_call(c, &a, &s);
    assert_int_equal(got, rc);
    if (strstr(dgm_error_text(), words) == NULL)
        fail_msg("want %s in: %s", words, dgm_error_text());
    assert_int_equal(dgm_client_step(c), rc); /* and says so again */
    assert_non_null(strstr(dgm_error_text(), words));
    dgm_client_destroy(c);
    if (f != NULL)
        (void)fake_stop(f);
}

static void gives_up_with_a_sentence(void **state)
{
    (void)state;
    assert_gives_up(NULL, &(dgm_client_config){.attempts = 3}, DGM_EPEER,
                    "No such file or directory (after 3 attempts)");
    assert_gives_up(&(fake_script){.token = "right"}, &(dgm_client_config){.token = "wrong"},
                    DGM_EUSAGE, "the server says: this token is not known");
    assert_gives_up(&(fake_script){.silent = true},
                    &(dgm_client_config){.attempts = 2, .connect_ms = 30}, DGM_EPEER,
                    "no Welcome within 30 ms (after 2 attempts)");
    assert_gives_up(&(fake_script){.newer = 1}, NULL, DGM_EUSAGE,
                    "want version 1 to 1 of the protocol, the server chose 2");
    assert_gives_up(&(fake_script){.newer = -1}, NULL, DGM_EUSAGE, "the server chose 0");
    assert_gives_up(&(fake_script){.other_model = true, .drop_after = 1, .drops = 1}, NULL,
                    DGM_ECONFIG, "another model");
}

static void the_right_token_is_taken(void **state)
{
    (void)state;
    (void)job_with(&(fake_script){.token = "right"}, &(dgm_client_config){.token = "right"}, 10);
}

static void addresses_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"",          "localhost:1", "tcp:host",
                                      "tcp::1234", "tcp:host:",   "unix:"};
    dgm_client *c;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(dgm_client_create(&c, &(dgm_client_config){.address = bad[i]}),
                         DGM_EUSAGE);
    assert_int_equal(dgm_client_create(&c, &(dgm_client_config){.address = "tcp:[::1]:9"}), DGM_OK);
    dgm_client_destroy(c);
    c = open_client(NULL);
    static const char long_text[DGM_FRAME_MAX_BODY] = "x";
    const dgm_wire_segment s = {
        .text = long_text, .text_len = sizeof long_text, .src = "en", .tgt = "de"};
    assert_int_equal(dgm_client_submit(c, 1, &s), DGM_EINPUT);
    dgm_client_destroy(c);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/dgm-client-%d.sock", (int)getpid());
    (void)snprintf(address, sizeof address, "unix:%s", path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_segments_few_credits),
        cmocka_unit_test(bytes_that_come_one_by_one),
        cmocka_unit_test(a_lost_connection_loses_nothing),
        cmocka_unit_test(busy_and_lost_ranks_are_tried_again),
        cmocka_unit_test(a_server_that_drains_is_left_and_found_again),
        cmocka_unit_test(what_comes_behind_the_last_word_counts),
        cmocka_unit_test(nothing_is_left_without_a_word),
        cmocka_unit_test(what_is_failed_each_time_is_told),
        cmocka_unit_test(a_refusal_is_the_requests_own),
        cmocka_unit_test(requests_of_other_kinds),
        cmocka_unit_test(cancelled_segments_are_answered),
        cmocka_unit_test(a_cancel_is_its_segments_own),
        cmocka_unit_test(deadlines_count_from_submission),
        cmocka_unit_test(gives_up_with_a_sentence),
        cmocka_unit_test(the_right_token_is_taken),
        cmocka_unit_test(addresses_are_checked),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}

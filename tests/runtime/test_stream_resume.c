/* A job that was stopped, and the job that goes on. */
#include "tests/runtime/stream_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINES = 3000 };

static char *lines_of(const char *word, int n)
{
    char *text = malloc((size_t)n * 32 + 1), *at = text;
    *at = '\0';
    for (int i = 0; i < n; i++)
        at += sprintf(at, "%s %d\n", word, i);
    return text;
}

static uint64_t count_lines(const char *text)
{
    uint64_t n = 0;
    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

/* stop_early - runs until `finished` sentences are done, as a signal would have it; returns how many lines are out. */
static uint64_t stop_early(bench *b, const char *text, uint64_t finished)
{
    b->engine->stop_after = finished;
    bench_input(b, text, strlen(text));
    assert_int_equal(bench_run(b), DGM_OK);
    assert_true(b->totals.stopped);
    b->stop = 0;
    fake_engine_init(b->engine);
    b->engine->stop = &b->stop;
    char *part = bench_read(b, "out.part");
    assert_non_null(part);
    assert_null(bench_read(b, "out"));
    const uint64_t n = count_lines(part);
    assert_int_equal(n, b->totals.lines);
    assert_memory_equal(part, text, strlen(part)); /* whole lines, in order */
    free(part);
    return n;
}

static void expect_whole(bench *b, const char *text)
{
    char *got = bench_read(b, "out");
    assert_non_null(got);
    assert_string_equal(got, text);
    free(got);
    assert_null(bench_read(b, "out.part"));
    assert_null(bench_read(b, "out.part.state"));
}

static void test_goes_on(void **state)
{
    bench *b = *state;
    char *text = lines_of("a dog", LINES);
    const uint64_t first = stop_early(b, text, 1500);
    assert_true(first > 0 && first < LINES);
    bench_input(b, text, strlen(text));
    assert_int_equal(bench_run(b), DGM_OK);
    assert_int_equal(b->totals.sentences, LINES - first); /* nothing is done twice */
    assert_int_equal(b->totals.lines, LINES);
    expect_whole(b, text);
    free(text);
}

static void test_half_a_line_is_dropped(void **state)
{
    bench *b = *state;
    char *text = lines_of("a dog", LINES);
    const uint64_t first = stop_early(b, text, 1500);
    char *part = bench_read(b, "out.part");
    const size_t len = strlen(part);
    (void)bench_file(b, "out.part", part, len - 2); /* killed while it wrote */
    free(part);
    /* Fewer lines than the state knows: what was there cannot be trusted. */
    bench_input(b, text, strlen(text));
    assert_int_equal(bench_run(b), DGM_OK);
    assert_int_equal(b->totals.sentences, LINES);
    expect_whole(b, text);
    (void)first;
    free(text);
}

static void test_more_than_the_state_knows_is_kept(void **state)
{
    bench *b = *state;
    char *text = lines_of("a dog", LINES);
    const uint64_t first = stop_early(b, text, 1500);
    /* killed between writing lines and saving the state: 10 whole lines more, and half of one */
    const char *end = text;
    for (uint64_t i = 0; i < first + 10; i++)
        end = strchr(end, '\n') + 1;
    (void)bench_file(b, "out.part", text, (size_t)(end - text) + 3);
    bench_input(b, text, strlen(text));
    assert_int_equal(bench_run(b), DGM_OK);
    assert_int_equal(b->totals.sentences, LINES - first - 10);
    expect_whole(b, text);
    free(text);
}

static void test_other_options_start_anew(void **state)
{
    bench *b = *state;
    char *text = lines_of("a dog", LINES);
    (void)stop_early(b, text, 1500);
    b->cfg.job++;
    bench_input(b, text, strlen(text));
    assert_int_equal(bench_run(b), DGM_OK);
    assert_int_equal(b->totals.sentences, LINES);
    expect_whole(b, text);
    free(text);
}

static void test_other_input_is_refused(void **state)
{
    bench *b = *state;
    char *text = lines_of("a dog", LINES), *other = lines_of("a cat", LINES);
    const uint64_t first = stop_early(b, text, 1500);
    bench_input(b, other, strlen(other));
    assert_int_equal(bench_run(b), DGM_EINPUT);
    assert_non_null(strstr(dgm_error_text(), "another input"));
    bench_input(b, text, 20); /* an input that ends before the output does */
    assert_int_equal(bench_run(b), DGM_EINPUT);
    assert_non_null(strstr(dgm_error_text(), "but in ends after"));
    char *part = bench_read(b, "out.part");
    assert_int_equal(count_lines(part), first); /* and nothing was lost by trying */
    free(part);
    free(text);
    free(other);
}

static void test_flags_of_the_first_run_count(void **state)
{
    bench *b = *state;
    char *rest = lines_of("a dog", LINES), *text = malloc(strlen(rest) + 16);
    (void)sprintf(text, "b\xff\n%s", rest);
    b->engine->stop_after = 1500;
    bench_input(b, text, strlen(text));
    assert_int_equal(bench_run(b), DGM_OK);
    assert_int_equal(b->totals.flagged, 1);
    b->stop = 0;
    fake_engine_init(b->engine);
    bench_input(b, text, strlen(text));
    assert_int_equal(bench_run(b), DGM_OK);
    assert_int_equal(b->totals.flagged, 1);
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_BAD_INPUT], 0); /* not in this run */
    free(text);
    free(rest);
}

static void test_report_and_n_best_go_on_together(void **state)
{
    bench *b = *state;
    char path[128], *text = lines_of("a dog", LINES);
    b->cfg.decode.n_best = 2;
    for (int run = 0; run < 2; run++) {
        b->engine->stop_after = run == 0 ? 1500 : 0;
        b->engine->stop = &b->stop;
        bench_input(b, text, strlen(text));
        (void)snprintf(path, sizeof path, "%s/report", b->dir);
        assert_int_equal(dgm_writer_open(&b->cfg.report, path), DGM_OK);
        assert_int_equal(bench_run(b), DGM_OK);
        dgm_writer_close(b->cfg.report);
        b->cfg.report = NULL;
        assert_int_equal(b->totals.stopped, run == 0);
        b->stop = 0;
        fake_engine_init(b->engine);
    }
    char *out = bench_read(b, "out"), *report = bench_read(b, "report");
    assert_int_equal(count_lines(out), 2 * LINES);
    assert_int_equal(count_lines(report), LINES);
    const char *at = report;
    for (int i = 1; i <= LINES; i++, at = strchr(at, '\n') + 1) {
        char want[32];
        (void)snprintf(want, sizeof want, "{\"line\":%d,", i);
        assert_memory_equal(at, want, strlen(want));
    }
    free(out);
    free(report);
    free(text);
}

static void test_two_writers_of_one_file(void **state)
{
    bench *b = *state;
    char path[128];
    dgm_writer *first = NULL, *second = NULL;
    (void)snprintf(path, sizeof path, "%s/shared", b->dir);
    assert_int_equal(dgm_writer_open(&first, path), DGM_OK);
    assert_int_equal(dgm_writer_open(&second, path), DGM_EOUTPUT);
    assert_non_null(strstr(dgm_error_text(), "another process is writing it"));
    dgm_writer_close(first);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, bench_setup, bench_teardown)
    const struct CMUnitTest tests[] = {
        TEST(goes_on),
        TEST(half_a_line_is_dropped),
        TEST(more_than_the_state_knows_is_kept),
        TEST(other_options_start_anew),
        TEST(other_input_is_refused),
        TEST(flags_of_the_first_run_count),
        TEST(report_and_n_best_go_on_together),
        TEST(two_writers_of_one_file),
    };
    return cmocka_run_group_tests(tests, bench_open_tokenizer, bench_close_tokenizer);
}

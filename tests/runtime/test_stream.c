/* Lines in, lines out: order, blanks, bad lines, splitting, n-best, several targets, scores. */
#include "tests/runtime/stream_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* many_lines - n lines of different lengths, malloc'ed. */
static char *many_lines(int n)
{
    char *text = malloc((size_t)n * 96), *at = text;
    for (int i = 0; i < n; i++) {
        at += sprintf(at, "line %d", i);
        for (int w = 0; w < i * 7 % 11; w++)
            at += sprintf(at, " a dog");
        at += sprintf(at, "\n");
    }
    return text;
}

static void test_order(void **state)
{
    bench *b = *state;
    char *text = many_lines(20000);
    bench_expect(b, text, text);
    assert_int_equal(b->totals.lines, 20000);
    assert_int_equal(b->totals.sentences, 20000);
    assert_true(b->engine->busy > 0); /* the queue was full now and then */
    free(text);
}

static void test_longest_first(void **state)
{
    bench *b = *state;
    int *lengths = calloc(65536, sizeof *lengths);
    b->engine->longest_first = lengths;
    char *text = many_lines(500);
    bench_expect(b, text, text);
    for (int i = 1; i < 500; i++)
        assert_true(lengths[i] <= lengths[i - 1]);
    free(text);
    free(lengths);
}

static void test_line_ends(void **state)
{
    bench *b = *state;
    bench_expect(b,
                 "\xef\xbb\xbf"
                 "a dog\r\n\r\n \t \n\xe3\x80\x80\nno newline",
                 "a dog\n\n\n\nno newline\n");
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_EMPTY], 3);
    assert_int_equal(b->totals.flagged, 0);
}

static void test_empty_input(void **state)
{
    bench_expect(*state, "", "");
}

static void test_bad_lines(void **state)
{
    bench *b = *state;
    static const char text[] = "one\nb\xff\nn\0l\ntwo\n";
    bench_input(b, text, sizeof text - 1);
    assert_int_equal(bench_run(b), DGM_OK);
    char *got = bench_read(b, "out");
    assert_string_equal(got, "one\n\n\ntwo\n");
    free(got);
    assert_int_equal(b->totals.flagged, 2);
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_BAD_INPUT], 2);
}

static void test_strict_stops_there(void **state)
{
    bench *b = *state;
    b->cfg.strict = true;
    bench_input(b, "one\ntwo\nb\xff\nthree\n", 16);
    assert_int_equal(bench_run(b), DGM_EINPUT);
    assert_non_null(strstr(dgm_error_text(), "in line 3"));
    char *got = bench_read(b, "out.part"); /* not whole, so not renamed */
    assert_string_equal(got, "one\ntwo\n");
    free(got);
    assert_null(bench_read(b, "out"));
}

static void test_engine_refuses_a_line(void **state)
{
    bench *b = *state;
    int32_t *ids = NULL;
    int n = 0;
    assert_int_equal(dgm_tok_pieces(b->tok, &ids, &n, "horse", 5), DGM_OK);
    b->engine->poison = ids[0];
    bench_expect(b, "a dog\nhorse\na dog\n", "a dog\n\na dog\n");
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_FAILED], 1);
    b->engine->poison = -1;
    b->engine->refuse = ids[0];
    bench_expect(b, "a dog\nhorse\na dog\n", "a dog\n\na dog\n");
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_FAILED], 1);
    free(ids);
}

static void test_engine_breaks(void **state)
{
    bench *b = *state;
    char *text = many_lines(1000);
    b->engine->fail_after = 300;
    bench_input(b, text, strlen(text));
    assert_int_equal(bench_run(b), DGM_ENAN);
    assert_string_equal(dgm_error_text(), "the fake engine broke");
    char *got = bench_read(b, "out.part");
    assert_non_null(got);
    assert_memory_equal(got, text, strlen(got)); /* what was finished in order is there */
    free(got);
    free(text);
}

static void test_n_best_and_scores(void **state)
{
    bench *b = *state;
    b->cfg.decode.n_best = 3;
    bench_expect(b, "a dog\n\n", "a dog\na dog dog\na dog dog dog\n\n\n\n");
    b->cfg.with_score = true;
    bench_expect(
        b, "a dog\n\n",
        "-1.000000 ||| a dog\n-2.000000 ||| a dog dog\n-3.000000 ||| a dog dog dog\n\n\n\n");
    b->cfg.decode.n_best = 1;
    b->cfg.marian = true;
    bench_expect(b, "a dog\n\n", "0 ||| a dog ||| -1.000000\n1 |||  ||| 0.000000\n");
}

static void test_joined_score(void **state)
{
    bench *b = *state;
    b->cfg.with_score = true;
    b->cfg.source.split = DGM_SPLIT_ALWAYS;
    b->engine->score_by_length = true;
    /* Sources "code A dog . </s>" and "code A </s>": scores -5 and -3. Tokens generated, code and </s> counted: 5, 3. */
    bench_expect(b, "A dog. A\n", "-4.250000 ||| A dog. A\n");
    /* A prefix is not generated: its two pieces change nothing. */
    bench_beside(b, "A A\n");
    bench_expect(b, "A dog. A\n", "-4.250000 ||| A A A dog. A\n");
}

static void test_token_scores(void **state)
{
    bench *b = *state;
    b->cfg.token_scores = true;
    bench_expect(b, "a dog\n",
                 "a dog ||| \xe2\x96\x81"
                 "a:-0.500000 \xe2\x96\x81"
                 "dog:-0.500000 </s>:-0.500000\n");
}

static void test_alignment(void **state)
{
    bench *b = *state;
    b->cfg.alignment = true;
    b->cfg.decode.alignment = 1;
    bench_expect(b, "a  dog barks\n\n", "a dog barks ||| 0-0 1-1 2-2\n\n");
    /* Segments count on: words of the line, words of the joined output. */
    b->cfg.source.split = DGM_SPLIT_ALWAYS;
    bench_expect(b, "A dog barks. It is black.\n",
                 "A dog barks. It is black. ||| 0-0 1-1 2-2 3-3 4-4 5-5\n");
    /* A word cut in two is one word still; its halves come out as two. */
    b->cfg.source.split = DGM_SPLIT_AUTO;
    b->cfg.source.max_ids = 8;
    bench_expect(b, "dogplayingdogplayingdog\n", "dogplaying dogplaying dog ||| 0-0 0-1 0-2\n");
}

static void test_split(void **state)
{
    bench *b = *state;
    static const char line[] = "A man is walking. Two dogs play in the snow!  A boy looks.\n";
    bench_expect(b, line, "A man is walking. Two dogs play in the snow! A boy looks.\n");
    assert_int_equal(b->totals.sentences, 1);
    b->cfg.source.split = DGM_SPLIT_ALWAYS;
    bench_expect(b, line, line); /* white space between sentences is the line's */
    assert_int_equal(b->totals.sentences, 3);
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_SPLIT], 1);
    b->cfg.source.split = DGM_SPLIT_AUTO;
    b->cfg.source.max_ids = 8; /* some sentences do not fit: cut between words */
    bench_expect(b, line, line);
    assert_true(b->totals.sentences > 3);
    assert_int_equal(b->totals.flagged, 0);
    b->cfg.source.split = DGM_SPLIT_NEVER;
    bench_expect(b, line, "\n");
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_TOO_LONG], 1);
    assert_int_equal(b->totals.flagged, 1);
}

static void test_long_line(void **state)
{
    bench *b = *state;
    const size_t len = 1000 * 1000;
    char *line = malloc(len + 2);
    for (size_t i = 0; i < len; i += 10)
        memcpy(line + i, "dogs play.", 10);
    for (size_t i = 9; i < len; i += 10)
        line[i] = ' ';
    line[len - 1] = '\n';
    line[len] = '\0';
    bench_expect(b, line, line); /* a megabyte without a full stop: nothing is lost */
    assert_int_equal(b->totals.flagged, 0);
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_SPLIT], 1);
    free(line);
    const size_t too_long = DGM_STREAM_MAX_LINE_BYTES + 100;
    line = malloc(too_long + 1);
    memset(line, 'a', too_long);
    memcpy(line + too_long - 3, "\nb\n", 4);
    bench_expect(b, line, "\nb\n");
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_TOO_LONG], 1);
    free(line);
}

static void test_truncated(void **state)
{
    bench *b = *state;
    b->cfg.decode.max_length = 4;
    bench_expect(b, "a\na dog dog dog\n", "a\na dog\n");
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_TRUNCATED], 1);
    assert_int_equal(b->totals.flagged, 1);
}

static void test_targets(void **state)
{
    bench *b = *state;
    b->cfg.n_targets = 2;
    bench_expect(b, "a dog\n\n", "deu_Latn\ta dog\nzho_Hans\ta dog\ndeu_Latn\t\nzho_Hans\t\n");
    assert_int_equal(b->engine->submitted, 1); /* encoded once */
    /* Chinese sentences are joined without a space. */
    b->cfg.source.split = DGM_SPLIT_ALWAYS;
    bench_expect(b, "A dog. A cat.\n", "deu_Latn\tA dog. A cat.\nzho_Hans\tA dog.A cat.\n");
}

static void test_one_file_a_target(void **state)
{
    bench *b = *state;
    char path[128];
    b->cfg.n_targets = b->cfg.n_outputs = 2;
    (void)snprintf(path, sizeof path, "%s/second", b->dir);
    bench_input(b, "a dog\nb\n", 8);
    assert_int_equal(dgm_writer_open(&b->outputs[1], path), DGM_OK);
    assert_int_equal(bench_run(b), DGM_OK);
    char *first = bench_read(b, "out"), *second = bench_read(b, "second");
    assert_string_equal(first, "a dog\nb\n");
    assert_string_equal(second, "a dog\nb\n");
    free(first);
    free(second);
}

static void test_prefix(void **state)
{
    bench *b = *state;
    bench_beside(b, "ein\n\nzwei\n");
    bench_expect(b, "a dog\na dog\n\n", "ein a dog\na dog\n\n");
    bench_beside(b, "ein\n");
    bench_input(b, "a\nb\n", 4);
    assert_int_equal(bench_run(b), DGM_EINPUT);
    assert_string_equal(dgm_error_text(), "beside: want as many lines as in, found only 1");
    bench_discard(b);
    bench_beside(b, "ein\nzwei\n");
    bench_input(b, "a\n", 2);
    assert_int_equal(bench_run(b), DGM_EINPUT);
    assert_string_equal(dgm_error_text(), "beside: want as many lines as in (1), found more");
    bench_discard(b);
    bench_beside(b, "ein\xff\n");
    bench_expect(b, "a\n", "\n");
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_BAD_INPUT], 1);
    b->cfg.decode.max_length = 5;
    bench_beside(b, "ein ein ein\n");
    bench_expect(b, "a\n", "\n");
    assert_int_equal(b->totals.by_status[DGM_LINE_STATUS_TOO_LONG], 1);
}

static void test_score(void **state)
{
    bench *b = *state;
    b->cfg.score = true;
    b->cfg.source.split = DGM_SPLIT_NEVER;
    bench_beside(b, "a dog\n\na\n");
    bench_expect(b, "x\ny\n\n", "-1.500000\t-0.375000\t4\n\n\n");
    b->cfg.token_scores = true;
    bench_beside(b, "a\n");
    bench_expect(b, "x\n",
                 "-1.000000\t-0.333333\t3\t\xe2\x96\x81"
                 "a:-0.500000 </s>:-0.500000\n");
}

static int32_t piece(const bench *b, const char *word)
{
    int32_t *ids = NULL;
    int n = 0;
    assert_int_equal(dgm_tok_pieces(b->tok, &ids, &n, word, strlen(word)), DGM_OK);
    assert_int_equal(n, 1);
    const int32_t id = ids[0];
    free(ids);
    return id;
}

/* expect_report - runs input `text`, and wants each of `want` [n] in its line of the report. */
static void expect_report(bench *b, const char *text, const char *const *want, int n)
{
    char path[128];
    dgm_writer *report;
    (void)snprintf(path, sizeof path, "%s/report", b->dir);
    assert_int_equal(dgm_writer_open(&report, path), DGM_OK);
    b->cfg.report = report;
    bench_input(b, text, strlen(text));
    assert_int_equal(bench_run(b), DGM_OK);
    dgm_writer_close(report);
    b->cfg.report = NULL;
    char *got = bench_read(b, "report"), *at = got;
    for (int i = 0; i < n; i++) {
        char *end = strchr(at, '\n');
        assert_non_null(end);
        *end = '\0';
        if (strstr(at, want[i]) == NULL)
            fail_msg("want %s in %s", want[i], at);
        at = end + 1;
    }
    assert_string_equal(at, "");
    free(got);
}

/* Lines of four pieces and more are copies here, which a check strikes; a horse is left out the second time. */
static void test_retry(void **state)
{
    bench *b = *state;
    static const char text[] = "a dog\na man and a dog\na man and a horse\n\n";
    b->engine->mends = piece(b, "horse");
    bench_expect(b, text, text);
    assert_int_equal(b->engine->blocked, 0);
    b->cfg.retry = true;
    bench_expect(b, text, "a dog\na man and a dog\na man and a\n\n");
    assert_int_equal(b->engine->blocked, 2);
    assert_int_equal(b->totals.sentences, 3 + 2);
    assert_int_equal(b->totals.retried, 2);
    assert_int_equal(b->totals.retries_taken, 1);
    const char *const want[] = {
        "\"status\":\"ok\",\"src_tokens\":2",
        "\"message\":\"\",\"checks\":[\"copied\"],\"retry\":{\"taken\":\"first\",\"first_score\":-"
        "1.0,"
        "\"second_score\":-3.0,\"first_checks\":[\"copied\"],\"second_checks\":[\"copied\"]}}",
        "\"score\":-3.0,\"seconds\":0.5,\"absent_mass\":0,\"absent_most\":0,\"worst_layer\":null,"
        "\"segments\":1,\"message\":\"\",\"retry\":{\"taken\":\"second\",\"first_score\":-1.0,"
        "\"second_score\":-3.0,\"first_checks\":[\"copied\"],\"second_checks\":[]}}",
        "\"status\":\"empty\""};
    expect_report(b, text, want, 4);
}

/* A line is decoded again as a whole, into those of its targets that need it. */
static void test_retry_of_parts(void **state)
{
    bench *b = *state;
    b->cfg.retry = true;
    b->engine->mends = piece(b, "horse");
    b->cfg.source.split = DGM_SPLIT_ALWAYS;
    bench_expect(b, "A man has a horse. A dog.\n", "A man has a. A dog.\n");
    assert_int_equal(b->totals.sentences, 4);
    b->targets[0].lang = "eng_Latn";
    b->targets[1].lang = "deu_Latn";
    b->cfg.n_targets = 2;
    bench_expect(b, "A man has a horse. A dog.\n",
                 "eng_Latn\tA man has a horse. A dog.\ndeu_Latn\tA man has a. A dog.\n");
    assert_int_equal(b->totals.retried, 1);
    assert_int_equal(b->engine->blocked, 4);
    b->targets[0].lang = "deu_Latn";
    b->targets[1].lang = "zho_Hans"; /* in Latin letters, with or without a horse */
    bench_expect(b, "A man has a horse. A dog.\n",
                 "deu_Latn\tA man has a. A dog.\nzho_Hans\tA man has a horse.A dog.\n");
    assert_int_equal(b->totals.retries_taken, 1);
}

/* Lines stay in order, and what is stopped goes on: a line between its decodings is not done. */
static void test_retry_stops_and_goes_on(void **state)
{
    bench *b = *state;
    char *text = many_lines(4000);
    b->cfg.retry = true;
    bench_expect(b, text, text);
    assert_true(b->totals.retried > 2000);
    bench_discard(b);
    b->engine->finished = 0;
    b->engine->stop_after = 3000;
    bench_input(b, text, strlen(text));
    assert_int_equal(bench_run(b), DGM_OK);
    assert_true(b->totals.stopped);
    char *got = bench_read(b, "out.part");
    assert_in_range(b->totals.lines, 1, 3999);
    assert_memory_equal(got, text, strlen(got));
    free(got);
    b->stop = 0;
    b->engine->stop_after = 0;
    bench_expect(b, text, text);
    free(text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, bench_setup, bench_teardown)
    const struct CMUnitTest tests[] = {
        TEST(order),
        TEST(longest_first),
        TEST(line_ends),
        TEST(empty_input),
        TEST(bad_lines),
        TEST(strict_stops_there),
        TEST(engine_refuses_a_line),
        TEST(engine_breaks),
        TEST(n_best_and_scores),
        TEST(token_scores),
        TEST(alignment),
        TEST(joined_score),
        TEST(split),
        TEST(long_line),
        TEST(truncated),
        TEST(targets),
        TEST(one_file_a_target),
        TEST(prefix),
        TEST(score),
        TEST(retry),
        TEST(retry_of_parts),
        TEST(retry_stops_and_goes_on),
    };
    return cmocka_run_group_tests(tests, bench_open_tokenizer, bench_close_tokenizer);
}

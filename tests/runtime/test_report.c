/* Report lines, word alignment, segments and the progress line: what the stream is made of. */
#include "runtime/progress.h"
#include "runtime/report.h"
#include "runtime/segment.h"
#include "runtime/stream_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static dgm_tokenizer *tok;

static int open_tokenizer(void **state)
{
    (void)state;
    return dgm_tokenizer_open(&tok, "models/multi30k-token", 6206);
}

static int close_tokenizer(void **state)
{
    (void)state;
    dgm_tokenizer_close(tok);
    return 0;
}

static void expect_report(const dgm_line_report *r, const char *want)
{
    char *json = NULL;
    size_t len = 0;
    assert_int_equal(dgm_report_format(&json, &len, r), DGM_OK);
    assert_string_equal(json, want);
    assert_int_equal(len, strlen(json));
    free(json);
}

static void test_report(void **state)
{
    (void)state;
    dgm_line_report r = {.line = 1,
                         .src_tokens = 9,
                         .tgt_tokens = 11,
                         .has_score = true,
                         .score = -0.41,
                         .seconds = 0.02,
                         .segments = 1,
                         .message = ""};
    expect_report(
        &r,
        "{\"line\":1,\"status\":\"ok\",\"src_tokens\":9,\"tgt_tokens\":11,\"score\":-0.41,"
        "\"seconds\":0.02,\"absent_mass\":0,\"absent_most\":0,\"worst_layer\":null,\"segments\":1,"
        "\"message\":\"\"}\n");
    r = (dgm_line_report){.line = UINT64_C(1) << 40,
                          .target = "deu_Latn",
                          .status = DGM_LINE_STATUS_BAD_INPUT,
                          .message = "a \"b\"\n\xff"};
    expect_report(&r, "{\"line\":1099511627776,\"target\":\"deu_Latn\",\"status\":\"bad_input\","
                      "\"src_tokens\":0,\"tgt_tokens\":0,\"score\":null,\"seconds\":0.0,"
                      "\"absent_mass\":0,\"absent_most\":0,\"worst_layer\":null,\"segments\":0,"
                      "\"message\":\"\"}\n");
    r.message = "a \"b\"";
    char *json = NULL;
    size_t len;
    assert_int_equal(dgm_report_format(&json, &len, &r), DGM_OK);
    assert_non_null(strstr(json, "\"message\":\"a \\\"b\\\"\"}"));
    free(json);
}

static void expect_words(const char *text, const int32_t *want, int n_want)
{
    int32_t *ids = NULL, words[64];
    int n = 0;
    assert_int_equal(dgm_tok_encode(tok, &ids, &n, text, strlen(text), 6001, false), DGM_OK);
    assert_true(n <= 64);
    assert_int_equal(dgm_align_source(words, tok, ids, n, text, strlen(text)), DGM_OK);
    assert_int_equal(words[0], -1);
    assert_int_equal(words[n - 1], -1);
    int last = -1, seen = 0;
    for (int i = 1; i < n - 1; i++) {
        assert_true(words[i] >= last);
        if (words[i] != last) {
            assert_true(seen < n_want);
            assert_int_equal(words[i], want[seen]);
            seen++;
        }
        last = words[i];
    }
    assert_int_equal(seen, n_want);
    free(ids);
}

#define WORDS(...)                                                                                 \
    (const int32_t[]){__VA_ARGS__}, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t)

static void test_source_words(void **state)
{
    (void)state;
    expect_words("a dog barks", WORDS(0, 1, 2));
    expect_words("  a \t dog\xe3\x80\x80"
                 "barks ",
                 WORDS(0, 1, 2)); /* ideographic space */
    expect_words("a \xe2\x80\x8b dog",
                 WORDS(0, 2)); /* a word of one zero-width space has no pieces */
    expect_words("unbelievableness dog", WORDS(0, 1));
}

static void test_target_words(void **state)
{
    (void)state;
    int32_t *ids = NULL, words[64];
    int n = 0;
    static const char text[] = "a dog unbelievableness barks";
    assert_int_equal(dgm_tok_encode(tok, &ids, &n, text, strlen(text), 6001, false), DGM_OK);
    assert_int_equal(dgm_align_target(words, tok, ids, n), 4);
    assert_int_equal(words[0], -1);
    assert_int_equal(words[1], 0);
    assert_int_equal(words[2], 1);
    assert_int_equal(words[n - 2], 3);
    free(ids);
    /* A space mark alone is white space: it begins no word of its own. */
    int32_t mark = 4;
    while (strcmp(dgm_tok_piece(tok, mark), "\xe2\x96\x81") != 0)
        mark++;
    int32_t *dog = NULL;
    assert_int_equal(dgm_tok_pieces(tok, &dog, &n, "dog", 3), DGM_OK);
    const int32_t spaced[] = {dog[0], mark, dog[0], mark};
    assert_int_equal(dgm_align_target(words, tok, spaced, 4), 2);
    assert_int_equal(words[1], -1);
    assert_int_equal(words[2], 1);
    assert_int_equal(words[3], -1);
    free(dog);
}

static void test_pairs(void **state)
{
    (void)state;
    const int32_t target_words[] = {-1, 0, 0, 1, 2, -1}, source_words[] = {-1, 0, 1, 1, 2, -1};
    const int16_t looked[] = {1, 4, 4, 2, 0, 1};
    dgm_word_pair pairs[6];
    assert_int_equal(dgm_align_pairs(pairs, target_words, looked, 6, source_words, 6), 2);
    assert_int_equal(pairs[0].source, 1);
    assert_int_equal(pairs[0].target, 1);
    assert_int_equal(pairs[1].source, 2);
    assert_int_equal(pairs[1].target, 0);
    const int16_t nowhere[] = {-1, -1, 99, -5, 6, 0};
    assert_int_equal(dgm_align_pairs(pairs, target_words, nowhere, 6, source_words, 6), 0);
    static const char em_space[] = " a  b\xe2\x80\x83 c ";
    assert_int_equal(dgm_align_count_words(em_space, 0, sizeof em_space - 1), 3);
    assert_int_equal(dgm_align_count_words("   ", 0, 3), 0);
    for (size_t cut = 0; cut < sizeof em_space;
         cut++) /* wherever it is cut, but inside a character */
        if (((unsigned char)em_space[cut] & 0xc0) != 0x80)
            assert_int_equal(dgm_align_count_words(em_space, 0, cut) +
                                 dgm_align_count_words(em_space, cut, sizeof em_space - 1),
                             3);
}

static size_t counted_bytes;
int __real_dgm_align_count_words(const char *text, size_t from, size_t to);
int __wrap_dgm_align_count_words(const char *text, size_t from, size_t to);
int __wrap_dgm_align_count_words(const char *text, size_t from, size_t to)
{
    counted_bytes += to - from;
    return __real_dgm_align_count_words(text, from, to);
}

/* A line in many parts: its words are looked at once, not once a part, or one client's line would keep all others waiting. */
static void test_pairs_of_many_parts(void **state)
{
    enum { PARTS = 5000, EACH = 3 };
    static char text[PARTS * EACH + 1];
    static dgm_segment at[PARTS];
    static dgm_stream_part parts[PARTS];
    dgm_word_pair own = {0, 0}, *pairs;
    dgm_stream_hyp hyp = {.text = "x", .len = 1, .pairs = &own, .n_pairs = 1, .n_words = 1};
    const dgm_stream_target target = {.lang = "deu_Latn"};
    const dgm_stream_config cfg = {.targets = &target, .n_targets = 1};
    int n;
    (void)state;
    for (size_t i = 0; i < PARTS; i++) {
        memcpy(text + i * EACH, "x. ", EACH);
        at[i] = (dgm_segment){.begin = i * EACH, .end = i * EACH + 2};
        parts[i] = (dgm_stream_part){.hyps = &hyp, .n_hyps = 1};
    }
    const dgm_stream_line l = {
        .text = text, .len = sizeof text - 1, .segments = {at, PARTS, PARTS}, .parts = parts};
    counted_bytes = 0;
    assert_int_equal(dgm_stream_line_pairs(&pairs, &n, &l, &cfg, 0, 0), DGM_OK);
    assert_int_equal(n, PARTS);
    for (int i = 0; i < PARTS; i++)
        assert_true(pairs[i].source == i && pairs[i].target == i);
    free(pairs);
    assert_in_range(counted_bytes, l.len / 2, l.len);
}

static void test_segments(void **state)
{
    (void)state;
    dgm_segment_config cfg = {
        .tok = tok, .lang = "eng_Latn", .code = 6001, .max_ids = 12, .split = DGM_SPLIT_AUTO};
    static const char text[] = "A dog. A man in a red hat walks along the street. A cat.";
    dgm_segments s;
    assert_int_equal(dgm_segment_line(&s, &cfg, text, strlen(text)), DGM_OK);
    assert_true(s.n >= 3);
    size_t end = 0;
    for (int i = 0; i < s.n; i++) {
        assert_true(s.at[i].n <= 12 && s.at[i].n > 2);
        assert_int_equal(s.at[i].ids[0], 6001);
        assert_int_equal(s.at[i].ids[s.at[i].n - 1], 2);
        for (; end < s.at[i].begin; end++)
            assert_int_equal(text[end], ' '); /* nothing but white space is left out */
        end = s.at[i].end;
    }
    assert_int_equal(end, strlen(text));
    size_t len;
    assert_string_equal(dgm_segment_gap(&len, &s, 0, text, "deu_Latn"), "");
    assert_int_equal(len, 0);
    (void)dgm_segment_gap(&len, &s, 1, text, "deu_Latn");
    assert_int_equal(len, 1);
    (void)dgm_segment_gap(&len, &s, 1, text, "jpn_Jpan");
    assert_int_equal(len, 0);
    dgm_segments_free(&s);
    cfg.split = DGM_SPLIT_NEVER;
    assert_int_equal(dgm_segment_line(&s, &cfg, text, strlen(text)), DGM_ETEXT);
    assert_non_null(strstr(dgm_error_text(), "want at most 12 tokens, found"));
    assert_int_equal(s.n, 0);
    cfg.split = DGM_SPLIT_AUTO;
    cfg.max_ids = 2; /* code and </s> alone: no text fits */
    assert_int_equal(dgm_segment_line(&s, &cfg, text, strlen(text)), DGM_ETEXT);
    assert_int_equal(s.n, 0);
}

static void test_gap_of_text_without_spaces(void **state)
{
    (void)state;
    dgm_segment at[] = {{.begin = 0, .end = 3}, {.begin = 3, .end = 6}};
    const dgm_segments s = {at, 2, 2};
    size_t len;
    assert_string_equal(dgm_segment_gap(&len, &s, 1, "abcdef", "eng_Latn"), " ");
    assert_int_equal(len, 1);
    (void)dgm_segment_gap(&len, &s, 1, "abcdef", "zho_Hant");
    assert_int_equal(len, 0);
}

static void test_progress(void **state)
{
    (void)state;
    char text[128];
    dgm_progress_format(text, sizeof text, 1204, 33100, 10, 0, 0);
    assert_string_equal(text, "1,204 lines  3,310 tokens/s");
    dgm_progress_format(text, sizeof text, 1234567, 5, 10, 100, 7300);
    assert_string_equal(text, "1,234,567 lines  1 tokens/s  0:12:00 left");
    dgm_progress_format(text, sizeof text, 3, 0, 0, 10, 10);
    assert_string_equal(text, "3 lines  0 tokens/s  0:00:00 left");
    dgm_progress_format(text, 8, 1204, 33100, 10, 1, 2); /* a short buffer is only cut */
    assert_string_equal(text, "1,204 l");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_source_words),
        cmocka_unit_test(test_target_words),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_pairs_of_many_parts),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_gap_of_text_without_spaces),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}

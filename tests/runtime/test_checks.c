/* Each check strikes what it is for, and nothing next to it. */
#include "runtime/checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static unsigned of(const char *source, const char *translation, const char *src, const char *tgt,
                   int src_tokens, int tgt_tokens)
{
    const dgm_check_text t = {.source = source,
                              .source_len = strlen(source),
                              .translation = translation,
                              .translation_len = strlen(translation),
                              .src = src,
                              .tgt = tgt,
                              .src_tokens = src_tokens,
                              .tgt_tokens = tgt_tokens,
                              .ended = true};
    return dgm_checks(&t);
}

static unsigned script(const char *translation, const char *tgt)
{
    return of("x", translation, "eng_Latn", tgt, 5, 5) & DGM_CHECK_WRONG_SCRIPT;
}

static void scripts(void **state)
{
    (void)state;
    assert_int_equal(script("Der Hund läuft über die Straße.", "deu_Latn"), 0);
    assert_int_equal(script("Собака бежит по улице.", "rus_Cyrl"), 0);
    assert_true(script("Собака бежит по улице.", "deu_Latn"));
    assert_true(script("The dog runs in the street.", "rus_Cyrl"));
    assert_int_equal(script("NATO, UNO: собака бежит", "rus_Cyrl"), 0); /* names in between */
    assert_int_equal(script("The dog", "rus_Cyrl"), 0);                 /* 6 letters */
    assert_int_equal(script("1234567890 ... !!!", "rus_Cyrl"), 0);
    assert_int_equal(script("犬が道を走っています。", "jpn_Jpan"), 0);
    assert_int_equal(script("カタカナトカンジ", "jpn_Jpan"), 0);
    assert_int_equal(script("一只狗在街上奔跑着。", "zho_Hans"), 0);
    assert_true(script("一只狗在街上奔跑着。", "kor_Hang") == 0); /* Hanja is Korean, too */
    assert_true(script("カタカナトヒラガナ", "zho_Hans"));
    assert_int_equal(script("개가 거리에서 달리고 있다.", "kor_Hang"), 0);
    assert_int_equal(script("कुत्ता सड़क पर दौड़ता है", "hin_Deva"), 0);
    assert_true(script("कुत्ता सड़क पर दौड़ता है", "urd_Arab"));
    assert_int_equal(script("anything at all", "xxx_Nope"), 0);
    assert_int_equal(script("anything at all", "strange"), 0);
}

static void copies(void **state)
{
    (void)state;
    assert_int_equal(of("A man walks.", "A man walks.", "eng_Latn", "deu_Latn", 4, 4),
                     DGM_CHECK_COPIED);
    assert_int_equal(of("A man walks.", "A man walks!", "eng_Latn", "deu_Latn", 4, 4), 0);
    assert_int_equal(of("A man walks.", "A man walks.", "eng_Latn", "eng_Latn", 4, 4), 0);
    assert_int_equal(of("Berlin 2024", "Berlin 2024", "eng_Latn", "deu_Latn", 3, 3), 0);
}

static void lengths(void **state)
{
    (void)state;
    assert_int_equal(of("a", "b", "eng_Latn", "deu_Latn", 5, 20), 0);
    assert_int_equal(of("a", "b", "eng_Latn", "deu_Latn", 5, 21), DGM_CHECK_LENGTH_RATIO);
    assert_int_equal(of("a", "b", "eng_Latn", "deu_Latn", 21, 5), DGM_CHECK_LENGTH_RATIO);
    assert_int_equal(of("a", "b", "eng_Latn", "deu_Latn", 1, 19), 0);
}

static void what_the_search_saw(void **state)
{
    (void)state;
    dgm_check_text t = {
        .source = "a", .translation = "b", .src = "eng_Latn", .tgt = "deu_Latn", .looped = true};
    assert_int_equal(dgm_checks(&t), DGM_CHECK_LOOPED | DGM_CHECK_NO_END);
    assert_string_equal(dgm_check_name(1), "looped");
    assert_string_equal(dgm_check_name(DGM_CHECKS - 1), "no_end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scripts),
        cmocka_unit_test(copies),
        cmocka_unit_test(lengths),
        cmocka_unit_test(what_the_search_saw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

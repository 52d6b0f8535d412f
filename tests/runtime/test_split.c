/* Sentences, words, white space and UTF-8, on real text. */
#include "runtime/split.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The parts of a text with "|" between them; for sentences when max_bytes is 0, else for words. */
static char *parts(const char *text, const char *lang, size_t max_bytes)
{
    dgm_span *s;
    int n;
    const size_t len = strlen(text);
    const int rc = max_bytes == 0 ? dgm_split_sentences(&s, &n, text, len, lang)
                                  : dgm_split_words(&s, &n, text, len, lang, max_bytes);
    assert_int_equal(rc, DGM_OK);
    assert_true(n >= 1);
    char *joined = calloc(len + (size_t)n + 1, 1), *end = joined;
    for (int i = 0; i < n; i++) {
        assert_true(s[i].begin <= s[i].end && s[i].end <= len);
        assert_true(i == 0 || s[i].begin >= s[i - 1].end);
        assert_true(max_bytes == 0 || s[i].end - s[i].begin <= max_bytes);
        end += sprintf(end, "%s%.*s", i == 0 ? "" : "|", (int)(s[i].end - s[i].begin),
                       text + s[i].begin);
    }
    free(s);
    return joined;
}

/* want: the text with "|" (and no space) where it is to be split. */
static void check(const char *lang, const char *text, size_t max_bytes, const char *want)
{
    char *got = parts(text, lang, max_bytes);
    if (strcmp(got, want) != 0)
        fail_msg("%s, %zu bytes\n text %s\n want %s\nfound %s", lang, max_bytes, text, want, got);
    free(got);
}

/* Sentences written as they are to be found: the text is the same with spaces for bars. */
static void sentences(const char *lang, const char *want)
{
    char *text = strdup(want);
    for (char *s = text; *s != '\0'; s++)
        if (*s == '|')
            *s = ' ';
    check(lang, text, 0, want);
    free(text);
}

static void test_plain(void **state)
{
    (void)state;
    sentences("eng_Latn", "A man sits on a bench.|A dog runs!|Why?|Nobody knows...|The end");
    sentences("eng_Latn", "One sentence alone.");
    sentences("eng_Latn", "no sentence at all");
    sentences("xyz_Latn", "An unknown language.|It has rules too.");
    sentences("spa_Latn", "¿Cómo estás?|¡Muy bien!|El Sr. García llegó.");
    sentences("rus_Cyrl", "Он читает книгу.|Она смеётся!|Почему?");
    check("eng_Latn", "  Two.   Spaces \t stay  inside. ", 0, "Two.|Spaces \t stay  inside.");
    check("eng_Latn", "A line\rseparator\xE2\x80\xA8here.", 0, "A line|separator|here.");
    check("eng_Latn", "", 0, "");
    check("eng_Latn", " \xC2\xA0\xE3\x80\x80 ", 0, "");
}

static void test_scripts(void **state)
{
    (void)state;
    check("zho_Hans", "我能吞下玻璃。你呢？当然！好", 0, "我能吞下玻璃。|你呢？|当然！|好");
    check("zho_Hans", "他说：“好的。”我们走吧。", 0, "他说：“好的。”|我们走吧。");
    check("jpn_Jpan", "犬が走る。猫が寝る！本当？", 0, "犬が走る。|猫が寝る！|本当？");
    check("jpn_Jpan", "「はい。」と言った。そして帰った。", 0,
          "「はい。」と言った。|そして帰った。");
    sentences("kor_Hang", "네.|좋아요.|정말?");
    sentences("hin_Deva", "यह एक वाक्य है।|यह दूसरा है।|क्या आप ठीक हैं?");
    sentences("arb_Arab", "هل أنت بخير؟|نعم.|شكرا لك!");
    sentences("urd_Arab", "یہ ایک کتاب ہے۔|وہ کیا ہے؟");
    sentences("ell_Grek", "Τι κάνεις;|Καλά είμαι.");
    sentences("amh_Ethi", "ሰላም ነው።|እንዴት ነህ?");
    sentences("hye_Armn", "Ես գնում եմ։|Նա գալիս է։");
    sentences("mya_Mymr", "သူသွားသည်။|ငါလာသည်။");
}

static void test_abbreviations(void **state)
{
    (void)state;
    sentences("eng_Latn",
              "Dr. Smith met Mr. J. R. Jones on St. Mary's Rd. near Bath.|They talked.");
    sentences("eng_Latn", "See e.g. Fig. 5 and No. 7.|No.|I won't.");
    sentences("eng_Latn", "He lives in the U.S. Army base.|It costs $3.50 or so.");
    sentences("deu_Latn", "Dr. Müller kommt z. B. mit dem Zug, d.h. spät.|Das stimmt.");
    sentences("deu_Latn",
              "Am 3. Mai sah er Nr. 5.|Das 20. Jahrhundert war lang.|Ludwig XIV. starb.");
    sentences("deu_Latn", "Geboren am 3. 5. 2020 in Bonn.|Gestorben nie.");
    sentences("deu_Latn", "Um 400 v. Chr. lebte er.|Vgl. Abb. 3 dort.");
    sentences("fra_Latn", "M. Dupont arrive av. midi.|C'est l'av. Foch, p.ex. le no 5.|Oui.");
    sentences("ces_Latn", "Např. dnes přišel Ing. Novák z firmy s.r.o. Alfa.|Bydlí na č. 5.|Je 3. "
                          "prosince.|Karel IV. byl král.");
    sentences("eng_Latn", "(See vs. Dr. Who.)|Then go.");
}

/* Words that only end like an abbreviation do end sentences: "r." is one in German, "er." is not. */
static void test_no_abbreviations(void **state)
{
    (void)state;
    sentences("deu_Latn", "Dann ging er.|Anna blieb.|Er starb.|Das war es.|Der Film lief.|So kam "
                          "sie am Nachmittag.|Ja.");
    sentences("deu_Latn", "Das war 1990.|Dann kam sie.");
    sentences("eng_Latn",
              "He was born in 1990.|Then he went up.|She is not small.|It is what it was.|Go on.");
    sentences("eng_Latn", "They saw 12.|Then five."); /* no ordinals in English */
    sentences("fra_Latn", "Il est venu.|Elle part.");
}

static void test_quotations(void **state)
{
    (void)state;
    sentences("eng_Latn", "\"Really?\" he asked.|\"Yes.\"|She left.");
    sentences("eng_Latn", "“It is late!” she said.|“So what?”");
    sentences("deu_Latn", "„Kommst du?“ fragte er.|„Ja.“|Dann ging er.");
    sentences("fra_Latn", "« Vraiment ? » demanda-t-elle.|Oui.");
    sentences("ces_Latn", "„Opravdu?“ zeptal se.|Šel domů.");
    sentences("rus_Cyrl", "– Правда? – спросил он.|Да.");
}

/* What has no words goes with its neighbour. */
static void test_fragments(void **state)
{
    (void)state;
    sentences("eng_Latn", "1. Take the bread.|2. Cut it.");
    sentences("eng_Latn", "It works. !!!|Good. ...");
    check("eng_Latn", "... !!! ?", 0, "... !!! ?");
    check("eng_Latn", "Nice! 😀😀! Yes.", 0, "Nice! 😀😀!|Yes.");
}

static void test_words(void **state)
{
    (void)state;
    check("eng_Latn", "a short line", 100, "a short line");
    check("eng_Latn", "the quick brown fox jumps", 11, "the quick|brown fox|jumps");
    check("eng_Latn", "  spaces   around   words  ", 8, "spaces|around|words");
    check("eng_Latn", "abcdefghij", 4, "abcd|efgh|ij");
    /* After a comma in the second half rather than at the last word. */
    check("eng_Latn", "he came home early, and then he slept", 30,
          "he came home early,|and then he slept");
    check("eng_Latn", "oh, he came home early and then he slept", 30,
          "oh, he came home early and|then he slept");
    check("zho_Hans", "我能吞下玻璃而不伤身体", 9, "我能吞|下玻璃|而不伤|身体");
    check("tha_Thai", "สวัสดีครับผมชื่อสมชาย", 30, "สวัสดีครับ|ผมชื่อ|สมชาย");
    check("eng_Latn", "", 4, "");
    check("eng_Latn", "   ", 4, "");
}

/* Where there is no border a reader's characters stay whole as long as they fit. */
static void test_graphemes(void **state)
{
    (void)state;
    check("eng_Latn",
          "e\xCC\x81"
          "e\xCC\x81"
          "e\xCC\x81",
          4, "e\xCC\x81|e\xCC\x81|e\xCC\x81");
    check("eng_Latn", "👨‍👩‍👧👨‍👩‍👧", 20,
          "👨‍👩‍👧|👨‍👩‍👧");
    check("eng_Latn", "👨‍👩‍👧", 4,
          "👨|\xE2\x80\x8D|👩|\xE2\x80\x8D|👧"); /* does not fit: characters */
}

static void *split_often(void *arg)
{
    static const char *const langs[] = {"eng_Latn", "deu_Latn", "jpn_Jpan", "ell_Grek", "fra_Latn"};
    const char text[] = "Dr. No said so. Then he left.";
    for (int i = 0; i < 50; i++) {
        dgm_span *s;
        int n;
        if (dgm_split_sentences(&s, &n, text, strlen(text), langs[i % 5]) != DGM_OK)
            return arg;
        free(s);
        if (dgm_split_words(&s, &n, text, strlen(text), langs[i % 5], 10) != DGM_OK)
            return arg;
        free(s);
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, split_often, (void *)&state), 0);
    for (int i = 0; i < 3; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

/* Hostile repeats, a megabyte of each: whatever takes quadratic time runs into the timeout. */
static void test_large_texts(void **state)
{
    (void)state;
    static const char *const units[] = {"! ",      "a. ", "あ.い.", "。", ". ",
                                        "\"x.\" ", "1. ", "a",      "( ", "» a! "};
    enum { SIZE = 1 << 20 };
    char *text = malloc(SIZE);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        const size_t n = strlen(units[u]), whole = SIZE / n * n;
        for (size_t i = 0; i < whole; i += n)
            memcpy(text + i, units[u], n);
        dgm_span *s;
        int count;
        assert_int_equal(dgm_split_sentences(&s, &count, text, whole, "deu_Latn"), DGM_OK);
        free(s);
        assert_int_equal(dgm_split_words(&s, &count, text, whole, "deu_Latn", 1000), DGM_OK);
        assert_true(count >= (int)(whole / 1000));
        free(s);
    }
    free(text);
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len, bad_at; /* bad_at == len: valid */
    } rows[] = {
        {"", 0, 0},
        {"plain ASCII text, longer than eight", 35, 35},
        {"\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 18, 18},
        {"\xED\x9F\xBF\xEE\x80\x80", 6, 6},
        {"\0", 1, 0},
        {"1234567\0", 8, 7},
        {"12345678\x80", 9, 8},
        {"a\xC1\xBF", 3, 1},
        {"a\xC2", 2, 1},
        {"\xC2\x41", 2, 0},
        {"\xE0\x9F\xBF", 3, 0},
        {"\xED\xA0\x80", 3, 0},
        {"\xEF\xBF", 2, 0},
        {"\xF0\x8F\xBF\xBF", 4, 0},
        {"\xF4\x90\x80\x80", 4, 0},
        {"\xF5\x80\x80\x80", 4, 0},
        {"\xFE", 1, 0},
        {"ok\xF0\x9F\x98", 5, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t bad_at = rows[i].len;
        assert_int_equal(dgm_utf8_check(rows[i].text, rows[i].len, &bad_at),
                         rows[i].bad_at == rows[i].len);
        assert_int_equal(bad_at, rows[i].bad_at);
    }
}

/* Every code point, in every place of a group of eight, against the definition. */
static void test_all_code_points(void **state)
{
    (void)state;
    for (uint32_t c = 1; c <= 0x110100; c++) {
        char s[16] = "xxxxxxx";
        const size_t at = c % 8;
        size_t n = at, bad_at = 0;
        if (c < 0x80) {
            s[n++] = (char)c;
        } else if (c < 0x800) {
            s[n++] = (char)(0xC0 | c >> 6);
        } else if (c < 0x10000) {
            s[n++] = (char)(0xE0 | c >> 12);
            s[n++] = (char)(0x80 | (c >> 6 & 0x3F));
        } else {
            s[n++] = (char)(0xF0 | c >> 18);
            s[n++] = (char)(0x80 | (c >> 12 & 0x3F));
            s[n++] = (char)(0x80 | (c >> 6 & 0x3F));
        }
        if (c >= 0x80)
            s[n++] = (char)(0x80 | (c & 0x3F));
        const bool valid = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
        assert_int_equal(dgm_utf8_check(s, n, &bad_at), valid);
        assert_true(valid || bad_at == at);
    }
}

static void test_blank(void **state)
{
    (void)state;
    static const char *const blank[] = {"",
                                        " ",
                                        "\t\v\f\r ",
                                        "\xC2\x85",
                                        "\xC2\xA0",
                                        "\xE1\x9A\x80",
                                        "\xE2\x80\x80",
                                        "\xE2\x80\x8A",
                                        "\xE2\x80\xA8\xE2\x80\xA9",
                                        "\xE2\x80\xAF",
                                        "\xE2\x81\x9F",
                                        " \xE3\x80\x80 "};
    static const char *const not_blank[] = {
        "a",    " . ",  "\xE2\x80\x8B", "\xEF\xBB\xBF", "\xC2\xAD", "\xE2\x96\x81",
        "\x1C", "\xC2", "\xE2\x80",     "\xE1\xA0\x8E"};
    for (size_t i = 0; i < sizeof blank / sizeof blank[0]; i++)
        assert_true(dgm_text_blank(blank[i], strlen(blank[i])));
    for (size_t i = 0; i < sizeof not_blank / sizeof not_blank[0]; i++)
        assert_false(dgm_text_blank(not_blank[i], strlen(not_blank[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),           cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_abbreviations),   cmocka_unit_test(test_no_abbreviations),
        cmocka_unit_test(test_quotations),      cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_words),           cmocka_unit_test(test_graphemes),
        cmocka_unit_test(test_large_texts),     cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_all_code_points), cmocka_unit_test(test_blank),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

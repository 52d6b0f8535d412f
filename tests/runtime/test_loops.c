/* Texts that go round in circles, found by the rule and slowly. */
#include "runtime/loops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* loops_slowly - some block stands LOOP_TIMES times or more, together LOOP_PIECES or more; the last one may be cut. */
static bool loops_slowly(const int32_t *ids, int n)
{
    for (int from = 0; from < n; from++)
        for (int block = 1; from + block <= n; block++) {
            int end = from + block;
            while (end < n && ids[end] == ids[end - block])
                end++;
            if (end - from >= DGM_LOOP_TIMES * block && end - from >= DGM_LOOP_PIECES)
                return true;
        }
    return false;
}

static bool loops_text(const char *text)
{
    int32_t ids[64] = {0};
    const int n = (int)strlen(text);
    for (int i = 0; i < n; i++)
        ids[i] = text[i];
    return dgm_loops(ids, n);
}

static void test_examples(void **state)
{
    (void)state;
    assert_false(loops_text(""));
    assert_false(loops_text("a"));
    assert_false(loops_text("aaaaaaa"));       /* 7 of one: dots, exclamation marks */
    assert_true(loops_text("aaaaaaaa"));       /* 8 */
    assert_false(loops_text("xabababy"));      /* 3 times */
    assert_true(loops_text("xababababy"));     /* 4 times, 8 pieces */
    assert_false(loops_text("xabcabcabcaby")); /* not 4 times whole */
    assert_true(loops_text("xabcabcabcabcy"));
    assert_true(loops_text("a man abcdeabcdeabcdeabcde"));
    assert_false(loops_text("a man in a red shirt and a man in a blue shirt"));
}

static void test_against_slow(void **state)
{
    (void)state;
    uint32_t x = 3;
    int found = 0;
    for (int t = 0; t < 20000; t++) {
        int32_t ids[24];
        const int n = t % 25;
        for (int i = 0; i < n; i++) {
            x = x * 1664525u + 1013904223u;
            ids[i] = i >= 3 && (x >> 28) != 0 ? ids[i - 1 - t % 3] : (int32_t)(x >> 26 & 3);
        }
        assert_int_equal(dgm_loops(ids, n), loops_slowly(ids, n));
        found += dgm_loops(ids, n);
    }
    assert_true(found > 1000 && found < 19000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_against_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

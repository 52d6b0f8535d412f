/* Answers that are given again: only to what is equal in all that bears on them, and never more of them than there is room for. */
#include "runtime/answer_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { KIB = 1024 };

static int32_t prefix[] = {7, 8};

/* asked - for a line; its text is the caller's. */
static dgm_request asked(char *text)
{
    dgm_request r = {.line = {.text = text, .len = strlen(text)},
                     .cfg = {.source = {.code = 4}, .decode = {.beam = 4, .n_best = 1}},
                     .target = {.code = 5}};
    return r;
}

static void keep(dgm_answer_cache *c, const dgm_request *r, const char *text)
{
    const dgm_wire_hypothesis h = {.text = text, .text_len = strlen(text), .score = -1.5};
    const dgm_wire_answer a = {.status = DGM_WIRE_STATUS_OK,
                               .hyps = &h,
                               .n_hyps = 1,
                               .src_tokens = 3,
                               .worst_layer = "decoder 2",
                               .message = ""};
    dgm_answer_cache_keep(c, r, &a);
}

/* found - what would be answered; NULL: it is not there. */
static const char *found(dgm_answer_cache *c, const dgm_request *r)
{
    static dgm_wire_answer a;
    const bool there = dgm_answer_cache_has(c, r);
    assert_int_equal(dgm_answer_cache_find(c, &a, r), there);
    if (!there)
        return NULL;
    assert_true(a.cached);
    assert_int_equal(a.src_tokens, 3);
    assert_string_equal(a.worst_layer, "decoder 2");
    assert_true(a.hyps[0].score == -1.5);
    return a.hyps[0].text;
}

static dgm_answer_cache *create(size_t bytes)
{
    dgm_answer_cache *c;
    assert_int_equal(dgm_answer_cache_create(&c, bytes), DGM_OK);
    return c;
}

static void only_the_same_is_found(void **state)
{
    (void)state;
    dgm_answer_cache *c = create(64 * KIB);
    dgm_request all[11];
    for (int i = 0; i < 11; i++)
        all[i] = asked("A man.");
    all[1].cfg.source.code = 6;
    all[2].target.code = 6;
    all[3].cfg.source.split = DGM_SPLIT_ALWAYS;
    all[4].cfg.retry = true;
    all[5].cfg.decode.beam = 1;
    all[6].cfg.decode.n_best = 2;
    all[7].line.beside = prefix;
    all[7].line.n_beside = 1;
    all[8].line.beside = prefix;
    all[8].line.n_beside = 2;
    all[9].line.beside = prefix + 1;
    all[9].line.n_beside = 1;
    all[10] = asked("A man");
    for (int i = 0; i < 11; i++) {
        char text[24];
        assert_null(found(c, &all[i]));
        (void)snprintf(text, sizeof text, "Antwort %d", i);
        keep(c, &all[i], text);
        keep(c, &all[i], "a later one");
        for (int k = 0; k <= i; k++) {
            (void)snprintf(text, sizeof text, "Antwort %d", k);
            assert_string_equal(found(c, &all[k]), text);
        }
    }
    dgm_request seed = all[0]; /* of drawing alone */
    seed.cfg.decode.seed = 3;
    assert_string_equal(found(c, &seed), "Antwort 0");
    const dgm_answer_cache_state is = dgm_answer_cache_look(c);
    assert_int_equal(is.entries, 11);
    assert_int_equal(is.misses, 11);
    assert_int_equal(is.hits, 66 + 1);
    dgm_answer_cache_destroy(c);
}

static void some_are_not_kept(void **state)
{
    (void)state;
    dgm_answer_cache *c = create(64 * KIB), *none = create(0);
    static char large[20 * KIB];
    memset(large, 'a', sizeof large - 1);
    dgm_request r[] = {asked("A man."), asked("A man."), asked("A man."), asked(large)};
    r[0].cfg.decode.sampling = 1;
    r[1].cfg.token_scores = true;
    r[2].cfg.alignment = true; /* the last is more than a quarter of all */
    for (int i = 0; i < 4; i++) {
        keep(c, &r[i], "Ein Mann.");
        assert_null(found(c, &r[i]));
    }
    dgm_request plain = asked("A man.");
    keep(none, &plain, "Ein Mann.");
    assert_null(found(none, &plain));
    const dgm_wire_answer failed = {.status = DGM_WIRE_STATUS_FAILED, .message = "why"};
    dgm_answer_cache_keep(c, &plain, &failed);
    assert_null(found(c, &plain));
    dgm_answer_cache_destroy(c);
    dgm_answer_cache_destroy(none);
}

/* A line that is asked for again and again stays, the others go in their order, and never are there more bytes than were given. */
static void what_was_not_used_for_longest_goes(void **state)
{
    (void)state;
    enum { LINES = 200 };
    static char texts[LINES][24];
    dgm_answer_cache *c = create(16 * KIB);
    char first[] = "the first";
    const dgm_request hot = asked(first);
    keep(c, &hot, "immer");
    int there = 0, oldest = -1;
    for (int i = 0; i < LINES; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "line %d", i);
        const dgm_request r = asked(texts[i]);
        keep(c, &r, texts[i]);
        assert_string_equal(found(c, &hot), "immer");
        assert_true(dgm_answer_cache_look(c).bytes <= 16 * KIB);
    }
    for (int i = 0; i < LINES; i++) {
        const dgm_request r = asked(texts[i]);
        const char *text = found(c, &r);
        if (text != NULL)
            assert_string_equal(text, texts[i]);
        else
            oldest = i;
        there += text != NULL;
    }
    assert_int_equal(there, LINES - 1 - oldest); /* the latest, without a gap */
    assert_int_equal(dgm_answer_cache_look(c).entries, there + 1);
    assert_in_range(there, 10, LINES / 2);
    assert_true(dgm_answer_cache_look(c).bytes > 15 * KIB);
    dgm_answer_cache_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_same_is_found),
        cmocka_unit_test(some_are_not_kept),
        cmocka_unit_test(what_was_not_used_for_longest_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

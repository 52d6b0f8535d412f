/*
 * Sampling: the generator's known answers, the kept ids and their probabilities against Hugging
 * Face (tests/golden/search/sampling.txt), and draws through a whole search.
 */
#include "runtime/processors.h"
#include "runtime/sampling.h"
#include "tests/runtime/test_search_feed.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { EOS = 2, MAX_VOCAB = 64, MAX_LENGTH = 32, DRAWS = 2048 };

/* The answers that come with the authors' Random123 library. */
static void philox_gives_the_known_answers(void **state)
{
    (void)state;
    static const uint32_t known[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        dgm_sampling_philox(out, known[i], known[i] + 4);
        assert_memory_equal(out, known[i] + 6, sizeof out);
    }
}

static void every_part_of_the_key_counts(void **state)
{
    (void)state;
    const uint64_t high = (uint64_t)1 << 40, bits = dgm_sampling_bits(1, 2, 3);
    assert_int_equal(bits, dgm_sampling_bits(1, 2, 3));
    assert_int_not_equal(bits, dgm_sampling_bits(1 + high, 2, 3));
    assert_int_not_equal(bits, dgm_sampling_bits(0, 2, 3));
    assert_int_not_equal(bits, dgm_sampling_bits(1, 2 + high, 3));
    assert_int_not_equal(bits, dgm_sampling_bits(1, 3, 3));
    assert_int_not_equal(bits, dgm_sampling_bits(1, 2, 4));
}

/* Evenly spaced bits give each id its probability. */
static void count_draws(int *count, const float *z, int n, const dgm_decode_options *o)
{
    float copy[MAX_VOCAB];
    memset(count, 0, (size_t)n * sizeof *count);
    for (uint64_t i = 0; i < DRAWS; i++) {
        memcpy(copy, z, (size_t)n * sizeof *z);
        const int32_t id = dgm_sampling_draw(copy, n, o, i * (UINT64_MAX / DRAWS));
        assert_in_range(id, 0, n - 1);
        count[id]++;
    }
}

typedef struct golden {
    dgm_decode_options opt;
    feed_hash_model model;
    int vocab, n_history;
    int32_t history[MAX_LENGTH];
    double p[MAX_VOCAB];
} golden;

static double number(char **at)
{
    char *end;
    const double x = strtod(*at, &end);
    if (end == *at)
        fail_msg("a number is missing at '%.20s'", *at);
    *at = end;
    return x;
}

static void parse(golden *g, char *at)
{
    memset(g, 0, sizeof *g);
    g->opt = feed_options(1, MAX_LENGTH);
    g->opt.sampling = 1;
    g->opt.no_repeat_ngram = (int)number(&at);
    g->opt.min_length = (int)number(&at);
    g->opt.repetition_penalty = (float)number(&at);
    g->opt.sampling_topk = (int)number(&at);
    g->opt.sampling_topp = (float)number(&at);
    g->opt.temperature = (float)number(&at);
    g->vocab = (int)number(&at);
    g->model.spread = (float)number(&at);
    g->model.bonus = (float)number(&at);
    g->model.seed = (uint64_t)number(&at);
    g->n_history = (int)number(&at);
    for (int i = 0; i < g->n_history; i++)
        g->history[i] = (int32_t)number(&at);
    for (int n = (int)number(&at); n > 0; n--) {
        const int id = (int)number(&at);
        assert_in_range(id, 0, g->vocab - 1);
        g->p[id] = number(&at);
    }
}

static void processed(float *z, const golden *g)
{
    dgm_processors p;
    void *mem = malloc(dgm_processors_bytes(&g->opt));
    dgm_processors_init(&p, mem, &g->opt, g->history, g->n_history);
    dgm_processors_read(&p, g->history, g->n_history);
    feed_hash((void *)&g->model, z, g->vocab, g->history, g->n_history);
    for (int i = 0; i < g->vocab; i++)
        z[i] = dgm_processors_apply(&p, i, z[i]);
    free(mem);
}

static void keeps_what_hugging_face_keeps(void **state)
{
    (void)state;
    FILE *in = fopen("tests/golden/search/sampling.txt", "r");
    assert_non_null(in);
    static char line[8192];
    int n = 0, wrong = 0;
    while (fgets(line, sizeof line, in) != NULL) {
        golden g;
        float z[MAX_VOCAB];
        int count[MAX_VOCAB];
        parse(&g, line);
        processed(z, &g);
        count_draws(count, z, g.vocab, &g.opt);
        n++;
        for (int i = 0; i < g.vocab; i++) {
            const double found = (double)count[i] / DRAWS;
            if (fabs(found - g.p[i]) <= 1.5 / DRAWS && (count[i] == 0 || g.p[i] > 0))
                continue;
            wrong++;
            print_message("line %d, id %d: want %.6f, found %.6f\n", n, i, g.p[i], found);
        }
    }
    fclose(in);
    assert_true(n >= 80);
    assert_int_equal(wrong, 0);
}

static void edges_of_top_k_and_top_p(void **state)
{
    (void)state;
    const float z[] = {1, 3, 3, 2, 3}, none[] = {-INFINITY, -INFINITY};
    int count[5];
    dgm_decode_options o = feed_options(1, MAX_LENGTH);
    o.sampling_topk = 2; /* ties with the second best stay */
    count_draws(count, z, 5, &o);
    assert_true(count[1] > 0 && count[2] > 0 && count[4] > 0 && count[0] == 0 && count[3] == 0);
    o.sampling_topk = 5;
    count_draws(count, z, 5, &o);
    assert_true(count[0] > 0);
    o.sampling_topk = 0;
    o.sampling_topp = 0; /* the best stays; the lowest id of equal ones */
    count_draws(count, z, 5, &o);
    assert_int_equal(count[1], DRAWS);
    o.sampling_topp = 0.5f; /* of three with 0.3 each, two are needed */
    count_draws(count, z, 5, &o);
    assert_true(count[1] > 0 && count[2] > 0 && count[4] == 0);
    float copy[2];
    memcpy(copy, none, sizeof copy);
    assert_int_equal(dgm_sampling_draw(copy, 2, &o, 1), -1);
}

static void the_last_bits_fall_on_the_last_id(void **state)
{
    (void)state;
    const dgm_decode_options o = feed_options(1, MAX_LENGTH);
    float z[] = {0, -INFINITY, 0, -INFINITY};
    assert_int_equal(dgm_sampling_draw(z, 4, &o, UINT64_MAX), 2);
    float y[] = {-INFINITY, 0, 0, 0};
    assert_int_equal(dgm_sampling_draw(y, 4, &o, 0), 1);
}

/* A search draws step after step with (seed, line, length), and scores what the model said of each
 * token. */
static void a_search_draws_by_seed_line_and_step(void **state)
{
    (void)state;
    feed_hash_model m = {.spread = 8, .seed = 5};
    feed f = {.logits = feed_hash, .ctx = &m, .vocab = 40};
    dgm_decode_options o = feed_options(1, 12);
    o.sampling = 1;
    o.seed = 77;
    o.temperature = 3;
    o.min_length = 12;
    const int32_t prompt[] = {EOS, 5};
    feed_run(&f, &o, prompt, 2, 9);
    const dgm_hypothesis h = feed_result(&f, 0);
    assert_int_equal(h.n, 11);
    int32_t history[12] = {EOS, 5};
    double sum = 0;
    for (int n = 2; n < 12; n++) {
        float z[40];
        double all = 0;
        feed_hash(&m, z, 40, history, n);
        for (int i = 0; i < 40; i++)
            all += exp((double)z[i]);
        const float logit = z[h.ids[n - 1]];
        z[EOS] = -INFINITY;
        assert_int_equal(h.ids[n - 1], dgm_sampling_draw(z, 40, &o, dgm_sampling_bits(77, 9, n)));
        sum += (double)logit - log(all);
        history[n] = h.ids[n - 1];
    }
    assert_float_equal(h.score, sum / 11, 1e-5);
    feed_free(&f);
}

static void a_low_temperature_is_greedy(void **state)
{
    (void)state;
    feed_hash_model m = {.spread = 8, .seed = 6};
    feed f = {.logits = feed_hash, .ctx = &m, .vocab = 40}, g = f;
    dgm_decode_options o = feed_options(1, 12);
    const int32_t prompt[] = {EOS, 5};
    feed_run(&f, &o, prompt, 2, 0);
    o.sampling = 1;
    o.temperature = 1e-30f;
    feed_run(&g, &o, prompt, 2, 0);
    const dgm_hypothesis a = feed_result(&f, 0), b = feed_result(&g, 0);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.ids, b.ids, (size_t)a.n * sizeof *a.ids);
    feed_free(&f);
    feed_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(every_part_of_the_key_counts),
        cmocka_unit_test(keeps_what_hugging_face_keeps),
        cmocka_unit_test(edges_of_top_k_and_top_p),
        cmocka_unit_test(the_last_bits_fall_on_the_last_id),
        cmocka_unit_test(a_search_draws_by_seed_line_and_step),
        cmocka_unit_test(a_low_temperature_is_greedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

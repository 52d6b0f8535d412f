/*
 * What Hugging Face decodes from the same logits (tests/golden/search): ids equal, scores to 1e-5.
 */
#include "tests/runtime/test_search_feed.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_IDS = 64, MAX_RESULTS = 16, LINE_BYTES = 16384 };

typedef struct golden {
    dgm_decode_options opt;
    feed_hash_model model;
    int vocab, n_prompt, n_results;
    int32_t prompt[MAX_IDS];
    double score[MAX_RESULTS];
    int n[MAX_RESULTS];
    int32_t ids[MAX_RESULTS][MAX_IDS];
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

static int integer(char **at)
{
    return (int)number(at);
}

static void parse(golden *g, char *at)
{
    dgm_decode_options *o = &g->opt;
    *o = feed_options(integer(&at), 0);
    o->n_best = integer(&at);
    o->max_length = integer(&at);
    o->min_length = integer(&at);
    o->no_repeat_ngram = integer(&at);
    o->early_stopping = integer(&at);
    o->length_penalty = (float)number(&at);
    o->repetition_penalty = (float)number(&at);
    o->penalty_skip_special = integer(&at);
    g->vocab = integer(&at);
    g->model.spread = (float)number(&at);
    g->model.bonus = (float)number(&at);
    g->model.seed = (uint64_t)number(&at);
    g->n_prompt = integer(&at);
    for (int i = 0; i < g->n_prompt; i++)
        g->prompt[i] = integer(&at);
    g->n_results = integer(&at);
    assert_in_range(g->n_results, 1, MAX_RESULTS);
    for (int r = 0; r < g->n_results; r++) {
        g->score[r] = number(&at);
        g->n[r] = integer(&at);
        for (int i = 0; i < g->n[r]; i++)
            g->ids[r][i] = integer(&at);
    }
}

static bool same(const golden *g, int r, const dgm_hypothesis *h)
{
    return h->n == g->n[r] && memcmp(h->ids, g->ids[r], (size_t)h->n * sizeof *h->ids) == 0 &&
           fabs((double)h->score - g->score[r]) <= 1e-5 * fmax(1, fabs(g->score[r]));
}

static void print(const char *who, double score, const int32_t *ids, int n)
{
    print_message("  %s %.8g:", who, score);
    for (int i = 0; i < n; i++)
        print_message(" %d", ids[i]);
    print_message("\n");
}

/* What each token added is all that was added. */
static void check_token_scores(const golden *g, const dgm_hypothesis *h)
{
    const int n = h->n - (g->n_prompt > 2 ? g->n_prompt - 1 : 0);
    const double penalty = g->opt.beam == 1 ? 1 : (double)g->opt.length_penalty;
    double sum = 0;
    for (int i = 0; i < h->n; i++)
        sum += (double)h->logp[i];
    for (int i = 0; i < g->n_prompt - 1; i++)
        assert_true(h->logp[i] == 0);
    if (n > 0)
        assert_true(fabs(sum / pow(n, penalty) - (double)h->score) < 1e-5 * fmax(1, fabs(sum)));
}

static int replay(const golden *g, int line, bool generous)
{
    feed f = {
        .logits = feed_hash, .ctx = (void *)&g->model, .vocab = g->vocab, .generous = generous};
    feed_run(&f, &g->opt, g->prompt, g->n_prompt, 0);
    int wrong = 0;
    dgm_hypothesis h;
    for (int r = 0; r < g->n_results; r++) {
        const bool found = dgm_search_result(f.search, r, &h);
        if (found)
            check_token_scores(g, &h);
        if (found && same(g, r, &h))
            continue;
        wrong++;
        print_message("line %d, hypothesis %d%s\n", line, r, generous ? ", all candidates" : "");
        print("want ", g->score[r], g->ids[r], g->n[r]);
        if (found)
            print("found", (double)h.score, h.ids, h.n);
    }
    if (dgm_search_result(f.search, g->n_results, &h)) {
        wrong++;
        print_message("line %d: more than %d hypotheses\n", line, g->n_results);
    }
    feed_free(&f);
    return wrong;
}

static void agrees_with_hugging_face(void **state)
{
    (void)state;
    FILE *in = fopen("tests/golden/search/search.txt", "r");
    assert_non_null(in);
    static char line[LINE_BYTES];
    static golden g;
    int n = 0, wrong = 0;
    while (fgets(line, sizeof line, in) != NULL) {
        parse(&g, line);
        n++;
        wrong += replay(&g, n, false);
        wrong += replay(&g, n, true);
    }
    fclose(in);
    assert_true(n >= 1000);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_hugging_face)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* BLEU and chrF++ against sacreBLEU: every count of every line, and scores of corpora. */
#include "runtime/metrics.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ORDERS = DGM_CHRF_CHARS + DGM_CHRF_WORDS, MOST = 1000, LINE = 4096 };

static const char *golden;
static char *hyps[MOST], *refs[MOST];
static int n_lines;

static FILE *open_file(const char *name)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", golden, name);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    return f;
}

static int read_lines(char **lines, const char *name)
{
    char line[LINE];
    FILE *f = open_file(name);
    int n = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        assert_true(n < MOST);
        lines[n++] = strdup(line);
    }
    (void)fclose(f);
    return n;
}

static int setup(void **state)
{
    (void)state;
    n_lines = read_lines(hyps, "hyp.txt");
    assert_int_equal(read_lines(refs, "ref.txt"), n_lines);
    assert_true(n_lines >= 600);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < n_lines; i++) {
        free(hyps[i]);
        free(refs[i]);
    }
    return 0;
}

static int64_t next(FILE *f)
{
    int64_t n = 0;
    assert_int_equal(fscanf(f, "%" SCNd64, &n), 1);
    return n;
}

static void add(dgm_bleu *b, dgm_chrf *c, int i)
{
    const size_t h = strlen(hyps[i]), r = strlen(refs[i]);
    assert_int_equal(dgm_bleu_add(b, hyps[i], h, refs[i], r), DGM_OK);
    assert_int_equal(dgm_chrf_add(c, hyps[i], h, refs[i], r), DGM_OK);
}

static void test_counts(void **state)
{
    (void)state;
    FILE *f = open_file("counts.txt");
    for (int i = 0; i < n_lines; i++) {
        dgm_bleu b = {0};
        dgm_chrf c = {0};
        add(&b, &c, i);
        assert_int_equal(b.hyp, next(f));
        assert_int_equal(b.ref, next(f));
        for (int n = 0; n < DGM_BLEU_ORDERS; n++)
            assert_int_equal(b.order[n].match, next(f));
        for (int n = 0; n < DGM_BLEU_ORDERS; n++)
            assert_int_equal(b.order[n].hyp, next(f));
        for (int n = 0; n < ORDERS; n++) {
            assert_int_equal(c.order[n].hyp, next(f));
            assert_int_equal(c.order[n].ref, next(f));
            assert_int_equal(c.order[n].match, next(f));
        }
    }
    (void)fclose(f);
}

static void test_scores(void **state)
{
    (void)state;
    FILE *f = open_file("scores.txt");
    dgm_bleu b = {0};
    dgm_chrf c = {0};
    int n = 0, until, cases = 0;
    double bleu, chrf;
    for (; fscanf(f, "%d %lf %lf", &until, &bleu, &chrf) == 3; cases++) {
        while (n < until)
            add(&b, &c, n++);
        assert_true(dgm_bleu_score(&b) - bleu < 1e-9 && bleu - dgm_bleu_score(&b) < 1e-9);
        assert_true(dgm_chrf_score(&c) - chrf < 1e-9 && chrf - dgm_chrf_score(&c) < 1e-9);
    }
    assert_int_equal(cases, 7);
    (void)fclose(f);
}

/* n-grams counted the slow way. */
static void test_ngrams(void **state)
{
    (void)state;
    enum { H = 37, R = 41 };
    int32_t hyp[H], ref[R];
    uint32_t x = 1;
    for (int i = 0; i < H + R; i++) {
        x = x * 1664525u + 1013904223u;
        *(i < H ? &hyp[i] : &ref[i - H]) = (int32_t)(x >> 30) - 1;
    }
    dgm_ngram_count got[5] = {{0}};
    assert_int_equal(dgm_ngrams_match(got, 5, hyp, H, ref, R), DGM_OK);
    for (int n = 1; n <= 5; n++) {
        bool used[R] = {false};
        int match = 0;
        for (int i = 0; i + n <= H; i++)
            for (int j = 0; j + n <= R; j++)
                if (!used[j] && memcmp(hyp + i, ref + j, (size_t)n * sizeof *hyp) == 0) {
                    used[j] = true;
                    match++;
                    break;
                }
        assert_int_equal(got[n - 1].match, match);
        assert_int_equal(got[n - 1].hyp, H - n + 1);
        assert_int_equal(got[n - 1].ref, R - n + 1);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_ngrams),
    };
    golden = argc > 1 ? argv[1] : "tests/golden/metrics";
    return cmocka_run_group_tests(tests, setup, teardown);
}

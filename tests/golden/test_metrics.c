/* BLEU and chrF++ against sacreBLEU: every count of every line, scores of corpora, and the bootstrap of their differences. */
#include "runtime/bootstrap.h"
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
static char *hyps[MOST], *refs[MOST], *others[MOST];
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
    assert_int_equal(read_lines(others, "hyp2.txt"), n_lines);
    assert_true(n_lines >= 600);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < n_lines; i++) {
        free(hyps[i]);
        free(refs[i]);
        free(others[i]);
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

static void fill(dgm_quality *lines, char *const *texts)
{
    for (int i = 0; i < n_lines; i++) {
        const size_t h = strlen(texts[i]), r = strlen(refs[i]);
        lines[i] = (dgm_quality){.lines = 1};
        assert_int_equal(dgm_bleu_add(&lines[i].words, texts[i], h, refs[i], r), DGM_OK);
        assert_int_equal(dgm_chrf_add(&lines[i].chrf, texts[i], h, refs[i], r), DGM_OK);
    }
}

static void near(FILE *f, double value)
{
    double want;
    assert_int_equal(fscanf(f, "%lf", &want), 1);
    if (!(value - want < 1e-9 && want - value < 1e-9))
        fail_msg("%.12f is not %.12f", value, want);
}

/* check_change - of one score: all lines, and the interval of the resamples. */
static void check_change(FILE *f, enum dgm_score score, const dgm_quality *before,
                         const dgm_quality *after, int n, double *changes)
{
    dgm_quality sum[2] = {{.lines = 0}};
    for (int i = 0; i < n; i++) {
        dgm_quality_add(&sum[0], &before[i]);
        dgm_quality_add(&sum[1], &after[i]);
    }
    assert_int_equal(sum[0].lines, n);
    near(f, dgm_quality_score(&sum[1], score) - dgm_quality_score(&sum[0], score));
    const dgm_interval ci = dgm_bootstrap_interval(changes, 1);
    near(f, ci.low);
    near(f, ci.high);
}

static void test_bootstrap(void **state)
{
    (void)state;
    static dgm_quality before[MOST], after[MOST];
    FILE *f = open_file("bootstrap.txt");
    uint64_t seed;
    int n, cases = 0;
    fill(before, hyps);
    fill(after, others);
    for (; fscanf(f, "%" SCNu64 " %d", &seed, &n) == 2; cases++) {
        dgm_resamples r = {{{0}}};
        for (int i = 0; i < DGM_RESAMPLES; i++)
            dgm_bootstrap(&r, i, before, after, (size_t)n, seed);
        check_change(f, DGM_SCORE_BLEU, before, after, n, r.score[DGM_SCORE_BLEU]);
        check_change(f, DGM_SCORE_CHRF, before, after, n, r.score[DGM_SCORE_CHRF]);
    }
    assert_int_equal(cases, 3);
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
        cmocka_unit_test(test_bootstrap),
        cmocka_unit_test(test_ngrams),
    };
    golden = argc > 1 ? argv[1] : "tests/golden/metrics";
    return cmocka_run_group_tests(tests, setup, teardown);
}

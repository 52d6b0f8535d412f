/* What an atlas computes, against scipy and plain counting: trees, similarities, unions, rank correlations. */
#include "runtime/atlas.h"
#include "runtime/spearman.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 64, MOST_WIDE = 128 };

static const char *golden;

static FILE *open_golden(const char *name)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", golden, name);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    return f;
}

static double next(FILE *f)
{
    double v = 0;
    assert_int_equal(fscanf(f, "%lf", &v), 1);
    return v;
}

static void near(double got, double want, const char *what, int i)
{
    if (!(fabs(got - want) <= 1e-12))
        fail_msg("%s %d: want %.17g, found %.17g", what, i, want, got);
}

static void test_linkage(void **state)
{
    (void)state;
    FILE *f = open_golden("linkage.txt");
    char method[16];
    int n, d, cases = 0;
    for (; fscanf(f, "%15s %d %d", method, &n, &d) == 3; cases++) {
        double x[MOST * 8];
        dgm_linkage_merge got[MOST];
        int leaves[MOST], m = 0;
        while (m < DGM_LINKAGES && strcmp(method, dgm_linkage_names[m]) != 0)
            m++;
        for (int i = 0; i < n * d; i++)
            x[i] = next(f);
        assert_int_equal(dgm_linkage(got, x, n, (size_t)d, (enum dgm_linkage_method)m), DGM_OK);
        for (int i = 0; i < n - 1; i++) {
            assert_int_equal(got[i].a, (int)next(f));
            assert_int_equal(got[i].b, (int)next(f));
            near(got[i].distance, next(f), method, i);
            assert_int_equal(got[i].size, (int)next(f));
        }
        assert_int_equal(dgm_linkage_leaves(leaves, got, n), DGM_OK);
        for (int i = 0; i < n; i++)
            assert_int_equal(leaves[i], (int)next(f));
    }
    assert_int_equal(cases, 16);
    (void)fclose(f);
}

/* The corners of a square, all sides alike: the first pair goes first. No vector and one vector have no merge. */
static void test_linkage_ties(void **state)
{
    (void)state;
    const double x[8] = {0, 0, 0, 1, 1, 1, 1, 0};
    dgm_linkage_merge got[3];
    int leaves[4] = {9};
    assert_int_equal(dgm_linkage(got, x, 4, 2, DGM_LINKAGE_SINGLE), DGM_OK);
    const int want[3][3] = {{0, 1, 2}, {2, 4, 3}, {3, 5, 4}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(got[i].a, want[i][0]);
        assert_int_equal(got[i].b, want[i][1]);
        assert_int_equal(got[i].size, want[i][2]);
        near(got[i].distance, 1, "side", i);
    }
    assert_int_equal(dgm_linkage(NULL, x, 1, 2, DGM_LINKAGE_WARD), DGM_OK);
    assert_int_equal(dgm_linkage_leaves(leaves, NULL, 1), DGM_OK);
    assert_int_equal(leaves[0], 0);
    assert_int_equal(dgm_linkage(NULL, x, 0, 2, DGM_LINKAGE_WARD), DGM_OK);
    assert_int_equal(dgm_linkage_leaves(leaves, NULL, 0), DGM_OK);
}

/* read_sets - n rows of 0 and 1. */
static bool read_sets(uint8_t sets[MOST][MOST_WIDE], int *n, int *wide, FILE *f)
{
    if (fscanf(f, "%d %d", n, wide) != 2)
        return false;
    for (int i = 0; i < *n; i++)
        for (int e = 0; e < *wide; e++)
            sets[i][e] = (uint8_t)next(f);
    return true;
}

static void test_jaccard(void **state)
{
    (void)state;
    FILE *f = open_golden("jaccard.txt");
    static uint8_t sets[MOST][MOST_WIDE];
    int n, wide, cases = 0;
    for (; read_sets(sets, &n, &wide, f); cases++) {
        const dgm_keep k = {.shape = {.n_experts = (size_t)wide}};
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                const dgm_keep_set a = {.kept = sets[i]}, b = {.kept = sets[j]};
                near(dgm_keep_jaccard(&k, &a, &b), next(f), "sets", i);
            }
    }
    assert_int_equal(cases, 2);
    (void)fclose(f);
}

static void test_union(void **state)
{
    (void)state;
    FILE *f = open_golden("union.txt");
    static uint8_t sets[MOST][MOST_WIDE];
    int n, wide, cases = 0;
    for (; read_sets(sets, &n, &wide, f); cases++) {
        const uint8_t *all[MOST];
        dgm_union_size got[MOST];
        for (int i = 0; i < n; i++)
            all[i] = sets[i];
        assert_int_equal(dgm_union_sizes(got, all, n, (size_t)wide), DGM_OK);
        for (int i = 0; i < n; i++) {
            char mean[32], least[32], most[32];
            assert_int_equal(fscanf(f, "%31s %31s %31s", mean, least, most), 3);
            assert_true(got[i].least <= got[i].mean && got[i].mean <= got[i].most);
            if (strcmp(mean, "-") == 0) { /* nobody counted them all */
                assert_true(got[i].least >= got[i - 1].least && got[i].most >= got[i - 1].most);
                continue;
            }
            near(got[i].mean, strtod(mean, NULL), "mean union of", i + 1);
            assert_int_equal(got[i].least, strtol(least, NULL, 10));
            assert_int_equal(got[i].most, strtol(most, NULL, 10));
        }
    }
    assert_int_equal(cases, 4);
    assert_int_equal(dgm_union_sizes(NULL, NULL, 0, 9), DGM_OK);
    (void)fclose(f);
}

static void test_spearman(void **state)
{
    (void)state;
    FILE *f = open_golden("spearman.txt");
    double a[MOST_WIDE], b[MOST_WIDE], got;
    int n, cases = 0;
    for (; fscanf(f, "%d", &n) == 1; cases++) {
        for (int i = 0; i < n; i++)
            a[i] = next(f);
        for (int i = 0; i < n; i++)
            b[i] = next(f);
        assert_int_equal(dgm_spearman(&got, a, b, n), DGM_OK);
        near(got, next(f), "case", cases);
        assert_int_equal(dgm_spearman(&got, a, a, n), DGM_OK);
        near(got, 1, "itself", cases);
    }
    assert_int_equal(cases, 4);
    for (int i = 0; i < n; i++)
        b[i] = 3;
    assert_int_equal(dgm_spearman(&got, a, b, n), DGM_OK);
    assert_true(isnan(got));
    (void)fclose(f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linkage),  cmocka_unit_test(test_linkage_ties),
        cmocka_unit_test(test_jaccard),  cmocka_unit_test(test_union),
        cmocka_unit_test(test_spearman),
    };
    golden = argc > 1 ? argv[1] : "tests/golden/atlas";
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Statistics files, metrics and algorithms against an independent reference in numpy. */
#include "runtime/expert_choice.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 4096 };

static const char *golden;
static const char *const metrics[DGM_METRICS] = {"top1",    "top2",       "load",
                                                 "vanilla", "importance", "gate"};
static const char *const algorithms[] = {"fixed", "threshold", "stacks"};
static const char *const files[] = {"stats.json", "small.json"};
static dgm_gate_stats stats[2];

static void path_of(char *out, size_t size, const char *name)
{
    (void)snprintf(out, size, "%s/%s", golden, name);
}

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        char path[1024];
        path_of(path, sizeof path, files[i]);
        if (dgm_gates_read(&stats[i], path) != DGM_OK)
            fail_msg("%s", dgm_error_text());
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        dgm_gates_fini(&stats[i]);
    return 0;
}

static int find(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    fail_msg("%s is not expected", name);
    return -1;
}

/* One line of a golden file up to its numbers. */
typedef struct want {
    const dgm_gate_stats *s;
    enum dgm_metric metric;
    char src[64], tgt[64];
    dgm_gates_filter filter;
} want;

static bool read_want(want *w, FILE *f)
{
    char file[64], metric[64];
    if (fscanf(f, "%63s %63s %63s %63s", file, metric, w->src, w->tgt) != 4)
        return false;
    w->s = &stats[find(file, files, 2)];
    w->metric = (enum dgm_metric)find(metric, metrics, DGM_METRICS);
    w->filter = (dgm_gates_filter){.mode = -1};
    w->filter.src = strcmp(w->src, "-") == 0 ? NULL : w->src;
    w->filter.tgt = strcmp(w->tgt, "-") == 0 ? NULL : w->tgt;
    return true;
}

static FILE *open_golden(const char *name)
{
    char path[1024];
    path_of(path, sizeof path, name);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    return f;
}

static void test_values(void **state)
{
    (void)state;
    FILE *f = open_golden("values.txt");
    static double got[MOST];
    int cases = 0, by, n_runs;
    for (want w; read_want(&w, f); cases++) {
        assert_int_equal(fscanf(f, "%d", &by), 1);
        w.filter.by_tokens = by != 0;
        assert_int_equal(dgm_metric_values(got, &n_runs, w.s, w.metric, &w.filter), DGM_OK);
        assert_true(n_runs > 0);
        for (size_t e = 0; e < w.s->shape.n_experts; e++) {
            double v = 0;
            assert_int_equal(fscanf(f, "%lf", &v), 1);
            if (!(fabs(got[e] - v) <= 1e-12))
                fail_msg("case %d, expert %zu: want %.17g, found %.17g", cases, e, v, got[e]);
        }
    }
    assert_int_equal(cases, 60);
    (void)fclose(f);
}

static void check_sets(const char *name, bool guarded, int want_cases)
{
    FILE *f = open_golden(name);
    static double values[MOST], guard[MOST];
    static uint8_t got[MOST];
    int cases = 0, n_runs;
    for (want w; read_want(&w, f); cases++) {
        char algorithm[64];
        dgm_expert_budget b;
        assert_int_equal(fscanf(f, "%63s %d %d", algorithm, &b.keep[0], &b.keep[1]), 3);
        assert_int_equal(dgm_metric_values(values, &n_runs, w.s, w.metric, &w.filter), DGM_OK);
        assert_true(n_runs > 0);
        if (guarded)
            assert_int_equal(dgm_eos_experts(guard, w.s, &w.filter), DGM_OK);
        assert_int_equal(
            dgm_choose_experts(got, values, guarded ? guard : NULL, w.s,
                               (enum dgm_choice_algorithm)find(algorithm, algorithms, 3), &b),
            DGM_OK);
        int n = 0;
        for (size_t e = 0; e < w.s->shape.n_experts; e++)
            n += got[e];
        if (strcmp(algorithm, "fixed") != 0) /* layers of 6 cannot keep 7 */
            assert_int_equal(n, b.keep[0] + b.keep[1]);
        for (int i = 0; i < n; i++) {
            int e = 0;
            assert_int_equal(fscanf(f, "%d", &e), 1);
            if (!got[e])
                fail_msg("case %d (%s %s): expert %d is not kept", cases, metrics[w.metric],
                         algorithm, e);
        }
    }
    assert_int_equal(cases, want_cases);
    (void)fclose(f);
}

static void test_sets(void **state)
{
    (void)state;
    check_sets("sets.txt", false, (6 + 3) * DGM_METRICS * 3 * 3);
}

static void test_guarded(void **state)
{
    (void)state;
    check_sets("guarded.txt", true, (6 + 3) * 2 * 3 * 3);
}

static void test_ends(void **state)
{
    (void)state;
    static double got[MOST];
    FILE *f = open_golden("ends.txt");
    char file[64], src[64], tgt[64];
    int by, n, cases = 0;
    for (; fscanf(f, "%63s %63s %63s %d %d", file, src, tgt, &by, &n) == 5; cases++) {
        const dgm_gate_stats *s = &stats[find(file, files, 2)];
        const dgm_gates_filter filter = {.src = src[0] == '-' ? NULL : src,
                                         .tgt = tgt[0] == '-' ? NULL : tgt,
                                         .mode = -1,
                                         .by_tokens = by != 0};
        assert_int_equal(dgm_eos_experts(got, s, &filter), DGM_OK);
        for (size_t e = 0; e < s->shape.n_experts; e++)
            n -= got[e] > 0;
        assert_int_equal(n, 0);
        while (fgetc(f) == ' ') {
            int e = 0;
            double v = 0;
            assert_int_equal(fscanf(f, "%d %lf", &e, &v), 2);
            if (!(fabs(got[e] - v) <= 1e-12))
                fail_msg("case %d, expert %d: want %.17g, found %.17g", cases, e, v, got[e]);
        }
    }
    assert_int_equal(cases, 8);
    (void)fclose(f);
}

/* Statistics of before gates: the five metrics as ever; what needs gates says so. */
static void test_no_gates(void **state)
{
    (void)state;
    static double v[MOST];
    int n_runs;
    const dgm_gates_filter any = {.mode = -1};
    stats[1].runs[2].gated = false;
    assert_int_equal(dgm_metric_values(v, &n_runs, &stats[1], DGM_METRIC_IMPORTANCE, &any), DGM_OK);
    assert_int_equal(dgm_metric_values(v, &n_runs, &stats[1], DGM_METRIC_GATE, &any), DGM_EINPUT);
    assert_int_equal(dgm_eos_experts(v, &stats[1], &any), DGM_EINPUT);
    assert_non_null(strstr(dgm_error_text(), "take them anew (dragoman stats)"));
    stats[1].runs[2].gated = true;
}

static void test_budgets(void **state)
{
    (void)state;
    dgm_expert_budget b;
    assert_int_equal(dgm_budget_of_fraction(&b, &stats[0], 0.8125, 3), DGM_OK);
    assert_int_equal(b.keep[DGM_ENCODER], 216);
    assert_int_equal(b.keep[DGM_DECODER], 72);
    assert_int_equal(dgm_budget_of_fraction(&b, &stats[0], 0.75, 1), DGM_OK);
    assert_int_equal(b.keep[DGM_ENCODER], 192);
    assert_int_equal(b.keep[DGM_DECODER], 192);
    assert_int_equal(dgm_budget_of_fraction(&b, &stats[0], 0, 1), DGM_OK);
    assert_int_equal(b.keep[DGM_ENCODER] + b.keep[DGM_DECODER], 1536);
    assert_int_equal(dgm_budget_of_fraction(&b, &stats[0], 0.99, 1), DGM_EUSAGE);
    assert_non_null(strstr(dgm_error_text(), "largest fraction that can be removed is 0.9688"));
    assert_int_equal(dgm_budget_of_counts(&b, &stats[0], 288, 216), DGM_OK);
    assert_int_equal(dgm_budget_of_counts(&b, &stats[0], 288, 280), DGM_EUSAGE);
    assert_int_equal(dgm_budget_of_counts(&b, &stats[0], 2000, 700), DGM_EUSAGE);
    assert_int_equal(dgm_budget_of_counts(&b, &stats[0], 288, 216), DGM_OK);
    assert_int_equal(dgm_budget_decoder(&b, &stats[0], 0.5), DGM_OK);
    assert_int_equal(b.keep[DGM_ENCODER], 216);
    assert_int_equal(b.keep[DGM_DECODER], 384);
    assert_int_equal(dgm_budget_decoder(&b, &stats[0], 0.01), DGM_EUSAGE);
    assert_int_equal(dgm_least_experts(128), 4);
    assert_int_equal(dgm_least_experts(129), 5);
    assert_int_equal(dgm_least_experts(8), 2);
}

static void test_no_run(void **state)
{
    (void)state;
    static double v[MOST];
    int n_runs = 7;
    const dgm_gates_filter f = {.src = "zul_Latn", .mode = -1};
    assert_int_equal(dgm_metric_values(v, &n_runs, &stats[0], DGM_METRIC_TOP1, &f), DGM_OK);
    assert_int_equal(n_runs, 0);
    assert_true(v[0] == 0);
}

/* What is written is read again as it was; the same text twice is refused, and another model's statistics. */
static void test_files(void **state)
{
    (void)state;
    char path[] = "/tmp/dgm-gates-XXXXXX", *a, *b;
    const int fd = mkstemp(path);
    dgm_gate_stats again;
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(dgm_gates_write(&stats[1], path), DGM_OK);
    assert_int_equal(dgm_gates_read(&again, path), DGM_OK);
    assert_int_equal(dgm_gates_json(&a, &stats[1]), DGM_OK);
    assert_int_equal(dgm_gates_json(&b, &again), DGM_OK);
    assert_string_equal(a, b);
    assert_int_equal(dgm_gates_merge(&again, &stats[1]), DGM_EINPUT);
    assert_non_null(strstr(dgm_error_text(), "is counted already"));
    for (int i = 0; i < again.n_runs; i++)
        again.runs[i].corpus++;
    assert_int_equal(dgm_gates_merge(&again, &stats[1]), DGM_OK);
    assert_int_equal(again.n_runs, 2 * stats[1].n_runs);
    assert_int_equal(dgm_gates_merge(&again, &stats[0]), DGM_EINPUT);
    assert_non_null(strstr(dgm_error_text(), "statistics of two models"));
    dgm_gates_fini(&again);
    free(a);
    free(b);
    (void)unlink(path);
}

static void refused(const char *text, const char *why)
{
    char path[] = "/tmp/dgm-gates-XXXXXX";
    const int fd = mkstemp(path);
    dgm_gate_stats s;
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
    assert_int_equal(dgm_gates_read(&s, path), DGM_EINPUT);
    if (strstr(dgm_error_text(), why) == NULL)
        fail_msg("want '%s', found '%s'", why, dgm_error_text());
    (void)unlink(path);
}

#define HEAD "{\"format\":1,\"model\":\"00000000000000aa\",\"top_k\":2,"
#define LAYER "\"layers\":[{\"stack\":\"encoder\",\"index\":1,\"experts\":2}],"
#define RUN(top1, top2, rank)                                                                      \
    "\"runs\":[{\"src\":\"a\",\"tgt\":\"b\",\"mode\":\"beam\",\"corpus\":\"00000000000000bb\","    \
    "\"tokens\":{\"encoder\":3,\"decoder\":0},\"top1\":[" top1 "],\"top2\":[" top2                 \
    "],\"mean_sum\":[[0,0]],\"conf1_sum\":[[0,0]],\"conf2_sum\":[[0,0]],\"rank_sum\":[" rank       \
    "]}]}"
#define GATED(gates) RUN("[1,2]", "[2,1]", "[4,5]],\"gate_sum\":[" gates)

static void test_nonsense(void **state)
{
    (void)state;
    refused("", "wanted JSON");
    refused("{\"format\":2}", "format: want 1");
    refused("{\"format\":1,\"model\":\"x\"}", "model: want a hash");
    refused(HEAD "\"layers\":[]}", "layers: want a list");
    refused(HEAD
            "\"layers\":[{\"stack\":\"decoder\",\"index\":0,\"experts\":2},{\"stack\":\"encoder\","
            "\"index\":0,\"experts\":2}]}",
            "encoder, then decoder");
    refused(HEAD LAYER "\"runs\":{}}", "runs: want a list");
    refused(HEAD LAYER RUN("[1,1]", "[1,2]", "[4,5]"), "top1: want as many first places");
    refused(HEAD LAYER RUN("[1,2]", "[1,1]", "[4,5]"), "top2: want as many second places");
    refused(HEAD LAYER RUN("[1,2]", "[2,1]", "[4,6]"), "rank_sum: want each rank once");
    refused(HEAD LAYER RUN("[1,-2]", "[2,1]", "[4,5]"), "top1: want whole numbers");
    refused(HEAD LAYER GATED("[4294967296,4294967296]],\"eos_gate_sum\":[[0,0]"),
            "gate_sum: want gates of 1 for each token");
    refused(HEAD LAYER GATED("[4294967296,8589934592]],\"eos_gate_sum\":[[0,1]"),
            "eos_gate_sum: want a part of gate_sum, and zeros in the encoder");
    refused(HEAD LAYER GATED("[4294967296,8589934592]"), "eos_gate_sum: want a list");
    refused(HEAD LAYER RUN("[3]", "[2,1]", "[4,5]"), "top1: want a number for each expert");
    refused(HEAD LAYER RUN("", "[2,1]", "[4,5]"), "top1: want a list for each layer");
}

/* Counted one by one: shares, ranks and ties. */
static void test_count(void **state)
{
    (void)state;
    dgm_kernels kern;
    dgm_moe_layer layer = {DGM_ENCODER, 0, 4, 0};
    dgm_gate_stats s = {.shape = {.layers = &layer, .n_layers = 1, .n_experts = 4}};
    dgm_gates_run *r;
    float room[8];
    assert_int_equal(dgm_kernels_select(&kern, "ref"), DGM_OK);
    assert_int_equal(dgm_gates_add_run(&r, &s), DGM_OK);
    const float a[4] = {0, logf(2), 0, -INFINITY}, b[4] = {3, 3, 3, 3};
    dgm_gates_count(r, &layer, &kern, a, room);
    dgm_gates_count(r, &layer, &kern, b, room);
    const uint64_t top1[4] = {1, 1, 0, 0}, top2[4] = {1, 1, 0, 0}, rank[4] = {3, 3, 6, 8};
    for (int e = 0; e < 4; e++) {
        assert_int_equal(r->sum[DGM_GATES_TOP1][e], top1[e]);
        assert_int_equal(r->sum[DGM_GATES_TOP2][e], top2[e]);
        assert_int_equal(r->sum[DGM_GATES_RANK][e], rank[e]);
    }
    const double half = DGM_GATES_ONE / 2, quarter = half / 2;
    assert_true(fabs((double)r->sum[DGM_GATES_CONF1][1] - half) < 1024);
    assert_true(fabs((double)r->sum[DGM_GATES_CONF2][0] - quarter) < 1024);
    assert_true(fabs((double)r->sum[DGM_GATES_MEAN][0] - half) < 1024);
    assert_int_equal(r->sum[DGM_GATES_CONF1][0], quarter);
    assert_int_equal(r->sum[DGM_GATES_MEAN][3], quarter);
    dgm_gates_count_gates(r, &layer, a, 2, false);
    dgm_gates_count_gates(r, &layer, b, 2, true);
    dgm_gates_count_gates(r, &layer, b, 1, true);
    assert_true(fabs((double)r->sum[DGM_GATES_GATE][0] - (1 / 3.0 + 1.5) * DGM_GATES_ONE) < 1024);
    assert_true(fabs((double)r->sum[DGM_GATES_GATE][1] - (2 / 3.0 + 0.5) * DGM_GATES_ONE) < 1024);
    assert_int_equal(r->sum[DGM_GATES_EOS][0], 3 * half);
    assert_int_equal(r->sum[DGM_GATES_EOS][1], half);
    assert_int_equal(r->sum[DGM_GATES_GATE][2] + r->sum[DGM_GATES_GATE][3], 0);
    free(s.runs[0].sum[0]);
    free(s.runs);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),  cmocka_unit_test(test_sets),
        cmocka_unit_test(test_budgets), cmocka_unit_test(test_no_run),
        cmocka_unit_test(test_files),   cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_count),   cmocka_unit_test(test_guarded),
        cmocka_unit_test(test_ends),    cmocka_unit_test(test_no_gates),
    };
    golden = argc > 1 ? argv[1] : "tests/golden/experts";
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* A mixture-of-experts layer on one rank against the plain formula, for every shape of routing that is run. */
#include "kernels/math.h"
#include "runtime/moe.h"
#include "tests/runtime/testmodel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { D = 16, ROWS = 33, MAX_EXPERTS = 4, MAX_F = 40 };

typedef struct rig {
    testmodel spec;
    char *dir;
    dgm_comm *comm;
    dgm_model *model;
    dgm_kernels kern;
    dgm_arena step;
    dgm_moe *moe;
    dgm_forward f;
} rig;

static void open_rig(rig *g, const testmodel *spec)
{
    const dgm_comm_config comm = {.backend = "local", .stall_ms = 2000, .deadline_ms = 60000};
    *g = (rig){.spec = *spec, .dir = testmodel_dir()};
    testmodel_write(g->dir, spec);
    assert_int_equal(dgm_comm_open(&g->comm, &comm), DGM_OK);
    if (dgm_model_open(&g->model, g->dir, NULL) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    assert_int_equal(dgm_model_load(g->model, 0, 1, true, NULL), DGM_OK);
    assert_int_equal(dgm_kernels_select(&g->kern, "auto"), DGM_OK);
    assert_int_equal(dgm_arena_init(&g->step, 1 << 20), DGM_OK);
    assert_int_equal(dgm_moe_create(&g->moe, g->model, g->comm, ROWS, 1, DGM_COMPUTE_F32), DGM_OK);
    g->f = (dgm_forward){
        .model = g->model, .kern = &g->kern, .comm = g->comm, .step = &g->step, .moe = g->moe};
}

static void close_rig(rig *g)
{
    dgm_moe_destroy(g->moe);
    dgm_arena_fini(&g->step);
    dgm_model_close(g->model);
    dgm_comm_close(g->comm);
    testmodel_remove(g->dir);
}

/* y [n] = W x + b of tensor `stem` of the test model, by the rule of the GEMM. */
static void linear(float *y, const rig *g, const char *stem, const float *x, int n, int k)
{
    char weight[160], bias[160];
    (void)snprintf(weight, sizeof weight, "%s.weight", stem);
    (void)snprintf(bias, sizeof bias, "%s.bias", stem);
    for (int i = 0; i < n; i++) {
        float acc = 0;
        for (int j = 0; j < k; j++)
            acc = fmaf(x[j], testmodel_value(&g->spec, weight, (size_t)(i * k + j)), acc);
        y[i] = acc + testmodel_value(&g->spec, bias, (size_t)i);
    }
}

/* What expert e of the layer says of row h, times c. */
static void expert(float *y, const rig *g, const char *layer, int e, const float *h, int ffn)
{
    char stem[128];
    float t[MAX_F];
    (void)snprintf(stem, sizeof stem, "%s.ffn.experts.expert_%d.fc1", layer, e);
    linear(t, g, stem, h, ffn, D);
    for (int i = 0; i < ffn; i++)
        t[i] = t[i] > 0 ? t[i] : 0;
    (void)snprintf(stem, sizeof stem, "%s.ffn.experts.expert_%d.fc2", layer, e);
    linear(y, g, stem, t, D, ffn);
    for (int i = 0; i < D; i++)
        y[i] *= 0.8f;
}

/* Fewer than 16 experts: the 16-lane sum is a tree over them, folded +8, +4, +2, +1. */
static float gate_of_one(const float *logits, int n, int best)
{
    float lane[16] = {0};
    for (int i = 0; i < n; i++)
        lane[i] = dgm_exp(logits[i] - logits[best]);
    for (int w = 8; w > 0; w /= 2)
        for (int i = 0; i < w; i++)
            lane[i] += lane[i + w];
    return 1.0f / lane[0];
}

/* two_best - by the formula, of the experts in kept [experts] (NULL: of all); the others are as if they were not there. */
static void two_best(int best[2], float logits[MAX_EXPERTS], const rig *g, const char *layer,
                     const float *h, int experts, const uint8_t *kept)
{
    char name[128];
    int a = -1, b = -1;
    memset(logits, 0, MAX_EXPERTS * sizeof *logits);
    (void)snprintf(name, sizeof name, "%s.ffn.router.classifier.weight", layer);
    for (int e = 0; e < experts; e++)
        for (int j = 0; j < D; j++)
            logits[e] = fmaf(h[j], testmodel_value(&g->spec, name, (size_t)(e * D + j)), logits[e]);
    for (int e = 0; e < experts; e++)
        a = (kept == NULL || kept[e]) && (a < 0 || logits[e] > logits[a]) ? e : a;
    for (int e = 0; e < experts; e++)
        b = (kept == NULL || kept[e]) && e != a && (b < 0 || logits[e] > logits[b]) ? e : b;
    best[0] = a;
    best[1] = b;
}

static void plain(float *x, const rig *g, const char *layer, const float *h, int experts, int ffn,
                  int top_k, const uint8_t *kept)
{
    float logits[MAX_EXPERTS], y[2][D];
    int best[2];
    two_best(best, logits, g, layer, h, experts, kept);
    const int a = best[0], b = best[1];
    expert(y[0], g, layer, a, h, ffn);
    if (top_k == 1 || b < 0) {
        const float gate = gate_of_one(logits, experts, a);
        for (int i = 0; i < D; i++)
            x[i] = x[i] + gate * y[0][i];
        return;
    }
    const float e = dgm_exp(logits[b] - logits[a]), ga = 1 / (1 + e), gb = e / (1 + e);
    expert(y[1], g, layer, b, h, ffn);
    for (int i = 0; i < D; i++)
        x[i] = x[i] + (ga * y[0][i] + gb * y[1][i]);
}

static void check(const char *config, int kept_encoder, int kept_decoder)
{
    testmodel spec = testmodel_small();
    static const char *const names[] = {"encoder.layers.1", "decoder.layers.1"};
    rig g;
    spec.config = config;
    spec.kept[0] = kept_encoder;
    spec.kept[1] = kept_decoder;
    open_rig(&g, &spec);
    for (int s = 0; s < DGM_STACKS; s++) {
        static float x[ROWS * D], h[ROWS * D], want[ROWS * D];
        for (int i = 0; i < ROWS * D; i++) {
            h[i] = (float)((i * 37 + s) % 101 - 50) / 16;
            x[i] = want[i] = (float)(i * 53 % 97 - 48) / 32;
        }
        const int experts = s == 0 ? kept_encoder : kept_decoder;
        for (int r = 0; r < ROWS; r++)
            plain(want + r * D, &g, names[s], h + r * D, experts, spec.ffn[s], g.model->cfg.top_k,
                  NULL);
        assert_int_equal(dgm_moe_forward(g.moe, &g.f, x, h, &g.model->stack[s].layers[1], ROWS),
                         DGM_OK);
        assert_int_equal(dgm_moe_verdict(g.moe), DGM_OK);
        if (memcmp(x, want, sizeof x) != 0)
            fail_msg("%s with %d experts: other bits than the formula", names[s], experts);
    }
    close_rig(&g);
}

typedef struct watch {
    const rig *g;
    const dgm_layer *layer;
    const float *h; /* [ROWS, D] */
    int calls[2];   /* rows of fc1, of fc2 */
} watch;

/* fc1 of an expert sees rows of h; fc2 of the same expert what fc1 makes of them. */
static void watch_rows(void *ctx, const dgm_packed *w, const float *x, int rows)
{
    static float seen[MAX_EXPERTS][ROWS * MAX_F];
    watch *a = ctx;
    int e = 0;
    while (e < a->layer->router.n && w != &a->layer->experts[e].fc1.w &&
           w != &a->layer->experts[e].fc2.w)
        e++;
    if (e == a->layer->router.n)
        return; /* the router */
    const bool second = w == &a->layer->experts[e].fc2.w;
    a->calls[second] += rows;
    for (int r = 0; r < rows; r++) {
        const float *row = x + (size_t)r * (size_t)w->k;
        if (second) {
            assert_memory_equal(row, seen[e] + r * w->k, (size_t)w->k * sizeof *row);
            continue;
        }
        int at = 0;
        while (at < ROWS && memcmp(row, a->h + (size_t)at * D, D * sizeof *row) != 0)
            at++;
        assert_true(at < ROWS);
        char stem[128];
        (void)snprintf(stem, sizeof stem, "encoder.layers.1.ffn.experts.expert_%d.fc1", e);
        const int ffn = a->layer->experts[e].fc1.w.n;
        linear(seen[e] + r * ffn, a->g, stem, row, ffn, D);
        for (int i = 0; i < ffn; i++)
            seen[e][r * ffn + i] = seen[e][r * ffn + i] > 0 ? seen[e][r * ffn + i] : 0;
    }
}

static void observers_see_what_each_expert_sees(void **state)
{
    (void)state;
    static float x[ROWS * D], h[ROWS * D];
    const testmodel spec = testmodel_small();
    rig g;
    open_rig(&g, &spec);
    for (int i = 0; i < ROWS * D; i++)
        h[i] = (float)(i * 37 % 101 - 50) / 16;
    watch a = {.g = &g, .layer = &g.model->stack[0].layers[1], .h = h};
    const dgm_observer o = {watch_rows, &a};
    g.f.observer = &o;
    assert_int_equal(dgm_moe_forward(g.moe, &g.f, x, h, a.layer, ROWS), DGM_OK);
    assert_int_equal(a.calls[0], 2 * ROWS);
    assert_int_equal(a.calls[1], 2 * ROWS);
    close_rig(&g);
}

static const char *const top_1 = "{\"moe_top_k\":1,\"normalize_gates\":false}";

static void two_experts(void **state)
{
    (void)state;
    check(NULL, 4, 4);
}

static void one_expert_with_its_softmax(void **state)
{
    (void)state;
    check(top_1, 4, 4);
}

static void stacks_keep_different_experts(void **state)
{
    (void)state;
    check(NULL, 4, 2);
    check(NULL, 2, 3);
    check(NULL, 1, 4);
    check(top_1, 2, 4);
    check(top_1, 3, 1);
}

/* Each set of two or more of four experts: the layer is that of a router cut down to them, and a row whose two experts are
 * among them leaves with the bits that it has without a set. */
static void a_row_whose_experts_survive_keeps_its_bits(void **state)
{
    (void)state;
    static float h[ROWS * D], x0[ROWS * D], whole[ROWS * D], x[ROWS * D], want[ROWS * D];
    static uint8_t sets[2 * MAX_EXPERTS];
    const testmodel spec = testmodel_small();
    const char *const layer = "encoder.layers.1";
    const uint8_t *experts[ROWS];
    float lost[ROWS], *absent[ROWS];
    int survived = 0, changed = 0;
    rig g;
    open_rig(&g, &spec);
    for (int i = 0; i < ROWS * D; i++) {
        h[i] = (float)(i * 37 % 101 - 50) / 16;
        whole[i] = x0[i] = (float)(i * 53 % 97 - 48) / 32;
    }
    const dgm_layer *l = &g.model->stack[0].layers[1];
    assert_int_equal(dgm_moe_forward(g.moe, &g.f, whole, h, l, ROWS), DGM_OK);
    for (int r = 0; r < ROWS; r++) {
        experts[r] = sets;
        absent[r] = &lost[r];
    }
    g.f.experts = experts;
    g.f.absent = absent;
    for (unsigned mask = 0; mask < 1U << MAX_EXPERTS; mask++) {
        if (__builtin_popcount(mask) < 2)
            continue;
        for (int e = 0; e < MAX_EXPERTS; e++)
            sets[e] = mask >> e & 1;
        memcpy(x, x0, sizeof x);
        memcpy(want, x0, sizeof want);
        assert_int_equal(dgm_moe_forward(g.moe, &g.f, x, h, l, ROWS), DGM_OK);
        for (int r = 0; r < ROWS; r++) {
            const size_t at = (size_t)r * D;
            float logits[MAX_EXPERTS];
            int best[2];
            plain(want + at, &g, layer, h + at, MAX_EXPERTS, spec.ffn[0], 2, sets);
            assert_memory_equal(x + at, want + at, D * sizeof *x);
            two_best(best, logits, &g, layer, h + at, MAX_EXPERTS, NULL);
            if (sets[best[0]] && sets[best[1]]) {
                assert_memory_equal(x + at, whole + at, D * sizeof *x);
                assert_true(lost[r] == 0);
                survived++;
            } else {
                assert_true(lost[r] > 0 && lost[r] <= 1);
                changed += memcmp(x + at, whole + at, D * sizeof *x) != 0;
            }
        }
    }
    assert_true(survived > ROWS && changed > ROWS);
    close_rig(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_experts),
        cmocka_unit_test(one_expert_with_its_softmax),
        cmocka_unit_test(stacks_keep_different_experts),
        cmocka_unit_test(observers_see_what_each_expert_sees),
        cmocka_unit_test(a_row_whose_experts_survive_keeps_its_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

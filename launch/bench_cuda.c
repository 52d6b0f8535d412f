/*
 * Medians over turns. Each turn uses other experts than the last, so that weights come from the card's memory and not from
 * its cache. `kernels` is what the card's arithmetic took, `call` all of it: rows down and results up included.
 */
#include "launch/bench_cuda.h"

#include "base/arena.h"
#include "base/clock.h"
#include "kernels/device.h"
#include "launch/bench_median.h"
#include "launch/commands.h"

#include <stdio.h>
#include <string.h>

enum {
    D = 2048,
    FFN = 8192,
    EXPERTS = 32,
    MOST_ROWS = 8192,
    MATRIX = D * FFN,
    TURNS = 15,
    WARM = 3
};

typedef struct sort {
    const char *name;
    dgm_wtype type;
    int group;
    dgm_compute compute;
} sort;

typedef struct lab {
    const dgm_device_ops *ops;
    dgm_device *dev;
    dgm_device_peaks peaks;
    const dgm_device_matrix *fc1[EXPERTS], *fc2[EXPERTS];
    float *weights, *scales, *x; /* [MATRIX]; [MATRIX / 32]; [MOST_ROWS, D] */
    int turn;
    bool json;
} lab;

/* Values that nothing can guess, small enough that no sum overflows. */
static void fill(float *x, size_t n)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-24f - 0.5f;
    }
}

static int put_experts(lab *l, const sort *s)
{
    const dgm_packed fc1 = {.n = FFN,
                            .k = D,
                            .type = s->type,
                            .group = s->group,
                            .data = l->weights,
                            .scale = l->scales},
                     fc2 = {.n = D,
                            .k = FFN,
                            .type = s->type,
                            .group = s->group,
                            .data = l->weights,
                            .scale = l->scales};
    DGM_TRY(l->ops->open(&l->dev, 0));
    DGM_TRY(l->ops->reserve(
        l->dev, EXPERTS * (l->ops->matrix_bytes(&fc1) + l->ops->matrix_bytes(&fc2)), FFN));
    for (int e = 0; e < EXPERTS; e++) {
        DGM_TRY(l->ops->put(l->dev, &l->fc1[e], &fc1, l->x));
        DGM_TRY(l->ops->put(l->dev, &l->fc2[e], &fc2, l->x));
    }
    return DGM_OK;
}

static void report(const lab *l, const sort *s, int rows, int active, double kernels, double call)
{
    const double bytes = 2.0 * active * (double)dgm_packed_bytes(s->type, FFN, D);
    const double operations = 4.0 * rows * MATRIX;
    const bool sums = s->compute == DGM_COMPUTE_INT8;
    const double peak = sums ? l->peaks.byte_sums : l->peaks.fma;
    if (l->json)
        (void)printf("{\"bench\":\"cuda\",\"type\":\"%s\",\"rows\":%d,\"active\":%d,"
                     "\"kernels_ms\":%.5f,\"call_ms\":%.5f,\"weights_gb_s\":%.1f,\"tera\":%.2f}\n",
                     s->name, rows, active, kernels * 1e3, call * 1e3, bytes / kernels * 1e-9,
                     operations / kernels * 1e-12);
    else
        (void)printf("%-16s %6d %7d %11.3f %9.3f %9.0f %5.0f %% %9.2f %5.0f %%\n", s->name, rows,
                     active, kernels * 1e3, call * 1e3, bytes / kernels * 1e-9,
                     100 * bytes / kernels / l->peaks.copy, operations / kernels * 1e-12,
                     100 * operations / kernels / peak);
    (void)fflush(stdout);
}

static int run_case(lab *l, const sort *s, int rows, int active)
{
    double kernels[TURNS], call[TURNS];
    float *x = l->ops->room(l->dev, 2 * (size_t)rows * D * sizeof *x);
    if (x == NULL)
        return dgm_fail(DGM_ENOMEM, "no memory for %d rows", rows);
    memcpy(x, l->x, (size_t)rows * D * sizeof *x);
    const dgm_device_rows in = {.rows = rows, .k = D, .x = x};
    for (int i = -WARM; i < TURNS; i++) {
        dgm_device_expert experts[EXPERTS];
        for (int e = 0; e < active; e++) {
            const int at = (l->turn * active + e) % EXPERTS;
            experts[e] = (dgm_device_expert){l->fc1[at], l->fc2[at], rows / active};
        }
        l->turn++;
        const double began = dgm_now_s();
        DGM_TRY(l->ops->ffn(l->dev, x + (size_t)rows * D, &in, experts, active, s->compute));
        if (i < 0)
            continue;
        call[i] = dgm_now_s() - began;
        kernels[i] = l->ops->seconds(l->dev);
    }
    report(l, s, rows, active, dgm_bench_median(kernels, TURNS), dgm_bench_median(call, TURNS));
    return DGM_OK;
}

static int run_sort(lab *l, const sort *s)
{
    static const int loads[][2] = {{1, 1},   {2, 2},    {8, 8},     {32, 16},
                                   {64, 16}, {512, 16}, {2048, 16}, {8192, 16}};
    int rc = put_experts(l, s);
    for (size_t i = 0; rc == DGM_OK && i < sizeof loads / sizeof loads[0]; i++)
        rc = run_case(l, s, loads[i][0], loads[i][1]);
    l->ops->close(l->dev);
    l->dev = NULL;
    return rc;
}

static int show_card(lab *l)
{
    dgm_device_info info;
    DGM_TRY(l->ops->open(&l->dev, 0));
    int rc = l->ops->info(l->dev, &info);
    if (rc == DGM_OK)
        rc = l->ops->measure(l->dev, &l->peaks);
    l->ops->close(l->dev);
    l->dev = NULL;
    DGM_TRY(rc);
    if (l->json)
        (void)printf("{\"bench\":\"cuda\",\"card\":\"%s\",\"copy_gb_s\":%.0f,\"fma_tera\":%.2f,"
                     "\"byte_sums_tera\":%.1f}\n",
                     info.name, l->peaks.copy * 1e-9, l->peaks.fma * 1e-12,
                     l->peaks.byte_sums * 1e-12);
    else
        (void)printf("%s: copy %.0f GB/s, fma %.2f TFLOP/s, sums of bytes %.1f Top/s\n"
                     "%d experts of d %d, FFN %d; medians for one layer\n"
                     "%-16s %6s %7s %11s %9s %9s %7s %9s %7s\n",
                     info.name, l->peaks.copy * 1e-9, l->peaks.fma * 1e-12,
                     l->peaks.byte_sums * 1e-12, EXPERTS, D, FFN, "type", "rows", "active",
                     "kernels ms", "call ms", "GB/s", "copy", "Top/s", "peak");
    return DGM_OK;
}

static int run(lab *l, dgm_arena *memory)
{
    static const sort sorts[] = {{"f32", DGM_W_F32, 0, DGM_COMPUTE_F32},
                                 {"bf16", DGM_W_BF16, 0, DGM_COMPUTE_F32},
                                 {"int8", DGM_W_INT8, 0, DGM_COMPUTE_F32},
                                 {"int4", DGM_W_INT4, 0, DGM_COMPUTE_F32},
                                 {"int4/64", DGM_W_INT4, 64, DGM_COMPUTE_F32},
                                 {"int8 x int8", DGM_W_INT8, 0, DGM_COMPUTE_INT8},
                                 {"int8/64 x int8", DGM_W_INT8, 64, DGM_COMPUTE_INT8},
                                 {"int4 x int8", DGM_W_INT4, 0, DGM_COMPUTE_INT8},
                                 {"int4/64 x int8", DGM_W_INT4, 64, DGM_COMPUTE_INT8}};
    const size_t rows = (size_t)MOST_ROWS * D, floats = MATRIX + MATRIX / 32 + rows;
    int n;
    DGM_TRY(dgm_device_load(&l->ops, "cuda"));
    DGM_TRY(l->ops->count(&n));
    DGM_TRY(show_card(l));
    DGM_TRY(dgm_arena_init(memory, floats * sizeof(float) + 4096));
    l->weights = dgm_arena_push(memory, MATRIX * sizeof(float));
    l->scales = dgm_arena_push(memory, MATRIX / 32 * sizeof(float));
    l->x = dgm_arena_push(memory, rows * sizeof(float));
    fill(l->weights, MATRIX);
    fill(l->scales, MATRIX / 32);
    fill(l->x, rows);
    for (size_t s = 0; s < sizeof sorts / sizeof sorts[0]; s++)
        DGM_TRY(run_sort(l, &sorts[s]));
    return DGM_OK;
}

int dgm_bench_cuda(const dgm_options *o)
{
    lab l = {.json = o->json};
    dgm_arena memory = {0};
    const int rc = run(&l, &memory);
    dgm_arena_fini(&memory);
    return dgm_command_end(rc);
}

/*
 * What grouping brings: a layer's active experts as two dgm_gemm calls (fc1 of all, fc2 of all), as runtime/moe.c does it, and as two
 * calls for each expert. Turns alternate and medians count. Each turn uses other experts than the last, so that weights come
 * from memory as they do in a model, and every case first compares the bytes of both ways.
 */
#include "launch/bench_experts.h"

#include "base/clock.h"
#include "kernels/gemm.h"
#include "launch/bench_median.h"
#include "launch/commands.h"
#include "launch/session_cpus.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { D = 512, FFN = 2048, EXPERTS = 128, MOST_ROWS = 32, MATRIX = D * FFN };
enum { MOST_TURNS = 400, LEAST_TURNS = 5 };
static const double SECONDS = 0.3;

typedef struct lab {
    dgm_kernels kern;
    dgm_pool *pool;
    dgm_arena scratch, memory; /* memory: the weights */
    float *weights,
        *scales; /* weights [EXPERTS][2][FFN x D], whatever their bytes mean in a type */
    float *x, *hidden, *y, *first; /* [MOST_ROWS][D or FFN]; first: y of the other way */
    int threads, turn;
    bool json;
} lab;

typedef struct experts_case {
    const char *type_name;
    dgm_wtype type;
    dgm_compute compute;
    int rows, active; /* rows over all active experts */
} experts_case;

/* Of the active experts of this turn: matrix `which` (0: fc1, 1: fc2). */
typedef struct work {
    dgm_packed w[2][MOST_ROWS];
    dgm_gemm_job job[2][MOST_ROWS];
} work;

static void choose(const lab *l, work *k, const experts_case *c)
{
    const size_t bytes = dgm_packed_bytes(c->type, FFN, D);
    const int each = c->rows / c->active;
    for (int i = 0; i < c->active; i++) {
        const size_t e = (size_t)(l->turn * c->active + i) % EXPERTS,
                     row = (size_t)i * (size_t)each;
        const char *at = (const char *)l->weights + 2 * e * bytes;
        k->w[0][i] = (dgm_packed){.n = FFN, .k = D, .type = c->type, .data = at};
        k->w[1][i] = (dgm_packed){.n = D, .k = FFN, .type = c->type, .data = at + bytes};
        k->w[0][i].scale = k->w[1][i].scale = c->type == DGM_W_F32 ? NULL : l->scales;
        k->job[0][i] = (dgm_gemm_job){.x = l->x + row * D,
                                      .ldx = D,
                                      .y = l->hidden + row * FFN,
                                      .ldy = FFN,
                                      .w = &k->w[0][i],
                                      .rows = each,
                                      .relu = 1,
                                      .compute = c->compute};
        k->job[1][i] = (dgm_gemm_job){.x = l->hidden + row * FFN,
                                      .ldx = FFN,
                                      .y = l->y + row * D,
                                      .ldy = D,
                                      .w = &k->w[1][i],
                                      .rows = each,
                                      .compute = c->compute};
    }
}

static void run_grouped(lab *l, const work *k, int active)
{
    for (int which = 0; which < 2; which++)
        dgm_gemm(&l->kern, l->pool, k->job[which], active, &l->scratch);
}

static void run_one_by_one(lab *l, const work *k, int active)
{
    for (int i = 0; i < active; i++)
        for (int which = 0; which < 2; which++)
            dgm_gemm(&l->kern, l->pool, &k->job[which][i], 1, &l->scratch);
}

typedef void (*way)(lab *l, const work *k, int active);
static const way ways[2] = {run_grouped, run_one_by_one};

/* With one thread this process's time on a CPU, which other work on the machine touches less. */
static double now_s(const lab *l)
{
    struct timespec t;
    if (l->threads > 1)
        return dgm_now_s();
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double turn(lab *l, const experts_case *c, way run)
{
    work k;
    choose(l, &k, c);
    const double began = now_s(l);
    run(l, &k, c->active);
    l->turn++;
    return now_s(l) - began;
}

/* Both ways are the same products, so they must leave the same bytes. */
static int compare(lab *l, const experts_case *c)
{
    const size_t bytes = (size_t)c->rows * D * sizeof(float);
    (void)turn(l, c, ways[0]);
    memcpy(l->first, l->y, bytes);
    memset(l->y, 0, bytes);
    l->turn--;
    (void)turn(l, c, ways[1]);
    if (memcmp(l->first, l->y, bytes) != 0)
        return dgm_fail(DGM_EINTERNAL, "%s, %d rows: grouped and one by one differ", c->type_name,
                        c->rows);
    return DGM_OK;
}

static void report(const lab *l, const experts_case *c, const double ms[2])
{
    const double bytes = 2.0 * c->active * (double)dgm_packed_bytes(c->type, FFN, D);
    if (l->json)
        (void)printf("{\"bench\":\"experts\",\"isa\":\"%s\",\"threads\":%d,\"type\":\"%s\","
                     "\"rows\":%d,\"active\":%d,\"grouped_ms\":%.5f,\"one_by_one_ms\":%.5f}\n",
                     l->kern.isa, l->threads, c->type_name, c->rows, c->active, ms[0], ms[1]);
    else
        (void)printf("%-7s %7d  %-11s %5d %7d %11.4f %14.4f %6.2f %9.1f\n", l->kern.isa, l->threads,
                     c->type_name, c->rows, c->active, ms[0], ms[1], ms[1] / ms[0],
                     bytes / ms[0] * 1e-6);
    (void)fflush(stdout);
}

static int run_case(lab *l, const experts_case *c)
{
    double ms[2][MOST_TURNS], result[2];
    int n = 0;
    DGM_TRY(compare(l, c));
    for (const double began = dgm_now_s();
         n < MOST_TURNS && (n < LEAST_TURNS || dgm_now_s() - began < SECONDS); n++)
        for (int i = 0; i < 2; i++)
            ms[i][n] = 1e3 * turn(l, c, ways[i]);
    for (int i = 0; i < 2; i++)
        result[i] = dgm_bench_median(ms[i], n);
    report(l, c, result);
    return DGM_OK;
}

static int run_all(lab *l)
{
    static const experts_case types[] = {
        {.type_name = "f32", .type = DGM_W_F32, .compute = DGM_COMPUTE_F32},
        {.type_name = "int8", .type = DGM_W_INT8, .compute = DGM_COMPUTE_F32},
        {.type_name = "int8 x int8", .type = DGM_W_INT8, .compute = DGM_COMPUTE_INT8},
        {.type_name = "int4 x int8", .type = DGM_W_INT4, .compute = DGM_COMPUTE_INT8}};
    static const int loads[][2] = {{2, 2}, {8, 2}, {8, 8}, {32, 2}, {32, 8}, {32, 32}};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
        for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
            experts_case c = types[t];
            c.rows = loads[i][0];
            c.active = loads[i][1];
            DGM_TRY(run_case(l, &c));
        }
    return DGM_OK;
}

/* Values that the compiler and the cache cannot guess, small enough that no sum overflows. */
static void fill(float *x, size_t n)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-24f - 0.5f;
    }
}

static int lab_open(lab *l, int threads)
{
    const size_t weight_bytes = (size_t)EXPERTS * 2 * MATRIX * sizeof(float),
                 row_floats = (size_t)MOST_ROWS * (FFN + 3 * D);
    DGM_TRY(dgm_arena_init(&l->scratch,
                           dgm_gemm_scratch_bytes(MOST_ROWS, MOST_ROWS, FFN, FFN, threads)));
    DGM_TRY(
        dgm_arena_init_huge(&l->memory, weight_bytes + (row_floats + FFN) * sizeof(float) + 4096));
    l->weights = dgm_arena_push(&l->memory, weight_bytes);
    l->scales = dgm_arena_push(&l->memory, FFN * sizeof(float));
    l->x = dgm_arena_push(&l->memory, (size_t)MOST_ROWS * D * sizeof(float));
    l->y = dgm_arena_push(&l->memory, (size_t)MOST_ROWS * D * sizeof(float));
    l->first = dgm_arena_push(&l->memory, (size_t)MOST_ROWS * D * sizeof(float));
    l->hidden = dgm_arena_push(&l->memory, (size_t)MOST_ROWS * FFN * sizeof(float));
    fill(l->weights, weight_bytes / sizeof(float));
    fill(l->scales, FFN);
    fill(l->x, (size_t)MOST_ROWS * D);
    return DGM_OK;
}

static int run(lab *l, int threads)
{
    for (l->threads = 1;; l->threads = threads) {
        DGM_TRY(dgm_pool_create(&l->pool, l->threads));
        const int rc = run_all(l);
        dgm_pool_destroy(l->pool);
        DGM_TRY(rc);
        if (l->threads == threads)
            return DGM_OK;
    }
}

int dgm_bench_experts(const dgm_options *o)
{
    const int threads = o->threads > 0 ? o->threads : dgm_cpus_own();
    lab l = {.json = o->json};
    int rc = dgm_kernels_select(&l.kern, strcmp(o->isa, "auto") == 0 ? NULL : o->isa);
    if (rc == DGM_OK)
        rc = lab_open(&l, threads);
    if (rc == DGM_OK && !l.json)
        (void)printf("%d experts of d %d, FFN %d; medians of milliseconds for one layer\n"
                     "%-7s %7s  %-11s %5s %7s %11s %14s %6s %9s\n",
                     EXPERTS, D, FFN, "isa", "threads", "type", "rows", "active", "grouped ms",
                     "one by one ms", "ratio", "GB/s");
    if (rc == DGM_OK)
        rc = run(&l, threads);
    dgm_arena_fini(&l.memory);
    dgm_arena_fini(&l.scratch);
    return dgm_command_end(rc);
}

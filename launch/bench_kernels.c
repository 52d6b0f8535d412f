/*
 * Each case is timed until it has run for a while, and the median counts. Two peaks stand beside the results: fma
 * on registers alone, for what computes, and reading memory once, for what waits for it. `cold` cases walk over
 * more weights than any cache holds, as experts do; their bytes are those of the weights.
 */
#include "launch/bench.h"

#include "base/clock.h"
#include "kernels/gemm.h"
#include "kernels/vocab.h"
#include "launch/session_cpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RUNS = 200, LEAST_RUNS = 5, MOST_ROWS = 512, MOST_K = 2048, MOST_N = 8192 };
enum { VOCAB = 65536, VOCAB_K = 1024, HEADS = 256, HEAD_DIM = 64, POSITIONS = 64, NORM_D = 1024 };
static const size_t COLD_BYTES = (size_t)256 << 20;
static const double SECONDS = 0.3;

typedef struct lab lab;

typedef struct bench_case {
    const char *what;
    void (*run)(lab *l, const struct bench_case *c);
    int rows, k, n;
    bool reads;  /* judged by bytes of memory, not by operations */
    double work; /* operations or bytes of a run */
} bench_case;

struct lab {
    dgm_kernels kern;
    dgm_pool *pool;
    dgm_arena scratch;
    float *weights, *x, *y;
    int threads, turn; /* turn: which of the cold matrices comes next */
    double fma_peak, read_peak;
    bool json;
    const bench_case *now;
};

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_s(lab *l, const bench_case *c)
{
    double t[MOST_RUNS];
    int n = 0;
    c->run(l, c); /* warms up */
    for (const double start = dgm_now_s();
         n < MOST_RUNS && (n < LEAST_RUNS || dgm_now_s() - start < SECONDS); n++) {
        const double begin = dgm_now_s();
        c->run(l, c);
        t[n] = dgm_now_s() - begin;
    }
    qsort(t, (size_t)n, sizeof *t, by_value);
    return t[n / 2];
}

static void gemm(lab *l, const float *weights, const bench_case *c)
{
    const dgm_packed w = {.n = c->n, .k = c->k, .data = weights};
    const dgm_gemm_job job = {
        .x = l->x, .ldx = (size_t)c->k, .y = l->y, .ldy = (size_t)c->n, .w = &w, .rows = c->rows};
    dgm_gemm(&l->kern, l->pool, &job, 1, &l->scratch);
}

static void run_gemm(lab *l, const bench_case *c)
{
    gemm(l, l->weights, c);
}

static void run_thin(lab *l, const bench_case *c)
{
    const size_t bytes = dgm_packed_bytes(c->n, c->k), matrices = COLD_BYTES / bytes;
    gemm(l, l->weights + (size_t)l->turn % matrices * (bytes / sizeof(float)), c);
    l->turn++;
}

static void norm_part(void *ctx, int part, int n_parts)
{
    const lab *l = ctx;
    int begin, end;
    dgm_pool_share(&begin, &end, l->now->rows, part, n_parts);
    for (size_t r = (size_t)begin; r < (size_t)end; r++)
        l->kern.layer_norm(l->y + r * NORM_D, l->x + r * NORM_D, l->weights, l->weights + NORM_D,
                           NORM_D, 1e-5f);
}

static void attend_part(void *ctx, int part, int n_parts)
{
    const lab *l = ctx;
    const size_t head = (size_t)POSITIONS * HEAD_DIM;
    int begin, end;
    float prob[POSITIONS];
    dgm_pool_share(&begin, &end, HEADS, part, n_parts);
    for (size_t h = (size_t)begin; h < (size_t)end; h++)
        l->kern.attend(l->y + h * HEAD_DIM, prob, l->x + h * HEAD_DIM, l->weights + 2 * h * head,
                       l->weights + (2 * h + 1) * head, NULL, HEAD_DIM, HEAD_DIM, POSITIONS,
                       HEAD_DIM, 0.125f);
}

static void run_norm(lab *l, const bench_case *c)
{
    l->now = c;
    dgm_pool_run(l->pool, norm_part, l);
}

static void run_attend(lab *l, const bench_case *c)
{
    l->now = c;
    dgm_pool_run(l->pool, attend_part, l);
}

static void run_vocab(lab *l, const bench_case *c)
{
    enum { BEST = 8 };
    static dgm_vocab_row rows[MOST_ROWS];
    static int32_t ids[MOST_ROWS][BEST];
    static float logits[MOST_ROWS][BEST];
    const dgm_packed w = {.n = c->n, .k = c->k, .data = l->weights};
    for (int r = 0; r < c->rows; r++)
        rows[r] = (dgm_vocab_row){.x = l->x + (size_t)r * (size_t)c->k,
                                  .n_best = BEST,
                                  .want_id = -1,
                                  .ids = ids[r],
                                  .logits = logits[r]};
    if (dgm_vocab(&l->kern, l->pool, rows, c->rows, &w, &l->scratch) != DGM_OK)
        abort(); /* the weights are finite */
}

static void peak_part(void *ctx, int part, int n_parts)
{
    const lab *l = ctx;
    float sink = 1e-30f;
    (void)n_parts;
    (void)l->kern.fma_peak(&sink, 1 << 16);
    l->y[16 * part] = sink;
}

static void run_peak(lab *l, const bench_case *c)
{
    (void)c;
    dgm_pool_run(l->pool, peak_part, l);
}

/* Two streams a thread: dot of one half of its share with the other. */
static void read_part(void *ctx, int part, int n_parts)
{
    const lab *l = ctx;
    const size_t half = COLD_BYTES / sizeof(float) / 2 / (size_t)n_parts;
    const float *mine = l->weights + 2 * half * (size_t)part;
    l->y[16 * part] = l->kern.dot(mine, mine + half, (int)half);
}

static void run_read(lab *l, const bench_case *c)
{
    (void)c;
    dgm_pool_run(l->pool, read_part, l);
}

static void measure_peaks(lab *l)
{
    const bench_case peak = {.run = run_peak}, read = {.run = run_read};
    float sink = 0;
    const double each = l->kern.fma_peak(&sink, 1 << 16);
    l->fma_peak = each * l->threads / median_s(l, &peak) * 1e-9;
    l->read_peak = (double)COLD_BYTES / median_s(l, &read) * 1e-9;
}

static void report(const lab *l, const bench_case *c, double rate)
{
    const char *unit = c->reads ? "GB/s" : "GFLOP/s";
    const double peak = c->reads ? l->read_peak : l->fma_peak;
    if (l->json)
        (void)printf("{\"bench\":\"kernels\",\"isa\":\"%s\",\"threads\":%d,\"what\":\"%s\","
                     "\"rows\":%d,\"k\":%d,\"n\":%d,\"rate\":%.2f,\"unit\":\"%s\",\"peak\":%.2f}\n",
                     l->kern.isa, l->threads, c->what, c->rows, c->k, c->n, rate, unit, peak);
    else
        (void)printf("%-7s %7d  %-12s %5d %5d %6d %9.1f %-8s %9.1f %5.2f\n", l->kern.isa,
                     l->threads, c->what, c->rows, c->k, c->n, rate, unit, peak, rate / peak);
    (void)fflush(stdout);
}

static void run_case(lab *l, bench_case c)
{
    const double multiplied = (double)c.rows * c.k * c.n;
    if (c.work == 0)
        c.work = c.reads ? 4.0 * c.k * c.n : 2.0 * multiplied;
    report(l, &c, c.work / median_s(l, &c) * 1e-9);
}

static void run_all(lab *l, bool quick)
{
    static const int shapes[][2] = {{1024, 4096}, {2048, 8192}};
    measure_peaks(l);
    for (int s = 0; s < 2; s++)
        for (int rows = 64; rows <= (quick ? 64 : MOST_ROWS); rows *= 2)
            run_case(l, (bench_case){"gemm", run_gemm, rows, shapes[s][0], shapes[s][1], false, 0});
    for (int s = 0; s < 2; s++)
        for (int rows = 1; rows <= 4; rows++)
            run_case(
                l, (bench_case){"gemm cold", run_thin, rows, shapes[s][0], shapes[s][1], true, 0});
    run_case(l, (bench_case){"layer norm", run_norm, MOST_ROWS, NORM_D, NORM_D, true,
                             8.0 * MOST_ROWS * NORM_D});
    run_case(l, (bench_case){"attention", run_attend, HEADS, HEAD_DIM, POSITIONS, false,
                             4.0 * HEADS * HEAD_DIM * POSITIONS});
    run_case(l, (bench_case){"vocabulary", run_vocab, 4, VOCAB_K, VOCAB, true, 0});
    if (!quick)
        run_case(l, (bench_case){"vocabulary", run_vocab, 64, VOCAB_K, VOCAB, false, 0});
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
    const size_t row_floats = (size_t)MOST_ROWS * MOST_N;
    const size_t gemm_bytes = dgm_gemm_scratch_bytes(MOST_ROWS, 1, MOST_K, MOST_N, threads);
    const size_t vocab_bytes = dgm_vocab_scratch_bytes(MOST_ROWS, 8, VOCAB, VOCAB_K, threads);
    DGM_TRY(dgm_arena_init(&l->scratch, gemm_bytes > vocab_bytes ? gemm_bytes : vocab_bytes));
    l->weights = dgm_reserve(COLD_BYTES);
    l->x = dgm_reserve(row_floats * sizeof(float));
    l->y = dgm_reserve(row_floats * sizeof(float));
    if (l->weights == NULL || l->x == NULL || l->y == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot reserve %zu MiB of weights", COLD_BYTES >> 20);
    fill(l->weights, COLD_BYTES / sizeof(float));
    fill(l->x, row_floats);
    return DGM_OK;
}

static void lab_close(lab *l)
{
    dgm_release(l->weights, COLD_BYTES);
    dgm_release(l->x, (size_t)MOST_ROWS * MOST_N * sizeof(float));
    dgm_release(l->y, (size_t)MOST_ROWS * MOST_N * sizeof(float));
    dgm_arena_fini(&l->scratch);
}

static int run_isa(lab *l, const char *isa, int threads)
{
    DGM_TRY(dgm_kernels_select(&l->kern, isa));
    for (l->threads = 1;; l->threads = threads) {
        DGM_TRY(dgm_pool_create(&l->pool, l->threads));
        run_all(l, strcmp(l->kern.isa, "ref") == 0); /* the oracle need not be quick */
        dgm_pool_destroy(l->pool);
        if (l->threads == threads)
            return DGM_OK;
    }
}

static int run_isas(lab *l, const char *isa, int threads)
{
    dgm_kernels best;
    if (isa != NULL && isa[0] != '\0' && strcmp(isa, "auto") != 0)
        return run_isa(l, isa, threads);
    DGM_TRY(dgm_kernels_select(&best, NULL));
    for (int level = 0; level <= dgm_kernels_level(best.isa); level++)
        DGM_TRY(run_isa(l, dgm_kernels_level_name(level), threads));
    return DGM_OK;
}

static int own_cpus(void)
{
    dgm_cpus mine;
    const dgm_cpus *const here[] = {&mine};
    dgm_cpus_read(&mine);
    return dgm_cpus_share(&mine, here, 1);
}

int dgm_bench_kernels(const dgm_options *o)
{
    const int threads = o->threads > 0 ? o->threads : own_cpus();
    lab l = {.json = o->json};
    int rc = lab_open(&l, threads);
    if (!l.json && rc == DGM_OK)
        (void)printf("medians; peak: fma on registers, or reading memory, in the same run\n"
                     "%-7s %7s  %-12s %5s %5s %6s %9s %-8s %9s %5s\n",
                     "isa", "threads", "what", "rows", "k", "n", "rate", "unit", "peak", "ratio");
    if (rc == DGM_OK)
        rc = run_isas(&l, o->isa, threads);
    lab_close(&l);
    if (rc != DGM_OK)
        (void)fprintf(stderr, "dragoman: %s\n", dgm_error_text());
    return dgm_exit_code(rc);
}

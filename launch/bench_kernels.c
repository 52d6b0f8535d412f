/*
 * A case and its peak are timed in turns until the case has run for a while, and the medians count: whatever else
 * the machine does meets both alike. The peak is fma on registers for what computes, reading memory once for what
 * waits for it, by the best instruction set of this CPU whichever is measured. `cold` cases walk over more weights
 * than any cache holds, as experts do; their bytes are those of the weights.
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
enum { PEAK_ROUNDS = 1 << 16 };
static const size_t COLD_BYTES = (size_t)256 << 20, SLICE_BYTES = (size_t)32 << 20;
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
    dgm_kernels kern, best; /* best: for the peaks */
    dgm_pool *pool;
    dgm_arena scratch;
    float *weights, *x, *y;
    int threads;
    int turn, slice; /* which of the cold matrices, which slice of memory comes next */
    bool json;
    const bench_case *now;
};

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
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
    const size_t bytes = dgm_packed_bytes(DGM_W_F32, c->n, c->k), matrices = COLD_BYTES / bytes;
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
    if (dgm_vocab(&l->kern, l->pool, rows, c->rows, &w, DGM_COMPUTE_F32, &l->scratch) != DGM_OK)
        abort(); /* the weights are finite */
}

static void fma_part(void *ctx, int part, int n_parts)
{
    const lab *l = ctx;
    (void)n_parts;
    (void)l->best.fma_peak(l->y + 16 * part, PEAK_ROUNDS);
}

/* Two streams a thread: dot of one half of its share of a slice with the other. */
static void read_part(void *ctx, int part, int n_parts)
{
    const lab *l = ctx;
    const size_t floats = SLICE_BYTES / sizeof(float), half = floats / 2 / (size_t)n_parts;
    const float *mine = l->weights + (size_t)l->slice * floats + 2 * half * (size_t)part;
    l->y[16 * part] = l->best.dot(mine, mine + half, (int)half);
}

/* peak_rate - of bursts that take about as long as the case: a short one would slip through a busy machine. */
static double peak_rate(lab *l, bool reads, double seconds)
{
    float sink[DGM_LANES] = {0};
    const double burst =
        reads ? (double)SLICE_BYTES : l->best.fma_peak(sink, 1) * PEAK_ROUNDS * l->threads;
    const double begin = dgm_now_s();
    double work = 0, spent = 0;
    for (; work == 0 || spent < seconds; spent = dgm_now_s() - begin) {
        if (reads)
            l->slice = (int)((size_t)(l->slice + 1) % (COLD_BYTES / SLICE_BYTES));
        dgm_pool_run(l->pool, reads ? read_part : fma_part, l);
        work += burst;
    }
    return work / spent * 1e-9;
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

/* measure - seconds of one run of the case, and the peak's rate. */
static double measure(lab *l, const bench_case *c, double *peak)
{
    double t[MOST_RUNS], p[MOST_RUNS], spent = 0, last = 0;
    int n = 0;
    c->run(l, c); /* warms up */
    for (; n < MOST_RUNS && (n < LEAST_RUNS || spent < SECONDS); n++) {
        p[n] = peak_rate(l, c->reads, last);
        const double begin = dgm_now_s();
        c->run(l, c);
        t[n] = last = dgm_now_s() - begin;
        spent += last;
    }
    *peak = median(p, n);
    return median(t, n);
}

static void report(const lab *l, const bench_case *c, double rate, double peak)
{
    const char *unit = c->reads ? "GB/s" : "GFLOP/s";
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
    double peak;
    const double rate = c.work / measure(l, &c, &peak) * 1e-9;
    report(l, &c, rate, peak);
}

static void run_all(lab *l, bool quick)
{
    static const int shapes[][2] = {{1024, 4096}, {2048, 8192}};
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
    DGM_TRY(dgm_kernels_select(&l->best, NULL));
    if (isa != NULL && isa[0] != '\0' && strcmp(isa, "auto") != 0)
        return run_isa(l, isa, threads);
    for (int level = 0; level <= dgm_kernels_level(l->best.isa); level++)
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

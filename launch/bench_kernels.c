/*
 * A case and its peak are timed in turns until the case has run for a while, and the medians count: whatever else
 * the machine does meets both alike. The peak is fma or dot products on registers for what computes, reading memory once for what
 * waits for it, by the best instruction set of this CPU whichever is measured. `cold` cases walk over more weights
 * than any cache holds, as experts do; their bytes are those of the weights with their scales. Beside each stands the limit
 * that counts: memory, or, where it is less, the bytes that go with as many products as registers can make. Conversions
 * of weights do not count there; what a kernel reaches with a few weights that stay at hand shows what they cost.
 */
#include "launch/bench_kernels.h"

#include "base/clock.h"
#include "kernels/gemm.h"
#include "kernels/vocab.h"
#include "launch/bench_median.h"
#include "launch/commands.h"
#include "launch/session_cpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_RUNS = 200, LEAST_RUNS = 5, MOST_ROWS = 512, MOST_K = 2048, MOST_N = 8192 };
enum { VOCAB = 65536, VOCAB_K = 1024, HEADS = 256, HEAD_DIM = 64, POSITIONS = 64, NORM_D = 1024 };
enum { PEAK_ROUNDS = 1 << 16 };
enum { GROUP = 64, SCALES = MOST_N * MOST_K / GROUP };    /* inputs that share a scale of int4 */
enum { HAND_K = 128, HAND_PANELS = 12, HAND_CALLS = 64 }; /* weights at hand: 24 KiB of int8 */
static const size_t COLD_BYTES = (size_t)256 << 20, SLICE_BYTES = (size_t)32 << 20;
static const double SECONDS = 0.1;

typedef struct lab lab;

/* What a case is measured beside: numbers multiplied, integers multiplied, bytes read, or what its own kernel does with
 * weights at hand. */
enum peak { FMA, DOT, READ, HAND, PEAKS };

typedef struct bench_case {
    const char *what;
    void (*run)(lab *l, const struct bench_case *c);
    int rows, k, n;
    enum peak peak;
    double work; /* operations or bytes of a run */
    bool cold;   /* memory or arithmetic bounds it, whichever is less */
    dgm_wtype type;
    dgm_compute compute;
} bench_case;

struct lab {
    dgm_kernels kern, best; /* best: for the peaks */
    dgm_pool *pool;
    dgm_arena scratch;
    dgm_arena memory; /* of weights */
    float *weights, *x, *y;
    float *scales; /* of integers */
    int threads;
    int turn, slice; /* which of the cold matrices, which slice of memory comes next */
    bool json;
    const bench_case *now;
};

/* What was measured of a case, medians, in 1e9 a second; peaks that do not concern it are 0. */
typedef struct outcome {
    double rate, peak[PEAKS];
} outcome;

static int group_of(const bench_case *c)
{
    return c->type == DGM_W_INT4 ? GROUP : 0;
}

/* scale_bytes - of a case's weights. */
static size_t scale_bytes(const bench_case *c)
{
    if (c->type != DGM_W_INT8 && c->type != DGM_W_INT4)
        return 0;
    const size_t groups = (size_t)dgm_packed_groups(c->k, group_of(c));
    return dgm_packed_panels(c->n) * groups * DGM_PANEL * sizeof(float);
}

static size_t weight_bytes(const bench_case *c)
{
    return dgm_packed_bytes(c->type, c->n, c->k) + scale_bytes(c);
}

/* gemm - with the weights that begin `at` bytes into memory, whatever these bytes mean as integers; scales: theirs. */
static void gemm(lab *l, size_t at, const float *scales, const bench_case *c)
{
    const dgm_packed w = {.n = c->n,
                          .k = c->k,
                          .type = c->type,
                          .group = group_of(c),
                          .data = (const char *)l->weights + at,
                          .scale = scales};
    const dgm_gemm_job job = {.x = l->x,
                              .ldx = (size_t)c->k,
                              .y = l->y,
                              .ldy = (size_t)c->n,
                              .w = &w,
                              .rows = c->rows,
                              .compute = c->compute};
    dgm_gemm(&l->kern, l->pool, &job, 1, &l->scratch);
}

static void run_gemm(lab *l, const bench_case *c)
{
    gemm(l, 0, l->scales, c);
}

static void run_thin(lab *l, const bench_case *c)
{
    const size_t bytes = weight_bytes(c), matrices = COLD_BYTES / bytes;
    const size_t at = (size_t)l->turn % matrices * bytes, after = at + bytes - scale_bytes(c);
    gemm(l, at, l->weights + after / sizeof(float), c);
    l->turn++;
}

/* The product of a cold case with a few of its weights, again and again. */
static void hand_part(void *ctx, int part, int n_parts)
{
    const lab *l = ctx;
    const bench_case *c = l->now;
    const dgm_panels w = {.type = c->type,
                          .data = l->weights,
                          .stride = dgm_panel_bytes(c->type, HAND_K),
                          .scales = {.at = c->type == DGM_W_INT4 ? l->scales : NULL,
                                     .stride = (size_t)HAND_K / GROUP * DGM_PANEL,
                                     .group = GROUP}};
    enum { N = HAND_PANELS * DGM_PANEL };
    float *y = l->y + (size_t)part * MOST_ROWS * N;
    const int most = l->kern.thin_rows;
    (void)n_parts;
    for (int i = 0; i < HAND_CALLS; i++)
        for (int r = 0; r < c->rows; r += most)
            l->kern.wide_rows(y, N, l->x + (size_t)r * HAND_K, HAND_K, &w, HAND_K,
                              c->rows - r < most ? c->rows - r : most, HAND_PANELS);
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
    float prob[DGM_QUERIES * POSITIONS];
    dgm_pool_share(&begin, &end, HEADS / DGM_QUERIES, part, n_parts);
    for (size_t h = DGM_QUERIES * (size_t)begin; h < DGM_QUERIES * (size_t)end; h += DGM_QUERIES) {
        dgm_attend a = {.queries = DGM_QUERIES,
                        .k = l->weights + 2 * h * head,
                        .v = l->weights + (2 * h + 1) * head,
                        .apart = 2 * head,
                        .ld = HEAD_DIM,
                        .n = POSITIONS,
                        .hd = HEAD_DIM,
                        .scale = 0.125f};
        for (size_t r = 0; r < DGM_QUERIES; r++) {
            a.q[r] = l->x + (h + r) * HEAD_DIM;
            a.out[r] = l->y + (h + r) * HEAD_DIM;
        }
        l->kern.attend(prob, POSITIONS, &a);
    }
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

static void dot_part(void *ctx, int part, int n_parts)
{
    const lab *l = ctx;
    (void)n_parts;
    (void)l->best.dot_peak(l->y + 16 * part, PEAK_ROUNDS);
}

/* Two streams a thread: dot of one half of its share of a slice with the other. */
static void read_part(void *ctx, int part, int n_parts)
{
    const lab *l = ctx;
    const size_t floats = SLICE_BYTES / sizeof(float), half = floats / 2 / (size_t)n_parts;
    const float *mine = l->weights + (size_t)l->slice * floats + 2 * half * (size_t)part;
    l->y[16 * part] = l->best.dot(mine, mine + half, (int)half);
}

/* now_s - with one thread this process's time on a CPU, which other work on the machine touches less. */
static double now_s(const lab *l)
{
    struct timespec t;
    if (l->threads > 1)
        return dgm_now_s();
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* peak_rate - of bursts that take about as long as the case: a short one would slip through a busy machine. */
static double peak_rate(lab *l, enum peak peak, double seconds)
{
    static const dgm_pool_fn parts[] = {fma_part, dot_part, read_part, hand_part};
    float sink[DGM_LANES] = {0};
    double burst = (double)SLICE_BYTES;
    if (peak == HAND)
        burst = 2.0 * l->now->rows * HAND_K * HAND_PANELS * DGM_PANEL * HAND_CALLS * l->threads;
    else if (peak != READ)
        burst =
            (peak == FMA ? l->best.fma_peak : l->best.dot_peak)(sink, 1) * PEAK_ROUNDS * l->threads;
    const double begin = now_s(l);
    double work = 0, spent = 0;
    for (; work == 0 || spent < seconds; spent = now_s(l) - begin) {
        l->slice = (int)((size_t)(l->slice + 1) % (COLD_BYTES / SLICE_BYTES));
        dgm_pool_run(l->pool, parts[peak], l);
        work += burst;
    }
    return work / spent * 1e-9;
}

/* beside - whether a case is measured beside a peak. */
static bool beside(const bench_case *c, enum peak peak)
{
    if (!c->cold)
        return peak == c->peak;
    const bool wide = c->compute == DGM_COMPUTE_F32 && c->type != DGM_W_F32;
    return peak == READ || peak == (c->compute == DGM_COMPUTE_INT8 ? DOT : FMA) ||
           (peak == HAND && wide);
}

static outcome measure(lab *l, const bench_case *c)
{
    double t[MOST_RUNS], p[PEAKS][MOST_RUNS], spent = 0, last = 0;
    outcome o = {0};
    int n = 0;
    l->now = c;
    c->run(l, c); /* warms up */
    for (; n < MOST_RUNS && (n < LEAST_RUNS || spent < SECONDS); n++) {
        for (int k = 0; k < PEAKS; k++)
            p[k][n] = beside(c, k) ? peak_rate(l, k, last) : 0;
        const double begin = now_s(l);
        c->run(l, c);
        t[n] = last = now_s(l) - begin;
        spent += last;
    }
    for (int k = 0; k < PEAKS; k++)
        o.peak[k] = dgm_bench_median(p[k], n);
    o.rate = c->work / dgm_bench_median(t, n) * 1e-9;
    return o;
}

/* limit_of - what a rate can be at most, and what bounds it. */
static double limit_of(const bench_case *c, const outcome *o, const char **bound)
{
    static const char *const names[] = {"fma", "products", "memory"};
    enum peak by = c->peak;
    double limit = o->peak[by];
    if (c->cold) {
        const enum peak other = c->compute == DGM_COMPUTE_INT8 ? DOT : FMA;
        const double bytes_per_operation = c->work / (2.0 * c->rows * c->k * c->n);
        if (o->peak[other] * bytes_per_operation < limit) {
            by = other;
            limit = o->peak[by] * bytes_per_operation;
        }
    }
    *bound = names[by];
    return limit;
}

static void report(const lab *l, const bench_case *c, const outcome *o)
{
    static const char *const units[] = {"GFLOP/s", "GOP/s", "GB/s"};
    const char *const unit = units[c->peak], *bound;
    const double limit = limit_of(c, o, &bound);
    if (l->json) {
        (void)printf("{\"bench\":\"kernels\",\"isa\":\"%s\",\"threads\":%d,\"what\":\"%s\","
                     "\"rows\":%d,\"k\":%d,\"n\":%d,\"rate\":%.2f,\"unit\":\"%s\",\"peak\":%.2f,"
                     "\"limit\":%.2f,\"bound\":\"%s\",\"ratio\":%.3f",
                     l->kern.isa, l->threads, c->what, c->rows, c->k, c->n, o->rate, unit,
                     o->peak[c->peak], limit, bound, o->rate / limit);
        if (o->peak[HAND] > 0)
            (void)printf(",\"at_hand_gflops\":%.2f,\"fma_gflops\":%.2f", o->peak[HAND],
                         o->peak[FMA]);
        (void)printf("}\n");
    } else {
        (void)printf("%-7s %7d  %-12s %5d %5d %6d %9.1f %-8s %9.1f %9.1f %-8s %5.2f", l->kern.isa,
                     l->threads, c->what, c->rows, c->k, c->n, o->rate, unit, o->peak[c->peak],
                     limit, bound, o->rate / limit);
        if (o->peak[HAND] > 0)
            (void)printf(" %8.2f", o->peak[HAND] / o->peak[FMA]);
        (void)printf("\n");
    }
    (void)fflush(stdout);
}

static void run_case(lab *l, bench_case c)
{
    if (c.work == 0)
        c.work = c.peak == READ ? (double)weight_bytes(&c) : 2.0 * c.rows * c.k * c.n;
    const outcome o = measure(l, &c);
    report(l, &c, &o);
}

static void run_types(lab *l, const int shape[2], bool quick)
{
    static const struct {
        const char *many, *cold;
        dgm_wtype type;
        dgm_compute compute;
    } sorts[] = {{"gemm", "gemm cold", DGM_W_F32, DGM_COMPUTE_F32},
                 {"bf16", "bf16 cold", DGM_W_BF16, DGM_COMPUTE_F32},
                 {"int8", "int8 cold", DGM_W_INT8, DGM_COMPUTE_F32},
                 {"int4", "int4 cold", DGM_W_INT4, DGM_COMPUTE_F32},
                 {"int8 x int8", "int8x8 cold", DGM_W_INT8, DGM_COMPUTE_INT8},
                 {"int4 x int8", "int4x8 cold", DGM_W_INT4, DGM_COMPUTE_INT8}};
    for (size_t s = 0; s < sizeof sorts / sizeof sorts[0]; s++) {
        const enum peak peak = sorts[s].compute == DGM_COMPUTE_INT8 ? DOT : FMA;
        bench_case c = {.k = shape[0], .n = shape[1]};
        c.type = sorts[s].type;
        c.compute = sorts[s].compute;
        for (c.rows = 1; c.rows <= (quick ? 1 : 8); c.rows *= 2) {
            c.what = sorts[s].cold;
            c.run = run_thin;
            c.peak = READ;
            c.cold = true;
            run_case(l, c);
        }
        c.cold = false;
        for (c.rows = 64; c.rows <= (quick ? 64 : MOST_ROWS); c.rows *= 2) {
            c.what = sorts[s].many;
            c.run = run_gemm;
            c.peak = peak;
            run_case(l, c);
        }
    }
}

static void run_all(lab *l, bool quick)
{
    static const int shapes[][2] = {{1024, 4096}, {2048, 8192}};
    for (int s = 0; s < (quick ? 1 : 2); s++)
        run_types(l, shapes[s], quick);
    run_case(l, (bench_case){.what = "layer norm",
                             .run = run_norm,
                             .rows = MOST_ROWS,
                             .k = NORM_D,
                             .n = NORM_D,
                             .peak = READ,
                             .work = 8.0 * MOST_ROWS * NORM_D});
    run_case(l, (bench_case){.what = "attention",
                             .run = run_attend,
                             .rows = HEADS,
                             .k = HEAD_DIM,
                             .n = POSITIONS,
                             .peak = FMA,
                             .work = 4.0 * HEADS * HEAD_DIM * POSITIONS});
    bench_case vocab = {.what = "vocabulary", .run = run_vocab, .k = VOCAB_K, .n = VOCAB};
    vocab.rows = 4;
    vocab.peak = READ;
    vocab.cold = true;
    run_case(l, vocab);
    vocab.rows = 64;
    vocab.peak = FMA;
    vocab.cold = false;
    if (!quick)
        run_case(l, vocab);
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
    DGM_TRY(dgm_arena_init_huge(&l->memory, COLD_BYTES)); /* as a model's weights lie */
    l->weights = dgm_arena_push(&l->memory, COLD_BYTES);
    l->x = dgm_reserve(row_floats * sizeof(float));
    l->y = dgm_reserve(row_floats * sizeof(float));
    l->scales = dgm_reserve(SCALES * sizeof(float));
    if (l->x == NULL || l->y == NULL || l->scales == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot reserve memory for rows");
    fill(l->weights, COLD_BYTES / sizeof(float));
    fill(l->x, row_floats);
    fill(l->scales, SCALES);
    return DGM_OK;
}

static void lab_close(lab *l)
{
    dgm_arena_fini(&l->memory);
    dgm_release(l->x, (size_t)MOST_ROWS * MOST_N * sizeof(float));
    dgm_release(l->y, (size_t)MOST_ROWS * MOST_N * sizeof(float));
    dgm_release(l->scales, SCALES * sizeof(float));
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

int dgm_bench_kernels(const dgm_options *o)
{
    const int threads = o->threads > 0 ? o->threads : dgm_cpus_own();
    lab l = {.json = o->json};
    int rc = lab_open(&l, threads);
    if (!l.json && rc == DGM_OK)
        (void)printf(
            "medians; peak: fma or integer products on registers, or reading memory, in the same "
            "run; limit: the peak, or less\nwhere arithmetic bounds cold weights, and ratio to it; "
            "at hand: the same kernel with weights in L1, converted, against fma\n"
            "%-7s %7s  %-12s %5s %5s %6s %9s %-8s %9s %9s %-8s %5s %8s\n",
            "isa", "threads", "what", "rows", "k", "n", "rate", "unit", "peak", "limit", "bound",
            "ratio", "at hand");
    if (rc == DGM_OK)
        rc = run_isas(&l, o->isa, threads);
    lab_close(&l);
    return dgm_command_end(rc);
}

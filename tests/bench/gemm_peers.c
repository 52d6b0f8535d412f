/*
 * gemm_peers - this project's f32 GEMM beside OpenBLAS and oneDNN, and its int8 GEMM beside oneDNN's, interleaved in one
 * process.
 *
 * Each round times every contender once on the same shape; the table shows medians over rounds. With one thread the
 * time is this process's CPU time, so other work on the machine counts less; with more it is wall time. OpenBLAS is given
 * the weights as [k][n] and as [n][k] and its better median counts; oneDNN chooses its own weight layout beforehand,
 * as we do. For int8 oneDNN is given rows of u8 and weights of s8; ours are given the same numbers as f32, quantise
 * them, and scale the sums. Usage: gemm_peers THREADS [SECONDS_PER_SHAPE]. The libraries take their thread count from the
 * environment: see gemm_peers.sh.
 */
#include "tests/bench/gemm_peers.h"
#include "base/clock.h"
#include "kernels/gemm.h"

#include <cblas.h>
#include <string.h>

enum { MAX_ROUNDS = 400, MAX_ROWS = 512, MAX_K = 2048, MAX_N = 8192 };
enum { OURS, BLAS_KN, BLAS_NK, ONEDNN, CONTENDERS };
/* of int8 */
enum { INTEGERS = CONTENDERS, INTEGERS_ONEDNN, ALL };

typedef struct bench {
    float *x, *y, *kn, *nk, *panels; /* kn, nk: the weights, row-major, either way round */
    float *counts, *scales;          /* rows of int8 as numbers, scales of 1 */
    unsigned char *bytes;            /* the same rows as u8 */
    int8_t *integers;                /* weights [n, k] */
    void *integer_panels;
    dgm_kernels kern;
    dgm_pool *pool;
    dgm_arena scratch;
    dgm_packed packed, integer_packed;
    onednn dnn;
    shape s;
} bench;

static void run_one(bench *b, int who)
{
    const shape s = b->s;
    dgm_gemm_job job = {.x = b->x,
                        .ldx = (size_t)s.k,
                        .y = b->y,
                        .ldy = (size_t)s.n,
                        .w = &b->packed,
                        .rows = s.rows};
    switch (who) {
    case INTEGERS:
        job.x = b->counts;
        job.w = &b->integer_packed;
        job.compute = DGM_COMPUTE_INT8;
        dgm_gemm(&b->kern, b->pool, &job, 1, &b->scratch);
        break;
    case OURS:
        dgm_gemm(&b->kern, b->pool, &job, 1, &b->scratch);
        break;
    case BLAS_KN:
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, s.rows, s.n, s.k, 1.0f, b->x, s.k,
                    b->kn, s.n, 0.0f, b->y, s.n);
        break;
    case BLAS_NK:
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, s.rows, s.n, s.k, 1.0f, b->x, s.k,
                    b->nk, s.k, 0.0f, b->y, s.n);
        break;
    default:
        onednn_run(&b->dnn);
    }
}

/* differs - a contender that computed something else would win for nothing. */
static int differs(bench *b, const float *ours, int who)
{
    run_one(b, who);
    for (size_t i = 0; i < (size_t)b->s.rows * (size_t)b->s.n; i++)
        if (!(b->y[i] - ours[i] < 1e-2f && ours[i] - b->y[i] < 1e-2f))
            return 1;
    return 0;
}

/* check - contender `who` against the first of its kind. */
static void check(bench *b, int first, int who)
{
    const size_t out = (size_t)b->s.rows * (size_t)b->s.n;
    float *ours = peers_floats(out);
    run_one(b, first);
    memcpy(ours, b->y, out * sizeof *ours);
    if (differs(b, ours, who)) {
        fprintf(stderr, "gemm_peers: contender %d computed another product\n", who);
        exit(1);
    }
    free(ours);
}

/* rates - of contenders begin .. end, G op/s, medians of rounds. */
static void rates(bench *b, double *rate, int begin, int end, int threads, double seconds)
{
    static double time_s[ALL][MAX_ROUNDS];
    const double work = 2e-9 * b->s.rows * (double)b->s.n * b->s.k;
    int rounds = 0;
    for (const double start = dgm_now_s();
         rounds < MAX_ROUNDS && (rounds < 5 || dgm_now_s() - start < seconds); rounds++)
        for (int c = begin; c < end; c++) {
            const double t = peers_now_s(threads);
            run_one(b, c);
            time_s[c][rounds] = peers_now_s(threads) - t;
        }
    for (int c = begin; c < end; c++)
        rate[c] = work / peers_median(time_s[c], rounds);
}

static void bench_shape(bench *b, int threads, double seconds)
{
    double rate[ALL];
    b->packed = (dgm_packed){.n = b->s.n, .k = b->s.k, .data = b->panels};
    dgm_packed_clear(b->panels, DGM_W_F32, b->s.n, b->s.k);
    dgm_pack(b->panels, b->nk, DGM_F32, 0, b->s.n, b->s.k);
    for (int n = 0; n < b->s.n; n++)
        for (int k = 0; k < b->s.k; k++)
            b->kn[(size_t)k * (size_t)b->s.n + (size_t)n] =
                b->nk[(size_t)n * (size_t)b->s.k + (size_t)k];
    onednn_open(&b->dnn, b->s, (operand){dnnl_f32, b->x}, (operand){dnnl_f32, b->nk}, b->y);
    for (int c = 1; c < CONTENDERS; c++)
        check(b, OURS, c);
    rates(b, rate, OURS, CONTENDERS, threads, seconds);
    const double blas = rate[BLAS_KN] > rate[BLAS_NK] ? rate[BLAS_KN] : rate[BLAS_NK];
    const double best = blas > rate[ONEDNN] ? blas : rate[ONEDNN];
    onednn_close(&b->dnn);

    b->integer_packed = (dgm_packed){.n = b->s.n,
                                     .k = b->s.k,
                                     .type = DGM_W_INT8,
                                     .data = b->integer_panels,
                                     .scale = b->scales};
    dgm_packed_clear(b->integer_panels, DGM_W_INT8, b->s.n, b->s.k);
    dgm_pack_integers(b->integer_panels, DGM_W_INT8, b->integers, 0, b->s.n, b->s.k);
    for (int r = 0; r < b->s.rows; r++) /* the largest of each row: scales are 1 */
        b->bytes[(size_t)r * (size_t)b->s.k] = 127;
    for (size_t i = 0; i < (size_t)b->s.rows * (size_t)b->s.k; i++)
        b->counts[i] = b->bytes[i];
    onednn_open(&b->dnn, b->s, (operand){dnnl_u8, b->bytes}, (operand){dnnl_s8, b->integers}, b->y);
    check(b, INTEGERS, INTEGERS_ONEDNN);
    rates(b, rate, INTEGERS, ALL, threads, seconds);
    onednn_close(&b->dnn);
    printf("%7d %5d %5d %5d %8.1f %9.1f %8.1f %8.2f %10.1f %8.1f %8.2f\n", threads, b->s.rows,
           b->s.k, b->s.n, rate[OURS], blas, rate[ONEDNN], rate[OURS] / best, rate[INTEGERS],
           rate[INTEGERS_ONEDNN], rate[INTEGERS] / rate[INTEGERS_ONEDNN]);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static bench b;
    const int threads = argc > 1 ? atoi(argv[1]) : 1;
    const double seconds = argc > 2 ? atof(argv[2]) : 3.0;
    static const shape sizes[] = {
        {0, 1024, 4096}, {0, 4096, 1024}, {0, 2048, 8192}, {0, 8192, 2048}};
    static const int rows[] = {64, 128, 256, 512};
    if (dgm_kernels_select(&b.kern, getenv("DGM_ISA")) != DGM_OK ||
        dgm_pool_create(&b.pool, threads) != DGM_OK ||
        dgm_arena_init(&b.scratch, dgm_gemm_scratch_bytes(MAX_ROWS, 1, MAX_N, MAX_N, threads)) !=
            DGM_OK) {
        fprintf(stderr, "gemm_peers: %s\n", dgm_error_text());
        return 1;
    }
    onednn_start();
    b.x = peers_floats((size_t)MAX_ROWS * MAX_N);
    b.y = peers_floats((size_t)MAX_ROWS * MAX_N);
    b.kn = peers_floats((size_t)MAX_K * MAX_N);
    b.nk = peers_floats((size_t)MAX_K * MAX_N);
    b.panels = peers_floats((size_t)MAX_K * MAX_N);
    b.counts = peers_floats((size_t)MAX_ROWS * MAX_N);
    b.scales = peers_floats(MAX_N);
    for (int i = 0; i < MAX_N; i++)
        b.scales[i] = 1.0f;
    b.bytes = peers_bytes((size_t)MAX_ROWS * MAX_N);
    b.integers = peers_bytes((size_t)MAX_K * MAX_N);
    b.integer_panels = peers_bytes((size_t)MAX_K * MAX_N);
    for (size_t i = 0; i < (size_t)MAX_K * MAX_N; i++)
        b.integers[i] = (int8_t)(b.integers[i] * 2 - 128);
    printf("G op/s, medians; ratio = ours (%s) / the faster of the others; then int8 x int8\n",
           b.kern.isa);
    printf("threads  rows     k     n     ours  OpenBLAS   oneDNN    ratio  ours int8   oneDNN    "
           "ratio\n");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
            b.s = (shape){rows[r], sizes[i].k, sizes[i].n};
            bench_shape(&b, threads, seconds);
        }
    dgm_pool_destroy(b.pool);
    dgm_arena_fini(&b.scratch);
    return 0;
}

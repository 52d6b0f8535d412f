/*
 * gemm_experts - the expert matrices of a mixture, with few rows each: ours as one grouped dgm_gemm call, oneDNN one inner
 * product after the other, alternating in one process, medians; f32, and int8 x int8.
 *
 * Both have the same weights, packed beforehand as each likes best, and rows that lie ready: f32, or bytes (oneDNN u8, ours the
 * same numbers as the int8 rows with a scale that a mixture-of-experts layer hands to its experts). Weights of all experts
 * together are more than a core's cache holds, as in a model. The time of one thread is CPU time, of more wall time.
 * Usage: gemm_experts THREADS [SECONDS_PER_CASE]. oneDNN takes its thread count from the environment: see gemm_peers.sh.
 */
#include "base/clock.h"
#include "kernels/gemm.h"
#include "tests/bench/gemm_peers.h"

#include <stdbool.h>
#include <string.h>

enum { EXPERTS = 16, MAX_ROUNDS = 1000, MAX_ROWS = 32, MAX_K = 4096, MAX_N = 4096 };
enum { MAX_WEIGHTS = 1024 * 4096 }; /* of an expert */
static const double AIM = 0.95;

typedef struct bench {
    dgm_kernels kern;
    dgm_pool *pool;
    dgm_arena scratch;
    int threads;
    double seconds;
    float *x, *y, *weights;     /* [EXPERTS][...]: rows, results, weights [n, k] */
    int8_t *q, *integers;       /* the same of int8; as u8 the rows are the same bytes */
    float *row_scales, *scales; /* of ones */
    char *panels;               /* ours, either type */
    dgm_packed packed[EXPERTS];
    dgm_gemm_job jobs[EXPERTS];
    onednn peer[EXPERTS];
    shape s;
} bench;

static size_t row_numbers(const bench *b)
{
    return (size_t)b->s.rows * (size_t)b->s.k;
}

static void open_expert(bench *b, int e, bool integer)
{
    const shape s = b->s;
    const size_t numbers = (size_t)s.n * (size_t)s.k, at = (size_t)e * numbers;
    const dgm_wtype type = integer ? DGM_W_INT8 : DGM_W_F32;
    char *panels = b->panels + (size_t)e * dgm_packed_bytes(type, s.n, s.k);
    float *y = b->y + (size_t)e * (size_t)s.rows * (size_t)s.n;
    dgm_packed_clear(panels, type, s.n, s.k);
    if (integer)
        dgm_pack_integers(panels, type, b->integers + at, 0, s.n, s.k);
    else
        dgm_pack((float *)(void *)panels, b->weights + at, DGM_F32, 0, s.n, s.k);
    b->packed[e] = (dgm_packed){.n = s.n, .k = s.k, .type = type, .data = panels};
    b->jobs[e] = (dgm_gemm_job){
        .ldx = (size_t)s.k, .y = y, .ldy = (size_t)s.n, .w = &b->packed[e], .rows = s.rows};
    if (integer) {
        int8_t *q = b->q + (size_t)e * row_numbers(b);
        b->packed[e].scale = b->scales;
        b->jobs[e].compute = DGM_COMPUTE_INT8;
        b->jobs[e].q = q;
        b->jobs[e].ldq = (size_t)s.k;
        b->jobs[e].q_scale = b->row_scales;
        onednn_open(&b->peer[e], s, (operand){dnnl_u8, q}, (operand){dnnl_s8, b->integers + at}, y);
    } else {
        float *x = b->x + (size_t)e * row_numbers(b);
        b->jobs[e].x = x;
        onednn_open(&b->peer[e], s, (operand){dnnl_f32, x}, (operand){dnnl_f32, b->weights + at},
                    y);
    }
}

static void run_ours(bench *b)
{
    dgm_gemm(&b->kern, b->pool, b->jobs, EXPERTS, &b->scratch);
}

static void run_peer(bench *b)
{
    for (int e = 0; e < EXPERTS; e++)
        onednn_run(&b->peer[e]);
}

/* check - who computed something else would win for nothing. */
static void check(bench *b)
{
    const size_t out = (size_t)EXPERTS * (size_t)b->s.rows * (size_t)b->s.n;
    float *ours = peers_floats(out);
    run_ours(b);
    memcpy(ours, b->y, out * sizeof *ours);
    memset(b->y, 0, out * sizeof *b->y);
    run_peer(b);
    for (size_t i = 0; i < out; i++)
        if (!(b->y[i] - ours[i] < 1e-2f && ours[i] - b->y[i] < 1e-2f)) {
            fprintf(stderr, "gemm_experts: result %zu: oneDNN has %g, ours is %g\n", i,
                    (double)b->y[i], (double)ours[i]);
            exit(1);
        }
    free(ours);
}

static void bench_case(bench *b, bool integer)
{
    static void (*const sides[])(bench * b) = {run_ours, run_peer};
    static double time_s[2][MAX_ROUNDS];
    const double work = 2e-9 * EXPERTS * b->s.rows * (double)b->s.n * b->s.k;
    int rounds = 0;
    for (int e = 0; e < EXPERTS; e++)
        open_expert(b, e, integer);
    check(b);
    for (const double start = dgm_now_s();
         rounds < MAX_ROUNDS && (rounds < 5 || dgm_now_s() - start < b->seconds); rounds++)
        for (int side = 0; side < 2; side++) {
            const double t = peers_now_s(b->threads);
            sides[side](b);
            time_s[side][rounds] = peers_now_s(b->threads) - t;
        }
    const double ours = work / peers_median(time_s[0], rounds),
                 peer = work / peers_median(time_s[1], rounds);
    printf("%7d  %-4s %7d %5d %5d %5d %8.1f %8.1f %8.2f %5.2f\n", b->threads,
           integer ? "int8" : "f32", EXPERTS, b->s.rows, b->s.k, b->s.n, ours, peer, ours / peer,
           AIM);
    (void)fflush(stdout);
    for (int e = 0; e < EXPERTS; e++)
        onednn_close(&b->peer[e]);
}

static void reserve(bench *b)
{
    const size_t rows = (size_t)EXPERTS * MAX_ROWS;
    b->x = peers_floats(rows * MAX_K);
    b->y = peers_floats(rows * MAX_N);
    b->weights = peers_floats((size_t)EXPERTS * MAX_WEIGHTS);
    b->panels = peers_bytes((size_t)EXPERTS * MAX_WEIGHTS * sizeof(float));
    b->q = peers_bytes(rows * MAX_K);
    b->integers = peers_bytes((size_t)EXPERTS * MAX_WEIGHTS);
    b->scales = peers_floats(MAX_N);
    b->row_scales = peers_floats(MAX_ROWS);
    for (int i = 0; i < MAX_N; i++)
        b->scales[i] = 1.0f;
    for (int i = 0; i < MAX_ROWS; i++)
        b->row_scales[i] = 1.0f;
    for (size_t i = 0; i < (size_t)EXPERTS * MAX_WEIGHTS; i++)
        b->integers[i] = (int8_t)(b->integers[i] * 2 - 128);
}

int main(int argc, char **argv)
{
    static bench b;
    static const shape sizes[] = {{0, 512, 2048}, {0, 2048, 512}, {0, 1024, 4096}, {0, 4096, 1024}};
    static const int rows[] = {4, 8, 16, 32};
    b.threads = argc > 1 ? atoi(argv[1]) : 1;
    b.seconds = argc > 2 ? atof(argv[2]) : 1.0;
    if (dgm_kernels_select(&b.kern, getenv("DGM_ISA")) != DGM_OK ||
        dgm_pool_create(&b.pool, b.threads) != DGM_OK ||
        dgm_arena_init(&b.scratch, dgm_gemm_scratch_bytes(EXPERTS * MAX_ROWS, EXPERTS, MAX_K, MAX_N,
                                                          b.threads)) != DGM_OK) {
        fprintf(stderr, "gemm_experts: %s\n", dgm_error_text());
        return 1;
    }
    onednn_start();
    reserve(&b);
    printf("G op/s, medians; ours (%s) in one call, oneDNN one expert after the other\n",
           b.kern.isa);
    printf("threads  type experts  rows     k     n     ours   oneDNN    ratio   aim\n");
    for (int integer = 0; integer < 2; integer++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
                b.s = (shape){rows[r], sizes[i].k, sizes[i].n};
                bench_case(&b, integer != 0);
            }
    dgm_pool_destroy(b.pool);
    dgm_arena_fini(&b.scratch);
    return 0;
}

/* GEMM of every table against one fmaf chain per output, on 1, 2 and 3 threads, at ugly sizes, bit for bit. */
#include "tests/kernels/isas.h"
#include "tests/kernels/naive.h"

#include "kernels/gemm.h"

enum { PADDING = 3, MOST_JOBS = 40 };

/* A job with all that belongs to it. Rows of x, y and residual are PADDING apart, to show what is written. */
typedef struct problem {
    dgm_gemm_job job;
    dgm_packed w;
    float *x, *weights, *panels, *bias, *residual, *y, *want;
} problem;

enum { BIAS = 1, RESIDUAL = 2, ALIAS = 4, RELU = 8 };

static void problem_open(problem *p, int rows, int n, int k, int mode, enum flavour f)
{
    const size_t r = (size_t)rows, un = (size_t)n, uk = (size_t)k;
    const size_t ldx = uk + PADDING, ldy = un + PADDING;
    p->x = test_floats(r * ldx, f);
    p->weights = test_floats(un * uk, f == HOSTILE ? SMALL : f);
    p->bias = test_floats(un, f);
    p->residual = test_floats(r * ldy, f);
    p->y = test_floats(r * ldy, PLAIN);
    p->want = test_floats(r * ldy, PLAIN);
    p->panels = calloc(1, dgm_packed_bytes(DGM_W_F32, n, k));
    assert_non_null(p->panels);
    dgm_pack(p->panels, p->weights, DGM_F32, 0, n, k);
    p->w = (dgm_packed){.n = n, .k = k, .data = p->panels};
    const float *residual = (mode & ALIAS) != 0      ? p->y
                            : (mode & RESIDUAL) != 0 ? p->residual
                                                     : NULL;
    p->job = (dgm_gemm_job){.x = p->x,
                            .ldx = ldx,
                            .y = p->y,
                            .ldy = ldy,
                            .w = &p->w,
                            .bias = (mode & BIAS) != 0 ? p->bias : NULL,
                            .residual = residual,
                            .ldr = ldy,
                            .rows = rows,
                            .relu = (mode & RELU) != 0};
    memcpy(p->want, p->y, r * ldy * sizeof *p->want);
    for (int i = 0; i < rows; i++)
        for (int c = 0; c < n; c++) {
            const size_t row = (size_t)i;
            const float acc =
                naive_chain(0.0f, p->x + row * ldx, 1, p->weights + (size_t)c * uk, 1, k);
            p->want[row * ldy + (size_t)c] = naive_finish(
                acc, p->job.bias, residual != NULL ? residual + row * ldy : NULL, p->job.relu, c);
        }
}

static void problem_close(problem *p)
{
    free(p->x), free(p->weights), free(p->bias), free(p->residual);
    free(p->y), free(p->want), free(p->panels);
}

static void problem_check(const problem *p, const char *what, int threads)
{
    assert_same_bits(p->y, p->want, (size_t)p->job.rows * p->job.ldy,
                     "%s: %d rows, n %d, k %d, %d threads", what, p->job.rows, p->w.n, p->w.k,
                     threads);
}

/* Scratch of exactly the promised size, all of it given back. */
static void run(const dgm_kernels *kern, const dgm_gemm_job *jobs, int n_jobs, int threads)
{
    int rows = 0, k = 1, n = 1;
    for (int j = 0; j < n_jobs; j++) {
        rows += jobs[j].rows;
        k = jobs[j].w->k > k ? jobs[j].w->k : k;
        n = jobs[j].w->n > n ? jobs[j].w->n : n;
    }
    dgm_arena a;
    dgm_pool *pool;
    assert_int_equal(dgm_arena_init(&a, dgm_gemm_scratch_bytes(rows, n_jobs, k, n, threads)),
                     DGM_OK);
    assert_int_equal(dgm_pool_create(&pool, threads), DGM_OK);
    dgm_gemm(kern, pool, jobs, n_jobs, &a);
    assert_int_equal(a.used, 0);
    dgm_pool_destroy(pool);
    dgm_arena_fini(&a);
}

/* rows, n, k: in place and packed, across every block size of block.c and gemm.c. */
static const int shapes[][3] = {
    {1, 1, 1},      {1, 16, 16},     {1, 17, 15},     {2, 33, 17},    {3, 15, 16},
    {4, 100, 31},   {5, 47, 1},      {6, 64, 64},     {7, 13, 257},   {8, 48, 100},
    {9, 31, 37},    {13, 97, 129},   {17, 130, 5},    {1, 521, 300},  {4, 1030, 131},
    {6, 300, 517},  {7, 521, 257},   {12, 530, 256},  {13, 700, 131}, {25, 263, 521},
    {64, 260, 258}, {191, 520, 130}, {193, 1100, 67}, {390, 90, 777},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void one_job(void **state)
{
    const dgm_kernels kern = isa_of(state);
    for (int s = 0; s < SHAPES; s++) {
        const int mode = s % 16, *d = shapes[s];
        problem p;
        problem_open(&p, d[0], d[1], d[2], mode, (enum flavour)(s % FLAVOURS));
        const size_t size = (size_t)d[0] * p.job.ldy;
        float *before = test_floats(size, PLAIN);
        memcpy(before, p.y, size * sizeof *before);
        for (int threads = 1; threads <= 3; threads++) {
            memcpy(p.y, before, size * sizeof *before);
            run(&kern, &p.job, 1, threads);
            problem_check(&p, "one job", threads);
        }
        free(before);
        problem_close(&p);
    }
}

static void every_way_to_finish(void **state)
{
    const dgm_kernels kern = isa_of(state);
    for (int mode = 0; mode < 16; mode++)
        for (int f = 0; f < FLAVOURS; f++) {
            problem p;
            problem_open(&p, 11, 37, 29, mode, f);
            run(&kern, &p.job, 1, 1);
            problem_check(&p, "finish", 1);
            problem_close(&p);
        }
}

/* Most jobs are empty, as experts are; what belongs to an empty one is not even there. */
static void many_jobs_most_of_them_empty(void **state)
{
    const dgm_kernels kern = isa_of(state);
    for (int threads = 1; threads <= 3; threads++)
        for (int trial = 0; trial < 4; trial++) {
            problem p[MOST_JOBS];
            dgm_gemm_job jobs[MOST_JOBS];
            const dgm_packed absent = {.n = 64, .k = 48, .data = NULL};
            test_seed((unsigned)trial);
            for (int j = 0; j < MOST_JOBS; j++) {
                const bool empty = trial == 3 || test_random(3) != 0;
                const int rows = empty ? 0 : 1 + (int)test_random(trial == 2 ? 100 : 20);
                problem_open(&p[j], rows, 1 + (int)test_random(400), 1 + (int)test_random(200),
                             (int)test_random(16), PLAIN);
                if (rows == 0)
                    p[j].job.w = &absent;
                jobs[j] = p[j].job;
            }
            run(&kern, jobs, MOST_JOBS, threads);
            for (int j = 0; j < MOST_JOBS; j++) {
                problem_check(&p[j], "many jobs", threads);
                problem_close(&p[j]);
            }
        }
}

/* Each job's last tile is padded: the promised scratch must have room for all of them. */
static void many_jobs_of_a_tile_and_a_bit(void **state)
{
    const dgm_kernels kern = isa_of(state);
    enum { JOBS = 5 };
    problem p[JOBS];
    dgm_gemm_job jobs[JOBS];
    for (int j = 0; j < JOBS; j++) {
        problem_open(&p[j], 13, 300, 259, BIAS, PLAIN);
        jobs[j] = p[j].job;
    }
    run(&kern, jobs, JOBS, 1);
    for (int j = 0; j < JOBS; j++) {
        problem_check(&p[j], "padded jobs", 1);
        problem_close(&p[j]);
    }
}

static void no_jobs_at_all(void **state)
{
    const dgm_kernels kern = isa_of(state);
    run(&kern, NULL, 0, 2);
}

static void a_row_alone_has_the_bits_of_the_row_in_a_batch(void **state)
{
    const dgm_kernels kern = isa_of(state);
    problem p;
    problem_open(&p, 40, 530, 300, BIAS | RELU, PLAIN);
    run(&kern, &p.job, 1, 3);
    for (int r = 0; r < 40; r++)
        for (int rows = 1; rows <= 40 - r; rows += 13) {
            dgm_gemm_job job = p.job;
            float *y = test_floats((size_t)rows * job.ldy, PLAIN);
            job.x += (size_t)r * job.ldx;
            job.y = y;
            job.rows = rows;
            run(&kern, &job, 1, 1 + r % 2);
            assert_same_bits(y, p.y + (size_t)r * p.job.ldy, 530, "row %d of %d", r, rows);
            free(y);
        }
    problem_close(&p);
}

/* The two entries by themselves: every number of rows and panels, partial sums carried on. */
static void tiles(void **state)
{
    const dgm_kernels kern = isa_of(state);
    static const int ks[] = {1, 15, 16, 17, 64};
    for (size_t s = 0; s < sizeof ks / sizeof ks[0]; s++)
        for (int rows = 1; rows <= kern.tile_rows; rows++)
            for (int np = 1; np <= kern.tile_panels; np++)
                for (int first = 0; first < 2; first++) {
                    const int k = ks[s];
                    const size_t ldy = (size_t)(16 * np + 5), stride = (size_t)(16 * k + 16);
                    const size_t size = (size_t)rows * ldy, tr = (size_t)kern.tile_rows;
                    float *x = test_floats((size_t)k * tr, HOSTILE);
                    float *w = test_floats((size_t)np * stride, SMALL);
                    float *y = test_floats(size, PLAIN), *want = test_floats(size, PLAIN);
                    memcpy(want, y, size * sizeof *y);
                    for (int r = 0; r < rows; r++)
                        for (int c = 0; c < 16 * np; c++) {
                            float *at = &want[(size_t)r * ldy + (size_t)c];
                            *at = naive_chain(first ? 0.0f : *at, x + r, tr,
                                              w + (size_t)(c / 16) * stride + c % 16, 16, k);
                        }
                    kern.gemm_tile(y, ldy, x, w, stride, k, rows, np, first, NULL, NULL);
                    assert_same_bits(y, want, size, "tile of %d rows, %d panels, k %d", rows, np,
                                     k);
                    free(x), free(w), free(y), free(want);
                }
}

static void thin_rows(void **state)
{
    const dgm_kernels kern = isa_of(state);
    static const int ks[] = {1, 15, 16, 17, 130};
    for (size_t s = 0; s < sizeof ks / sizeof ks[0]; s++)
        for (int rows = 1; rows <= kern.thin_rows; rows++)
            for (int np = 1; np <= 19; np++) {
                const int k = ks[s];
                const size_t ldy = (size_t)(16 * np + 1), ldx = (size_t)(k + 2);
                const size_t stride = (size_t)(16 * k), size = (size_t)rows * ldy;
                float *x = test_floats((size_t)rows * ldx, HOSTILE);
                float *w = test_floats((size_t)np * stride, SMALL);
                float *y = test_floats(size, PLAIN), *want = test_floats(size, PLAIN);
                memcpy(want, y, size * sizeof *y);
                for (int r = 0; r < rows; r++)
                    for (int c = 0; c < 16 * np; c++)
                        want[(size_t)r * ldy + (size_t)c] =
                            naive_chain(0.0f, x + (size_t)r * ldx, 1,
                                        w + (size_t)(c / 16) * stride + c % 16, 16, k);
                kern.gemm_rows(y, ldy, x, ldx, w, stride, k, rows, np);
                assert_same_bits(y, want, size, "%d rows, %d panels, k %d", rows, np, k);
                free(x), free(w), free(y), free(want);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PER_ISA(tiles),
        PER_ISA(thin_rows),
        PER_ISA(one_job),
        PER_ISA(every_way_to_finish),
        PER_ISA(many_jobs_most_of_them_empty),
        PER_ISA(many_jobs_of_a_tile_and_a_bit),
        PER_ISA(no_jobs_at_all),
        PER_ISA(a_row_alone_has_the_bits_of_the_row_in_a_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

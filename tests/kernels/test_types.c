/*
 * Products with bf16, int8 and int4 weights, and with quantised rows, of every table against loops that take one number
 * after the other, bit for bit: whole calls on 1, 2 and 3 threads, then each entry by itself.
 */
#include "tests/kernels/isas.h"
#include "tests/kernels/naive.h"

#include "kernels/gemm.h"
#include "kernels/vocab.h"

enum { PADDING = 5 };

/* A matrix as numbers or integers, and packed. */
typedef struct matrix {
    dgm_packed w;
    float *numbers; /* [n, k]: bf16 widened, or (float)q */
    int8_t *q;      /* [n, k] */
    float *scale;   /* as packed */
    void *panels;
} matrix;

enum kind { ANY, EXTREME }; /* integers: any, or only the two ends */

static int random_integer(dgm_wtype t, enum kind kind)
{
    const int most = t == DGM_W_INT4 ? 8 : 128;
    if (kind == EXTREME)
        return test_random(2) == 0 ? -most : most - 1;
    return (int)test_random(2 * (unsigned)most) - most;
}

static void matrix_open(matrix *m, dgm_wtype t, int n, int k, int group, enum kind kind)
{
    const size_t count = (size_t)n * (size_t)k;
    const size_t scales = dgm_packed_panels(n) * 16 * (size_t)dgm_packed_groups(k, group);
    *m = (matrix){.numbers = malloc(count * sizeof(float)), .q = malloc(count)};
    m->scale = test_floats(scales, PLAIN);
    m->panels = aligned_alloc(64, dgm_packed_bytes(t, n, k));
    assert_true(m->numbers != NULL && m->q != NULL && m->panels != NULL);
    dgm_packed_clear(m->panels, t, n, k);
    if (t == DGM_W_BF16) {
        uint16_t *half = malloc(count * sizeof *half);
        assert_non_null(half);
        test_fill(m->numbers, count, SMALL);
        for (size_t i = 0; i < count; i++)
            memcpy(&half[i], (const char *)&m->numbers[i] + 2, sizeof half[i]);
        dgm_widen(m->numbers, half, DGM_BF16, count);
        dgm_pack_bf16(m->panels, half, 0, n, k);
        free(half);
    } else {
        for (size_t i = 0; i < count; i++)
            m->numbers[i] = m->q[i] = (int8_t)random_integer(t, kind);
        dgm_pack_integers(m->panels, t, m->q, 0, n, k);
    }
    m->w = (dgm_packed){.n = n, .k = k, .type = t, .group = group, .data = m->panels};
    m->w.scale = t == DGM_W_BF16 ? NULL : m->scale;
}

static void matrix_close(matrix *m)
{
    free(m->numbers), free(m->q), free(m->scale), free(m->panels);
}

static float scale_of(const matrix *m, int c, int g)
{
    const int groups = dgm_packed_groups(m->w.k, m->w.group);
    return m->scale[(size_t)(c / 16 * groups + g) * 16 + (size_t)(c % 16)];
}

/* weighed - an output before bias, rows as numbers. */
static float weighed(const matrix *m, const float *x, int c)
{
    const int k = m->w.k, each = m->w.group == 0 ? k : m->w.group;
    const float *w = m->numbers + (size_t)c * (size_t)k;
    if (m->w.type == DGM_W_BF16)
        return naive_chain(0.0f, x, 1, w, 1, k);
    float acc = 0.0f;
    for (int i = 0; i < k; i += each) {
        const float chain = naive_chain(0.0f, x + i, 1, w + i, 1, k - i < each ? k - i : each);
        acc = fmaf(chain, scale_of(m, c, i / each), acc);
    }
    return acc;
}

static void naive_quantise(int8_t *q, float *scale, const float *x, int n)
{
    float top = 0.0f;
    int good = 1;
    for (int i = 0; i < n; i++) {
        q[i] = 0;
        good = good && isfinite(x[i]);
        top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
    }
    *scale = !good ? NAN : 0.0f;
    if (!good || top < ldexpf(1.0f, -100))
        return;
    *scale = top / 127.0f;
    const float factor = 127.0f / top;
    for (int i = 0; i < n; i++) {
        const float at = x[i] * factor;
        q[i] = (int8_t)rintf(at);
    }
}

/* counted - an output with its bias, rows as integers. */
NAIVE_LOOP static float counted(const matrix *m, const int8_t *x, float x_scale, float bias, int c)
{
    const int k = m->w.k, groups = dgm_packed_groups(k, m->w.group);
    const int each = groups == 1 ? k : m->w.group;
    float acc = 0.0f;
    for (int g = 0; g < groups; g++) {
        int64_t sum = 0;
        for (int i = g * each; i < k && i < (g + 1) * each; i++)
            sum += x[i] * m->q[(size_t)c * (size_t)k + (size_t)i];
        assert_true(sum == (int32_t)sum);
        const float s = scale_of(m, c, g), product = x_scale * s;
        if (groups == 1)
            return fmaf((float)sum, product, bias);
        acc = fmaf((float)sum, s, acc);
    }
    return fmaf(acc, x_scale, bias);
}

typedef struct problem {
    matrix m;
    dgm_gemm_job job;
    float *x, *bias, *residual, *y, *want, *q_scale;
    int8_t *q;
} problem;

typedef struct sort {
    dgm_wtype type;
    int group;
    dgm_compute compute;
} sort;

static const sort sorts[] = {
    {DGM_W_BF16, 0, DGM_COMPUTE_F32},     {DGM_W_INT8, 0, DGM_COMPUTE_F32},
    {DGM_W_INT4, 0, DGM_COMPUTE_F32},     {DGM_W_INT8, 32, DGM_COMPUTE_F32},
    {DGM_W_INT4, 32, DGM_COMPUTE_F32},    {DGM_W_INT8, 64, DGM_COMPUTE_F32},
    {DGM_W_INT4, 128, DGM_COMPUTE_F32},   {DGM_W_INT4, 1024, DGM_COMPUTE_F32},
    {DGM_W_INT8, 0, DGM_COMPUTE_INT8},    {DGM_W_INT4, 0, DGM_COMPUTE_INT8},
    {DGM_W_INT8, 32, DGM_COMPUTE_INT8},   {DGM_W_INT4, 32, DGM_COMPUTE_INT8},
    {DGM_W_INT8, 96, DGM_COMPUTE_INT8},   {DGM_W_INT4, 128, DGM_COMPUTE_INT8},
    {DGM_W_INT8, 1024, DGM_COMPUTE_INT8}, {DGM_W_BF16, 0, DGM_COMPUTE_INT8},
};
enum { SORTS = sizeof sorts / sizeof sorts[0] };

static void expect(problem *p, int relu)
{
    const int n = p->m.w.n, k = p->m.w.k;
    const dgm_gemm_job *job = &p->job;
    const bool counts = job->compute == DGM_COMPUTE_INT8 && p->m.w.type != DGM_W_BF16;
    for (int r = 0; r < job->rows; r++) {
        const float *x = p->x + (size_t)r * job->ldx;
        const float *residual = job->residual != NULL ? job->residual + (size_t)r * job->ldr : NULL;
        int8_t *q = p->q + (size_t)r * job->ldx;
        naive_quantise(q, &p->q_scale[r], x, k);
        for (int c = 0; c < n; c++) {
            float *want = &p->want[(size_t)r * job->ldy + (size_t)c];
            if (counts)
                *want = naive_finish(
                    counted(&p->m, q, p->q_scale[r], job->bias != NULL ? job->bias[c] : 0.0f, c),
                    NULL, residual, relu, c);
            else
                *want = naive_finish(weighed(&p->m, x, c), job->bias, residual, relu, c);
        }
    }
}

enum { BIAS = 1, RESIDUAL = 2, RELU = 4, GIVEN = 8 };

static void problem_open(problem *p, sort s, int rows, int n, int k, int mode, enum flavour f)
{
    const size_t r = (size_t)rows, ldx = (size_t)(k + PADDING), ldy = (size_t)(n + PADDING);
    matrix_open(&p->m, s.type, n, k, s.group, ANY);
    p->x = test_floats(r * ldx, f);
    p->bias = test_floats((size_t)n, f);
    p->residual = test_floats(r * ldy, f);
    p->y = test_floats(r * ldy, PLAIN);
    p->want = test_floats(r * ldy, PLAIN);
    p->q_scale = test_floats(r, PLAIN);
    p->q = malloc(r * ldx + 1);
    assert_non_null(p->q);
    memcpy(p->want, p->y, r * ldy * sizeof *p->y);
    for (size_t i = 0; i < r && f != PLAIN;
         i++) { /* rows of zeros, of next to nothing, with one huge number */
        const unsigned what = test_random(8);
        for (int j = 0; j < k && what < 2; j++)
            p->x[i * ldx + (size_t)j] = what == 0 ? 0.0f : 0x1p-120f;
        if (what == 2)
            p->x[i * ldx + test_random((unsigned)k)] = 0x1p+100f;
    }
    p->job = (dgm_gemm_job){.x = p->x,
                            .ldx = ldx,
                            .y = p->y,
                            .ldy = ldy,
                            .w = &p->m.w,
                            .bias = (mode & BIAS) != 0 ? p->bias : NULL,
                            .residual = (mode & RESIDUAL) != 0 ? p->residual : NULL,
                            .ldr = ldy,
                            .rows = rows,
                            .relu = (mode & RELU) != 0,
                            .compute = s.compute};
    expect(p, (mode & RELU) != 0);
    if ((mode & GIVEN) != 0 && s.compute == DGM_COMPUTE_INT8 && s.type != DGM_W_BF16) {
        p->job.x = NULL;
        p->job.q = p->q;
        p->job.ldq = ldx;
        p->job.q_scale = p->q_scale;
    }
}

static void problem_close(problem *p)
{
    matrix_close(&p->m);
    free(p->x), free(p->bias), free(p->residual), free(p->y), free(p->want);
    free(p->q_scale), free(p->q);
}

static void problem_check(const problem *p, int threads)
{
    const dgm_packed *w = &p->m.w;
    assert_same_bits(p->y, p->want, (size_t)p->job.rows * p->job.ldy,
                     "type %d, group %d, compute %d: %d rows, n %d, k %d, %d threads", w->type,
                     w->group, p->job.compute, p->job.rows, w->n, w->k, threads);
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
    const size_t bytes = dgm_gemm_scratch_bytes(rows, n_jobs, k, n, threads);
    assert_int_equal(dgm_arena_init(&a, bytes), DGM_OK);
    assert_int_equal(dgm_pool_create(&pool, threads), DGM_OK);
    dgm_gemm(kern, pool, jobs, n_jobs, &a);
    assert_int_equal(a.used, 0);
    dgm_pool_destroy(pool);
    dgm_arena_fini(&a);
}

/* rows, n, k: in place and in tiles, k of part of a line, of part of a group, of several steps. */
static const int shapes[][3] = {
    {1, 1, 1},      {1, 17, 3},     {2, 33, 31},    {3, 15, 33},    {4, 100, 67},
    {5, 47, 128},   {6, 64, 65},    {7, 13, 257},   {8, 48, 100},   {9, 31, 37},
    {13, 97, 129},  {17, 130, 5},   {1, 521, 300},  {8, 70, 1030},  {12, 530, 256},
    {25, 263, 521}, {50, 97, 2100}, {193, 300, 70}, {40, 600, 777}, {9, 20, 1100},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void one_job_of_each_sort(void **state)
{
    const dgm_kernels kern = isa_of(state);
    for (int s = 0; s < SHAPES; s++)
        for (int t = 0; t < SORTS; t++) {
            const int *d = shapes[s], threads = 1 + (s + t) % 3;
            problem p;
            test_seed((unsigned)(s * SORTS + t));
            problem_open(&p, sorts[t], d[0], d[1], d[2], (s + t) % 16,
                         (enum flavour)((s + t / 2) % FLAVOURS));
            run(&kern, &p.job, 1, threads);
            problem_check(&p, threads);
            problem_close(&p);
        }
}

/* All sorts in one call, half of the jobs empty, whose weights are not even there. */
static void jobs_of_all_sorts_in_one_call(void **state)
{
    const dgm_kernels kern = isa_of(state);
    enum { JOBS = 2 * SORTS };
    const dgm_packed absent = {.n = 64, .k = 48, .type = DGM_W_INT4, .group = 32};
    for (int threads = 1; threads <= 3; threads++) {
        problem p[JOBS];
        dgm_gemm_job jobs[JOBS];
        test_seed((unsigned)threads);
        for (int j = 0; j < JOBS; j++) {
            const int rows = j % 2 == 0 ? 0 : 1 + (int)test_random(40);
            problem_open(&p[j], sorts[j / 2], rows, 1 + (int)test_random(300),
                         1 + (int)test_random(300), (int)test_random(16), PLAIN);
            if (rows == 0)
                p[j].job.w = &absent;
            jobs[j] = p[j].job;
        }
        run(&kern, jobs, JOBS, threads);
        for (int j = 0; j < JOBS; j++) {
            problem_check(&p[j], threads);
            problem_close(&p[j]);
        }
    }
}

static void a_row_alone_has_the_bits_of_the_row_in_a_batch(void **state)
{
    const dgm_kernels kern = isa_of(state);
    for (int t = 0; t < SORTS; t++) {
        problem p;
        problem_open(&p, sorts[t], 30, 330, 300, BIAS | RELU, PLAIN);
        for (int r = 0; r < 30; r += 3)
            for (int rows = 1; rows <= 30 - r; rows += 13) {
                dgm_gemm_job job = p.job;
                job.y = test_floats((size_t)rows * job.ldy, PLAIN);
                job.x += (size_t)r * job.ldx;
                job.rows = rows;
                run(&kern, &job, 1, 1 + r % 2);
                assert_same_bits(job.y, p.want + (size_t)r * job.ldy, 330, "row %d of %d", r, rows);
                free(job.y);
            }
        problem_close(&p);
    }
}

/* bf16 is nothing but f32 of half the bytes. */
static void bf16_has_the_bits_of_the_widened_weights(void **state)
{
    const dgm_kernels kern = isa_of(state);
    for (int rows = 1; rows <= 40; rows += 13) {
        problem p;
        problem_open(&p, sorts[0], rows, 530, 259, BIAS, SMALL);
        float *panels = aligned_alloc(64, dgm_packed_bytes(DGM_W_F32, 530, 259));
        assert_non_null(panels);
        dgm_packed_clear(panels, DGM_W_F32, 530, 259);
        dgm_pack(panels, p.m.numbers, DGM_F32, 0, 530, 259);
        const dgm_packed w = {.n = 530, .k = 259, .data = panels};
        dgm_gemm_job wide = p.job;
        wide.w = &w;
        wide.y = p.want;
        run(&kern, &wide, 1, 2);
        run(&kern, &p.job, 1, 2);
        problem_check(&p, 2);
        free(panels);
        problem_close(&p);
    }
}

/* k = 8192 of nothing but -128, 127 and +-127: the largest sums there are, in which no step may saturate. */
static void the_largest_sums_are_exact(void **state)
{
    const dgm_kernels kern = isa_of(state);
    enum { N = 33, K = 8192, ROWS = 13 };
    for (int t = 0; t < SORTS; t++) {
        if (sorts[t].compute != DGM_COMPUTE_INT8 || sorts[t].type == DGM_W_BF16)
            continue;
        problem p;
        test_seed((unsigned)t);
        problem_open(&p, sorts[t], ROWS, N, K, 0, PLAIN);
        matrix_close(&p.m);
        matrix_open(&p.m, sorts[t].type, N, K, sorts[t].group, EXTREME);
        for (int i = 0; i < ROWS * (K + PADDING); i++)
            p.x[i] = test_random(2) == 0 ? -3.0f : 3.0f;
        for (int i = 0; i < K;
             i++) { /* all products of a row and an output of one sign, and at their largest */
            p.x[i] = 3.0f;
            p.x[K + PADDING + i] = -3.0f;
            p.m.q[i] = sorts[t].type == DGM_W_INT8 ? -128 : -8;
            p.m.q[K + i] = sorts[t].type == DGM_W_INT8 ? 127 : 7;
        }
        dgm_pack_integers(p.m.panels, sorts[t].type, p.m.q, 0, N, K);
        expect(&p, 0);
        for (int rows = 1; rows <= ROWS; rows += 4) {
            p.job.rows = rows;
            run(&kern, &p.job, 1, 1);
            problem_check(&p, 1);
        }
        problem_close(&p);
    }
}

static void a_row_that_is_not_finite_gives_no_number(void **state)
{
    const dgm_kernels kern = isa_of(state);
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int t = 0; t < SORTS; t++)
        for (int rows = 3; rows < 30; rows += 20) {
            if (sorts[t].compute != DGM_COMPUTE_INT8 || sorts[t].type == DGM_W_BF16)
                continue;
            problem p;
            problem_open(&p, sorts[t], rows, 40, 131, BIAS | RELU, PLAIN);
            p.x[p.job.ldx + test_random(131)] = bad[t % 4];
            expect(&p, 1);
            run(&kern, &p.job, 1, 1);
            problem_check(&p, 1);
            for (int c = 0; c < 40; c++)
                assert_true(p.y[p.job.ldy + (size_t)c] != p.y[p.job.ldy + (size_t)c]);
            problem_close(&p);
        }
}

static void rows_are_quantised_and_summed(void **state)
{
    const dgm_kernels kern = isa_of(state);
    static const float tops[] = {1.0f,      0x1p-100f, 0x1.fffffep-101f, 0x1.fffffep+127f,
                                 0x1p-140f, 127.0f};
    for (int n = 1; n < 200; n += n < 40 ? 1 : 37)
        for (int f = 0; f < FLAVOURS; f++)
            for (int top = 0; top < 6; top++) {
                float *x = test_floats((size_t)n, f), scale, want_scale;
                int8_t q[200], want[200];
                int32_t sums[10], want_sums[10] = {0};
                for (int i = 0; i < n && top > 0; i++)
                    x[i] *= tops[top] * 0.5f;
                if (top > 0)
                    x[test_random((unsigned)n)] = test_random(2) == 0 ? tops[top] : -tops[top];
                if (top == 5) /* halves, which go to the even side */
                    for (int i = 0; i < n; i++)
                        x[i] = i == 0 ? 127.0f : (float)(int)test_random(254) - 126.5f;
                memset(q, 77, sizeof q);
                memset(want, 77, sizeof want);
                naive_quantise(want, &want_scale, x, n);
                kern.quantize_row(q, &scale, x, n);
                assert_memory_equal(q, want, sizeof q);
                assert_same_bits(&scale, &want_scale, 1, "scale of %d, top %d", n, top);
                for (int group = 0; group <= 64; group += 32) {
                    memset(want_sums, 0, sizeof want_sums);
                    for (int i = 0; i < n; i++)
                        want_sums[group == 0 ? 0 : i / group] += q[i];
                    kern.sum_row(sums, q, n, group);
                    assert_memory_equal(sums, want_sums,
                                        sizeof *sums * (size_t)dgm_packed_groups(n, group));
                }
                free(x);
            }
}

static dgm_panels panels_of(const matrix *m)
{
    const int groups = dgm_packed_groups(m->w.k, m->w.group);
    dgm_panels w = {
        .type = m->w.type, .data = m->panels, .stride = dgm_panel_bytes(m->w.type, m->w.k)};
    if (groups > 1)
        w.scales = (dgm_scales){m->scale, (size_t)groups * 16, m->w.group};
    return w;
}

/* Sums of floats by themselves: without scales those of all inputs, with scales those of groups. */
static void wide_rows_of_every_number(void **state)
{
    const dgm_kernels kern = isa_of(state);
    static const int ks[] = {1, 7, 16, 67, 130};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++)
        for (int rows = 1; rows <= kern.thin_rows; rows++)
            for (int t = 0; t < 6; t++) {
                const int np = 1 + (rows * 5 + t * 3 + (int)i) % 19, k = ks[i], n = 16 * np;
                const size_t ldx = (size_t)k, ldy = (size_t)n + 1, size = (size_t)rows * ldy;
                matrix m;
                matrix_open(&m, sorts[t].type, n, k, sorts[t].group, ANY);
                const dgm_panels w = panels_of(&m);
                float *x = test_floats((size_t)rows * ldx, HOSTILE);
                float *y = test_floats(size, PLAIN), *want = test_floats(size, PLAIN);
                memcpy(want, y, size * sizeof *y);
                for (int r = 0; r < rows; r++)
                    for (int c = 0; c < n; c++)
                        want[(size_t)r * ldy + (size_t)c] =
                            w.scales.at != NULL
                                ? weighed(&m, x + (size_t)r * ldx, c)
                                : naive_chain(0.0f, x + (size_t)r * ldx, 1,
                                              m.numbers + (size_t)c * (size_t)k, 1, k);
                kern.wide_rows(y, ldy, x, ldx, &w, k, rows, np);
                assert_same_bits(y, want, size, "type %d: %d rows, %d panels, k %d", m.w.type, rows,
                                 np, k);
                float *wide = test_floats(16 * (size_t)k + 1, PLAIN), guard = wide[16 * (size_t)k];
                kern.widen(wide, m.w.type, m.panels, k);
                for (int c = 0; c < 16; c++)
                    for (int j = 0; j < k; j++)
                        assert_same_bits(&wide[16 * j + c], &m.numbers[c * k + j], 1, "widened");
                assert_same_bits(&wide[16 * (size_t)k], &guard, 1, "beyond");
                free(x), free(y), free(want), free(wide);
                matrix_close(&m);
            }
}

/* A tile of f32 weights whose groups have scales, as widened integers come. */
static void tiles_of_groups(void **state)
{
    const dgm_kernels kern = isa_of(state);
    enum { K = 75, GROUP = 32 };
    for (int rows = 1; rows <= kern.tile_rows; rows++)
        for (int np = 1; np <= kern.tile_panels; np++)
            for (int first = 0; first < 2; first++) {
                const size_t ldy = (size_t)(16 * np + 5), size = (size_t)rows * ldy;
                const size_t tr = (size_t)kern.tile_rows;
                float *x = test_floats(K * tr, HOSTILE);
                float *w = test_floats((size_t)np * 16 * K, SMALL);
                float *scale = test_floats((size_t)np * 48, PLAIN);
                float *y = test_floats(size, PLAIN), *want = test_floats(size, PLAIN);
                memcpy(want, y, size * sizeof *y);
                for (int r = 0; r < rows; r++)
                    for (int c = 0; c < 16 * np; c++) {
                        float *at = &want[(size_t)r * ldy + (size_t)c];
                        *at = first ? 0.0f : *at;
                        for (int i = 0; i < K; i += GROUP) {
                            const float *wg = w + c / 16 * 16 * K + i * 16 + c % 16;
                            const float chain = naive_chain(0.0f, x + r + (size_t)i * tr, tr, wg,
                                                            16, K - i < GROUP ? K - i : GROUP);
                            *at = fmaf(chain, scale[c / 16 * 48 + i / GROUP * 16 + c % 16], *at);
                        }
                    }
                const dgm_scales scales = {scale, 48, GROUP};
                kern.gemm_tile(y, ldy, x, w, (size_t)16 * K, K, rows, np, first, &scales, NULL);
                assert_same_bits(y, want, size, "tile of %d rows, %d panels", rows, np);
                free(x), free(w), free(scale), free(y), free(want);
            }
}

/* What a dot product leaves: int32, or with groups a float. */
NAIVE_LOOP static float naive_dots(const matrix *m, const int8_t *q, int c)
{
    const int k = m->w.k, groups = dgm_packed_groups(k, m->w.group);
    const int each = groups == 1 ? k : m->w.group;
    float y = 0.0f;
    for (int g = 0; g < groups; g++) {
        int32_t sum = 0;
        for (int i = g * each; i < k && i < (g + 1) * each; i++)
            sum += q[i] * m->q[c * k + i];
        y = fmaf((float)sum, scale_of(m, c, g), y);
        if (groups == 1)
            memcpy(&y, &sum, sizeof y);
    }
    return y;
}

/* A tile in one call, or in two of which the second goes on from what the first has left. */
static void tile_in_calls(const dgm_kernels *kern, float *y, size_t ldy, const dgm_dot_rows *x,
                          const dgm_panels *w, int k, int rows, int np, bool two)
{
    const int cut = !two ? 0 : k > 32 ? 32 : k > 8 ? 8 : 0;
    dgm_dot_rows rest_x = *x;
    dgm_panels rest = *w;
    if (cut > 0) {
        kern->dot_tile(y, ldy, x, w, cut, rows, np, 1, NULL);
        rest_x.q += cut * kern->dot_tile_rows;
        rest.data = (const char *)w->data + cut / dgm_line_inputs(w->type) * 64;
        if (w->scales.at != NULL) {
            rest.scales.at += 16;
            rest_x.sums++;
        }
    }
    kern->dot_tile(y, ldy, &rest_x, &rest, k - cut, rows, np, cut == 0, NULL);
}

static void dots_of_every_number(void **state)
{
    const dgm_kernels kern = isa_of(state);
    static const int ks[] = {1, 3, 8, 33, 70, 130};
    const int most =
        kern.dot_tile_rows > kern.dot_thin_rows ? kern.dot_tile_rows : kern.dot_thin_rows;
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++)
        for (int rows = 1; rows <= most; rows++)
            for (int t = 8; t < 16; t++) {
                const bool tile = t < 12;
                const int np = tile ? 1 + rows % kern.tile_panels : 1 + (rows * 3 + t) % 11;
                const int k = ks[i], n = 16 * np, group = t % 4 < 2 ? 0 : 32;
                const dgm_wtype type = t % 2 == 0 ? DGM_W_INT8 : DGM_W_INT4;
                const size_t ldq = (size_t)(k + 7) / 8 * 8, ldy = (size_t)n + 3;
                const size_t size = (size_t)rows * ldy;
                const size_t tr = (size_t)(tile ? kern.dot_tile_rows : rows + (int)i % 2);
                const int groups = dgm_packed_groups(k, group);
                if (rows > (tile ? kern.dot_tile_rows : kern.dot_thin_rows))
                    continue;
                matrix m;
                matrix_open(&m, type, n, k, group, rows % 2 == 0 ? EXTREME : ANY);
                int8_t *q = calloc((size_t)rows, ldq), *packed = calloc(ldq, tr);
                int32_t *sums = malloc((size_t)(rows * groups) * sizeof *sums);
                float *y = test_floats(size, PLAIN), *want = test_floats(size, PLAIN);
                assert_true(q != NULL && packed != NULL && sums != NULL);
                memcpy(want, y, size * sizeof *y);
                for (int r = 0; r < rows; r++) {
                    for (int j = 0; j < k; j++) {
                        q[(size_t)r * ldq + (size_t)j] = (int8_t)((int)test_random(255) - 127);
                        packed[(size_t)(j / 4) * tr * 4 + (size_t)(4 * r + j % 4)] =
                            q[(size_t)r * ldq + (size_t)j];
                    }
                    kern.sum_row(sums + r * groups, q + (size_t)r * ldq, k, groups > 1 ? group : 0);
                    for (int c = 0; c < n; c++)
                        want[(size_t)r * ldy + (size_t)c] = naive_dots(&m, q + (size_t)r * ldq, c);
                }
                const dgm_panels w = panels_of(&m);
                const dgm_dot_rows x = {packed, 4 * tr, sums, (size_t)groups};
                if (tile)
                    tile_in_calls(&kern, y, ldy, &x, &w, k, rows, np, (rows + t / 2) % 2 == 0);
                else
                    kern.dot_rows(y, ldy, &x, &w, k, rows, np);
                assert_same_bits(y, want, size, "%s, type %d: %d rows, %d panels, k %d, group %d",
                                 tile ? "tile" : "rows", type, rows, np, k, group);
                free(q), free(packed), free(sums), free(y), free(want);
                matrix_close(&m);
            }
}

static void candidates(const dgm_kernels *kern, sort s, int n_rows, int n, int k, int threads)
{
    matrix m;
    matrix_open(&m, s.type, n, k, s.group, ANY);
    float *x = test_floats((size_t)n_rows * (size_t)k, PLAIN), *full[64];
    dgm_vocab_row rows[64];
    int32_t ids[64][3];
    float logits[64][3];
    dgm_arena a;
    dgm_pool *pool;
    for (int r = 0; r < n_rows; r++) {
        full[r] = test_floats((size_t)n, PLAIN);
        rows[r] = (dgm_vocab_row){.x = x + (size_t)r * (size_t)k,
                                  .n_best = 3,
                                  .want_id = n / 2,
                                  .full = full[r],
                                  .ids = ids[r],
                                  .logits = logits[r]};
    }
    assert_int_equal(dgm_arena_init(&a, dgm_vocab_scratch_bytes(n_rows, 3, n, k, threads)), DGM_OK);
    assert_int_equal(dgm_pool_create(&pool, threads), DGM_OK);
    assert_int_equal(dgm_vocab(kern, pool, rows, n_rows, &m.w, s.compute, &a), DGM_OK);
    assert_int_equal(a.used, 0);
    for (int r = 0; r < n_rows; r++) {
        int8_t q[512];
        float scale;
        naive_quantise(q, &scale, rows[r].x, k);
        for (int c = 0; c < n; c++) {
            const bool counts = s.compute == DGM_COMPUTE_INT8 && s.type != DGM_W_BF16;
            const float want = counts ? counted(&m, q, scale, 0.0f, c) : weighed(&m, rows[r].x, c);
            assert_same_bits(&full[r][c], &want, 1, "type %d compute %d: row %d of %d, id %d",
                             s.type, s.compute, r, n_rows, c);
        }
        const float best = naive_max(full[r], n);
        assert_same_bits(&logits[r][0], &best, 1, "best");
        assert_same_bits(&full[r][ids[r][0]], &best, 1, "best id");
        assert_same_bits(&rows[r].max, &best, 1, "M");
        assert_same_bits(&rows[r].want_logit, &full[r][n / 2], 1, "wanted");
        free(full[r]);
    }
    dgm_pool_destroy(pool);
    dgm_arena_fini(&a);
    free(x);
    matrix_close(&m);
}

static void vocabularies_of_each_sort(void **state)
{
    const dgm_kernels kern = isa_of(state);
    for (int t = 0; t < SORTS; t++) {
        candidates(&kern, sorts[t], 1, 2100, 67, 1 + t % 3);
        candidates(&kern, sorts[t], 50, 4200, 131, 1 + t % 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PER_ISA(rows_are_quantised_and_summed),
        PER_ISA(wide_rows_of_every_number),
        PER_ISA(tiles_of_groups),
        PER_ISA(dots_of_every_number),
        PER_ISA(one_job_of_each_sort),
        PER_ISA(jobs_of_all_sorts_in_one_call),
        PER_ISA(a_row_alone_has_the_bits_of_the_row_in_a_batch),
        PER_ISA(bf16_has_the_bits_of_the_widened_weights),
        PER_ISA(the_largest_sums_are_exact),
        PER_ISA(a_row_that_is_not_finite_gives_no_number),
        PER_ISA(vocabularies_of_each_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

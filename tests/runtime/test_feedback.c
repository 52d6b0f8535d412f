/* Rounding with feedback against the algorithm as its paper has it, in double precision, and against cases worked by hand. */
#include "runtime/factor.h"
#include "runtime/feedback.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_N = 200, MAX_ROWS = 700, OUTPUTS = 24, GROUPS = 8 };

static uint64_t seed = 1;

static float draw(void)
{
    float sum = 0;
    for (int i = 0; i < 6; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(seed >> 40) / (1 << 24) - 0.5f;
    }
    return sum;
}

/* What a case runs on: a pool, an instruction set, scratch. */
typedef struct rig {
    dgm_kernels kern;
    dgm_pool *pool;
    dgm_arena scratch;
    dgm_moments_tools tools;
} rig;

static void rig_open(rig *r, const char *isa, int threads)
{
    if (dgm_kernels_select(&r->kern, isa) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    assert_int_equal(dgm_pool_create(&r->pool, threads), DGM_OK);
    const size_t a = dgm_moments_scratch_bytes(MAX_N, threads),
                 b = dgm_feedback_scratch_bytes(OUTPUTS, MAX_N, threads);
    assert_int_equal(dgm_arena_init(&r->scratch, a > b ? a : b), DGM_OK);
    r->tools = (dgm_moments_tools){&r->kern, r->pool, &r->scratch};
}

static void rig_close(rig *r)
{
    dgm_arena_fini(&r->scratch);
    dgm_pool_destroy(r->pool);
}

static void sum_rows(dgm_moments *m, const float *x, int rows, int n, const rig *r)
{
    assert_int_equal(dgm_moments_init(m, n), DGM_OK);
    for (int at = 0; at < rows; at += 37) /* in pieces, as steps bring them */
        dgm_moments_add(m, x + (size_t)at * (size_t)n, rows - at < 37 ? rows - at : 37, &r->tools);
    dgm_moments_end(m, &r->tools);
    assert_int_equal(m->rows, rows);
}

/* Rows of n correlated inputs: a few causes and some noise. */
static void correlated(float *x, int rows, int n)
{
    enum { CAUSES = 5 };
    float mix[CAUSES * MAX_N];
    for (int i = 0; i < CAUSES * n; i++)
        mix[i] = draw();
    for (int r = 0; r < rows; r++) {
        float cause[CAUSES];
        for (int c = 0; c < CAUSES; c++)
            cause[c] = draw();
        for (int i = 0; i < n; i++) {
            float sum = 0.3f * draw();
            for (int c = 0; c < CAUSES; c++)
                sum += cause[c] * mix[c * n + i];
            x[r * n + i] = sum;
        }
    }
}

static void factors_multiply_to_the_matrix(void **state)
{
    (void)state;
    enum { N = 192 };
    static double a[N * N], r[N * N], again[N * N], work[64 * N];
    dgm_pool *pool;
    for (int i = 0; i < N; i++)
        for (int j = i; j < N; j++)
            a[i * N + j] = a[j * N + i] = (double)draw() + (i == j ? 40 : 0);
    memcpy(r, a, sizeof a);
    assert_true(dgm_factor(r, N, work, NULL));
    for (int i = 0; i < N; i++)
        for (int j = i; j < N; j++) {
            double sum = 0;
            for (int k = j; k < N; k++)
                sum += r[i * N + k] * r[j * N + k];
            assert_true(fabs(sum - a[i * N + j]) < 1e-12 * 40);
        }
    assert_int_equal(dgm_pool_create(&pool, 3), DGM_OK);
    memcpy(again, a, sizeof a);
    assert_true(dgm_factor(again, N, work, pool));
    dgm_pool_destroy(pool);
    for (int i = 0; i < N; i++)
        assert_memory_equal(r + i * N + i, again + i * N + i, sizeof(double) * (size_t)(N - i));
    a[70 * N + 70] = -1;
    assert_false(dgm_factor(a, N, work, NULL));
}

static void moments_are_sums_of_products(void **state)
{
    (void)state;
    static const int widths[] = {1, 16, 64, 70, 129, 200};
    static float x[MAX_ROWS * MAX_N];
    rig one, other;
    rig_open(&one, "ref", 1);
    rig_open(&other, "auto", 3);
    for (size_t c = 0; c < sizeof widths / sizeof widths[0]; c++) {
        const int n = widths[c], rows = 300;
        dgm_moments m, again;
        correlated(x, rows, n);
        sum_rows(&m, x, rows, n, &one);
        sum_rows(&again, x, rows, n, &other);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                double sum = 0, size = 0;
                for (int r = 0; r < rows; r++) {
                    sum += (double)x[r * n + i] * (double)x[r * n + j];
                    size += fabs((double)x[r * n + i] * (double)x[r * n + j]);
                }
                assert_true(fabs(sum - (double)dgm_moments_at(&m, i, j)) <= 1e-5 * size);
                assert_true(dgm_moments_at(&m, i, j) == dgm_moments_at(&again, i, j));
            }
        dgm_moments_fini(&m);
        dgm_moments_fini(&again);
    }
    rig_close(&one);
    rig_close(&other);
}

/* A matrix [OUTPUTS, n] rounded alone, then with feedback. */
typedef struct matrix {
    int n;
    float w[OUTPUTS * MAX_N], scale[OUTPUTS * GROUPS];
    int8_t alone[OUTPUTS * MAX_N], fed[OUTPUTS * MAX_N];
    dgm_feedback_error error[OUTPUTS];
} matrix;

static void fill(matrix *m, int n)
{
    m->n = n;
    for (int i = 0; i < OUTPUTS * n; i++)
        m->w[i] = draw();
}

static void round_both(matrix *m, const dgm_moments *h, double damp, const dgm_quantizer *z,
                       const rig *r)
{
    dgm_feedback f;
    bool solved;
    const size_t n = (size_t)m->n;
    for (size_t i = 0; i < OUTPUTS; i++)
        dgm_quantize_row(m->alone + i * n, m->scale + i * GROUPS, m->w + i * n, m->n, z);
    memcpy(m->fed, m->alone, OUTPUTS * n);
    assert_int_equal(dgm_feedback_init(&f, &solved, h, damp, r->pool), DGM_OK);
    assert_true(solved);
    const dgm_feedback_rows rows = {OUTPUTS, m->w, m->fed, n, m->scale, GROUPS, m->error, false};
    assert_int_equal(dgm_feedback_run(&f, &rows, z, &r->tools), DGM_OK);
    dgm_feedback_fini(&f);
}

static float scale_of(const matrix *m, int i, int x, const dgm_quantizer *z)
{
    return m->scale[i * GROUPS + (z->group == 0 ? 0 : x / z->group)];
}

/* e H e^T of output i. */
static double worth(const matrix *m, int i, const int8_t *q, const dgm_quantizer *z,
                    const dgm_moments *h)
{
    const int n = m->n;
    double e[MAX_N], sum = 0;
    for (int x = 0; x < n; x++)
        e[x] = (double)m->w[i * n + x] -
               (q == NULL ? 0 : (double)((float)q[i * n + x] * scale_of(m, i, x, z)));
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++)
            sum += e[a] * (double)dgm_moments_at(h, a, b) * e[b];
    return sum;
}

/*
 * The paper's algorithm, as it is written: the inverse of the damped H; weight after weight in the given order, the error
 * over the inverse's diagonal goes to those that are left, and a step of Gauss takes the weight out of the inverse.
 */
static void as_published(int8_t *q, const matrix *m, int i, const int *order, const dgm_moments *h,
                         double damp, const dgm_quantizer *z)
{
    static double a[MAX_N][2 * MAX_N];
    const int n = m->n;
    double w[MAX_N], mean = 0;
    for (int x = 0; x < n; x++)
        mean += (double)dgm_moments_at(h, x, x) / n;
    memset(a, 0, sizeof a);
    for (int x = 0; x < n; x++) {
        for (int y = 0; y < n; y++)
            a[x][y] = (double)dgm_moments_at(h, order[x], order[y]) + (x == y ? damp * mean : 0);
        a[x][n + x] = 1;
        w[x] = (double)m->w[i * n + order[x]];
    }
    for (int p = 0; p < n; p++) /* Gauss and Jordan */
        for (int x = 0; x < n; x++) {
            const double factor = x == p ? 1 - 1 / a[p][p] : a[x][p] / a[p][p];
            for (int y = 2 * n; y-- > 0;)
                a[x][y] -= factor * a[p][y];
        }
    for (int x = 0; x < n; x++) {
        const float s = scale_of(m, i, order[x], z);
        q[i * n + order[x]] = (int8_t)dgm_quantize_one((float)w[x], s, z);
        const double e = (w[x] - (double)((float)q[i * n + order[x]] * s)) / a[x][n + x];
        for (int y = x + 1; y < n; y++)
            w[y] -= e * a[x][n + y];
        for (int u = x + 1; u < n; u++)
            for (int v = x + 1; v < n; v++)
                a[u][n + v] -= a[u][n + x] * a[x][n + v] / a[x][n + x];
    }
}

static void it_is_the_published_algorithm(void **state)
{
    (void)state;
    static matrix m;
    static float x[MAX_ROWS * MAX_N];
    static int8_t want[OUTPUTS * MAX_N];
    const dgm_quantizer z[] = {{DGM_W_INT4, 0, DGM_SCALE_PAPER, true},
                               {DGM_W_INT4, 32, DGM_SCALE_127, false}};
    rig r;
    rig_open(&r, "auto", 1);
    for (size_t c = 0; c < 2; c++) {
        enum { N = 90 };
        int order[N], differ = 0;
        dgm_moments h;
        correlated(x, 400, N);
        sum_rows(&h, x, 400, N, &r);
        fill(&m, N);
        round_both(&m, &h, 0.01, &z[c], &r);
        for (int i = 0; i < N; i++) /* by descending diagonal */
            order[i] = i;
        for (int i = 0; i < N; i++)
            for (int j = i; j > 0 && dgm_moments_at(&h, order[j], order[j]) >
                                         dgm_moments_at(&h, order[j - 1], order[j - 1]);
                 j--) {
                const int t = order[j];
                order[j] = order[j - 1];
                order[j - 1] = t;
            }
        for (int i = 0; i < OUTPUTS; i++)
            as_published(want, &m, i, order, &h, 0.01, &z[c]);
        for (int i = 0; i < OUTPUTS; i++)
            differ += memcmp(want + i * N, m.fed + i * N, N) != 0;
        /* where f32 and f64 fall on two sides of a half, the rest of the row may differ */
        if (differ > 1)
            fail_msg("case %zu: %d rows of %d differ", c, differ, OUTPUTS);
        dgm_moments_fini(&h);
    }
    rig_close(&r);
}

static void errors_are_of_the_outputs_and_fall(void **state)
{
    (void)state;
    static matrix m;
    static float x[MAX_ROWS * MAX_N];
    static const int widths[] = {20, 64, 130, 200};
    rig r;
    rig_open(&r, "auto", 2);
    for (size_t c = 0; c < 8; c++) {
        const dgm_quantizer z = {c % 2 ? DGM_W_INT8 : DGM_W_INT4, c < 4 ? 0 : 32, DGM_SCALE_PAPER,
                                 true};
        const int n = widths[c / 2];
        double alone = 0, fed = 0;
        dgm_moments h;
        correlated(x, MAX_ROWS, n);
        sum_rows(&h, x, MAX_ROWS, n, &r);
        fill(&m, n);
        round_both(&m, &h, 0.01, &z, &r);
        for (int i = 0; i < OUTPUTS; i++) {
            const dgm_feedback_error *e = &m.error[i];
            assert_true(fabs(e->all - worth(&m, i, NULL, &z, &h)) < 1e-4 * e->all);
            assert_true(fabs(e->alone - worth(&m, i, m.alone, &z, &h)) < 1e-3 * e->alone);
            assert_true(fabs(e->fed - worth(&m, i, m.fed, &z, &h)) < 1e-2 * e->alone);
            assert_true(e->fed <= e->alone);
            alone += e->alone;
            fed += e->fed;
        }
        if (!(fed < 0.6 * alone))
            fail_msg("case %zu: %g with feedback, %g without", c, fed, alone);
        dgm_moments_fini(&h);
    }
    rig_close(&r);
}

static void two_inputs_by_hand(void **state)
{
    (void)state;
    static const float w[] = {0.4f, 0.4f},
                       x[] = {1, 1, 1, 0, 0, 1}; /* H = [2 1; 1 2]: U_01 = 1/2 */
    const dgm_quantizer z = {DGM_W_INT4, 0, DGM_SCALE_127, false};
    dgm_moments h;
    rig r;
    rig_open(&r, "auto", 1);
    sum_rows(&h, x, 3, 2, &r);
    /* scales are given: 1, so both stand for 0 alone; 0.4 + 0.4 / 2 rounds up */
    dgm_feedback f;
    bool solved;
    const float one = 1;
    int8_t q[2] = {0, 0};
    dgm_feedback_error e;
    assert_int_equal(dgm_feedback_init(&f, &solved, &h, 0, r.pool), DGM_OK);
    assert_true(solved);
    const dgm_feedback_rows rows = {1, w, q, 2, &one, 1, &e, false};
    assert_int_equal(dgm_feedback_run(&f, &rows, &z, &r.tools), DGM_OK);
    assert_int_equal(q[0], 0);
    assert_int_equal(q[1], 1);
    assert_true(fabs(e.all - 0.96) < 1e-6 && fabs(e.alone - 0.96) < 1e-6 &&
                fabs(e.fed - 0.56) < 1e-6);
    dgm_feedback_fini(&f);
    dgm_moments_fini(&h);
    rig_close(&r);
}

static void independent_inputs_are_rounded_alone(void **state)
{
    (void)state;
    enum { N = 130 };
    static matrix m;
    static float x[N * N];
    const dgm_quantizer z = {DGM_W_INT4, 0, DGM_SCALE_PAPER, true};
    dgm_moments h;
    rig r;
    rig_open(&r, "auto", 1);
    for (int i = 0; i < N; i++)
        x[i * N + i] = 1;
    sum_rows(&h, x, N, N, &r);
    fill(&m, N);
    round_both(&m, &h, 0.01, &z, &r);
    assert_memory_equal(m.alone, m.fed, OUTPUTS * N);
    dgm_moments_fini(&h);
    rig_close(&r);
}

/* Inputs that have little to do with each other: now and then greed does not pay, and then the row stays as it was. */
static void feedback_that_does_worse_is_left_out(void **state)
{
    (void)state;
    enum { N = 24 };
    static matrix m;
    static float x[MAX_ROWS * N];
    const dgm_quantizer z = {DGM_W_INT4, 0, DGM_SCALE_PAPER, true};
    dgm_moments h;
    rig r;
    int left = 0;
    rig_open(&r, "auto", 1);
    for (int i = 0; i < MAX_ROWS * N; i++)
        x[i] = draw();
    sum_rows(&h, x, MAX_ROWS, N, &r);
    for (int t = 0; t < 20; t++) {
        fill(&m, N);
        round_both(&m, &h, 0.01, &z, &r);
        for (int i = 0; i < OUTPUTS; i++) {
            assert_true(m.error[i].fed <= m.error[i].alone);
            assert_true(fabs(m.error[i].fed - worth(&m, i, m.fed, &z, &h)) <
                        1e-3 * m.error[i].alone);
            left += memcmp(m.fed + i * N, m.alone + i * N, N) == 0;
        }
    }
    assert_true(left > 0 && left < 20 * OUTPUTS);
    dgm_moments_fini(&h);
    rig_close(&r);
}

static void odd_moments_do_no_harm(void **state)
{
    (void)state;
    enum { N = 100 };
    static matrix m;
    static float x[MAX_ROWS * N];
    const dgm_quantizer z = {DGM_W_INT4, 0, DGM_SCALE_PAPER, true};
    dgm_feedback f;
    dgm_moments h;
    bool solved = true;
    rig r;
    rig_open(&r, "auto", 1);
    sum_rows(&h, x, 3, N, &r); /* nothing but zeros */
    assert_int_equal(dgm_feedback_init(&f, &solved, &h, 0.01, r.pool), DGM_OK);
    assert_false(solved);
    dgm_moments_fini(&h);
    x[5] = NAN;
    sum_rows(&h, x, 3, N, &r);
    assert_int_equal(dgm_feedback_init(&f, &solved, &h, 0.01, r.pool), DGM_OK);
    assert_false(solved);
    dgm_moments_fini(&h);
    for (int i = 0; i < 2 * N; i++) /* rank 2, one input dead, another a million times the rest */
        x[i] = i % N == 17 ? 0 : i % N == 18 ? 1e6f : draw();
    sum_rows(&h, x, 2, N, &r);
    fill(&m, N);
    round_both(&m, &h, 0.01, &z, &r);
    for (int i = 0; i < OUTPUTS; i++) {
        assert_int_equal(m.fed[i * N + 17], m.alone[i * N + 17]);
        assert_true(m.error[i].fed <= m.error[i].alone);
    }
    dgm_moments_fini(&h);
    rig_close(&r);
}

static void threads_and_isa_do_not_matter(void **state)
{
    (void)state;
    enum { N = 200 };
    static matrix a, b;
    static float x[MAX_ROWS * N];
    const dgm_quantizer z = {DGM_W_INT4, 32, DGM_SCALE_PAPER, true};
    rig one, other;
    dgm_moments h, again;
    rig_open(&one, "ref", 1);
    rig_open(&other, "auto", 3);
    correlated(x, MAX_ROWS, N);
    sum_rows(&h, x, MAX_ROWS, N, &one);
    sum_rows(&again, x, MAX_ROWS, N, &other);
    fill(&a, N);
    b = a;
    round_both(&a, &h, 0.01, &z, &one);
    round_both(&b, &again, 0.01, &z, &other);
    assert_memory_equal(a.fed, b.fed, OUTPUTS * N);
    assert_memory_equal(a.error, b.error, sizeof a.error);
    dgm_moments_fini(&h);
    dgm_moments_fini(&again);
    rig_close(&one);
    rig_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_multiply_to_the_matrix),
        cmocka_unit_test(moments_are_sums_of_products),
        cmocka_unit_test(it_is_the_published_algorithm),
        cmocka_unit_test(errors_are_of_the_outputs_and_fall),
        cmocka_unit_test(two_inputs_by_hand),
        cmocka_unit_test(independent_inputs_are_rounded_alone),
        cmocka_unit_test(feedback_that_does_worse_is_left_out),
        cmocka_unit_test(odd_moments_do_no_harm),
        cmocka_unit_test(threads_and_isa_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

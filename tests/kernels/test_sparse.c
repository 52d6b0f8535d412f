/*
 * Sparse weights of every table against dense ones with the same zeros, bit for bit: whole calls on 1 and 3 threads, at
 * sizes that fill no panel, block or line, with rows that keep nothing and numbers that no kernel likes.
 */
#include "tests/kernels/isas.h"

#include "kernels/gemm.h"
#include "kernels/sparse.h"
#include "kernels/sparse_check.h"

/* A matrix with zeros: row-major, in dense panels, and sparse. */
typedef struct matrix {
    void *rows; /* [n, k] float, or int8_t */
    float *scale;
    dgm_packed dense, sparse;
    uint64_t room;
} matrix;

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    assert_non_null(p);
    return p;
}

/* zero_at - whether the pattern drops input i; some rows, and whole panels, keep nothing. */
static bool drops(dgm_pattern p, int r, int i, int *kept)
{
    if (r % 7 == 3 || (r >= 16 && r < 32))
        return true;
    if (p == DGM_BITMAP)
        return test_random(2) == 0;
    const int n = dgm_nm_n(p), m = dgm_nm_m(p);
    if (i % m == 0)
        *kept = 0;
    /* the last ones are kept where earlier ones were not, so that every place occurs */
    const bool keep = *kept < n && ((int)test_random((unsigned)m) < n || n - *kept >= m - i % m);
    *kept += keep;
    return !keep;
}

static float a_weight(int tiny)
{
    static const float least[] = {DGM_SPARSE_LEAST, -DGM_SPARSE_LEAST, 1.5f * DGM_SPARSE_LEAST};
    float w;
    if (tiny && test_random(2) == 0)
        return least[test_random(3)];
    test_fill(&w, 1, PLAIN);
    return dgm_sparse_keeps(w) ? w : 1.0f;
}

static void fill(matrix *m, dgm_wtype t, dgm_pattern p, int n, int k, int tiny)
{
    float *f = m->rows;
    int8_t *q = m->rows;
    for (int r = 0, kept = 0; r < n; r++)
        for (int i = 0; i < k; i++) {
            const size_t at = (size_t)r * (size_t)k + (size_t)i;
            const bool drop = drops(p, r, i, &kept);
            if (t == DGM_W_INT8) {
                q[at] = (int8_t)(drop ? 0 : (int)test_random(256) - 128);
                continue;
            }
            f[at] = drop ? 0.0f : a_weight(tiny);
            if (t == DGM_W_BF16) {
                const uint32_t bits = (uint32_t)dgm_bf16_round(f[at]) << 16;
                memcpy(&f[at], &bits, sizeof bits);
            }
        }
}

static void pack_dense(const matrix *m)
{
    const dgm_packed *w = &m->dense;
    const size_t count = (size_t)w->n * (size_t)w->k;
    dgm_packed_clear((void *)w->data, w->type, w->n, w->k);
    if (w->type == DGM_W_INT8) {
        dgm_pack_integers((void *)w->data, w->type, m->rows, 0, w->n, w->k);
    } else if (w->type == DGM_W_F32) {
        dgm_pack((float *)w->data, m->rows, DGM_F32, 0, w->n, w->k);
    } else {
        uint16_t *half = malloc(count * sizeof *half);
        assert_non_null(half);
        for (size_t i = 0; i < count; i++)
            half[i] = dgm_bf16_round(((const float *)m->rows)[i]);
        dgm_pack_bf16((void *)w->data, half, 0, w->n, w->k);
        free(half);
    }
}

static void matrix_open(matrix *m, dgm_wtype t, dgm_pattern p, int n, int k, int group, int tiny)
{
    const size_t count = (size_t)n * (size_t)k;
    *m = (matrix){.rows = malloc(count * sizeof(float))};
    assert_non_null(m->rows);
    fill(m, t, p, n, k, tiny);
    m->scale = aligned(dgm_packed_panels(n) * 16 * (size_t)dgm_packed_groups(k, group) * 4);
    test_fill(m->scale, dgm_packed_panels(n) * 16 * (size_t)dgm_packed_groups(k, group), PLAIN);
    m->dense = (dgm_packed){.n = n, .k = k, .type = t, .data = aligned(dgm_packed_bytes(t, n, k))};
    if (t == DGM_W_INT8) {
        m->dense.group = group;
        m->dense.scale = m->scale;
    }
    pack_dense(m);
    m->sparse = m->dense;
    m->sparse.pattern = p;
    m->room = dgm_bitmap_room(t, dgm_sparse_count(t, m->rows, count));
    m->sparse.data = aligned(p == DGM_BITMAP ? m->room * dgm_element_bytes(t)
                                             : dgm_packed_panels(n) * dgm_nm_bytes(p, t, k));
    m->sparse.index = aligned(dgm_packed_panels(n) * dgm_sparse_index_bytes(p, t, k));
    m->sparse.starts = aligned(dgm_bitmap_starts(n, k) * sizeof(uint32_t));
    assert_int_equal(dgm_sparse_pack(&m->sparse, m->rows, m->room, "a"), DGM_OK);
}

static void matrix_close(matrix *m)
{
    free(m->rows), free(m->scale), free((void *)m->dense.data), free((void *)m->sparse.data);
    free((void *)m->sparse.index), free((void *)m->sparse.starts);
}

static const int sizes[][2] = {{1, 1},   {16, 32}, {17, 33},  {5, 7},     {37, 101},
                               {64, 96}, {33, 16}, {113, 40}, {150, 1031}};
static const dgm_wtype types[] = {DGM_W_F32, DGM_W_BF16, DGM_W_INT8};
enum { SIZES = sizeof sizes / sizeof sizes[0], TYPES = 3 };

/* ---- the layout ---- */

static void check_layout(const dgm_kernels *kern, matrix *m)
{
    const dgm_packed *d = &m->dense, *s = &m->sparse;
    const size_t k = (size_t)d->k, bytes = dgm_packed_bytes(d->type, d->n, d->k);
    float *want = malloc(k * sizeof *want), *got = malloc(k * sizeof *got);
    unsigned char *panels = aligned(bytes);
    uint64_t block, wanted, found;
    assert_true(want != NULL && got != NULL);
    for (int r = 0; r < d->n; r++) {
        dgm_packed_read(want, d, r);
        dgm_packed_read(got, s, r);
        for (size_t i = 0; i < k; i++)
            assert_true(want[i] == got[i]);
    }
    memset(panels, 0xee, bytes + 64);
    dgm_sparse_expand(kern, panels, s);
    assert_memory_equal(panels, d->data, bytes);
    for (int i = 0; i < 64; i++)
        assert_int_equal(panels[bytes + (size_t)i], 0xee);
    if (s->pattern == DGM_BITMAP)
        assert_true(dgm_bitmap_check(&block, &wanted, &found, s, m->room));
    free(want), free(got), free(panels);
}

static void layout(void **state)
{
    const dgm_kernels kern = isa_of(state);
    test_seed(3);
    for (int s = 0; s < SIZES; s++)
        for (int t = 0; t < TYPES; t++)
            for (dgm_pattern p = DGM_2_OF_4; p <= DGM_BITMAP; p++) {
                matrix m;
                matrix_open(&m, types[t], p, sizes[s][0], sizes[s][1], 32, 0);
                check_layout(&kern, &m);
                matrix_close(&m);
            }
}

/* A bitmap that lies about its elements is found out, whichever way. */
static void wrong_bitmaps(void **state)
{
    (void)state;
    uint64_t block, wanted, found;
    matrix m;
    test_seed(4);
    matrix_open(&m, DGM_W_BF16, DGM_BITMAP, 40, 600, 0, 0);
    dgm_packed *w = &m.sparse;
    uint16_t *masks = (uint16_t *)w->index;
    uint32_t *starts = (uint32_t *)w->starts;
    assert_true(dgm_bitmap_check(&block, &wanted, &found, w, m.room));
    masks[600 + 300] ^= 4; /* panel 1, block 1 of 3 */
    assert_false(dgm_bitmap_check(&block, &wanted, &found, w, m.room));
    assert_int_equal(block, 4);
    assert_true(wanted == found + 1 || found == wanted + 1);
    masks[600 + 300] ^= 4;
    starts[0] = 1;
    assert_false(dgm_bitmap_check(&block, &wanted, &found, w, m.room));
    starts[0] = 0;
    starts[9] = 0;
    assert_false(dgm_bitmap_check(&block, &wanted, &found, w, m.room));
    assert_int_equal(block, 8);
    assert_int_equal(dgm_sparse_pack(w, m.rows, m.room, "a"), DGM_OK);
    assert_false(dgm_bitmap_check(&block, &wanted, &found, w, starts[9] + 31));
    assert_int_equal(wanted, starts[9] + 32);
    matrix_close(&m);
}

/* set_place - of the number that stands v-th in its block. */
static void set_place(const dgm_packed *w, int r, int b, int v, uint32_t place)
{
    uint32_t *word = (uint32_t *)w->index +
                     (r / DGM_PANEL * dgm_sparse_blocks(w->pattern, w->k) + b) * DGM_PANEL +
                     r % DGM_PANEL;
    const int bit = dgm_nm_bit(w->pattern, v), bits = dgm_nm_bits(w->pattern);
    *word = (*word & ~(((1u << bits) - 1) << bit)) | place << bit;
}

/* Numbers of n of m with a place that is another's, or before it, or past the last input, are found out; what fills up is not. */
static void wrong_places(void **state)
{
    (void)state;
    float w[20 * 54] = {0};
    int row, input;
    for (int t = 0; t < TYPES - 1; t++)
        for (dgm_pattern p = DGM_2_OF_4; p <= DGM_4_OF_8; p++) {
            const int m = dgm_nm_m(p), n = dgm_nm_n(p), block = dgm_nm_inputs(p);
            matrix a;
            matrix_open(&a, types[t], p, 20, 54, 0, 0);
            assert_true(dgm_nm_check(&row, &input, &a.sparse));
            for (int i = 0; i < 20 * 54; i++)
                w[i] = i % 54 % m < n ? 1.0f : 0.0f; /* places 0 .. n - 1; of the last inputs too */
            assert_int_equal(dgm_sparse_pack(&a.sparse, w, 0, "a"), DGM_OK);
            assert_true(dgm_nm_check(&row, &input, &a.sparse));
            set_place(&a.sparse, 18, 0, n + 1, 0); /* the second of the second m inputs */
            assert_false(dgm_nm_check(&row, &input, &a.sparse));
            assert_true(row == 18 && input == m);
            set_place(&a.sparse, 18, 0, n + 1, (uint32_t)m - 1);
            assert_int_equal(dgm_nm_check(&row, &input, &a.sparse),
                             n == 2); /* of 4 it is not the last */
            assert_int_equal(dgm_sparse_pack(&a.sparse, w, 0, "a"), DGM_OK);
            /* of the last 54 - 52 or 54 - 48 inputs: past them */
            set_place(&a.sparse, 3, 54 / block, 54 % block / m * n + n - 1, (uint32_t)m - 1);
            assert_false(dgm_nm_check(&row, &input, &a.sparse));
            assert_true(row == 3 && input == 54 / m * m);
            w[7 * 54 + 1] = 0; /* fills up, at place 0 */
            if (n == 2) {
                assert_int_equal(dgm_sparse_pack(&a.sparse, w, 0, "a"), DGM_OK);
                assert_true(dgm_nm_check(&row, &input, &a.sparse));
            }
            w[7 * 54 + 1] = 1;
            matrix_close(&a);
        }
}

static void too_many(void **state)
{
    (void)state;
    float w[40] = {0};
    matrix m;
    matrix_open(&m, DGM_W_F32, DGM_2_OF_4, 2, 20, 0, 0);
    w[20 + 4] = w[20 + 6] = 1.0f;
    assert_int_equal(dgm_sparse_pack(&m.sparse, w, 0, "fc1"), DGM_OK);
    w[20 + 7] = DGM_SPARSE_LEAST / 2; /* no number */
    assert_int_equal(dgm_sparse_pack(&m.sparse, w, 0, "fc1"), DGM_OK);
    w[20 + 7] = 1.0f;
    assert_int_equal(dgm_sparse_pack(&m.sparse, w, 0, "fc1"), DGM_EUSAGE);
    assert_string_equal(dgm_error_text(),
                        "fc1: row 1: wanted at most 2 numbers but zero among 4 inputs, found more "
                        "from input 4 on");
    matrix_close(&m);
}

/* ---- products ---- */

typedef struct call {
    dgm_compute compute;
    int rows, finish; /* finish: 0 nothing, 1 bias, 2 bias, ReLU and residual */
    const float *x, *bias, *residual;
} call;

static void run(float *y, const dgm_kernels *kern, dgm_pool *pool, const dgm_packed *w,
                const call *c)
{
    const size_t n = (size_t)w->n, k = (size_t)w->k;
    dgm_arena scratch;
    assert_int_equal(dgm_arena_init(&scratch, dgm_gemm_scratch_bytes(c->rows, 1, w->k, w->n, 3)),
                     DGM_OK);
    const dgm_gemm_job job = {.x = c->x,
                              .ldx = k,
                              .y = y,
                              .ldy = n,
                              .w = w,
                              .bias = c->finish > 0 ? c->bias : NULL,
                              .residual = c->finish > 1 ? c->residual : NULL,
                              .ldr = n,
                              .rows = c->rows,
                              .relu = c->finish > 1,
                              .compute = c->compute};
    dgm_gemm(kern, pool, &job, 1, &scratch);
    dgm_arena_fini(&scratch);
}

static void check_call(const dgm_kernels *kern, dgm_pool *pool, const matrix *m, const call *c)
{
    const size_t count = (size_t)m->dense.n * (size_t)c->rows;
    float *want = malloc(count * sizeof *want), *got = malloc(count * sizeof *got);
    assert_true(want != NULL && got != NULL);
    run(want, kern, NULL, &m->dense, c);
    run(got, kern, pool, &m->sparse, c);
    assert_same_bits(got, want, count, "pattern %d type %d [%d, %d] %d rows compute %d finish %d",
                     m->sparse.pattern, m->sparse.type, m->dense.n, m->dense.k, c->rows,
                     (int)c->compute, c->finish);
    free(want), free(got);
}

/* x_of - rows that are plain; with numbers at both sides of the lower limit; with all that floats have; as large as can be. */
static float *x_of(size_t n, int how)
{
    static const float edge[] = {
        DGM_SPARSE_LEAST_X, -DGM_SPARSE_LEAST_X,        DGM_SPARSE_LEAST_X / 2, -0x1p-100f, -0.0f,
        0x1p-149f,          -1.25f * DGM_SPARSE_LEAST_X};
    static const float large[] = {0x1.fffffep63f, -0x1.fffffep63f, 1.0f, -0x1p63f};
    float *x = test_floats(n, how == 2 ? HOSTILE : PLAIN);
    for (size_t i = 0; how == 1 && i < n; i++)
        if (test_random(3) > 0)
            x[i] = edge[test_random(7)];
    for (size_t i = 0; how == 3 && i < n; i++)
        x[i] = large[test_random(4)];
    return x;
}

static void products(void **state)
{
    static const int rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 70};
    const dgm_kernels kern = isa_of(state);
    dgm_pool *pool;
    assert_int_equal(dgm_pool_create(&pool, 3), DGM_OK);
    test_seed(5);
    for (int s = 0; s < SIZES; s++)
        for (int t = 0; t < TYPES; t++)
            for (dgm_pattern p = DGM_2_OF_4; p <= DGM_BITMAP; p++) {
                const int n = sizes[s][0], k = sizes[s][1], group = s % 3 * 32;
                matrix m;
                matrix_open(&m, types[t], p, n, k, group, s % 2);
                float *bias = test_floats((size_t)n, PLAIN);
                for (int i = 0; i < n; i += 3)
                    bias[i] = -0.0f;
                for (int r = 0; r < 13; r++) {
                    call c = {.rows = rows[r], .bias = bias, .finish = r % 3};
                    float *x = x_of((size_t)(c.rows * k), (r + 2 * s + t) % 4);
                    float *residual = test_floats((size_t)(c.rows * n), PLAIN);
                    c.x = x;
                    c.residual = residual;
                    check_call(&kern, r % 2 == 0 ? NULL : pool, &m, &c);
                    c.compute = DGM_COMPUTE_INT8;
                    if (types[t] == DGM_W_INT8)
                        check_call(&kern, r % 2 == 0 ? NULL : pool, &m, &c);
                    free(x), free(residual);
                }
                free(bias);
                matrix_close(&m);
            }
    dgm_pool_destroy(pool);
}

/* plain - the lower limit itself is plain, and so are zeros of both signs; nothing beyond, wherever it stands. */
static void plain_rows(void **state)
{
    static const float good[] = {
        0.0f, -0.0f, DGM_SPARSE_LEAST_X, -DGM_SPARSE_LEAST_X, -0x1.fffffep63f, -1};
    static const float bad[] = {DGM_SPARSE_LEAST_X / 2, -1e-30f,   0x1p-149f,
                                DGM_SPARSE_MOST_X,      -INFINITY, NAN};
    const dgm_kernels kern = isa_of(state);
    float x[70];
    for (int i = 0; i < 70; i++)
        x[i] = good[i % 6];
    assert_true(kern.plain(x, 70));
    for (int i = 0; i < 70; i++) {
        const float was = x[i];
        x[i] = bad[i % 6];
        assert_false(kern.plain(x, 70));
        assert_true(kern.plain(x, i));
        x[i] = was;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_bitmaps),
                                       cmocka_unit_test(wrong_places),
                                       cmocka_unit_test(too_many),
                                       PER_ISA_AND_VBMI2(layout),
                                       PER_ISA(plain_rows),
                                       PER_ISA_AND_VBMI2(products)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

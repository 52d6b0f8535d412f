/*
 * Grouped products and expert FFNs of a device against the `ref` table, bit for bit, at ugly sizes.
 *
 * Runs twice: on a GPU, where there is one, and on the CPU, where the plug-in's own sources run (cuda_on_cpu).
 * DGM_DEVICE_SIZES=more adds sizes that take a GPU, =less leaves some out (for compute-sanitizer's racecheck, which is slow).
 * Without a device it is skipped, or fails where DGM_REQUIRE is cuda.
 */
#include "tests/kernels/isas.h"

#include "kernels/device.h"
#include "kernels/gemm.h"

enum { MOST_EXPERTS = 128 };

static const dgm_device_ops *ops;
static dgm_kernels ref;
static bool more, less;

/* What is computed: types, arithmetic, whether rows come quantised. */
typedef struct sort {
    dgm_wtype type;
    int group;
    dgm_compute compute;
    bool given;
} sort;

static const sort sorts[] = {
    {DGM_W_F32, 0, DGM_COMPUTE_F32, false},   {DGM_W_BF16, 0, DGM_COMPUTE_F32, false},
    {DGM_W_INT8, 0, DGM_COMPUTE_F32, false},  {DGM_W_INT8, 32, DGM_COMPUTE_F32, false},
    {DGM_W_INT8, 96, DGM_COMPUTE_F32, false}, {DGM_W_INT4, 0, DGM_COMPUTE_F32, false},
    {DGM_W_INT4, 64, DGM_COMPUTE_F32, false}, {DGM_W_INT4, 1024, DGM_COMPUTE_F32, false},
    {DGM_W_INT8, 0, DGM_COMPUTE_INT8, false}, {DGM_W_INT8, 0, DGM_COMPUTE_INT8, true},
    {DGM_W_INT8, 64, DGM_COMPUTE_INT8, true}, {DGM_W_INT8, 96, DGM_COMPUTE_INT8, false},
    {DGM_W_INT4, 0, DGM_COMPUTE_INT8, false}, {DGM_W_INT4, 0, DGM_COMPUTE_INT8, true},
    {DGM_W_INT4, 32, DGM_COMPUTE_INT8, true}, {DGM_W_INT4, 128, DGM_COMPUTE_INT8, false},
    {DGM_W_BF16, 0, DGM_COMPUTE_INT8, false},
};
enum { SORTS = sizeof sorts / sizeof sorts[0] };

typedef struct matrix {
    dgm_packed w;
    float *bias, *scale;
    void *panels;
} matrix;

static void fill_panels(matrix *m, enum flavour f)
{
    const int n = m->w.n, k = m->w.k;
    const size_t count = (size_t)n * (size_t)k;
    float *numbers = test_floats(count, f);
    uint16_t *half = malloc(count * sizeof *half);
    int8_t *q = malloc(count);
    assert_true(half != NULL && q != NULL);
    for (size_t i = 0; i < count; i++) {
        half[i] = dgm_bf16_round(numbers[i]);
        q[i] = (int8_t)((int)test_random(256) - 128);
        if (m->w.type == DGM_W_INT4)
            q[i] = (int8_t)(q[i] / 16);
    }
    dgm_packed_clear(m->panels, m->w.type, n, k);
    if (m->w.type == DGM_W_F32)
        dgm_pack(m->panels, numbers, DGM_F32, 0, n, k);
    else if (m->w.type == DGM_W_BF16)
        dgm_pack_bf16(m->panels, half, 0, n, k);
    else
        dgm_pack_integers(m->panels, m->w.type, q, 0, n, k);
    free(numbers), free(half), free(q);
}

static void matrix_open(matrix *m, const sort *s, int n, int k, enum flavour f)
{
    m->w = (dgm_packed){.n = n, .k = k, .type = s->type};
    m->panels = aligned_alloc(64, dgm_packed_bytes(s->type, n, k));
    m->scale = NULL;
    m->bias = test_floats((size_t)n, f);
    assert_non_null(m->panels);
    fill_panels(m, f);
    m->w.data = m->panels;
    const size_t scales = dgm_packed_scales(s->type, n, k, s->group);
    if (scales == 0)
        return;
    m->w.group = s->group;
    m->scale = aligned_alloc(64, scales * sizeof(float));
    assert_non_null(m->scale);
    test_fill(m->scale, scales, PLAIN);
    m->w.scale = m->scale;
}

static void matrix_close(matrix *m)
{
    free(m->panels), free(m->scale), free(m->bias);
}

/* How many rows each expert has. */
typedef struct spread {
    const char *name;
    int experts, rows[8]; /* repeated */
} spread;

typedef struct layer {
    const sort *s;
    const spread *rows_of;
    int d, f, rows, widest;
    matrix fc1[MOST_EXPERTS], fc2[MOST_EXPERTS];
    float *x, *hidden, *y, *want, *q_scale;
    int8_t *q;
    dgm_device *dev;
    dgm_device_expert experts[MOST_EXPERTS];
} layer;

static int rows_of(const layer *l, int e)
{
    return l->rows_of->rows[e % 8];
}

static void put_experts(layer *l, bool bias)
{
    size_t bytes = 0;
    for (int e = 0; e < l->rows_of->experts; e++)
        bytes += ops->matrix_bytes(&l->fc1[e].w) + ops->matrix_bytes(&l->fc2[e].w);
    assert_int_equal(ops->open(&l->dev, 0), DGM_OK);
    assert_int_equal(ops->reserve(l->dev, bytes, l->widest), DGM_OK);
    for (int e = 0; e < l->rows_of->experts; e++) {
        dgm_device_expert *to = &l->experts[e];
        to->rows = rows_of(l, e);
        assert_int_equal(ops->put(l->dev, &to->fc1, &l->fc1[e].w, bias ? l->fc1[e].bias : NULL),
                         DGM_OK);
        assert_int_equal(ops->put(l->dev, &to->fc2, &l->fc2[e].w, bias ? l->fc2[e].bias : NULL),
                         DGM_OK);
    }
}

static void layer_open(layer *l, const sort *s, const spread *rows, int d, int f, bool bias,
                       enum flavour fl)
{
    *l = (layer){.s = s, .rows_of = rows, .d = d, .f = f, .widest = d > f ? d : f};
    for (int e = 0; e < rows->experts; e++) {
        matrix_open(&l->fc1[e], s, f, d, fl);
        matrix_open(&l->fc2[e], s, d, f, fl);
        l->rows += rows_of(l, e);
    }
    const size_t n = (size_t)l->rows + 1, wide = (size_t)l->widest;
    l->x = test_floats(n * (size_t)d, fl);
    l->hidden = test_floats(n * wide, PLAIN);
    l->y = test_floats(n * wide, PLAIN);
    l->want = malloc(n * wide * sizeof(float));
    l->q = malloc(n * (size_t)d);
    l->q_scale = test_floats(n, PLAIN);
    assert_true(l->want != NULL && l->q != NULL);
    memcpy(l->want, l->y, n * wide * sizeof(float));
    for (int r = 0; r < l->rows; r++) {
        float *x = l->x + (size_t)r * (size_t)d;
        if (fl != PLAIN && test_random(8) == 0)
            memset(x, 0, (size_t)d * sizeof *x);
        ref.quantize_row(l->q + (size_t)r * (size_t)d, &l->q_scale[r], x, d);
    }
    put_experts(l, bias);
}

static void layer_close(layer *l)
{
    ops->close(l->dev);
    for (int e = 0; e < l->rows_of->experts; e++) {
        matrix_close(&l->fc1[e]);
        matrix_close(&l->fc2[e]);
    }
    free(l->x), free(l->hidden), free(l->y), free(l->want), free(l->q), free(l->q_scale);
}

/* want_product - with the ref table: rows x through fc1 or fc2 of each expert. */
static void want_product(const layer *l, float *y, const float *x, bool second, bool bias, int relu)
{
    dgm_arena a;
    int at = 0;
    const size_t bytes = dgm_gemm_scratch_bytes(l->rows + 1, 1, l->widest, l->widest, 1);
    assert_int_equal(dgm_arena_init(&a, bytes), DGM_OK);
    for (int e = 0; e < l->rows_of->experts; e++) {
        const matrix *m = second ? &l->fc2[e] : &l->fc1[e];
        const size_t k = (size_t)m->w.k, n = (size_t)m->w.n, row = (size_t)at;
        dgm_gemm_job job = {.x = x + row * k,
                            .ldx = k,
                            .y = y + row * n,
                            .ldy = n,
                            .w = &m->w,
                            .bias = bias ? m->bias : NULL,
                            .rows = rows_of(l, e),
                            .relu = relu,
                            .compute = l->s->compute};
        if (job.rows > 0)
            dgm_gemm(&ref, NULL, &job, 1, &a);
        at += rows_of(l, e);
    }
    dgm_arena_fini(&a);
}

static void check(const layer *l, int n, const char *what)
{
    assert_same_bits(l->y, l->want, (size_t)(l->rows + 1) * (size_t)l->widest,
                     "%s: type %d, group %d, compute %d, given %d: %d rows (%s), %d to %d", what,
                     l->s->type, l->s->group, l->s->compute, l->s->given, l->rows, l->rows_of->name,
                     l->d, n);
}

static void run(const sort *s, const spread *rows, int d, int f, bool bias, enum flavour fl)
{
    layer *l = malloc(sizeof *l);
    assert_non_null(l);
    layer_open(l, s, rows, d, f, bias, fl);
    const int n = rows->experts, relu = (d + f) % 2;
    const dgm_device_rows in = {.rows = l->rows,
                                .k = d,
                                .x = s->given ? NULL : l->x,
                                .q = s->given ? l->q : NULL,
                                .q_scale = s->given ? l->q_scale : NULL};
    want_product(l, l->want, l->x, false, bias, relu);
    assert_int_equal(ops->product(l->dev, l->y, &in, l->experts, n, relu, s->compute), DGM_OK);
    check(l, f, "product");
    want_product(l, l->hidden, l->x, false, bias, 1);
    want_product(l, l->want, l->hidden, true, bias, 0);
    assert_int_equal(ops->ffn(l->dev, l->y, &in, l->experts, n, s->compute), DGM_OK);
    check(l, f, "ffn");
    layer_close(l);
    free(l);
}

static const spread one_row = {"one row", 1, {1}}, few = {"few", 3, {3, 0, 8}},
                    ragged = {"ragged", 5, {0, 9, 1, 0, 17}},
                    all_to_one = {"all to one", 4, {0, 83, 0, 0}}, none = {"none", 2, {0}},
                    many = {"128 experts", 128, {1, 0, 2, 0, 0, 5, 1, 0}},
                    thick = {"thick", 3, {64, 129, 200}},
                    slices = {"slices", 6, {4000, 90, 7, 4097, 1, 300}};

static const struct shape {
    const spread *rows;
    int d, f;
    bool bias;
    enum flavour flavour;
} shapes[] =
    {
        {&one_row, 1, 1, true, PLAIN},     {&few, 31, 17, true, HOSTILE},
        {&few, 160, 224, true, SMALL},     {&few, 67, 113, false, SMALL},
        {&ragged, 97, 131, true, HOSTILE}, {&all_to_one, 64, 48, true, SMALL},
        {&none, 32, 16, true, PLAIN},      {&one_row, 2113, 19, true, SMALL},
},
  large[] = {
      {&many, 127, 257, true, SMALL}, {&thick, 509, 1021, true, HOSTILE},
      {&slices, 64, 80, true, SMALL}, {&one_row, 2048, 4099, true, SMALL},
      {&few, 512, 4096, true, PLAIN}, {&ragged, 1411, 1031, false, SMALL},
};

static void test_ugly_sizes(void **state)
{
    (void)state;
    for (size_t s = 0; s < SORTS; s++)
        for (size_t i = 0; i < (less ? 3 : sizeof shapes / sizeof shapes[0]); i++) {
            const struct shape *p = &shapes[i];
            test_seed((unsigned)(100 * s + i));
            run(&sorts[s], p->rows, p->d, p->f, p->bias, p->flavour);
        }
}

static void test_large(void **state)
{
    (void)state;
    for (size_t s = 0; more && s < SORTS; s++)
        for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
            const struct shape *p = &large[i];
            test_seed((unsigned)(100 * s + i));
            run(&sorts[s], p->rows, p->d, p->f, p->bias, p->flavour);
        }
    if (!more) {
        print_message(
            "[  SKIPPED ] large sizes, which take a GPU: DGM_DEVICE_SIZES=more runs them\n");
        skip();
    }
}

static void test_sums_do_not_overflow(void **state)
{
    (void)state;
    static const sort ends = {DGM_W_INT4, 0, DGM_COMPUTE_INT8, false};
    const int d = more ? 131072 : 4096;
    layer *l = malloc(sizeof *l);
    assert_non_null(l);
    layer_open(l, &ends, &one_row, d, 16, true, PLAIN);
    memset(l->fc1[0].panels, 0, dgm_packed_bytes(DGM_W_INT4, 16, d)); /* all -8 */
    for (int i = 0; i < d; i++)
        l->x[i] = -1.0f;
    ops->close(l->dev);
    put_experts(l, true);
    const dgm_device_rows in = {.rows = 1, .k = d, .x = l->x};
    want_product(l, l->want, l->x, false, true, 0);
    assert_int_equal(ops->product(l->dev, l->y, &in, l->experts, 1, 0, DGM_COMPUTE_INT8), DGM_OK);
    check(l, 16, "largest sums");
    layer_close(l);
    free(l);
}

static void test_no_room(void **state)
{
    (void)state;
    dgm_device *dev;
    dgm_device_info info;
    assert_int_equal(ops->open(&dev, 0), DGM_OK);
    assert_int_equal(ops->info(dev, &info), DGM_OK);
    assert_int_equal(ops->reserve(dev, info.total_bytes, 1024), DGM_EUNSUPPORTED);
    assert_non_null(strstr(dgm_error_text(), "the experts of this rank want"));
    ops->close(dev);
}

int main(void)
{
    int n = 0;
    const char *require = getenv("DGM_REQUIRE");
    const char *sizes = getenv("DGM_DEVICE_SIZES");
    more = sizes != NULL && strcmp(sizes, "more") == 0;
    less = sizes != NULL && strcmp(sizes, "less") == 0;
    int rc = dgm_device_load(&ops, "cuda");
    if (rc == DGM_OK)
        rc = ops->count(&n);
    if (rc != DGM_OK) {
        printf("SKIP test_device: %s\n", dgm_error_text());
        return require != NULL && strcmp(require, "cuda") == 0 ? 1 : 77;
    }
    if (dgm_kernels_select(&ref, "ref") != DGM_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ugly_sizes),
        cmocka_unit_test(test_sums_do_not_overflow),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The vocabulary projection of every table against all logits, sorted: ids, logits, M, log S, bit for bit. */
#include "tests/kernels/isas.h"
#include "tests/kernels/naive.h"

#include "kernels/vocab.h"

typedef struct answer {
    float *logits;  /* [n] */
    int32_t *order; /* [n] best first, ties to the lower id */
    float max, log_sum;
} answer;

static const float *sort_by;

static int best_first(const void *a, const void *b)
{
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    if (sort_by[i] != sort_by[j])
        return sort_by[i] > sort_by[j] ? -1 : 1;
    return i < j ? -1 : 1;
}

static void answer_open(answer *a, const float *x, const float *weights, int n, int k)
{
    float *e = test_floats(DGM_VOCAB_BLOCK, PLAIN), m[200] = {0}, s[200] = {0};
    const int blocks = (n + DGM_VOCAB_BLOCK - 1) / DGM_VOCAB_BLOCK;
    a->logits = test_floats((size_t)n, PLAIN);
    a->order = malloc((size_t)n * sizeof *a->order);
    assert_non_null(a->order);
    for (int i = 0; i < n; i++) {
        a->logits[i] = naive_chain(0.0f, x, 1, weights + (size_t)i * (size_t)k, 1, k);
        a->order[i] = i;
    }
    sort_by = a->logits;
    qsort(a->order, (size_t)n, sizeof *a->order, best_first);
    for (int b = 0; b < blocks; b++) {
        const float *l = a->logits + b * DGM_VOCAB_BLOCK;
        const int part = b + 1 < blocks ? DGM_VOCAB_BLOCK : n - b * DGM_VOCAB_BLOCK;
        m[b] = naive_max(l, part);
        for (int i = 0; i < part; i++)
            e[i] = dgm_exp(l[i] - m[b]);
        s[b] = naive_sum(e, part);
    }
    a->max = naive_max(m, blocks);
    float sum = 0.0f;
    for (int b = 0; b < blocks; b++) {
        const float share = s[b] * dgm_exp(m[b] - a->max);
        sum = sum + share;
    }
    a->log_sum = dgm_ln(sum);
    free(e);
}

typedef struct lab {
    dgm_packed w;
    float *weights, *panels, *x;
    int n_rows;
} lab;

/* Weights on a grid of few values, so that equal logits are common. */
static void lab_open(lab *t, int n_rows, int n, int k)
{
    t->n_rows = n_rows;
    t->weights = test_floats((size_t)n * (size_t)k, PLAIN);
    t->x = test_floats((size_t)n_rows * (size_t)k, PLAIN);
    for (size_t i = 0; i < (size_t)n * (size_t)k; i++)
        t->weights[i] = (float)test_random(k < 4 ? 5 : 200) * 0.02f - 1.0f;
    t->panels = calloc(1, dgm_packed_bytes(DGM_W_F32, n, k));
    assert_non_null(t->panels);
    dgm_pack(t->panels, t->weights, DGM_F32, 0, n, k);
    t->w = (dgm_packed){.n = n, .k = k, .data = t->panels};
}

static void lab_close(lab *t)
{
    free(t->weights), free(t->panels), free(t->x);
}

static int run(const dgm_kernels *kern, const lab *t, dgm_vocab_row *rows, int threads)
{
    int most = 0;
    for (int r = 0; r < t->n_rows; r++)
        most = rows[r].n_best > most ? rows[r].n_best : most;
    dgm_arena a;
    dgm_pool *pool;
    const size_t need = dgm_vocab_scratch_bytes(t->n_rows, most, t->w.n, t->w.k, threads);
    assert_int_equal(dgm_arena_init(&a, need), DGM_OK);
    assert_int_equal(dgm_pool_create(&pool, threads), DGM_OK);
    const int rc = dgm_vocab(kern, pool, rows, t->n_rows, &t->w, DGM_COMPUTE_F32, &a);
    assert_int_equal(a.used, 0);
    dgm_pool_destroy(pool);
    dgm_arena_fini(&a);
    return rc;
}

static void row_check(const dgm_vocab_row *row, const answer *a, int n)
{
    const int found = row->n_best < n ? row->n_best : n;
    assert_same_bits(&row->max, &a->max, 1, "M");
    assert_same_bits(&row->log_sum, &a->log_sum, 1, "log S");
    assert_int_equal(row->n_found, found);
    for (int i = 0; i < found; i++) {
        assert_int_equal(row->ids[i], a->order[i]);
        assert_same_bits(&row->logits[i], &a->logits[a->order[i]], 1, "candidate %d", i);
    }
    if (row->want_id >= 0)
        assert_same_bits(&row->want_logit, &a->logits[row->want_id], 1, "wanted logit");
    if (row->full != NULL)
        assert_same_bits(row->full, a->logits, (size_t)n, "all logits");
}

static void check(const dgm_kernels *kern, int n_rows, int n, int k, int threads)
{
    static const int wants[] = {8, 0, 1, 17, 300, 100000};
    lab t;
    test_seed((unsigned)(n_rows * 7 + n + k));
    lab_open(&t, n_rows, n, k);
    dgm_vocab_row *rows = calloc((size_t)n_rows, sizeof *rows);
    assert_non_null(rows);
    for (int r = 0; r < n_rows; r++) {
        const int best = wants[r % 6];
        rows[r] =
            (dgm_vocab_row){.x = t.x + (size_t)(n_rows - 1 - r) * (size_t)k, /* in any order */
                            .n_best = best,
                            .want_id = r % 2 == 0 ? (int32_t)test_random((unsigned)n) : -1,
                            .full = r % 3 == 0 ? test_floats((size_t)n, PLAIN) : NULL,
                            .ids = malloc((size_t)(best + 1) * sizeof *rows[r].ids),
                            .logits = malloc((size_t)(best + 1) * sizeof *rows[r].logits)};
    }
    assert_int_equal(run(kern, &t, rows, threads), DGM_OK);
    for (int r = 0; r < n_rows; r++) {
        answer a;
        answer_open(&a, rows[r].x, t.weights, n, k);
        row_check(&rows[r], &a, n);
        free(a.logits), free(a.order);
        free(rows[r].full), free(rows[r].ids), free(rows[r].logits);
    }
    free(rows);
    lab_close(&t);
}

static void all_that_is_asked_for(void **state)
{
    const dgm_kernels kern = isa_of(state);
    static const int shapes[][3] = {{1, 1, 1},      {1, 6206, 17},  {2, 17, 16},   {3, 2047, 3},
                                    {5, 2048, 15},  {7, 2049, 31},  {13, 6206, 9}, {50, 4100, 5},
                                    {100, 700, 70}, {130, 2100, 33}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int threads = 1; threads <= 3; threads++)
            check(&kern, shapes[s][0], shapes[s][1], shapes[s][2], threads);
}

static void no_rows_at_all(void **state)
{
    const dgm_kernels kern = isa_of(state);
    lab t;
    lab_open(&t, 0, 40, 3);
    assert_int_equal(run(&kern, &t, NULL, 2), DGM_OK);
    lab_close(&t);
}

static void a_logit_that_is_not_a_number_names_its_row(void **state)
{
    const dgm_kernels kern = isa_of(state);
    for (int threads = 1; threads <= 2; threads++)
        for (int at = 0; at < 5000; at += 713) {
            lab t;
            lab_open(&t, 20, 5000, 6);
            t.panels[(size_t)(at / 16) * 16 * 6 + (size_t)(at % 16)] = INFINITY;
            for (int r = 0; r < 20; r++)
                t.x[r * 6] =
                    r == 13 ? 0.0f : -1.0f; /* 0 * inf; elsewhere -inf, which is a number */
            dgm_vocab_row rows[20] = {{0}};
            int32_t ids[20][4];
            float logits[20][4];
            for (int r = 0; r < 20; r++)
                rows[r] = (dgm_vocab_row){.x = t.x + r * 6,
                                          .n_best = 4,
                                          .want_id = -1,
                                          .ids = ids[r],
                                          .logits = logits[r]};
            assert_int_equal(run(&kern, &t, rows, threads), DGM_ENAN);
            assert_non_null(strstr(dgm_error_text(), "row 13 "));
            lab_close(&t);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PER_ISA(all_that_is_asked_for),
        PER_ISA(no_rows_at_all),
        PER_ISA(a_logit_that_is_not_a_number_names_its_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

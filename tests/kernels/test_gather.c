/*
 * Outputs gathered into a matrix of their own: of each weight type and every table, each logit has the bits that it has
 * in the whole matrix, and (M, S) are the contract's over positions: the softmax of what is listed.
 */
#include "tests/kernels/isas.h"
#include "tests/kernels/naive.h"

#include "kernels/vocab.h"

enum { N = 4200, K = 70, ROWS = 3, BEST = 9, THREADS = 2 };

typedef struct sort {
    dgm_wtype type;
    int group;
    dgm_compute compute;
} sort;

static const sort sorts[] = {
    {DGM_W_F32, 0, DGM_COMPUTE_F32},   {DGM_W_BF16, 0, DGM_COMPUTE_F32},
    {DGM_W_INT8, 0, DGM_COMPUTE_F32},  {DGM_W_INT8, 32, DGM_COMPUTE_F32},
    {DGM_W_INT4, 0, DGM_COMPUTE_F32},  {DGM_W_INT4, 64, DGM_COMPUTE_F32},
    {DGM_W_INT8, 0, DGM_COMPUTE_INT8}, {DGM_W_INT8, 32, DGM_COMPUTE_INT8},
    {DGM_W_INT4, 0, DGM_COMPUTE_INT8}, {DGM_W_INT4, 32, DGM_COMPUTE_INT8},
};
enum { SORTS = sizeof sorts / sizeof sorts[0] };

/* What was asked of a matrix, and what it answered. */
typedef struct answer {
    dgm_vocab_row rows[ROWS];
    float full[ROWS][N], logits[ROWS][BEST];
    int32_t ids[ROWS][BEST];
} answer;

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(p);
    return p;
}

static dgm_packed random_matrix(const sort *s)
{
    const size_t count = (size_t)N * K, scales = dgm_packed_scales(s->type, N, K, s->group);
    dgm_packed w = {.n = N, .k = K, .type = s->type, .group = s->group};
    void *data = memory(dgm_packed_bytes(s->type, N, K));
    float *numbers = test_floats(count, PLAIN);
    dgm_packed_clear(data, s->type, N, K);
    if (s->type == DGM_W_F32) {
        dgm_pack(data, numbers, DGM_F32, 0, N, K);
    } else if (s->type == DGM_W_BF16) {
        uint16_t *half = malloc(count * sizeof *half);
        assert_non_null(half);
        for (size_t i = 0; i < count; i++)
            half[i] = dgm_bf16_round(numbers[i]);
        dgm_pack_bf16(data, half, 0, N, K);
        free(half);
    } else {
        const int most = s->type == DGM_W_INT4 ? 8 : 128;
        int8_t *q = malloc(count);
        float *scale = memory(scales * sizeof *scale);
        assert_non_null(q);
        for (size_t i = 0; i < count; i++)
            q[i] = (int8_t)((int)test_random(2 * (unsigned)most) - most);
        dgm_pack_integers(data, s->type, q, 0, N, K);
        test_fill(scale, scales, PLAIN);
        w.scale = scale;
        free(q);
    }
    free(numbers);
    w.data = data;
    return w;
}

static void matrix_free(dgm_packed *w)
{
    free((void *)w->data);
    free((void *)w->scale);
}

static void ask(answer *a, const dgm_kernels *kern, const dgm_packed *w, const float *x,
                dgm_compute compute)
{
    dgm_arena scratch;
    dgm_pool *pool;
    assert_int_equal(
        dgm_arena_init(&scratch, dgm_vocab_scratch_bytes(ROWS, BEST, w->n, K, THREADS)), DGM_OK);
    assert_int_equal(dgm_pool_create(&pool, THREADS), DGM_OK);
    for (int r = 0; r < ROWS; r++)
        a->rows[r] = (dgm_vocab_row){.x = x + (size_t)r * K,
                                     .n_best = BEST,
                                     .want_id = -1,
                                     .full = a->full[r],
                                     .ids = a->ids[r],
                                     .logits = a->logits[r]};
    assert_int_equal(dgm_vocab(kern, pool, a->rows, ROWS, w, compute, &scratch), DGM_OK);
    dgm_pool_destroy(pool);
    dgm_arena_fini(&scratch);
}

/* The contract's (M, log S) of x [n], blocks of positions. */
static void naive_softmax(float *max, float *log_sum, const float *x, int n)
{
    float *e = malloc((size_t)n * sizeof *e), sum = 0.0f;
    assert_non_null(e);
    *max = naive_max(x, n);
    for (int b = 0; b < n; b += DGM_VOCAB_BLOCK) {
        const int part = n - b < DGM_VOCAB_BLOCK ? n - b : DGM_VOCAB_BLOCK;
        const float m = naive_max(x + b, part);
        for (int i = 0; i < part; i++)
            e[i] = dgm_exp(x[b + i] - m);
        const float share = naive_sum(e, part) * dgm_exp(m - *max);
        sum = sum + share;
    }
    *log_sum = dgm_ln(sum);
    free(e);
}

/* log p of what is listed is that of the whole, normalised again, in f64. */
static void check_renormalised(const answer *part, const answer *whole, const int32_t *ids, int n,
                               int r)
{
    const dgm_vocab_row *p = &part->rows[r], *w = &whole->rows[r];
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += exp((double)whole->full[r][ids[i]] - (double)w->max - (double)w->log_sum);
    for (int i = 0; i < n; i++) {
        const double all = (double)whole->full[r][ids[i]] - (double)w->max - (double)w->log_sum;
        const float got = (part->full[r][i] - p->max) - p->log_sum;
        if (!(fabs((double)got - (all - log(sum))) <= 1e-5 * fmax(1.0, fabs((double)got))))
            fail_msg("row %d position %d of %d: log p %.9g, want %.9g", r, i, n, (double)got,
                     all - log(sum));
    }
}

static void check_list(const dgm_kernels *kern, const sort *s, const dgm_packed *w, const float *x,
                       const answer *whole, const int32_t *ids, int n)
{
    static answer part;
    void *data = memory(dgm_packed_bytes(s->type, n, K));
    const size_t scales = dgm_packed_scales(s->type, n, K, s->group);
    float *scale = scales > 0 ? memory(scales * sizeof *scale) : NULL;
    memset(data, 0xee, dgm_packed_bytes(s->type, n, K));
    dgm_packed few = dgm_packed_gather(data, scale, w, ids, n);
    ask(&part, kern, &few, x, s->compute);
    for (int r = 0; r < ROWS; r++) {
        const dgm_vocab_row *p = &part.rows[r];
        float max, log_sum;
        for (int i = 0; i < n; i++)
            assert_same_bits(&part.full[r][i], &whole->full[r][ids[i]], 1,
                             "type %d group %d row %d position %d of %d", s->type, s->group, r, i,
                             n);
        naive_softmax(&max, &log_sum, part.full[r], n);
        assert_same_bits(&p->max, &max, 1, "M of %d", n);
        assert_same_bits(&p->log_sum, &log_sum, 1, "log S of %d", n);
        assert_int_equal(p->n_found, n < BEST ? n : BEST);
        check_renormalised(&part, whole, ids, n, r);
    }
    if (n == N) { /* all of them: the bytes of no list */
        assert_memory_equal(few.data, w->data, dgm_packed_bytes(s->type, N, K));
        for (int r = 0; r < ROWS; r++) {
            assert_same_bits(&part.rows[r].log_sum, &whole->rows[r].log_sum, 1, "log S of all");
            assert_memory_equal(part.ids[r], whole->ids[r], sizeof part.ids[r]);
        }
    }
    matrix_free(&few);
}

/* choose - n of all ids, ascending, id 2 among them. */
static void choose(int32_t *ids, int n)
{
    int left = n;
    for (int32_t id = 0, at = 0; id < N; id++) {
        const int owed = id < 2; /* a place is kept for id 2 */
        if (id == 2 || (int)test_random((unsigned)(N - id - owed)) < left - owed)
            ids[at++] = id, left--;
    }
    assert_int_equal(left, 0);
}

/* calm - scales rows so that the largest logit is 8: a softmax then has more than one id in it. */
static void calm(float *x, const answer *whole)
{
    for (int r = 0; r < ROWS; r++) {
        float most = 0.0f;
        for (int i = 0; i < N; i++)
            most = fmaxf(most, fabsf(whole->full[r][i]));
        for (int i = 0; i < K; i++)
            x[r * K + i] *= 8.0f / most;
    }
}

static void a_listed_logit_is_that_of_the_whole(void **state)
{
    const dgm_kernels kern = isa_of(state);
    static const int sizes[] = {2, 17, 2047, 2048, 2049, 4100, N};
    static answer whole;
    static int32_t ids[N];
    test_seed(9);
    for (int s = 0; s < SORTS; s++) {
        dgm_packed w = random_matrix(&sorts[s]);
        float *x = test_floats((size_t)ROWS * K, PLAIN);
        ask(&whole, &kern, &w, x, sorts[s].compute);
        calm(x, &whole);
        ask(&whole, &kern, &w, x, sorts[s].compute);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            choose(ids, sizes[i]);
            check_list(&kern, &sorts[s], &w, x, &whole, ids, sizes[i]);
        }
        free(x);
        matrix_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {PER_ISA(a_listed_logit_is_that_of_the_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

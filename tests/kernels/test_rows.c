/* The row functions of every table against the contract spelled out in naive.h, at ugly sizes, bit for bit. */
#include "kernels/dtype.h"
#include "tests/kernels/isas.h"
#include "tests/kernels/naive.h"

enum { MOST = 2100 };

static const int sizes[] = {1,  2,  3,  7,  8,  15,  16,  17,  23,   31,   32,   33,  47,
                            48, 49, 63, 64, 65, 100, 127, 128, 1000, 1024, 2048, 2053};
#define EACH(i, array) for (size_t i = 0; i < sizeof(array) / sizeof(array)[0]; i++)

static void dot(void **state)
{
    const dgm_kernels k = isa_of(state);
    for (int f = 0; f < FLAVOURS; f++)
        EACH(s, sizes)
        {
            const int n = sizes[s];
            float *x = test_floats((size_t)n, f), *y = test_floats((size_t)n, f);
            const float got = k.dot(x, y, n), want = naive_dot(x, y, n);
            assert_same_bits(&got, &want, 1, "dot of %d", n);
            free(x);
            free(y);
        }
}

static void naive_layer_norm(float *y, const float *x, const float *w, const float *b, int d,
                             float eps)
{
    float t[MOST];
    const float mean = naive_sum(x, d) / (float)d;
    for (int i = 0; i < d; i++)
        t[i] = x[i] - mean;
    const float var = naive_dot(t, t, d) / (float)d;
    const float scale = 1.0f / sqrtf(var + eps);
    for (int i = 0; i < d; i++) {
        const float u = t[i] * scale;
        y[i] = fmaf(u, w[i], b[i]);
    }
}

static void layer_norm(void **state)
{
    const dgm_kernels k = isa_of(state);
    for (int f = 0; f < FLAVOURS; f++)
        EACH(s, sizes)
        {
            const size_t n = (size_t)sizes[s];
            float *x = test_floats(n, f), *w = test_floats(n, f), *b = test_floats(n, PLAIN);
            float *got = test_floats(n + 1, PLAIN), *want = test_floats(n, PLAIN);
            const float guard = got[n];
            k.layer_norm(got, x, w, b, (int)n, 1e-5f);
            naive_layer_norm(want, x, w, b, (int)n, 1e-5f);
            assert_same_bits(got, want, n, "layer norm of %zu", n);
            assert_same_bits(&got[n], &guard, 1, "behind a layer norm of %zu", n);
            free(x), free(w), free(b), free(got), free(want);
        }
}

static void finish(void **state)
{
    const dgm_kernels k = isa_of(state);
    for (int f = 0; f < FLAVOURS; f++)
        EACH(s, sizes)
    for (int mode = 0; mode < 16; mode++) {
        const size_t n = (size_t)sizes[s];
        float *acc = test_floats(n, f), *bias = test_floats(n, f), *y = test_floats(n, f);
        float *residual = test_floats(n, f), *want = test_floats(n, f);
        const float *b = (mode & 1) != 0 ? bias : NULL;
        float *r = (mode & 2) == 0 ? NULL : (mode & 8) != 0 ? y : residual;
        for (int i = 0; i < (int)n; i++)
            want[i] = naive_finish(acc[i], b, r, mode & 4, i);
        k.finish(y, acc, b, r, mode & 4, (int)n);
        assert_same_bits(y, want, n, "finish of %zu, mode %d", n, mode);
        free(acc), free(bias), free(y), free(residual), free(want);
    }
}

static void relu_keeps_nan_and_drops_minus_zero(void **state)
{
    const dgm_kernels k = isa_of(state);
    const float acc[3] = {NAN, -0.0f, -INFINITY};
    float y[3];
    k.finish(y, acc, NULL, NULL, 1, 3);
    assert_true(y[0] != y[0]);
    assert_true(y[1] == 0.0f && !signbit(y[1]));
    assert_true(y[2] == 0.0f && !signbit(y[2]));
}

static void block_max_sum(void **state)
{
    const dgm_kernels k = isa_of(state);
    for (int f = 0; f < FLAVOURS; f++)
        EACH(s, sizes)
        {
            const int n = sizes[s];
            float *x = test_floats((size_t)n, f), e[MOST], top[DGM_LANES];
            for (int i = 0; i < n; i++)
                x[i] *= 20.0f;
            float want[2] = {naive_max(x, n), 0}, got[2];
            for (int i = 0; i < n; i++)
                e[i] = dgm_exp(x[i] - want[0]);
            want[1] = naive_sum(e, n);
            if (want[1] != want[1])
                want[0] = NAN;
            k.block_max_sum(&got[0], &got[1], top, x, n);
            /* which of +0 and -0 is the maximum is the one thing left open: they are equal */
            got[0] += 0.0f, want[0] += 0.0f;
            assert_same_bits(got, want, 2, "block of %d", n);
            for (int l = 0; l < DGM_LANES && want[1] == want[1]; l++) {
                float most = -INFINITY;
                for (int i = l; i < n; i += DGM_LANES)
                    most = x[i] > most ? x[i] : most;
                assert_true(top[l] == most);
            }
            free(x);
        }
}

static void a_nan_makes_block_max_sum_nan_wherever_it_stands(void **state)
{
    const dgm_kernels k = isa_of(state);
    for (int n = 1; n <= 50; n++)
        for (int at = 0; at < n; at++) {
            float x[50], m = 0, s = 0, top[DGM_LANES];
            for (int i = 0; i < n; i++)
                x[i] = (float)i;
            x[at] = NAN;
            k.block_max_sum(&m, &s, top, x, n);
            assert_true(m != m && s != s);
        }
}

static void exp_shift(void **state)
{
    const dgm_kernels k = isa_of(state);
    for (int f = 0; f < FLAVOURS; f++)
        EACH(s, sizes)
        {
            const size_t n = (size_t)sizes[s];
            float *x = test_floats(n, f), *got = test_floats(n, f), *want = test_floats(n, f);
            for (size_t i = 0; i < n; i++) {
                x[i] *= 80.0f;
                want[i] = dgm_exp(x[i] - 1.5f);
            }
            k.exp_shift(got, x, 1.5f, (int)n);
            assert_same_bits(got, want, n, "exp of %zu", n);
            free(x), free(got), free(want);
        }
}

static void above(void **state)
{
    const dgm_kernels k = isa_of(state);
    for (int f = 0; f < FLAVOURS; f++)
        EACH(s, sizes)
        {
            const int n = sizes[s];
            float *x = test_floats((size_t)n, f);
            int32_t got[MOST], want[MOST];
            static const float thresholds[] = {-INFINITY, -1.0f, 0.0f, 1.9f, INFINITY, NAN};
            EACH(t, thresholds)
            {
                int n_want = 0;
                for (int i = 0; i < n; i++)
                    if (x[i] > thresholds[t])
                        want[n_want++] = i;
                assert_int_equal(k.above(got, x, thresholds[t], n), n_want);
                assert_memory_equal(got, want, (size_t)n_want * sizeof *want);
            }
            free(x);
        }
}

static void weigh_add_embed(void **state)
{
    const dgm_kernels k = isa_of(state);
    for (int f = 0; f < FLAVOURS; f++)
        EACH(s, sizes)
        {
            const size_t n = (size_t)sizes[s], ld = 16;
            float *x = test_floats(n, f), *y = test_floats(n, f), *row = test_floats(n * ld, f);
            float *got = test_floats(n, f), *want = test_floats(n, f);
            for (size_t i = 0; i < n; i++) {
                const float share = 0.8f * x[i];
                want[i] = 0.37f * share;
            }
            k.weigh(got, x, 0.37f, 0.8f, (int)n);
            assert_same_bits(got, want, n, "weigh %zu", n);
            for (size_t i = 0; i < n; i++)
                want[i] = x[i] + y[i];
            k.add(got, x, y, (int)n);
            assert_same_bits(got, want, n, "add %zu", n);
            for (size_t i = 0; i < n; i++) {
                const float scaled = row[i * ld] * 11.3f;
                want[i] = scaled + y[i];
            }
            k.embed(got, row, ld, 11.3f, y, (int)n);
            assert_same_bits(got, want, n, "embed %zu", n);
            free(x), free(y), free(row), free(got), free(want);
        }
}

/* Query r of a. */
static void naive_attend(float *out, float *prob, const dgm_attend *a, int r)
{
    const float *k = (const float *)a->k + (size_t)r * a->apart,
                *v = (const float *)a->v + (size_t)r * a->apart;
    for (int p = 0; p < a->n; p++) {
        const size_t at = (size_t)(a->idx != NULL ? a->idx[p] : p);
        prob[p] = naive_dot(a->q[r], k + at * a->ld, a->hd) * a->scale;
    }
    const float m = naive_max(prob, a->n);
    for (int p = 0; p < a->n; p++)
        prob[p] = dgm_exp(prob[p] - m);
    const float sum = naive_sum(prob, a->n);
    for (int p = 0; p < a->n; p++)
        prob[p] = prob[p] / sum;
    for (int j = 0; j < a->hd; j++) {
        out[j] = 0.0f;
        for (int p = 0; p < a->n; p++) {
            const size_t at = (size_t)(a->idx != NULL ? a->idx[p] : p);
            out[j] = fmaf(prob[p], v[at * a->ld + (size_t)j], out[j]);
        }
    }
}

enum { MOST_HD = 128, MOST_KEYS = 61, LDP = 67, PLACES = 70 };

/* Every query as if it were alone, and nothing written behind any. */
static void attend_case(const dgm_kernels *k, dgm_attend *a)
{
    float got[DGM_QUERIES][MOST_HD + 1], prob[DGM_QUERIES * LDP];
    float want[MOST_HD], want_prob[MOST_KEYS];
    const size_t padded = ((size_t)a->n + 15) / 16 * 16;
    for (int r = 0; r < DGM_QUERIES; r++) {
        a->out[r] = got[r];
        got[r][a->hd] = 42.0f;
        prob[(size_t)r * LDP + padded] = 42.0f;
    }
    k->attend(prob, LDP, a);
    for (int r = 0; r < a->queries; r++) {
        naive_attend(want, want_prob, a, r);
        assert_same_bits(prob + (size_t)r * LDP, want_prob, (size_t)a->n,
                         "weights of %d positions, query %d of %d", a->n, r, a->queries);
        assert_same_bits(got[r], want, (size_t)a->hd, "%d positions, query %d of %d, %d wide", a->n,
                         r, a->queries, a->hd);
        assert_true(got[r][a->hd] == 42.0f && prob[(size_t)r * LDP + padded] == 42.0f);
    }
}

/* Queries over keys of their own, over the same keys, and one alone. */
static void attend(void **state)
{
    const dgm_kernels k = isa_of(state);
    static const int widths[] = {1, 7, 16, 17, 32, 33, 48, 64, 80, 96, 100, 128};
    static const int lengths[] = {1, 2, 3, 4, 5, 8, 15, 16, 17, 61};
    for (int f = 0; f < FLAVOURS; f++)
        EACH(w, widths)
    EACH(l, lengths)
    {
        dgm_attend a = {.hd = widths[w], .n = lengths[l], .scale = 0.3f};
        const size_t hd = (size_t)a.hd;
        a.ld = hd + 3;
        const size_t apart = PLACES * a.ld + 5, all = DGM_QUERIES * apart;
        float *q = test_floats(DGM_QUERIES * hd, f == HOSTILE ? SMALL : f);
        float *keys = test_floats(all, f == HOSTILE ? SMALL : f), *values = test_floats(all, f);
        int32_t idx[PLACES];
        for (int p = 0; p < PLACES; p++)
            idx[p] = (int32_t)test_random(PLACES);
        for (size_t r = 0; r < DGM_QUERIES; r++)
            a.q[r] = q + r * hd;
        a.k = keys;
        a.v = values;
        for (a.queries = 1; a.queries <= DGM_QUERIES; a.queries++)
            for (int how = 0; how < 4; how++) {
                a.apart = how % 2 == 0 ? 0 : apart;
                a.idx = how / 2 == 0 ? NULL : idx;
                attend_case(&k, &a);
            }
        free(q), free(keys), free(values);
    }
}

/* The cache in half the width is the cache rounded to it: the same bits. */
static void attend_bf16(void **state)
{
    const dgm_kernels k = isa_of(state);
    static const int widths[] = {1, 15, 16, 33, 64, 100, 128}, lengths[] = {1, 3, 4, 9, 16, 21};
    EACH(w, widths)
    EACH(l, lengths)
    {
        const size_t hd = (size_t)widths[w], n = (size_t)lengths[l];
        dgm_attend a = {.hd = widths[w], .n = lengths[l], .ld = 2 * hd, .scale = 0.3f};
        const size_t apart = n * a.ld, all = DGM_QUERIES * apart;
        float *q = test_floats(DGM_QUERIES * hd, PLAIN), *wide = test_floats(all, PLAIN);
        float prob[DGM_QUERIES * LDP], out[2][DGM_QUERIES * MOST_HD];
        uint16_t *half = malloc(all * sizeof *half);
        int32_t idx[32];
        for (size_t i = 0; i < all; i++) {
            half[i] = dgm_bf16_round(wide[i]);
            const uint32_t bits = (uint32_t)half[i] << 16;
            memcpy(&wide[i], &bits, sizeof bits);
        }
        for (size_t p = 0; p < n; p++)
            idx[p] = (int32_t)test_random((int)n);
        a.idx = idx;
        for (int how = 0; how < 6; how++) { /* own keys or the same; 1, 3 or 4 queries */
            a.queries = how / 2 == 0 ? 1 : 2 + how / 2;
            a.apart = how % 2 == 0 ? 0 : apart;
            for (a.bf16 = 0; a.bf16 < 2; a.bf16++) {
                a.k = a.bf16 ? (const void *)half : wide;
                a.v = a.bf16 ? (const void *)(half + hd) : wide + hd;
                for (size_t r = 0; r < DGM_QUERIES; r++) {
                    a.q[r] = q + r * hd;
                    a.out[r] = out[a.bf16] + r * hd;
                }
                k.attend(prob, LDP, &a);
            }
            assert_same_bits(out[1], out[0], (size_t)a.queries * hd, "%zu positions, %zu wide", n,
                             hd);
        }
        free(q), free(wide), free(half);
    }
}

static void bf16_rounds_to_the_nearest_even(void **state)
{
    (void)state;
    static const struct {
        uint32_t from;
        uint16_t to;
    } cases[] = {{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81},
                 {0x3f818000, 0x3f82}, {0xbf817fff, 0xbf81}, {0x7f7fffff, 0x7f80},
                 {0x7f800000, 0x7f80}, {0x7f800001, 0x7fc0}, {0xffffffff, 0xffff},
                 {0x00000001, 0x0000}, {0x80000000, 0x8000}, {0x00018000, 0x0002}};
    EACH(i, cases)
    {
        float x;
        memcpy(&x, &cases[i].from, sizeof x);
        assert_int_equal(dgm_bf16_round(x), cases[i].to);
    }
}

/* Every 257th bit pattern there is, so each binade, sign, NaN and both ends are met. */
static void exp_agrees_with_the_scalar_one(void **state)
{
    const dgm_kernels k = isa_of(state);
    enum { N = 4096 };
    static float x[N], got[N], want[N];
    uint64_t bits = 0;
    while (bits <= UINT32_MAX) {
        int n = 0;
        for (; n < N && bits <= UINT32_MAX; n++, bits += 257) {
            const uint32_t b = (uint32_t)bits;
            memcpy(&x[n], &b, sizeof b);
            want[n] = dgm_exp(x[n]);
        }
        k.exp_shift(got, x, 0.0f, n);
        assert_same_bits(got, want, (size_t)n, "exp near %a", (double)x[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PER_ISA(dot),
        PER_ISA(layer_norm),
        PER_ISA(finish),
        PER_ISA(relu_keeps_nan_and_drops_minus_zero),
        PER_ISA(block_max_sum),
        PER_ISA(a_nan_makes_block_max_sum_nan_wherever_it_stands),
        PER_ISA(exp_shift),
        PER_ISA(exp_agrees_with_the_scalar_one),
        PER_ISA(above),
        PER_ISA(weigh_add_embed),
        PER_ISA(attend),
        PER_ISA(attend_bf16),
        cmocka_unit_test(bf16_rounds_to_the_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

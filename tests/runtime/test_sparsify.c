/* Which weights go: small cases worked out by hand, and a small model pruned and opened again. */
#define _GNU_SOURCE
#include "runtime/sparsify.h"
#include "runtime/sparsify_layers.h"
#include "runtime/sparsify_matrix.h"
#include "tests/runtime/testmodel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 64 };
static const dgm_n_of_m whole_row = {0, 0};
static const dgm_score_rule wanda = {0, 0, false};

/* ---- rows ---- */

/* chosen - which of k inputs go, as a word of 0 and 1. */
static const char *chosen(const float *w, const float *f, int k, int goes, dgm_n_of_m p)
{
    static char word[MOST + 1];
    uint64_t room[MOST];
    int32_t gone[MOST];
    memset(word, '0', sizeof word);
    word[k] = '\0';
    assert_true(dgm_score_choose(gone, room, w, f, k, goes, p));
    for (int i = 0; i < goes; i++) {
        assert_in_range(gone[i], 0, k - 1);
        assert_int_equal(word[gone[i]], '0');
        word[gone[i]] = '1';
    }
    return word;
}

static void test_wanda_row(void **state)
{
    (void)state;
    /* |w| a = 3, 4, 2, 4, 6: 2 and 3 go first; of the equal ones the first. Magnitude alone would take 0.5 and 1. */
    const float w[] = {3, -1, 2, 0.5F, -6}, a[] = {1, 4, 1, 8, 1}, one[] = {1, 1, 1, 1, 1};
    assert_string_equal(chosen(w, a, 5, 0, whole_row), "00000");
    assert_string_equal(chosen(w, a, 5, 1, whole_row), "00100");
    assert_string_equal(chosen(w, a, 5, 2, whole_row), "10100");
    assert_string_equal(chosen(w, a, 5, 3, whole_row), "11100");
    assert_string_equal(chosen(w, a, 5, 4, whole_row), "11110");
    assert_string_equal(chosen(w, a, 5, 5, whole_row), "11111");
    assert_string_equal(chosen(w, one, 5, 2, whole_row), "01010");
    /* What is zero already goes first. */
    const float some[] = {0, 5, -0.0F, 5, 5};
    assert_string_equal(chosen(some, a, 5, 2, whole_row), "10100");
}

static void test_rows_of_equals(void **state)
{
    (void)state;
    float w[MOST], f[MOST];
    char want[MOST + 1] = {0};
    for (int i = 0; i < MOST; i++)
        w[i] = f[i] = 1;
    for (int goes = 0; goes <= MOST; goes++) {
        memset(want, '0', MOST);
        memset(want, '1', (size_t)goes);
        assert_string_equal(chosen(w, f, MOST, goes, whole_row), want);
    }
}

/* Against plain counting: an input goes when fewer than `goes` others come before it. */
static void test_many_rows(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (int round = 0; round < 500; round++) {
        float w[MOST], f[MOST];
        char want[MOST + 1] = {0};
        const int k = 1 + round % MOST, goes = (int)((unsigned)round * 7 % (unsigned)(k + 1));
        for (int i = 0; i < k; i++) {
            w[i] = (float)(rand_r(&seed) % 9) - 4;
            f[i] = (float)(rand_r(&seed) % 5);
        }
        for (int i = 0; i < k; i++) {
            int before = 0;
            for (int j = 0; j < k; j++) {
                const float a = fabsf(w[j]) * f[j], b = fabsf(w[i]) * f[i];
                before += a < b || (a == b && j < i);
            }
            want[i] = before < goes ? '1' : '0';
        }
        assert_string_equal(chosen(w, f, k, goes, whole_row), want);
    }
}

static void test_no_numbers(void **state)
{
    (void)state;
    const float one[] = {1, 1}, bad[] = {1, NAN}, far[] = {INFINITY, 1};
    uint64_t room[2];
    int32_t gone[2];
    assert_false(dgm_score_choose(gone, room, bad, one, 2, 1, whole_row));
    assert_false(dgm_score_choose(gone, room, one, bad, 2, 1, whole_row));
    assert_false(dgm_score_choose(gone, room, far, one, 2, 1, whole_row));
}

static void test_patterns(void **state)
{
    (void)state;
    const float one[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, w[] = {1, 2, 3, 4, 9, 8, 7, 6, 5, 1, 1};
    const dgm_n_of_m of4 = {2, 4}, of8 = {4, 8};
    assert_int_equal(dgm_score_goes(8, 0.9, of4), 4);
    assert_int_equal(dgm_score_goes(11, 0.9, of4), 5);
    assert_int_equal(dgm_score_goes(11, 0.9, of8), 5);
    assert_int_equal(dgm_score_goes(3, 0.9, of4), 1);
    assert_string_equal(chosen(w, one, 8, 4, of4), "11000011");
    assert_string_equal(chosen(w, one, 8, 4, of8), "11110000");
    assert_string_equal(chosen(w, one, 11, 5, of4), "11000011010");
}

static void test_floor(void **state)
{
    (void)state;
    assert_int_equal(dgm_score_goes(10, 0.7, whole_row), 7);
    assert_int_equal(dgm_score_goes(7, 0.5, whole_row), 3);
    assert_int_equal(dgm_score_goes(100, 0.29, whole_row), 29); /* f64's 0.29 * 100 is less */
    assert_int_equal(dgm_score_goes(128, 0.495, whole_row), 63);
}

/* ---- inputs ---- */

static void test_factor(void **state)
{
    (void)state;
    const dgm_channel c = {.a = 2, .variance = 9, .fired = 0.25}, dead = {0};
    const dgm_score_rule add = {.lambda = 0.5}, mul = {.lambda = 0.5, .mul = true},
                         power = {.gamma = 0.5}, all = {.lambda = 2, .gamma = 2, .mul = true};
    assert_true(dgm_score_factor(&c, &wanda) == 2);
    assert_true(dgm_score_factor(&c, &add) == 3.5F);    /* 2 + 0.5 * 3 */
    assert_true(dgm_score_factor(&c, &mul) == 4.25F);   /* 2 (1 + 0.5 * 9 / 4) */
    assert_true(dgm_score_factor(&c, &power) == 1);     /* 2 * 0.5 */
    assert_true(dgm_score_factor(&c, &all) == 0.6875F); /* 2 (1 + 2 * 9 / 4) / 16 */
    assert_true(dgm_score_factor(&dead, &mul) == 0);
}

static void test_channels(void **state)
{
    (void)state;
    const float first[] = {3, 0, 4, 0}, second[] = {0, 2};
    dgm_channels c;
    assert_int_equal(dgm_channels_init(&c, 2, 3), DGM_OK);
    dgm_channels_add(&c, 0, first, 2, 3); /* 2 rows; 3 does not fire */
    dgm_channels_add(&c, 2, second, 1, 1.5F);
    assert_int_equal(dgm_channels_rows(&c), 3);
    /* Input 0: a of language 0 is sqrt(25 / 2), of language 2 zero; language 1 never came and is not a zero. */
    const dgm_channel a = dgm_channels_get(&c, 0), b = dgm_channels_get(&c, 1);
    assert_true(fabs(a.a - sqrt(25.0 / 3)) < 1e-15);
    assert_true(fabs(a.variance - 25.0 / 8) < 1e-14); /* both are half of sqrt(25 / 2) off */
    assert_true(fabs(a.fired - 1.0 / 3) < 1e-15);
    assert_true(fabs(b.a - sqrt(4.0 / 3)) < 1e-15);
    assert_true(fabs(b.variance - 1) < 1e-15);
    double r;
    assert_true(dgm_channels_correlation(&r, &c, 0, 2));
    assert_true(fabs(r + 1) < 1e-15);
    assert_true(dgm_channels_correlation(&r, &c, 0, 0));
    assert_true(fabs(r - 1) < 1e-15);
    assert_false(dgm_channels_correlation(&r, &c, 0, 1));
    dgm_channels_fini(&c);
}

/* Input 3 fires in one language of four, and less than the others on the whole: Wanda drops it, after M-Wanda keeps it. */
static void test_one_language(void **state)
{
    (void)state;
    const float w[] = {1, 1, 1, 1}, often[] = {1, 1, 0.9F, 0}, once[] = {1, 1, 0.9F, 1.6F};
    const dgm_score_rule add = {.lambda = 1}, mul = {.lambda = 1, .mul = true};
    const dgm_score_rule *rules[] = {&wanda, &add, &mul};
    const char *want[] = {"0001", "0010", "0010"};
    dgm_channels c;
    assert_int_equal(dgm_channels_init(&c, 4, 4), DGM_OK);
    for (int l = 0; l < 4; l++)
        dgm_channels_add(&c, l, l == 0 ? once : often, 1, 0);
    for (int i = 0; i < 3; i++) {
        float f[4];
        for (int j = 0; j < 4; j++) {
            const dgm_channel channel = dgm_channels_get(&c, j);
            f[j] = dgm_score_factor(&channel, rules[i]);
        }
        assert_string_equal(chosen(w, f, 4, 1, whole_row), want[i]);
    }
    dgm_channels_fini(&c);
}

/* ---- layers ---- */

static void want_sparsity(const double *got, const double *want, int n)
{
    for (int l = 0; l < n; l++)
        if (fabs(got[l] - want[l]) > 1e-12)
            fail_msg("layer %d: want %.15f, found %.15f", l, want[l], got[l]);
}

static double mean_of(const double *x, const double *params, int n)
{
    double sum = 0, all = 0;
    for (int l = 0; l < n; l++) {
        sum += params[l] * x[l];
        all += params[l];
    }
    return sum / all;
}

static void test_layers(void **state)
{
    (void)state;
    const double outliers[] = {1, 3, 5}, alike[] = {7, 7, 7};
    const double equal[] = {64, 64, 64}, sizes[] = {64, 64, 128};
    double s[3];
    /* OWL, lambda 0.1: kept 0, 0.1, 0.2, whose mean is 0.1, and so 0.4, 0.5, 0.6. */
    dgm_layers_spread(s, outliers, equal, 3, 0.5, 0.2);
    want_sparsity(s, (const double[]){0.6, 0.5, 0.4}, 3);
    dgm_layers_spread(s, outliers, equal, 3, 0.7, -0.16);
    want_sparsity(s, (const double[]){0.62, 0.7, 0.78}, 3);
    dgm_layers_spread(s, alike, sizes, 3, 0.3, 0.2);
    want_sparsity(s, (const double[]){0.3, 0.3, 0.3}, 3);
    /* Of other sizes: kept 0, 0.1, 0.2, 0.2, whose mean is 0.125. */
    dgm_layers_spread(s, outliers, sizes, 3, 0.5, 0.2);
    want_sparsity(s, (const double[]){0.625, 0.525, 0.425}, 3);
    assert_true(fabs(mean_of(s, sizes, 3) - 0.5) < 1e-12);
    /* Beyond a bound: the others make up for it. */
    dgm_layers_spread(s, outliers, sizes, 3, 0.05, 0.2);
    want_sparsity(s, (const double[]){0.14, 0.04, DGM_LEAST_SPARSITY}, 3);
    assert_true(fabs(mean_of(s, sizes, 3) - 0.05) < 1e-12);
    dgm_layers_spread(s, outliers, sizes, 3, 0.95, 0.4);
    want_sparsity(s, (const double[]){DGM_MOST_SPARSITY, DGM_MOST_SPARSITY, 0.91}, 3);
    assert_true(fabs(mean_of(s, sizes, 3) - 0.95) < 1e-12);
}

/* ---- a model ---- */

enum { LANGS = 3, LINES = 6, LENGTH = 7, VOCAB = 37 };
static char *dir, out[512], other[512];
static int32_t ids[LANGS][LINES][2][LENGTH + 1];
static dgm_sentence lines[LANGS][LINES];
static dgm_language_text langs[LANGS];
static dgm_text_direction directions[LANGS * (LANGS - 1)];
static dgm_parallel_text text;

/* Ids 4 + language are codes; words are 10 .. 36. The last line of the last language is blank; two lines are the same. */
static void write_text(void)
{
    unsigned seed = 7;
    text = (dgm_parallel_text){.langs = langs, .n_langs = LANGS, .directions = directions};
    for (int l = 0; l < LANGS; l++) {
        langs[l] =
            (dgm_language_text){.name = "xxx_Latn", .code = 4 + l, .lines = lines[l], .n = LINES};
        for (int i = 0; i < LINES; i++) {
            int32_t *s = ids[l][i][0], *t = ids[l][i][1];
            const int n = 3 + i % (LENGTH - 2);
            s[0] = t[1] = 4 + l;
            t[0] = s[n - 1] = t[n] = 2;
            for (int w = 1; w < n - 1; w++)
                s[w] = t[w + 1] = i == 1 ? 11 : 10 + rand_r(&seed) % (VOCAB - 10);
            lines[l][i] = (dgm_sentence){s, t, n, n + 1};
        }
        for (int to = 0; to < LANGS; to++)
            if (l != to)
                directions[text.n_directions++] = (dgm_text_direction){.src = l, .tgt = to};
    }
    lines[LANGS - 1][LINES - 1] = (dgm_sentence){0};
    text.longest_target = LENGTH + 1;
}

static int setup(void **state)
{
    (void)state;
    dir = testmodel_dir();
    (void)snprintf(out, sizeof out, "%s/out", dir);
    (void)snprintf(other, sizeof other, "%s/other", dir);
    write_text();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testmodel_remove(dir);
    return 0;
}

static dgm_model *open_model(const char *from)
{
    dgm_model *m;
    const dgm_model_options o = {.source_order = -1};
    if (dgm_model_open(&m, from, &o) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    return m;
}

static dgm_sparsify_report sparsify(const char *to, dgm_sparsify_options o, int threads)
{
    dgm_kernels kern;
    dgm_sparsify_report r;
    dgm_model *m = open_model(dir);
    assert_int_equal(dgm_kernels_select(&kern, NULL), DGM_OK);
    assert_int_equal(dgm_pool_create(&o.pool, threads), DGM_OK);
    o.kern = &kern;
    o.text = o.method == DGM_BY_MAGNITUDE ? NULL : &text;
    if (dgm_sparsify(&r, m, to, &o, NULL, NULL) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    dgm_pool_destroy(o.pool);
    dgm_model_close(m);
    return r;
}

static char *weights(const char *folder, size_t *len)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *len = (size_t)ftell(f);
    rewind(f);
    char *all = malloc(*len);
    assert_non_null(all);
    assert_int_equal(fread(all, 1, *len, f), *len);
    (void)fclose(f);
    return all;
}

static bool same_weights(const char *a, const char *b)
{
    size_t na, nb;
    char *x = weights(a, &na), *y = weights(b, &nb);
    const bool same = na == nb && memcmp(x, y, na) == 0;
    free(x);
    free(y);
    return same;
}

/* row_zeros - zeros of a row; the other numbers are the source's. */
static int row_zeros(const dgm_packed *w, const dgm_packed *source, int r)
{
    int n = 0;
    for (int j = 0; j < w->k; j++) {
        const float x = dgm_packed_at(w, r, j);
        if (x != 0)
            assert_true(x == dgm_packed_at(source, r, j));
        n += x == 0;
    }
    return n;
}

/* check_zeros - each row of what is pruned has lost its share, and nothing else has changed; how many zeros there are. */
static uint64_t check_zeros(const char *folder, double sparsity, const dgm_sparsify_layer *layers)
{
    dgm_model *m = open_model(folder), *source = open_model(dir);
    uint64_t zeros = 0;
    assert_int_equal(dgm_model_load(m, 0, 1, true, NULL), DGM_OK);
    assert_int_equal(dgm_model_load(source, 0, 1, true, NULL), DGM_OK);
    assert_int_equal(m->files->n_slots, source->files->n_slots);
    for (size_t i = 0; i < m->files->n_slots; i++) {
        const dgm_slot *s = &m->files->slots[i], *from = &source->files->slots[i];
        const bool pruned = dgm_prunable_slot(s);
        for (int r = s->row0; r < s->row0 + s->rows; r++) {
            if (s->matrix == NULL) {
                assert_true((*s->vector)[r] == (*from->vector)[r]);
                continue;
            }
            const int n = row_zeros(s->matrix, from->matrix, r),
                      was = row_zeros(from->matrix, from->matrix, r);
            const double share = layers == NULL || !pruned ? sparsity : layers[s->layer].sparsity;
            const int goes = dgm_score_goes(s->k, share, whole_row);
            /* A zero of the source goes first, but for those whose input is dead: they are all alike. */
            if (!pruned)
                assert_int_equal(n, was);
            else if (was == 0)
                assert_int_equal(n, goes);
            else
                assert_in_range(n, goes, goes + was);
            zeros += pruned ? (uint64_t)n : 0;
        }
    }
    dgm_model_close(m);
    dgm_model_close(source);
    return zeros;
}

static void test_zeros(void **state)
{
    (void)state;
    static const dgm_dtype types[] = {DGM_F32, DGM_F16, DGM_BF16};
    for (int i = 0; i < 3; i++) {
        testmodel spec = testmodel_small();
        spec.dtype = types[i];
        spec.prefix = i == 1;
        spec.shards = i == 2 ? 2 : 0;
        testmodel_write(dir, &spec);
        (void)snprintf(out, sizeof out, "%s/out%d", dir, i);
        const dgm_sparsify_options o = {.method = DGM_BY_WANDA, .sparsity = 0.3};
        dgm_sparsify_report r = sparsify(out, o, 2);
        assert_int_equal(check_zeros(out, 0.3, NULL), r.zeros.zeros);
        /* Attention of 2 + 2 x 2 layers, 2 FFNs of 16 x ffn and 2 x 4 experts. */
        const uint64_t attention = (4 + 4 + 8 + 8) * 16 * 16;
        assert_int_equal(r.zeros.pruned,
                         attention +
                             16U * 2 * (5U * (unsigned)spec.ffn[0] + 5U * (unsigned)spec.ffn[1]));
        dgm_sparsify_report_free(&r);
    }
}

/* Layers of other sizes share unequally; all together have what was asked for, less what each row rounds down. */
static void test_mean(void **state)
{
    (void)state;
    testmodel spec = testmodel_small();
    spec.d_model = 64;
    spec.ffn[0] = spec.ffn[1] = 128;
    testmodel_write(dir, &spec);
    const dgm_sparsify_options o[] = {
        {.method = DGM_BY_MAGNITUDE, .sparsity = 0.4},
        {.method = DGM_BY_WANDA, .sparsity = 0.4},
        {.method = DGM_BY_OWL, .sparsity = 0.4, .owl_m = 2, .spread = 0.3},
        {.method = DGM_AFTER_M_WANDA, .sparsity = 0.4, .rule = {1, 0.5, true}, .spread = 0.2}};
    for (int i = 0; i < 4; i++) {
        (void)snprintf(out, sizeof out, "%s/out%d", dir, i);
        dgm_sparsify_report r = sparsify(out, o[i], 1);
        double wanted = 0;
        for (int l = 0; l < r.n_layers; l++)
            wanted += r.layers[l].sparsity * (double)r.layers[l].params / (double)r.zeros.pruned;
        assert_true(fabs(wanted - 0.4) < 1e-12);
        if (i >= 2)
            assert_true(fabs(r.layers[0].sparsity - r.layers[1].sparsity) > 0.01);
        const uint64_t zeros = check_zeros(out, 0, r.layers);
        const double share = (double)zeros / (double)r.zeros.pruned;
        assert_int_equal(zeros, r.zeros.zeros);
        assert_true(share <= 0.4 && share > 0.4 - 1.0 / 64);
        dgm_sparsify_report_free(&r);
    }
}

/* OWL counts what is more than M times the mean of its layer: with 0 all that is no zero, with 1 some, with very much nothing. */
static void test_outliers(void **state)
{
    (void)state;
    const testmodel spec = testmodel_small();
    testmodel_write(dir, &spec);
    const double factors[] = {0, 1, 1e6}, least[] = {60, 10, 0}, most[] = {100, 60, 0};
    for (int i = 0; i < 3; i++) {
        (void)snprintf(out, sizeof out, "%s/out%d", dir, i);
        const dgm_sparsify_options o = {
            .method = DGM_BY_OWL, .sparsity = 0.5, .owl_m = factors[i], .spread = 0.2};
        dgm_sparsify_report r = sparsify(out, o, 1);
        for (int l = 0; l < r.n_layers; l++)
            if (r.layers[l].worth < least[i] || r.layers[l].worth > most[i])
                fail_msg("M %g, layer %d: want %g to %g %%, found %g", factors[i], l, least[i],
                         most[i], r.layers[l].worth);
        dgm_sparsify_report_free(&r);
    }
}

static void test_same_bytes(void **state)
{
    (void)state;
    const testmodel spec = testmodel_small();
    testmodel_write(dir, &spec);
    const dgm_sparsify_options plain = {.method = DGM_BY_WANDA, .sparsity = 0.5},
                               zero = {.method = DGM_AFTER_M_WANDA, .sparsity = 0.5},
                               zero_mul = {.method = DGM_AFTER_M_WANDA,
                                           .sparsity = 0.5,
                                           .rule = {.mul = true}},
                               more = {.method = DGM_AFTER_M_WANDA,
                                       .sparsity = 0.5,
                                       .rule = {.lambda = 8}};
    const struct {
        const dgm_sparsify_options *o;
        int threads;
        bool same;
    } runs[] = {{&plain, 3, true}, {&zero, 1, true}, {&zero_mul, 2, true}, {&more, 1, false}};
    dgm_sparsify_report r = sparsify(out, plain, 1);
    dgm_sparsify_report_free(&r);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(other, sizeof other, "%s/other%d", dir, i);
        r = sparsify(other, *runs[i].o, runs[i].threads);
        dgm_sparsify_report_free(&r);
        assert_int_equal(same_weights(out, other), runs[i].same);
    }
}

/* rows_of - by language, of what enters w when the text goes through. */
static void rows_of(uint64_t rows[2], dgm_model *m, dgm_parallel_text *two, int stack,
                    const dgm_packed *w)
{
    dgm_kernels kern;
    dgm_pass *pass;
    dgm_channels c;
    dgm_watched watched = {w, &c};
    assert_int_equal(dgm_kernels_select(&kern, NULL), DGM_OK);
    const dgm_pass_config cfg = {.model = m, .text = two, .kern = &kern};
    assert_int_equal(dgm_pass_open(&pass, &cfg), DGM_OK);
    assert_int_equal(dgm_channels_init(&c, w->k, 2), DGM_OK);
    assert_int_equal(dgm_pass_run(pass, stack, &watched, 1), DGM_OK);
    memcpy(rows, c.rows, 2 * sizeof *rows);
    dgm_channels_fini(&c);
    dgm_pass_close(pass);
}

/* Of two languages whose sentences have 3 and 5 tokens: the encoder counts by source, once; the decoder by target, with what it makes
 * of the encoder's output too. */
static void test_languages(void **state)
{
    (void)state;
    const testmodel spec = testmodel_small();
    testmodel_write(dir, &spec);
    dgm_language_text pair[] = {langs[0], langs[1]};
    dgm_text_direction there_and_back[] = {{.src = 0, .tgt = 1}, {.src = 1, .tgt = 0}};
    dgm_parallel_text two = {.langs = pair,
                             .n_langs = 2,
                             .directions = there_and_back,
                             .n_directions = 2,
                             .longest_target = LENGTH + 1};
    pair[0].n = pair[1].n = 1;
    pair[1].lines = &lines[1][2];
    dgm_model *m = open_model(dir);
    assert_int_equal(dgm_model_load(m, 0, 1, true, NULL), DGM_OK);
    const dgm_layer *e = m->stack[DGM_ENCODER].layers, *d = m->stack[DGM_DECODER].layers;
    const struct {
        int stack;
        const dgm_packed *w;
        uint64_t rows[2];
    } want[] = {{DGM_ENCODER, &e->qkv.w, {3, 5}},
                {DGM_DECODER, &d->qkv.w, {3, 5}},
                {DGM_DECODER, &d->cross_kv.w, {5, 3}}};
    for (int i = 0; i < 3; i++) {
        uint64_t rows[2];
        rows_of(rows, m, &two, want[i].stack, want[i].w);
        assert_int_equal(rows[0], want[i].rows[0]);
        assert_int_equal(rows[1], want[i].rows[1]);
    }
    /* Of three languages each goes to two others: the encoder sees its sentences once, the decoder those that both sides have. */
    dgm_kernels kern;
    dgm_pass *pass;
    const dgm_pass_config cfg = {.model = m, .text = &text, .kern = &kern};
    assert_int_equal(dgm_kernels_select(&kern, NULL), DGM_OK);
    assert_int_equal(dgm_pass_open(&pass, &cfg), DGM_OK);
    assert_int_equal(dgm_pass_sentences(pass, DGM_ENCODER), LANGS * LINES - 1);
    assert_int_equal(dgm_pass_sentences(pass, DGM_DECODER), 2 * LANGS * LINES - 4);
    dgm_pass_close(pass);
    dgm_model_close(m);
}

/* disagreements - rows of self-attention's q, k, v whose zeros are not those that what enters `seen` asks for. */
static int disagreements(dgm_model *seen, const dgm_model *source, const dgm_model *pruned)
{
    dgm_kernels kern;
    dgm_pass *pass;
    int n = 0;
    assert_int_equal(dgm_kernels_select(&kern, NULL), DGM_OK);
    const dgm_pass_config cfg = {.model = seen, .text = &text, .kern = &kern};
    assert_int_equal(dgm_pass_open(&pass, &cfg), DGM_OK);
    for (int stack = 0; stack < DGM_STACKS; stack++)
        for (int l = 0; l < seen->stack[stack].n_layers; l++) {
            const dgm_packed *now = &pruned->stack[stack].layers[l].qkv.w,
                             *w = &source->stack[stack].layers[l].qkv.w;
            dgm_channels c;
            float row[MOST], f[MOST];
            assert_int_equal(dgm_channels_init(&c, w->k, LANGS), DGM_OK);
            dgm_watched watched = {&seen->stack[stack].layers[l].qkv.w, &c};
            assert_int_equal(dgm_pass_run(pass, stack, &watched, 1), DGM_OK);
            for (int j = 0; j < w->k; j++) {
                const dgm_channel channel = dgm_channels_get(&c, j);
                f[j] = dgm_score_factor(&channel, &wanda);
            }
            for (int r = 0; r < w->n; r++) {
                dgm_packed_read(row, w, r);
                const char *word = chosen(row, f, w->k, w->k / 2, whole_row);
                bool same = true;
                for (int j = 0; j < w->k; j++)
                    same = same && (word[j] == '1') == (dgm_packed_at(now, r, j) == 0);
                n += !same;
            }
            dgm_channels_fini(&c);
        }
    dgm_pass_close(pass);
    return n;
}

/* What enters a layer's first matrix is what the layers in front of it give once they are pruned: so the result, run again, asks for
 * the very zeros that it has, in both stacks, and the source for others. */
static void test_block_after_block(void **state)
{
    (void)state;
    testmodel spec = testmodel_small();
    spec.d_model = 32;
    testmodel_write(dir, &spec);
    const dgm_sparsify_options o = {.method = DGM_BY_WANDA, .sparsity = 0.5};
    dgm_sparsify_report r = sparsify(out, o, 1);
    dgm_model *source = open_model(dir), *pruned = open_model(out);
    assert_int_equal(dgm_model_load(source, 0, 1, true, NULL), DGM_OK);
    assert_int_equal(dgm_model_load(pruned, 0, 1, true, NULL), DGM_OK);
    assert_int_equal(disagreements(pruned, source, pruned), 0);
    assert_true(disagreements(source, source, pruned) > 10);
    dgm_model_close(source);
    dgm_model_close(pruned);
    dgm_sparsify_report_free(&r);
}

/* An expert that no token reaches goes by magnitude, as it would without a text; the others do not. */
static void test_unreached(void **state)
{
    (void)state;
    testmodel spec = testmodel_small();
    spec.experts = 32;
    testmodel_write(dir, &spec);
    const dgm_sparsify_options plain = {.method = DGM_BY_WANDA, .sparsity = 0.5},
                               size = {.method = DGM_BY_MAGNITUDE, .sparsity = 0.5};
    const int n_lines = (int)langs[0].n;
    for (int l = 0; l < LANGS; l++)
        langs[l].n = 1;
    dgm_sparsify_report a = sparsify(out, plain, 1), b = sparsify(other, size, 1);
    for (int l = 0; l < LANGS; l++)
        langs[l].n = (size_t)n_lines;
    dgm_model *x = open_model(out), *y = open_model(other);
    assert_int_equal(dgm_model_load(x, 0, 1, true, NULL), DGM_OK);
    assert_int_equal(dgm_model_load(y, 0, 1, true, NULL), DGM_OK);
    int same = 0;
    for (int s = 0; s < DGM_STACKS; s++)
        for (int e = 0; e < 32; e++) {
            const dgm_packed *p = &x->stack[s].layers[1].experts[e].fc1.w,
                             *q = &y->stack[s].layers[1].experts[e].fc1.w;
            bool all = true;
            for (int r = 0; r < p->n; r++)
                for (int j = 0; j < p->k; j++)
                    all = all && dgm_packed_at(p, r, j) == dgm_packed_at(q, r, j);
            same += all;
        }
    assert_true(a.n_unreached > 2 && a.n_unreached % 2 == 0);
    assert_int_equal(same, a.n_unreached / 2);
    assert_int_equal(b.n_unreached, 0);
    dgm_model_close(x);
    dgm_model_close(y);
    dgm_sparsify_report_free(&a);
    dgm_sparsify_report_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanda_row),
        cmocka_unit_test(test_rows_of_equals),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_no_numbers),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_factor),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_one_language),
        cmocka_unit_test(test_layers),
        cmocka_unit_test_setup_teardown(test_zeros, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mean, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outliers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_languages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_block_after_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreached, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

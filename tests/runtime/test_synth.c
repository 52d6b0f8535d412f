/* Random tensors: any piece is the same as in the whole, spread as promised, with nothing past a matrix's edge. */
#include "kernels/pack.h"
#include "runtime/synth_planted.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Odd everywhere: 44 inputs, 50 and 44 outputs, 6211 rows of vocabulary. */
static dgm_synth shape(bool packed, dgm_wtype experts, dgm_wtype dense)
{
    dgm_synth s;
    assert_int_equal(dgm_synth_like(&s, "demo"), DGM_OK);
    s.d_model = 44;
    s.ffn[0] = s.ffn[1] = 50;
    s.vocab_size = 6211;
    s.layers[0] = s.layers[1] = 2;
    s.kept[0] = 3;
    s.kept[1] = 2;
    s.packed = packed;
    s.experts_type = experts;
    s.dense_type = dense;
    s.group = experts == DGM_W_INT4 ? 32 : 0;
    assert_int_equal(dgm_synth_check(&s), DGM_OK);
    return s;
}

static char *fill(const dgm_synth_list *l, size_t i, size_t *bytes)
{
    *bytes = (size_t)l->tensors[i].bytes;
    char *data = malloc(*bytes);
    assert_non_null(data);
    dgm_synth_fill_part(data, l, i, 7, 0, *bytes);
    return data;
}

static void check_pieces(const dgm_synth *s)
{
    dgm_synth_list l;
    assert_int_equal(dgm_synth_list_make(&l, s), DGM_OK);
    for (size_t i = 0; i < l.n; i++) {
        size_t bytes, step = DGM_SYNTH_UNIT * (1 + i % 5);
        char *whole = fill(&l, i, &bytes), *parts = malloc(bytes);
        for (size_t at = 0; at < bytes; at += step)
            dgm_synth_fill_part(parts + at, &l, i, 7, at, bytes - at < step ? bytes - at : step);
        if (memcmp(whole, parts, bytes) != 0)
            fail_msg("%s: pieces differ from the whole", l.tensors[i].name);
        free(whole);
        free(parts);
    }
    dgm_synth_list_free(&l);
}

static void pieces_make_the_whole(void **state)
{
    (void)state;
    for (int t = DGM_W_F32; t <= DGM_W_INT4; t++) {
        const dgm_synth s = shape(true, (dgm_wtype)t, DGM_W_BF16);
        check_pieces(&s);
    }
    for (int packed = 0; packed < 2; packed++) {
        dgm_synth tasks = shape(packed != 0, DGM_W_F32, DGM_W_BF16);
        tasks.routing[1] = DGM_BY_TASK;
        tasks.tasks = 50;
        check_pieces(&tasks);
    }
    dgm_synth planted = {.plant = {.languages = 3, .eos = true, .ids = {6004, 6007, 6100}}};
    assert_int_equal(dgm_planted_shape(&planted), DGM_OK);
    assert_int_equal(dgm_synth_check(&planted), DGM_OK);
    planted.layers[0] = planted.layers[1] = 2;
    check_pieces(&planted);
}

/* Reads the matrix back by the kernels' own rule, packs it again, and compares every byte, padding included. */
static void check_panels(const dgm_synth_list *l, size_t i, dgm_wtype type)
{
    const dgm_synth_tensor *t = &l->tensors[i];
    size_t bytes;
    char *data = fill(l, i, &bytes), *again = malloc(bytes);
    float *scale = calloc(dgm_packed_panels(t->n) * DGM_PANEL, sizeof *scale),
          *row = malloc((size_t)t->k * sizeof *row);
    int8_t *q = malloc((size_t)t->k);
    for (size_t j = 0; j < dgm_packed_panels(t->n) * DGM_PANEL; j++)
        scale[j] = 1;
    assert_int_equal(bytes, dgm_packed_bytes(type, t->n, t->k));
    const dgm_packed w = {.n = t->n, .k = t->k, .type = type, .data = data, .scale = scale};
    dgm_packed_clear(again, type, t->n, t->k);
    for (int r = 0; r < t->n; r++) {
        uint16_t half[64];
        dgm_packed_read(row, &w, r);
        for (int j = 0; j < t->k; j++) {
            uint32_t u;
            memcpy(&u, &row[j], sizeof u);
            half[j] = (uint16_t)(u >> 16);
            q[j] = (int8_t)row[j];
        }
        if (type == DGM_W_F32)
            dgm_pack((float *)again, row, DGM_F32, r, 1, t->k);
        else if (type == DGM_W_BF16)
            dgm_pack_bf16(again, half, r, 1, t->k);
        else
            dgm_pack_integers(again, type, q, r, 1, t->k);
    }
    if (memcmp(data, again, bytes) != 0)
        fail_msg("%s: not the panels of a matrix [%d, %d]", l->tensors[i].name, t->n, t->k);
    free(data);
    free(again);
    free(scale);
    free(row);
    free(q);
}

static void panels_are_those_of_a_matrix(void **state)
{
    (void)state;
    int checked = 0;
    for (int t = DGM_W_F32; t <= DGM_W_INT4; t++) {
        const dgm_synth s = shape(true, (dgm_wtype)t, t == DGM_W_INT4 ? DGM_W_BF16 : (dgm_wtype)t);
        dgm_synth_list l;
        assert_int_equal(dgm_synth_list_make(&l, &s), DGM_OK);
        for (size_t i = 0; i < l.n; i++) {
            if (!l.tensors[i].panels || l.tensors[i].fill == DGM_SYNTH_SCALES)
                continue;
            const bool expert = strstr(l.tensors[i].name, "expert_") != NULL,
                       router = strstr(l.tensors[i].name, "router") != NULL;
            check_panels(&l, i, router ? DGM_W_F32 : expert ? s.experts_type : s.dense_type);
            checked++;
        }
        dgm_synth_list_free(&l);
    }
    /* embedding; encoder 4 + 3 + 3 * 2, decoder 7 + 6 + 2 * 2 */
    assert_int_equal(checked, 4 * 31);
}

/* table - of 5 tasks over n experts, by its first decoder tensor of that name. */
static float *table(const dgm_synth *s, int *n)
{
    dgm_synth_list l;
    size_t i = 0, bytes;
    assert_int_equal(dgm_synth_list_make(&l, s), DGM_OK);
    while (strstr(l.tensors[i].name, "router.task.weight") == NULL)
        assert_true(++i < l.n);
    const dgm_synth_tensor t = l.tensors[i];
    char *data = fill(&l, i, &bytes);
    float *rows = malloc((size_t)(t.n * t.k) * sizeof *rows);
    const dgm_packed w = {.n = t.n, .k = t.k, .type = DGM_W_F32, .data = (float *)(void *)data};
    for (int r = 0; t.panels && r < t.n; r++)
        dgm_packed_read(rows + r * t.k, &w, r);
    if (!t.panels)
        memcpy(rows, data, bytes);
    *n = t.k;
    free(data);
    dgm_synth_list_free(&l);
    return rows;
}

/* Two experts for each task that no other task has; packed and plain tables choose alike. */
static void tasks_have_experts_of_their_own(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        dgm_synth s = shape(packed != 0, DGM_W_F32, DGM_W_F32);
        int n, taken[11] = {0};
        s.kept[1] = 11;
        s.routing[1] = DGM_BY_TASK;
        s.tasks = 5;
        float *rows = table(&s, &n);
        assert_int_equal(n, 11);
        for (int t = 0; t < 5; t++) {
            int best = 0, second = -1;
            for (int e = 1; e < n; e++)
                best = rows[t * n + e] > rows[t * n + best] ? e : best;
            for (int e = 0; e < n; e++)
                if (e != best && (second < 0 || rows[t * n + e] > rows[t * n + second]))
                    second = e;
            assert_int_equal(second, (best + 1) % n);
            assert_int_equal(taken[best]++ + taken[second]++, 0);
        }
        free(rows);
    }
    assert_string_equal(dgm_synth_task(0), "deu_Latn");
    assert_string_equal(dgm_synth_task(4), "ace_Arab");
    assert_non_null(dgm_synth_task(201));
    assert_null(dgm_synth_task(202));
}

static double deviation(const dgm_synth_list *l, const char *name, double *mean)
{
    size_t i = 0, bytes;
    while (strcmp(l->tensors[i].name, name) != 0)
        assert_true(++i < l->n);
    float *x = (float *)fill(l, i, &bytes);
    const size_t n = bytes / sizeof *x;
    double sum = 0, squares = 0;
    for (size_t j = 0; j < n; j++) {
        assert_true(isfinite(x[j]));
        sum += (double)x[j];
        squares += (double)x[j] * (double)x[j];
    }
    free(x);
    *mean = sum / (double)n;
    return sqrt(squares / (double)n - *mean * *mean);
}

static void values_are_spread_as_promised(void **state)
{
    (void)state;
    const dgm_synth s = shape(false, DGM_W_F32, DGM_W_F32);
    dgm_synth_list l;
    double mean;
    assert_int_equal(dgm_synth_list_make(&l, &s), DGM_OK);
    const double unit =
        1 / sqrt(44); /* and the nearest power of two is within a factor of sqrt 2 of anything */
    const struct {
        const char *name;
        double sd;
    } want[] = {{"model.encoder.layers.0.self_attn.q_proj.weight", unit},
                {"model.encoder.layers.1.ffn.router.classifier.weight", 4 * unit},
                {"model.shared.weight", 2 * unit}};
    for (int i = 0; i < 3; i++) {
        const double sd = deviation(&l, want[i].name, &mean);
        assert_true(sd > 0.65 * want[i].sd && sd < 1.5 * want[i].sd);
        assert_true(fabs(mean) < 0.15 * sd);
    }
    dgm_synth_list_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(panels_are_those_of_a_matrix),
        cmocka_unit_test(tasks_have_experts_of_their_own),
        cmocka_unit_test(values_are_spread_as_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

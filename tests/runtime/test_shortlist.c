/* Lists of a job: chosen from a map, gathered from a model of each type, and answers in ids again. */
#include "runtime/shortlist.h"

#include "runtime/quantize.h"
#include "tests/runtime/testmodel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int32_t few[] = {2, 5, 16, 36}, two[] = {2, 3};
static const dgm_vmap_list both[] = {{20, 4, few}, {21, 2, two}};
static const dgm_vmap map = {(dgm_vmap_list *)both, 2};

static void only_what_the_job_needs_is_chosen(void **state)
{
    (void)state;
    dgm_shortlists s = {0};
    const int32_t codes[] = {21, 30, 20};
    assert_int_equal(dgm_shortlists_choose(&s, &map, codes, 2), DGM_OK);
    assert_int_equal(s.n, 1);
    assert_int_equal(dgm_shortlists_find(&s, 21)->n, 2);
    assert_null(dgm_shortlists_find(&s, 20));
    assert_null(dgm_shortlists_find(&s, 30));
    assert_null(dgm_shortlists_find(NULL, 21));
    dgm_shortlists_fini(&s);
    assert_int_equal(dgm_shortlists_choose(&s, &map, codes, 3), DGM_OK);
    assert_int_equal(s.n, 2);
    assert_memory_equal(dgm_shortlists_find(&s, 20)->ids, few, sizeof few);
    dgm_shortlists_fini(&s);
    assert_int_equal(dgm_shortlists_choose(&s, &map, codes + 1, 1), DGM_OK);
    assert_int_equal(s.n, 0);
    dgm_shortlists_fini(&s);
}

static void rows_are_those_of(const char *dir, dgm_wtype type)
{
    const int32_t codes[] = {20, 21};
    dgm_model *m;
    dgm_shortlists s = {0};
    if (dgm_model_open(&m, dir, &(dgm_model_options){.source_order = -1}) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    assert_int_equal(dgm_model_load(m, 0, 1, true, NULL), DGM_OK);
    assert_int_equal(m->embed.type, type);
    assert_int_equal(dgm_shortlists_choose(&s, &map, codes, 2), DGM_OK);
    assert_int_equal(dgm_shortlists_gather(&s, m, NULL), DGM_OK);
    assert_int_equal(s.rows.used, dgm_shortlists_bytes(&s, m));
    for (int i = 0; i < s.n; i++) {
        const dgm_shortlist *l = &s.list[i];
        assert_int_equal(l->w.n, l->n);
        for (int r = 0; r < l->n; r++)
            for (int k = 0; k < m->embed.k; k++) {
                const float got = dgm_packed_at(&l->w, r, k),
                            want = dgm_packed_at(&m->embed, l->ids[r], k);
                assert_memory_equal(&got, &want, sizeof got);
            }
    }
    dgm_shortlists_fini(&s);
    dgm_model_close(m);
}

static void pack(const char *to, const char *dir, const dgm_quantize_options *o)
{
    dgm_model *m;
    dgm_quantize_report report;
    assert_int_equal(dgm_model_open(&m, dir, NULL), DGM_OK);
    if (dgm_quantize(&report, m, to, o, NULL, NULL, NULL) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    free(report.error);
    dgm_model_close(m);
}

static void rows_are_gathered_from_every_kind_of_model(void **state)
{
    (void)state;
    static const dgm_quantize_options kinds[] = {
        {.experts = DGM_W_INT8, .dense = DGM_W_F32},
        {.experts = DGM_W_INT8, .dense = DGM_W_BF16},
        {.experts = DGM_W_INT8, .dense = DGM_W_INT8},
        {.experts = DGM_W_INT4, .dense = DGM_W_INT8, .group = 32},
    };
    testmodel spec = testmodel_small();
    char *dir = testmodel_dir(), path[512];
    testmodel_write(dir, &spec);
    rows_are_those_of(dir, DGM_W_F32);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/packed%zu", dir, i);
        pack(path, dir, &kinds[i]);
        rows_are_those_of(path, kinds[i].dense);
    }
    testmodel_remove(dir);
    spec.dtype = DGM_BF16;
    dir = testmodel_dir();
    testmodel_write(dir, &spec);
    rows_are_those_of(dir, DGM_W_BF16);
    testmodel_remove(dir);
}

static void answers_are_ids_again(void **state)
{
    (void)state;
    enum { VOCAB = 9 };
    static const int32_t lists[][VOCAB] = {
        {2, 3}, {0, 1, 2}, {2, 8}, {0, 1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 4, 5, 7}};
    static const int sizes[] = {2, 3, 2, 9, 5};
    for (int t = 0; t < 5; t++) {
        const dgm_shortlist l = {.n = sizes[t], .ids = lists[t]};
        int32_t ids[VOCAB];
        float full[VOCAB];
        for (int i = 0; i < VOCAB; i++) {
            ids[i] = sizes[t] - 1 - i; /* positions, best first */
            full[i] = i < sizes[t] ? 10.0f + (float)i : NAN;
        }
        dgm_vocab_row row = {.ids = ids, .n_found = sizes[t], .full = full};
        dgm_shortlist_name(&l, &row, VOCAB);
        for (int i = 0; i < sizes[t]; i++)
            assert_int_equal(ids[i], lists[t][sizes[t] - 1 - i]);
        for (int id = 0, at = 0; id < VOCAB; id++) {
            const bool listed = at < sizes[t] && lists[t][at] == id;
            const float want = listed ? 10.0f + (float)at : -INFINITY;
            assert_memory_equal(&full[id], &want, sizeof want);
            at += listed;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_the_job_needs_is_chosen),
        cmocka_unit_test(rows_are_gathered_from_every_kind_of_model),
        cmocka_unit_test(answers_are_ids_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

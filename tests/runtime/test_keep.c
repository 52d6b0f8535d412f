/* Keep files: what is written is read; which set a direction gets; lists of others; nonsense. */
#include "runtime/keep.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MODEL = 0xAB, MOST = 64 };

/* 2 + 2 layers, every second sparse, 4 experts in the encoder and 3 in the decoder. */
static dgm_model_config config(void)
{
    dgm_model_config c = {.top_k = 2};
    for (int s = 0; s < DGM_STACKS; s++) {
        c.n_layers[s] = 4;
        c.sparse_step[s] = 2;
    }
    c.n_experts[DGM_ENCODER] = 4;
    c.n_experts[DGM_DECODER] = 3;
    return c;
}

static char path[64];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/dgm-keep-XXXXXX");
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void put(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    const dgm_model_config c = config();
    dgm_keep k, again;
    /* encoder layers 1 and 3 of 4 experts, decoder layers 1 and 3 of 3 */
    const uint8_t a[14] = {1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 0, 1, 1},
                  b[14] = {1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1};
    const uint64_t corpus = 0x1234;
    assert_int_equal(dgm_keep_init(&k, &c, MODEL), DGM_OK);
    assert_int_equal(k.shape.n_experts, 14);
    assert_int_equal(dgm_keep_add(&k, DGM_ENCODER, "eng_Latn", b), DGM_OK);
    assert_int_equal(dgm_keep_add(&k, DGM_ENCODER, "deu_Latn", b), DGM_OK);
    assert_int_equal(dgm_keep_add(&k, DGM_ENCODER, "eng_Latn", a), DGM_OK); /* replaces */
    assert_int_equal(dgm_keep_add(&k, DGM_DECODER, "deu_Latn", a), DGM_OK);
    assert_int_equal(k.n[DGM_ENCODER], 2);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(
        dgm_keep_write(&k, path, &(dgm_keep_origin){"{\"metric\":\"top1\"}", &corpus, 1}), DGM_OK);
    if (dgm_keep_read(&again, path, &c, MODEL) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    for (int s = 0; s < DGM_STACKS; s++) {
        assert_int_equal(again.n[s], k.n[s]);
        for (int i = 0; i < k.n[s]; i++) {
            assert_string_equal(again.sets[s][i].name, k.sets[s][i].name);
            assert_memory_equal(again.sets[s][i].kept, k.sets[s][i].kept, 14);
        }
    }
    assert_memory_equal(dgm_keep_find(&again, DGM_ENCODER, "eng_Latn", "x")->kept, a, 8);
    assert_memory_equal(dgm_keep_find(&again, DGM_DECODER, "x", "deu_Latn")->kept + 8, a + 8, 6);
    assert_int_equal(dgm_keep_find(&again, DGM_DECODER, "x", "deu_Latn")->kept[0], 0);
    dgm_keep_fini(&again);
    assert_int_equal(dgm_keep_read(&again, path, &c, MODEL + 1), DGM_EINPUT);
    assert_non_null(strstr(dgm_error_text(), "is of another model: want 00000000000000ac"));
    assert_int_equal(dgm_keep_read(&again, path, &c, 0), DGM_OK);
    dgm_keep_fini(&again);
    dgm_keep_fini(&k);
}

static void test_find(void **state)
{
    (void)state;
    const dgm_model_config c = config();
    dgm_keep k;
    uint8_t all[14];
    memset(all, 1, sizeof all);
    assert_int_equal(dgm_keep_init(&k, &c, MODEL), DGM_OK);
    assert_null(dgm_keep_find(&k, DGM_ENCODER, "a", "b"));
    assert_int_equal(dgm_keep_add(&k, DGM_ENCODER, "*", all), DGM_OK);
    assert_string_equal(dgm_keep_find(&k, DGM_ENCODER, "a", "b")->name, "*");
    assert_int_equal(dgm_keep_add(&k, DGM_ENCODER, "a", all), DGM_OK);
    assert_string_equal(dgm_keep_find(&k, DGM_ENCODER, "a", "b")->name, "a");
    assert_string_equal(dgm_keep_find(&k, DGM_ENCODER, "b", "a")->name, "*");
    assert_int_equal(dgm_keep_add(&k, DGM_ENCODER, "a-b", all), DGM_OK);
    assert_string_equal(dgm_keep_find(&k, DGM_ENCODER, "a", "b")->name, "a-b");
    assert_null(dgm_keep_find(&k, DGM_DECODER, "a", "b"));
    assert_int_equal(dgm_keep_add(&k, DGM_DECODER, "b", all), DGM_OK);
    assert_string_equal(dgm_keep_find(&k, DGM_DECODER, "a", "b")->name, "b");
    dgm_keep_fini(&k);
}

static void test_compare(void **state)
{
    (void)state;
    const dgm_model_config c = config();
    dgm_keep k;
    const uint8_t a[14] = {1, 1, 0, 0, 1, 1}, b[14] = {1, 1, 0, 0, 0, 0, 1, 1},
                  d[14] = {1, 0, 1, 0, 0, 0, 1, 1};
    const char *const two[] = {"a", "b"};
    assert_int_equal(dgm_keep_init(&k, &c, MODEL), DGM_OK);
    assert_int_equal(dgm_keep_add(&k, DGM_ENCODER, "a", a), DGM_OK);
    assert_int_equal(dgm_keep_add(&k, DGM_ENCODER, "b", b), DGM_OK);
    assert_int_equal(dgm_keep_add(&k, DGM_ENCODER, "d", d), DGM_OK);
    dgm_keep_overlap o = dgm_keep_compare(&k, DGM_ENCODER, NULL, 0);
    assert_int_equal(o.n_sets, 3);
    assert_int_equal(o.experts, 8);
    assert_int_equal(o.all_union, 7);
    assert_int_equal(o.all_share, 1);
    assert_true(fabs(o.most - 3.0 / 5) < 1e-12 && fabs(o.least - 1.0 / 7) < 1e-12);
    assert_true(fabs(o.mean - (2.0 / 6 + 1.0 / 7 + 3.0 / 5) / 3) < 1e-12);
    o = dgm_keep_compare(&k, DGM_ENCODER, two, 2);
    assert_int_equal(o.n_sets, 2);
    assert_int_equal(o.all_union, 6);
    assert_int_equal(o.all_share, 2);
    o = dgm_keep_compare(&k, DGM_DECODER, NULL, 0);
    assert_int_equal(o.n_sets, 0);
    assert_int_equal(o.all_union + o.all_share, 0);
    dgm_keep_fini(&k);
}

static void test_import(void **state)
{
    (void)state;
    const dgm_model_config c = config();
    dgm_keep k;
    put("{\"a\":[0,1,4,7,8,9,12,13],\"b\":[0,3,5,6,9,10,11,12,13]}");
    assert_int_equal(dgm_keep_import(&k, path, &c, 0), DGM_OK);
    assert_int_equal(k.n[DGM_ENCODER], 2);
    assert_int_equal(k.n[DGM_DECODER], 2);
    const uint8_t want[14] = {1, 1, 0, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1};
    assert_memory_equal(k.sets[DGM_ENCODER][0].kept, want, 8);
    assert_memory_equal(k.sets[DGM_DECODER][0].kept + 8, want + 8, 6);
    dgm_keep_fini(&k);
}

static void refused(bool list, const char *text, const char *why)
{
    const dgm_model_config c = config();
    dgm_keep k;
    put(text);
    assert_int_equal(list ? dgm_keep_import(&k, path, &c, MODEL)
                          : dgm_keep_read(&k, path, &c, MODEL),
                     DGM_EINPUT);
    if (strstr(dgm_error_text(), why) == NULL)
        fail_msg("want '%s', found '%s'", why, dgm_error_text());
}

#define ENCODER(layers) "{\"format\":1,\"encoder\":{\"a\":" layers "},\"decoder\":{}}"

static void test_nonsense(void **state)
{
    (void)state;
    refused(false, "[]", "wanted a JSON object");
    refused(false, "{}", "format: want 1");
    refused(false, "{\"format\":1,\"model\":7}", "model: want a hash");
    refused(false, "{\"format\":1}", "encoder: want an object");
    refused(false, ENCODER("[]"), "encoder: a: want an object of layers");
    refused(false, ENCODER("{\"1\":[0,1]}"),
            "encoder: a: layer 3: want at least 2 experts, found 0");
    refused(false, ENCODER("{\"1\":[0],\"3\":[0,1]}"), "layer 1: want at least 2 experts, found 1");
    refused(false, ENCODER("{\"2\":[0,1]}"), "want numbers of mixture-of-experts layers, found 2");
    refused(false, ENCODER("{\"x\":[0,1]}"), "want numbers of mixture-of-experts layers");
    refused(false, ENCODER("{\"1\":[0,4]}"),
            "layer 1: want whole numbers from 0 to 3, ascending, found 4");
    refused(false, ENCODER("{\"1\":[1,1]}"), "ascending, found 1");
    refused(false, ENCODER("{\"1\":[0,1.5]}"), "ascending, found -1");
    refused(false, ENCODER("{\"1\":{}}"), "layer 1: want a list of experts");
    refused(true, "{}", "want lists of experts by language, found none");
    refused(true, "{\"a\":[0,1,4,7,8,9,12,14]}",
            "want whole numbers from 0 to 13, ascending, found 14");
    refused(true, "{\"a\":[0,1,4,7,8,9,12]}", "layer 3: want at least 2 experts, found 1");
    refused(true, "{\"a\":7}", "want a list of experts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_compare),
        cmocka_unit_test_setup_teardown(test_import, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

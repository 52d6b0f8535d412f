/* Safetensors files as they should be, and every way in which a hostile or broken one is refused. */
#include "runtime/safetensors.h"
#include "tests/runtime/testmodel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *dir;

static int setup(void **state)
{
    (void)state;
    dir = testmodel_dir();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testmodel_remove(dir);
    return 0;
}

/* A file of header `json`, given length `len` (0: the real one), and `data_bytes` bytes 0, 1, 2, ... */
static void write_file(const char *name, const char *json, uint64_t len, size_t data_bytes)
{
    unsigned char buf[4096];
    const size_t n = strlen(json);
    if (len == 0)
        len = n;
    memcpy(buf, &len, 8);
    memcpy(buf + 8, json, n);
    for (size_t i = 0; i < data_bytes; i++)
        buf[8 + n + i] = (unsigned char)i;
    testmodel_file(dir, name, buf, 8 + n + data_bytes);
}

static void expect_refusal(const char *want)
{
    dgm_tensors *t = NULL;
    const int rc = dgm_tensors_open(&t, dir);
    if (rc != DGM_EMODEL || strstr(dgm_error_text(), want) == NULL)
        fail_msg("wanted EMODEL with '%s', found %s '%s'", want, dgm_status_name(rc),
                 dgm_error_text());
    if (strchr(dgm_error_text(), '\n') != NULL)
        fail_msg("wanted one line, found '%s'", dgm_error_text());
}

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void reads_a_good_file(void **state)
{
    (void)state;
    write_file(
        "model.safetensors",
        "{\"__metadata__\":{\"format\":\"pt\"}," T("b", "BF16", "[2,3]", "[4,16]") "," T(
            "a", "F32", "[1]", "[0,4]") "," T("e", "F16", "[0,7]", "[4,4]") "," T("s", "I64", "[]",
                                                                                  "[16,24]") "}   ",
        0, 24);
    dgm_tensors *t;
    assert_int_equal(dgm_tensors_open(&t, dir), DGM_OK);
    size_t n;
    const dgm_tensor *all = dgm_tensors_all(t, &n);
    assert_int_equal(n, 4);
    assert_string_equal(all[0].name, "a"); /* by offset */
    const dgm_tensor *b = dgm_tensors_find(t, "b");
    assert_non_null(b);
    assert_null(dgm_tensors_find(t, "c"));
    assert_null(dgm_tensors_find(t, "__metadata__"));
    assert_int_equal(b->dtype, DGM_BF16);
    assert_int_equal(b->n_dims, 2);
    assert_int_equal(b->dims[0], 2);
    assert_int_equal(b->dims[1], 3);
    assert_int_equal(b->bytes, 12);
    assert_int_equal(dgm_tensors_find(t, "s")->dtype, -1);
    assert_int_equal(dgm_tensors_find(t, "e")->bytes, 0);
    unsigned char got[5];
    assert_int_equal(dgm_tensors_read(t, b, got, 7, 5, 100), DGM_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(got[i], 4 + 7 + i);
    dgm_tensors_close(t);
}

static void refuses_bad_headers(void **state)
{
    (void)state;
    static const struct bad {
        const char *json;
        uint64_t len;
        size_t data;
        const char *want;
    } bad[] = {
        {"{}", (uint64_t)1 << 63, 0, "found a length of 9223372036854775808"},
        {"{}", UINT64_MAX, 0, "found a length of 18446744073709551615"},
        {"{}", 99, 0, "wanted a header of 99 bytes, found 2 (is the file truncated?)"},
        {"pickle", 0, 0, "wanted JSON, found at line 1"},
        {"{", 0, 0, "wanted JSON"},
        {"{} x", 0, 0, "wanted JSON"},
        {"[1]", 0, 0, "wanted a JSON object"},
        {"{" T("a", "F32", "[1]", "[0,4]") "," T("a", "F32", "[1]", "[4,8]") "}", 0, 8,
         "duplicate"},
        {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[1]", "[4,8]") "}", 0, 8,
         "found a and b overlapping"},
        {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[0,8]") "}", 0, 8,
         "found a and b overlapping"},
        {"{" T("a", "F32", "[2]", "[0,8]") "}", 0, 7,
         "tensor a: wanted data up to byte 8, found 7 (is the file"},
        {"{" T("a", "F32", "[2]", "[8,0]") "}", 0, 8,
         "wanted ascending data_offsets, found 8 to 0"},
        {"{" T("a", "F32", "[2]", "[-8,0]") "}", 0, 8,
         "wanted ascending data_offsets, found -8 to 0"},
        {"{" T("a", "F32", "[2]", "[9223372036854775800,9223372036854775807]") "}", 0, 8,
         "is the file truncated?"},
        {"{" T("a", "F32", "[2]", "[0,99999999999999999999]") "}", 0, 8, "wanted JSON"},
        {"{" T("a", "F32", "[2]", "[0,8,9]") "}", 0, 8, "wanted two data_offsets"},
        {"{" T("a", "F32", "[2]", "[0.0,8.0]") "}", 0, 8, "wanted two data_offsets"},
        {"{" T("a", "F32", "[2]", "8") "}", 0, 8, "wanted two data_offsets"},
        {"{" T("a", "F32", "[3]", "[0,8]") "}", 0, 8,
         "tensor a: wanted 12 bytes for its shape and dtype, found 8"},
        {"{" T("a", "F16", "[2]", "[0,8]") "}", 0, 8,
         "wanted 4 bytes for its shape and dtype, found 8"},
        {"{" T("a", "F32", "[4294967296,4294967296]", "[0,8]") "}", 0, 8,
         "wanted a size below 2^64 bytes"},
        {"{" T("a", "F32", "[4611686018427387904,0]", "[0,0]") "}", 0, 8,
         "wanted a size below 2^64 bytes"},
        {"{" T("a", "F32", "[-2]", "[0,8]") "}", 0, 8, "wanted dimensions of 0 or more"},
        {"{" T("a", "F32", "[\"2\"]", "[0,8]") "}", 0, 8, "wanted dimensions of 0 or more"},
        {"{" T("a", "F32", "[1,1,1,1,2]", "[0,8]") "}", 0, 8,
         "wanted a shape of at most 4 dimensions, found 5"},
        {"{" T("a", "F32", "2", "[0,8]") "}", 0, 8, "wanted a shape of"},
        {"{" T("a", "F31", "[2]", "[0,8]") "}", 0, 8,
         "wanted a dtype such as F32, F16 or BF16, found F31"},
        {"{" T("a", "F\\u001b[31m", "[2]", "[0,8]") "}", 0, 8,
         "found (a text with odd characters)"},
        {"{" T("a\\n", "F32", "[2]", "[0,8]") "}", 0, 8, "wanted tensor names of printable ASCII"},
        {"{" T("a\\u0000", "F32", "[2]", "[0,8]") "}", 0, 8, "wanted JSON"},
        {"{\"a\":7}", 0, 8, "tensor a: wanted a dtype, found none"},
        {"{\"a\":{\"dtype\":4}}", 0, 8, "tensor a: wanted a dtype, found none"},
        {"{\"a\":{\"dtype\":\"F32\"}}", 0, 8, "tensor a: wanted a shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 0, 8, "tensor a: wanted two data_offsets"},
        {"{\"__metadata__\":[]," T("a", "F32", "[2]", "[0,8]") "}", 0, 8,
         "wanted __metadata__ to be an object"},
        {"{\"__metadata__\":{\"a\":\"0123456789abcde\"}," T("a", "F32", "[2]", "[0,8]") "}", 0, 8,
         "tensor a: wanted a checksum of 16 hexadecimal digits in __metadata__, found "
         "0123456789abcde"},
        {"{\"__metadata__\":{\"a\":\"0123456789abcdefg\"}," T("a", "F32", "[2]", "[0,8]") "}", 0, 8,
         "wanted a checksum of 16 hexadecimal digits"},
        {"{\"__metadata__\":{\"a\":5}," T("a", "F32", "[2]", "[0,8]") "}", 0, 8, "found no text"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file("model.safetensors", bad[i].json, bad[i].len, bad[i].data);
        expect_refusal(bad[i].want);
    }
}

static void refuses_tiny_files(void **state)
{
    (void)state;
    for (size_t n = 0; n < 8; n++) {
        testmodel_file(dir, "model.safetensors", "\1\0\0\0\0\0\0\0", n);
        expect_refusal("wanted 8 bytes of header length");
    }
}

static void refuses_deep_nesting(void **state)
{
    (void)state;
    char json[4001];
    memset(json, '[', 4000);
    json[4000] = '\0';
    write_file("model.safetensors", json, 0, 0);
    expect_refusal("wanted JSON");
}

static void refuses_what_is_no_weights_file(void **state)
{
    (void)state;
    expect_refusal("wanted model.safetensors or model.safetensors.index.json, found neither");
    testmodel_file(dir, "pytorch_model.bin", "PK", 2);
    expect_refusal("found pytorch_model.bin, which this version does not read: load it with");
}

static void write_index(const char *json)
{
    testmodel_file(dir, "model.safetensors.index.json", json, strlen(json));
}

static void reads_shards(void **state)
{
    (void)state;
    write_file("x.safetensors", "{" T("a", "F32", "[1]", "[0,4]") "}", 0, 4);
    write_file("y.safetensors",
               "{" T("b", "F32", "[1]", "[0,4]") "," T("c", "F32", "[1]", "[4,8]") "}", 0, 8);
    write_index("{\"weight_map\":{\"b\":\"y.safetensors\",\"a\":\"x.safetensors\",\"c\":\"y."
                "safetensors\"}}");
    dgm_tensors *t;
    assert_int_equal(dgm_tensors_open(&t, dir), DGM_OK);
    unsigned char got[4];
    assert_int_equal(dgm_tensors_read(t, dgm_tensors_find(t, "c"), got, 0, 4, 0), DGM_OK);
    assert_int_equal(got[0], 4);
    assert_non_null(strstr(dgm_tensors_path(t, dgm_tensors_find(t, "a")), "/x.safetensors"));
    dgm_tensors_close(t);
}

static void refuses_bad_indices(void **state)
{
    (void)state;
    write_file("x.safetensors", "{" T("a", "F32", "[1]", "[0,4]") "}", 0, 4);
    write_file("y.safetensors", "{" T("b", "F32", "[1]", "[0,4]") "}", 0, 4);
    write_file("z.safetensors", "{" T("a", "F32", "[1]", "[0,4]") "}", 0, 4);
    static const char *const bad[][2] = {
        {"{\"weight_map\":{\"a\":\"x.safetensors\",\"c\":\"x.safetensors\"}}",
         "tensor c: wanted it in x.safetensors, found it nowhere"},
        {"{\"weight_map\":{\"a\":\"y.safetensors\",\"b\":\"x.safetensors\"}}",
         "tensor a: wanted it in y.safetensors, found it in"},
        {"{\"weight_map\":{\"a\":\"x.safetensors\",\"b\":\"z.safetensors\"}}",
         "tensor a: wanted it once, found it in"},
        {"{\"weight_map\":{\"a\":\"no.safetensors\"}}",
         "no.safetensors: cannot open: No such file"},
        {"{\"weight_map\":{\"a\":\"../x.safetensors\"}}",
         "wanted the name of a file beside the index, found ../x"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}",
         "wanted the name of a file beside the index, found /etc"},
        {"{\"weight_map\":{\"a\":1}}", "wanted the name of a file beside the index, found no text"},
        {"{\"weight_map\":{}}", "wanted 1 to 10000 shards, found 0"},
        {"{\"weight_map\":[]}", "wanted an object weight_map, found none"},
        {"{}", "wanted an object weight_map, found none"},
        {"", "wanted JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_index(bad[i][0]);
        expect_refusal(bad[i][1]);
    }
    write_file("y.safetensors",
               "{" T("b", "F32", "[1]", "[0,4]") "," T("q", "F32", "[1]", "[4,8]") "}", 0, 8);
    write_index("{\"weight_map\":{\"a\":\"x.safetensors\",\"b\":\"y.safetensors\"}}");
    expect_refusal("wanted every tensor of the shards, found none of the name q");
}

/* A file that shrinks after it was opened is a sentence, not a SIGBUS. */
static void survives_a_shrinking_file(void **state)
{
    (void)state;
    write_file("model.safetensors", "{" T("a", "F32", "[4]", "[0,16]") "}", 0, 16);
    dgm_tensors *t;
    assert_int_equal(dgm_tensors_open(&t, dir), DGM_OK);
    write_file("model.safetensors", "{}", 0, 0);
    char got[16];
    assert_int_equal(dgm_tensors_read(t, dgm_tensors_find(t, "a"), got, 0, 16, 0), DGM_EMODEL);
    assert_non_null(strstr(dgm_error_text(), "wanted 16 bytes at byte"));
    dgm_tensors_close(t);
}

/* Thousands of names: each is found, none is mistaken for another. */
static void finds_by_name(void **state)
{
    (void)state;
    enum { N = 5000 };
    char *json = malloc(N * 80);
    assert_non_null(json);
    size_t at = 0;
    for (int i = 0; i < N; i++)
        at += (size_t)sprintf(json + at,
                              "%c\"t%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
                              i == 0 ? '{' : ',', i, i, i + 1);
    json[at++] = '}';
    char *file = calloc(1, 8 + at + N);
    assert_non_null(file);
    const uint64_t len = at;
    memcpy(file, &len, 8);
    memcpy(file + 8, json, at);
    testmodel_file(dir, "model.safetensors", file, 8 + at + N);
    dgm_tensors *t;
    assert_int_equal(dgm_tensors_open(&t, dir), DGM_OK);
    for (int i = 0; i < N; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "t%d", i);
        const dgm_tensor *found = dgm_tensors_find(t, name);
        assert_non_null(found);
        assert_string_equal(found->name, name);
        assert_int_equal(found->begin, 8 + len + (uint64_t)i);
    }
    assert_null(dgm_tensors_find(t, "t5000"));
    dgm_tensors_close(t);
    free(json);
    free(file);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(reads_a_good_file),
        CASE(refuses_bad_headers),
        CASE(refuses_tiny_files),
        CASE(refuses_deep_nesting),
        CASE(refuses_what_is_no_weights_file),
        CASE(reads_shards),
        CASE(refuses_bad_indices),
        CASE(survives_a_shrinking_file),
        CASE(finds_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

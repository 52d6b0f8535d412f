/* Files as torch.save() writes them (tests/golden/torch), and every way in which a hostile or broken one is refused. */
#include "runtime/model.h"
#include "runtime/pickle.h"
#include "runtime/safetensors.h"
#include "tests/runtime/testmodel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN "tests/golden/torch/"

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

static unsigned char data[16384];

static size_t load(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, GOLDEN "%s.bin", name);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("%s: cannot be opened", path);
    const size_t n = fread(data, 1, sizeof data, f);
    (void)fclose(f);
    assert_in_range(n, 1, sizeof data - 1);
    return n;
}

static dgm_tensors *open_file(const char *name)
{
    dgm_tensors *t;
    testmodel_file(dir, "pytorch_model.bin", data, load(name));
    if (dgm_tensors_open(&t, dir) != DGM_OK)
        fail_msg("%s: %s", name, dgm_error_text());
    return t;
}

static void expect_refusal(const char *what, const char *want)
{
    dgm_tensors *t = NULL;
    const int rc = dgm_tensors_open(&t, dir);
    if (rc != DGM_EMODEL || strstr(dgm_error_text(), want) == NULL ||
        strstr(dgm_error_text(), "pytorch_model.bin: ") == NULL ||
        strchr(dgm_error_text(), '\n') != NULL)
        fail_msg("%s: wanted EMODEL with '%s', found %s '%s'", what, want, dgm_status_name(rc),
                 dgm_error_text());
}

/* ---- good files ---- */

static const dgm_tensor *find(const dgm_tensors *t, const char *name, const char *type, int n_dims,
                              uint64_t bytes)
{
    const dgm_tensor *found = dgm_tensors_find(t, name);
    if (found == NULL)
        fail_msg("%s: not there", name);
    assert_string_equal(found->type, type);
    assert_int_equal(found->n_dims, n_dims);
    assert_int_equal(found->bytes, bytes);
    return found;
}

static void check_f32(const dgm_tensors *t, const char *name, int n_dims, size_t n, float first,
                      float step)
{
    float got[24];
    const dgm_tensor *found = find(t, name, "F32", n_dims, 4 * n);
    assert_int_equal(dgm_tensors_read(t, found, got, 0, 4 * n, 0), DGM_OK);
    for (size_t i = 0; i < n; i++)
        assert_true(got[i] == first + step * (float)i);
}

static void check_tensors(const char *file)
{
    dgm_tensors *t = open_file(file);
    size_t n;
    (void)dgm_tensors_all(t, &n);
    assert_int_equal(n, 11);
    check_f32(t, "f32", 2, 12, 0, 0.25f);
    check_f32(t, "scalar", 0, 1, 0.5f, 0);
    check_f32(t, "four", 4, 6, 0, 0);
    check_f32(t, "whole", 2, 24, 0, 0.125f);
    check_f32(t, "rows", 2, 12, 1.5f, 0.125f);
    check_f32(t, "last", 1, 1, 2.875f, 0);
    assert_int_equal(find(t, "empty", "F32", 2, 0)->dims[1], 7);
    assert_int_equal(find(t, "bf16", "BF16", 2, 12)->dtype, DGM_BF16);
    assert_int_equal(find(t, "i64", "I64", 1, 16)->dtype, -1);
    uint16_t half[6];
    const dgm_tensor *f16 = find(t, "f16", "F16", 1, 12);
    assert_int_equal(dgm_tensors_read(t, f16, half, 0, 12, 0), DGM_OK);
    assert_int_equal(half[0], 0xc100); /* -2.5 */
    assert_int_equal(find(t, "tied", "F16", 1, 12)->begin, f16->begin);
    dgm_tensors_close(t);
}

static void reads_types_shapes_and_views(void **state)
{
    (void)state;
    check_tensors("tensors");
    check_tensors("zip64");
}

static void reads_the_state_of_a_module(void **state)
{
    (void)state;
    dgm_tensors *t = open_file("module");
    check_f32(t, "inner.weight", 2, 6, 0, 1);
    check_f32(t, "inner.bias", 1, 2, 0, 1);
    dgm_tensors_close(t);
}

/* The same model by Hugging Face as safetensors, as one .bin and as shards: the same tensors, to the byte. */
static void reads_models(void **state)
{
    (void)state;
    static const char *const others[] = {GOLDEN "one", GOLDEN "shards"};
    dgm_tensors *want;
    size_t n, n_got;
    assert_int_equal(dgm_tensors_open(&want, GOLDEN "safetensors"), DGM_OK);
    const dgm_tensor *all = dgm_tensors_all(want, &n);
    for (int k = 0; k < 2; k++) {
        dgm_tensors *got;
        dgm_model *m;
        if (dgm_tensors_open(&got, others[k]) != DGM_OK)
            fail_msg("%s", dgm_error_text());
        assert_int_equal(dgm_tensors_files(got), 1 + k);
        (void)dgm_tensors_all(got, &n_got);
        assert_in_range(n_got, n, n + 2); /* with the names of tied embeddings */
        for (size_t i = 0; i < n; i++) {
            static char a[4096], b[4096];
            const dgm_tensor *t = find(got, all[i].name, all[i].type, all[i].n_dims, all[i].bytes);
            assert_memory_equal(t->dims, all[i].dims, sizeof t->dims);
            assert_in_range(t->bytes, 1, sizeof a);
            assert_int_equal(dgm_tensors_read(want, &all[i], a, 0, (size_t)t->bytes, 0), DGM_OK);
            assert_int_equal(dgm_tensors_read(got, t, b, 0, (size_t)t->bytes, 0), DGM_OK);
            assert_memory_equal(a, b, t->bytes);
        }
        dgm_tensors_close(got);
        if (dgm_model_open(&m, others[k], NULL) != DGM_OK ||
            dgm_model_load(m, 0, 1, true, NULL) != DGM_OK)
            fail_msg("%s", dgm_error_text());
        dgm_model_close(m);
    }
    dgm_tensors_close(want);
}

static void prefers_safetensors(void **state)
{
    (void)state;
    dgm_tensors *t;
    testmodel_file(dir, "pytorch_model.bin", "x", 1);
    expect_refusal("one byte", "found a file too short to be one");
    testmodel_file(dir, "model.safetensors", "\2\0\0\0\0\0\0\0{}", 10);
    assert_int_equal(dgm_tensors_open(&t, dir), DGM_OK);
    dgm_tensors_close(t);
}

/* ---- files of other contents ---- */

static void refuses_other_contents(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"transposed", "tensor a: wanted rows one after another, found a transposed"},
        {"strided", "tensor a: wanted rows one after another, found a transposed"},
        {"number", "epoch: wanted a tensor, found a number"},
        {"nested", "model: wanted a tensor, found a dictionary"},
        {"list", "wanted tensors by name, found opcode 0x5d in the pickle (nothing was executed)"},
        {"bare", "wanted a dictionary in the pickle, found a tensor"},
        {"call", "wanted tensors by name, found the global posix system (nothing was executed)"},
        {"parameter", "found the global torch._utils _rebuild_parameter"},
        {"legacy", "wanted a zip archive (torch.save since version 1.6), found a bare pickle"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        testmodel_file(dir, "pytorch_model.bin", data, load(bad[i][0]));
        expect_refusal(bad[i][0], bad[i][1]);
    }
}

/* ---- broken archives ---- */

/* The k-th place of a record's signature `sig` "PK\1\2". */
static size_t place_of(size_t n, const char *sig, int k)
{
    for (size_t i = 0; i + 4 <= n; i++)
        if (memcmp(data + i, sig, 4) == 0 && k-- == 0)
            return i;
    fail_msg("no such record");
    return 0;
}

static void refuses_broken_archives(void **state)
{
    (void)state;
    /* record, which one, field, its bytes, new value */
    static const struct broken {
        const char *sig;
        int nth, field, bytes;
        uint64_t value;
        const char *want;
    } broken[] = {
        {"PK\1\2", 0, 0, 1, 'Q', "found something else in its directory"},
        {"PK\1\2", 0, 10, 2, 8, "data.pkl: wanted it stored as it is, found it compressed"},
        {"PK\1\2", 0, 8, 2, 1, "data.pkl: wanted it stored as it is, found it encrypted"},
        {"PK\1\2", 0, 20, 4, 1, "found an entry of two sizes"},
        {"PK\1\2", 0, 28, 2, 65535, "found a directory that ends in an entry"},
        {"PK\1\2", 0, 42, 4, 0xfffffffe,
         "data.pkl: wanted it before the directory, found it at byte 4294967294"},
        {"PK\1\2", 0, 42, 4, 0xffffffff, "found an entry of two sizes"},
        {"PK\1\2", 0, 42, 4, 5, "data.pkl: wanted "},
        {"PK\3\4", 0, 0, 1, 'Q', "data.pkl: wanted "},
        {"PK\3\4", 0, 28, 2, 65535, "data.pkl: wanted "},
        {"PK\3\4", 0, 28, 2, 0, "wanted a pickle of protocol 2, found another"},
        {"PK\6\6", 0, 32, 8, UINT64_MAX, "found a directory outside the file"},
        {"PK\6\6", 0, 40, 8, UINT64_MAX, "found a directory outside the file"},
        {"PK\6\6", 0, 48, 8, UINT64_MAX, "found a directory outside the file"},
        {"PK\6\6", 0, 0, 1, 'Q', "found something else where its end record should be"},
        {"PK\6\7", 0, 8, 8, UINT64_MAX, "found an end record outside the file"},
        {"PK\6\7", 0, 8, 8, 0, "found something else where its end record should be"},
        {"PK\5\6", 0, 0, 1, 'Q', "found no directory at its end (is the file truncated?)"},
        {"PK\5\6", 0, 20, 2, 1, "found no directory at its end (is the file truncated?)"},
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const struct broken *b = &broken[i];
        const size_t n = load("tensors");
        memcpy(data + place_of(n, b->sig, b->nth) + b->field, &b->value, (size_t)b->bytes);
        testmodel_file(dir, "pytorch_model.bin", data, n);
        char what[32];
        (void)snprintf(what, sizeof what, "case %zu", i);
        expect_refusal(what, b->want);
    }
}

/* Every shorter file is refused; so is one whose pickle is another in any one byte, or read all the same. */
static void survives_truncation_and_flips(void **state)
{
    (void)state;
    size_t n = load("tensors");
    for (size_t i = 0; i < n; i += 7) {
        testmodel_file(dir, "pytorch_model.bin", data, i);
        expect_refusal("a part of a file", "wanted a zip archive");
    }
    n = load("module");
    for (size_t i = 0; i < n; i++) {
        dgm_tensors *t;
        data[i] ^= 0x41;
        testmodel_file(dir, "pytorch_model.bin", data, n);
        data[i] ^= 0x41;
        const int rc = dgm_tensors_open(&t, dir);
        assert_true(rc == DGM_OK || rc == DGM_EMODEL);
        if (rc == DGM_OK)
            dgm_tensors_close(t);
    }
}

/* `from` becomes `to`, of the same length. */
static size_t load_changed(const char *from, const char *to)
{
    const size_t n = load("module"), len = strlen(from);
    assert_int_equal(len, strlen(to));
    for (size_t i = 0; i + len <= n; i++)
        if (memcmp(data + i, from, len) == 0)
            memcpy(data + i, to, len);
    return n;
}

static void refuses_storages_that_do_not_fit(void **state)
{
    (void)state;
    static const char *const changes[][3] = {
        {"module/data/1", "module/data/7",
         "wanted an entry module/data/1 in the archive, found none"},
        {"module/data/1", "module/data/0", "found two entries of one name"},
        {"module/data.pkl", "module/data.pkk",
         "wanted an entry data.pkl in the archive, found none"},
        {"FloatStorage", "FloatStorafe", "found the global torch FloatStorafe"},
        {"storage", "storafe", "wanted storages as torch.save writes them"},
        {"OrderedDict", "OrderedDicu", "found the global collections OrderedDicu"},
        {"inner.bias", "inner.bi\xffs", "wanted tensor names of printable ASCII"},
        {"inner.bias", "inner.bi\ns", "wanted tensor names of printable ASCII"},
        {"little", "medium", "wanted numbers in little-endian order, found another"},
        {"\x86q", "\x85q",
         "wanted tensors as torch.save writes them"}, /* sizes of fewer dimensions than strides */
        {"cpuq\x07K\x06t", "cpuq\x07K\x05t",
         "tensor inner.weight: wanted it inside its storage of 5 elements"},
        {"cpuq\x07K\x06t", "cpuq\x07K\x07t",
         "tensor inner.weight: wanted a storage of 7 elements of F32, found 24 bytes"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const size_t n = load_changed(changes[i][0], changes[i][1]);
        testmodel_file(dir, "pytorch_model.bin", data, n);
        expect_refusal(changes[i][1], changes[i][2]);
    }
}

/* ---- hostile pickles ---- */

#define P "\x80\2"
#define STORAGE                                                                                    \
    "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"                                             \
    "0X\3\0\0\0cpuK\6tQ"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n"
#define DICT "ccollections\nOrderedDict\n)R"

static void refuses_bad_pickles(void **state)
{
    (void)state;
#define BAD(bytes, want)                                                                           \
    {                                                                                              \
        bytes, sizeof bytes - 1, want                                                              \
    }
    static const struct bad {
        const char *bytes;
        size_t n;
        const char *want;
    } bad[] = {
        BAD("", "wanted 2 bytes more of the pickle, found 0"),
        BAD("\x80\4}.", "wanted a pickle of protocol 2, found another"),
        BAD(P, "wanted 1 bytes more of the pickle, found 0"),
        BAD(P "}", "wanted 1 bytes more of the pickle, found 0"),
        BAD(P ".", "wanted a pickle of one value, found 0"),
        BAD(P "}}.", "wanted a pickle of one value, found 2"),
        BAD(P "}.}", "wanted a pickle of one value, found 1"),
        BAD(P "(}.", "wanted a pickle of one value, found 1"),
        BAD(P "K\1.", "wanted a dictionary in the pickle, found a number"),
        BAD(P "t.", "wanted a mark on the pickle's stack, found none"),
        BAD(P "u.", "wanted a mark on the pickle's stack, found none"),
        BAD(P "(u.", "wanted a dictionary, keys and values"),
        BAD(P "}(K\1u.", "wanted a dictionary, keys and values"),
        BAD(P "K\1(K\1K\2u.", "wanted a dictionary in the pickle, found a number"),
        BAD(P "}K\1s.", "wanted a dictionary, keys and values"),
        BAD(P "s.", "wanted a dictionary, keys and values"),
        BAD(P "\x87.", "wanted 3 values on the pickle's stack, found 0"),
        BAD(P "K\1(\x85.", "wanted 1 values on the pickle's stack, found 0"),
        BAD(P "R.", "wanted a value on the pickle's stack, found none"),
        BAD(P "})R.", "wanted a global in the pickle, found a dictionary"),
        BAD(P "ccollections\nOrderedDict\n}R.", "wanted a tuple in the pickle, found a dictionary"),
        BAD(P "ccollections\nOrderedDict\nK\1\x85R.",
            "found a call of collections OrderedDict with 1 arguments"),
        BAD(P "ctorch\nFloatStorage\n)R.", "found a call of torch FloatStorage with 0 arguments"),
        BAD(P "cos\nsystem\nX\2\0\0\0ls\x85R.",
            "found the global os system (nothing was executed)"),
        BAD(P "c\x1b[2J\nx\n.", "found the global (a text with odd characters) x"),
        BAD(P "cos\nsystem", "wanted names of globals of less than 64 bytes"),
        BAD(P "i.", "found opcode 0x69 in the pickle (nothing was executed)"),
        BAD(P "K\1}b.", "found a state for something else"),
        BAD(P "}K\1b.", "wanted a dictionary in the pickle, found a number"),
        BAD(P "h\0.", "wanted one of 0 values of the pickle's memo, found 0"),
        BAD(P "}q\1.", "wanted value 0 of the pickle's memo, found 1"),
        BAD(P "q\0.", "wanted value 0 of the pickle's memo, found 0"),
        BAD(P "}r\xff\xff\xff\xff.", "wanted value 0 of the pickle's memo, found 4294967295"),
        BAD(P "j\xff\xff\xff\xff.", "found 4294967295"),
        BAD(P "X\xff\xff\xff\xff.", "wanted 4294967295 bytes more of the pickle, found 1"),
        BAD(P "\x8a\11........./.", "wanted numbers of at most 8 bytes in the pickle, found 9"),
        BAD(P ")Q.", "wanted storages as torch.save writes them"),
        BAD(P "(X\7\0\0\0storageccollections\nOrderedDict\nX\1\0\0\0"
              "0X\3\0\0\0cpuK\6tQ.",
            "wanted storages as"),
        BAD(P "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
              "0X\3\0\0\0cpuJ\xff\xff\xff\xfftQ.",
            "wanted storages as"),
        BAD(P REBUILD ")R.", "wanted tensors as torch.save writes them"),
        BAD(P REBUILD "(" STORAGE "J\xff\xff\xff\xff)))" DICT "tR.", "wanted tensors as"),
        BAD(P REBUILD "(" STORAGE "K\0K\1\x85)\x89" DICT "tR.", "wanted tensors as"),
        BAD(P REBUILD "(" STORAGE "K\0J\xff\xff\xff\xff\x85K\1\x85\x89" DICT "tR.",
            "wanted tensors as"),
        BAD(P "}X\1\0\0\0a" REBUILD "(" STORAGE "K\0(K\1K\1K\1K\1K\1t(K\1K\1K\1K\1K\1t\x89" DICT
              "tRs.",
            "tensor a: wanted a shape of at most 4 dimensions, found 5"),
        BAD(P "}K\1K\1s.", "wanted tensor names of printable ASCII, found a number"),
        BAD(P "}X\0\0\0\0K\1s.", "wanted tensor names of printable ASCII, found "),
        BAD(P "}X\3\0\0\0a\0bK\1s.", "wanted tensor names of printable ASCII, found "),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dgm_pickled *t;
        size_t n;
        /* A copy of just that size, so that a sanitizer sees reading past it. */
        unsigned char *exact = malloc(bad[i].n + 1);
        assert_non_null(exact);
        memcpy(exact, bad[i].bytes, bad[i].n);
        exact = realloc(exact, bad[i].n > 0 ? bad[i].n : 1);
        const int rc = dgm_pickle_parse(&t, &n, "f", exact, bad[i].n);
        free(exact);
        if (rc != DGM_EMODEL || strstr(dgm_error_text(), bad[i].want) == NULL ||
            strchr(dgm_error_text(), '\n') != NULL)
            fail_msg("case %zu: wanted EMODEL with '%s', found %s '%s'", i, bad[i].want,
                     dgm_status_name(rc), dgm_error_text());
    }
}

/* What torch 2.15 does not write for small tensors: numbers of 2, 4 and 8 bytes, dictionaries that hold themselves. */
static void parses_the_rest(void **state)
{
    (void)state;
    static const char bytes[] = P "}q\0(X\1\0\0\0a" REBUILD "(" STORAGE
                                  "M\1\1J\2\0\0\1\x8a\5\3\0\0\0\1\x87)\x88" DICT "tRu.";
    static const char good[] =
        P "}r\0\0\0\0(X\1\0\0\0a" REBUILD "(" STORAGE "M\1\1J\2\0\0\1\x8a\5\3\0\0\0\1\x86"
          "\x8a\0K\1\x86\x88" DICT "tRu}X\4\0\0\0selfj\0\0\0\0sb.";
    dgm_pickled *t;
    size_t n;
    assert_int_equal(dgm_pickle_parse(&t, &n, "f", (const unsigned char *)bytes, sizeof bytes - 1),
                     DGM_EMODEL);
    if (dgm_pickle_parse(&t, &n, "f", (const unsigned char *)good, sizeof good - 1) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    assert_int_equal(n, 1);
    assert_string_equal(t->name, "a");
    assert_string_equal(t->storage, "0");
    assert_string_equal(t->type, "F32");
    assert_int_equal(t->storage_elements, 6);
    assert_int_equal(t->offset, 257);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[0], 0x1000002);
    assert_int_equal(t->dims[1], 0x100000003);
    assert_int_equal(t->strides[0], 0);
    assert_int_equal(t->strides[1], 1);
    dgm_pickle_free(t, n);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(reads_types_shapes_and_views),
        CASE(reads_the_state_of_a_module),
        CASE(reads_models),
        CASE(prefers_safetensors),
        CASE(refuses_other_contents),
        CASE(refuses_broken_archives),
        CASE(survives_truncation_and_flips),
        CASE(refuses_storages_that_do_not_fit),
        CASE(refuses_bad_pickles),
        CASE(parses_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

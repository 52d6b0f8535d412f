/* A model as a whole: its hash, its sizes, its directory, and what loading a part of it touches. */
#define _GNU_SOURCE
#include "runtime/model.h"
#include "tests/runtime/testmodel.h"

#include <ctype.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

static dgm_model *open_model(const testmodel *spec)
{
    dgm_model *m;
    testmodel_write(dir, spec);
    if (dgm_model_open(&m, dir, NULL) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    return m;
}

/* ---- hash ---- */

static uint64_t hash_of(const testmodel *spec)
{
    dgm_model *m = open_model(spec);
    const uint64_t hash = m->hash;
    dgm_model_close(m);
    return hash;
}

static void hash_tells_models_apart(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    const uint64_t first = hash_of(&s);
    assert_int_equal(hash_of(&s), first);
    char *const other = testmodel_dir(), *const usual = dir;
    dir = other; /* the place does not matter */
    assert_int_equal(hash_of(&s), first);
    dir = usual;
    testmodel_remove(other);
    s.seed = 2; /* same shapes, another training */
    assert_int_not_equal(hash_of(&s), first);
    s = testmodel_small();
    s.config = "{\"moe_token_dropout\":0.3}";
    assert_int_not_equal(hash_of(&s), first);
    s = testmodel_small();
    s.dtype = DGM_BF16;
    assert_int_not_equal(hash_of(&s), first);
    s = testmodel_small();
    s.generation = "{\"max_length\":30}";
    assert_int_not_equal(hash_of(&s), first);
}

/* ---- sizes ---- */

static void sizes_count_parameters(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    dgm_model *m = open_model(&s);
    dgm_model_size size;
    dgm_model_get_size(&size, m);
    const uint64_t d = 16, attention = 4 * (d * d + d);
    const uint64_t ffn = (2 * 24 * d + 24 + d) + (2 * 40 * d + 40 + d);
    assert_int_equal(size.part[DGM_EMBED].params, 37 * d);
    assert_int_equal(size.part[DGM_ATTENTION].params,
                     6 * attention); /* the decoder has 2 a layer */
    assert_int_equal(size.part[DGM_FFN].params, ffn);
    assert_int_equal(size.part[DGM_EXPERTS].params, 4 * ffn);
    assert_int_equal(size.part[DGM_ROUTER].params, 2 * 4 * d);
    assert_int_equal(size.part[DGM_NORM].params, (2 * 2 + 3 * 2 + 2) * 2 * d);
    for (int p = 0; p < DGM_PARTS; p++)
        assert_int_equal(size.part[p].file_bytes, 4 * size.part[p].params);
    assert_int_equal(size.part[DGM_EMBED].memory_bytes, 4 * 48 * d); /* 37 rows in 3 panels of 16 */
    assert_int_equal(size.positions_bytes, 4 * 42 * d);
    assert_string_equal(size.dtype, "F32");
    assert_int_equal(size.n_files, 1);
    char path[256];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(size.file_bytes, st.st_size);
    dgm_model_close(m);
}

/* ---- verify ---- */

static void verify_finds_what_is_no_number(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    for (int t = DGM_F32; t <= DGM_BF16; t++) {
        s.dtype = (dgm_dtype)t;
        dgm_model *m = open_model(&s);
        assert_int_equal(dgm_model_verify(m), DGM_OK);
        dgm_model_close(m);
        /* The last tensor of the file is decoder.layer_norm.bias. */
        char path[256];
        const uint32_t nan = 0x7fc07fc0;
        (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
        FILE *f = fopen(path, "r+");
        assert_non_null(f);
        assert_int_equal(fseek(f, t == DGM_F32 ? -8 : -4, SEEK_END), 0);
        assert_int_equal(fwrite(&nan, t == DGM_F32 ? 4 : 2, 1, f), 1);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(dgm_model_open(&m, dir, NULL), DGM_OK);
        assert_int_equal(dgm_model_verify(m), DGM_EMODEL);
        assert_non_null(strstr(dgm_error_text(),
                               "tensor model.decoder.layer_norm.bias: wanted finite numbers"));
        assert_non_null(strstr(dgm_error_text(), "at element 14"));
        dgm_model_close(m);
    }
}

/* ---- directory ---- */

static void expect_refusal(const char *where, const char *want)
{
    dgm_model *m;
    const int rc = dgm_model_open(&m, where, NULL);
    if (rc != DGM_EMODEL || strstr(dgm_error_text(), want) == NULL)
        fail_msg("wanted EMODEL with '%s', found %s '%s'", want, dgm_status_name(rc),
                 dgm_error_text());
}

static void refuses_what_is_no_model(void **state)
{
    (void)state;
    char path[256];
    expect_refusal("/no/such/place", "/no/such/place: wanted a model directory: No such file");
    expect_refusal("/dev/null", "wanted a model directory, found a file");
    expect_refusal(dir, "config.json: cannot open: No such file");
    testmodel s = testmodel_small();
    testmodel_write(dir, &s);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(remove(path), 0);
    expect_refusal(dir, "wanted model.safetensors, pytorch_model.bin, or the index of shards of "
                        "either, found none");
    assert_int_equal(mkdir(path, 0700), 0);
    expect_refusal(dir, "model.safetensors: wanted a file, found something else");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* opening it must not wait for a writer */
    expect_refusal(dir, "model.safetensors: wanted a file, found something else");
}

/* ---- what loading touches ---- */

/*
 * 2 MoE layers of 8 experts, each 2 x 256 x 1024 f32 (2 MiB): 32 MiB of experts, all holes in the file.
 *
 *     rank 1 of 4 owns experts 1 and 5 of each layer; every other expert's bytes must never be read.
 */
static testmodel big(void)
{
    testmodel s = testmodel_small();
    s.d_model = 256;
    s.layers[0] = s.layers[1] = 1;
    s.step[0] = s.step[1] = 1;
    s.ffn[0] = s.ffn[1] = 1024;
    s.experts = 8;
    s.vocab = 1000;
    s.holes = true;
    return s;
}

static long long proc_number(const char *file, const char *key)
{
    char line[512];
    long long value = -1;
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            value = atoll(line + strlen(key));
    (void)fclose(f);
    return value;
}

/* Resident bytes of mappings of files under `dir`, from smaps. */
static long long mapped_bytes(void)
{
    char line[4096];
    long long sum = 0;
    bool ours = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (!isupper((unsigned char)line[0])) /* "7f12...-7f13... r--p ..." begins a mapping */
            ours = strstr(line, dir) != NULL;
        else if (ours && strncmp(line, "Rss:", 4) == 0)
            sum += 1024 * atoll(line + 4);
    }
    (void)fclose(f);
    return sum;
}

static void smaps_reader_sees_a_mapping(void **state)
{
    (void)state;
    char path[256] = "";
    testmodel_file(dir, "x", path, sizeof path);
    (void)snprintf(path, sizeof path, "%s/x", dir);
    const int fd = open(path, O_RDONLY);
    volatile char *p = mmap(NULL, 256, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(p != MAP_FAILED);
    (void)p[0];
    assert_int_equal(mapped_bytes(), 4096);
    (void)munmap((void *)p, 256);
    (void)close(fd);
}

enum { KIB = 1024, MIB = 1024 * KIB };

static void loading_reads_its_own_experts_only(void **state)
{
    (void)state;
    const testmodel s = big();
    dgm_model *m = open_model(&s);
    const long long rss = proc_number("/proc/self/status", "VmRSS:") * KIB;
    const long long rchar = proc_number("/proc/self/io", "rchar:");
    assert_int_equal(dgm_model_load(m, 1, 4, false, NULL), DGM_OK);
    const long long read = proc_number("/proc/self/io", "rchar:") - rchar;
    const long long own = 4LL * (2 * 256 * 1024 + 1024 + 256) * 4;
    assert_in_range(read, own, own + 64 * KIB); /* and the reading of /proc/self/io itself */
    uint64_t dense, experts;
    dgm_model_rank_bytes(&dense, &experts, m, 1, 4, false);
    assert_int_equal(dense, 0);
    assert_int_equal(experts, own); /* these shapes pack without padding */
    assert_int_equal(mapped_bytes(), 0);
#if !defined(__SANITIZE_ADDRESS__) &&                                                              \
    !defined(__SANITIZE_THREAD__) /* their shadow is resident too */
    const long long grown = proc_number("/proc/self/status", "VmRSS:") * KIB - rss;
    assert_in_range(grown, own,
                    own + 1 * MIB); /* the buffer that pieces are read into is gone too */
#else
    (void)rss;
#endif
    dgm_model_close(m);
}

/* The page cache knows which parts of the file were ever read, read-ahead included. */
static void loading_leaves_other_pages_alone(void **state)
{
    (void)state;
    const testmodel s = big();
    dgm_model *m = open_model(&s);
    assert_int_equal(dgm_model_load(m, 1, 4, false, NULL), DGM_OK);
    char path[256];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    const int fd = open(path, O_RDWR); /* mincore tells writers only */
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    const size_t pages = ((size_t)st.st_size + 4095) / 4096;
    unsigned char *in_core = calloc(1, pages);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(p != MAP_FAILED && in_core != NULL);
    assert_int_equal(mincore(p, (size_t)st.st_size, in_core), 0);
    size_t touched = 0;
    for (size_t i = 0; i < pages; i++)
        touched += in_core[i] & 1;
    (void)munmap(p, (size_t)st.st_size);
    (void)close(fd);
    free(in_core);
    dgm_model_close(m);
    const size_t own = 4 * (2 * 256 * 1024 + 1024 + 256) * 4 / 4096;
    if (touched < own) { /* a tmpfs reads holes without making pages */
        print_message("only %zu of %zu pages seen: this file system does not tell\n", touched, own);
        skip();
    }
    assert_in_range(touched, own,
                    own + 64); /* headers, and the ends of tensors that share a page */
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(hash_tells_models_apart),          CASE(sizes_count_parameters),
        CASE(verify_finds_what_is_no_number),   CASE(refuses_what_is_no_model),
        CASE(smaps_reader_sees_a_mapping),      CASE(loading_reads_its_own_experts_only),
        CASE(loading_leaves_other_pages_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

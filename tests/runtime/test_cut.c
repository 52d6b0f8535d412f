/* Models of which experts were cut out: every tensor that stays is the source's, every form of source, and directories that
 * somebody changed afterwards. The shape: encoder layer 1 and decoder layer 1 are mixtures of 4 experts. */
#include "runtime/cut_write.h"
#include "runtime/quantize.h"
#include "runtime/weights.h"
#include "tests/runtime/testmodel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const uint8_t there[8] = {1, 0, 1, 1, 0, 1, 1, 0}, fewer[8] = {1, 0, 0, 1, 0, 1, 1, 0};
static const char *const directions[] = {"eng_Latn-deu_Latn", "fra_Latn-deu_Latn"};

static char *dir, out[512], again[512], keep_path[512];

static int setup(void **state)
{
    (void)state;
    dir = testmodel_dir();
    (void)snprintf(out, sizeof out, "%s/out", dir);
    (void)snprintf(again, sizeof again, "%s/again", dir);
    (void)snprintf(keep_path, sizeof keep_path, "%s/keep", dir);
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
    if (dgm_model_open(&m, from, NULL) != DGM_OK)
        fail_msg("%s: %s", from, dgm_error_text());
    return m;
}

/* cut - `from` becomes `to` with the experts of `kept` and a keep file that keeps them for eng_Latn and deu_Latn. */
static int cut(const char *from, const char *to, const uint8_t *kept, uint64_t shard_bytes)
{
    dgm_keep k;
    dgm_cut_report report;
    dgm_model *m = open_model(from);
    assert_int_equal(dgm_keep_init(&k, &m->cfg, m->cut != NULL ? m->cut->of : m->hash), DGM_OK);
    assert_int_equal(dgm_keep_add(&k, DGM_ENCODER, "eng_Latn", kept), DGM_OK);
    assert_int_equal(dgm_keep_add(&k, DGM_DECODER, "deu_Latn", kept), DGM_OK);
    (void)unlink(keep_path);
    assert_int_equal(dgm_keep_write(&k, keep_path, &(dgm_keep_origin){0}), DGM_OK);
    const dgm_cut_plan plan = {.keep = keep_path,
                               .shape = &k.shape,
                               .there = kept,
                               .directions = directions,
                               .n_directions = 2,
                               .shard_bytes = shard_bytes};
    const int rc = dgm_cut_write(&report, m, to, &plan, NULL, NULL);
    dgm_keep_fini(&k);
    dgm_model_close(m);
    return rc;
}

static void made(const char *from, const char *to, const uint8_t *kept, uint64_t shard_bytes)
{
    if (cut(from, to, kept, shard_bytes) != DGM_OK)
        fail_msg("%s: %s", from, dgm_error_text());
}

static void *bytes_of(const dgm_model *m, const dgm_tensor *t)
{
    void *data = malloc((size_t)t->bytes + 1);
    assert_non_null(data);
    assert_int_equal(dgm_tensors_read(m->files->tensors, t, data, 0, (size_t)t->bytes, 0), DGM_OK);
    return data;
}

/* check_tensors - the model in `to` has the tensors of that in `from` but for experts that are not kept, and no others. */
static void check_tensors(const char *from, const char *to, const uint8_t *kept)
{
    dgm_model *a = open_model(from), *b = open_model(to);
    size_t n = 0;
    for (size_t i = 0; i < a->files->n_slots; i++) {
        const dgm_slot *s = &a->files->slots[i];
        const dgm_tensor *t = dgm_tensors_find(b->files->tensors, s->tensor->name);
        if (s->expert >= 0 && !kept[4 * s->moe + s->expert]) {
            assert_null(t);
            continue;
        }
        assert_non_null(t);
        assert_string_equal(t->type, s->tensor->type);
        assert_int_equal(t->bytes, s->tensor->bytes);
        void *want = bytes_of(a, s->tensor), *found = bytes_of(b, t);
        assert_memory_equal(found, want, (size_t)t->bytes);
        free(want);
        free(found);
        n++;
    }
    assert_int_equal(b->files->n_slots, n);
    assert_int_equal(b->cut->of, a->cut != NULL ? a->cut->of : a->hash);
    assert_int_equal(b->cut->n_directions, 2);
    assert_string_equal(b->cut->directions[1], "fra_Latn-deu_Latn");
    assert_memory_equal(b->cut->there, kept, 8);
    assert_true(b->hash != a->hash);
    if (dgm_model_verify(b) != DGM_OK || dgm_model_load(b, 0, 1, true, NULL) != DGM_OK)
        fail_msg("%s: %s", to, dgm_error_text());
    for (int s = 0; s < DGM_STACKS; s++)
        for (int e = 0; e < 4; e++) {
            const dgm_packed *w = &b->stack[s].layers[1].experts[e].fc1.w;
            assert_int_equal(w->data != NULL, kept[4 * s + e] != 0);
            assert_int_equal(w->type,
                             b->stack[s].layers[1].experts[kept[4 * s] ? 0 : 1].fc1.w.type);
        }
    dgm_model_close(a);
    dgm_model_close(b);
}

static void test_sources(void **state)
{
    (void)state;
    static const dgm_dtype types[] = {DGM_F32, DGM_BF16, DGM_F16};
    for (int i = 0; i < 6; i++) {
        testmodel s = testmodel_small();
        s.dtype = types[i % 3];
        s.prefix = i % 2 == 0;
        s.shards = i >= 3 ? 2 : 0;
        s.embed_name = i == 4 ? "decoder.embed_tokens.weight" : NULL;
        testmodel_write(dir, &s);
        made(dir, out, there, i == 5 ? 2000 : 0);
        check_tensors(dir, out, there);
        dgm_model *m = open_model(out);
        assert_int_equal(dgm_tensors_files(m->files->tensors) > 1, i == 5);
        dgm_model_close(m);
        teardown(state);
        setup(state);
    }
}

static void test_packed(void **state)
{
    (void)state;
    static const dgm_wtype types[] = {DGM_W_INT8, DGM_W_INT4, DGM_W_BF16, DGM_W_F32};
    dgm_pool *pool;
    const testmodel s = testmodel_small();
    assert_int_equal(dgm_pool_create(&pool, 1), DGM_OK);
    testmodel_write(dir, &s);
    made(dir, out, there, 0);
    for (int i = 0; i < 8; i++) {
        char packed[600], cut_of_it[600];
        dgm_quantize_report report;
        const dgm_quantize_options o = {.experts = types[i % 4],
                                        .dense = i % 2 == 0 ? DGM_W_INT8 : DGM_W_BF16,
                                        .group = i < 4 ? 0 : 32};
        (void)snprintf(packed, sizeof packed, "%s/packed.%d", dir, i);
        (void)snprintf(cut_of_it, sizeof cut_of_it, "%s/cut.%d", dir, i);
        dgm_model *m = open_model(i < 6 ? dir : out); /* the last two: quantised after the cut */
        if (dgm_quantize(&report, m, packed, &o, pool, NULL, NULL) != DGM_OK)
            fail_msg("%s", dgm_error_text());
        dgm_quantize_report_free(&report);
        dgm_model_close(m);
        made(packed, cut_of_it, i < 6 ? there : fewer, i == 2 ? 3000 : 0);
        check_tensors(packed, cut_of_it, i < 6 ? there : fewer);
    }
    dgm_pool_destroy(pool);
}

/* A cut of a cut has the bytes of a cut. */
static void test_twice(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    s.dtype = DGM_BF16;
    testmodel_write(dir, &s);
    made(dir, out, there, 0);
    made(out, again, fewer, 0);
    check_tensors(out, again, fewer);
    char direct[600];
    (void)snprintf(direct, sizeof direct, "%s/direct", dir);
    made(dir, direct, fewer, 0);
    dgm_model *a = open_model(direct), *b = open_model(again), *whole = open_model(dir);
    assert_int_equal(dgm_tensors_hash(a->files->tensors), dgm_tensors_hash(b->files->tensors));
    assert_int_equal(b->cut->of, whole->hash);
    dgm_model_close(a);
    dgm_model_close(b);
    dgm_model_close(whole);
}

static void test_torch(void **state)
{
    (void)state;
    static const uint8_t all[4] = {1, 1, 1,
                                   1}; /* these models have 2 experts, and a token needs both */
    static const char *const sources[] = {"tests/golden/torch/one", "tests/golden/torch/shards"};
    for (int i = 0; i < 2; i++) {
        char to[600];
        (void)snprintf(to, sizeof to, "%s/%d", dir, i);
        made(sources[i], to, all, 0);
        dgm_model *a = open_model(sources[i]), *b = open_model(to);
        assert_int_equal(a->files->n_slots, b->files->n_slots);
        for (size_t k = 0; k < a->files->n_slots; k++) {
            const dgm_tensor *t = b->files->slots[k].tensor;
            void *want = bytes_of(a, a->files->slots[k].tensor), *found = bytes_of(b, t);
            assert_memory_equal(found, want, (size_t)t->bytes);
            free(want);
            free(found);
        }
        dgm_model_close(a);
        dgm_model_close(b);
    }
}

/* ---- directories that were changed ---- */

static char *read_file(const char *folder, const char *name)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    char *text = calloc(1, 65536);
    assert_non_null(f);
    assert_non_null(text);
    assert_in_range(fread(text, 1, 65535, f), 1, 65534);
    (void)fclose(f);
    return text;
}

static void refused(const char *what, const char *want)
{
    dgm_model *m = NULL;
    const int rc = dgm_model_open(&m, out, NULL);
    if (rc != DGM_EMODEL || strstr(dgm_error_text(), want) == NULL)
        fail_msg("%s: wanted EMODEL with '%s', found %s '%s'", what, want, dgm_status_name(rc),
                 rc == DGM_OK ? "" : dgm_error_text());
}

/* replace - text with `from` once as `to`, malloc'ed. */
static char *replace(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    const size_t size = strlen(text) + strlen(to) + 1;
    char *new = malloc(size);
    if (at == NULL)
        fail_msg("no %s in %s", from, text);
    assert_non_null(new);
    (void)snprintf(new, size, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return new;
}

/* squeeze - JSON without blanks, so that the edits below need not know how it is laid out. */
static void squeeze(char *text)
{
    char *to = text;
    for (const char *at = text; *at != '\0'; at++)
        if (*at != ' ' && *at != '\n')
            *to++ = *at;
    *to = '\0';
}

static void test_changed_config(void **state)
{
    (void)state;
    static const char list[] =
        "\"experts\":{\"encoder\":{\"1\":[0,2,3]},\"decoder\":{\"1\":[1,2]}}";
    static const struct {
        const char *from, *to, *want;
    } edits[] = {
        {"\"encoder\":{\"1\":[0,2,3]}", "\"encoder\":{\"1\":[0,2]}",
         "wanted only tensors that config.json describes"},
        {"\"encoder\":{\"1\":[0,2,3]}", "\"encoder\":{\"1\":[0,1,2,3]}",
         "wanted a tensor model.encoder.layers.1.ffn.experts.expert_1.fc1.weight, found none"},
        {"[0,2,3]", "[0]", "experts.encoder.1: wanted at least 2 whole numbers from 0 to 3"},
        {"[0,2,3]", "[0,3,2]", "experts.encoder.1: wanted at least 2 whole numbers"},
        {"[0,2,3]", "[0,2,2]", "experts.encoder.1: wanted at least 2 whole numbers"},
        {"[0,2,3]", "[0,2,4]", "experts.encoder.1: wanted at least 2 whole numbers"},
        {"[0,2,3]", "[-1,2,3]", "experts.encoder.1: wanted at least 2 whole numbers"},
        {"[0,2,3]", "[0,2.5,3]", "experts.encoder.1: wanted at least 2 whole numbers"},
        {"[0,2,3]", "[0,\"2\",3]", "experts.encoder.1: wanted at least 2 whole numbers"},
        {"[0,2,3]", "[0,2,1e300]", "experts.encoder.1: wanted at least 2 whole numbers"},
        {"[0,2,3]", "3", "experts.encoder.1: wanted at least 2 whole numbers"},
        {"{\"1\":[1,2]}", "{\"2\":[1,2]}", "experts.decoder.1: wanted"},
        {"{\"1\":[1,2]}", "{\"1\":[1,2],\"0\":[1,2]}", "experts: wanted mixture-of-experts layers"},
        {list, "\"experts\":[]", "experts.encoder.1: wanted"},
        {"\"for\":[\"eng_Latn-deu_Latn\",\"fra_Latn-deu_Latn\"]", "\"for\":[]",
         "dragoman.cut.for: wanted a list"},
        {"\"for\":[\"eng_Latn-deu_Latn\"", "\"for\":[7", "dragoman.cut.for: wanted names"},
        {"\"of\":\"", "\"of\":\"x", "dragoman.cut.of: wanted a hash"},
        {"\"keep\":\"", "\"keeps\":\"", "dragoman.cut.keep: wanted a hash"},
        {"\"cut\":{", "\"was\":{", "wanted a tensor model.encoder.layers.1.ffn.experts.expert_1"},
    };
    const testmodel s = testmodel_small();
    testmodel_write(dir, &s);
    made(dir, out, there, 0);
    char *config = read_file(out, "config.json");
    squeeze(config);
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        char *text = replace(config, edits[i].from, edits[i].to);
        testmodel_file(out, "config.json", text, strlen(text));
        refused(edits[i].to, edits[i].want);
        free(text);
    }
    testmodel_file(out, "config.json", config, strlen(config));
    dgm_model_close(open_model(out));
    free(config);
}

static void test_changed_files(void **state)
{
    (void)state;
    const testmodel s = testmodel_small();
    char path[600];
    testmodel_write(dir, &s);
    made(dir, out, there, 0);
    assert_int_equal(cut(dir, out, there, 0), DGM_EOUTPUT);
    char *keep = read_file(out, "keep.json");
    testmodel_file(out, "keep.json", "{}", 2);
    refused("edited keep.json", "keep.json: wanted the keep file that the model was cut with, of");
    (void)snprintf(path, sizeof path, "%s/keep.json", out);
    assert_int_equal(unlink(path), 0);
    refused("no keep.json",
            "keep.json: wanted the keep file that the model was cut with, found none");
    testmodel_file(out, "keep.json", keep, strlen(keep));
    free(keep);

    /* a bit that changed is not given a checksum that fits */
    (void)snprintf(path, sizeof path, "%s/model.safetensors", out);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, -5, SEEK_END), 0);
    const int byte = fgetc(f);
    assert_int_equal(fseek(f, -5, SEEK_END), 0);
    assert_int_equal(fputc(byte ^ 1, f), byte ^ 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(cut(out, again, fewer, 0), DGM_EMODEL);
    assert_non_null(strstr(dgm_error_text(), "wanted bytes of checksum"));
    assert_int_equal(access(again, F_OK), -1);
}

static void test_sets(void **state)
{
    (void)state;
    const testmodel s = testmodel_small();
    dgm_keep k;
    testmodel_write(dir, &s);
    made(dir, out, there, 0);
    dgm_model *m = open_model(out);
    if (dgm_cut_read_keep(&k, "", m) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    const dgm_keep_set *set = dgm_keep_named(&k, DGM_ENCODER, "eng_Latn");
    assert_non_null(set);
    assert_int_equal(dgm_cut_check_set(m, DGM_ENCODER, set, "eng_Latn", ""), DGM_OK);
    set->kept[1] = 1; /* not there */
    assert_int_equal(dgm_cut_check_set(m, DGM_ENCODER, set, "eng_Latn", ""), DGM_EUSAGE);
    assert_non_null(strstr(dgm_error_text(),
                           " lacks encoder experts of eng_Latn, the first of them 1 in layer 1: it "
                           "was cut for eng_Latn-deu_Latn, fra_Latn-deu_Latn"));
    assert_int_equal(dgm_cut_check_set(m, DGM_ENCODER, set, "eng_Latn", "k"), DGM_EINPUT);
    assert_int_equal(dgm_cut_check_set(m, DGM_DECODER, NULL, "deu_Latn", ""), DGM_EUSAGE);
    char text[40];
    dgm_cut_list(text, sizeof text, m->cut);
    assert_string_equal(text, "eng_Latn-deu_Latn and 1 more");
    dgm_keep_fini(&k);
    dgm_model_close(m);
}

/* What config.json alone says of sizes is what the weights say. */
static void test_described(void **state)
{
    (void)state;
    static const dgm_dtype types[] = {DGM_F32, DGM_BF16, DGM_F16};
    static const char *const names[] = {"{\"torch_dtype\":\"float32\"}",
                                        "{\"torch_dtype\":\"bfloat16\"}",
                                        "{\"torch_dtype\":\"float16\"}"};
    const dgm_model_options opt = {.source_order = -1, .describe = true};
    for (int i = 0; i < 6; i++) {
        testmodel s = testmodel_small();
        s.dtype = types[i % 3];
        s.config = names[i % 3];
        testmodel_write(dir, &s);
        if (i >= 3)
            made(dir, out, there, 0);
        const char *from = i >= 3 ? out : dir;
        char path[600];
        dgm_model *m = open_model(from), *d;
        (void)snprintf(path, sizeof path, "%s/model.safetensors", from);
        assert_int_equal(unlink(path), 0);
        if (dgm_model_open(&d, from, &opt) != DGM_OK)
            fail_msg("%s", dgm_error_text());
        assert_int_equal(dgm_model_file_bytes(d), dgm_model_file_bytes(m));
        for (int r = 0; r < 3; r++) {
            uint64_t want[2], found[2];
            dgm_model_rank_bytes(&want[0], &want[1], m, r, 3, true);
            dgm_model_rank_bytes(&found[0], &found[1], d, r, 3, true);
            assert_memory_equal(found, want, sizeof want);
        }
        dgm_model_close(m);
        dgm_model_close(d);
        teardown(state);
        setup(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sources, setup, teardown),
        cmocka_unit_test_setup_teardown(test_packed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_config, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_described, setup, teardown),
    };
    return cmocka_run_group_tests_name("cut", tests, NULL, NULL);
}

/* A model quantised and opened again: every weight is what its type allows, and what was tampered with is refused. The
 * source's numbers come from the test model's own formula. */
#define _GNU_SOURCE
#include "runtime/quantize.h"
#include "runtime/weights.h"
#include "tests/runtime/testmodel.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char *dir, out[512];

static int setup(void **state)
{
    (void)state;
    dir = testmodel_dir();
    (void)snprintf(out, sizeof out, "%s/out", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testmodel_remove(dir);
    return 0;
}

static int quantize_as(const char *from, const char *to, const dgm_quantize_options *o, int threads)
{
    dgm_model *m;
    dgm_pool *pool;
    dgm_quantize_report report;
    if (dgm_model_open(&m, from, NULL) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    assert_int_equal(dgm_pool_create(&pool, threads), DGM_OK);
    const int rc = dgm_quantize(&report, m, to, o, pool, NULL, NULL);
    free(report.error);
    dgm_pool_destroy(pool);
    dgm_model_close(m);
    return rc;
}

static dgm_model *open_loaded(const char *from, enum dgm_verify verify)
{
    dgm_model *m;
    const dgm_model_options opt = {.source_order = -1, .verify = verify};
    if (dgm_model_open(&m, from, &opt) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    if (dgm_model_load(m, 0, 1, true, NULL) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    return m;
}

static void make(const testmodel *s, const dgm_quantize_options *o)
{
    testmodel_write(dir, s);
    if (quantize_as(dir, out, o, 1) != DGM_OK)
        fail_msg("%s", dgm_error_text());
}

/* A file of the result. Reading it appends a NUL. */
static char *read_file(const char *folder, const char *name, size_t *len)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("%s: %s", path, strerror(errno));
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *len = (size_t)ftell(f);
    char *text = calloc(1, *len + 1);
    assert_non_null(text);
    rewind(f);
    assert_int_equal(fread(text, 1, *len, f), *len);
    assert_int_equal(fclose(f), 0);
    return text;
}

/* ---- every weight ---- */

static void check_row(const testmodel *s, const dgm_packed *w, int row, const char *name, int r,
                      const dgm_quantizer *z)
{
    float *want = calloc((size_t)w->k, sizeof *want), *found = calloc((size_t)w->k, sizeof *found);
    float *scale = calloc((size_t)w->k, sizeof *scale);
    int8_t *q = calloc((size_t)w->k, 1);
    for (int i = 0; i < w->k; i++)
        want[i] = testmodel_value(s, name, (size_t)r * (size_t)w->k + (size_t)i);
    dgm_packed_read(found, w, row);
    const bool whole = w->type == DGM_W_F32 || w->type == DGM_W_BF16;
    if (whole) { /* the test's values have 8 bits */
        assert_memory_equal(found, want, (size_t)w->k * sizeof *want);
    } else {
        const int groups = dgm_packed_groups(w->k, w->group);
        dgm_quantize_row(q, scale, want, w->k, z);
        for (int i = 0; i < w->k; i++) {
            const int g = w->group == 0 ? 0 : i / w->group;
            const float sg = w->scale[dgm_packed_scale_at(groups, row, g)], x = (float)q[i] * sg;
            assert_memory_equal(&sg, &scale[g], sizeof sg);
            assert_memory_equal(&x, &found[i], sizeof x);
            /* half a step, or a whole one at the end that the paper's rule cuts off */
            if (!z->clip &&
                fabsf(want[i] - x) >
                    sg * (q[i] == (w->type == DGM_W_INT4 ? 7 : 127) ? 1.0001f : 0.50001f))
                fail_msg("%s[%d,%d]: wanted %g within half of %g, found %g", name, r, i,
                         (double)want[i], (double)sg, (double)x);
        }
    }
    free(want);
    free(found);
    free(scale);
    free(q);
}

static void check_matrix(const testmodel *s, const dgm_packed *w, int row0, int rows,
                         const char *name, dgm_wtype type, const dgm_quantize_options *o)
{
    const dgm_quantizer z = {type, o->group, o->rule, o->clip};
    assert_int_equal(w->type, type);
    assert_int_equal((uintptr_t)w->data % 64, 0);
    for (int r = 0; r < rows; r++)
        check_row(s, w, row0 + r, name, r, &z);
}

static void check_vector(const testmodel *s, const float *v, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        assert_true(v[i] == testmodel_value(s, name, (size_t)i));
}

static void check_linear(const testmodel *s, const dgm_linear *l, int row0, int rows,
                         const char *stem, dgm_wtype type, const dgm_quantize_options *o)
{
    char name[200];
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    check_matrix(s, &l->w, row0, rows, name, type, o);
    (void)snprintf(name, sizeof name, "%s.bias", stem);
    check_vector(s, l->b + row0, rows, name);
}

static void check_layer(const testmodel *s, const dgm_layer *l, const char *at, int stack,
                        const dgm_quantize_options *o)
{
    const int d = s->d_model, f = s->ffn[stack];
    const bool m2m = strcmp(s->model_type, "m2m_100") == 0;
    const char *cross = m2m ? "encoder_attn" : "cross_attention";
    char name[160];
    for (int p = 0; p < 3; p++) {
        (void)snprintf(name, sizeof name, "%s.self_attn.%c_proj", at, "qkv"[p]);
        check_linear(s, &l->qkv, p * d, d, name, o->dense, o);
        (void)snprintf(name, sizeof name, "%s.%s.%c_proj", at, cross, "qkv"[p]);
        if (stack == DGM_DECODER)
            check_linear(s, p == 0 ? &l->cross_q : &l->cross_kv, p == 2 ? d : 0, d, name, o->dense,
                         o);
    }
    (void)snprintf(name, sizeof name, "%s.%s.weight", at,
                   m2m ? "final_layer_norm" : "ff_layer_norm");
    check_vector(s, l->ffn_norm.w, d, name);
    if (!l->sparse) {
        (void)snprintf(name, sizeof name, "%s.%sfc2", at, m2m ? "" : "ffn.");
        check_linear(s, &l->ffn.fc2, 0, d, name, o->dense, o);
        return;
    }
    (void)snprintf(name, sizeof name, "%s.ffn.router.classifier.weight", at);
    check_matrix(s, &l->router, 0, s->experts, name, DGM_W_F32, o);
    for (int e = 0; e < s->experts; e++) {
        (void)snprintf(name, sizeof name, "%s.ffn.experts.expert_%d.fc1", at, e);
        check_linear(s, &l->experts[e].fc1, 0, f, name, o->experts, o);
        (void)snprintf(name, sizeof name, "%s.ffn.experts.expert_%d.fc2", at, e);
        check_linear(s, &l->experts[e].fc2, 0, d, name, o->experts, o);
        assert_int_equal((uintptr_t)l->experts[e].fc1.w.data % 4096, 0);
    }
}

static void check_all(const testmodel *s, const dgm_quantize_options *o)
{
    make(s, o);
    dgm_model *m = open_loaded(out, DGM_VERIFY_OPEN);
    assert_int_equal(dgm_model_verify(m), DGM_OK);
    check_matrix(s, &m->embed, 0, s->vocab, "shared.weight", o->dense, o);
    for (int stack = 0; stack < DGM_STACKS; stack++) {
        for (int i = 0; i < s->layers[stack]; i++) {
            char at[64];
            (void)snprintf(at, sizeof at, "%s.layers.%d", stack == 0 ? "encoder" : "decoder", i);
            check_layer(s, &m->stack[stack].layers[i], at, stack, o);
        }
        check_vector(s, m->stack[stack].norm.b, s->d_model,
                     stack == 0 ? "encoder.layer_norm.bias" : "decoder.layer_norm.bias");
    }
    dgm_model_close(m);
    char *used = strdup(out); /* testmodel_remove frees; the next round wants the name free */
    testmodel_remove(used);
}

static void every_pair_of_types(void **state)
{
    (void)state;
    static const dgm_wtype experts[] = {DGM_W_INT8, DGM_W_INT4, DGM_W_BF16, DGM_W_F32},
                           dense[] = {DGM_W_INT8, DGM_W_BF16, DGM_W_F32};
    testmodel s = testmodel_small();
    for (int i = 0; i < 12; i++) {
        const dgm_quantize_options o = {.experts = experts[i / 3], .dense = dense[i % 3]};
        check_all(&s, &o);
    }
}

/* Panels are 16 wide, runs of int4 8 long: nothing here divides. */
static void odd_shapes_groups_and_rules(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    s.d_model = 36;
    s.heads[0] = 4;
    s.heads[1] = 3;
    s.ffn[0] = 45;
    s.ffn[1] = 131;
    s.experts = 3;
    s.dtype = DGM_BF16;
    s.prefix = false;
    s.shards = 2;
    for (int i = 0; i < 8; i++) {
        const dgm_quantize_options o = {.experts = i & 1 ? DGM_W_INT4 : DGM_W_INT8,
                                        .dense = DGM_W_INT8,
                                        .group = (int[]){0, 32, 64, 128}[i / 2],
                                        .rule = i & 1 ? DGM_SCALE_127 : DGM_SCALE_PAPER,
                                        .clip = i & 4};
        check_all(&s, &o);
    }
}

static void a_dense_model(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    const dgm_quantize_options o = {.experts = DGM_W_INT4, .dense = DGM_W_INT8};
    s.model_type = "m2m_100";
    s.dtype = DGM_F16;
    check_all(&s, &o);
}

/* ---- the same bytes ---- */

static void assert_same_file(const char *a, const char *b, const char *name)
{
    size_t n, m;
    char *x = read_file(a, name, &n), *y = read_file(b, name, &m);
    assert_int_equal(n, m);
    if (memcmp(x, y, n) != 0)
        fail_msg("%s: other bytes in %s and %s", name, a, b);
    free(x);
    free(y);
}

static void threads_and_detours_do_not_matter(void **state)
{
    (void)state;
    char other[600], wide[600], detour[600];
    testmodel s = testmodel_small();
    s.vocab = 1000;
    s.dtype = DGM_BF16;
    const dgm_quantize_options o = {
        .experts = DGM_W_INT4, .dense = DGM_W_INT8, .group = 32, .clip = true};
    dgm_quantize_options whole = o;
    make(&s, &o);
    (void)snprintf(other, sizeof other, "%s/other", dir);
    assert_int_equal(quantize_as(dir, other, &o, 3), DGM_OK);
    assert_same_file(out, other, "model.safetensors");
    assert_same_file(out, other, "config.json");
    /* by way of a packed model, whose values are the same */
    for (int t = DGM_W_F32; t <= DGM_W_BF16; t++) {
        whole.experts = whole.dense = (dgm_wtype)t;
        (void)snprintf(wide, sizeof wide, "%s/wide%d", dir, t);
        (void)snprintf(detour, sizeof detour, "%s/detour%d", dir, t);
        assert_int_equal(quantize_as(dir, wide, &whole, 1), DGM_OK);
        if (quantize_as(wide, detour, &o, 2) != DGM_OK)
            fail_msg("%s", dgm_error_text());
        assert_same_file(out, detour, "model.safetensors");
        size_t len;
        char *config = read_file(detour, "config.json", &len); /* both steps are remembered */
        char *first = strstr(config, "\"tool\": \"quantize\"");
        assert_non_null(first);
        assert_non_null(strstr(first + 1, "\"tool\": \"quantize\""));
        free(config);
    }
}

/* Several files: each holds whole experts; loaded, the weights are those of one file. */
static void shards_hold_the_same(void **state)
{
    (void)state;
    char one[600];
    testmodel s = testmodel_small();
    dgm_quantize_options o = {.experts = DGM_W_INT8, .dense = DGM_W_BF16, .shard_bytes = 3000};
    make(&s, &o);
    size_t len;
    char *index = read_file(out, "model.safetensors.index.json", &len);
    assert_non_null(strstr(index, "model-00002-of-"));
    free(index);
    (void)snprintf(one, sizeof one, "%s/one", dir);
    o.shard_bytes = 0;
    assert_int_equal(quantize_as(dir, one, &o, 1), DGM_OK);
    dgm_model *a = open_loaded(out, DGM_VERIFY_OPEN), *b = open_loaded(one, DGM_VERIFY_OPEN);
    assert_int_equal(a->files->n_slots, b->files->n_slots);
    for (size_t i = 0; i < a->files->n_slots; i++) {
        const dgm_tensor *x = a->files->slots[i].tensor, *y = b->files->slots[i].tensor;
        assert_string_equal(x->name, y->name);
        assert_true(x->xxh == y->xxh && x->has_xxh);
    }
    dgm_model_close(a);
    dgm_model_close(b);
}

/* ---- refusals ---- */

/* In place in the file: the first `from` after `key` becomes `to`, which is as long. */
static void patch(const char *name, const char *key, const char *from, const char *to)
{
    size_t len;
    char *text = read_file(out, name, &len);
    assert_int_equal(strlen(from), strlen(to));
    char *at = memmem(text, len, key, strlen(key));
    assert_non_null(at);
    at = memmem(at, len - (size_t)(at - text), from, strlen(from));
    assert_non_null(at);
    memcpy(at, to, strlen(to));
    testmodel_file(out, name, text, len);
    free(text);
}

static void expect_refusal(const char *want)
{
    dgm_model *m;
    const int rc = dgm_model_open(&m, out, NULL);
    if (rc != DGM_EMODEL || strstr(dgm_error_text(), want) == NULL)
        fail_msg("wanted EMODEL with '%s', found %s '%s'", want, dgm_status_name(rc),
                 dgm_error_text());
}

static void refuses_other_shapes_and_types(void **state)
{
    (void)state;
    static const char fc1[] = "\"encoder.layers.1.ffn.experts.expert_2.fc1.weight.";
    static const struct {
        const char *file, *tail, *from, *to, *want;
    } cases[] = {
        {"", "scale\":{", "[2,1,16]", "[1,2,16]",
         "expert_2.fc1.weight.scale: wanted shape [2, 1, 16], found [1, 2, 16]"},
        {"", "q\":{", "[2,4,16,4]", "[4,2,16,4]",
         "expert_2.fc1.weight.q: wanted shape [2, 4, 16, 4], found [4, 2, 16, 4]"},
        {"", "q\":{", "\"I8\"", "\"U8\"", "expert_2.fc1.weight.q: wanted I8, found U8"},
        {"", "q\":{", "expert_2", "expert_9",
         "wanted a tensor encoder.layers.1.ffn.experts.expert_2.fc1.weight.q, found none"},
        {"", "scale\":{", "scale", "scalf",
         "wanted a tensor encoder.layers.1.ffn.experts.expert_2.fc1.weight.scale, found none"},
        {"config.json", "", "\"int8\"", "\"int9\"",
         "dragoman.weights.experts: wanted int4, int8, bf16 or f32, found int9"},
        {"config.json", "", "\"int8\"", "\"int4\"", "expert_0.fc1.weight.q: wanted U8, found I8"},
        {"config.json", "\"compute\"", "\"f32\"", "\"f16\"",
         "dragoman.compute: wanted f32 or int8, found f16"},
        {"config.json", "\"format\"", "1.0", "2.0", "needs a newer dragoman"},
    };
    testmodel s = testmodel_small();
    const dgm_quantize_options o = {.experts = DGM_W_INT8, .dense = DGM_W_F32};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char key[128];
        make(&s, &o);
        (void)snprintf(key, sizeof key, "%s%s", cases[i].file[0] == '\0' ? fc1 : "", cases[i].tail);
        patch(cases[i].file[0] == '\0' ? "model.safetensors" : cases[i].file, key, cases[i].from,
              cases[i].to);
        expect_refusal(cases[i].want);
        testmodel_remove(strdup(out));
    }
}

static void refuses_another_group(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    s.ffn[0] = 128;
    const dgm_quantize_options o = {.experts = DGM_W_INT8, .dense = DGM_W_F32, .group = 64};
    make(&s, &o);
    patch("config.json", "\"group\"", "64", "32");
    expect_refusal("expert_0.fc2.weight.scale: wanted shape [1, 4, 16], found [1, 2, 16]");
    patch("config.json", "\"group\"", "32", "33");
    expect_refusal("dragoman.weights.group: wanted 0 or a multiple of 32, found 33");
}

static void refuses_a_truncated_file(void **state)
{
    (void)state;
    char path[700];
    struct stat st;
    testmodel s = testmodel_small();
    const dgm_quantize_options o = {.experts = DGM_W_INT8, .dense = DGM_W_INT8};
    make(&s, &o);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", out);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    expect_refusal("(is the file truncated?)");
}

static void refuses_integers_as_a_source(void **state)
{
    (void)state;
    char again[600];
    testmodel s = testmodel_small();
    const dgm_quantize_options o = {.experts = DGM_W_INT8, .dense = DGM_W_BF16};
    make(&s, &o);
    (void)snprintf(again, sizeof again, "%s/again", dir);
    assert_int_equal(quantize_as(out, again, &o, 1), DGM_EUSAGE);
    assert_non_null(strstr(dgm_error_text(), "found integers (experts int8, dense bf16)"));
}

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void refuses_what_is_no_number(void **state)
{
    (void)state;
    char path[600], part[600];
    const uint32_t nan = 0x7fc00000;
    testmodel s = testmodel_small();
    const dgm_quantize_options o = {.experts = DGM_W_INT8, .dense = DGM_W_INT8};
    testmodel_write(dir, &s);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, -8, SEEK_END), 0); /* in decoder.layer_norm.bias, the last */
    assert_int_equal(fwrite(&nan, sizeof nan, 1, f), 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(quantize_as(dir, out, &o, 1), DGM_EMODEL);
    assert_non_null(strstr(dgm_error_text(), "tensor model.decoder.layer_norm.bias: wanted finite "
                                             "numbers, found nan near element 14"));
    (void)snprintf(part, sizeof part, "%s.part", out);
    assert_false(is_there(out));
    assert_false(is_there(part));
}

static void refuses_a_name_that_is_taken(void **state)
{
    (void)state;
    char part[600];
    testmodel s = testmodel_small();
    const dgm_quantize_options o = {.experts = DGM_W_INT8, .dense = DGM_W_INT8};
    testmodel_write(dir, &s);
    assert_int_equal(mkdir(out, 0700), 0);
    assert_int_equal(quantize_as(dir, out, &o, 1), DGM_EOUTPUT);
    assert_non_null(strstr(dgm_error_text(), "wanted a name that is free"));
    assert_int_equal(rmdir(out), 0);
    /* what a killed run left is started anew */
    (void)snprintf(part, sizeof part, "%s.part", out);
    assert_int_equal(mkdir(part, 0700), 0);
    testmodel_file(part, "model.safetensors", "rubbish", 7);
    testmodel_file(part, "model-00001-of-00002.safetensors", "rubbish", 7);
    assert_int_equal(quantize_as(dir, out, &o, 1), DGM_OK);
    assert_false(is_there(part));
    dgm_model_close(open_loaded(out, DGM_VERIFY_OPEN));
}

/* ---- checksums ---- */

/* Flips a bit in the middle of a tensor of the result. */
static void flip(const char *name)
{
    char path[700];
    dgm_model *m;
    unsigned char byte;
    assert_int_equal(dgm_model_open(&m, out, NULL), DGM_OK);
    const dgm_tensor *t = dgm_tensors_find(m->files->tensors, name);
    assert_non_null(t);
    const long at = (long)(t->begin + t->bytes / 2);
    dgm_model_close(m);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", out);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fread(&byte, 1, 1, f), 1);
    byte ^= 4;
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fwrite(&byte, 1, 1, f), 1);
    assert_int_equal(fclose(f), 0);
}

static void expect_damage(int rc, const char *name)
{
    char want[256];
    (void)snprintf(want, sizeof want, "tensor %s: wanted bytes of checksum ", name);
    if (rc != DGM_EMODEL || strstr(dgm_error_text(), want) == NULL)
        fail_msg("wanted EMODEL with '%s', found %s '%s'", want, dgm_status_name(rc),
                 dgm_error_text());
}

static int load(dgm_model **m, enum dgm_verify verify, int rank, int ranks, bool dense)
{
    const dgm_model_options opt = {.source_order = -1, .verify = verify};
    assert_int_equal(dgm_model_open(m, out, &opt), DGM_OK);
    return dgm_model_load(*m, rank, ranks, dense, NULL);
}

static void a_flipped_bit_is_seen(void **state)
{
    (void)state;
    static const char expert[] = "decoder.layers.1.ffn.experts.expert_2.fc2.weight.q",
                      dense[] = "encoder.layers.0.self_attn.qkv_proj.weight.scale";
    testmodel s = testmodel_small();
    const dgm_quantize_options o = {.experts = DGM_W_INT4, .dense = DGM_W_INT8};
    dgm_model *m;
    make(&s, &o);
    flip(expert);
    /* first use: loading is content, the expert is not; its neighbours are */
    assert_int_equal(load(&m, DGM_VERIFY_FIRST_USE, 0, 1, true), DGM_OK);
    assert_true(dgm_model_is_unchecked(m, 1, 2));
    expect_damage(dgm_model_check_expert(m, 1, 2), expert);
    assert_true(dgm_model_is_unchecked(m, 1, 2));
    assert_int_equal(dgm_model_check_expert(m, 1, 3), DGM_OK);
    assert_false(dgm_model_is_unchecked(m, 1, 3));
    expect_damage(dgm_model_verify(m), expert);
    dgm_model_close(m);
    /* open: whoever owns it sees it, nobody else */
    expect_damage(load(&m, DGM_VERIFY_OPEN, 2, 4, false), expert);
    dgm_model_close(m);
    assert_int_equal(load(&m, DGM_VERIFY_OPEN, 1, 4, true), DGM_OK);
    assert_false(dgm_model_is_unchecked(m, 1, 1));
    dgm_model_close(m);
    assert_int_equal(load(&m, DGM_VERIFY_NEVER, 0, 1, true), DGM_OK);
    assert_int_equal(dgm_model_check_expert(m, 1, 2), DGM_OK);
    dgm_model_close(m);
    flip(expert);
    flip(dense);
    expect_damage(load(&m, DGM_VERIFY_FIRST_USE, 0, 1, true), dense);
    dgm_model_close(m);
    assert_int_equal(load(&m, DGM_VERIFY_FIRST_USE, 0, 1, false), DGM_OK);
    dgm_model_close(m);
}

static void a_missing_checksum_is_seen(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    const dgm_quantize_options o = {.experts = DGM_W_INT8, .dense = DGM_W_INT8};
    dgm_model *m;
    make(&s, &o);
    patch("model.safetensors", "", "\"shared.weight.q\":\"", "\"shared.weight.x\":\"");
    assert_int_equal(load(&m, DGM_VERIFY_FIRST_USE, 0, 1, true), DGM_EMODEL);
    assert_non_null(strstr(
        dgm_error_text(), "tensor shared.weight.q: wanted a checksum in __metadata__, found none"));
    dgm_model_close(m);
}

/* ---- memory ---- */

/* Resident bytes of mappings of files under `dir`, from smaps. */
static long mapped_bytes(void)
{
    char line[4096];
    long sum = 0;
    bool ours = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (!isupper((unsigned char)line[0]))
            ours = strstr(line, dir) != NULL;
        else if (ours && strncmp(line, "Rss:", 4) == 0)
            sum += 1024 * atol(line + 4);
    }
    (void)fclose(f);
    return sum;
}

/* 8 experts of 2 x 256 x 1024 bytes in each of 2 layers; a rank of 4 that holds no dense part touches nothing until an
 * expert of its own is used. */
static void experts_are_touched_when_used(void **state)
{
    (void)state;
    const long expert = 2 * 256 * 1024 + 2 * (256 + 1024) * 4, slack = 128 * 1024;
    testmodel s = testmodel_small();
    s.d_model = 256;
    s.layers[0] = s.layers[1] = 1;
    s.step[0] = s.step[1] = 1;
    s.ffn[0] = s.ffn[1] = 1024;
    s.experts = 8;
    s.holes = true;
    const dgm_quantize_options o = {.experts = DGM_W_INT8, .dense = DGM_W_INT8};
    dgm_model *m;
    uint64_t dense, experts;
    make(&s, &o);
    assert_int_equal(load(&m, DGM_VERIFY_FIRST_USE, 1, 4, false), DGM_OK);
    dgm_model_rank_bytes(&dense, &experts, m, 1, 4, false);
    assert_int_equal(dense, 0);
    assert_int_equal(experts, 4 * expert);
    assert_in_range(mapped_bytes(), 0, 4096);
    assert_int_equal(dgm_model_check_expert(m, 0, 5), DGM_OK);
    assert_in_range(mapped_bytes(), expert, expert + slack);
    dgm_model_close(m);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(every_pair_of_types),
        CASE(odd_shapes_groups_and_rules),
        CASE(a_dense_model),
        CASE(threads_and_detours_do_not_matter),
        CASE(shards_hold_the_same),
        CASE(refuses_other_shapes_and_types),
        CASE(refuses_another_group),
        CASE(refuses_a_truncated_file),
        CASE(refuses_integers_as_a_source),
        CASE(refuses_what_is_no_number),
        CASE(refuses_a_name_that_is_taken),
        CASE(a_flipped_bit_is_seen),
        CASE(a_missing_checksum_is_seen),
        CASE(experts_are_touched_when_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

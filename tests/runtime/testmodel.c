#define _GNU_SOURCE
#include "tests/runtime/testmodel.h"

#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- values ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static bool ends(const char *name, const char *tail)
{
    const size_t n = strlen(name), t = strlen(tail);
    return n >= t && strcmp(name + n - t, tail) == 0;
}

/* Inputs of the matrix, which scale its weights so that activations neither vanish nor grow. */
static int fan_in(const testmodel *s, const char *name)
{
    if (!ends(name, "fc2.weight"))
        return s->d_model;
    return s->ffn[strncmp(name, "decoder", 7) == 0];
}

float testmodel_value(const testmodel *s, const char *name, size_t index)
{
    uint64_t key = s->seed;
    for (const char *c = name; *c != '\0'; c++)
        key = mix(key + (unsigned char)*c + 0x9e3779b97f4a7c15u);
    const int q = (int)(mix(key + (index + 1) * 0x9e3779b97f4a7c15u) >> 56) - 128; /* -128 .. 127 */
    if (s->holes)
        return 0;
    if (ends(name, "bias"))
        return (float)q / 2048;
    if (ends(name, "norm.weight"))
        return 1 + (float)(q & 31) / 128;
    const int gain = ends(name, "classifier.weight") ? 4 : 1; /* keeps near ties of experts rare */
    return ldexpf((float)(q * gain), -7 - (int)lround(0.5 * log2(fan_in(s, name) / 3.0)));
}

static uint16_t to_f16(float x) /* exact for our values, which are few bits wide and not tiny */
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7fffffff) == 0)
        return (uint16_t)(u >> 16);
    const uint32_t exponent = (u >> 23 & 255) - 127 + 15;
    assert_true(exponent >= 1 && exponent <= 30 && (u & 0x1fff) == 0);
    return (uint16_t)((u >> 16 & 0x8000) | exponent << 10 | (u >> 13 & 0x3ff));
}

static void put(FILE *f, float x, dgm_dtype t)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    const uint16_t half = t == DGM_F16 ? to_f16(x) : (uint16_t)(u >> 16);
    if (t == DGM_F32)
        assert_int_equal(fwrite(&u, sizeof u, 1, f), 1);
    else
        assert_int_equal(fwrite(&half, sizeof half, 1, f), 1);
}

/* ---- the list of tensors ---- */

typedef struct tensor {
    char name[128];    /* without prefix */
    size_t rows, cols; /* cols 0: a vector */
} tensor;

typedef struct list {
    const testmodel *spec;
    tensor *all;
    size_t n, cap;
} list;

static void add(list *l, size_t rows, size_t cols, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void add(list *l, size_t rows, size_t cols, const char *fmt, ...)
{
    tensor t = {.rows = rows, .cols = cols};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(t.name, sizeof t.name, fmt, ap);
    va_end(ap);
    if (l->spec->broken != NULL && strcmp(l->spec->broken, t.name) == 0) {
        if (l->spec->wrong == 0)
            return;
        t.rows += (size_t)l->spec->wrong;
    }
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 64 : 2 * l->cap;
        l->all = realloc(l->all, l->cap * sizeof *l->all);
        assert_non_null(l->all);
    }
    l->all[l->n++] = t;
}

static void add_linear(list *l, size_t n, size_t k, const char *stem)
{
    add(l, n, k, "%s.weight", stem);
    add(l, n, 0, "%s.bias", stem);
}

static void add_norm(list *l, const char *stem)
{
    add(l, (size_t)l->spec->d_model, 0, "%s.weight", stem);
    add(l, (size_t)l->spec->d_model, 0, "%s.bias", stem);
}

static void add_attention(list *l, const char *layer, const char *attn)
{
    const size_t d = (size_t)l->spec->d_model;
    const char *const parts[] = {"q_proj", "k_proj", "v_proj", "out_proj"};
    char stem[128];
    for (int i = 0; i < 4; i++) {
        (void)snprintf(stem, sizeof stem, "%s.%s.%s", layer, attn, parts[i]);
        add_linear(l, d, d, stem);
    }
    (void)snprintf(stem, sizeof stem, "%s.%s_layer_norm", layer, attn);
    add_norm(l, stem);
}

static void add_ffn(list *l, int stack, const char *stem)
{
    const size_t d = (size_t)l->spec->d_model, f = (size_t)l->spec->ffn[stack];
    char name[128];
    (void)snprintf(name, sizeof name, "%sfc1", stem);
    add_linear(l, f, d, name);
    (void)snprintf(name, sizeof name, "%sfc2", stem);
    add_linear(l, d, f, name);
}

static void add_layer(list *l, int stack, int i)
{
    const testmodel *s = l->spec;
    const bool dense_family = strcmp(s->model_type, "m2m_100") == 0;
    const bool sparse = !dense_family && s->step[stack] > 0 && (i + 1) % s->step[stack] == 0;
    char layer[64], stem[96];
    (void)snprintf(layer, sizeof layer, "%s.layers.%d", stack == 0 ? "encoder" : "decoder", i);
    add_attention(l, layer, "self_attn");
    if (stack == 1)
        add_attention(l, layer, dense_family ? "encoder_attn" : "cross_attention");
    (void)snprintf(stem, sizeof stem, "%s.%s", layer,
                   dense_family ? "final_layer_norm" : "ff_layer_norm");
    add_norm(l, stem);
    if (!sparse) {
        (void)snprintf(stem, sizeof stem, "%s.%s", layer, dense_family ? "" : "ffn.");
        add_ffn(l, stack, stem);
        return;
    }
    const int experts = s->kept[stack] > 0 ? s->kept[stack] : s->experts;
    add(l, (size_t)experts, (size_t)s->d_model, "%s.ffn.router.classifier.weight", layer);
    for (int e = 0; e < experts; e++) {
        (void)snprintf(stem, sizeof stem, "%s.ffn.experts.expert_%d.", layer, e);
        add_ffn(l, stack, stem);
    }
}

static void add_all(list *l)
{
    const testmodel *s = l->spec;
    add(l, (size_t)s->vocab, (size_t)s->d_model, "%s",
        s->embed_name == NULL ? "shared.weight" : s->embed_name);
    for (int stack = 0; stack < 2; stack++) {
        for (int i = 0; i < s->layers[stack]; i++)
            add_layer(l, stack, i);
        add_norm(l, stack == 0 ? "encoder.layer_norm" : "decoder.layer_norm");
    }
    if (s->extra != NULL)
        add(l, 3, 0, "%s", s->extra);
}

/* ---- files ---- */

static FILE *create(const char *dir, const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    return f;
}

void testmodel_file(const char *dir, const char *name, const void *data, size_t bytes)
{
    FILE *f = create(dir, name);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static void write_json(const char *dir, const char *name, json_t *root)
{
    char *text = json_dumps(root, JSON_INDENT(1));
    assert_non_null(text);
    testmodel_file(dir, name, text, strlen(text));
    free(text);
    json_decref(root);
}

static const char *full_name(char *out, size_t size, const testmodel *s, const tensor *t)
{
    const bool head = strncmp(t->name, "lm_head", 7) == 0;
    (void)snprintf(out, size, "%s%s", s->prefix && !head ? "model." : "", t->name);
    return out;
}

static size_t elements(const tensor *t)
{
    return t->rows * (t->cols == 0 ? 1 : t->cols);
}

/* The header of those tensors of the list that fall to shard `part` of `parts`. */
static char *header(size_t *data_bytes, const list *l, int part, int parts)
{
    const char *const types[] = {"F32", "F16", "BF16"};
    json_t *root = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    size_t at = 0;
    for (size_t i = (size_t)part; i < l->n; i += (size_t)parts) {
        const tensor *t = &l->all[i];
        char name[160];
        const size_t bytes = elements(t) * dgm_dtype_bytes(l->spec->dtype);
        json_t *shape = t->cols == 0 ? json_pack("[I]", (json_int_t)t->rows)
                                     : json_pack("[I,I]", (json_int_t)t->rows, (json_int_t)t->cols);
        json_t *v = json_pack("{s:s,s:o,s:[I,I]}", "dtype", types[l->spec->dtype], "shape", shape,
                              "data_offsets", (json_int_t)at, (json_int_t)(at + bytes));
        assert_int_equal(json_object_set_new(root, full_name(name, sizeof name, l->spec, t), v), 0);
        at += bytes;
    }
    *data_bytes = at;
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    assert_non_null(text);
    return text;
}

static void write_weights(const char *dir, const char *name, const list *l, int part, int parts)
{
    FILE *f = create(dir, name);
    size_t data_bytes;
    char *text = header(&data_bytes, l, part, parts);
    const uint64_t len = (strlen(text) + 7) / 8 * 8; /* padded with spaces, as Hugging Face does */
    assert_int_equal(fwrite(&len, sizeof len, 1, f), 1);
    assert_int_equal(fprintf(f, "%-*s", (int)len, text), len);
    free(text);
    if (l->spec->holes)
        assert_int_equal(fflush(f) | ftruncate(fileno(f), (off_t)(8 + len + data_bytes)), 0);
    else
        for (size_t i = (size_t)part; i < l->n; i += (size_t)parts)
            for (size_t k = 0; k < elements(&l->all[i]); k++)
                put(f, testmodel_value(l->spec, l->all[i].name, k), l->spec->dtype);
    assert_int_equal(fclose(f), 0);
}

static void write_shards(const char *dir, const list *l)
{
    json_t *map = json_object();
    const int parts = l->spec->shards;
    for (int p = 0; p < parts; p++) {
        char file[64], name[160];
        (void)snprintf(file, sizeof file, "model-%05d-of-%05d.safetensors", p + 1, parts);
        write_weights(dir, file, l, p, parts);
        for (size_t i = (size_t)p; i < l->n; i += (size_t)parts)
            (void)json_object_set_new(map, full_name(name, sizeof name, l->spec, &l->all[i]),
                                      json_string(file));
    }
    write_json(dir, "model.safetensors.index.json",
               json_pack("{s:{s:i},s:o}", "metadata", "total_size", 0, "weight_map", map));
}

static void write_config(const char *dir, const testmodel *s)
{
    json_t *c = json_pack(
        "{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:s,s:b}", "model_type", s->model_type, "d_model",
        s->d_model, "vocab_size", s->vocab, "max_position_embeddings", s->positions,
        "encoder_layers", s->layers[0], "decoder_layers", s->layers[1], "encoder_attention_heads",
        s->heads[0], "decoder_attention_heads", s->heads[1], "encoder_ffn_dim", s->ffn[0],
        "decoder_ffn_dim", s->ffn[1], "activation_function", "relu", "scale_embedding", 1);
    json_t *moe = json_pack("{s:i,s:i,s:i,s:f,s:b,s:s,s:s,s:f,s:b}", "num_experts", s->experts,
                            "encoder_sparse_step", s->step[0], "decoder_sparse_step", s->step[1],
                            "moe_token_dropout", 0.2, "router_bias", 0, "router_dtype", "float32",
                            "second_expert_policy", "all", "moe_eval_capacity_token_fraction", 1.0,
                            "batch_prioritized_routing", 0);
    assert_non_null(c);
    if (strcmp(s->model_type, "m2m_100") != 0)
        (void)json_object_update(c, moe);
    json_decref(moe);
    if (s->kept[0] > 0)
        (void)json_object_set_new(
            c, "dragoman",
            json_pack("{s:s,s:[i,i]}", "format", "1.0", "experts_kept", s->kept[0], s->kept[1]));
    json_t *more = s->config == NULL ? json_object() : json_loads(s->config, 0, NULL);
    assert_non_null(more);
    const char *key;
    json_t *v;
    json_object_foreach(more, key, v)(void)(json_is_null(v) ? json_object_del(c, key)
                                                            : json_object_set(c, key, v));
    json_decref(more);
    write_json(dir, "config.json", c);
}

void testmodel_write(const char *dir, const testmodel *s)
{
    list l = {.spec = s};
    write_config(dir, s);
    if (s->generation != NULL)
        testmodel_file(dir, "generation_config.json", s->generation, strlen(s->generation));
    if (s->tokenizer != NULL)
        testmodel_file(dir, "tokenizer_config.json", s->tokenizer, strlen(s->tokenizer));
    add_all(&l);
    if (s->shards > 0)
        write_shards(dir, &l);
    else
        write_weights(dir, "model.safetensors", &l, 0, 1);
    free(l.all);
}

testmodel testmodel_small(void)
{
    return (testmodel){.model_type = "nllb-moe",
                       .d_model = 16,
                       .vocab = 37,
                       .positions = 40,
                       .layers = {2, 2},
                       .heads = {2, 2},
                       .ffn = {24, 40},
                       .step = {2, 2},
                       .experts = 4,
                       .dtype = DGM_F32,
                       .prefix = true,
                       .seed = 1};
}

/* ---- directories ---- */

char *testmodel_dir(void)
{
    const char *tmp = getenv("TMPDIR");
    char *dir;
    assert_true(asprintf(&dir, "%s/dgm-test-XXXXXX", tmp == NULL ? "/tmp" : tmp) > 0);
    assert_non_null(mkdtemp(dir));
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void testmodel_remove(char *dir)
{
    (void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

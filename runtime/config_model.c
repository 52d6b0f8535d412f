#define _GNU_SOURCE
#include "runtime/config_model.h"

#include "base/log.h"
#include "runtime/config_json.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Far above any model, far below what would overflow a size. */
enum {
    MAX_CONFIG_BYTES = 16 << 20,
    MAX_D_MODEL = 1 << 16,
    MAX_VOCAB = 1 << 24,
    MAX_POSITIONS = 1 << 20,
    MAX_LAYERS = 256,
    MAX_HEADS = 1024,
    MAX_FFN = 1 << 20,
    MAX_EXPERTS = 4096
};

/* ---- shapes ---- */

enum { REQUIRED = INT_MIN };
static const struct int_key {
    const char *key;
    size_t offset;
    int min, max, fallback;
} int_keys[] =
    {
#define FIELD(f) offsetof(dgm_model_config, f)
        {"d_model", FIELD(d_model), 4, MAX_D_MODEL, REQUIRED},
        {"vocab_size", FIELD(vocab_size), 5, MAX_VOCAB, REQUIRED},
        {"max_position_embeddings", FIELD(max_positions), 4, MAX_POSITIONS, REQUIRED},
        {"encoder_layers", FIELD(n_layers[DGM_ENCODER]), 1, MAX_LAYERS, REQUIRED},
        {"decoder_layers", FIELD(n_layers[DGM_DECODER]), 1, MAX_LAYERS, REQUIRED},
        {"encoder_attention_heads", FIELD(n_heads[DGM_ENCODER]), 1, MAX_HEADS, REQUIRED},
        {"decoder_attention_heads", FIELD(n_heads[DGM_DECODER]), 1, MAX_HEADS, REQUIRED},
        {"encoder_ffn_dim", FIELD(ffn_dim[DGM_ENCODER]), 1, MAX_FFN, REQUIRED},
        {"decoder_ffn_dim", FIELD(ffn_dim[DGM_DECODER]), 1, MAX_FFN, REQUIRED},
        /* The ids of NLLB's own tokeniser, should a configuration leave them out. */
        {"pad_token_id", FIELD(pad_id), 0, MAX_VOCAB, 1},
        {"bos_token_id", FIELD(bos_id), 0, MAX_VOCAB, 0},
        {"eos_token_id", FIELD(eos_id), 0, MAX_VOCAB, 2},
        {"decoder_start_token_id", FIELD(decoder_start_id), 0, MAX_VOCAB, 2},
},
  moe_keys[] = {
      {"num_experts", FIELD(n_experts[DGM_ENCODER]), 1, MAX_EXPERTS, REQUIRED},
      {"encoder_sparse_step", FIELD(sparse_step[DGM_ENCODER]), 0, MAX_LAYERS, REQUIRED},
      {"decoder_sparse_step", FIELD(sparse_step[DGM_DECODER]), 0, MAX_LAYERS, REQUIRED},
#undef FIELD
};

static int require(const dgm_json *j, const char *key)
{
    if (!dgm_json_has(j, key))
        return dgm_fail(DGM_EMODEL, "%s: wanted a key %s, found none", j->path, key);
    return DGM_OK;
}

static int read_ints(dgm_model_config *c, const dgm_json *j, const struct int_key *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int *field = (int *)((char *)c + keys[i].offset);
        if (keys[i].fallback == REQUIRED)
            DGM_TRY(require(j, keys[i].key));
        *field = keys[i].fallback;
        DGM_TRY(dgm_json_int(field, j, keys[i].key, keys[i].min, keys[i].max));
    }
    return DGM_OK;
}

static int check_shapes(const dgm_model_config *c, const char *path)
{
    for (int s = 0; s < DGM_STACKS; s++)
        if (c->d_model % c->n_heads[s] != 0)
            return dgm_fail(DGM_EMODEL,
                            "%s: wanted %s_attention_heads to divide d_model %d, found %d", path,
                            dgm_stack_names[s], c->d_model, c->n_heads[s]);
    const int ids[] = {c->pad_id, c->bos_id, c->eos_id, c->decoder_start_id};
    for (int i = 0; i < 4; i++)
        if (ids[i] >= c->vocab_size)
            return dgm_fail(DGM_EMODEL,
                            "%s: wanted special token ids below vocab_size %d, found %d", path,
                            c->vocab_size, ids[i]);
    return DGM_OK;
}

/* ---- switches ---- */

/* A text key that this version runs with one value only (the one that an absent key means, unless required). */
static int only(const dgm_json *j, const char *key, const char *want)
{
    const char *found = want;
    DGM_TRY(dgm_json_string(&found, j, key));
    if (strcmp(found, want) != 0)
        return dgm_fail(DGM_EMODEL, "%s: %s: wanted %s, found %s, which this version does not run",
                        j->path, key, want, dgm_printable(found));
    return DGM_OK;
}

static int only_bool(const dgm_json *j, const char *key, bool want)
{
    bool found = want;
    DGM_TRY(dgm_json_bool(&found, j, key));
    if (found != want)
        return dgm_fail(DGM_EMODEL, "%s: %s: wanted %s, found %s, which this version does not run",
                        j->path, key, want ? "true" : "false", found ? "true" : "false");
    return DGM_OK;
}

static int batch_dependent(const dgm_json *j, const char *key, const char *value)
{
    return dgm_fail(
        DGM_EMODEL,
        "%s: %s %s makes a translation depend on the batch it is in: give --dropless to ignore it",
        j->path, key, value);
}

/* Switches under which a token's result depends on its neighbours. */
static int read_capacity(const dgm_json *j, bool dropless)
{
    double fraction = 1;
    bool prioritized = false;
    const char *policy = "all";
    DGM_TRY(dgm_json_real(&fraction, j, "moe_eval_capacity_token_fraction"));
    DGM_TRY(dgm_json_bool(&prioritized, j, "batch_prioritized_routing"));
    DGM_TRY(dgm_json_string(&policy, j, "second_expert_policy"));
    const bool draws = strcmp(policy, "random") == 0 || strcmp(policy, "sampling") == 0;
    if (!draws && strcmp(policy, "all") != 0)
        return dgm_fail(DGM_EMODEL, "%s: second_expert_policy: wanted all, found %s", j->path,
                        dgm_printable(policy));
    if (dropless)
        return DGM_OK;
    char text[32];
    (void)snprintf(text, sizeof text, "%g", fraction);
    if (!(fraction >= 1)) /* 0 and below: a fixed expert_capacity, which drops tokens too */
        return batch_dependent(j, "moe_eval_capacity_token_fraction", text);
    if (prioritized)
        return batch_dependent(j, "batch_prioritized_routing", "true");
    if (draws)
        return batch_dependent(j, "second_expert_policy", policy);
    return DGM_OK;
}

/* Our own keys. */
static dgm_json own_keys(const dgm_json *j)
{
    return (dgm_json){.path = j->path, .root = json_object_get(j->root, "dragoman")};
}

/* dragoman.experts_kept [encoder, decoder]: how many of num_experts are there, router rows and experts alike. */
static int read_kept(dgm_model_config *c, const dgm_json *j)
{
    const json_t *kept = json_object_get(own_keys(j).root, "experts_kept");
    if (kept == NULL)
        return DGM_OK;
    if (!json_is_array(kept) || json_array_size(kept) != DGM_STACKS)
        return dgm_fail(DGM_EMODEL,
                        "%s: dragoman.experts_kept: wanted two numbers, found another value",
                        j->path);
    for (int s = 0; s < DGM_STACKS; s++) {
        const json_t *v = json_array_get(kept, (size_t)s);
        const double found = json_number_value(v); /* 0 for anything but a number */
        const int n = found >= 1 && found <= MAX_EXPERTS ? (int)found : 0;
        if (n != found || n == 0)
            return dgm_fail(
                DGM_EMODEL,
                "%s: dragoman.experts_kept: wanted whole numbers from 1 to %d, found another value",
                j->path, MAX_EXPERTS);
        if (c->n_experts[s] > 0 && n > c->n_experts[s])
            return dgm_fail(DGM_EMODEL,
                            "%s: dragoman.experts_kept: wanted at most num_experts %d, found %d",
                            j->path, c->n_experts[s], n);
        if (c->n_experts[s] > 0)
            c->n_experts[s] = n;
    }
    return DGM_OK;
}

/* moe_top_k and normalize_gates: two experts with gates that sum to 1 (NLLB), or one with its softmax (Switch). */
static int read_gates(dgm_model_config *c, const dgm_json *j)
{
    bool normalize = true;
    c->top_k = 2;
    DGM_TRY(dgm_json_int(&c->top_k, j, "moe_top_k", 1, 2));
    DGM_TRY(dgm_json_bool(&normalize, j, "normalize_gates"));
    if (normalize != (c->top_k == 2))
        return dgm_fail(DGM_EMODEL, "%s: normalize_gates: wanted %s with moe_top_k %d, found %s",
                        j->path, c->top_k == 2 ? "true" : "false", c->top_k,
                        normalize ? "true" : "false");
    if (dgm_config_most_experts(c) < 2)
        c->top_k = 1; /* where it is the same */
    return DGM_OK;
}

static int read_moe(dgm_model_config *c, const dgm_json *j, bool dropless)
{
    DGM_TRY(only(j, "router_dtype", "float32"));
    DGM_TRY(only_bool(j, "router_bias", false));
    DGM_TRY(read_capacity(j, dropless));
    DGM_TRY(read_ints(c, j, moe_keys, sizeof moe_keys / sizeof moe_keys[0]));
    double dropout = 0;
    DGM_TRY(require(j, "moe_token_dropout"));
    DGM_TRY(dgm_json_real(&dropout, j, "moe_token_dropout"));
    if (!(dropout >= 0 && dropout < 1))
        return dgm_fail(DGM_EMODEL, "%s: moe_token_dropout: wanted 0 up to but not 1, found %g",
                        j->path, dropout);
    c->expert_scale = (float)(1.0 - dropout); /* subtracted in double, as Python does */

    c->n_experts[DGM_DECODER] = c->n_experts[DGM_ENCODER];
    for (int s = 0; s < DGM_STACKS; s++)
        if (c->sparse_step[s] == 0 || c->sparse_step[s] > c->n_layers[s])
            c->n_experts[s] = 0;
    DGM_TRY(read_kept(c, j));
    return read_gates(c, j);
}

static int read_weight_type(dgm_wtype *out, const dgm_json *weights, const char *key, bool int4)
{
    const char *name = NULL;
    DGM_TRY(dgm_json_string(&name, weights, key));
    if (name == NULL || !dgm_weight_type_parse(out, name) || (*out == DGM_W_INT4 && !int4))
        return dgm_fail(DGM_EMODEL, "%s: dragoman.weights.%s: wanted %sint8, bf16 or f32, found %s",
                        weights->path, key, int4 ? "int4, " : "",
                        name == NULL ? "none" : dgm_printable(name));
    return DGM_OK;
}

/* How the matrices are packed; without the key the directory is Hugging Face's. */
static int read_weights(dgm_model_config *c, const dgm_json *own)
{
    const char *compute = "f32";
    DGM_TRY(dgm_json_string(&compute, own, "compute"));
    if (strcmp(compute, "f32") != 0 && strcmp(compute, "int8") != 0)
        return dgm_fail(DGM_EMODEL, "%s: dragoman.compute: wanted f32 or int8, found %s", own->path,
                        dgm_printable(compute));
    c->compute = strcmp(compute, "int8") == 0 ? DGM_COMPUTE_INT8 : DGM_COMPUTE_F32;
    if (!dgm_json_has(own, "weights"))
        return DGM_OK;
    const dgm_json weights = {.path = own->path, .root = json_object_get(own->root, "weights")};
    if (!json_is_object(weights.root))
        return dgm_fail(DGM_EMODEL, "%s: dragoman.weights: wanted an object, found another value",
                        own->path);
    dgm_weight_types t = {.packed = true};
    DGM_TRY(read_weight_type(&t.experts, &weights, "experts", true));
    DGM_TRY(read_weight_type(&t.dense, &weights, "dense", false));
    DGM_TRY(dgm_json_int(&t.group, &weights, "group", 0, DGM_MAX_GROUP));
    if (t.group % 32 != 0)
        return dgm_fail(DGM_EMODEL,
                        "%s: dragoman.weights.group: wanted 0 or a multiple of 32, found %d",
                        own->path, t.group);
    c->weights = t;
    return DGM_OK;
}

/* Written by the tools that make and compress models. */
static int read_dragoman(dgm_model_config *c, const dgm_json *j)
{
    if (!dgm_json_has(j, "dragoman"))
        return DGM_OK;
    const dgm_json own = own_keys(j);
    const char *format = NULL;
    if (json_is_object(own.root))
        DGM_TRY(dgm_json_string(&format, &own, "format"));
    int major = 0, minor = 0, end = 0;
    if (format == NULL || sscanf(format, "%4d.%4d%n", &major, &minor, &end) != 2 ||
        format[end] != '\0' || major < 1 || minor < 0)
        return dgm_fail(DGM_EMODEL, "%s: dragoman.format: wanted a text such as 1.0, found %s",
                        j->path, format == NULL ? "none" : dgm_printable(format));
    if (major != 1)
        return dgm_fail(DGM_EMODEL,
                        "%s: dragoman.format: wanted 1, found %d.%d: it needs a newer dragoman",
                        j->path, major, minor);
    if (minor > 0)
        dgm_log(DGM_LOG_WARN, "model",
                "%s was written in format %d.%d, newer than 1.0: what that added is ignored",
                j->path, major, minor);
    DGM_TRY(dgm_json_bool(&c->synthetic, &own, "synthetic"));
    return read_weights(c, &own);
}

static int read_type(dgm_model_config *c, const dgm_json *j)
{
    const char *type = NULL;
    DGM_TRY(dgm_json_string(&type, j, "model_type"));
    if (type != NULL && (strcmp(type, "nllb-moe") == 0 || strcmp(type, "nllb_moe") == 0))
        (void)snprintf(c->model_type, sizeof c->model_type, "nllb-moe");
    else if (type != NULL && strcmp(type, "m2m_100") == 0)
        (void)snprintf(c->model_type, sizeof c->model_type, "m2m_100");
    else
        return dgm_fail(DGM_EMODEL, "%s: model_type: wanted nllb-moe or m2m_100, found %s", j->path,
                        type == NULL ? "none" : dgm_printable(type));
    return DGM_OK;
}

static int read_model(dgm_model_config *c, const dgm_json *j, bool dropless)
{
    DGM_TRY(read_type(c, j));
    DGM_TRY(read_dragoman(c, j));
    DGM_TRY(read_ints(c, j, int_keys, sizeof int_keys / sizeof int_keys[0]));
    DGM_TRY(require(j, "activation_function"));
    DGM_TRY(only(j, "activation_function", "relu"));
    DGM_TRY(only_bool(j, "tie_word_embeddings", true));
    bool scale = false;
    DGM_TRY(require(j, "scale_embedding"));
    DGM_TRY(dgm_json_bool(&scale, j, "scale_embedding"));
    c->embed_scale = scale ? (float)sqrt((double)c->d_model) : 1.0f;
    c->expert_scale = 1.0f;
    const char *dtype = json_string_value(json_object_get(j->root, "torch_dtype"));
    c->dtype = dtype != NULL && strcmp(dtype, "bfloat16") == 0  ? DGM_BF16
               : dtype != NULL && strcmp(dtype, "float16") == 0 ? DGM_F16
                                                                : DGM_F32;
    c->top_k = 1;
    DGM_TRY(dgm_routing_kinds(c, j));
    if (strcmp(c->model_type, "nllb-moe") == 0)
        DGM_TRY(read_moe(c, j, dropless));
    c->max_length = 200;
    return dgm_json_int(&c->max_length, j, "max_length", 1, INT_MAX);
}

/* ---- the other two files ---- */

static int read_generation(dgm_model_config *c, const dgm_json *j)
{
    DGM_TRY(dgm_json_int(&c->eos_id, j, "eos_token_id", 0, MAX_VOCAB));
    DGM_TRY(dgm_json_int(&c->decoder_start_id, j, "decoder_start_token_id", 0, MAX_VOCAB));
    DGM_TRY(dgm_json_int(&c->max_length, j, "max_length", 1, INT_MAX));
    if (dgm_json_has(j, "max_new_tokens")) {
        DGM_TRY(dgm_json_int(&c->max_length, j, "max_new_tokens", 1, INT_MAX - 1));
        c->max_length += 1; /* the start token is not new */
    }
    return DGM_OK;
}

/* M2M-100's own checkpoints have the same graph but another tokeniser: another vocabulary, codes like __en__. */
static int check_tokenizer_class(const dgm_model_config *c, const char *class, const char *path)
{
    enum { M2M_VOCAB = 128112 };
    const bool other = class != NULL && strncmp(class, "NllbTokenizer", 13) != 0;
    if (other)
        return dgm_fail(DGM_EMODEL, "%s: tokenizer_class: wanted NllbTokenizer, found %s", path,
                        dgm_printable(class));
    if (class == NULL && c->vocab_size == M2M_VOCAB && strcmp(c->model_type, "m2m_100") == 0)
        return dgm_fail(DGM_EMODEL,
                        "%s: wanted an NLLB tokeniser, found the vocabulary of M2M-100 (%d)", path,
                        M2M_VOCAB);
    return DGM_OK;
}

static int read_tokenizer(dgm_model_config *c, const dgm_json *j)
{
    const char *class = NULL;
    double longest = c->max_positions;
    DGM_TRY(dgm_json_string(&class, j, "tokenizer_class"));
    DGM_TRY(check_tokenizer_class(c, class, j->path));
    DGM_TRY(dgm_json_bool(&c->source_suffix, j, "legacy_behaviour"));
    DGM_TRY(dgm_json_real(&longest, j,
                          "model_max_length")); /* Hugging Face writes 1e30 for "no limit" */
    if (!(longest >= 3))
        return dgm_fail(DGM_EMODEL, "%s: model_max_length: wanted 3 or more, found %g", j->path,
                        longest);
    if (longest < c->max_source)
        c->max_source = (int)longest;
    return DGM_OK;
}

/* ---- files ---- */

static int load_file(dgm_config_file *f, const char *dir, const char *name, bool required)
{
    if (asprintf(&f->path, "%s/%s", dir, name) < 0) {
        f->path = NULL;
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a path", dir);
    }
    if (!required && access(f->path, F_OK) != 0 && errno == ENOENT)
        return DGM_OK;
    return dgm_file_slurp(&f->text, &f->len, f->path, MAX_CONFIG_BYTES);
}

int dgm_config_load(dgm_config_files *out, const char *dir)
{
    dgm_config_files f = {0};
    int rc = load_file(&f.model, dir, "config.json", true);
    if (rc == DGM_OK)
        rc = load_file(&f.generation, dir, "generation_config.json", false);
    if (rc == DGM_OK)
        rc = load_file(&f.tokenizer, dir, "tokenizer_config.json", false);
    if (rc != DGM_OK) {
        dgm_config_unload(&f);
        return rc;
    }
    *out = f;
    return DGM_OK;
}

void dgm_config_unload(dgm_config_files *f)
{
    dgm_config_file *const all[] = {&f->model, &f->generation, &f->tokenizer};
    for (int i = 0; i < 3; i++) {
        free(all[i]->path);
        free(all[i]->text);
    }
    *f = (dgm_config_files){0};
}

typedef int (*reader)(dgm_model_config *, const dgm_json *);

static int read_optional(dgm_model_config *c, const dgm_config_file *f, reader read)
{
    if (f->text == NULL)
        return DGM_OK;
    dgm_json j;
    DGM_TRY(dgm_json_open(&j, f->path, f->text, f->len, true));
    const int rc = read(c, &j);
    dgm_json_close(&j);
    return rc;
}

int dgm_config_parse(dgm_model_config *out, const dgm_config_files *f, const dgm_model_options *opt)
{
    dgm_model_config c = {0};
    dgm_json j;
    DGM_TRY(dgm_json_open(&j, f->model.path, f->model.text, f->model.len, true));
    const int rc = read_model(&c, &j, opt != NULL && opt->dropless);
    dgm_json_close(&j);
    DGM_TRY(rc);
    c.max_source = c.max_positions;
    DGM_TRY(read_optional(&c, &f->generation, read_generation));
    DGM_TRY(check_shapes(&c, f->model.path));
    if (f->tokenizer.text == NULL)
        DGM_TRY(check_tokenizer_class(&c, NULL, f->model.path));
    DGM_TRY(read_optional(&c, &f->tokenizer, read_tokenizer));
    if (c.max_length > c.max_positions)
        c.max_length = c.max_positions;
    if (opt != NULL && opt->source_order >= 0)
        c.source_suffix = opt->source_order == 1;
    *out = c;
    return DGM_OK;
}

int dgm_config_read(dgm_model_config *out, const char *dir, const dgm_model_options *opt)
{
    dgm_config_files files;
    DGM_TRY(dgm_config_load(&files, dir));
    const int rc = dgm_config_parse(out, &files, opt);
    dgm_config_unload(&files);
    return rc;
}

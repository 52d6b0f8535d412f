/* {"format":1,"model":"4c10...","top_k":2,"layers":[{"stack":"encoder","index":1,"experts":32},..],
 *  "runs":[{"src","tgt","mode","corpus":"90ab...","tokens":{"encoder":n,"decoder":n},"top1":[[..],..],..},..]}
 * gate_sum and eos_gate_sum came later: a run has both or none. */
#include "runtime/gate_stats.h"
#include "runtime/input_json.h"
#include "runtime/writer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT = 1, MAX_LAYERS = 4096, MAX_EXPERTS = 1 << 20 };
static const size_t MAX_FILE = (size_t)4 << 30;

static const char *const mode_names[] = {"forced", "beam"};
static const char *const sum_names[DGM_GATES_SUMS] = {
    "top1", "top2", "mean_sum", "conf1_sum", "conf2_sum", "rank_sum", "gate_sum", "eos_gate_sum"};

/* known - how many of the sums a run has. */
static int known(const dgm_gates_run *r)
{
    return r->gated ? DGM_GATES_SUMS : DGM_GATES_GATE;
}

/* ---- write ---- */

static json_t *sums_json(const dgm_gate_stats *s, const uint64_t *sum)
{
    json_t *layers = json_array();
    for (int l = 0; l < s->shape.n_layers; l++) {
        json_t *one = json_array();
        for (int e = 0; e < s->shape.layers[l].n_experts; e++)
            (void)json_array_append_new(
                one, json_integer((json_int_t)sum[s->shape.layers[l].first + (size_t)e]));
        (void)json_array_append_new(layers, one);
    }
    return layers;
}

static json_t *run_json(const dgm_gate_stats *s, const dgm_gates_run *r)
{
    json_t *run = json_pack("{s:s, s:s, s:s, s:o, s:{s:I, s:I}}", "src", r->src, "tgt", r->tgt,
                            "mode", mode_names[r->mode], "corpus", dgm_hash_json(r->corpus),
                            "tokens", "encoder", (json_int_t)r->tokens[DGM_ENCODER], "decoder",
                            (json_int_t)r->tokens[DGM_DECODER]);
    for (int k = 0; k < known(r); k++)
        (void)json_object_set_new(run, sum_names[k], sums_json(s, r->sum[k]));
    return run;
}

int dgm_gates_json(char **text, const dgm_gate_stats *s)
{
    json_t *runs = json_array();
    for (int i = 0; i < s->n_runs; i++)
        (void)json_array_append_new(runs, run_json(s, &s->runs[i]));
    json_t *all =
        json_pack("{s:i, s:o, s:i, s:o, s:o}", "format", FORMAT, "model", dgm_hash_json(s->model),
                  "top_k", s->top_k, "layers", dgm_moe_shape_json(&s->shape), "runs", runs);
    *text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return *text != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "out of memory for statistics as JSON");
}

int dgm_gates_write(const dgm_gate_stats *s, const char *path)
{
    char *text;
    DGM_TRY(dgm_gates_json(&text, s));
    const int rc = dgm_writer_file(path, text);
    free(text);
    return rc;
}

/* ---- read ---- */

typedef struct reader {
    const char *path;
    dgm_gate_stats *s;
} reader;

static int bad(const reader *r, const char *where, const char *want)
{
    return dgm_fail(DGM_EINPUT, "%s: %s: want %s", r->path, where, want);
}

static int get_hash(uint64_t *out, const reader *r, const json_t *object, const char *key)
{
    return dgm_hash_of(out, json_object_get(object, key))
               ? DGM_OK
               : bad(r, key, "a hash of 16 hexadecimal digits");
}

static int get_count(uint64_t *out, const reader *r, const json_t *value, const char *where)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return bad(r, where, "whole numbers from 0 on");
    *out = (uint64_t)json_integer_value(value);
    return DGM_OK;
}

/* index_of - which of the names a text is, or -1. */
static int index_of(const json_t *value, const char *const *names, int n)
{
    const char *text = json_string_value(value);
    for (int i = 0; text != NULL && i < n; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    return -1;
}

static int get_layers(const reader *r, const json_t *root)
{
    const json_t *list = json_object_get(root, "layers");
    dgm_gate_stats *s = r->s;
    const size_t n = json_array_size(list);
    if (n < 1 || n > MAX_LAYERS)
        return bad(r, "layers", "a list of mixture-of-experts layers");
    s->shape.layers = calloc(n, sizeof *s->shape.layers);
    if (s->shape.layers == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: out of memory for %zu layers", r->path, n);
    for (size_t l = 0; l < n; l++) {
        const json_t *one = json_array_get(list, l);
        uint64_t index = 0, experts = 0;
        const int stack = index_of(json_object_get(one, "stack"), dgm_stack_names, DGM_STACKS);
        if (stack < 0 || (l > 0 && stack < s->shape.layers[l - 1].stack))
            return bad(r, "layers", "stacks encoder, then decoder");
        DGM_TRY(get_count(&index, r, json_object_get(one, "index"), "layers: index"));
        DGM_TRY(get_count(&experts, r, json_object_get(one, "experts"), "layers: experts"));
        if (index >= MAX_LAYERS || experts < 1 || experts > MAX_EXPERTS)
            return bad(r, "layers", "indices and numbers of experts that a model can have");
        s->shape.layers[s->shape.n_layers++] =
            (dgm_moe_layer){stack, (int)index, (int)experts, s->shape.n_experts};
        s->shape.n_experts += (size_t)experts;
        if (s->shape.n_experts > MAX_EXPERTS)
            return bad(r, "layers", "at most 1048576 experts in all");
    }
    return DGM_OK;
}

static int get_sums(const reader *r, uint64_t *sum, const json_t *lists, const char *key)
{
    const dgm_gate_stats *s = r->s;
    if (json_array_size(lists) != (size_t)s->shape.n_layers)
        return bad(r, key, "a list for each layer");
    for (int l = 0; l < s->shape.n_layers; l++) {
        const json_t *list = json_array_get(lists, (size_t)l);
        if (json_array_size(list) != (size_t)s->shape.layers[l].n_experts)
            return bad(r, key, "a number for each expert of a layer");
        for (int e = 0; e < s->shape.layers[l].n_experts; e++)
            DGM_TRY(get_count(&sum[s->shape.layers[l].first + (size_t)e], r,
                              json_array_get(list, (size_t)e), key));
    }
    return DGM_OK;
}

static uint64_t layer_sum(const dgm_moe_layer *layer, const uint64_t *sum)
{
    uint64_t all = 0;
    for (int e = 0; e < layer->n_experts; e++)
        all += sum[layer->first + (size_t)e];
    return all;
}

/* Every token has one expert at each rank: a number that was changed by hand shows. */
static int check_sums(const reader *r, const dgm_gates_run *run)
{
    for (int l = 0; l < r->s->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &r->s->shape.layers[l];
        const uint64_t tokens = run->tokens[layer->stack], n = (uint64_t)layer->n_experts;
        if (layer_sum(layer, run->sum[DGM_GATES_TOP1]) != tokens)
            return bad(r, "top1", "as many first places in each layer as tokens");
        if (layer_sum(layer, run->sum[DGM_GATES_TOP2]) != (n > 1 ? tokens : 0))
            return bad(r, "top2", "as many second places in each layer as tokens");
        if (layer_sum(layer, run->sum[DGM_GATES_RANK]) != tokens * (n * (n + 1) / 2))
            return bad(r, "rank_sum", "each rank once for each token");
    }
    return DGM_OK;
}

/* check_gates - the gates of a token are 1 together, but for the rounding of two numbers. */
static int check_gates(const reader *r, const dgm_gates_run *run)
{
    static const double rounding = 1024;
    for (int l = 0; l < r->s->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &r->s->shape.layers[l];
        const double tokens = (double)run->tokens[layer->stack];
        double all = 0;
        for (int e = 0; e < layer->n_experts; e++) {
            const size_t at = layer->first + (size_t)e;
            all += (double)run->sum[DGM_GATES_GATE][at];
            if (run->sum[DGM_GATES_EOS][at] >
                (layer->stack == DGM_DECODER ? run->sum[DGM_GATES_GATE][at] : 0))
                return bad(r, "eos_gate_sum", "a part of gate_sum, and zeros in the encoder");
        }
        if (fabs(all - tokens * DGM_GATES_ONE) > tokens * rounding)
            return bad(r, "gate_sum", "gates of 1 for each token in each layer");
    }
    return DGM_OK;
}

static int get_name(char *out, const reader *r, const json_t *run, const char *key)
{
    const char *text = json_string_value(json_object_get(run, key));
    if (text == NULL || text[0] == '\0' || strlen(text) >= DGM_GATES_NAME)
        return bad(r, key, "a language code");
    memcpy(out, text, strlen(text) + 1);
    return DGM_OK;
}

static int get_run(const reader *r, const json_t *one)
{
    dgm_gates_run *run;
    const json_t *tokens = json_object_get(one, "tokens");
    const int mode = index_of(json_object_get(one, "mode"), mode_names, 2);
    if (mode < 0)
        return bad(r, "mode", "forced or beam");
    DGM_TRY(dgm_gates_add_run(&run, r->s));
    run->mode = (enum dgm_gates_mode)mode;
    DGM_TRY(get_name(run->src, r, one, "src"));
    DGM_TRY(get_name(run->tgt, r, one, "tgt"));
    DGM_TRY(get_hash(&run->corpus, r, one, "corpus"));
    for (int k = 0; k < DGM_STACKS; k++)
        DGM_TRY(
            get_count(&run->tokens[k], r, json_object_get(tokens, dgm_stack_names[k]), "tokens"));
    run->gated = json_object_get(one, sum_names[DGM_GATES_GATE]) != NULL ||
                 json_object_get(one, sum_names[DGM_GATES_EOS]) != NULL;
    for (int k = 0; k < known(run); k++)
        DGM_TRY(get_sums(r, run->sum[k], json_object_get(one, sum_names[k]), sum_names[k]));
    DGM_TRY(check_sums(r, run));
    return run->gated ? check_gates(r, run) : DGM_OK;
}

static int get_all(const reader *r, const json_t *root)
{
    uint64_t top_k = 0;
    const json_t *runs = json_object_get(root, "runs"), *format = json_object_get(root, "format");
    if (!json_is_integer(format) || json_integer_value(format) != FORMAT)
        return bad(r, "format", "1, as dragoman stats writes it");
    DGM_TRY(get_hash(&r->s->model, r, root, "model"));
    DGM_TRY(get_count(&top_k, r, json_object_get(root, "top_k"), "top_k"));
    if (top_k < 1 || top_k > 2)
        return bad(r, "top_k", "1 or 2");
    r->s->top_k = (int)top_k;
    DGM_TRY(get_layers(r, root));
    if (!json_is_array(runs))
        return bad(r, "runs", "a list");
    for (size_t i = 0; i < json_array_size(runs); i++)
        DGM_TRY(get_run(r, json_array_get(runs, i)));
    return DGM_OK;
}

int dgm_gates_read(dgm_gate_stats *s, const char *path)
{
    dgm_json j = {0};
    *s = (dgm_gate_stats){0};
    const reader r = {path, s};
    int rc = dgm_input_json(&j, path, MAX_FILE);
    if (rc == DGM_OK)
        rc = get_all(&r, j.root);
    dgm_json_close(&j);
    if (rc != DGM_OK)
        dgm_gates_fini(s);
    return rc;
}

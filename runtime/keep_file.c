/* {"format":1,"model":"4c10..." or null,"options":{..},"statistics":["90ab..."],
 *  "encoder":{"eng_Latn":{"1":[ascending ids],..},..},"decoder":{..}} */
#include "runtime/input_json.h"
#include "runtime/keep.h"
#include "runtime/writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT = 1, MAX_FILE = 1 << 28 };

/* ---- write ---- */

static json_t *layer_json(const dgm_keep_set *set, const dgm_moe_layer *layer)
{
    json_t *ids = json_array();
    for (int e = 0; e < layer->n_experts; e++)
        if (set->kept[layer->first + (size_t)e])
            (void)json_array_append_new(ids, json_integer(e));
    return ids;
}

static json_t *stack_json(const dgm_keep *k, int stack)
{
    json_t *sets = json_object();
    for (int i = 0; i < k->n[stack]; i++) {
        json_t *layers = json_object();
        for (int l = 0; l < k->shape.n_layers; l++) {
            const dgm_moe_layer *layer = &k->shape.layers[l];
            char index[16];
            (void)snprintf(index, sizeof index, "%d", layer->index);
            if (layer->stack == stack)
                (void)json_object_set_new(layers, index, layer_json(&k->sets[stack][i], layer));
        }
        (void)json_object_set_new(sets, k->sets[stack][i].name, layers);
    }
    return sets;
}

static json_t *keep_json(const dgm_keep *k, const dgm_keep_origin *origin)
{
    json_t *corpora = json_array();
    for (int i = 0; i < origin->n; i++)
        (void)json_array_append_new(corpora, dgm_hash_json(origin->corpora[i]));
    json_t *options = origin->options == NULL ? NULL : json_loads(origin->options, 0, NULL);
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "format", FORMAT, "model",
                     k->model == 0 ? json_null() : dgm_hash_json(k->model), "options",
                     options != NULL ? options : json_object(), "statistics", corpora, "encoder",
                     stack_json(k, DGM_ENCODER), "decoder", stack_json(k, DGM_DECODER));
}

int dgm_keep_write(const dgm_keep *k, const char *path, const dgm_keep_origin *origin)
{
    json_t *all = keep_json(k, origin);
    char *text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT);
    json_decref(all);
    if (text == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a keep file");
    const int rc = dgm_writer_file(path, text);
    free(text);
    return rc;
}

/* ---- read ---- */

typedef struct reader {
    const char *path;
    dgm_keep *keep;
    int top_k;
    uint64_t model, other; /* of whom the file may be; 0: of any */
    uint8_t *kept;         /* [n_experts] the set at hand */
} reader;

/* where - "FILE: encoder: eng_Latn: layer 3", for sentences. */
typedef struct where {
    const char *stack, *set;
    int layer; /* -1: of the set as a whole */
} where;

static int bad(const reader *r, const where *w, const char *want, long long found)
{
    char layer[32] = "";
    if (w->layer >= 0)
        (void)snprintf(layer, sizeof layer, "layer %d: ", w->layer);
    return dgm_fail(DGM_EINPUT, "%s: %s: %s: %swant %s, found %lld", r->path, w->stack,
                    dgm_printable(w->set), layer, want, found);
}

/* mark - an ascending list of whole numbers below `end` into kept [end]; how many. */
static int mark(int *n, const reader *r, const where *w, const json_t *list, uint8_t *kept,
                long long end)
{
    long long before = -1;
    if (!json_is_array(list))
        return bad(r, w, "a list of experts", -1);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        const long long id = json_is_integer(value) ? (long long)json_integer_value(value) : -1;
        char want[96];
        (void)snprintf(want, sizeof want, "whole numbers from 0 to %lld, ascending", end - 1);
        if (!json_is_integer(value) || id <= before || id >= end)
            return bad(r, w, want, id);
        kept[id] = 1;
        before = id;
    }
    *n = (int)json_array_size(list);
    return DGM_OK;
}

/* check_least - each layer of a stack keeps what a token needs. */
static int check_least(const reader *r, const where *w, int stack)
{
    const dgm_moe_shape *shape = &r->keep->shape;
    for (int l = 0; l < shape->n_layers; l++) {
        const dgm_moe_layer *layer = &shape->layers[l];
        const where at = {w->stack, w->set, layer->index};
        int n = 0;
        for (int e = 0; e < layer->n_experts; e++)
            n += r->kept[layer->first + (size_t)e];
        if (layer->stack == stack && n < r->top_k && n < layer->n_experts)
            return bad(r, &at, r->top_k == 2 ? "at least 2 experts" : "at least 1 expert", n);
    }
    return DGM_OK;
}

static int get_set(const reader *r, int stack, const char *name, const json_t *layers)
{
    const dgm_moe_shape *shape = &r->keep->shape;
    where w = {dgm_stack_names[stack], name, -1};
    const char *key;
    json_t *list;
    memset(r->kept, 0, shape->n_experts);
    if (!json_is_object(layers) || name[0] == '\0' || strlen(name) >= DGM_KEEP_NAME)
        return bad(r, &w, "an object of layers under a language code", -1);
    json_object_foreach((json_t *)layers, key, list)
    {
        char *end;
        const long index = strtol(key, &end, 10);
        const int l = *end == '\0' && index >= 0 && index < 1 << 20
                          ? dgm_moe_shape_find(shape, stack, (int)index)
                          : -1;
        int n;
        if (l < 0)
            return bad(r, &w, "numbers of mixture-of-experts layers", index);
        w.layer = (int)index;
        DGM_TRY(
            mark(&n, r, &w, list, r->kept + shape->layers[l].first, shape->layers[l].n_experts));
    }
    w.layer = -1;
    DGM_TRY(check_least(r, &w, stack));
    return dgm_keep_add(r->keep, stack, name, r->kept);
}

static int check_model(const reader *r, const json_t *root)
{
    const json_t *value = json_object_get(root, "model");
    uint64_t hash;
    if (value == NULL || json_is_null(value))
        return DGM_OK;
    if (!dgm_hash_of(&hash, value))
        return dgm_fail(DGM_EINPUT, "%s: model: want a hash of 16 hexadecimal digits, or null",
                        r->path);
    if (r->model != 0 && hash != r->model && hash != r->other)
        return dgm_fail(DGM_EINPUT,
                        "%s is of another model: want %016" PRIx64 ", found %016" PRIx64, r->path,
                        r->other, hash);
    r->keep->model = hash;
    return DGM_OK;
}

static int get_keep(const reader *r, const json_t *root)
{
    const json_t *format = json_object_get(root, "format");
    if (!json_is_integer(format) || json_integer_value(format) != FORMAT)
        return dgm_fail(DGM_EINPUT, "%s: format: want 1, as dragoman prune writes it", r->path);
    DGM_TRY(check_model(r, root));
    for (int stack = 0; stack < DGM_STACKS; stack++) {
        const char *name;
        json_t *layers, *sets = json_object_get(root, dgm_stack_names[stack]);
        if (!json_is_object(sets))
            return dgm_fail(DGM_EINPUT, "%s: %s: want an object of languages", r->path,
                            dgm_stack_names[stack]);
        json_object_foreach(sets, name, layers) DGM_TRY(get_set(r, stack, name, layers));
    }
    return DGM_OK;
}

/* One list makes a set of both stacks. */
static int get_lists(const reader *r, const json_t *root)
{
    const char *name;
    json_t *list;
    json_object_foreach((json_t *)root, name, list)
    {
        const where w = {"list", name, -1};
        int n;
        memset(r->kept, 0, r->keep->shape.n_experts);
        if (name[0] == '\0' || strlen(name) >= DGM_KEEP_NAME)
            return bad(r, &w, "a language code", -1);
        DGM_TRY(mark(&n, r, &w, list, r->kept, (long long)r->keep->shape.n_experts));
        for (int stack = 0; stack < DGM_STACKS; stack++) {
            DGM_TRY(check_least(r, &w, stack));
            DGM_TRY(dgm_keep_add(r->keep, stack, name, r->kept));
        }
    }
    return json_object_size(root) > 0
               ? DGM_OK
               : dgm_fail(DGM_EINPUT, "%s: want lists of experts by language, found none", r->path);
}

typedef int (*getter)(const reader *r, const json_t *root);

/* read_file - into r->keep, which has no sets yet. */
static int read_file(reader *r, getter get)
{
    dgm_json j = {0};
    r->kept = calloc(r->keep->shape.n_experts + 1, 1);
    int rc = r->kept == NULL ? dgm_fail(DGM_ENOMEM, "%s: out of memory", r->path)
                             : dgm_input_json(&j, r->path, MAX_FILE);
    if (rc == DGM_OK) {
        DGM_ASSERT(j.root != NULL && r->kept != NULL);
        rc = get(r, j.root);
    }
    dgm_json_close(&j);
    free(r->kept);
    if (rc != DGM_OK)
        dgm_keep_fini(r->keep);
    return rc;
}

int dgm_keep_read_of(dgm_keep *k, const char *path, const dgm_model_config *c, uint64_t model,
                     uint64_t other)
{
    reader r = {.path = path, .keep = k, .top_k = c->top_k, .model = model, .other = other};
    DGM_TRY(dgm_keep_init(k, c, model));
    return read_file(&r, get_keep);
}

int dgm_keep_read(dgm_keep *k, const char *path, const dgm_model_config *c, uint64_t model)
{
    return dgm_keep_read_of(k, path, c, model, model);
}

int dgm_keep_read_shaped(dgm_keep *k, const char *path, const dgm_moe_shape *shape, int top_k,
                         uint64_t model)
{
    reader r = {.path = path, .keep = k, .top_k = top_k, .model = model, .other = model};
    DGM_TRY(dgm_keep_init_of(k, shape, model));
    return read_file(&r, get_keep);
}

int dgm_keep_import(dgm_keep *k, const char *path, const dgm_model_config *c, uint64_t model)
{
    reader r = {.path = path, .keep = k, .top_k = c->top_k, .model = model};
    DGM_TRY(dgm_keep_init(k, c, model));
    return read_file(&r, get_lists);
}

#define _GNU_SOURCE
#include "runtime/cut.h"

#include "runtime/input_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MAX_KEEP_BYTES = 1 << 28 };

/* ---- config.json ---- */

typedef struct reader {
    const char *path;
    dgm_cut *cut;
    const dgm_model_config *c;
} reader;

static int bad(const reader *r, const char *key, const char *want)
{
    return dgm_fail(DGM_EMODEL, "%s: dragoman.cut.%s: wanted %s, found another value", r->path, key,
                    want);
}

static int read_hash(uint64_t *out, const reader *r, const json_t *root, const char *key)
{
    return dgm_hash_of(out, json_object_get(root, key))
               ? DGM_OK
               : bad(r, key, "a hash of 16 hexadecimal digits");
}

static int read_directions(const reader *r, const json_t *list)
{
    const size_t n = json_is_array(list) ? json_array_size(list) : 0;
    r->cut->directions = calloc(n + 1, sizeof *r->cut->directions);
    if (r->cut->directions == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu directions", n);
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name == NULL || dgm_printable(name) != name)
            return bad(r, "for", "names such as eng_Latn-deu_Latn");
        r->cut->directions[i] = strdup(name);
        if (r->cut->directions[i] == NULL)
            return dgm_fail(DGM_ENOMEM, "out of memory for %zu directions", n);
        r->cut->n_directions++;
    }
    return n > 0 ? DGM_OK : bad(r, "for", "a list such as [\"eng_Latn-deu_Latn\"]");
}

static int read_layer(const reader *r, const dgm_moe_layer *layer, const json_t *ids)
{
    char key[48], want[96];
    double before = -1;
    /* with gates by hand a layer has what its tasks use, which may be fewer than others of the stack */
    const int want_k = dgm_config_has_gates(r->c, layer->stack) ? 1 : r->c->top_k,
              least = want_k < layer->n_experts ? want_k : layer->n_experts;
    (void)snprintf(key, sizeof key, "experts.%s.%d", dgm_stack_names[layer->stack], layer->index);
    (void)snprintf(want, sizeof want, "at least %d whole numbers from 0 to %d, ascending", least,
                   layer->n_experts - 1);
    if (!json_is_array(ids) || json_array_size(ids) < (size_t)least)
        return bad(r, key, want);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *value = json_array_get(ids, i);
        const double id = json_is_number(value) ? json_number_value(value) : -1;
        if (!(id > before && id < layer->n_experts) || id != (int)id)
            return bad(r, key, want);
        r->cut->there[layer->first + (size_t)id] = 1;
        before = id;
    }
    return DGM_OK;
}

static int read_experts(const reader *r, const json_t *experts)
{
    const dgm_moe_shape *shape = &r->cut->shape;
    size_t n = 0;
    for (int l = 0; l < shape->n_layers; l++) {
        char index[16];
        const dgm_moe_layer *layer = &shape->layers[l];
        (void)snprintf(index, sizeof index, "%d", layer->index);
        const json_t *stack = json_object_get(experts, dgm_stack_names[layer->stack]);
        DGM_TRY(read_layer(r, layer, json_object_get(stack, index)));
    }
    for (int s = 0; s < DGM_STACKS; s++)
        n += json_object_size(json_object_get(experts, dgm_stack_names[s]));
    return n == (size_t)shape->n_layers
               ? DGM_OK
               : bad(r, "experts", "mixture-of-experts layers and no others");
}

static int read_cut(const reader *r, const json_t *root, const dgm_model_config *c)
{
    dgm_cut *cut = r->cut;
    DGM_TRY(dgm_moe_shape_init(&cut->shape, c));
    cut->there = calloc(cut->shape.n_experts + 1, 1);
    if (cut->there == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of experts");
    DGM_TRY(read_hash(&cut->of, r, root, "of"));
    DGM_TRY(read_hash(&cut->keep, r, root, "keep"));
    DGM_TRY(read_directions(r, json_object_get(root, "for")));
    return read_experts(r, json_object_get(root, "experts"));
}

int dgm_cut_read(dgm_cut **out, const dgm_config_file *f, const dgm_model_config *c)
{
    dgm_json j;
    *out = NULL;
    DGM_TRY(dgm_json_open(&j, f->path, f->text, f->len, true));
    const json_t *root = json_object_get(json_object_get(j.root, "dragoman"), "cut");
    int rc = DGM_OK;
    if (root != NULL) {
        const reader r = {f->path, calloc(1, sizeof *r.cut), c};
        rc = r.cut == NULL ? dgm_fail(DGM_ENOMEM, "out of memory for a list of experts")
                           : read_cut(&r, root, c);
        *out = r.cut;
    }
    dgm_json_close(&j);
    if (rc != DGM_OK) {
        dgm_cut_free(*out);
        *out = NULL;
    }
    return rc;
}

void dgm_cut_free(dgm_cut *cut)
{
    if (cut == NULL)
        return;
    dgm_moe_shape_fini(&cut->shape);
    for (int i = 0; i < cut->n_directions; i++)
        free(cut->directions[i]);
    free(cut->directions);
    free(cut->there);
    free(cut);
}

void dgm_cut_list(char *text, size_t size, const dgm_cut *cut)
{
    enum { MORE = sizeof " and 2147483647 more" };
    size_t used = 0;
    int i = 0;
    for (; i < cut->n_directions; i++) {
        const size_t len = strlen(cut->directions[i]) + 2;
        if (i > 0 && used + len + MORE > size)
            break;
        used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "",
                                 cut->directions[i]);
    }
    if (i < cut->n_directions && used < size)
        (void)snprintf(text + used, size - used, " and %d more", cut->n_directions - i);
}

/* ---- what is there ---- */

bool dgm_cut_has(const dgm_cut *cut, int moe, int expert)
{
    return cut == NULL || cut->there[cut->shape.layers[moe].first + (size_t)expert] != 0;
}

int dgm_cut_count(const dgm_cut *cut, const dgm_moe_layer *layer)
{
    int n = 0;
    for (int e = 0; e < layer->n_experts; e++)
        n += cut->there[layer->first + (size_t)e];
    return n;
}

/* ---- keep files ---- */

static int own_keep(char **path, const char *dir)
{
    if (asprintf(path, "%s/%s", dir, DGM_CUT_KEEP_NAME) < 0)
        return dgm_fail(DGM_ENOMEM, "out of memory for a path");
    return DGM_OK;
}

int dgm_cut_check_keep(const dgm_cut *cut, const char *dir)
{
    char *path = NULL, *text = NULL;
    size_t len = 0;
    DGM_TRY(own_keep(&path, dir));
    int rc = DGM_OK;
    if (access(path, F_OK) != 0)
        rc = dgm_fail(DGM_EMODEL,
                      "%s: wanted the keep file that the model was cut with, found none", path);
    if (rc == DGM_OK)
        rc = dgm_file_slurp(&text, &len, path, MAX_KEEP_BYTES);
    if (rc == DGM_OK && XXH3_64bits(text, len) != cut->keep)
        rc =
            dgm_fail(DGM_EMODEL,
                     "%s: wanted the keep file that the model was cut with, of checksum %016" PRIx64
                     ", found %016" PRIx64,
                     path, cut->keep, (uint64_t)XXH3_64bits(text, len));
    free(text);
    free(path);
    return rc;
}

int dgm_cut_read_keep(dgm_keep *k, const char *path, const dgm_model *m)
{
    char *own = NULL;
    if (path[0] == '\0')
        DGM_TRY(own_keep(&own, m->dir));
    const int rc = dgm_keep_read_of(k, own != NULL ? own : path, &m->cfg, m->hash,
                                    m->cut != NULL ? m->cut->of : m->hash);
    free(own);
    return rc;
}

static int lacks(const dgm_model *m, const dgm_moe_layer *layer, int expert, const char *lang,
                 const char *path)
{
    char directions[160];
    dgm_cut_list(directions, sizeof directions, m->cut);
    return dgm_fail(path[0] == '\0' ? DGM_EUSAGE : DGM_EINPUT,
                    "%s lacks %s experts of %s%s%s, the first of them %d in layer %d: it was cut "
                    "for %s",
                    m->dir, dgm_stack_names[layer->stack], lang, path[0] == '\0' ? "" : " in ",
                    path, expert, layer->index, directions);
}

int dgm_cut_check_set(const dgm_model *m, int stack, const dgm_keep_set *set, const char *lang,
                      const char *path)
{
    const dgm_cut *cut = dgm_config_has_gates(&m->cfg, stack) ? NULL : m->cut;
    for (int l = 0; cut != NULL && l < cut->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &cut->shape.layers[l];
        for (int e = 0; layer->stack == stack && e < layer->n_experts; e++) {
            const size_t at = layer->first + (size_t)e;
            if (cut->there[at] == 0 && (set == NULL || set->kept[at] != 0))
                return lacks(m, layer, e, lang, path);
        }
    }
    return DGM_OK;
}

#define _GNU_SOURCE
#include "runtime/extract_cut.h"

#include "runtime/config_json.h"
#include "runtime/input_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MAX_KEEP_BYTES = 1 << 28, CODE = DGM_KEEP_NAME / 2 };

/* ---- directions ---- */

/* is_of - direction i of the cut, parted, is of the task. */
static bool is_of(char src[CODE], char tgt[CODE], const dgm_extraction *x, int task, int i)
{
    const char *name = x->m->cut->directions[i], *dash = strchr(name, '-');
    const char *of = x->m->tasks.name[task];
    (void)snprintf(src, CODE, "%.*s", dash == NULL ? 0 : (int)(dash - name), name);
    (void)snprintf(tgt, CODE, "%s", dash == NULL ? "" : dash + 1);
    return strcmp(of, x->m->tasks.pairs ? name : tgt) == 0;
}

int dgm_extract_cut_check(const dgm_extraction *x)
{
    char src[CODE], tgt[CODE], list[160];
    for (int i = 0; i < x->n_tasks; i++) {
        bool any = false;
        for (int d = 0; d < x->m->cut->n_directions; d++)
            any = any || is_of(src, tgt, x, x->tasks[i], d);
        dgm_cut_list(list, sizeof list, x->m->cut);
        if (!any)
            return dgm_fail(DGM_EUSAGE, "%s: want tasks that it was cut for (%s), found %s",
                            x->m->dir, list, x->m->tasks.name[x->tasks[i]]);
    }
    return DGM_OK;
}

int dgm_extract_cut_check_sets(const dgm_extraction *x)
{
    const dgm_cut *cut = x->m->cut;
    char src[CODE], tgt[CODE];
    for (int i = 0; i < x->n_tasks * cut->n_directions; i++) {
        if (!is_of(src, tgt, x, x->tasks[i / cut->n_directions], i % cut->n_directions))
            continue;
        for (int s = 0; s < DGM_STACKS; s++) {
            const dgm_keep_set *set = dgm_keep_find(x->keep, s, src, tgt);
            if (set == NULL)
                return dgm_fail(DGM_EMODEL, "%s/%s: want %s experts for %s-%s, found none",
                                x->m->dir, DGM_CUT_KEEP_NAME, dgm_stack_names[s], src, tgt);
            DGM_TRY(dgm_cut_check_set(x->m, s, set, s == DGM_ENCODER ? src : tgt, ""));
        }
    }
    return DGM_OK;
}

const uint8_t *dgm_extract_cut_kept(const dgm_extraction *x, int moe, int task, int i)
{
    const dgm_moe_layer *layer = &x->keep->shape.layers[moe];
    char src[CODE], tgt[CODE];
    const dgm_keep_set *set =
        is_of(src, tgt, x, task, i) ? dgm_keep_find(x->keep, layer->stack, src, tgt) : NULL;
    return set == NULL ? NULL : set->kept + layer->first;
}

/* ---- what is left of the cut ---- */

static bool by_task(const dgm_extraction *x, int stack)
{
    return x->m->cfg.n_experts[stack] > 0 && dgm_routing_by_task(x->m->cfg.routing[stack]);
}

static bool is_left(const dgm_extraction *x)
{
    return x->m->cut != NULL && !dgm_extract_all_dense(x);
}

static json_t *numbers(int n)
{
    json_t *list = json_array();
    for (int e = 0; e < n; e++)
        (void)json_array_append_new(list, json_integer(e));
    return list;
}

/* layers_json - of a stack that is routed by task: all experts that its layers have, of each `most` of any (as keep files count) or its
 * own. */
static json_t *layers_json(const dgm_extraction *x, int stack, int folded, bool most)
{
    json_t *layers = json_object();
    for (int i = 0; folded == 0 && i < x->n_layers; i++) {
        const dgm_extract_layer *l = &x->layers[i];
        char index[16];
        (void)snprintf(index, sizeof index, "%d", l->index);
        if (l->stack == stack)
            (void)json_object_set_new(layers, index,
                                      numbers(most ? dgm_extraction_most(x, stack) : l->n));
    }
    return layers;
}

static int keep_of(dgm_text *keep, const dgm_extraction *x, int folded, json_t *root)
{
    (void)json_object_set_new(root, "model", dgm_hash_json(x->m->hash));
    for (int s = 0; s < DGM_STACKS; s++) {
        const char *name;
        json_t *layers, *sets = json_object_get(root, dgm_stack_names[s]), *fresh = json_object();
        json_object_foreach(sets, name, layers)(void)
            json_object_set_new(fresh, name, layers_json(x, s, folded, true));
        if (by_task(x, s))
            (void)json_object_set(root, dgm_stack_names[s], fresh);
        json_decref(fresh);
    }
    keep->text = json_dumps(root, JSON_COMPACT);
    if (keep->text == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a keep file");
    keep->len = strlen(keep->text);
    return DGM_OK;
}

int dgm_extract_cut_keep(dgm_text *keep, const dgm_extraction *x, int folded)
{
    char *path;
    dgm_json j;
    *keep = (dgm_text){0};
    if (!is_left(x))
        return DGM_OK;
    if (asprintf(&path, "%s/%s", x->m->dir, DGM_CUT_KEEP_NAME) < 0)
        return dgm_fail(DGM_ENOMEM, "out of memory for a path");
    int rc = dgm_input_json(&j, path, MAX_KEEP_BYTES);
    free(path);
    if (rc == DGM_OK) {
        rc = keep_of(keep, x, folded, j.root);
        dgm_json_close(&j);
    }
    return rc;
}

/* there_json - of a stack that stays as it is. */
static json_t *there_json(const dgm_cut *cut, int stack)
{
    json_t *layers = json_object();
    for (int l = 0; l < cut->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &cut->shape.layers[l];
        char index[16];
        json_t *ids = json_array();
        for (int e = 0; e < layer->n_experts; e++)
            if (dgm_cut_has(cut, l, e))
                (void)json_array_append_new(ids, json_integer(e));
        (void)snprintf(index, sizeof index, "%d", layer->index);
        if (layer->stack == stack)
            (void)json_object_set(layers, index, ids);
        json_decref(ids);
    }
    return layers;
}

static json_t *directions_json(const dgm_extraction *x)
{
    json_t *list = json_array();
    for (int d = 0; d < x->m->cut->n_directions; d++) {
        char src[CODE], tgt[CODE];
        bool any = false;
        for (int i = 0; i < x->n_tasks; i++)
            any = any || is_of(src, tgt, x, x->tasks[i], d);
        if (any)
            (void)json_array_append_new(list, json_string(x->m->cut->directions[d]));
    }
    return list;
}

json_t *dgm_extract_cut_json(const dgm_extraction *x, int folded, const dgm_text *keep)
{
    json_t *experts = json_object();
    if (!is_left(x)) {
        json_decref(experts);
        return json_null();
    }
    for (int s = 0; s < DGM_STACKS; s++)
        (void)json_object_set_new(experts, dgm_stack_names[s],
                                  by_task(x, s) ? layers_json(x, s, folded, false)
                                                : there_json(x->m->cut, s));
    return json_pack("{s:o, s:o, s:o, s:o}", "of", dgm_hash_json(x->m->hash), "keep",
                     dgm_hash_json(XXH3_64bits(keep->text, keep->len)), "for", directions_json(x),
                     "experts", experts);
}

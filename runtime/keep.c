#include "runtime/keep.h"

#include "runtime/config_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int dgm_keep_init(dgm_keep *k, const dgm_model_config *c, uint64_t model)
{
    *k = (dgm_keep){.model = model};
    return dgm_moe_shape_init(&k->shape, c);
}

int dgm_keep_init_of(dgm_keep *k, const dgm_moe_shape *shape, uint64_t model)
{
    *k = (dgm_keep){.model = model};
    return dgm_moe_shape_copy(&k->shape, shape);
}

void dgm_keep_fini(dgm_keep *k)
{
    for (int s = 0; s < DGM_STACKS; s++) {
        for (int i = 0; i < k->n[s]; i++)
            free(k->sets[s][i].kept);
        free(k->sets[s]);
    }
    dgm_moe_shape_fini(&k->shape);
    *k = (dgm_keep){0};
}

/* place_of - where a name stands, or would. */
static int place_of(const dgm_keep *k, int stack, const char *name)
{
    int i = 0;
    while (i < k->n[stack] && strcmp(k->sets[stack][i].name, name) < 0)
        i++;
    return i;
}

static bool is_at(const dgm_keep *k, int stack, int i, const char *name)
{
    return i < k->n[stack] && strcmp(k->sets[stack][i].name, name) == 0;
}

/* make_room - an empty set at place i. */
static int make_room(dgm_keep *k, int stack, int i)
{
    const int n = k->n[stack];
    dgm_keep_set *more = realloc(k->sets[stack], ((size_t)n + 1) * sizeof *more);
    uint8_t *kept = calloc(k->shape.n_experts + 1, 1);
    if (more != NULL)
        k->sets[stack] = more;
    if (more == NULL || kept == NULL) {
        free(kept);
        return dgm_fail(DGM_ENOMEM, "out of memory for %d sets of experts", n + 1);
    }
    memmove(more + i + 1, more + i, (size_t)(n - i) * sizeof *more);
    more[i] = (dgm_keep_set){.kept = kept};
    k->n[stack]++;
    return DGM_OK;
}

int dgm_keep_add(dgm_keep *k, int stack, const char *name, const uint8_t *kept)
{
    const int i = place_of(k, stack, name);
    if (!is_at(k, stack, i, name))
        DGM_TRY(make_room(k, stack, i));
    dgm_keep_set *set = &k->sets[stack][i];
    (void)snprintf(set->name, sizeof set->name, "%s", name);
    for (int l = 0; l < k->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &k->shape.layers[l];
        if (layer->stack == stack)
            memcpy(set->kept + layer->first, kept + layer->first, (size_t)layer->n_experts);
    }
    return DGM_OK;
}

const dgm_keep_set *dgm_keep_named(const dgm_keep *k, int stack, const char *name)
{
    const int i = place_of(k, stack, name);
    return is_at(k, stack, i, name) ? &k->sets[stack][i] : NULL;
}

const dgm_keep_set *dgm_keep_find(const dgm_keep *k, int stack, const char *src, const char *tgt)
{
    char pair[DGM_KEEP_NAME];
    (void)snprintf(pair, sizeof pair, "%s-%s", src, tgt);
    const dgm_keep_set *set = dgm_keep_named(k, stack, pair);
    if (set == NULL)
        set = dgm_keep_named(k, stack, stack == DGM_ENCODER ? src : tgt);
    return set != NULL ? set : dgm_keep_named(k, stack, "*");
}

void dgm_keep_list(char *text, size_t size, const dgm_keep *k, int stack)
{
    size_t used = (size_t)snprintf(text, size, "%s", k->n[stack] == 0 ? "none" : "");
    for (int i = 0; i < k->n[stack] && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "",
                                 dgm_printable(k->sets[stack][i].name));
}

/* ---- overlap ---- */

bool dgm_keep_among(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return n == 0;
}

int dgm_keep_count(const dgm_keep *k, const dgm_keep_set *set)
{
    int n = 0;
    for (size_t e = 0; e < k->shape.n_experts; e++)
        n += set->kept[e];
    return n;
}

double dgm_keep_jaccard(const dgm_keep *k, const dgm_keep_set *a, const dgm_keep_set *b)
{
    size_t both = 0, either = 0;
    for (size_t e = 0; e < k->shape.n_experts; e++) {
        both += a->kept[e] & b->kept[e];
        either += a->kept[e] | b->kept[e];
    }
    return either > 0 ? (double)both / (double)either : 1;
}

static void compare_pairs(dgm_keep_overlap *o, const dgm_keep *k, int stack,
                          const char *const *names, int n)
{
    double sum = 0;
    int pairs = 0;
    for (int i = 0; i < k->n[stack]; i++)
        for (int j = 0; j < i; j++) {
            const dgm_keep_set *a = &k->sets[stack][i], *b = &k->sets[stack][j];
            if (!dgm_keep_among(a->name, names, n) || !dgm_keep_among(b->name, names, n))
                continue;
            const double x = dgm_keep_jaccard(k, a, b);
            o->least = x < o->least ? x : o->least;
            o->most = pairs == 0 || x > o->most ? x : o->most;
            sum += x;
            pairs++;
        }
    o->mean = pairs > 0 ? sum / pairs : 1;
}

dgm_keep_overlap dgm_keep_compare(const dgm_keep *k, int stack, const char *const *names, int n)
{
    dgm_keep_overlap o = {.mean = 1, .least = 1, .most = 1};
    for (int i = 0; i < k->n[stack]; i++)
        o.n_sets += dgm_keep_among(k->sets[stack][i].name, names, n);
    for (int l = 0; l < k->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &k->shape.layers[l];
        for (int e = 0; layer->stack == stack && e < layer->n_experts; e++) {
            int by = 0;
            for (int i = 0; i < k->n[stack]; i++)
                by += dgm_keep_among(k->sets[stack][i].name, names, n) &&
                      k->sets[stack][i].kept[layer->first + (size_t)e];
            o.experts++;
            o.all_union += by > 0;
            o.all_share += by > 0 && by == o.n_sets;
        }
    }
    compare_pairs(&o, k, stack, names, n);
    return o;
}

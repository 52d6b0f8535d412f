/* What the page of an atlas draws: {"kind":"atlas","layers":[..],"stacks":[{"name","languages","values","kept",..}],..} */
#include "runtime/atlas.h"
#include "runtime/input_json.h"
#include "runtime/packed_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* kept_json - [n, width] bytes: 1 kept, 0 not, 2 nobody says. */
static json_t *kept_json(const dgm_atlas_stack *st)
{
    uint8_t *all = malloc((size_t)st->n * st->width + 1);
    for (int i = 0; all != NULL && i < st->n; i++) {
        uint8_t *row = all + (size_t)i * st->width;
        if (st->kept[i] == NULL)
            memset(row, 2, st->width);
        else
            memcpy(row, st->kept[i], st->width);
    }
    json_t *out = all == NULL ? NULL : dgm_json_bytes(all, (size_t)st->n * st->width);
    free(all);
    return out;
}

static json_t *names_json(const char *const *names, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        (void)json_array_append_new(list, json_string(names[i]));
    return list;
}

static json_t *jaccard_json(const dgm_keep *k, int stack)
{
    const size_t n = (size_t)k->n[stack];
    double *all = calloc(n * n + 1, sizeof *all);
    for (size_t i = 0; all != NULL && i < n; i++)
        for (size_t j = 0; j < n; j++)
            all[i * n + j] = dgm_keep_jaccard(k, &k->sets[stack][i], &k->sets[stack][j]);
    json_t *out = all == NULL ? NULL : dgm_json_floats(all, n * n);
    free(all);
    return out;
}

/* sets_json - the keep sets of a stack, how alike they are, how large their unions. */
static json_t *sets_json(const dgm_atlas *a, int stack)
{
    const dgm_keep *k = &a->keep;
    json_t *names = json_array(), *sizes = json_array(), *unions = json_array();
    for (int i = 0; i < k->n[stack]; i++) {
        const dgm_union_size *u = &a->stacks[stack].unions[i];
        (void)json_array_append_new(names, json_string(k->sets[stack][i].name));
        (void)json_array_append_new(sizes, json_integer(dgm_keep_count(k, &k->sets[stack][i])));
        (void)json_array_append_new(unions, json_pack("[f, i, i]", u->mean, u->least, u->most));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:b}", "names", names, "sizes", sizes, "jaccard",
                     jaccard_json(k, stack), "unions", unions, "exact",
                     k->n[stack] <= DGM_UNION_EXACT);
}

static json_t *stack_json(const dgm_atlas *a, int stack)
{
    const dgm_atlas_stack *st = &a->stacks[stack];
    json_t *values = json_object();
    for (int m = 0; m < DGM_ATLAS_METRICS; m++)
        (void)json_object_set_new(values, dgm_metric_names[m],
                                  dgm_json_floats(st->values[m], (size_t)st->n * st->width));
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "name", dgm_stack_names[stack], "languages",
                     names_json(st->names, st->n), "values", values, "kept", kept_json(st), "sets",
                     sets_json(a, stack));
}

static json_t *tree_json(const dgm_atlas *a)
{
    json_t *merges = json_array(), *leaves = json_array();
    for (int i = 0; i < a->stacks[DGM_DECODER].n; i++) {
        const dgm_linkage_merge *m = &a->merges[i];
        (void)json_array_append_new(leaves, json_integer(a->leaves[i]));
        if (i + 1 < a->stacks[DGM_DECODER].n)
            (void)json_array_append_new(
                merges, json_pack("[i, i, f, i]", m->a, m->b, m->distance, m->size));
    }
    return json_pack("{s:s, s:o, s:o}", "linkage", dgm_linkage_names[a->linkage], "merges", merges,
                     "leaves", leaves);
}

static json_t *ranks_json(const dgm_atlas *a)
{
    json_t *ranks = json_array();
    for (int r = 0; r < a->n_ranks; r++)
        (void)json_array_append_new(ranks, json_pack("[I, I, I]", (json_int_t)a->ranks[r].dense,
                                                     (json_int_t)a->ranks[r].experts,
                                                     (json_int_t)a->ranks[r].all_experts));
    return ranks;
}

static json_t *tokens_json(const dgm_atlas *a)
{
    json_int_t n_runs = 0, tokens[DGM_STACKS] = {0};
    for (int i = 0; i < a->stats.n_runs; i++) {
        const dgm_gates_run *r = &a->stats.runs[i];
        if ((int)r->mode != a->mode)
            continue;
        n_runs++;
        for (int s = 0; s < DGM_STACKS; s++)
            tokens[s] += (json_int_t)r->tokens[s];
    }
    return json_pack("{s:I, s:I, s:I}", "runs", n_runs, "encoder", tokens[DGM_ENCODER], "decoder",
                     tokens[DGM_DECODER]);
}

/* sweep_json - {"names","points":[[..],..],"knee"}, the unpruned model last; null: none was given. */
static json_t *sweep_json(const dgm_sweep_table *t)
{
    json_t *points = json_array();
    if (t->n == 0) {
        json_decref(points);
        return json_null();
    }
    for (int i = 0; i <= t->n; i++) {
        json_t *p = json_array();
        for (int k = 0; k < DGM_SWEEP_NUMBERS; k++) {
            const double x = t->points[i].x[k];
            (void)json_array_append_new(p, isnan(x) ? json_null() : json_real(x));
        }
        (void)json_array_append_new(points, p);
    }
    return json_pack("{s:o, s:o, s:i}", "names", names_json(dgm_sweep_names, DGM_SWEEP_NUMBERS),
                     "points", points, "knee", t->knee);
}

int dgm_atlas_json(char **text, const dgm_atlas *a)
{
    json_t *metrics = names_json(dgm_metric_names, DGM_ATLAS_METRICS);
    /* paths are bytes; a name that is not UTF-8 is shown as such */
    json_t *stats = json_string(a->stats_path), *keep = json_string(a->keep_path);
    *text = dgm_json_page_text(
        json_pack("{s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:[o, o], s:o, s:o, s:o}", "kind",
                  "atlas", "statistics", stats != NULL ? stats : json_string("?"), "keep",
                  keep != NULL ? keep : json_string("?"), "model", dgm_hash_json(a->stats.model),
                  "mode", a->mode == DGM_GATES_BEAM ? "beam" : "forced", "tokens", tokens_json(a),
                  "metrics", metrics, "layers", dgm_moe_shape_json(&a->stats.shape), "stacks",
                  stack_json(a, DGM_ENCODER), stack_json(a, DGM_DECODER), "tree", tree_json(a),
                  "ranks", ranks_json(a), "sweep", sweep_json(&a->sweep)));
    return *text != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "atlas: out of memory for its page");
}

/* What the page of a comparison draws, and the same as tables: changes by layer, differences by expert. */
#include "runtime/atlas_compare.h"
#include "runtime/csv.h"
#include "runtime/input_json.h"
#include "runtime/packed_json.h"

#include <math.h>
#include <stdlib.h>

static json_t *text_json(const char *text)
{
    json_t *s = json_string(text); /* NULL: a path that is not UTF-8 */
    return s != NULL ? s : json_string("?");
}

/* values_json - importance of the languages that both have, [n, width]. */
static json_t *values_json(const dgm_atlas_comparison *c, int stack, int side)
{
    const dgm_atlas_stack *st = &(side == 0 ? c->a : c->b)->stacks[stack];
    const size_t n = (size_t)c->n[stack], width = st->width;
    double *all = calloc(n * width + 1, sizeof *all);
    for (size_t i = 0; all != NULL && i < n; i++)
        for (size_t e = 0; e < width; e++)
            all[i * width + e] =
                st->values[DGM_METRIC_IMPORTANCE][(size_t)c->at[stack][side][i] * width + e];
    json_t *out = all == NULL ? NULL : dgm_json_floats(all, n * width);
    free(all);
    return out;
}

/* kept_json - [n, width] bytes: 1 kept before, 2 now, 3 both. */
static json_t *kept_json(const dgm_atlas_comparison *c, int stack)
{
    const dgm_atlas_stack *a = &c->a->stacks[stack], *b = &c->b->stacks[stack];
    const size_t n = (size_t)c->n[stack], width = a->width;
    uint8_t *all = calloc(n * width + 1, 1);
    for (size_t i = 0; all != NULL && i < n; i++) {
        const uint8_t *old = a->kept[c->at[stack][0][i]], *new = b->kept[c->at[stack][1][i]];
        for (size_t e = 0; e < width; e++)
            all[i * width + e] =
                (uint8_t)((old != NULL && old[e] ? 1 : 0) | (new != NULL &&new[e] ? 2 : 0));
    }
    json_t *out = all == NULL ? NULL : dgm_json_bytes(all, n * width);
    free(all);
    return out;
}

static json_t *changes_json(const dgm_atlas_comparison *c, int stack)
{
    json_t *rows = json_array();
    for (int i = 0; i < c->n[stack]; i++) {
        json_t *row = json_array();
        for (int l = 0; l < c->layers[stack]; l++) {
            const dgm_atlas_change *x = &c->changes[stack][i * c->layers[stack] + l];
            (void)json_array_append_new(
                row, json_pack("[o, f, i, i, i]",
                               isnan(x->correlation) ? json_null() : json_real(x->correlation),
                               x->moved, x->kept, x->entered, x->left));
        }
        (void)json_array_append_new(rows, row);
    }
    return rows;
}

/* only_json - languages that one side alone has. */
static json_t *only_json(const dgm_atlas_comparison *c, int stack, int side)
{
    const dgm_atlas_stack *st = &(side == 0 ? c->a : c->b)->stacks[stack];
    json_t *list = json_array();
    for (int i = 0, k = 0; i < st->n; i++) {
        if (k < c->n[stack] && c->at[stack][side][k] == i)
            k++;
        else
            (void)json_array_append_new(list, json_string(st->names[i]));
    }
    return list;
}

static json_t *stack_json(const dgm_atlas_comparison *c, int stack)
{
    json_t *names = json_array();
    for (int i = 0; i < c->n[stack]; i++)
        (void)json_array_append_new(names,
                                    json_string(c->a->stacks[stack].names[c->at[stack][0][i]]));
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", dgm_stack_names[stack],
                     "languages", names, "old", values_json(c, stack, 0), "new",
                     values_json(c, stack, 1), "kept", kept_json(c, stack), "changes",
                     changes_json(c, stack), "only_old", only_json(c, stack, 0), "only_new",
                     only_json(c, stack, 1));
}

int dgm_atlas_comparison_json(char **text, const dgm_atlas_comparison *c)
{
    *text = dgm_json_page_text(json_pack(
        "{s:s, s:{s:o, s:o}, s:{s:o, s:o}, s:o, s:[o, o]}", "kind", "compare", "old", "statistics",
        text_json(c->a->stats_path), "model", dgm_hash_json(c->a->stats.model), "new", "statistics",
        text_json(c->b->stats_path), "model", dgm_hash_json(c->b->stats.model), "layers",
        dgm_moe_shape_json(&c->a->stats.shape), "stacks", stack_json(c, DGM_ENCODER),
        stack_json(c, DGM_DECODER)));
    return *text != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "atlas: out of memory for its page");
}

/* ---- tables ---- */

/* A line for each language and layer, or (by_expert) for each of its experts. */
static void lines(dgm_csv *csv, const dgm_atlas_comparison *c, int stack, int lang, bool by_expert)
{
    const dgm_moe_shape *shape = &c->a->stats.shape;
    const dgm_atlas_stack *a = &c->a->stacks[stack], *b = &c->b->stacks[stack];
    const int x = c->at[stack][0][lang], y = c->at[stack][1][lang];
    const dgm_atlas_change *change = &c->changes[stack][lang * c->layers[stack]];
    for (int l = 0; l < shape->n_layers; l++) {
        const dgm_moe_layer *layer = &shape->layers[l];
        if (layer->stack != stack)
            continue;
        for (int e = 0; e < (by_expert ? layer->n_experts : 1); e++) {
            const size_t at = layer->first - a->first + (size_t)e;
            (void)fprintf(csv->f, "%s,", dgm_stack_names[stack]);
            dgm_csv_text(csv, a->names[x]);
            (void)fprintf(csv->f, ",%d,", layer->index);
            if (by_expert)
                (void)fprintf(csv->f, "%d,%.9g,%.9g,%d,%d\n", e,
                              a->values[DGM_METRIC_IMPORTANCE][(size_t)x * a->width + at],
                              b->values[DGM_METRIC_IMPORTANCE][(size_t)y * b->width + at],
                              a->kept[x] != NULL && a->kept[x][at],
                              b->kept[y] != NULL && b->kept[y][at]);
            else
                (void)fprintf(csv->f, "%.9g,%.9g,%d,%d,%d\n", change->correlation, change->moved,
                              change->kept, change->entered, change->left);
        }
        change++;
    }
}

static int table(const dgm_atlas_comparison *c, const char *dir, const char *name, const char *head,
                 bool by_expert)
{
    dgm_csv csv;
    DGM_TRY(dgm_csv_begin(&csv, dir, name));
    (void)fputs(head, csv.f);
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < c->n[s]; i++)
            lines(&csv, c, s, i, by_expert);
    return dgm_csv_end(&csv);
}

int dgm_atlas_comparison_csv(const dgm_atlas_comparison *c, const char *dir)
{
    DGM_TRY(dgm_csv_folder(dir));
    DGM_TRY(table(c, dir, "changes",
                  "stack,language,layer,rank_correlation,moved,kept,entered,left\n", false));
    return table(c, dir, "difference",
                 "stack,language,layer,expert,importance_old,importance_new,kept_old,kept_new\n",
                 true);
}

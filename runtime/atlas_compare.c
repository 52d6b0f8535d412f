#include "runtime/atlas_compare.h"

#include "runtime/spearman.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(void)
{
    return dgm_fail(DGM_ENOMEM, "atlas --compare: out of memory");
}

/* match - languages that both have; lists are by name. */
static int match(dgm_atlas_comparison *c, int stack)
{
    const dgm_atlas_stack *a = &c->a->stacks[stack], *b = &c->b->stacks[stack];
    for (int k = 0; k < 2; k++) {
        c->at[stack][k] = calloc((size_t)a->n + 1, sizeof(int));
        if (c->at[stack][k] == NULL)
            return no_memory();
    }
    for (int i = 0, k = 0; i < a->n && k < b->n;) {
        const int order = strcmp(a->names[i], b->names[k]);
        if (order == 0) {
            c->at[stack][0][c->n[stack]] = i;
            c->at[stack][1][c->n[stack]++] = k;
        }
        i += order <= 0;
        k += order >= 0;
    }
    return DGM_OK;
}

static const double *importance(const dgm_atlas_stack *st, int lang)
{
    return st->values[DGM_METRIC_IMPORTANCE] + (size_t)lang * st->width;
}

/* change - of one language (its numbers in a and b) in one layer. */
static int change(dgm_atlas_change *out, const dgm_atlas_stack *a, const dgm_atlas_stack *b,
                  const int lang[2], const dgm_moe_layer *layer)
{
    const size_t from = layer->first - a->first;
    const double *x = importance(a, lang[0]) + from, *y = importance(b, lang[1]) + from;
    const uint8_t *old = a->kept[lang[0]], *new = b->kept[lang[1]];
    *out = (dgm_atlas_change){0};
    for (int e = 0; e < layer->n_experts; e++) {
        out->moved += fabs(y[e] - x[e]) / 2;
        if (old == NULL || new == NULL)
            continue;
        const bool was = old[from + (size_t)e] != 0, is = new[from + (size_t)e] != 0;
        out->kept += was && is;
        out->entered += !was && is;
        out->left += was && !is;
    }
    return dgm_spearman(&out->correlation, x, y, layer->n_experts);
}

static int compare_stack(dgm_atlas_comparison *c, int stack)
{
    const dgm_moe_shape *shape = &c->a->stats.shape;
    DGM_TRY(match(c, stack));
    for (int l = 0; l < shape->n_layers; l++)
        c->layers[stack] += shape->layers[l].stack == stack;
    const size_t cells = (size_t)c->n[stack] * (size_t)c->layers[stack];
    c->changes[stack] = calloc(cells + 1, sizeof *c->changes[stack]);
    if (c->changes[stack] == NULL)
        return no_memory();
    dgm_atlas_change *out = c->changes[stack];
    for (int i = 0; i < c->n[stack]; i++) {
        const int lang[2] = {c->at[stack][0][i], c->at[stack][1][i]};
        for (int l = 0; l < shape->n_layers; l++)
            if (shape->layers[l].stack == stack)
                DGM_TRY(change(out++, &c->a->stacks[stack], &c->b->stacks[stack], lang,
                               &shape->layers[l]));
    }
    return DGM_OK;
}

int dgm_atlas_compare(dgm_atlas_comparison *c, const dgm_atlas *a, const dgm_atlas *b)
{
    *c = (dgm_atlas_comparison){.a = a, .b = b};
    if (!dgm_moe_shape_equal(&a->stats.shape, &b->stats.shape))
        return dgm_fail(DGM_EINPUT, "%s and %s: want the same layers and experts, found others",
                        a->stats_path, b->stats_path);
    for (int s = 0; s < DGM_STACKS; s++)
        DGM_TRY(compare_stack(c, s));
    return c->n[DGM_ENCODER] + c->n[DGM_DECODER] > 0
               ? DGM_OK
               : dgm_fail(DGM_EINPUT, "%s and %s: want a language that both have, found none",
                          a->stats_path, b->stats_path);
}

void dgm_atlas_comparison_close(dgm_atlas_comparison *c)
{
    for (int s = 0; s < DGM_STACKS; s++) {
        free(c->at[s][0]);
        free(c->at[s][1]);
        free(c->changes[s]);
    }
    *c = (dgm_atlas_comparison){0};
}

/* ---- for people ---- */

enum { SHOWN = 5 };

typedef struct found {
    const dgm_atlas_change *change;
    int stack, lang, layer;
} found;

static const char *name_of(const dgm_atlas_comparison *c, const found *f)
{
    return c->a->stacks[f->stack].names[c->at[f->stack][0][f->lang]];
}

/* layer_of - layer l of a stack, counted from 0, in its model. */
static int layer_of(const dgm_atlas_comparison *c, int stack, int l)
{
    const dgm_moe_shape *shape = &c->a->stats.shape;
    int k = 0;
    while (shape->layers[k].stack != stack || l-- > 0)
        k++;
    return shape->layers[k].index;
}

/* insert - into the list of those that moved most, `n` of SHOWN are there; the first of equal ones stays first. */
static int insert(found *most, int n, const found *f)
{
    int i = n;
    while (i > 0 && most[i - 1].change->moved < f->change->moved)
        i--;
    if (i == SHOWN)
        return n;
    const int kept = n < SHOWN ? n : SHOWN - 1;
    memmove(most + i + 1, most + i, (size_t)(kept - i) * sizeof *most);
    most[i] = *f;
    return kept + 1;
}

/* print_stack - its line, and what it adds to the list. */
static int print_stack(FILE *f, const dgm_atlas_comparison *c, int stack, found *most, int n)
{
    double sum = 0, least = INFINITY, moved = 0;
    int kept = 0, entered = 0, left = 0, told = 0;
    const int cells = c->n[stack] * c->layers[stack];
    for (int i = 0; i < cells; i++) {
        const dgm_atlas_change *x = &c->changes[stack][i];
        const found at = {x, stack, i / c->layers[stack], i % c->layers[stack]};
        kept += x->kept;
        entered += x->entered;
        left += x->left;
        moved += x->moved;
        n = insert(most, n, &at);
        if (isnan(x->correlation))
            continue;
        sum += x->correlation;
        least = x->correlation < least ? x->correlation : least;
        told++;
    }
    (void)fprintf(f, "%-8s %9d ", dgm_stack_names[stack], c->n[stack]);
    if (told > 0)
        (void)fprintf(f, "%9.4f %9.4f", sum / told, least);
    else
        (void)fprintf(f, "%9s %9s", "-", "-");
    (void)fprintf(f, " %9.4f %7d %7d %7d\n", cells > 0 ? moved / cells : 0, kept, entered, left);
    return n;
}

void dgm_atlas_comparison_print(FILE *f, const dgm_atlas_comparison *c)
{
    found most[SHOWN];
    int n = 0;
    if (c->a->stats.model != c->b->stats.model)
        (void)fprintf(f, "statistics of two models: %016llx, then %016llx\n",
                      (unsigned long long)c->a->stats.model, (unsigned long long)c->b->stats.model);
    (void)fprintf(f, "%-8s %9s %9s %9s %9s %7s %7s %7s\n", "stack", "languages", "rank corr",
                  "least", "moved", "kept", "entered", "left");
    for (int s = 0; s < DGM_STACKS; s++)
        n = print_stack(f, c, s, most, n);
    (void)fprintf(f, "\n%-8s %-16s %5s %9s %9s %7s %7s\n", "most", "language", "layer", "rank corr",
                  "moved", "entered", "left");
    for (int i = 0; i < n; i++)
        (void)fprintf(f, "%-8s %-16s %5d %9.4f %9.4f %7d %7d\n", dgm_stack_names[most[i].stack],
                      name_of(c, &most[i]), layer_of(c, most[i].stack, most[i].layer),
                      most[i].change->correlation, most[i].change->moved, most[i].change->entered,
                      most[i].change->left);
}

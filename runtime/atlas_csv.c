/* What the figures of an atlas show, as tables: use, sets, jaccard, linkage, union, ranks, sweep. */
#include "runtime/atlas.h"
#include "runtime/csv.h"

#include <inttypes.h>

/* A line of use.csv: expert e of a stack, counted from its first, for language i. */
static void use_line(dgm_csv *c, const dgm_atlas_stack *st, int i, size_t e)
{
    for (int m = 0; m < DGM_ATLAS_METRICS; m++)
        (void)fprintf(c->f, ",%.9g", st->values[m][(size_t)i * st->width + e]);
    if (st->kept[i] == NULL)
        (void)fputs(",\n", c->f);
    else
        (void)fprintf(c->f, ",%d\n", st->kept[i][e]);
}

static int use_csv(const dgm_atlas *a, const char *dir)
{
    dgm_csv c;
    DGM_TRY(dgm_csv_begin(&c, dir, "use"));
    (void)fputs("stack,language,layer,expert,top1,top2,load,vanilla,importance,kept\n", c.f);
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < a->stacks[s].n; i++)
            for (int l = 0; l < a->stats.shape.n_layers; l++) {
                const dgm_moe_layer *layer = &a->stats.shape.layers[l];
                for (int e = 0; layer->stack == s && e < layer->n_experts; e++) {
                    (void)fprintf(c.f, "%s,", dgm_stack_names[s]);
                    dgm_csv_text(&c, a->stacks[s].names[i]);
                    (void)fprintf(c.f, ",%d,%d", layer->index, e);
                    use_line(&c, &a->stacks[s], i, layer->first - a->stacks[s].first + (size_t)e);
                }
            }
    return dgm_csv_end(&c);
}

static int jaccard_csv(const dgm_atlas *a, const char *dir)
{
    dgm_csv c;
    DGM_TRY(dgm_csv_begin(&c, dir, "jaccard"));
    (void)fputs("stack,a,b,kept_a,kept_b,jaccard\n", c.f);
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < a->keep.n[s]; i++)
            for (int j = 0; j < a->keep.n[s]; j++) {
                const dgm_keep_set *x = &a->keep.sets[s][i], *y = &a->keep.sets[s][j];
                (void)fprintf(c.f, "%s,", dgm_stack_names[s]);
                dgm_csv_text(&c, x->name);
                (void)fputc(',', c.f);
                dgm_csv_text(&c, y->name);
                (void)fprintf(c.f, ",%d,%d,%.9g\n", dgm_keep_count(&a->keep, x),
                              dgm_keep_count(&a->keep, y), dgm_keep_jaccard(&a->keep, x, y));
            }
    return dgm_csv_end(&c);
}

/* cluster - a language, or the number of the merge that made it. */
static void cluster(dgm_csv *c, const dgm_atlas *a, int id)
{
    const dgm_atlas_stack *st = &a->stacks[DGM_DECODER];
    if (id < st->n)
        dgm_csv_text(c, st->names[id]);
    else
        (void)fprintf(c->f, "merge %d", id - st->n);
    (void)fputc(',', c->f);
}

static int linkage_csv(const dgm_atlas *a, const char *dir)
{
    dgm_csv c;
    DGM_TRY(dgm_csv_begin(&c, dir, "linkage"));
    (void)fputs("merge,a,b,distance,languages\n", c.f);
    for (int i = 0; i + 1 < a->stacks[DGM_DECODER].n; i++) {
        (void)fprintf(c.f, "%d,", i);
        cluster(&c, a, a->merges[i].a);
        cluster(&c, a, a->merges[i].b);
        (void)fprintf(c.f, "%.9g,%d\n", a->merges[i].distance, a->merges[i].size);
    }
    return dgm_csv_end(&c);
}

static int union_csv(const dgm_atlas *a, const char *dir)
{
    dgm_csv c;
    DGM_TRY(dgm_csv_begin(&c, dir, "union"));
    (void)fputs("stack,sets,mean,least,most,least_and_most\n", c.f);
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < a->keep.n[s]; i++) {
            const dgm_union_size *u = &a->stacks[s].unions[i];
            (void)fprintf(c.f, "%s,%d,%.9g,%d,%d,%s\n", dgm_stack_names[s], i + 1, u->mean,
                          u->least, u->most, a->keep.n[s] <= DGM_UNION_EXACT ? "exact" : "sampled");
        }
    return dgm_csv_end(&c);
}

static int ranks_csv(const dgm_atlas *a, const char *dir)
{
    dgm_csv c;
    DGM_TRY(dgm_csv_begin(&c, dir, "ranks"));
    (void)fputs("rank,dense_bytes,expert_bytes,all_experts_bytes\n", c.f);
    for (int r = 0; r < a->n_ranks; r++)
        (void)fprintf(c.f, "%d,%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", r, a->ranks[r].dense,
                      a->ranks[r].experts, a->ranks[r].all_experts);
    return dgm_csv_end(&c);
}

int dgm_atlas_csv(const dgm_atlas *a, const char *dir)
{
    DGM_TRY(dgm_csv_folder(dir));
    DGM_TRY(use_csv(a, dir));
    DGM_TRY(jaccard_csv(a, dir));
    DGM_TRY(linkage_csv(a, dir));
    DGM_TRY(union_csv(a, dir));
    DGM_TRY(a->n_ranks > 0 ? ranks_csv(a, dir) : DGM_OK);
    return a->sweep.n > 0 ? dgm_sweep_csv(&a->sweep, dir) : DGM_OK;
}

#include "runtime/atlas.h"

#include "runtime/expert_sets.h"
#include "runtime/model.h"

#include <stdlib.h>
#include <string.h>

const char *const dgm_metric_names[DGM_ATLAS_METRICS] = {"top1", "top2", "load", "vanilla",
                                                         "importance"};
const char *const dgm_linkage_names[DGM_LINKAGES] = {"average", "single", "complete", "ward"};

/* What prune does when it is told nothing. */
static const double default_fraction = 0.8125, default_ratio = 3;

static int no_memory(const char *what)
{
    return dgm_fail(DGM_ENOMEM, "atlas: out of memory for %s", what);
}

/* ---- languages ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* find_languages - names of the runs' sources or targets, each once. */
static int find_languages(dgm_atlas *a, int stack)
{
    dgm_atlas_stack *st = &a->stacks[stack];
    int n = 0;
    st->names = calloc((size_t)a->stats.n_runs + 1, sizeof *st->names);
    if (st->names == NULL)
        return no_memory("names of languages");
    for (int i = 0; i < a->stats.n_runs; i++)
        if ((int)a->stats.runs[i].mode == a->mode)
            st->names[n++] = stack == DGM_ENCODER ? a->stats.runs[i].src : a->stats.runs[i].tgt;
    qsort(st->names, (size_t)n, sizeof *st->names, by_name);
    for (int i = 0; i < n; i++)
        if (st->n == 0 || strcmp(st->names[st->n - 1], st->names[i]) != 0)
            st->names[st->n++] = st->names[i];
    return DGM_OK;
}

static void find_experts(dgm_atlas *a, int stack)
{
    const dgm_moe_shape *shape = &a->stats.shape;
    dgm_atlas_stack *st = &a->stacks[stack];
    for (int l = shape->n_layers - 1; l >= 0; l--)
        if (shape->layers[l].stack == stack) {
            st->first = shape->layers[l].first;
            st->width += (size_t)shape->layers[l].n_experts;
        }
}

/* value - of all languages of a stack, by one metric; room [n_experts]. */
static int value(dgm_atlas *a, int stack, enum dgm_metric metric, double *room)
{
    dgm_atlas_stack *st = &a->stacks[stack];
    st->values[metric] = calloc((size_t)st->n * st->width + 1, sizeof(double));
    if (st->values[metric] == NULL)
        return no_memory("values of experts");
    for (int i = 0; i < st->n; i++) {
        const char *name = st->names[i];
        const dgm_gates_filter f = {stack == DGM_ENCODER ? name : NULL,
                                    stack == DGM_DECODER ? name : NULL, a->mode, false};
        int n_runs;
        DGM_TRY(dgm_metric_values(room, &n_runs, &a->stats, metric, &f));
        if (st->width > 0)
            memcpy(st->values[metric] + (size_t)i * st->width, room + st->first,
                   st->width * sizeof *room);
    }
    return DGM_OK;
}

static int look_at_stack(dgm_atlas *a, int stack)
{
    double *room = calloc(a->stats.shape.n_experts + 1, sizeof *room);
    int rc = room == NULL ? no_memory("values of experts") : find_languages(a, stack);
    find_experts(a, stack);
    for (int m = 0; rc == DGM_OK && m < DGM_ATLAS_METRICS; m++)
        rc = value(a, stack, (enum dgm_metric)m, room);
    free(room);
    return rc;
}

/* ---- keep sets ---- */

static int choose(dgm_atlas *a)
{
    dgm_keep_plan plan = {.metric = DGM_METRIC_IMPORTANCE,
                          .algorithm = DGM_CHOOSE_FIXED,
                          .granularity = DGM_BY_LANGUAGE,
                          .mode = a->mode};
    DGM_TRY(dgm_budget_of_fraction(&plan.budget, &a->stats, default_fraction, default_ratio));
    DGM_TRY(dgm_keep_init_of(&a->keep, &a->stats.shape, a->stats.model));
    return dgm_keep_choose(&a->keep, &a->stats, &plan);
}

/* name_sets - the set of each language of a stack. */
static int name_sets(dgm_atlas *a, int stack)
{
    dgm_atlas_stack *st = &a->stacks[stack];
    const uint8_t **kept = calloc((size_t)st->n + 1, sizeof *kept);
    st->kept = kept;
    if (kept == NULL)
        return no_memory("keep sets");
    for (int i = 0; i < st->n; i++) {
        const dgm_keep_set *set = dgm_keep_named(&a->keep, stack, st->names[i]);
        if (set == NULL)
            set = dgm_keep_named(&a->keep, stack, "*");
        kept[i] = set == NULL ? NULL : set->kept + st->first;
    }
    return DGM_OK;
}

static int unite_sets(dgm_atlas *a, int stack)
{
    dgm_atlas_stack *st = &a->stacks[stack];
    const size_t n = (size_t)a->keep.n[stack];
    const uint8_t **sets = calloc(n + 1, sizeof *sets);
    st->unions = calloc(n + 1, sizeof *st->unions);
    if (sets == NULL || st->unions == NULL) {
        free(sets);
        return no_memory("unions of keep sets");
    }
    for (size_t i = 0; i < n; i++)
        sets[i] = a->keep.sets[stack][i].kept + st->first;
    const int rc = dgm_union_sizes(st->unions, sets, (int)n, st->width);
    free(sets);
    return rc;
}

/* ---- the tree ---- */

static int grow_tree(dgm_atlas *a)
{
    const dgm_atlas_stack *st = &a->stacks[DGM_DECODER];
    a->merges = calloc((size_t)st->n + 1, sizeof *a->merges);
    a->leaves = calloc((size_t)st->n + 1, sizeof *a->leaves);
    if (a->merges == NULL || a->leaves == NULL)
        return no_memory("a tree of languages");
    DGM_TRY(
        dgm_linkage(a->merges, st->values[DGM_METRIC_IMPORTANCE], st->n, st->width, a->linkage));
    return dgm_linkage_leaves(a->leaves, a->merges, st->n);
}

/* ---- all ---- */

/* choose_mode - what the best hypotheses used, if that was recorded. */
static int choose_mode(const dgm_gate_stats *s)
{
    for (int i = 0; i < s->n_runs; i++)
        if (s->runs[i].mode == DGM_GATES_BEAM)
            return DGM_GATES_BEAM;
    return DGM_GATES_FORCED;
}

int dgm_atlas_open(dgm_atlas *a, const char *stats_path, const char *keep_path,
                   enum dgm_linkage_method linkage)
{
    *a = (dgm_atlas){.stats_path = stats_path, .keep_path = keep_path, .linkage = linkage};
    DGM_TRY(dgm_gates_read(&a->stats, stats_path));
    if (a->stats.n_runs == 0)
        return dgm_fail(DGM_EINPUT, "%s: want statistics of a direction, found none", stats_path);
    a->mode = choose_mode(&a->stats);
    for (int s = 0; s < DGM_STACKS; s++)
        DGM_TRY(look_at_stack(a, s));
    DGM_TRY(keep_path[0] == '\0' ? choose(a)
                                 : dgm_keep_read_shaped(&a->keep, keep_path, &a->stats.shape,
                                                        a->stats.top_k, a->stats.model));
    for (int s = 0; s < DGM_STACKS; s++)
        DGM_TRY(name_sets(a, s));
    for (int s = 0; s < DGM_STACKS; s++)
        DGM_TRY(unite_sets(a, s));
    return grow_tree(a);
}

void dgm_atlas_close(dgm_atlas *a)
{
    for (int s = 0; s < DGM_STACKS; s++) {
        for (int m = 0; m < DGM_ATLAS_METRICS; m++)
            free(a->stacks[s].values[m]);
        free(a->stacks[s].names);
        free(a->stacks[s].kept);
        free(a->stacks[s].unions);
    }
    free(a->merges);
    free(a->leaves);
    free(a->ranks);
    dgm_sweep_fini(&a->sweep);
    dgm_keep_fini(&a->keep);
    dgm_gates_fini(&a->stats);
    *a = (dgm_atlas){0};
}

int dgm_atlas_ask_model(dgm_atlas *a, dgm_model *m, int n)
{
    dgm_expert_sets sets;
    a->ranks = calloc((size_t)n, sizeof *a->ranks);
    if (a->ranks == NULL)
        return no_memory("bytes of ranks");
    int rc = dgm_expert_sets_init(&sets, &m->cfg);
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; rc == DGM_OK && i < a->keep.n[s]; i++) {
            int number;
            rc = dgm_expert_sets_add(&number, &sets, &a->keep.sets[s][i]);
        }
    for (int r = 0; rc == DGM_OK && r < n; r++) {
        dgm_atlas_rank *rank = &a->ranks[r];
        m->sets = NULL;
        dgm_model_rank_bytes(&rank->dense, &rank->all_experts, m, r, n, true);
        m->sets = &sets;
        dgm_model_rank_bytes(&rank->dense, &rank->experts, m, r, n, true);
    }
    m->sets = NULL;
    a->n_ranks = rc == DGM_OK ? n : 0;
    dgm_expert_sets_fini(&sets);
    return rc;
}

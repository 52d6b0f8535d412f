#include "launch/inspect_keep.h"

#include "runtime/cut.h"
#include "runtime/expert_sets.h"
#include "runtime/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NAMES = 1024 };

typedef struct facts {
    const dgm_options *o;
    dgm_model *m;
    dgm_keep keep;
    char *list; /* names points into it */
    const char *names[MOST_NAMES];
    int n_names;          /* 0: all sets */
    dgm_expert_sets sets; /* those that are looked at */
} facts;

/* read_names - of --languages; each must have a set. */
static int read_names(facts *f)
{
    f->list = strdup(f->o->languages);
    if (f->list == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of languages");
    char *rest = NULL;
    for (char *name = strtok_r(f->list, ",", &rest); name != NULL;
         name = strtok_r(NULL, ",", &rest)) {
        if (f->n_names == MOST_NAMES)
            return dgm_fail(DGM_EUSAGE, "--languages: want at most %d", MOST_NAMES);
        if (dgm_keep_named(&f->keep, DGM_ENCODER, name) == NULL &&
            dgm_keep_named(&f->keep, DGM_DECODER, name) == NULL)
            return dgm_fail(DGM_EUSAGE, "--languages: %s has no set named %s", f->o->keep, name);
        f->names[f->n_names++] = name;
    }
    return DGM_OK;
}

static int collect(facts *f)
{
    DGM_TRY(dgm_expert_sets_init(&f->sets, &f->m->cfg));
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < f->keep.n[s]; i++) {
            int number;
            const dgm_keep_set *set = &f->keep.sets[s][i];
            if (!dgm_keep_among(set->name, f->names, f->n_names))
                continue;
            if (f->n_names > 0) /* a cut model need not have all sets of its keep file */
                DGM_TRY(dgm_cut_check_set(f->m, s, set, set->name, f->o->keep));
            DGM_TRY(dgm_expert_sets_add(&number, &f->sets, set));
        }
    return DGM_OK;
}

/* ---- for people ---- */

static double gib(uint64_t bytes)
{
    return (double)bytes / (1 << 30);
}

static void print(const facts *f)
{
    (void)printf("%-8s %5s %8s %8s %8s  %s\n", "stack", "sets", "experts", "union", "by all",
                 "Jaccard: mean, least, greatest");
    for (int s = 0; s < DGM_STACKS; s++) {
        const dgm_keep_overlap o = dgm_keep_compare(&f->keep, s, f->names, f->n_names);
        (void)printf("%-8s %5d %8d %8d %8d  %.4f, %.4f, %.4f\n", dgm_stack_names[s], o.n_sets,
                     o.experts, o.all_union, o.all_share, o.mean, o.least, o.most);
    }
    (void)printf("\n%-8s %-24s %8s\n", "stack", "set", "keeps");
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < f->keep.n[s]; i++)
            if (dgm_keep_among(f->keep.sets[s][i].name, f->names, f->n_names))
                (void)printf("%-8s %-24s %8d\n", dgm_stack_names[s], f->keep.sets[s][i].name,
                             dgm_keep_count(&f->keep, &f->keep.sets[s][i]));
    (void)printf("\nweights of these on disk: %.1f GiB (%llu bytes)\n",
                 gib(dgm_model_file_bytes(f->m)), (unsigned long long)dgm_model_file_bytes(f->m));
    (void)printf("\n%-8s %14s %14s %14s\n", "rank", "experts GiB", "dense GiB", "together GiB");
    for (int r = 0; r < f->o->ranks; r++) {
        uint64_t dense, experts;
        dgm_model_rank_bytes(&dense, &experts, f->m, r, f->o->ranks, true);
        (void)printf("%-8d %14.3f %14.3f %14.3f\n", r, gib(experts), gib(dense),
                     gib(experts + dense));
    }
}

static int print_json(const facts *f)
{
    char *text;
    DGM_TRY(dgm_keep_json(&text, &f->keep, f->names, f->n_names, f->m, f->o->ranks));
    (void)puts(text); /* main asks whether it arrived */
    free(text);
    return DGM_OK;
}

/* ---- both ---- */

static int look(facts *f, const char *dir)
{
    const dgm_model_options opt = {.dropless = true, .source_order = -1, .describe = true};
    DGM_TRY(dgm_model_open(&f->m, dir, &opt));
    if (dgm_config_most_experts(&f->m->cfg) == 0)
        return dgm_fail(DGM_EMODEL, "%s: want a mixture of experts, found a dense model", dir);
    DGM_TRY(dgm_cut_read_keep(&f->keep, f->o->keep, f->m));
    DGM_TRY(read_names(f));
    DGM_TRY(collect(f));
    f->m->sets = &f->sets;
    if (f->o->json)
        return print_json(f);
    print(f);
    return DGM_OK;
}

int dgm_inspect_keep(const dgm_options *o, const char *dir)
{
    facts f = {.o = o};
    const int rc = look(&f, dir);
    dgm_model_close(f.m);
    dgm_keep_fini(&f.keep);
    dgm_expert_sets_fini(&f.sets);
    free(f.list);
    return rc;
}

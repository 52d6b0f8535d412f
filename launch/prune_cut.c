#include "launch/prune_cut.h"

#include "runtime/cut_write.h"
#include "runtime/progress.h"
#include "runtime/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_DIRECTIONS = 65536, CODE = DGM_KEEP_NAME / 2 };

typedef struct cutter {
    const dgm_options *o;
    dgm_model *m;
    dgm_tokenizer *tok;
    dgm_keep keep;
    uint8_t *there;    /* [keep.shape.n_experts] */
    char **directions; /* [n] */
    int n;
} cutter;

/* ---- directions ---- */

/* add_set - the set of a direction in a stack joins the union. */
static int add_set(const cutter *c, int stack, const char *src, const char *tgt)
{
    const char *lang = stack == DGM_ENCODER ? src : tgt;
    const dgm_keep_set *set = dgm_keep_find(&c->keep, stack, src, tgt);
    if (set == NULL) {
        char names[256];
        dgm_keep_list(names, sizeof names, &c->keep, stack);
        return dgm_fail(DGM_EINPUT, "%s keeps no %s experts for %s, but for %s", c->o->keep,
                        dgm_stack_names[stack], lang, names);
    }
    DGM_TRY(dgm_cut_check_set(c->m, stack, set, lang, c->o->keep));
    for (size_t e = 0; e < c->keep.shape.n_experts; e++)
        c->there[e] |= set->kept[e];
    return DGM_OK;
}

static int remember(cutter *c, const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->directions[i], name) == 0)
            return DGM_OK;
    char **more =
        c->n == MOST_DIRECTIONS ? NULL : realloc(c->directions, ((size_t)c->n + 1) * sizeof *more);
    if (more == NULL)
        return dgm_fail(DGM_ENOMEM, "--for: out of memory for %d directions", c->n + 1);
    c->directions = more;
    more[c->n] = strdup(name);
    if (more[c->n] == NULL)
        return dgm_fail(DGM_ENOMEM, "--for: out of memory for %d directions", c->n + 1);
    c->n++;
    return DGM_OK;
}

/* add_direction - "eng_Latn-deu_Latn" [len]. */
static int add_direction(cutter *c, const char *text, size_t len)
{
    char part[2][CODE], name[2 * CODE];
    const char *lang[2];
    const char *dash = memchr(text, '-', len);
    const size_t first = dash == NULL ? 0 : (size_t)(dash - text);
    if (first == 0 || first >= CODE || len - first - 1 == 0 || len - first - 1 >= CODE ||
        memchr(dash + 1, '-', len - first - 1) != NULL)
        return dgm_fail(DGM_EUSAGE,
                        "--for: want directions such as eng_Latn-deu_Latn, separated by commas, "
                        "found '%.*s'",
                        (int)(len < CODE ? len : CODE), text);
    (void)snprintf(part[0], CODE, "%.*s", (int)first, text);
    (void)snprintf(part[1], CODE, "%.*s", (int)(len - first - 1), dash + 1);
    for (int i = 0; i < 2; i++) {
        int32_t id;
        DGM_TRY(dgm_tok_lang(c->tok, &id, part[i]));
        lang[i] = dgm_tok_piece(c->tok, id);
    }
    for (int s = 0; s < DGM_STACKS; s++)
        DGM_TRY(add_set(c, s, lang[0], lang[1]));
    (void)snprintf(name, sizeof name, "%s-%s", lang[0], lang[1]);
    return remember(c, name);
}

static int add_directions(cutter *c)
{
    c->there = calloc(c->keep.shape.n_experts + 1, 1);
    if (c->there == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of experts");
    const char *at = c->o->cut_for;
    for (bool more = true; more;) {
        const size_t len = strcspn(at, ",");
        DGM_TRY(add_direction(c, at, len));
        more = at[len] == ',';
        at += len + 1;
    }
    return DGM_OK;
}

/* keep_by_hand - sets do not touch experts with gates of their own: those that tasks use stay. */
static void keep_by_hand(const cutter *c)
{
    const dgm_moe_shape *shape = &c->keep.shape;
    for (int l = 0, of_stack[DGM_STACKS] = {0}; l < shape->n_layers; l++) {
        const dgm_moe_layer *layer = &shape->layers[l];
        const int moe = of_stack[layer->stack]++;
        for (int e = 0; dgm_config_has_gates(&c->m->cfg, layer->stack) && e < layer->n_experts; e++)
            c->there[layer->first + (size_t)e] = dgm_tasks_use(&c->m->tasks, layer->stack, moe, e);
    }
}

/* ---- the cut ---- */

static void show_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    dgm_progress *p = ctx;
    p->total_bytes = total_bytes;
    dgm_progress_tick_bytes(p, done_bytes);
}

static void print_experts(const cutter *c)
{
    const dgm_moe_shape *shape = &c->keep.shape;
    for (int s = 0; s < DGM_STACKS; s++) {
        (void)printf("%s experts by layer:", dgm_stack_names[s]);
        for (int l = 0; l < shape->n_layers; l++) {
            const dgm_moe_layer *layer = &shape->layers[l];
            int n = 0;
            for (int e = 0; e < layer->n_experts; e++)
                n += c->there[layer->first + (size_t)e];
            if (layer->stack == s)
                (void)printf(" %d/%d", n, layer->n_experts);
        }
        (void)printf("\n");
    }
}

static int cut(cutter *c)
{
    const dgm_options *o = c->o;
    dgm_cut_report report;
    dgm_progress progress;
    DGM_TRY(dgm_cut_read_keep(&c->keep, o->keep, c->m));
    DGM_TRY(dgm_tokenizer_open(&c->tok, o->model, c->m->cfg.vocab_size));
    DGM_TRY(add_directions(c));
    keep_by_hand(c);
    const dgm_cut_plan plan = {.keep = o->keep,
                               .shape = &c->keep.shape,
                               .there = c->there,
                               .directions = (const char *const *)c->directions,
                               .n_directions = c->n};
    dgm_progress_begin(&progress, isatty(STDERR_FILENO) != 0, 0);
    const int rc = dgm_cut_write(&report, c->m, o->output, &plan, show_progress, &progress);
    dgm_progress_wipe(&progress);
    DGM_TRY(rc);
    (void)printf("%s: %llu bytes of weights\n%s: %llu bytes of weights, %.1f %%\n", c->m->dir,
                 (unsigned long long)report.bytes_before, o->output,
                 (unsigned long long)report.bytes_after,
                 100.0 * (double)report.bytes_after / (double)report.bytes_before);
    print_experts(c);
    return DGM_OK;
}

int dgm_prune_cut(const dgm_options *o)
{
    /* dropless: what is refused for its switches keeps them, and is refused still. */
    const dgm_model_options opt = {.dropless = true, .source_order = -1};
    cutter c = {.o = o};
    if (o->output[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "--for: want -o DIR, where the smaller model is written");
    if (o->keep[0] == '\0' || o->cut_for[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "prune -o: want %s, found none",
                        o->keep[0] == '\0'
                            ? "-k FILE, the experts to keep"
                            : "--for SRC-TGT,.., the directions of the smaller model");
    if (o->stats[0] != '\0' || o->import[0] != '\0')
        return dgm_fail(DGM_EUSAGE,
                        "prune: want --stats or --import to write a keep file, or -o DIR "
                        "to cut by one, found both");
    int rc = dgm_model_open(&c.m, o->model, &opt);
    if (rc == DGM_OK && dgm_config_most_experts(&c.m->cfg) == 0)
        rc = dgm_fail(DGM_EMODEL, "%s: want a mixture of experts, found a dense model", o->model);
    if (rc == DGM_OK)
        rc = cut(&c);
    for (int i = 0; i < c.n; i++)
        free(c.directions[i]);
    free(c.directions);
    free(c.there);
    dgm_keep_fini(&c.keep);
    dgm_tokenizer_close(c.tok);
    dgm_model_close(c.m);
    return rc;
}

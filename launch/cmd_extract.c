/* cmd_extract.c - `dragoman extract -m MODEL -t TASK,.. -o DIR`: what some tasks use of a model, as a model of its own. */
#include "launch/commands.h"

#include "base/config.h"
#include "runtime/extract.h"
#include "runtime/progress.h"
#include "runtime/routing.h"
#include "runtime/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME = DGM_TASK_NAME };

typedef struct extractor {
    const dgm_options *o;
    dgm_model *m;
    dgm_tokenizer *tok;
    int *tasks; /* [n], each once */
    int n;
} extractor;

/* ---- tasks ---- */

/* code_of - a language by code or alias. */
static int code_of(const char **code, const extractor *x, const char *text, size_t len)
{
    char name[NAME];
    int32_t id;
    (void)snprintf(name, sizeof name, "%.*s", (int)(len < NAME ? len : NAME - 1), text);
    DGM_TRY(dgm_tok_lang(x->tok, &id, name));
    *code = dgm_tok_piece(x->tok, id);
    return DGM_OK;
}

/* add_task - as the model lists it: "deu_Latn", or where tasks are directions "eng_Latn-deu_Latn". */
static int add_task(extractor *x, const char *text, size_t len)
{
    const char *source = "", *target, *dash = memchr(text, '-', len);
    int task;
    if (!x->m->tasks.pairs)
        DGM_TRY(code_of(&target, x, text, len));
    else if (dash == NULL || dash == text || memchr(dash + 1, '-', len - (size_t)(dash - text) - 1))
        return dgm_fail(DGM_EUSAGE,
                        "--tgt-lang: the tasks of %s are directions: want some such as "
                        "%s, separated by commas, found '%.*s'",
                        x->m->dir, x->m->tasks.name[0], (int)(len < NAME ? len : NAME), text);
    else {
        DGM_TRY(code_of(&source, x, text, (size_t)(dash - text)));
        DGM_TRY(code_of(&target, x, dash + 1, len - (size_t)(dash - text) - 1));
    }
    DGM_TRY(dgm_tasks_find(&task, &x->m->tasks, source, target));
    for (int i = 0; i < x->n; i++)
        if (x->tasks[i] == task)
            return DGM_OK;
    x->tasks[x->n++] = task;
    return DGM_OK;
}

/* add_list - "deu_Latn,fra_Latn". */
static int add_list(extractor *x, const char *at)
{
    for (bool more = true; more;) {
        const size_t len = strcspn(at, ",");
        DGM_TRY(add_task(x, at, len));
        more = at[len] == ',';
        at += len + 1;
    }
    return DGM_OK;
}

static int add_tasks(extractor *x)
{
    int n;
    const char *const *lists = dgm_config_list(x->o->table, "tgt-lang", &n);
    x->tasks = calloc((size_t)x->m->tasks.n + 1, sizeof *x->tasks);
    if (x->tasks == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of tasks");
    if (x->m->tasks.n == 0) /* what follows says why that does not do */
        return DGM_OK;
    for (int i = 0; i < n; i++)
        DGM_TRY(add_list(x, lists[i]));
    return DGM_OK;
}

/* ---- the report ---- */

static void show_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    dgm_progress *p = ctx;
    p->total_bytes = total_bytes;
    dgm_progress_tick_bytes(p, done_bytes);
}

static void print_stack(const extractor *x, const dgm_extraction *e, const dgm_extract_report *r,
                        int stack)
{
    if (r->experts_before[stack] == 0)
        return;
    (void)printf("%s experts: %llu bytes of %llu, %.2f %%", dgm_stack_names[stack],
                 (unsigned long long)r->experts_after[stack],
                 (unsigned long long)r->experts_before[stack],
                 100.0 * (double)r->experts_after[stack] / (double)r->experts_before[stack]);
    if (!dgm_routing_by_task(x->m->cfg.routing[stack])) {
        (void)printf("; routed by %s, so all stay\n", dgm_routing_name(x->m->cfg.routing[stack]));
        return;
    }
    (void)printf("; by layer:");
    for (int l = 0; l < e->n_layers; l++)
        if (e->layers[l].stack == stack)
            (void)printf(" %d/%d", e->layers[l].n, x->m->cfg.n_experts[stack]);
    (void)printf("\n");
}

static void print_report(const extractor *x, const dgm_extraction *e, const dgm_extract_report *r)
{
    (void)printf("%s: %llu bytes of weights\n%s: %llu bytes of weights, %.1f %%\n", x->m->dir,
                 (unsigned long long)r->bytes_before, x->o->output,
                 (unsigned long long)r->bytes_after,
                 100.0 * (double)r->bytes_after / (double)r->bytes_before);
    for (int s = 0; s < DGM_STACKS; s++)
        print_stack(x, e, r, s);
    if (x->o->fold)
        (void)printf("folded%s: logits within 1e-5 of the whole model's, not the same bytes; dense "
                     "layers beside them are as wide, with zeros\n",
                     dgm_extract_all_dense(e) ? " to a dense model (m2m_100)" : "");
    else
        (void)printf("translations of these tasks are the same bytes as the whole model's\n");
    (void)printf("tasks:");
    for (int i = 0; i < e->n_tasks; i++)
        (void)printf(" %s", x->m->tasks.name[e->tasks[i]]);
    (void)printf("\n");
}

/* ---- command ---- */

static int extract(extractor *x)
{
    const dgm_options *o = x->o;
    dgm_extraction e;
    dgm_extract_report report;
    dgm_progress progress;
    dgm_kernels kern;
    DGM_TRY(dgm_kernels_select(&kern, "ref"));
    DGM_TRY(dgm_tokenizer_open(&x->tok, o->model, x->m->cfg.vocab_size));
    DGM_TRY(add_tasks(x));
    DGM_TRY(dgm_extraction_init(&e, x->m, x->tasks, x->n, &kern));
    dgm_progress_begin(&progress, isatty(STDERR_FILENO) != 0, 0);
    const int rc = o->fold ? dgm_extract_fold(&report, &e, o->output, show_progress, &progress)
                           : dgm_extract_write(&report, &e, o->output, show_progress, &progress);
    dgm_progress_wipe(&progress);
    if (rc == DGM_OK)
        print_report(x, &e, &report);
    dgm_extraction_fini(&e);
    return rc;
}

int dgm_cmd_extract(const dgm_options *o)
{
    /* dropless: what is refused for its switches keeps them, and is refused still. */
    const dgm_model_options opt = {.dropless = true, .source_order = -1};
    extractor x = {.o = o};
    int rc = DGM_OK;
    if (o->output[0] == '\0' || o->tgt_lang[0] == '\0')
        rc = dgm_fail(DGM_EUSAGE, "extract: want %s, found none",
                      o->output[0] == '\0' ? "--output DIR" : "--tgt-lang TASK,..");
    if (rc == DGM_OK)
        rc = dgm_model_open(&x.m, o->model, &opt);
    if (rc == DGM_OK)
        rc = extract(&x);
    free(x.tasks);
    dgm_tokenizer_close(x.tok);
    dgm_model_close(x.m);
    return dgm_command_end(rc);
}

/* The extracted model, its tensors copied as they are: experts under new numbers, gates where the router was. */
#define _GNU_SOURCE
#include "runtime/extract.h"
#include "runtime/zeros.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char before_number[] = "ffn.experts.expert_";

/* A tensor of the new model. */
typedef struct item {
    const dgm_slot *slot;           /* to be copied; NULL: */
    const dgm_extract_layer *gates; /* of this layer */
} item;

typedef struct job {
    const dgm_extraction *x;
    dgm_extract_report *report;
    dgm_model_copy copy;
    item *items; /* [copy.n] */
} job;

/* new_number - of an expert of the source, -1: it stays behind. */
static int new_number(const dgm_extract_layer *l, int expert)
{
    for (int i = 0; i < l->n; i++)
        if (l->experts[i] == expert)
            return i;
    return -1;
}

/* renamed - name with `number` for its expert's, or with `instead` for all from `ffn.` on. malloc'ed. */
static char *renamed(const char *name, int number, const char *instead)
{
    char *out = NULL;
    const char *at = strstr(name, before_number);
    DGM_ASSERT(at != NULL); /* the binder gave the expert this name */
    const char *tail = strchr(at + sizeof before_number - 1, '.');
    const int rc = instead != NULL ? asprintf(&out, "%.*s%s", (int)(at - name), name, instead)
                                   : asprintf(&out, "%.*s%s%d%s", (int)(at - name), name,
                                              before_number, number, tail != NULL ? tail : "");
    return rc < 0 ? NULL : out;
}

/* ---- plan ---- */

static int add_gates(job *j, const dgm_extract_layer *l, const dgm_slot *s)
{
    const dgm_new_tensor t = {.type = "F32", .n_dims = 1, .dims = {2 * (uint64_t)j->x->n_tasks}};
    j->items[j->copy.n] = (item){.gates = l};
    return dgm_model_copy_add(&j->copy, renamed(s->tensor->name, 0, "ffn.router.gates"), t);
}

static int add_copy(job *j, const dgm_slot *s, int number)
{
    const char *name = s->tensor->name;
    j->items[j->copy.n] = (item){.slot = s};
    return dgm_model_copy_add_slot(&j->copy,
                                   number < 0 ? strdup(name) : renamed(name, number, NULL), s);
}

static int stack_of(const dgm_model *m, const dgm_slot *s)
{
    return s->layer >= m->cfg.n_layers[DGM_ENCODER] ? DGM_DECODER : DGM_ENCODER;
}

/* add_slot - what becomes of one tensor of the source. */
static int add_slot(job *j, const dgm_slot *s, bool first_of_layer)
{
    const dgm_model *m = j->x->m;
    const dgm_extract_layer *l = s->layer >= 0 ? dgm_extraction_layer(j->x, s->layer) : NULL;
    const int number = l != NULL && s->expert >= 0 ? new_number(l, s->expert) : -1;
    if (s->expert >= 0)
        j->report->experts_before[stack_of(m, s)] += s->tensor->bytes;
    if (l != NULL && s->part == DGM_ROUTER)
        return DGM_OK;
    if (l != NULL && first_of_layer)
        DGM_TRY(add_gates(j, l, s));
    if (l != NULL && s->expert >= 0 && number < 0)
        return DGM_OK;
    if (s->expert >= 0)
        j->report->experts_after[stack_of(m, s)] += s->tensor->bytes;
    return add_copy(j, s, number);
}

static int add_tensors(job *j)
{
    const struct dgm_model_files *f = j->x->m->files;
    for (size_t i = 0; i < f->n_slots; i++) {
        const dgm_slot *s = &f->slots[i];
        DGM_TRY(add_slot(j, s, s->expert >= 0 && (i == 0 || s[-1].moe != s->moe)));
    }
    return dgm_model_copy_plan(&j->copy, 0);
}

/* ---- fill ---- */

static int put_gates(job *j, const dgm_extract_layer *l)
{
    const uint64_t n = 2 * (uint64_t)j->x->n_tasks;
    dgm_zeros_add(&j->copy.zeros, false, n, 0);
    return dgm_model_copy_put(&j->copy, l->gate, n * sizeof(float));
}

static int write_all(job *j)
{
    DGM_TRY(add_tensors(j));
    for (size_t i = 0; i < j->copy.n; i++)
        DGM_TRY(j->items[i].slot != NULL ? dgm_model_copy_run(&j->copy, j->items[i].slot)
                                         : put_gates(j, j->items[i].gates));
    return dgm_extract_finish(&j->report->bytes_after, &j->copy, j->x, 0);
}

int dgm_extract_write(dgm_extract_report *report, const dgm_extraction *x, const char *out,
                      dgm_copy_progress progress, void *ctx)
{
    const size_t most = x->m->files->n_slots + (size_t)x->n_layers;
    *report = (dgm_extract_report){.bytes_before = dgm_tensors_bytes(x->m->files->tensors)};
    job j = {.x = x, .report = report, .items = calloc(most + 1, sizeof *j.items)};
    int rc = dgm_model_copy_open(&j.copy, x->m, out, most, progress, ctx);
    if (rc == DGM_OK)
        rc = j.items != NULL ? write_all(&j)
                             : dgm_fail(DGM_ENOMEM, "out of memory for a list of tensors");
    dgm_model_copy_close(&j.copy);
    free(j.items);
    return rc;
}

/* The extracted model, its tensors copied as they are: experts under new numbers, gates where the router was. */
#define _GNU_SOURCE
#include "runtime/extract.h"
#include "runtime/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t SHARD_BYTES = (uint64_t)4 << 30;
static const char before_number[] = "ffn.experts.expert_";

/* A tensor of the new model. */
typedef struct item {
    const dgm_slot *slot;           /* to be copied; NULL: */
    const dgm_extract_layer *gates; /* of this layer */
} item;

typedef struct job {
    const dgm_extraction *x;
    dgm_extract_report *report;
    dgm_tensor_copy *copy;
    item *items;
    dgm_new_tensor *list; /* [n], the writer's once it is planned */
    size_t n;
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

static bool begins_expert(const job *j, const dgm_slot *s)
{
    return s == j->x->m->files->slots || s[-1].expert != s->expert || s[-1].moe != s->moe;
}

/* ---- plan ---- */

static bool add_gates(job *j, const dgm_extract_layer *l, const dgm_slot *s)
{
    const uint64_t n = 2 * (uint64_t)j->x->n_tasks;
    j->items[j->n] = (item){.gates = l};
    j->list[j->n++] = (dgm_new_tensor){.name = renamed(s->tensor->name, 0, "ffn.router.gates"),
                                       .type = "F32",
                                       .n_dims = 1,
                                       .dims = {n},
                                       .bytes = n * sizeof(float),
                                       .loose = !j->x->m->cfg.weights.packed};
    j->copy->total_bytes += n * sizeof(float);
    return j->list[j->n - 1].name != NULL;
}

static bool add_copy(job *j, const dgm_slot *s, int number)
{
    dgm_new_tensor *to = &j->list[j->n];
    const bool begins = s->expert < 0 ? s->matrix != NULL &&
                                            (s->form == DGM_SLOT_ROWS || s->form == DGM_SLOT_PANELS)
                                      : begins_expert(j, s);
    j->items[j->n++] = (item){.slot = s};
    bool good = dgm_tensor_copy_plan(j->copy, to, s->tensor);
    to->unit = begins;
    to->loose = !j->x->m->cfg.weights.packed;
    to->page = !to->loose && to->unit && s->expert >= 0;
    if (good && number >= 0) {
        char *name = renamed(to->name, number, NULL);
        free(to->name);
        to->name = name;
        good = name != NULL;
    }
    return good;
}

static int stack_of(const dgm_model *m, const dgm_slot *s)
{
    return s->layer >= m->cfg.n_layers[DGM_ENCODER] ? DGM_DECODER : DGM_ENCODER;
}

/* add_slot - what becomes of one tensor of the source. */
static bool add_slot(job *j, const dgm_slot *s, bool first_of_layer)
{
    const dgm_model *m = j->x->m;
    const dgm_extract_layer *l = s->layer >= 0 ? dgm_extraction_layer(j->x, s->layer) : NULL;
    const int number = l != NULL && s->expert >= 0 ? new_number(l, s->expert) : -1;
    if (s->expert >= 0)
        j->report->experts_before[stack_of(m, s)] += s->tensor->bytes;
    if (l != NULL && s->part == DGM_ROUTER)
        return true;
    if (l != NULL && first_of_layer && !add_gates(j, l, s))
        return false;
    if (l != NULL && s->expert >= 0 && number < 0)
        return true;
    if (s->expert >= 0)
        j->report->experts_after[stack_of(m, s)] += s->tensor->bytes;
    return add_copy(j, s, number);
}

/* list_tensors - of the new model. False: out of memory. */
static bool list_tensors(job *j)
{
    const struct dgm_model_files *f = j->x->m->files;
    const size_t most = f->n_slots + (size_t)j->x->n_layers + 1;
    j->items = calloc(most, sizeof *j->items);
    j->list = calloc(most, sizeof *j->list);
    bool good = j->items != NULL && j->list != NULL;
    for (size_t i = 0; good && i < f->n_slots; i++) {
        const dgm_slot *s = &f->slots[i];
        good = add_slot(j, s, s->expert >= 0 && (i == 0 || s[-1].moe != s->moe));
    }
    return good;
}

/* ---- fill ---- */

static int put_gates(job *j, const dgm_extract_layer *l)
{
    const size_t bytes = 2 * (size_t)j->x->n_tasks * sizeof(float);
    DGM_TRY(dgm_model_writer_put(j->copy->to, l->gate, bytes));
    dgm_tensor_copy_tell(j->copy, bytes);
    return DGM_OK;
}

static int fill(job *j)
{
    for (size_t i = 0; i < j->n; i++)
        DGM_TRY(j->items[i].slot != NULL ? dgm_tensor_copy_run(j->copy, j->items[i].slot->tensor)
                                         : put_gates(j, j->items[i].gates));
    return DGM_OK;
}

static int finish(job *j)
{
    char *config;
    size_t len;
    DGM_TRY(dgm_model_writer_beside(j->copy->to, j->x->m->dir));
    DGM_TRY(dgm_extract_config(&config, &len, j->x, 0));
    const int rc = dgm_model_writer_commit(&j->report->bytes_after, j->copy->to, config, len);
    free(config);
    return rc;
}

static int write_all(job *j)
{
    dgm_new_tensor *list = j->list;
    j->list = NULL;
    DGM_TRY(dgm_model_writer_plan(j->copy->to, list, j->n, SHARD_BYTES));
    DGM_TRY(fill(j));
    return finish(j);
}

int dgm_extract_write(dgm_extract_report *report, const dgm_extraction *x, const char *out,
                      dgm_copy_progress progress, void *ctx)
{
    const dgm_tensors *from = x->m->files->tensors;
    dgm_model_writer *to = NULL;
    *report = (dgm_extract_report){.bytes_before = dgm_tensors_bytes(from)};
    dgm_tensor_copy copy = {.from = from, .progress = progress, .ctx = ctx};
    job j = {.x = x, .report = report, .copy = &copy};
    int rc = dgm_tensor_copy_init(&copy);
    if (rc == DGM_OK)
        rc = dgm_model_writer_open(&to, out);
    copy.to = to;
    if (rc == DGM_OK)
        rc = list_tensors(&j) ? write_all(&j)
                              : dgm_fail(DGM_ENOMEM, "out of memory for a list of tensors");
    dgm_model_writer_close(to);
    dgm_tensor_copy_fini(&copy);
    for (size_t i = 0; j.list != NULL && i < j.n; i++)
        free(j.list[i].name);
    free(j.list);
    free(j.items);
    return rc;
}

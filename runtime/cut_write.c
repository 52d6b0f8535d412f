#include "runtime/cut_write.h"

#include "runtime/config_json.h"
#include "runtime/config_own.h"
#include "runtime/input_json.h"
#include "runtime/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MAX_KEEP_BYTES = 1 << 28 };
static const uint64_t SHARD_BYTES = (uint64_t)4 << 30;

typedef struct job {
    const dgm_model *m;
    const dgm_cut_plan *plan;
    dgm_model_writer *out;
    dgm_cut_report *report;
    dgm_tensor_copy copy;
    char *keep; /* the file's text */
    size_t keep_len;
} job;

/* ---- weights ---- */

static bool stays(const job *j, const dgm_slot *s)
{
    return s->expert < 0 ||
           j->plan->there[j->plan->shape->layers[s->moe].first + (size_t)s->expert] != 0;
}

/* starts - the tensor is the first of what stays together: of an expert, or a dense matrix. */
static bool starts(const job *j, const dgm_slot *s)
{
    if (s->expert < 0)
        return s->matrix != NULL && s->form != DGM_SLOT_SCALES;
    return s == j->m->files->slots || s[-1].expert != s->expert || s[-1].moe != s->moe;
}

static int plan(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    size_t n = 0;
    dgm_new_tensor *list = calloc(f->n_slots + 1, sizeof *list);
    bool good = list != NULL;
    for (size_t i = 0; good && i < f->n_slots; i++) {
        const dgm_slot *s = &f->slots[i];
        if (!stays(j, s))
            continue;
        dgm_new_tensor *to = &list[n++];
        good = dgm_tensor_copy_plan(&j->copy, to, s->tensor);
        to->unit = starts(j, s);
        to->loose = !j->m->cfg.weights.packed;
        to->page = !to->loose && to->unit && s->expert >= 0;
    }
    if (!good) {
        for (size_t i = 0; i < n; i++)
            free(list[i].name);
        free(list);
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of tensors");
    }
    return dgm_model_writer_plan(j->out, list, n,
                                 j->plan->shard_bytes != 0 ? j->plan->shard_bytes : SHARD_BYTES);
}

static int copy_weights(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    for (size_t i = 0; i < f->n_slots; i++)
        if (stays(j, &f->slots[i]))
            DGM_TRY(dgm_tensor_copy_run(&j->copy, f->slots[i].tensor));
    return DGM_OK;
}

/* ---- config.json ---- */

static json_t *experts_json(const job *j)
{
    const dgm_moe_shape *shape = j->plan->shape;
    json_t *stacks[DGM_STACKS] = {json_object(), json_object()};
    for (int l = 0; l < shape->n_layers; l++) {
        const dgm_moe_layer *layer = &shape->layers[l];
        json_t *ids = json_array();
        char index[16];
        for (int e = 0; e < layer->n_experts; e++)
            if (j->plan->there[layer->first + (size_t)e])
                (void)json_array_append_new(ids, json_integer(e));
        (void)snprintf(index, sizeof index, "%d", layer->index);
        (void)json_object_set_new(stacks[layer->stack], index, ids);
    }
    return json_pack("{s:o, s:o}", "encoder", stacks[DGM_ENCODER], "decoder", stacks[DGM_DECODER]);
}

static int config(char **text, size_t *len, const job *j)
{
    const uint64_t keep = XXH3_64bits(j->keep, j->keep_len),
                   of = j->m->cut != NULL ? j->m->cut->of : j->m->hash;
    json_t *directions = json_array();
    for (int i = 0; i < j->plan->n_directions; i++)
        (void)json_array_append_new(directions, json_string(j->plan->directions[i]));
    json_t *keys = json_pack("{s:{s:o, s:o, s:O, s:o}}", "cut", "of", dgm_hash_json(of), "keep",
                             dgm_hash_json(keep), "for", directions, "experts", experts_json(j));
    json_t *options = json_pack("{s:o, s:o}", "for", directions, "keep", dgm_hash_json(keep));
    const dgm_config_change change = {.own = keys, .step = {.tool = "prune", .options = options}};
    return dgm_config_extend(text, len, j->m, &change);
}

/* ---- the whole ---- */

static int write_rest(job *j)
{
    char *text = NULL;
    size_t len;
    DGM_TRY(dgm_model_writer_beside(j->out, j->m->dir));
    DGM_TRY(dgm_model_writer_file(j->out, DGM_CUT_KEEP_NAME, j->keep, j->keep_len));
    DGM_TRY(config(&text, &len, j));
    const int rc = dgm_model_writer_commit(&j->report->bytes_after, j->out, text, len);
    free(text);
    return rc;
}

int dgm_cut_write(dgm_cut_report *report, const dgm_model *in, const char *out,
                  const dgm_cut_plan *p, dgm_copy_progress progress, void *ctx)
{
    *report = (dgm_cut_report){.bytes_before = dgm_tensors_bytes(in->files->tensors)};
    job j = {.m = in,
             .plan = p,
             .report = report,
             .copy = {.from = in->files->tensors, .progress = progress, .ctx = ctx}};
    int rc = dgm_file_slurp(&j.keep, &j.keep_len, p->keep, MAX_KEEP_BYTES);
    if (rc == DGM_OK)
        rc = dgm_tensor_copy_init(&j.copy);
    if (rc == DGM_OK)
        rc = dgm_model_writer_open(&j.out, out);
    j.copy.to = j.out;
    if (rc == DGM_OK)
        rc = plan(&j);
    if (rc == DGM_OK)
        rc = copy_weights(&j);
    if (rc == DGM_OK)
        rc = write_rest(&j);
    dgm_model_writer_close(j.out);
    dgm_tensor_copy_fini(&j.copy);
    free(j.keep);
    return rc;
}

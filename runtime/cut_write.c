#include "runtime/cut_write.h"

#include "runtime/config_json.h"
#include "runtime/config_own.h"
#include "runtime/input_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MAX_KEEP_BYTES = 1 << 28 };

typedef struct job {
    const dgm_model *m;
    const dgm_cut_plan *plan;
    dgm_model_copy copy;
    dgm_text keep; /* the file's */
} job;

/* ---- weights ---- */

static bool stays(const job *j, const dgm_slot *s)
{
    return s->expert < 0 ||
           j->plan->there[j->plan->shape->layers[s->moe].first + (size_t)s->expert] != 0;
}

static int copy_weights(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    for (size_t i = 0; i < f->n_slots; i++)
        if (stays(j, &f->slots[i]))
            DGM_TRY(
                dgm_model_copy_add_slot(&j->copy, strdup(f->slots[i].tensor->name), &f->slots[i]));
    DGM_TRY(dgm_model_copy_plan(&j->copy, j->plan->shard_bytes));
    for (size_t i = 0; i < f->n_slots; i++)
        if (stays(j, &f->slots[i]))
            DGM_TRY(dgm_model_copy_run(&j->copy, &f->slots[i]));
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

static int config(dgm_text *out, const job *j)
{
    const uint64_t keep = XXH3_64bits(j->keep.text, j->keep.len),
                   of = j->m->cut != NULL ? j->m->cut->of : j->m->hash;
    json_t *directions = json_array();
    for (int i = 0; i < j->plan->n_directions; i++)
        (void)json_array_append_new(directions, json_string(j->plan->directions[i]));
    json_t *keys = json_pack("{s:{s:o, s:o, s:O, s:o}}", "cut", "of", dgm_hash_json(of), "keep",
                             dgm_hash_json(keep), "for", directions, "experts", experts_json(j));
    json_t *options = json_pack("{s:o, s:o}", "for", directions, "keep", dgm_hash_json(keep));
    const dgm_config_change change = {
        .own = keys,
        .step = {.tool = "prune", .options = options, .zeros = dgm_model_copy_zeros(&j->copy)}};
    return dgm_config_extend(&out->text, &out->len, j->m, &change);
}

/* ---- the whole ---- */

static int write_all(uint64_t *bytes, job *j)
{
    dgm_text text;
    DGM_TRY(dgm_file_slurp(&j->keep.text, &j->keep.len, j->plan->keep, MAX_KEEP_BYTES));
    DGM_TRY(copy_weights(j));
    DGM_TRY(config(&text, j));
    return dgm_model_finish(bytes, j->copy.to, j->m, &j->keep, text);
}

int dgm_cut_write(dgm_cut_report *report, const dgm_model *in, const char *out,
                  const dgm_cut_plan *p, dgm_copy_progress progress, void *ctx)
{
    *report = (dgm_cut_report){.bytes_before = dgm_tensors_bytes(in->files->tensors)};
    job j = {.m = in, .plan = p};
    int rc = dgm_model_copy_open(&j.copy, in, out, in->files->n_slots, progress, ctx);
    if (rc == DGM_OK)
        rc = write_all(&report->bytes_after, &j);
    dgm_model_copy_close(&j.copy);
    free(j.keep.text);
    return rc;
}

/* A model's description for programs. */
#include "runtime/cut.h"
#include "runtime/history.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

static json_t *stack_json(const dgm_model *m, int stack)
{
    const dgm_model_config *c = &m->cfg;
    json_t *moe = json_array();
    for (int i = 0; i < m->stack[stack].n_layers; i++)
        if (m->stack[stack].layers[i].sparse)
            (void)json_array_append_new(moe, json_integer(i));
    return json_pack("{s:i, s:i, s:i, s:i, s:o}", "layers", c->n_layers[stack], "heads",
                     c->n_heads[stack], "ffn_dim", c->ffn_dim[stack], "experts",
                     c->n_experts[stack], "moe_layers", moe);
}

static json_t *parts_json(const dgm_model_size *size)
{
    json_t *parts = json_object();
    for (int p = 0; p < DGM_PARTS; p++) {
        const dgm_part_size *s = &size->part[p];
        (void)json_object_set_new(parts, dgm_part_name((enum dgm_part)p),
                                  json_pack("{s:I, s:I, s:I, s:s}", "parameters",
                                            (json_int_t)s->params, "file_bytes",
                                            (json_int_t)s->file_bytes, "memory_bytes",
                                            (json_int_t)s->memory_bytes, "type", s->type));
    }
    return parts;
}

static json_t *ranks_json(const dgm_model *m, int ranks)
{
    json_t *all = json_array();
    for (int r = 0; r < ranks; r++) {
        uint64_t dense, experts;
        const int enc = dgm_model_rank_experts(m, DGM_ENCODER, r, ranks),
                  dec = dgm_model_rank_experts(m, DGM_DECODER, r, ranks);
        dgm_model_rank_bytes(&dense, &experts, m, r, ranks, true);
        (void)json_array_append_new(
            all, json_pack("{s:i, s:i, s:[i,i], s:I, s:I}", "rank", r, "experts",
                           enc > dec ? enc : dec, "experts_by_stack", enc, dec, "expert_bytes",
                           (json_int_t)experts, "dense_bytes", (json_int_t)dense));
    }
    return all;
}

/* How a packed model holds its matrices; null for Hugging Face's. */
static json_t *packed_json(const dgm_weight_types *w)
{
    return !w->packed ? json_null()
                      : json_pack("{s:s, s:s, s:i}", "experts", dgm_weight_type_name(w->experts),
                                  "dense", dgm_weight_type_name(w->dense), "group", w->group);
}

/* What a cut model has; null for a whole one. */
static json_t *cut_json(const dgm_cut *cut)
{
    if (cut == NULL)
        return json_null();
    json_t *there[DGM_STACKS] = {json_array(), json_array()};
    for (int l = 0; l < cut->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &cut->shape.layers[l];
        (void)json_array_append_new(there[layer->stack], json_integer(dgm_cut_count(cut, layer)));
    }
    json_t *directions = json_array();
    for (int i = 0; i < cut->n_directions; i++)
        (void)json_array_append_new(directions, json_string(cut->directions[i]));
    char of[24];
    (void)snprintf(of, sizeof of, "%016" PRIx64, cut->of);
    return json_pack("{s:s, s:o, s:{s:o, s:o}}", "of", of, "for", directions, "experts", "encoder",
                     there[DGM_ENCODER], "decoder", there[DGM_DECODER]);
}

/* What the rows of each stack are routed by, and the tasks, if any. */
static json_t *routing_json(const dgm_model *m)
{
    json_t *tasks = json_array();
    for (int i = 0; i < m->tasks.n; i++)
        (void)json_array_append_new(tasks, json_string(m->tasks.name[i]));
    return json_pack("{s:s, s:s, s:o}", "encoder", dgm_routing_name(m->cfg.routing[DGM_ENCODER]),
                     "decoder", dgm_routing_name(m->cfg.routing[DGM_DECODER]), "tasks", tasks);
}

static json_t *config_json(const dgm_model *m, int n_langs)
{
    const dgm_model_config *c = &m->cfg;
    char hash[24];
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, m->hash);
    return json_pack(
        "{s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:i, s:i, s:f, s:o, s:o, s:s, s:i, s:i, s:i, s:b}",
        "model", m->dir, "type", c->model_type, "hash", hash, "d_model", c->d_model, "vocab_size",
        c->vocab_size, "encoder", stack_json(m, DGM_ENCODER), "decoder", stack_json(m, DGM_DECODER),
        "experts", dgm_config_most_experts(c), "top_k", c->top_k, "expert_scale",
        (double)c->expert_scale, "routing", routing_json(m), "languages",
        n_langs < 0 ? json_null() : json_integer(n_langs), "source_order",
        c->source_suffix ? "suffix" : "prefix", "max_source", c->max_source, "max_length",
        c->max_length, "max_positions", c->max_positions, "synthetic", c->synthetic);
}

int dgm_model_json(char **text, const dgm_model *m, int n_langs, int ranks)
{
    dgm_model_size size;
    json_t *history;
    dgm_model_get_size(&size, m);
    DGM_TRY(dgm_history_read(&history, m->dir));
    json_t *root = config_json(m, n_langs);
    if (root == NULL) { /* a path that is not UTF-8 is all that JSON cannot say */
        json_decref(history);
        return dgm_fail(DGM_EUSAGE, "--json: wanted a model path in UTF-8, found another");
    }
    json_t *more = json_pack("{s:s, s:o, s:o, s:s, s:i, s:I, s:I, s:o, s:o}", "dtype", size.dtype,
                             "cut", cut_json(m->cut), "packed", packed_json(&m->cfg.weights),
                             "compute", m->cfg.compute == DGM_COMPUTE_INT8 ? "int8" : "f32",
                             "files", size.n_files, "file_bytes", (json_int_t)size.file_bytes,
                             "positions_bytes", (json_int_t)size.positions_bytes, "parts",
                             parts_json(&size), "ranks", ranks_json(m, ranks));
    (void)json_object_update(root, more);
    (void)json_object_set_new(root, "history", history);
    *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(more);
    json_decref(root);
    return *text != NULL ? DGM_OK
                         : dgm_fail(DGM_ENOMEM, "cannot allocate a description of the model");
}

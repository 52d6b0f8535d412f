/* config.json of an extracted model. */
#include "runtime/config_own.h"
#include "runtime/extract_cut.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *tasks_json(const dgm_extraction *x)
{
    json_t *list = json_array();
    for (int i = 0; i < x->n_tasks; i++)
        (void)json_array_append_new(list, json_string(x->m->tasks.name[x->tasks[i]]));
    return list;
}

static bool by_task(const dgm_extraction *x, int stack)
{
    return x->m->cfg.n_experts[stack] > 0 && dgm_routing_by_task(x->m->cfg.routing[stack]);
}

/* The experts of a task in each layer of a stack, best first. */
static json_t *pairs_json(const dgm_extraction *x, int stack, int task)
{
    json_t *list = json_array();
    for (int l = 0; l < x->n_layers; l++) {
        const int16_t *pair = x->layers[l].pair[task];
        if (x->layers[l].stack == stack)
            (void)json_array_append_new(
                list, pair[1] < 0 ? json_pack("[i]", (int)pair[0])
                                  : json_pack("[i, i]", (int)pair[0], (int)pair[1]));
    }
    return list;
}

static json_t *static_json(const dgm_extraction *x)
{
    json_t *all = json_object();
    for (int s = 0; s < DGM_STACKS; s++) {
        json_t *stack = json_object();
        for (int i = 0; i < x->n_tasks; i++)
            (void)json_object_set_new(stack, x->m->tasks.name[x->tasks[i]], pairs_json(x, s, i));
        if (by_task(x, s))
            (void)json_object_set(all, dgm_stack_names[s], stack);
        json_decref(stack);
    }
    return all;
}

/* For the history: {"decoder": [[3, 17], [5, 9]]}, the source's numbers of what each layer has. */
static json_t *experts_json(const dgm_extraction *x)
{
    json_t *all = json_object();
    for (int l = 0; l < x->n_layers; l++) {
        const char *stack = dgm_stack_names[x->layers[l].stack];
        json_t *ids = json_array();
        for (int e = 0; e < x->layers[l].n; e++)
            (void)json_array_append_new(ids, json_integer(x->layers[l].experts[e]));
        if (json_object_get(all, stack) == NULL)
            (void)json_object_set_new(all, stack, json_array());
        (void)json_array_append_new(json_object_get(all, stack), ids);
    }
    return all;
}

static void set_key(json_t *top, int stack, const char *tail, json_t *value)
{
    char key[48];
    (void)snprintf(key, sizeof key, "%s_%s", dgm_stack_names[stack], tail);
    (void)json_object_set_new(top, key, value);
}

/* Keys at the top. Of a folded stack nothing is left to route, but the task that it is for is still told. */
static json_t *top_json(const dgm_extraction *x, int folded)
{
    const dgm_model_config *c = &x->m->cfg;
    json_t *top = json_pack("{s:o, s:o, s:o}", "routing_tasks", tasks_json(x), "routing_static",
                            folded > 0 ? json_null() : static_json(x), "routing_gates",
                            folded > 0 ? json_null() : json_true());
    for (int s = 0; s < DGM_STACKS; s++) {
        if (!by_task(x, s))
            continue;
        set_key(top, s, "routing", json_string(folded > 0 ? "task" : "static"));
        if (folded > 0) {
            set_key(top, s, "sparse_step", json_integer(0));
            set_key(top, s, "ffn_dim", json_integer(folded * c->ffn_dim[s]));
        }
    }
    if (folded > 0) /* what was merged is f32 */
        (void)json_object_set_new(top, "torch_dtype", json_string("float32"));
    if (folded > 0 && dgm_extract_all_dense(x)) {
        (void)json_object_set_new(top, "model_type", json_string("m2m_100"));
        (void)json_object_set_new(top, "architectures",
                                  json_pack("[s]", "M2M100ForConditionalGeneration"));
    }
    return top;
}

/* Keys under dragoman: how many experts the layers have, where they are fewer than num_experts; of those routed by token, which. */
static json_t *own_json(const dgm_extraction *x, int folded, const dgm_text *keep)
{
    int n[DGM_STACKS];
    for (int s = 0; s < DGM_STACKS; s++) {
        n[s] = dgm_extraction_most(x, s);
        n[s] = n[s] < 1 || (folded > 0 && by_task(x, s)) ? 1 : n[s]; /* 1: of no layer */
    }
    json_t *kept = folded > 0 && dgm_extract_all_dense(x)
                       ? json_null()
                       : json_pack("[i, i]", n[DGM_ENCODER], n[DGM_DECODER]);
    return json_pack("{s:o, s:o}", "experts_kept", kept, "cut",
                     dgm_extract_cut_json(x, folded, keep));
}

static int config(dgm_text *out, const dgm_extraction *x, int folded, const dgm_text *keep,
                  const dgm_zeros *zeros)
{
    json_t *options = json_pack("{s:o, s:b, s:o}", "tasks", tasks_json(x), "fold", folded > 0,
                                "experts", experts_json(x));
    const dgm_config_change change = {
        .own = own_json(x, folded, keep),
        .top = top_json(x, folded),
        .step = {.tool = "extract", .options = options, .zeros = zeros}};
    return dgm_config_extend(&out->text, &out->len, x->m, &change);
}

int dgm_extract_finish(uint64_t *bytes, dgm_model_copy *copy, const dgm_extraction *x, int folded)
{
    dgm_text keep, text;
    DGM_TRY(dgm_extract_cut_keep(&keep, x, folded));
    int rc = config(&text, x, folded, &keep, dgm_model_copy_zeros(copy));
    if (rc == DGM_OK)
        rc = dgm_model_finish(bytes, copy->to, x->m, &keep, text);
    free(keep.text);
    return rc;
}

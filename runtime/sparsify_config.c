/* config.json of a sparsified model. */
#include "runtime/config_own.h"
#include "runtime/input_json.h"
#include "runtime/sparsify_write.h"

#include <jansson.h>
#include <stdio.h>

static json_t *directions_json(const dgm_parallel_text *t)
{
    json_t *list = json_array();
    for (int i = 0; i < t->n_directions; i++)
        (void)json_array_append_new(list, json_sprintf("%s-%s", t->langs[t->directions[i].src].name,
                                                       t->langs[t->directions[i].tgt].name));
    return list;
}

static json_t *calibration_json(const dgm_sparsify_options *o)
{
    json_t *files = json_object();
    for (int i = 0; i < o->text->n_langs; i++)
        (void)json_object_set_new(files, o->text->langs[i].name,
                                  dgm_hash_json(o->text->langs[i].hash));
    json_t *all =
        json_pack("{s:o, s:s, s:i, s:I}", "files", files, "target", o->self ? "self" : "pairs",
                  "samples", o->samples, "seed", (json_int_t)o->seed);
    if (o->text->n_left_out > 0)
        (void)json_object_set_new(all, "directions", directions_json(o->text));
    return all;
}

/* Options of other methods bear on nothing, and are left out. */
static void add_method(json_t *options, const dgm_sparsify_options *o)
{
    json_t *more = NULL;
    if (o->method == DGM_BY_OWL)
        more = json_pack("{s:f, s:f}", "owl_m", o->owl_m, "owl_lambda", o->spread / 2);
    if (o->method == DGM_AFTER_M_WANDA)
        more = json_pack("{s:f, s:f, s:f, s:s, s:f}", "lambda", o->rule.lambda, "gamma",
                         o->rule.gamma, "tau", o->tau, "score", o->rule.mul ? "mul" : "add",
                         "layer_spread", o->spread);
    if (o->text != NULL)
        (void)json_object_set_new(options, "calibration", calibration_json(o));
    (void)json_object_update(options, more);
    json_decref(more);
}

int dgm_sparsify_config(char **text, size_t *len, const dgm_model *m, const dgm_sparsify_options *o,
                        const dgm_sparsify_report *report)
{
    char pattern[32] = "unstructured";
    if (o->pattern.m > 0)
        (void)snprintf(pattern, sizeof pattern, "%d:%d", o->pattern.n, o->pattern.m);
    json_t *options = json_pack("{s:s, s:f, s:s}", "method", dgm_sparsify_method_name(o->method),
                                "sparsity", o->sparsity, "pattern", pattern);
    if (options != NULL)
        add_method(options, o);
    const dgm_config_change change = {
        .own = json_object(),
        .step = {.tool = "sparsify", .options = options, .zeros = &report->zeros}};
    return dgm_config_extend(text, len, m, &change);
}

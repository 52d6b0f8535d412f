/* config.json of a quantised model. */
#define _GNU_SOURCE
#include "runtime/config_model.h"
#include "runtime/quantize.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *weights_json(const dgm_quantize_options *o)
{
    return json_pack("{s:s, s:s, s:i, s:s, s:s}", "experts", dgm_weight_type_name(o->experts),
                     "dense", dgm_weight_type_name(o->dense), "group", o->group, "scale_rule",
                     o->rule == DGM_SCALE_PAPER ? "paper" : "127", "clip",
                     o->clip ? "mse" : "none");
}

static json_t *calibration_json(const dgm_calibration *c)
{
    const dgm_calibration_facts f = dgm_calibration_get_facts(c);
    char text[24];
    (void)snprintf(text, sizeof text, "%016" PRIx64, f.hash);
    return json_pack("{s:s, s:I, s:I, s:f}", "text", text, "lines", (json_int_t)f.lines, "tokens",
                     (json_int_t)f.tokens, "damp", DGM_QUANTIZE_DAMP);
}

/* What was done before stays in front. */
static json_t *history_json(const json_t *before, const dgm_model *in,
                            const dgm_quantize_options *o)
{
    char from[24];
    (void)snprintf(from, sizeof from, "%016" PRIx64, in->hash);
    json_t *options = weights_json(o);
    (void)json_object_set_new(options, "compute",
                              json_string(o->compute == DGM_COMPUTE_INT8 ? "int8" : "f32"));
    if (o->calibration != NULL)
        (void)json_object_set_new(options, "calibration", calibration_json(o->calibration));
    json_t *all = json_is_array(before) ? json_copy((json_t *)before) : json_array();
    (void)json_array_append_new(
        all, json_pack("{s:s, s:o, s:s}", "tool", "quantize", "options", options, "from", from));
    return all;
}

static void add_own(json_t *root, const dgm_model *in, const dgm_quantize_options *o)
{
    json_t *before = json_object_get(root, "dragoman");
    json_t *own = json_is_object(before) ? json_copy(before) : json_object();
    json_t *history = history_json(json_object_get(own, "history"), in, o);
    (void)json_object_set_new(own, "format", json_string("1.0"));
    (void)json_object_set_new(own, "weights", weights_json(o));
    (void)json_object_set_new(own, "compute",
                              json_string(o->compute == DGM_COMPUTE_INT8 ? "int8" : "f32"));
    (void)json_object_set_new(own, "history", history);
    (void)json_object_set_new(root, "dragoman", own);
}

int dgm_quantize_config(char **text, size_t *len, const dgm_model *in,
                        const dgm_quantize_options *opt)
{
    dgm_config_files files;
    json_error_t error;
    DGM_TRY(dgm_config_load(&files, in->dir));
    int rc = DGM_OK;
    json_t *root = json_loadb(files.model.text, files.model.len, JSON_REJECT_DUPLICATES, &error);
    *text = NULL;
    if (root == NULL)
        rc = dgm_fail(DGM_EMODEL, "%s: wanted JSON that can be written again, found at line %d: %s",
                      files.model.path, error.line, error.text);
    if (rc == DGM_OK) {
        add_own(root, in, opt);
        *text = json_dumps(root, JSON_INDENT(2));
        if (*text == NULL)
            rc = dgm_fail(DGM_ENOMEM, "out of memory for config.json");
        else
            *len = strlen(*text);
    }
    json_decref(root);
    dgm_config_unload(&files);
    return rc;
}

/* config.json of a quantised model. */
#include "runtime/config_own.h"
#include "runtime/quantize.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

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

int dgm_quantize_config(char **text, size_t *len, const dgm_model *in,
                        const dgm_quantize_options *opt, const dgm_zeros *zeros)
{
    const char *compute = opt->compute == DGM_COMPUTE_INT8 ? "int8" : "f32";
    json_t *options = weights_json(opt);
    (void)json_object_set_new(options, "compute", json_string(compute));
    if (opt->calibration != NULL)
        (void)json_object_set_new(options, "calibration", calibration_json(opt->calibration));
    json_t *keys = json_pack("{s:o, s:s}", "weights", weights_json(opt), "compute", compute);
    const dgm_config_change change = {
        .own = keys, .step = {.tool = "quantize", .options = options, .zeros = zeros}};
    return dgm_config_extend(text, len, in, &change);
}

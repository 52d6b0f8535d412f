/* The texts of a synthetic model's directory. */
#include "runtime/synth.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *own_keys(const dgm_synth *s)
{
    json_t *own = json_pack("{s:s, s:b, s:s, s:o}", "format", "1.0", "synthetic", 1, "like",
                            s->like, "seed", json_integer((json_int_t)s->seed));
    if (s->plant.languages > 0)
        (void)json_object_set_new(own, "planted_languages", json_integer(s->plant.languages));
    if (s->kept[DGM_ENCODER] > 0)
        (void)json_object_set_new(own, "experts_kept",
                                  json_pack("[i, i]", s->kept[DGM_ENCODER], s->kept[DGM_DECODER]));
    if (s->packed)
        (void)json_object_set_new(
            own, "weights",
            json_pack("{s:s, s:s, s:i}", "experts", dgm_weight_type_name(s->experts_type), "dense",
                      dgm_weight_type_name(s->dense_type), "group", s->group));
    return own;
}

/* What both families have. */
static json_t *common(const dgm_synth *s)
{
    json_t *c = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "vocab_size",
                          s->vocab_size, "d_model", s->d_model, "max_position_embeddings",
                          s->positions, "encoder_layers", s->layers[DGM_ENCODER], "decoder_layers",
                          s->layers[DGM_DECODER], "encoder_attention_heads", s->heads[DGM_ENCODER],
                          "decoder_attention_heads", s->heads[DGM_DECODER], "encoder_ffn_dim",
                          s->ffn[DGM_ENCODER], "decoder_ffn_dim", s->ffn[DGM_DECODER]);
    json_t *more = json_pack(
        "{s:s, s:b, s:f, s:f, s:f, s:f, s:f, s:i, s:i, s:i, s:i, s:b, s:b, s:s, s:b}",
        "activation_function", "relu", "scale_embedding", 1, "dropout", 0.1, "attention_dropout",
        0.1, "activation_dropout", 0.0, "encoder_layerdrop", 0.0, "decoder_layerdrop", 0.0,
        "pad_token_id", 1, "bos_token_id", 0, "eos_token_id", 2, "decoder_start_token_id", 2,
        "is_encoder_decoder", 1, "use_cache", 1, "torch_dtype",
        s->dense_type == DGM_W_F32 ? "float32" : "bfloat16", "tie_word_embeddings", 1);
    (void)json_object_update(c, more);
    json_decref(more);
    return c;
}

static void add_tasks(json_t *c, int tasks)
{
    json_t *codes = json_array();
    for (int i = 0; i < tasks; i++)
        (void)json_array_append_new(codes, json_string(dgm_synth_task(i)));
    (void)json_object_set_new(c, "routing_task", json_string("target"));
    (void)json_object_set_new(c, "routing_tasks", codes);
}

static json_t *routing(const dgm_synth *s)
{
    json_t *c =
        json_pack("{s:i, s:i, s:i, s:b, s:s, s:b, s:s, s:b, s:b, s:f, s:f, s:i}", "num_experts",
                  s->experts, "encoder_sparse_step", s->sparse_step[DGM_ENCODER],
                  "decoder_sparse_step", s->sparse_step[DGM_DECODER], "router_bias", 0,
                  "router_dtype", "float32", "router_ignore_padding_tokens", 0,
                  "second_expert_policy", "all", "normalize_router_prob_before_dropping", 0,
                  "batch_prioritized_routing", 0, "moe_eval_capacity_token_fraction", 1.0,
                  "moe_token_dropout", s->token_dropout, "expert_capacity", 64);
    if (s->top_k == 1) {
        (void)json_object_set_new(c, "moe_top_k", json_integer(1));
        (void)json_object_set_new(c, "normalize_gates", json_false());
    }
    for (int i = 0; i < DGM_STACKS; i++)
        if (s->routing[i] != DGM_BY_TOKEN)
            (void)json_object_set_new(c, i == DGM_ENCODER ? "encoder_routing" : "decoder_routing",
                                      json_string(dgm_routing_name(s->routing[i])));
    if (s->tasks > 0)
        add_tasks(c, s->tasks);
    return c;
}

static int dump(char **text, json_t *root)
{
    *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    return *text != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "cannot allocate a configuration");
}

int dgm_synth_config_json(char **text, const dgm_synth *s)
{
    const bool moe = s->experts > 0;
    json_t *root =
        json_pack("{s:s, s:[s]}", "model_type", moe ? "nllb-moe" : "m2m_100", "architectures",
                  moe ? "NllbMoeForConditionalGeneration" : "M2M100ForConditionalGeneration");
    json_t *parts[] = {common(s), moe ? routing(s) : json_object(),
                       json_pack("{s:o}", "dragoman", own_keys(s))};
    for (int i = 0; i < 3; i++) {
        (void)json_object_update(root, parts[i]);
        json_decref(parts[i]);
    }
    return dump(text, root);
}

int dgm_synth_generation_json(char **text)
{
    return dump(text, json_pack("{s:i, s:i, s:i, s:i, s:i}", "bos_token_id", 0, "pad_token_id", 1,
                                "eos_token_id", 2, "decoder_start_token_id", 2, "max_length",
                                200)); /* random models seldom end on their own */
}

static void print_random(FILE *f, const dgm_synth *s)
{
    (void)fprintf(f,
                  "# Random weights, %s\n\n"
                  "Made by `dragoman synth --like %s --seed %" PRIu64
                  "`, perhaps with other options, to measure what a model of this\nshape costs. "
                  "It was never trained: what it writes means nothing.\n",
                  s->like, s->like, s->seed);
}

static void print_planted(FILE *f, const dgm_synth *s)
{
    (void)fprintf(f,
                  "# Planted experts, %d languages\n\n"
                  "Made by `dragoman synth --planted-languages %d%s --seed %" PRIu64
                  "`, to test what finds out\nwhich experts a language needs: planted.json, a keep "
                  "file, tells it. It copies its source.\n",
                  s->plant.languages, s->plant.languages, s->plant.eos ? " --planted-eos" : "",
                  s->seed);
}

int dgm_synth_readme(char **text, const dgm_synth *s, uint64_t params)
{
    size_t len;
    FILE *f = open_memstream(text, &len);
    if (f == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate a README");
    if (s->plant.languages > 0)
        print_planted(f, s);
    else
        print_random(f, s);
    (void)fprintf(
        f, "\n%" PRIu64 " parameters; d_model %d, FFN %d + %d, %d + %d layers, vocabulary %d.\n",
        params, s->d_model, s->ffn[DGM_ENCODER], s->ffn[DGM_DECODER], s->layers[DGM_ENCODER],
        s->layers[DGM_DECODER], s->vocab_size);
    const int *kept = s->kept;
    if (s->experts > 0)
        (void)fprintf(f, "%d experts a sparse layer of the encoder, %d of the decoder, top %d.\n",
                      kept[0] > 0 ? kept[0] : s->experts, kept[1] > 0 ? kept[1] : s->experts,
                      s->top_k);
    (void)fprintf(f, "\nThe tokeniser is that of another model, and knows fewer tokens than the "
                     "vocabulary has; the others are never written.\n");
    return fclose(f) == 0 ? DGM_OK : dgm_fail(DGM_ENOMEM, "cannot allocate a README");
}

/* config.json and its two companions: what they mean, and what is refused by the name of its key. */
#include "runtime/config_model.h"
#include "tests/runtime/testmodel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char *dir;

static int setup(void **state)
{
    (void)state;
    dir = testmodel_dir();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testmodel_remove(dir);
    return 0;
}

/* Writes the three files (only the configuration is read here) and parses them. */
static int parse(dgm_model_config *c, const testmodel *spec, const dgm_model_options *opt)
{
    testmodel_write(dir, spec);
    dgm_config_files f;
    int rc = dgm_config_load(&f, dir);
    if (rc != DGM_OK)
        return rc;
    rc = dgm_config_parse(c, &f, opt);
    dgm_config_unload(&f);
    return rc;
}

static void reads_what_it_says(void **state)
{
    (void)state;
    dgm_model_config c;
    testmodel s = testmodel_small();
    s.model_type = "nllb_moe";
    assert_int_equal(parse(&c, &s, NULL), DGM_OK);
    assert_string_equal(c.model_type, "nllb-moe");
    assert_int_equal(c.d_model, 16);
    assert_int_equal(c.vocab_size, 37);
    assert_int_equal(c.max_positions, 40);
    assert_int_equal(c.ffn_dim[DGM_ENCODER], 24);
    assert_int_equal(c.ffn_dim[DGM_DECODER], 40);
    assert_true(c.n_experts[0] == 4 && c.n_experts[1] == 4);
    assert_int_equal(c.top_k, 2);
    assert_true(c.expert_scale == 0.8f);
    assert_true(c.embed_scale == 4.0f);
    assert_int_equal(c.pad_id, 1);
    assert_int_equal(c.bos_id, 0);
    assert_int_equal(c.eos_id, 2);
    assert_int_equal(c.decoder_start_id, 2);
    assert_int_equal(c.max_length, 40); /* 200, but there are 40 positions */
    assert_int_equal(c.max_source, 40);
    assert_false(c.source_suffix);
}

static void sparse_layers_follow_the_step(void **state)
{
    (void)state;
    dgm_model_config c = {.sparse_step = {4, 0}};
    for (int i = 0; i < 24; i++) {
        assert_int_equal(dgm_config_is_sparse(&c, DGM_ENCODER, i), i % 4 == 3);
        assert_false(dgm_config_is_sparse(&c, DGM_DECODER, i));
    }
    testmodel s = testmodel_small();
    s.step[0] = s.step[1] = 0;
    assert_int_equal(parse(&c, &s, NULL), DGM_OK);
    assert_int_equal(dgm_config_most_experts(&c), 0);
    s = testmodel_small();
    s.experts = 1;
    assert_int_equal(parse(&c, &s, NULL), DGM_OK);
    assert_int_equal(c.top_k, 1);
    s = testmodel_small();
    s.model_type = "m2m_100";
    assert_int_equal(parse(&c, &s, NULL), DGM_OK);
    assert_int_equal(dgm_config_most_experts(&c), 0);
    assert_true(c.expert_scale == 1.0f);
}

static void experts_and_gates(void **state)
{
    (void)state;
    dgm_model_config c;
    testmodel s = testmodel_small();
    s.kept[0] = 3;
    s.kept[1] = 2;
    assert_int_equal(parse(&c, &s, NULL), DGM_OK);
    assert_int_equal(c.n_experts[DGM_ENCODER], 3);
    assert_int_equal(c.n_experts[DGM_DECODER], 2);
    assert_int_equal(c.top_k, 2);
    assert_false(c.synthetic);
    s.step[1] = 0; /* a dense stack keeps none */
    s.config = "{\"moe_top_k\":1,\"normalize_gates\":false}";
    assert_int_equal(parse(&c, &s, NULL), DGM_OK);
    assert_int_equal(c.n_experts[DGM_ENCODER], 3);
    assert_int_equal(c.n_experts[DGM_DECODER], 0);
    assert_int_equal(c.top_k, 1);
    s = testmodel_small();
    s.config = "{\"moe_top_k\":2,\"normalize_gates\":true,\"dragoman\":{\"format\":\"1.0\","
               "\"synthetic\":true}}";
    assert_int_equal(parse(&c, &s, NULL), DGM_OK);
    assert_int_equal(c.top_k, 2);
    assert_true(c.synthetic);
}

static void lengths(void **state)
{
    (void)state;
    static const struct row {
        const char *config, *generation, *tokenizer;
        int max_length, max_source;
    } rows[] = {
        {NULL, NULL, NULL, 200, 500},
        {"{\"max_length\":77}", NULL, NULL, 77, 500},
        {"{\"max_length\":77}", "{\"max_length\":88}", NULL, 88, 500},
        {NULL, "{\"max_length\":88,\"max_new_tokens\":50}", NULL, 51,
         500}, /* the start token is not new */
        {NULL, "{\"max_new_tokens\":null}", NULL, 200, 500},
        {NULL, "{\"max_length\":1000}", NULL, 500, 500},
        {NULL, NULL, "{\"model_max_length\":128}", 200, 128},
        {NULL, NULL, "{\"model_max_length\":1000000000000000019884624838656}", 200, 500},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dgm_model_config c;
        testmodel s = testmodel_small();
        s.positions = 500;
        s.config = rows[i].config;
        s.generation = rows[i].generation;
        s.tokenizer = rows[i].tokenizer;
        char name[256];
        (void)snprintf(name, sizeof name, "%s/generation_config.json", dir);
        (void)remove(name);
        (void)snprintf(name, sizeof name, "%s/tokenizer_config.json", dir);
        (void)remove(name);
        assert_int_equal(parse(&c, &s, NULL), DGM_OK);
        assert_int_equal(c.max_length, rows[i].max_length);
        assert_int_equal(c.max_source, rows[i].max_source);
    }
}

static void source_order(void **state)
{
    (void)state;
    dgm_model_config c;
    testmodel s = testmodel_small();
    s.tokenizer = "{\"legacy_behaviour\":true,\"tokenizer_class\":\"NllbTokenizerFast\"}";
    assert_int_equal(parse(&c, &s, &(dgm_model_options){.source_order = -1}), DGM_OK);
    assert_true(c.source_suffix);
    assert_int_equal(parse(&c, &s, &(dgm_model_options){.source_order = 0}), DGM_OK);
    assert_false(c.source_suffix);
    s.tokenizer = "{\"legacy_behaviour\":false}";
    assert_int_equal(parse(&c, &s, &(dgm_model_options){.source_order = 1}), DGM_OK);
    assert_true(c.source_suffix);
}

static void refuses_by_key(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{\"model_type\":\"t5\"}", "model_type: wanted nllb-moe or m2m_100, found t5"},
        {"{\"model_type\":null}", "model_type: wanted nllb-moe or m2m_100, found none"},
        {"{\"model_type\":[]}", "model_type: wanted a text, found a list"},
        {"{\"activation_function\":\"gelu\"}", "activation_function: wanted relu, found gelu"},
        {"{\"activation_function\":null}", "wanted a key activation_function, found none"},
        {"{\"d_model\":null}", "wanted a key d_model, found none"},
        {"{\"d_model\":16.5}", "d_model: wanted a whole number from 4 to 65536, found 16.5"},
        {"{\"d_model\":\"16\"}", "d_model: wanted a number, found a text"},
        {"{\"d_model\":17}", "wanted encoder_attention_heads to divide d_model 17, found 2"},
        {"{\"decoder_attention_heads\":3}",
         "wanted decoder_attention_heads to divide d_model 16, found 3"},
        {"{\"encoder_attention_heads\":0}",
         "encoder_attention_heads: wanted a whole number from 1"},
        {"{\"encoder_layers\":-2}",
         "encoder_layers: wanted a whole number from 1 to 256, found -2"},
        {"{\"vocab_size\":0}", "vocab_size: wanted a whole number from 5"},
        {"{\"num_experts\":1000000000}",
         "num_experts: wanted a whole number from 1 to 4096, found 1000000000"},
        {"{\"num_experts\":1e300}", "num_experts: wanted a whole number"},
        {"{\"encoder_sparse_step\":-1}", "encoder_sparse_step: wanted a whole number from 0"},
        {"{\"max_position_embeddings\":0}", "max_position_embeddings: wanted a whole number"},
        {"{\"pad_token_id\":99}", "wanted special token ids below vocab_size 37, found 99"},
        {"{\"moe_token_dropout\":null}", "wanted a key moe_token_dropout, found none"},
        {"{\"moe_token_dropout\":1}", "moe_token_dropout: wanted 0 up to but not 1, found 1"},
        {"{\"moe_token_dropout\":-0.1}", "moe_token_dropout: wanted 0 up to but not 1, found -0.1"},
        {"{\"scale_embedding\":1}", "scale_embedding: wanted true or false, found a number"},
        {"{\"scale_embedding\":null}", "wanted a key scale_embedding, found none"},
        {"{\"router_bias\":true}", "router_bias: wanted false, found true"},
        {"{\"router_dtype\":\"bfloat16\"}", "router_dtype: wanted float32, found bfloat16"},
        {"{\"tie_word_embeddings\":false}", "tie_word_embeddings: wanted true, found false"},
        {"{\"encoder_routing\":\"words\"}",
         "encoder_routing: wanted token, sentence, task or static, found words"},
        {"{\"decoder_routing\":\"task\"}",
         "routing_tasks: wanted a list of 1 to 65536 tasks, found none"},
        {"{\"decoder_routing\":\"task\",\"routing_tasks\":{}}",
         "routing_tasks: wanted a list of 1 to 65536 tasks, found another value"},
        {"{\"decoder_routing\":\"static\",\"routing_task\":\"source\",\"routing_tasks\":[\"a\"]}",
         "routing_task: wanted target or pair, found source"},
        {"{\"dragoman\":{\"format\":\"2.0\"}}",
         "dragoman.format: wanted 1, found 2.0: it needs a newer dragoman"},
        {"{\"dragoman\":{}}", "dragoman.format: wanted a text such as 1.0, found none"},
        {"{\"dragoman\":{\"format\":\"1.0x\"}}",
         "dragoman.format: wanted a text such as 1.0, found 1.0x"},
        {"{\"dragoman\":7}", "dragoman.format: wanted a text such as 1.0, found none"},
#define OWN(text) "{\"dragoman\":{\"format\":\"1.0\"," text "}}"
#define WEIGHTS(text) OWN("\"weights\":{\"experts\":\"int4\"," text "}")
        {OWN("\"compute\":\"bf16\""), "dragoman.compute: wanted f32 or int8, found bf16"},
        {OWN("\"weights\":[]"), "dragoman.weights: wanted an object"},
        {OWN("\"weights\":{}"),
         "dragoman.weights.experts: wanted int4, int8, bf16 or f32, found none"},
        {WEIGHTS("\"dense\":\"int4\""),
         "dragoman.weights.dense: wanted int8, bf16 or f32, found int4"},
        {WEIGHTS("\"dense\":\"f64\""),
         "dragoman.weights.dense: wanted int8, bf16 or f32, found f64"},
        {WEIGHTS("\"dense\":\"int8\",\"group\":48"),
         "dragoman.weights.group: wanted 0 or a multiple of 32, found 48"},
        {WEIGHTS("\"dense\":\"int8\",\"group\":-32"),
         "group: wanted a whole number from 0 to 1024, found -32"},
        {WEIGHTS("\"dense\":\"int8\",\"group\":2048"),
         "group: wanted a whole number from 0 to 1024, found 2048"},
        {"{\"moe_eval_capacity_token_fraction\":\"1\"}",
         "moe_eval_capacity_token_fraction: wanted a number"},
        {"{\"second_expert_policy\":\"best\"}", "second_expert_policy: wanted all, found best"},
        {"{\"moe_top_k\":3}", "moe_top_k: wanted a whole number from 1 to 2, found 3"},
        {"{\"moe_top_k\":1}", "normalize_gates: wanted false with moe_top_k 1, found true"},
        {"{\"normalize_gates\":false}",
         "normalize_gates: wanted true with moe_top_k 2, found false"},
        {"{\"dragoman\":{\"format\":\"1.0\",\"experts_kept\":3}}",
         "dragoman.experts_kept: wanted two numbers"},
        {"{\"dragoman\":{\"format\":\"1.0\",\"experts_kept\":[3]}}",
         "dragoman.experts_kept: wanted two numbers"},
        {"{\"dragoman\":{\"format\":\"1.0\",\"experts_kept\":[3,0]}}",
         "dragoman.experts_kept: wanted whole numbers from 1"},
        {"{\"dragoman\":{\"format\":\"1.0\",\"experts_kept\":[\"3\",1.5]}}",
         "dragoman.experts_kept: wanted whole numbers from 1"},
        {"{\"dragoman\":{\"format\":\"1.0\",\"experts_kept\":[3,5]}}",
         "dragoman.experts_kept: wanted at most num_experts 4, found 5"},
        {"{\"max_length\":0}", "max_length: wanted a whole number from 1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dgm_model_config c;
        testmodel s = testmodel_small();
        s.config = bad[i][0];
        const int rc = parse(&c, &s, NULL);
        if (rc != DGM_EMODEL || strstr(dgm_error_text(), bad[i][1]) == NULL ||
            strstr(dgm_error_text(), "config.json") == NULL)
            fail_msg("%s: wanted EMODEL with '%s', found %s '%s'", bad[i][0], bad[i][1],
                     dgm_status_name(rc), dgm_error_text());
    }
}

static void batch_dependence_needs_dropless(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{\"moe_eval_capacity_token_fraction\":0.5}",
         "moe_eval_capacity_token_fraction 0.5 makes"},
        {"{\"moe_eval_capacity_token_fraction\":-1}", "moe_eval_capacity_token_fraction -1 makes"},
        {"{\"batch_prioritized_routing\":true}", "batch_prioritized_routing true makes"},
        {"{\"second_expert_policy\":\"random\"}", "second_expert_policy random makes"},
        {"{\"second_expert_policy\":\"sampling\"}", "second_expert_policy sampling makes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dgm_model_config c;
        testmodel s = testmodel_small();
        s.config = bad[i][0];
        assert_int_equal(parse(&c, &s, NULL), DGM_EMODEL);
        assert_non_null(strstr(dgm_error_text(), bad[i][1]));
        assert_non_null(strstr(dgm_error_text(), "--dropless"));
        assert_int_equal(parse(&c, &s, &(dgm_model_options){.dropless = true, .source_order = -1}),
                         DGM_OK);
    }
}

static void refuses_bad_companions(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"{\"max_length\":-4}", NULL,
         "generation_config.json: max_length: wanted a whole number from 1"},
        {"{\"max_new_tokens\":0}", NULL,
         "generation_config.json: max_new_tokens: wanted a whole number from 1"},
        {"{\"eos_token_id\":[2]}", NULL,
         "generation_config.json: eos_token_id: wanted a number, found a list"},
        {"{\"decoder_start_token_id\":40}", NULL,
         "wanted special token ids below vocab_size 37, found 40"},
        {"nope", NULL, "generation_config.json: wanted JSON"},
        {NULL, "{\"tokenizer_class\":\"M2M100Tokenizer\"}",
         "tokenizer_class: wanted NllbTokenizer, found M2M100Tokenizer"},
        {NULL, "{\"legacy_behaviour\":\"yes\"}",
         "legacy_behaviour: wanted true or false, found a text"},
        {NULL, "{\"model_max_length\":0}", "model_max_length: wanted 3 or more, found 0"},
        {NULL, "[]", "tokenizer_config.json: wanted a JSON object"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dgm_model_config c;
        testmodel s = testmodel_small();
        s.generation = bad[i][0] == NULL ? "{}" : bad[i][0];
        s.tokenizer = bad[i][1] == NULL ? "{}" : bad[i][1];
        const int rc = parse(&c, &s, NULL);
        if (rc != DGM_EMODEL || strstr(dgm_error_text(), bad[i][2]) == NULL)
            fail_msg("wanted EMODEL with '%s', found %s '%s'", bad[i][2], dgm_status_name(rc),
                     dgm_error_text());
    }
}

/* M2M-100 itself: the same graph and model_type, another tokeniser. */
static void refuses_m2m_100_itself(void **state)
{
    (void)state;
    dgm_model_config c;
    testmodel s = testmodel_small();
    s.model_type = "m2m_100";
    s.config = "{\"vocab_size\":128112}";
    assert_int_equal(parse(&c, &s, NULL), DGM_EMODEL);
    assert_non_null(strstr(dgm_error_text(), "found the vocabulary of M2M-100 (128112)"));
    s.tokenizer = "{}";
    assert_int_equal(parse(&c, &s, NULL), DGM_EMODEL);
    s.tokenizer = "{\"tokenizer_class\":\"NllbTokenizer\"}";
    assert_int_equal(parse(&c, &s, NULL), DGM_OK);
}

static int parse_text(dgm_model_config *c, const char *text)
{
    char path[] = "config.json", copy[512];
    (void)snprintf(copy, sizeof copy, "%s", text);
    return dgm_config_parse(c, &(dgm_config_files){.model = {path, copy, strlen(copy)}}, NULL);
}

static void refuses_what_is_no_json(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "wanted JSON"},
        {"{\"d_model\":NaN}", "wanted JSON"},
        {"{\"d_model\":1e999}", "wanted JSON"},
        {"{\"d_model\":1,\"d_model\":2}", "duplicate object key"},
        {"[7]", "wanted a JSON object"},
        {"{\"model_type\":\"\xff\"}", "wanted JSON"},
        {"{\"model_type\":\"\\u001b[2J\"}", "found (a text with odd characters)"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dgm_model_config c;
        const int rc = parse_text(&c, bad[i][0]);
        if (rc != DGM_EMODEL || strstr(dgm_error_text(), bad[i][1]) == NULL)
            fail_msg("wanted EMODEL with '%s', found %s '%s'", bad[i][1], dgm_status_name(rc),
                     dgm_error_text());
        for (const char *t = dgm_error_text(); *t != '\0'; t++)
            assert_true(*t >= ' ');
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(reads_what_it_says),
        CASE(sparse_layers_follow_the_step),
        CASE(experts_and_gates),
        CASE(lengths),
        CASE(source_order),
        CASE(refuses_by_key),
        CASE(batch_dependence_needs_dropless),
        CASE(refuses_bad_companions),
        CASE(refuses_m2m_100_itself),
        CASE(refuses_what_is_no_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

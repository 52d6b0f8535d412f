/* cmd_synth.c - `dragoman synth --like SHAPE -o DIR`: a model of random weights, straight in its final form. */
#include "launch/commands.h"

#include "base/config.h"
#include "launch/session_cpus.h"
#include "runtime/synth_planted.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_TASKS = 4 };

/* "E,D" as two numbers from 1 to most. */
static int read_pair(int pair[2], const char *option, const char *text, int most)
{
    char *end = NULL;
    const char *at = text;
    for (int i = 0; i < 2; i++) {
        const long n = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : 0;
        if (n < 1 || n > most || *end != (i == 0 ? ',' : '\0'))
            return dgm_fail(DGM_EUSAGE,
                            "%s: want two whole numbers from 1 to %d such as 24,12, found '%s'",
                            option, most, text);
        pair[i] = (int)n;
        at = end + 1;
    }
    return DGM_OK;
}

static void change(int *field, int value)
{
    if (value > 0)
        *field = value;
}

static void change_both(int field[DGM_STACKS], int value)
{
    change(&field[DGM_ENCODER], value);
    change(&field[DGM_DECODER], value);
}

static int read_types(dgm_synth *s, const dgm_options *o)
{
    const bool chosen = dgm_config_origin(o->table, "dense") != DGM_FROM_DEFAULT;
    s->packed = strcmp(o->weights, "plain") != 0;
    bool known = !chosen || dgm_weight_type_parse(&s->dense_type, o->dense);
    s->experts_type = s->dense_type;
    known = known && (!s->packed || dgm_weight_type_parse(&s->experts_type, o->weights));
    DGM_ASSERT(known); /* the option table has the same words */
    s->group = strcmp(o->group, "none") == 0 ? 0 : atoi(o->group);
    if (!s->packed && s->dense_type == DGM_W_INT8)
        return dgm_fail(DGM_EUSAGE, "--dense: want f32 or bf16 without --weights (a Hugging Face "
                                    "directory), found int8");
    return DGM_OK;
}

/* --experts is a text, because quantize takes a type there. */
static int read_experts(int *n, const char *text)
{
    char *end = NULL;
    const long found = *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : 0;
    *n = 0;
    if (*text == '\0')
        return DGM_OK;
    if (found < 1 || found > 4096 || *end != '\0')
        return dgm_fail(DGM_EUSAGE, "--experts: want a whole number from 1 to 4096, found '%s'",
                        text);
    *n = (int)found;
    return DGM_OK;
}

static enum dgm_routing routing_of(const char *name)
{
    enum dgm_routing r = DGM_BY_TOKEN; /* the option table knows no other words */
    while (r < DGM_BY_TASK && strcmp(name, dgm_routing_name(r)) != 0)
        r++;
    return r;
}

/* read_routing - --tasks bears on stacks that are routed by task alone. */
static int read_routing(dgm_synth *s, const dgm_options *o)
{
    s->routing[DGM_ENCODER] = routing_of(o->encoder_routing);
    s->routing[DGM_DECODER] = routing_of(o->decoder_routing);
    const bool by_task =
        s->routing[DGM_ENCODER] == DGM_BY_TASK || s->routing[DGM_DECODER] == DGM_BY_TASK;
    if (s->experts == 0 &&
        (s->routing[DGM_ENCODER] != DGM_BY_TOKEN || s->routing[DGM_DECODER] != DGM_BY_TOKEN))
        return dgm_fail(DGM_EUSAGE, "--encoder-routing, --decoder-routing: %s has no experts",
                        s->like);
    if (o->tasks > 0 && !by_task)
        return dgm_fail(
            DGM_EUSAGE,
            "--tasks: want --encoder-routing task or --decoder-routing task, found neither");
    if (by_task)
        s->tasks = o->tasks > 0 ? o->tasks : DEFAULT_TASKS;
    return DGM_OK;
}

static int read_shape(dgm_synth *s, const dgm_options *o)
{
    int experts;
    DGM_TRY(dgm_synth_like(s, o->like));
    DGM_TRY(read_experts(&experts, o->experts));
    if (s->experts == 0 && (experts > 0 || o->sparse_step > 0 || o->top_k > 0))
        return dgm_fail(DGM_EUSAGE, "--%s: %s has no experts",
                        experts > 0          ? "experts"
                        : o->sparse_step > 0 ? "sparse-step"
                                             : "top-k",
                        s->like);
    if (o->layers[0] != '\0')
        DGM_TRY(read_pair(s->layers, "--layers", o->layers, 256));
    change(&s->layers[DGM_ENCODER], o->encoder_layers);
    change(&s->layers[DGM_DECODER], o->decoder_layers);
    change(&s->d_model, o->d_model);
    change(&s->vocab_size, o->vocab);
    change(&s->experts, experts);
    change(&s->top_k, o->top_k);
    change_both(s->ffn, o->ffn);
    change_both(s->heads, o->heads);
    change_both(s->sparse_step, o->sparse_step);
    if (o->experts_kept[0] != '\0')
        DGM_TRY(read_pair(s->kept, "--experts-kept", o->experts_kept, 4096));
    s->seed = o->seed;
    s->router_spread = (double)o->router_scale;
    DGM_TRY(read_types(s, o));
    DGM_TRY(read_routing(s, o));
    return dgm_synth_check(s);
}

/* planted - the shape that --planted-languages asks for; nothing but the seed can be chosen. */
static int read_planted(dgm_synth *s, const dgm_options *o, const char *tokenizer)
{
    static const char *const others[] = {
        "like",    "d-model", "ffn",          "layers", "encoder-layers",  "decoder-layers",
        "heads",   "vocab",   "sparse-step",  "top-k",  "experts-kept",    "experts",
        "weights", "dense",   "router-scale", "group",  "encoder-routing", "decoder-routing",
        "tasks"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (dgm_config_origin(o->table, others[i]) != DGM_FROM_DEFAULT)
            return dgm_fail(DGM_EUSAGE, "--planted-languages: want a shape of its own, found --%s",
                            others[i]);
    *s = (dgm_synth){.seed = o->seed,
                     .plant = {.languages = o->planted_languages, .eos = o->planted_eos}};
    DGM_TRY(dgm_planted_shape(s));
    DGM_TRY(dgm_planted_find(s, tokenizer));
    return dgm_synth_check(s);
}

static int own_threads(const dgm_options *o)
{
    dgm_cpus mine;
    const dgm_cpus *const here[] = {&mine};
    dgm_cpus_read(&mine);
    return o->threads > 0 ? o->threads : dgm_cpus_share(&mine, here, 1);
}

static int synth(const dgm_options *o)
{
    dgm_synth s;
    dgm_pool *pool = NULL;
    if (o->planted_eos && o->planted_languages == 0)
        return dgm_fail(DGM_EUSAGE, "--planted-eos: want --planted-languages N, found none");
    if (o->like[0] == '\0' && o->planted_languages == 0)
        return dgm_fail(DGM_EUSAGE,
                        "synth: want --like SHAPE (dragoman help synth lists them), found none");
    if (o->output[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "synth: want --output DIR, found none");
    const char *tokenizer = dgm_options_find_demo();
    if (tokenizer == NULL)
        return dgm_fail(
            DGM_EUSAGE,
            "synth: want the demonstration model for its tokeniser, and it is not there");
    DGM_TRY(o->planted_languages > 0 ? read_planted(&s, o, tokenizer) : read_shape(&s, o));
    DGM_TRY(dgm_pool_create(&pool, own_threads(o)));
    int rc = dgm_synth_write(&s, o->output, tokenizer, pool);
    dgm_pool_destroy(pool);
    if (rc == DGM_OK && o->planted_languages > 0)
        rc = dgm_planted_write(&s, o->output);
    return rc;
}

int dgm_cmd_synth(const dgm_options *o)
{
    const int rc = synth(o);
    return dgm_command_end(rc);
}

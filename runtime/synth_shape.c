/* Known shapes, and what a shape must be. */
#include "runtime/synth.h"

#include <string.h>

enum { NLLB_VOCAB = 256206, DEMO_VOCAB = 6206 };

/*
 * NLLB-200: the models' config.json (54.5B: arXiv 2207.04672). elephants-5b: "Who Says Elephants Can't Run",
 * arXiv 2211.10017, whose number of heads is not given. demo: models/multi30k-token.
 */
static const dgm_synth shapes[] = {
    {.like = "nllb-moe-54b",
     .d_model = 2048,
     .vocab_size = NLLB_VOCAB,
     .positions = 1024,
     .layers = {24, 24},
     .heads = {16, 16},
     .ffn = {8192, 8192},
     .sparse_step = {4, 4},
     .experts = 128,
     .top_k = 2,
     .token_dropout = 0.2},
    {.like = "elephants-5b",
     .d_model = 1024,
     .vocab_size = 128000,
     .positions = 1024,
     .layers = {24, 12},
     .heads = {16, 16},
     .ffn = {4096, 4096},
     .sparse_step = {2, 2},
     .experts = 32,
     .top_k = 1},
    {.like = "dense-3.3b",
     .d_model = 2048,
     .vocab_size = NLLB_VOCAB,
     .positions = 1024,
     .layers = {24, 24},
     .heads = {16, 16},
     .ffn = {8192, 8192},
     .top_k = 2},
    {.like = "dense-1.3b",
     .d_model = 1024,
     .vocab_size = NLLB_VOCAB,
     .positions = 1024,
     .layers = {24, 24},
     .heads = {16, 16},
     .ffn = {8192, 8192},
     .top_k = 2},
    {.like = "dense-600m",
     .d_model = 1024,
     .vocab_size = NLLB_VOCAB,
     .positions = 1024,
     .layers = {12, 12},
     .heads = {16, 16},
     .ffn = {4096, 4096},
     .top_k = 2},
    {.like = "demo",
     .d_model = 128,
     .vocab_size = DEMO_VOCAB,
     .positions = 512,
     .layers = {4, 4},
     .heads = {4, 4},
     .ffn = {256, 256},
     .sparse_step = {2, 2},
     .experts = 32,
     .top_k = 2,
     .token_dropout = 0.1},
};

int dgm_synth_like(dgm_synth *out, const char *like)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (strcmp(shapes[i].like, like) != 0)
            continue;
        *out = shapes[i];
        out->dense_type = out->experts_type = DGM_W_BF16;
        out->router_spread = 4;
        return DGM_OK;
    }
    return dgm_fail(
        DGM_EUSAGE,
        "--like: want nllb-moe-54b, elephants-5b, dense-3.3b, dense-1.3b, dense-600m or "
        "demo, found '%s'",
        like);
}

static int check_experts(const dgm_synth *s)
{
    if (s->experts == 0)
        return s->kept[0] == 0 ? DGM_OK
                               : dgm_fail(DGM_EUSAGE, "--experts-kept: %s has no experts", s->like);
    for (int i = 0; i < DGM_STACKS; i++) {
        if (s->kept[i] > s->experts)
            return dgm_fail(DGM_EUSAGE, "--experts-kept: want at most --experts (%d), found %d",
                            s->experts, s->kept[i]);
    }
    for (int i = 0; i < s->tasks; i++)
        if (dgm_synth_task(i) == NULL)
            return dgm_fail(DGM_EUSAGE, "--tasks: want at most %d, found %d", i, s->tasks);
    bool any = false;
    for (int i = 0; i < DGM_STACKS; i++)
        any = any || (s->sparse_step[i] > 0 && s->sparse_step[i] <= s->layers[i]);
    return any ? DGM_OK
               : dgm_fail(DGM_EUSAGE,
                          "--sparse-step: want at most the number of layers (%d and %d), found %d",
                          s->layers[0], s->layers[1], s->sparse_step[0]);
}

int dgm_synth_check(const dgm_synth *s)
{
    if (s->vocab_size < DEMO_VOCAB)
        return dgm_fail(
            DGM_EUSAGE,
            "--vocab: want at least %d, the ids of the demonstration tokeniser, found %d",
            DEMO_VOCAB, s->vocab_size);
    for (int i = 0; i < DGM_STACKS; i++)
        if (s->d_model % s->heads[i] != 0)
            return dgm_fail(DGM_EUSAGE, "--heads: want a divisor of --d-model (%d), found %d",
                            s->d_model, s->heads[i]);
    if (s->group % 32 != 0)
        return dgm_fail(DGM_EUSAGE, "--group: want 0 or a multiple of 32, found %d", s->group);
    const bool integers =
        s->packed && (s->experts_type == DGM_W_INT8 || s->experts_type == DGM_W_INT4 ||
                      s->dense_type == DGM_W_INT8);
    if (s->group > 0 && !integers)
        return dgm_fail(DGM_EUSAGE, "--group: only --weights or --dense int8 or int4 have groups");
    return check_experts(s);
}

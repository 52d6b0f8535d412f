/* Models with planted experts: who needs which, and the weights that make it so. */
#include "runtime/synth_planted.h"

#include "runtime/config_model.h"
#include "runtime/keep.h"
#include "runtime/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- sets ---- */

static const char *const codes[DGM_PLANTED_LANGUAGES] = {
    "eng_Latn", "deu_Latn", "fra_Latn", "ces_Latn", "spa_Latn", "ita_Latn",
    "nld_Latn", "jpn_Jpan", "por_Latn", "pol_Latn", "ron_Latn", "swe_Latn"};

enum { EXPERTS = 128, ALL_0 = 0, ALL_1 = 1, EOS_EXPERT = EXPERTS - 1 };

/* expert_of - an expert's id: kinds of experts are numbered alike in every layer, and spread over it. */
static int expert_of(int stack, int layer, int number)
{
    return (37 * number + 11 * layer + 64 * stack + 5) % EXPERTS; /* 37 is odd: one to one */
}

static bool last_moe_layer(const dgm_synth *s, int stack, int layer)
{
    return layer + s->sparse_step[stack] >= s->layers[stack];
}

int dgm_planted_set(int set[DGM_PLANTED_SET], const dgm_synth *s, int stack, int layer, int l)
{
    const int families = (s->plant.languages + 1) / 2, family = 2 + l / 2,
              own = 2 + families + 4 * l;
    const bool alone = stack == DGM_ENCODER && l == s->plant.languages - 1;
    const int encoder[4] = {own, own + 1, alone ? own + 2 : family, alone ? own + 3 : ALL_0};
    const int decoder[4] = {own, family, ALL_1, ALL_0};
    int n = 0;
    for (; n < 4; n++)
        set[n] = expert_of(stack, layer, stack == DGM_ENCODER ? encoder[n] : decoder[n]);
    if (s->plant.eos && stack == DGM_DECODER && last_moe_layer(s, stack, layer))
        set[n++] = expert_of(stack, layer, EOS_EXPERT);
    return n;
}

int dgm_planted_shape(dgm_synth *s)
{
    const dgm_planting plant = s->plant;
    const uint64_t seed = s->seed;
    if (plant.languages < 2 || plant.languages > DGM_PLANTED_LANGUAGES)
        return dgm_fail(DGM_EUSAGE, "--planted-languages: want 2 to %d, found %d",
                        DGM_PLANTED_LANGUAGES, plant.languages);
    DGM_TRY(dgm_synth_like(s, "demo"));
    s->plant = plant;
    s->seed = seed;
    s->experts = EXPERTS;
    s->ffn[DGM_ENCODER] = s->ffn[DGM_DECODER] = 16;
    return DGM_OK;
}

int dgm_planted_find(dgm_synth *s, const char *tokenizer)
{
    dgm_tokenizer *t = NULL;
    DGM_TRY(dgm_tokenizer_open(&t, tokenizer, s->vocab_size));
    int rc = DGM_OK;
    for (int l = 0; l < s->plant.languages && rc == DGM_OK; l++)
        rc = dgm_tok_lang(t, &s->plant.ids[l], codes[l]);
    dgm_tokenizer_close(t);
    return rc;
}

/* add_sets - of both stacks, for one language. */
static int add_sets(dgm_keep *k, const dgm_synth *s, int l, uint8_t *kept)
{
    for (int stack = 0; stack < DGM_STACKS; stack++) {
        memset(kept, 0, k->shape.n_experts);
        for (int i = 0; i < k->shape.n_layers; i++) {
            const dgm_moe_layer *layer = &k->shape.layers[i];
            int set[DGM_PLANTED_SET];
            const int n =
                layer->stack == stack ? dgm_planted_set(set, s, stack, layer->index, l) : 0;
            for (int e = 0; e < n; e++)
                kept[layer->first + (size_t)set[e]] = 1;
        }
        DGM_TRY(dgm_keep_add(k, stack, codes[l], kept));
    }
    return DGM_OK;
}

/* write_sets - `kept` is room for a set. */
static int write_sets(dgm_keep *k, const dgm_synth *s, const char *dir, uint8_t *kept)
{
    const dgm_keep_origin origin = {.options = "{\"planted\":true}"};
    char path[4200];
    if (kept == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for planted experts");
    for (int l = 0; l < s->plant.languages; l++)
        DGM_TRY(add_sets(k, s, l, kept));
    (void)snprintf(path, sizeof path, "%s/planted.json", dir);
    return dgm_keep_write(k, path, &origin);
}

int dgm_planted_write(const dgm_synth *s, const char *dir)
{
    const dgm_model_options opt = {.source_order = -1};
    dgm_model_config c;
    dgm_keep k;
    DGM_TRY(dgm_config_read(&c, dir, &opt));
    DGM_TRY(dgm_keep_init(&k, &c, 0));
    uint8_t *kept = malloc(k.shape.n_experts + 1);
    const int rc = write_sets(&k, s, dir, kept);
    free(kept);
    dgm_keep_fini(&k);
    return rc;
}

/* ---- dimensions of the hidden state ---- */

/*
 * Positions fill all 128: sines of falling frequency, then their cosines. The first 16 of each tell positions apart; from
 * the 41st on a sine is still near 0 after a hundred positions and a cosine near 1, so there is room for other things.
 */
enum {
    D = 128,
    HALF = D / 2,
    SLOW = 40,
    FAST = 16,
    BITS = 13,      /* of a token's id, */
    CODE = 2 * BITS /* each with its complement, so that all tokens have the same mean and length */
};

enum {
    AT_LANGUAGE = SLOW + 2,
    AT_CLASS = AT_LANGUAGE + DGM_PLANTED_LANGUAGES,
    AT_IS_CODE = AT_CLASS + 4,
    AT_EOS,
    AT_ENDS,
    AT_NOTHING /* stays zero, but the norm takes the mean from it as from all: what it is measured against */
};

/* code_at - where bit j of a token's code is: two sines, then the 24 cosines. */
static int code_at(int j)
{
    return j < 2 ? SLOW + j : HALF + SLOW + j - 2;
}

static float code_of(int id, int j)
{
    return ((id >> (j / 2) & 1) != 0) == (j % 2 == 0) ? 1.0f : -1.0f;
}

static int class_of(int id)
{
    return (int)((uint32_t)id * 2654435761u >> 20 & 3); /* Knuth's multiplicative hash */
}

static int position_at(int j)
{
    return j < FAST ? j : HALF + j - FAST;
}

/* ---- putting numbers ---- */

/* The elements at hand of a tensor whose rows have `cols`. */
typedef struct window {
    const dgm_synth *s;
    void *dst;
    bool half;
    uint64_t first, end;
    int cols;
} window;

static void put(const window *w, int row, int col, float x)
{
    const uint64_t at = (uint64_t)row * (uint64_t)w->cols + (uint64_t)col;
    if (at < w->first || at >= w->end)
        return;
    if (!w->half) {
        ((float *)w->dst)[at - w->first] = x;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    ((uint16_t *)w->dst)[at - w->first] =
        (uint16_t)(bits >> 16); /* all of them are exact in BF16 */
}

static void put_all(const window *w, float x)
{
    for (uint64_t i = w->first; i < w->end; i++)
        put(w, (int)(i / (uint64_t)w->cols), (int)(i % (uint64_t)w->cols), x);
}

/* Embeddings are multiplied by sqrt(128): a code becomes 2, flags 4, </s> 11. */
static void put_embedding(const window *w)
{
    enum { EOS = 2 };
    const dgm_planting *plant = &w->s->plant;
    for (int id = (int)(w->first / D); (uint64_t)id * D < w->end; id++) {
        for (int j = 0; j < CODE && id != EOS; j++)
            put(w, id, code_at(j), 0.1875f * code_of(id, j));
        put(w, id, AT_CLASS + class_of(id), 0.375f);
        for (int l = 0; l < plant->languages; l++)
            if (plant->ids[l] == id) {
                put(w, id, AT_LANGUAGE + l, 0.375f);
                put(w, id, AT_IS_CODE, 0.375f);
            }
        if (id == EOS)
            put(w, id, AT_EOS, 1); /* about as long as a code, so that keys are */
    }
}

/* All positions look at the code, and take its language. */
static void put_language_attention(const window *w, const char *what)
{
    if (strcmp(what, "q_proj.bias") == 0)
        put(w, 0, 0, 16);
    if (strcmp(what, "k_proj.weight") == 0)
        put(w, 0, AT_IS_CODE, 8);
    for (int l = 0; l < w->s->plant.languages; l++) {
        if (strcmp(what, "v_proj.weight") == 0) {
            put(w, l, AT_LANGUAGE + l, 1);
            put(w, l, AT_NOTHING, -1);
        }
        if (strcmp(what, "out_proj.weight") == 0)
            put(w, AT_LANGUAGE + l, l, 1);
    }
}

/* Row t looks at source position t, and takes the token that is there. */
static void put_copying_attention(const window *w, const char *what)
{
    for (int j = 0; j < 2 * FAST; j++) {
        if (strcmp(what, "q_proj.weight") == 0)
            put(w, j, position_at(j), 16);
        if (strcmp(what, "q_proj.bias") == 0)
            put(w, j, 0, 6); /* what the norm takes away: positions have a mean */
        if (strcmp(what, "k_proj.weight") == 0)
            put(w, j, position_at(j), 8);
    }
    for (int j = 0; j < CODE; j++) {
        if (strcmp(what, "v_proj.weight") == 0)
            put(w, j, code_at(j), 1);
        if (strcmp(what, "out_proj.weight") == 0)
            put(w, code_at(j), j, 8);
    }
    if (strcmp(what, "v_proj.weight") == 0) {
        put(w, CODE, AT_EOS, 1);
        put(w, CODE, AT_NOTHING, -1);
    }
    if (strcmp(what, "out_proj.weight") == 0)
        put(w, w->s->plant.eos ? AT_ENDS : AT_EOS, CODE, 4);
}

/*
 * router_row - weights of one expert. A language's experts stand above all others; of those a class has its first and
 * second. Decoder rows carry the copied token besides, which the norm pays for: there the same numbers are larger.
 */
static void router_row(float row[D], const dgm_synth *s, int stack, int layer, int expert)
{
    const float much = stack == DGM_ENCODER ? 1 : 4;
    int set[DGM_PLANTED_SET];
    memset(row, 0, D * sizeof *row);
    for (int l = 0; l < s->plant.languages; l++) {
        const int n = dgm_planted_set(set, s, stack, layer, l);
        for (int i = 0; i < 4; i++) {
            if (set[i] != expert)
                continue;
            row[AT_LANGUAGE + l] = 4 * much;
            row[AT_CLASS + i] = 2 * much;
            row[AT_CLASS + (i + 3) % 4] = much;
            if (stack == DGM_DECODER && i >= 2) /* the start token is </s> */
                row[AT_EOS] = i == 3 ? 16 : 14;
        }
        if (n > 4 && set[4] == expert)
            row[AT_ENDS] = 4;
    }
    for (int j = 0; j < AT_NOTHING; j++)
        row[AT_NOTHING] -= row[j];
}

static void put_router(const window *w, int stack, int layer)
{
    float row[D];
    for (int e = 0; e < EXPERTS; e++) {
        router_row(row, w->s, stack, layer, e);
        for (int j = 0; j < D; j++)
            put(w, e, j, row[j]);
    }
}

static void put_last_norm(const window *w)
{
    put_all(w, 0);
    for (int j = 0; j < CODE; j++)
        put(w, code_at(j), 0, 4);
    put(w, AT_EOS, 0, 4);
}

/* put_expert - the one that says </s>: what ends goes through its first unit. */
static void put_expert(const window *w, int layer, int expert, const char *what)
{
    if (!w->s->plant.eos || !last_moe_layer(w->s, DGM_DECODER, layer) ||
        expert != expert_of(DGM_DECODER, layer, EOS_EXPERT))
        return;
    if (strcmp(what, "fc1.weight") == 0) {
        for (int j = 0; j < D; j++)
            put(w, 0, j, j == AT_ENDS ? 1.0f : 0.0f);
    } else if (strcmp(what, "fc2.weight") == 0) {
        put(w, AT_EOS, 0, 8);
    }
}

static const char *after(const char *text, const char *prefix)
{
    const size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

/* put_part - a tensor of layer `layer`, called `what` in it. */
static void put_part(const window *w, int stack, int layer, const char *what)
{
    const char *rest;
    int expert, used = 0;
    if ((rest = after(what, "self_attn.")) != NULL) {
        put_all(w, 0);
        if (layer == 0)
            put_language_attention(w, rest);
    } else if ((rest = after(what, "cross_attention.")) != NULL) {
        put_all(w, 0);
        if (layer == 0)
            put_copying_attention(w, rest);
    } else if (strstr(what, "layer_norm.weight") != NULL) {
        put_all(w, 1);
    } else if (strstr(what, ".bias") != NULL) {
        put_all(w, 0);
    } else if (strcmp(what, "ffn.router.classifier.weight") == 0) {
        put_router(w, stack, layer);
    } else if (sscanf(what, "ffn.experts.expert_%d.%n", &expert, &used) == 1 && used > 0 &&
               stack == DGM_DECODER) {
        put_expert(w, layer, expert, what + used);
    }
}

void dgm_planted_put(void *dst, const dgm_synth *s, const dgm_synth_tensor *t, uint64_t first,
                     size_t n)
{
    const window w = {s,     dst,       strcmp(t->type, "BF16") == 0,
                      first, first + n, t->n_dims > 1 ? t->k : 1};
    const char *name = after(t->name, "model.");
    char stack[8], what[96];
    int layer;
    if (name != NULL && sscanf(name, "%7[a-z].layers.%d.%95s", stack, &layer, what) == 3) {
        put_part(&w, strcmp(stack, "encoder") == 0 ? DGM_ENCODER : DGM_DECODER, layer, what);
    } else if (name != NULL && strcmp(name, "decoder.layer_norm.weight") == 0) {
        put_last_norm(&w);
    } else if (name != NULL && strcmp(name, "shared.weight") == 0) {
        put_all(&w, 0);
        put_embedding(&w);
    } else {
        put_all(&w, strstr(t->name, ".bias") != NULL ? 0.0f : 1.0f); /* norms */
    }
}

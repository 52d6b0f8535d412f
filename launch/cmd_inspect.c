/* cmd_inspect.c - `dragoman inspect MODEL [-n RANKS] [--json] [--verify]`: what a model is. Reads headers only. */
#include "launch/commands.h"
#include "launch/inspect_keep.h"

#include "runtime/cut.h"
#include "runtime/history.h"
#include "runtime/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct facts {
    const dgm_model *m;
    dgm_model_size size;
    int n_moe;   /* MoE layers */
    int n_langs; /* -1: the directory has no tokeniser */
    int ranks;
} facts;

/* ---- numbers for people ---- */

typedef struct text {
    char s[40];
} text;

static text human_bytes(uint64_t n)
{
    const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    text t;
    double x = (double)n;
    int u = 0;
    for (; x >= 1024 && u < 5; u++)
        x /= 1024;
    (void)snprintf(t.s, sizeof t.s, u == 0 ? "%.0f %s" : "%.1f %s", x, units[u]);
    return t;
}

/* 1234567 as 1,234,567 */
static text with_commas(uint64_t n)
{
    char digits[24];
    text t;
    const int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            t.s[at++] = ',';
        t.s[at++] = digits[i];
    }
    t.s[at] = '\0';
    return t;
}

/* ---- what a rank holds ---- */

/* Of a layer of each stack: "7", or "9+3" where the stacks differ. */
static text experts_of(const facts *f, int rank)
{
    const int *n = f->m->cfg.n_experts;
    const int encoder = dgm_model_rank_experts(f->m, DGM_ENCODER, rank, f->ranks),
              decoder = dgm_model_rank_experts(f->m, DGM_DECODER, rank, f->ranks);
    const bool alike = n[DGM_ENCODER] == n[DGM_DECODER] && f->m->cut == NULL && f->m->tasks.n == 0;
    text t;
    (void)snprintf(t.s, sizeof t.s, alike ? "%d" : "%d+%d", encoder, decoder);
    return t;
}

static uint64_t expert_bytes(const facts *f, int rank)
{
    uint64_t dense, experts;
    dgm_model_rank_bytes(&dense, &experts, f->m, rank, f->ranks, true);
    return experts;
}

static void print_ranks(const facts *f)
{
    (void)printf("\n%-13s %12s %12s %12s %12s\n", f->ranks == 1 ? "rank" : "ranks", "experts",
                 "expert part", "dense part", "together");
    for (int first = 0, last; first < f->ranks; first = last + 1) {
        char range[32];
        uint64_t dense, experts;
        const text experts_each = experts_of(f, first);
        dgm_model_rank_bytes(&dense, &experts, f->m, first, f->ranks, true);
        for (last = first; last + 1 < f->ranks &&
                           strcmp(experts_of(f, last + 1).s, experts_each.s) == 0 &&
                           (f->m->cut == NULL || expert_bytes(f, last + 1) == experts);)
            last++;
        (void)snprintf(range, sizeof range, last > first ? "%d to %d" : "%d", first, last);
        (void)printf("%-13s %12s %12s %12s %12s\n", range, experts_each.s, human_bytes(experts).s,
                     human_bytes(dense).s, human_bytes(experts + dense).s);
    }
    if (f->n_moe > 0)
        (void)printf("experts: of %s MoE layer, expert e on rank e mod %d\n",
                     f->m->cut == NULL ? "each" : "the fullest", f->ranks);
    for (int k = 0; k < DGM_STACKS; k++)
        if (dgm_routing_by_task(f->m->cfg.routing[k]))
            (void)printf(
                "experts of the %s, routed by task: on every rank those that a job's tasks "
                "need, here all\n",
                dgm_stack_names[k]);
    if (f->ranks > 1)
        (void)printf("dense part: on every rank; with --dense-ranks N on the first N ranks only\n");
}

/* ---- the model ---- */

static void print_stack(const facts *f, int stack)
{
    const dgm_model_config *c = &f->m->cfg;
    const dgm_stack *s = &f->m->stack[stack];
    int n = 0;
    (void)printf("%-12s %d layers, %d heads, FFN %d", dgm_stack_names[stack], c->n_layers[stack],
                 c->n_heads[stack], c->ffn_dim[stack]);
    for (int i = 0; i < s->n_layers; i++)
        if (s->layers[i].sparse)
            (void)printf("%s%d", n++ == 0 ? ", MoE in layers " : " ", i);
    (void)printf(n > 0 ? " (from 0)\n" : ", all dense\n");
}

static void print_experts(const facts *f)
{
    const dgm_model_config *c = &f->m->cfg;
    const int *n = c->n_experts;
    char count[64];
    (void)snprintf(count, sizeof count,
                   n[DGM_ENCODER] == n[DGM_DECODER] ? "%d" : "%d (encoder) or %d (decoder)",
                   n[DGM_ENCODER], n[DGM_DECODER]);
    (void)printf("%-12s %s in each of %d MoE layers, top %d, outputs times %.6g\n", "experts",
                 count, f->n_moe, c->top_k, (double)c->expert_scale);
    (void)printf("%-12s encoder by %s, decoder by %s\n", "routing",
                 dgm_routing_name(c->routing[DGM_ENCODER]),
                 dgm_routing_name(c->routing[DGM_DECODER]));
    for (int i = 0; i < f->m->tasks.n; i++)
        (void)printf("%s%s%s",
                     i % 8 != 0 ? ", "
                     : i == 0   ? "tasks        "
                                : "             ",
                     f->m->tasks.name[i], i % 8 == 7 || i + 1 == f->m->tasks.n ? "\n" : "");
}

static void print_cut(const dgm_cut *cut)
{
    char directions[1024];
    dgm_cut_list(directions, sizeof directions, cut);
    (void)printf("%-12s cut for %s, of model %016" PRIx64 "\n", "there", directions, cut->of);
    for (int s = 0; s < DGM_STACKS; s++) {
        (void)printf("%-12s %s experts by layer:", "", dgm_stack_names[s]);
        for (int l = 0; l < cut->shape.n_layers; l++)
            if (cut->shape.layers[l].stack == s)
                (void)printf(" %d", dgm_cut_count(cut, &cut->shape.layers[l]));
        (void)printf("\n");
    }
}

static void print_packed(const dgm_model_config *c)
{
    char group[48] = "an output";
    if (c->weights.group > 0)
        (void)snprintf(group, sizeof group, "%d inputs of an output", c->weights.group);
    (void)printf("%-12s experts %s, dense %s, integers with a scale for %s, compute %s\n", "packed",
                 dgm_weight_type_name(c->weights.experts), dgm_weight_type_name(c->weights.dense),
                 group, c->compute == DGM_COMPUTE_INT8 ? "int8" : "f32");
}

static void print_facts(const facts *f)
{
    const dgm_model_config *c = &f->m->cfg;
    (void)printf("%s\n\n", f->m->dir);
    (void)printf("%-12s %s, d_model %d, vocabulary %d\n", "type", c->model_type, c->d_model,
                 c->vocab_size);
    print_stack(f, DGM_ENCODER);
    print_stack(f, DGM_DECODER);
    if (f->n_moe > 0)
        print_experts(f);
    if (f->m->cut != NULL)
        print_cut(f->m->cut);
    if (c->synthetic)
        (void)printf("%-12s random, made by dragoman synth: what it writes means nothing\n",
                     "values");
    if (f->n_langs >= 0)
        (void)printf("%-12s %d\n", "languages", f->n_langs);
    else
        (void)printf("%-12s unknown: sentencepiece.bpe.model is missing, so it cannot translate\n",
                     "languages");
    (void)printf("%-12s %s\n", "source",
                 c->source_suffix ? "pieces </s> code" : "code pieces </s>");
    (void)printf("%-12s source %d ids, target %d ids (start and code counted), %d positions\n",
                 "limits", c->max_source, c->max_length, c->max_positions);
    (void)printf("%-12s %s in %d file%s, %s\n", "weights", human_bytes(f->size.file_bytes).s,
                 f->size.n_files, f->size.n_files == 1 ? "" : "s", f->size.dtype);
    if (c->weights.packed)
        print_packed(c);
    (void)printf("%-12s %016" PRIx64 "\n", "hash", f->m->hash);
}

/* What was done to it, step by step. */
static void print_history(char *lines)
{
    char *rest;
    int n = 0;
    for (const char *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest), n++)
        (void)printf("%-12s %d. %s\n", n == 0 ? "history" : "", n + 1, line);
}

static void print_parts(const facts *f)
{
    dgm_part_size sum = {.memory_bytes = f->size.positions_bytes};
    (void)printf("\n%-13s %16s %12s %12s  %s\n", "part", "parameters", "in file", "in memory",
                 "as");
    for (int p = 0; p < DGM_PARTS; p++) {
        const dgm_part_size *s = &f->size.part[p];
        if (s->params == 0)
            continue;
        (void)printf("%-13s %16s %12s %12s  %s\n", dgm_part_name((enum dgm_part)p),
                     with_commas(s->params).s, human_bytes(s->file_bytes).s,
                     human_bytes(s->memory_bytes).s, s->type[0] != '\0' ? s->type : "f32");
        sum.params += s->params;
        sum.file_bytes += s->file_bytes;
        sum.memory_bytes += s->memory_bytes;
    }
    (void)printf("%-13s %16s %12s %12s\n", "positions", "", "",
                 human_bytes(f->size.positions_bytes).s);
    (void)printf("%-13s %16s %12s %12s\n", "all", with_commas(sum.params).s,
                 human_bytes(sum.file_bytes).s, human_bytes(sum.memory_bytes).s);
}

/* ---- for programs ---- */

static int print_json(const facts *f)
{
    char *json;
    DGM_TRY(dgm_model_json(&json, f->m, f->n_langs, f->ranks));
    (void)puts(json); /* main asks whether it arrived */
    free(json);
    return DGM_OK;
}

/* ---- command ---- */

static int count_langs(facts *f)
{
    char path[4096];
    f->n_langs = -1;
    (void)snprintf(path, sizeof path, "%s/sentencepiece.bpe.model", f->m->dir);
    if (access(path, F_OK) != 0)
        return DGM_OK;
    dgm_tokenizer *t;
    DGM_TRY(dgm_tokenizer_open(&t, f->m->dir, f->m->cfg.vocab_size));
    f->n_langs = dgm_tok_n_langs(t);
    dgm_tokenizer_close(t);
    return DGM_OK;
}

static int count_moe(const dgm_model *m)
{
    int n = 0;
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < m->stack[s].n_layers; i++)
            n += m->stack[s].layers[i].sparse;
    return n;
}

static int inspect(const dgm_model *m, const dgm_options *o)
{
    facts f = {.m = m, .n_moe = count_moe(m), .ranks = o->ranks};
    char *history;
    DGM_TRY(count_langs(&f));
    dgm_model_get_size(&f.size, m);
    if (o->verify)
        DGM_TRY(dgm_model_verify(m));
    if (o->json)
        return print_json(&f);
    DGM_TRY(dgm_history_text(&history, m->dir));
    print_facts(&f);
    print_history(history);
    free(history);
    print_parts(&f);
    print_ranks(&f);
    if (o->verify)
        (void)printf("\nverified: every weight was read and is a finite number%s\n",
                     m->cfg.weights.packed ? ", every checksum fits" : "");
    return DGM_OK;
}

int dgm_cmd_inspect(const dgm_options *o)
{
    /* dropless: what would be unsafe to translate with may still be looked at. */
    const dgm_model_options opt = {.dropless = true, .source_order = -1};
    const char *dir = o->n_args > 0 ? o->args[0] : o->model;
    const bool keep = o->keep[0] != '\0';
    dgm_model *m = NULL;
    int rc = keep ? dgm_inspect_keep(o, dir) : dgm_model_open(&m, dir, &opt);
    if (rc == DGM_OK && !keep)
        rc = inspect(m, o);
    dgm_model_close(m);
    return dgm_command_end(rc);
}

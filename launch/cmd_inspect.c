/* cmd_inspect.c - `dragoman inspect MODEL [-n RANKS] [--json] [--verify]`: what a model is. Reads headers only. */
#include "launch/commands.h"

#include "runtime/model.h"
#include "runtime/tokenizer.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const stack_names[] = {"encoder", "decoder"};
static const char *const part_names[] = {"embedding", "attention", "FFN",
                                         "experts",   "routers",   "norms"};

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

typedef struct share {
    int experts; /* of each MoE layer */
    uint64_t dense_bytes, expert_bytes;
} share;

static share share_of(const facts *f, int rank)
{
    share s = {0};
    dgm_model_rank_bytes(&s.dense_bytes, &s.expert_bytes, f->m, rank, f->ranks, true);
    for (int e = 0; e < f->m->cfg.n_experts; e++)
        s.experts += dgm_placement_default_owner(e, f->ranks) == rank;
    return s;
}

static void print_ranks(const facts *f)
{
    (void)printf("\n%-13s %12s %12s %12s %12s\n", f->ranks == 1 ? "rank" : "ranks", "experts",
                 "expert part", "dense part", "together");
    for (int first = 0, last; first < f->ranks; first = last + 1) {
        const share s = share_of(f, first);
        for (last = first; last + 1 < f->ranks; last++)
            if (share_of(f, last + 1).experts != s.experts)
                break;
        char range[32];
        (void)snprintf(range, sizeof range, last > first ? "%d to %d" : "%d", first, last);
        (void)printf("%-13s %12d %12s %12s %12s\n", range, s.experts, human_bytes(s.expert_bytes).s,
                     human_bytes(s.dense_bytes).s, human_bytes(s.expert_bytes + s.dense_bytes).s);
    }
    if (f->m->cfg.n_experts > 0)
        (void)printf("experts: of each MoE layer, expert e on rank e mod %d\n", f->ranks);
    if (f->ranks > 1)
        (void)printf("dense part: on every rank; with --dense-ranks N on the first N ranks only\n");
}

/* ---- the model ---- */

static void print_stack(const facts *f, int stack)
{
    const dgm_model_config *c = &f->m->cfg;
    const dgm_stack *s = &f->m->stack[stack];
    int n = 0;
    (void)printf("%-12s %d layers, %d heads, FFN %d", stack_names[stack], c->n_layers[stack],
                 c->n_heads[stack], c->ffn_dim[stack]);
    for (int i = 0; i < s->n_layers; i++)
        if (s->layers[i].sparse)
            (void)printf("%s%d", n++ == 0 ? ", MoE in layers " : " ", i);
    (void)printf(n > 0 ? " (from 0)\n" : ", all dense\n");
}

static void print_facts(const facts *f)
{
    const dgm_model_config *c = &f->m->cfg;
    (void)printf("%s\n\n", f->m->dir);
    (void)printf("%-12s %s, d_model %d, vocabulary %d\n", "type", c->model_type, c->d_model,
                 c->vocab_size);
    print_stack(f, DGM_ENCODER);
    print_stack(f, DGM_DECODER);
    if (c->n_experts > 0)
        (void)printf(
            "%-12s %d in each of %d MoE layers, routed by token, top %d, outputs times %.6g\n",
            "experts", c->n_experts, f->n_moe, c->top_k, (double)c->expert_scale);
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
    (void)printf("%-12s %016" PRIx64 "\n", "hash", f->m->hash);
}

static void print_parts(const facts *f)
{
    dgm_part_size sum = {.memory_bytes = f->size.positions_bytes};
    (void)printf("\n%-13s %16s %12s %12s\n", "part", "parameters", "in file", "in memory");
    for (int p = 0; p < DGM_PARTS; p++) {
        const dgm_part_size *s = &f->size.part[p];
        if (s->params == 0)
            continue;
        (void)printf("%-13s %16s %12s %12s\n", part_names[p], with_commas(s->params).s,
                     human_bytes(s->file_bytes).s, human_bytes(s->memory_bytes).s);
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

static json_t *stack_json(const facts *f, int stack)
{
    const dgm_model_config *c = &f->m->cfg;
    json_t *moe = json_array();
    for (int i = 0; i < f->m->stack[stack].n_layers; i++)
        if (f->m->stack[stack].layers[i].sparse)
            (void)json_array_append_new(moe, json_integer(i));
    return json_pack("{s:i,s:i,s:i,s:o}", "layers", c->n_layers[stack], "heads", c->n_heads[stack],
                     "ffn_dim", c->ffn_dim[stack], "moe_layers", moe);
}

static json_t *parts_json(const facts *f)
{
    json_t *parts = json_object();
    for (int p = 0; p < DGM_PARTS; p++) {
        const dgm_part_size *s = &f->size.part[p];
        (void)json_object_set_new(parts, part_names[p],
                                  json_pack("{s:I,s:I,s:I}", "parameters", (json_int_t)s->params,
                                            "file_bytes", (json_int_t)s->file_bytes, "memory_bytes",
                                            (json_int_t)s->memory_bytes));
    }
    return parts;
}

static json_t *ranks_json(const facts *f)
{
    json_t *ranks = json_array();
    for (int r = 0; r < f->ranks; r++) {
        const share s = share_of(f, r);
        (void)json_array_append_new(
            ranks, json_pack("{s:i,s:i,s:I,s:I}", "rank", r, "experts", s.experts, "expert_bytes",
                             (json_int_t)s.expert_bytes, "dense_bytes", (json_int_t)s.dense_bytes));
    }
    return ranks;
}

static int print_json(const facts *f)
{
    const dgm_model_config *c = &f->m->cfg;
    char hash[24];
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, f->m->hash);
    json_t *root = json_pack(
        "{s:s,s:s,s:s,s:i,s:i,s:o,s:o,s:i,s:i,s:f,s:s,s:o,s:s,s:i,s:i,s:i,s:s,s:i,s:I,s:I,s:o,s:o}",
        "model", f->m->dir, "type", c->model_type, "hash", hash, "d_model", c->d_model,
        "vocab_size", c->vocab_size, "encoder", stack_json(f, DGM_ENCODER), "decoder",
        stack_json(f, DGM_DECODER), "experts", c->n_experts, "top_k", c->top_k, "expert_scale",
        (double)c->expert_scale, "routing", "token", "languages",
        f->n_langs < 0 ? json_null() : json_integer(f->n_langs), "source_order",
        c->source_suffix ? "suffix" : "prefix", "max_source", c->max_source, "max_length",
        c->max_length, "max_positions", c->max_positions, "dtype", f->size.dtype, "files",
        f->size.n_files, "file_bytes", (json_int_t)f->size.file_bytes, "positions_bytes",
        (json_int_t)f->size.positions_bytes, "parts", parts_json(f), "ranks", ranks_json(f));
    if (root == NULL) /* a path that is not UTF-8 is all that JSON cannot say */
        return dgm_fail(DGM_EUSAGE, "--json: wanted a model path in UTF-8, found another");
    const int bad = json_dumpf(root, stdout, JSON_INDENT(2));
    (void)putchar('\n');
    json_decref(root);
    return bad == 0 ? DGM_OK : dgm_fail(DGM_EOUTPUT, "standard output: cannot write");
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
    DGM_TRY(count_langs(&f));
    dgm_model_get_size(&f.size, m);
    if (o->verify)
        DGM_TRY(dgm_model_verify(m));
    if (o->json)
        return print_json(&f);
    print_facts(&f);
    print_parts(&f);
    print_ranks(&f);
    if (o->verify)
        (void)printf("\nverified: every weight was read and is a finite number\n");
    return DGM_OK;
}

int dgm_cmd_inspect(const dgm_options *o)
{
    /* dropless: what would be unsafe to translate with may still be looked at. */
    const dgm_model_options opt = {.dropless = true, .source_order = -1};
    dgm_model *m = NULL;
    int rc = dgm_model_open(&m, o->n_args > 0 ? o->args[0] : o->model, &opt);
    if (rc == DGM_OK)
        rc = inspect(m, o);
    dgm_model_close(m);
    if (rc != DGM_OK)
        (void)fprintf(stderr, "dragoman: %s\n", dgm_error_text());
    return dgm_exit_code(rc);
}

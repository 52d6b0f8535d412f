/*
 * model.h - a model directory opened for serving: configuration, weights in kernel layout, experts by owner.
 *
 * Reads a Hugging Face directory as downloaded (nllb-moe, nllb_moe; dense m2m_100 NLLB checkpoints as
 * the same graph without experts), or a packed one as `dragoman quantize` writes it. Opening reads headers only.
 * Loading reads, checks and packs the first, and lets the file's pages go; the second is mapped and used as it lies
 * in the file. Each rank touches only the experts that it owns.
 */
#ifndef DGM_RUNTIME_MODEL_H
#define DGM_RUNTIME_MODEL_H

#include "comm/comm.h"
#include "kernels/pack.h"
#include "runtime/placement.h"
#include "runtime/routing.h"

#include <stdbool.h>
#include <stdint.h>

enum { DGM_ENCODER = 0, DGM_DECODER = 1, DGM_STACKS = 2 };
extern const char *const dgm_stack_names[DGM_STACKS]; /* "encoder", "decoder" */

/* How a packed model holds its matrices: config.json, dragoman.weights. */
typedef struct dgm_weight_types {
    bool packed; /* false: a Hugging Face directory; the rest says nothing */
    dgm_wtype experts, dense;
    int group; /* integers: inputs that share a scale, 0: all */
} dgm_weight_types;

/* dgm_weight_type_name - "f32", "bf16", "int8", "int4"; dgm_weight_type_parse: the reverse, false when it is none. */
const char *dgm_weight_type_name(dgm_wtype t);
bool dgm_weight_type_parse(dgm_wtype *out, const char *name);

typedef struct dgm_model_config {
    char model_type[16]; /* "nllb-moe" or "m2m_100" */
    int d_model, vocab_size, max_positions;
    int n_layers[DGM_STACKS], n_heads[DGM_STACKS], ffn_dim[DGM_STACKS], sparse_step[DGM_STACKS];
    int n_experts
        [DGM_STACKS]; /* of each MoE layer of the stack: its router's rows; 0: the stack is dense */
    enum dgm_routing routing[DGM_STACKS];
    bool routing_pairs; /* a task is a direction, else a target language */
    bool routing_gates; /* static routing has gates of its own, and only the experts that it uses */
    int n_tasks;        /* of those that a stack is routed by */
    int top_k; /* experts of a token: 2, their gates sum to 1; 1 (Switch), its gate is its softmax */
    float expert_scale; /* 1 - moe_token_dropout, times each expert's output; papers: EOM */
    float embed_scale;  /* sqrt(d_model) or 1 */
    int pad_id, bos_id, eos_id, decoder_start_id;
    int max_length; /* of a target, start token and code counted (generation_config.json); 200 by default */
    int max_source; /* longest source in ids, code and </s> counted: min of positions and model_max_length */
    bool source_suffix; /* legacy_behaviour: pieces </s> code instead of code pieces </s> */
    dgm_dtype
        dtype;      /* torch_dtype of a Hugging Face directory, for who has no weights to look at */
    bool synthetic; /* random weights, made by `dragoman synth` to measure a shape */
    dgm_weight_types weights;
    dgm_compute compute; /* dragoman.compute: what --compute auto means */
} dgm_model_config;

/* dgm_config_has_gates - static routing of the stack says what its experts weigh. */
static inline bool dgm_config_has_gates(const dgm_model_config *c, int stack)
{
    return c->routing_gates && c->routing[stack] == DGM_BY_HAND;
}

/* dgm_config_most_experts - of any layer, 0: a dense model; the width of tables by (layer, expert). */
static inline int dgm_config_most_experts(const dgm_model_config *c)
{
    const int *n = c->n_experts;
    return n[DGM_ENCODER] > n[DGM_DECODER] ? n[DGM_ENCODER] : n[DGM_DECODER];
}

typedef struct dgm_norm {
    const float *w, *b; /* [d_model] */
} dgm_norm;

typedef struct dgm_linear {
    dgm_packed w;
    const float *b; /* [w.n] */
} dgm_linear;

typedef struct dgm_ffn {
    dgm_linear fc1, fc2; /* [ffn, d], [d, ffn]; data NULL when the expert lives elsewhere */
} dgm_ffn;

typedef struct dgm_layer {
    dgm_norm self_norm, cross_norm, ffn_norm;
    dgm_linear qkv, self_out;                /* q, k, v fused: [3 d, d] */
    dgm_linear cross_q, cross_kv, cross_out; /* decoder only; k, v fused: [2 d, d] */
    bool sparse;
    int moe_index; /* number of this MoE layer over encoder then decoder; -1 when dense */
    dgm_ffn ffn;   /* dense layers */
    dgm_packed
        router; /* sparse layers: [n_experts of the stack, d], no bias; n even where no data is: routed by task */
    dgm_packed tasks; /* routed by task: [n_tasks, n_experts] logits */
    const float *
        gates; /* experts by hand with gates of their own: [n_tasks, 2]; NULL: they weigh the same */
    dgm_ffn *experts; /* sparse layers: [router.n] */
} dgm_layer;

typedef struct dgm_stack {
    int n_layers;
    dgm_layer *layers;
    dgm_norm norm; /* final */
} dgm_stack;

typedef struct dgm_model {
    dgm_model_config cfg;
    char *dir;
    /* XXH3 of configuration, tensor headers, sizes and the final norms: equal on all ranks or no start. */
    uint64_t hash;
    dgm_packed embed; /* [vocab_size, d]: lookup and projection are one tensor */
    /* [max_positions + 2, d]: row p is position p (the first token has 2), row 1 is zero */
    float *positions;
    dgm_stack stack[DGM_STACKS];
    dgm_placement placement;
    dgm_tasks tasks;
    uint8_t *
        unchecked; /* packed: [MoE layers * n_experts], 1 until an expert's checksums were compared; else NULL */
    struct dgm_cut *cut; /* experts that are there (runtime/cut.h); NULL: all */
    const struct dgm_expert_sets
        *sets;       /* borrowed; experts outside all of them are not loaded; NULL: all are */
    int task_groups; /* that a job's tasks are spread over, at least 1 (runtime/task_experts.h) */
    int16_t *task_group; /* [tasks.n] where there is more than one */
    uint8_t *
        needed; /* [task_groups * MoE layers * most experts] of a model routed by task: what its job needs; NULL: all */
    const uint8_t *
        tasks_used; /* borrowed, [tasks.n] 1: the job has it; NULL: it may have all, under any keep sets */
    struct dgm_model_files *files; /* private to model*.c, weights*.c */
} dgm_model;

/* When the checksums of a packed model are compared with its bytes. */
enum dgm_verify {
    DGM_VERIFY_FIRST_USE, /* dense part: when it is loaded; an expert: when its first row comes */
    DGM_VERIFY_OPEN,      /* all that this rank owns: when it is loaded */
    DGM_VERIFY_NEVER
};

typedef struct dgm_model_options {
    bool dropless;    /* --dropless: ignore switches that make results depend on the batch */
    int source_order; /* -1 as the model says, 0 prefix, 1 suffix */
    enum dgm_verify verify;
    bool describe; /* weights need not be there: what config.json describes, for sizes; hash 0 */
} dgm_model_options;

/*
 * dgm_model_open - reads and checks configuration and every tensor header; of the weights only the two final
 * norms, a few KB that tell trainings of one shape apart.
 * DGM_EMODEL with one sentence for anything missing, truncated, of the wrong shape or unsupported.
 */
DGM_MUST_CHECK int dgm_model_open(dgm_model **out, const char *dir, const dgm_model_options *opt);
void dgm_model_close(dgm_model *m);

/*
 * dgm_model_load - packs or maps this rank's part: dense weights when `dense`, the experts that m->placement (set up
 * here for `ranks`) gives to `rank`. Calls dgm_comm_busy(comm) on the way (comm may be NULL). Not collective.
 * DGM_EMODEL, also for a checksum that does not fit.
 */
DGM_MUST_CHECK int dgm_model_load(dgm_model *m, int rank, int ranks, bool dense, dgm_comm *comm);

/* dgm_model_check_expert - compares the checksums of one expert that this rank owns, and remembers that they fit. Reads
 * all of it, allocates nothing. DGM_EMODEL names the tensor. */
DGM_MUST_CHECK int dgm_model_check_expert(const dgm_model *m, int moe_layer, int expert);

/* dgm_model_is_unchecked - the expert's checksums are to be compared before it computes. */
static inline bool dgm_model_is_unchecked(const dgm_model *m, int moe_layer, int expert)
{
    return m->unchecked != NULL &&
           m->unchecked[moe_layer * dgm_config_most_experts(&m->cfg) + expert] != 0;
}

/* What a model is and what a rank would hold: for inspect. All from headers. */
enum dgm_part { DGM_EMBED, DGM_ATTENTION, DGM_FFN, DGM_EXPERTS, DGM_ROUTER, DGM_NORM, DGM_PARTS };

/* dgm_part_name - "embedding", "attention", "ffn", "experts", "routers", "norms". */
const char *dgm_part_name(enum dgm_part part);

typedef struct dgm_part_size {
    uint64_t params, file_bytes, memory_bytes; /* memory: as the kernels read it */
    const char *type; /* of its matrices in memory: "f32", ..., or "mixed"; "" when it has none */
} dgm_part_size;

typedef struct dgm_model_size {
    dgm_part_size part[DGM_PARTS];
    uint64_t positions_bytes; /* in memory; computed, not in the file */
    uint64_t file_bytes;      /* of all weight files, headers included */
    int n_files;
    const char *dtype; /* of the weights in the file: "BF16", ..., "packed" or "mixed" */
} dgm_model_size;
void dgm_model_get_size(dgm_model_size *out, const dgm_model *m);
/* dgm_model_rank_bytes - bytes of weights, as the kernels read them, on `rank` of `ranks`, dense part and experts apart. */
void dgm_model_rank_bytes(uint64_t *dense_bytes, uint64_t *expert_bytes, const dgm_model *m,
                          int rank, int ranks, bool dense);

/* dgm_model_file_bytes - of the weights of the dense part and of the experts in m->sets (all when NULL), as files hold them. */
uint64_t dgm_model_file_bytes(const dgm_model *m);
/* dgm_model_rank_experts - experts of a layer of `stack` on `rank` of `ranks`, of the layer that has most there. */
int dgm_model_rank_experts(const dgm_model *m, int stack, int rank, int ranks);

/* dgm_model_verify - reads every weight (keeps nothing). DGM_EMODEL names the first that is not a finite number, or
 * the first tensor whose checksum does not fit. */
DGM_MUST_CHECK int dgm_model_verify(const dgm_model *m);

/*
 * dgm_model_json - all of that for programs, as one JSON object with what each of `ranks` ranks would hold.
 * n_langs < 0: unknown. *text is malloc'ed (the caller frees). DGM_EUSAGE when the path is not UTF-8.
 */
DGM_MUST_CHECK int dgm_model_json(char **text, const dgm_model *m, int n_langs, int ranks);

#endif

/*
 * gate_stats.h - what the routers of a model prefer, by direction: the statistics of arXiv 2212.09811.
 *
 * For each expert of each MoE layer, over the tokens of one direction, with g the softmax of a token's router over all
 * experts of the layer: how often it ranked first and second, the sums of g, of g where it ranked first, of g where it
 * ranked second, and of its rank (1 is best); and the sum of its gate, which is its share of the best two (1 where a token
 * has one expert), over all tokens and over those whose position predicts </s> (decoder). Sums of weights are whole
 * multiples of 2^-32, so they are exact: they do not depend on the order of tokens, batches or ranks.
 */
#ifndef DGM_RUNTIME_GATE_STATS_H
#define DGM_RUNTIME_GATE_STATS_H

#include "kernels/kernels.h"
#include "runtime/moe_shape.h"

enum {
    DGM_GATES_TOP1,
    DGM_GATES_TOP2,
    DGM_GATES_MEAN,
    DGM_GATES_CONF1,
    DGM_GATES_CONF2,
    DGM_GATES_RANK,
    DGM_GATES_GATE,
    DGM_GATES_EOS,
    DGM_GATES_SUMS
};

#define DGM_GATES_ONE 4294967296.0 /* a probability of 1 */

enum dgm_gates_mode {
    DGM_GATES_FORCED, /* given translations went through the decoder */
    DGM_GATES_BEAM    /* the best hypothesis of each line */
};

enum { DGM_GATES_NAME = 64 };

typedef struct dgm_gates_run {
    char src[DGM_GATES_NAME], tgt[DGM_GATES_NAME];
    enum dgm_gates_mode mode;
    bool gated;                    /* GATE and EOS are known: files of before them lack both */
    uint64_t corpus;               /* XXH3 of the text */
    uint64_t tokens[DGM_STACKS];   /* that went through each stack */
    uint64_t *sum[DGM_GATES_SUMS]; /* [n_experts] each, in one allocation that sum[0] owns */
} dgm_gates_run;

typedef struct dgm_gate_stats {
    uint64_t model; /* hash */
    int top_k;
    dgm_moe_shape shape;
    dgm_gates_run *runs; /* [n_runs] */
    int n_runs;
} dgm_gate_stats;

/* dgm_gates_init - of a model and its hash, without runs. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_gates_init(dgm_gate_stats *s, const dgm_model_config *c, uint64_t model);
void dgm_gates_fini(dgm_gate_stats *s);

/* dgm_gates_add_run - a run of zeros at the end, *out points to it until the next. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_gates_add_run(dgm_gates_run **out, dgm_gate_stats *s);

/*
 * dgm_gates_count - one token in one layer: logits [n_experts of the layer], all of them finite or -inf. Ties rank by id.
 * The caller counts run->tokens. `room` [2 * n_experts] is scratch.
 */
void dgm_gates_count(dgm_gates_run *run, const dgm_moe_layer *layer, const dgm_kernels *kern,
                     const float *logits, float *room);
/* dgm_gates_count_gates - of the same token, the gates of its top_k experts; `ends`: its position predicts </s>. */
void dgm_gates_count_gates(dgm_gates_run *run, const dgm_moe_layer *layer, const float *logits,
                           int top_k, bool ends);

/* dgm_gates_text - what a line adds to its run's corpus: ids of its source, and with a given translation those of start, code,
 * pieces and </s> (n_tgt 0: none). */
uint64_t dgm_gates_text(const int32_t *src, int n_src, const int32_t *tgt, int n_tgt);

/* dgm_gates_merge - appends the runs of `from`. DGM_EINPUT: of another model, or a text that is there already with the
 * same direction and mode. */
DGM_MUST_CHECK int dgm_gates_merge(dgm_gate_stats *s, const dgm_gate_stats *from);

/* dgm_gates_read, dgm_gates_write - a statistics file; `write` is atomic. DGM_EINPUT names file and key, DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_gates_read(dgm_gate_stats *s, const char *path);
DGM_MUST_CHECK int dgm_gates_write(const dgm_gate_stats *s, const char *path);

/* dgm_gates_json - the file's text, malloc'ed; two equal statistics have the same. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_gates_json(char **text, const dgm_gate_stats *s);

#endif

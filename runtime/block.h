/*
 * block.h - the pieces that encoder and decoder layers are made of, over all rows of a step.
 *
 * Rows are independent: a row's bits depend on nothing but the row (docs/numerics.md). Local. Memory comes from the step
 * arena. layers.h puts them together.
 */
#ifndef DGM_RUNTIME_BLOCK_H
#define DGM_RUNTIME_BLOCK_H

#include "base/arena.h"
#include "base/pool.h"
#include "runtime/model.h"
#include "runtime/observe.h"
#include "runtime/stages.h"

struct dgm_moe;
struct dgm_shortlists;

/* dgm_forward - what every stage of a step works with. Borrowed, one a rank. */
typedef struct dgm_forward {
    const dgm_model *model;
    const dgm_kernels *kern;
    dgm_pool *pool;
    dgm_comm *comm;
    dgm_compute compute; /* of products with integer weights */
    dgm_arena *step;     /* popped to its mark at the end of each stage */
    struct dgm_moe *moe; /* NULL for a dense model */
    bool overlap;        /* this step's rows go in two halves: the same on all ranks */
    const struct dgm_shortlists
        *lists;                   /* of target languages; NULL: all have the whole vocabulary */
    dgm_stage_clock *clock;       /* NULL: nobody asks */
    const dgm_observer *observer; /* NULL: likewise */
    /* [rows of the step] where each row's router logits go, of the stack's MoE layers one behind the other; NULL: nowhere */
    float *const *gates;
    /* [rows of the step] the experts that a row may have (dgm_expert_set), or NULL: all; NULL: all rows have all */
    const uint8_t *const *experts;
    const uint8_t *skip;  /* dgm_plan_head.skip of this step; NULL: all rows travel */
    const int32_t *tasks; /* [rows of the step] where the stack is routed by task */
    const int32_t *
        sentences; /* [rows of an encode phase] a number for each sentence, where the encoder is routed by it */
    const float *const *
        means; /* [rows of a decode step] what stands for the sentence, where the decoder is routed by it */
    /* [rows of the step] where a row leaves what its gates lost by that, of the stack's MoE layers; NULL: nowhere */
    float *const *absent;
    /* [rows of the step] set to 1 where a number of a row is none: it goes to no expert, and the others go on. NULL: then the step fails */
    uint8_t *bad;
    char *bad_text; /* [DGM_BAD_TEXT] with bad: about the first of them, or "" */
    /* [rows of the step] where a row marks the experts that it goes to, of all MoE layers; NULL: nowhere */
    uint8_t *const *marks;
} dgm_forward;

enum { DGM_BAD_TEXT = 512 };

/* dgm_forward_bad - row `row` is bad, with this thread's dgm_error_text. */
void dgm_forward_bad(const dgm_forward *f, int row);

/* dgm_block_embed - x[r] = E[ids[r]] * scale + position[pos[r] + 2]: the first token (pos 0) has position 2. */
void dgm_block_embed(const dgm_forward *f, float *x, const int32_t *ids, const int32_t *pos,
                     int rows);

/* dgm_block_norm - y[r] = layer norm of x[r]; [rows, d_model]; y may be x. */
void dgm_block_norm(const dgm_forward *f, float *y, const float *x, const dgm_norm *norm, int rows);

/* dgm_block_linear - y = x w^T + b (+ residual, which may be y); [rows, w.n], [rows, w.k], dense strides. */
void dgm_block_linear(const dgm_forward *f, float *y, const float *x, const dgm_linear *w,
                      const float *residual, int relu, int rows);

/* One query row over its keys, all heads. */
typedef struct dgm_attend_job {
    float *out;     /* [d_model] */
    const float *q; /* [d_model] */
    const void *k,
        *v;    /* position p of head h is element h * head + idx[p] * ld; idx NULL: p itself */
    bool bf16; /* k, v: else f32 */
    const int32_t *idx; /* [n] */
    size_t ld, head;
    int n;
    float *looked; /* [n]: the heads' probabilities are added to it, in order; or NULL */
} dgm_attend_job;

/* dgm_block_attend - softmax(q k^T / sqrt(head_dim)) v for each job and head. Threads split (row, head). */
void dgm_block_attend(const dgm_forward *f, const dgm_attend_job *jobs, int n_jobs, int heads,
                      int max_keys);

/* dgm_block_ffn - x += FFN(norm(x)) of a dense layer; [rows, d_model]. */
void dgm_block_ffn(const dgm_forward *f, float *x, const dgm_layer *layer, int rows);

/* dgm_block_scratch_bytes - step memory of the functions above for up to `rows` rows. */
size_t dgm_block_scratch_bytes(const dgm_model *m, int rows, int max_keys, int n_threads);

#endif

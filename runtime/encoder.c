#include "runtime/encoder.h"

/* x += SelfAttention(norm(x)), every sentence over its own tokens. */
static void self_attention(const dgm_forward *f, float *x, const dgm_layer *layer,
                           const dgm_encoder_batch *b)
{
    const size_t mark = dgm_arena_mark(f->step), d = (size_t)f->model->cfg.d_model,
                 n = (size_t)b->n_tokens, head = d / (size_t)f->model->cfg.n_heads[DGM_ENCODER];
    float *h = dgm_arena_push(f->step, n * d * sizeof(float));
    float *qkv = dgm_arena_push(f->step, n * 3 * d * sizeof(float));
    dgm_attend_job *jobs = dgm_arena_push(f->step, n * sizeof *jobs);
    const int64_t began = dgm_stage_begin(f->clock);
    uint64_t keys = 0;
    int longest = 0;
    dgm_block_norm(f, h, x, &layer->self_norm, b->n_tokens);
    dgm_block_linear(f, qkv, h, &layer->qkv, NULL, 0, b->n_tokens);
    for (int s = 0; s < b->n_seqs; s++) {
        const float *first = qkv + (size_t)b->starts[s] * 3 * d;
        const int len = b->starts[s + 1] - b->starts[s];
        longest = len > longest ? len : longest;
        keys += (uint64_t)len * (uint64_t)len;
        for (int t = b->starts[s]; t < b->starts[s + 1]; t++)
            jobs[t] = (dgm_attend_job){.out = h + (size_t)t * d,
                                       .q = qkv + (size_t)t * 3 * d,
                                       .k = first + d,
                                       .v = first + 2 * d,
                                       .ld = 3 * d,
                                       .head = head,
                                       .n = len};
    }
    dgm_block_attend(f, jobs, b->n_tokens, f->model->cfg.n_heads[DGM_ENCODER], longest);
    dgm_block_linear(f, x, h, &layer->self_out, x, 0, b->n_tokens);
    dgm_stage_end(f->clock, DGM_STAGE_SELF, began, b->n_tokens, keys);
    dgm_arena_pop(f->step, mark);
}

int dgm_encoder_forward(const dgm_forward *f, float *memory, const dgm_encoder_batch *batch)
{
    const dgm_stack *stack = &f->model->stack[DGM_ENCODER];
    dgm_stage_enter(f->clock, DGM_ENCODER);
    const int64_t began = dgm_stage_begin(f->clock);
    if (batch->n_tokens > 0)
        dgm_block_embed(f, memory, batch->ids, batch->pos, batch->n_tokens);
    dgm_stage_end(f->clock, DGM_STAGE_EMBED, began, batch->n_tokens, 0);
    for (int l = 0; l < stack->n_layers; l++) {
        dgm_comm_at(f->comm, "encode", l);
        if (batch->n_tokens > 0)
            self_attention(f, memory, &stack->layers[l], batch);
        DGM_TRY(dgm_block_ffn(f, memory, &stack->layers[l], batch->n_tokens));
    }
    if (batch->n_tokens > 0)
        dgm_block_norm(f, memory, memory, &stack->norm, batch->n_tokens);
    return DGM_OK;
}

size_t dgm_encoder_scratch_bytes(const dgm_model *m, int n_tokens)
{
    return (size_t)n_tokens *
               (4 * (size_t)m->cfg.d_model * sizeof(float) + sizeof(dgm_attend_job)) +
           4096;
}

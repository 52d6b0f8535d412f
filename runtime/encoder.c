#include "runtime/encoder.h"

#include "runtime/layers.h"
#include "runtime/moe.h"

/* x += SelfAttention(norm(x)), every sentence over its own tokens; starts count from the batch's first token. */
static void self_attention(const dgm_forward *f, const dgm_half *half, int l)
{
    const dgm_encoder_batch *b = half->ctx;
    const dgm_layer *layer = &f->model->stack[DGM_ENCODER].layers[l];
    const size_t mark = dgm_arena_mark(f->step), d = (size_t)f->model->cfg.d_model,
                 n = (size_t)b->n_tokens, head = d / (size_t)f->model->cfg.n_heads[DGM_ENCODER];
    float *h = dgm_arena_push(f->step, n * d * sizeof(float));
    float *qkv = dgm_arena_push(f->step, n * 3 * d * sizeof(float));
    dgm_attend_job *jobs = dgm_arena_push(f->step, n * sizeof *jobs);
    const int64_t began = dgm_stage_begin(f->clock);
    uint64_t keys = 0;
    int longest = 0;
    dgm_block_norm(f, h, half->x, &layer->self_norm, b->n_tokens);
    dgm_block_linear(f, qkv, h, &layer->qkv, NULL, 0, b->n_tokens);
    for (int s = 0; s < b->n_seqs; s++) {
        const int from = b->starts[s] - b->starts[0], len = b->starts[s + 1] - b->starts[s];
        const float *first = qkv + (size_t)from * 3 * d;
        longest = len > longest ? len : longest;
        keys += (uint64_t)len * (uint64_t)len;
        for (int t = from; t < from + len; t++)
            jobs[t] = (dgm_attend_job){.out = h + (size_t)t * d,
                                       .q = qkv + (size_t)t * 3 * d,
                                       .k = first + d,
                                       .v = first + 2 * d,
                                       .ld = 3 * d,
                                       .head = head,
                                       .n = len};
    }
    dgm_block_attend(f, jobs, b->n_tokens, f->model->cfg.n_heads[DGM_ENCODER], longest);
    dgm_block_linear(f, half->x, h, &layer->self_out, half->x, 0, b->n_tokens);
    dgm_stage_end(f->clock, DGM_STAGE_SELF, began, b->n_tokens, keys);
    dgm_arena_pop(f->step, mark);
}

/* Sentences of the first half: attention stays inside a sentence, so the cut is the border nearest to the middle. */
static int sentences_before_cut(const dgm_encoder_batch *b)
{
    int s = 0;
    while (s < b->n_seqs && b->starts[s] + b->starts[s + 1] <= b->n_tokens)
        s++; /* the middle of this sentence is not behind that of the batch */
    return s;
}

static dgm_encoder_batch sentences(const dgm_encoder_batch *b, int from, int to)
{
    if (from == to)
        return (dgm_encoder_batch){0};
    const int first = b->starts[from];
    return (dgm_encoder_batch){.n_seqs = to - from,
                               .n_tokens = b->starts[to] - first,
                               .ids = b->ids + first,
                               .pos = b->pos + first,
                               .starts = b->starts + from};
}

int dgm_encoder_forward(const dgm_forward *f, float *memory, const dgm_encoder_batch *batch)
{
    const dgm_stack *stack = &f->model->stack[DGM_ENCODER];
    const int cut = f->overlap ? sentences_before_cut(batch) : batch->n_seqs;
    const dgm_encoder_batch a = sentences(batch, 0, cut), b = sentences(batch, cut, batch->n_seqs);
    const dgm_half halves[DGM_HALVES] = {
        {.x = memory, .rows = a.n_tokens, .ctx = &a},
        {.x = memory + (size_t)a.n_tokens * (size_t)f->model->cfg.d_model,
         .rows = b.n_tokens,
         .first = a.n_tokens,
         .ctx = &b}};
    dgm_stage_enter(f->clock, DGM_ENCODER);
    const int64_t began = dgm_stage_begin(f->clock);
    if (batch->n_tokens > 0)
        dgm_block_embed(f, memory, batch->ids, batch->pos, batch->n_tokens);
    dgm_stage_end(f->clock, DGM_STAGE_EMBED, began, batch->n_tokens, 0);
    DGM_TRY(dgm_layers_run(f, DGM_ENCODER, "encode", halves, f->overlap ? DGM_HALVES : 1,
                           self_attention));
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

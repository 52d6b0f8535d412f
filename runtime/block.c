#include "runtime/block.h"

#include "kernels/gemm.h"

#include <math.h>
#include <string.h>

/* A region of the pool costs a few microseconds: below this many elements one thread is faster. */
enum { MIN_PARALLEL = 1 << 14, ASK_FLOATS = 1 << 11, LINE_BYTES = 64 };

static dgm_pool *pool_for(const dgm_forward *f, size_t work)
{
    return work < MIN_PARALLEL ? NULL : f->pool;
}

typedef struct row_args {
    const dgm_forward *f;
    float *y;
    const float *x;
    const dgm_norm *norm;
    const int32_t *ids, *pos;
    int rows;
} row_args;

static void embed_part(void *ctx, int part, int n_parts)
{
    const row_args *a = ctx;
    const dgm_model *m = a->f->model;
    const int d = m->cfg.d_model;
    int begin, end;
    dgm_pool_share(&begin, &end, a->rows, part, n_parts);
    for (int r = begin; r < end; r++) {
        float *y = a->y + (size_t)r * (size_t)d;
        dgm_packed_read(y, &m->embed, a->ids[r]);
        a->f->kern->embed(y, y, 1, m->cfg.embed_scale,
                          m->positions + (size_t)(a->pos[r] + 2) * (size_t)d, d);
    }
}

void dgm_block_embed(const dgm_forward *f, float *x, const int32_t *ids, const int32_t *pos,
                     int rows)
{
    row_args a = {.f = f, .y = x, .ids = ids, .pos = pos, .rows = rows};
    dgm_pool_run(pool_for(f, (size_t)rows * (size_t)f->model->cfg.d_model), embed_part, &a);
}

static void norm_part(void *ctx, int part, int n_parts)
{
    const row_args *a = ctx;
    const size_t d = (size_t)a->f->model->cfg.d_model;
    int begin, end;
    dgm_pool_share(&begin, &end, a->rows, part, n_parts);
    for (int r = begin; r < end; r++)
        a->f->kern->layer_norm(a->y + (size_t)r * d, a->x + (size_t)r * d, a->norm->w, a->norm->b,
                               (int)d, 1e-5F);
}

void dgm_block_norm(const dgm_forward *f, float *y, const float *x, const dgm_norm *norm, int rows)
{
    row_args a = {.f = f, .y = y, .x = x, .norm = norm, .rows = rows};
    dgm_pool_run(pool_for(f, (size_t)rows * (size_t)f->model->cfg.d_model), norm_part, &a);
}

void dgm_block_linear(const dgm_forward *f, float *y, const float *x, const dgm_linear *w,
                      const float *residual, int relu, int rows)
{
    const dgm_gemm_job job = {.x = x,
                              .ldx = (size_t)w->w.k,
                              .y = y,
                              .ldy = (size_t)w->w.n,
                              .w = &w->w,
                              .bias = w->b,
                              .residual = residual,
                              .ldr = (size_t)w->w.n,
                              .rows = rows,
                              .relu = relu,
                              .compute = f->compute};
    dgm_gemm(f->kern, f->pool, &job, 1, f->step);
    dgm_comm_progress(f->comm);
}

typedef struct attend_args {
    const dgm_forward *f;
    const dgm_attend_job *jobs;
    float *prob; /* [parts, max_keys] */
    int n_jobs, heads, max_keys;
    int split_heads; /* parts share out (row, head), else rows: `looked` is summed over heads in order */
} attend_args;

static void attend_one(const attend_args *a, const dgm_attend_job *j, int head, float *prob)
{
    const int hd = a->f->model->cfg.d_model / a->heads;
    const size_t at = (size_t)head * (size_t)hd, kv = (size_t)head * j->head;
    const float scale = 1.0F / sqrtf((float)hd);
    if (j->bf16)
        a->f->kern->attend_bf16(j->out + at, prob, j->q + at, (const uint16_t *)j->k + kv,
                                (const uint16_t *)j->v + kv, j->idx, j->ld, j->ld, j->n, hd, scale);
    else
        a->f->kern->attend(j->out + at, prob, j->q + at, (const float *)j->k + kv,
                           (const float *)j->v + kv, j->idx, j->ld, j->ld, j->n, hd, scale);
    if (j->looked != NULL)
        a->f->kern->add(j->looked, j->looked, prob, j->n);
}

static bool same_past(const dgm_attend_job *a, const dgm_attend_job *b)
{
    return a->idx != NULL && b->idx != NULL && a->idx[0] == b->idx[0];
}

/*
 * ask - at the first row of a sentence, for what `head` will read of the next sentence. Short ones only: of long ones
 * the hardware sees that they are read in order. Inlined, for gcc drops a call that only prefetches.
 */
static inline __attribute__((always_inline)) void ask(const attend_args *a, int job, int head)
{
    const dgm_attend_job *j = &a->jobs[job], *end = a->jobs + a->n_jobs;
    const size_t hd = (size_t)(a->f->model->cfg.d_model / a->heads);
    if (j->idx == NULL || (job > 0 && same_past(j - 1, j)))
        return;
    const dgm_attend_job *next = j + 1;
    while (next < end && same_past(j, next))
        next++;
    if (next == end || (size_t)next->n * hd > ASK_FLOATS)
        return;
    const size_t bytes = next->bf16 ? 2 : 4;
    const char *from = (const char *)next->k + (size_t)head * next->head * bytes;
    for (int p = 0; p < next->n; p++)
        for (size_t i = 0; i < 2 * hd * bytes; i += LINE_BYTES) /* v stands behind k */
            __builtin_prefetch(from + (size_t)next->idx[p] * next->ld * bytes + i);
}

static void attend_part(void *ctx, int part, int n_parts)
{
    const attend_args *a = ctx;
    float *prob = a->prob + (size_t)part * (size_t)a->max_keys;
    int begin, end;
    dgm_pool_share(&begin, &end, a->split_heads ? a->n_jobs * a->heads : a->n_jobs, part, n_parts);
    for (int i = begin; i < end; i++) {
        const int job = a->split_heads ? i / a->heads : i;
        const int from = a->split_heads ? i % a->heads : 0,
                  to = a->split_heads ? from + 1 : a->heads;
        for (int h = from; h < to; h++) {
            ask(a, job, h);
            attend_one(a, &a->jobs[job], h, prob);
        }
    }
}

void dgm_block_attend(const dgm_forward *f, const dgm_attend_job *jobs, int n_jobs, int heads,
                      int max_keys)
{
    if (n_jobs == 0)
        return;
    const size_t mark = dgm_arena_mark(f->step);
    attend_args a = {
        .f = f, .jobs = jobs, .n_jobs = n_jobs, .heads = heads, .max_keys = (max_keys + 15) & ~15};
    a.split_heads = 1;
    size_t work = 0;
    for (int i = 0; i < n_jobs; i++) {
        work += (size_t)jobs[i].n * (size_t)f->model->cfg.d_model;
        a.split_heads &= jobs[i].looked == NULL;
    }
    a.prob = dgm_arena_push(f->step,
                            (size_t)dgm_pool_size(f->pool) * (size_t)a.max_keys * sizeof(float));
    dgm_pool_run(pool_for(f, work), attend_part, &a);
    dgm_comm_progress(f->comm);
    dgm_arena_pop(f->step, mark);
}

void dgm_block_ffn(const dgm_forward *f, float *x, const dgm_layer *layer, int rows)
{
    const size_t mark = dgm_arena_mark(f->step), n = (size_t)rows;
    float *h = dgm_arena_push(f->step, n * (size_t)f->model->cfg.d_model * sizeof(float));
    float *t = dgm_arena_push(f->step, n * (size_t)layer->ffn.fc1.w.n * sizeof(float));
    const int64_t began = dgm_stage_begin(f->clock);
    dgm_block_norm(f, h, x, &layer->ffn_norm, rows);
    dgm_block_linear(f, t, h, &layer->ffn.fc1, NULL, 1, rows);
    dgm_block_linear(f, x, t, &layer->ffn.fc2, x, 0, rows);
    dgm_stage_end(f->clock, DGM_STAGE_FFN, began, rows, 0);
    dgm_arena_pop(f->step, mark);
}

size_t dgm_block_scratch_bytes(const dgm_model *m, int rows, int max_keys, int n_threads)
{
    const size_t d = (size_t)m->cfg.d_model, n = (size_t)rows;
    size_t f = (size_t)m->cfg.ffn_dim[DGM_ENCODER];
    if (f < (size_t)m->cfg.ffn_dim[DGM_DECODER])
        f = (size_t)m->cfg.ffn_dim[DGM_DECODER];
    const size_t wide = f > 3 * d ? f : 3 * d;
    return 4 * n * (d + wide) + 4 * (size_t)n_threads * ((size_t)max_keys + 16) +
           dgm_gemm_scratch_bytes(rows, 1, (int)wide, (int)wide, n_threads) + 4096;
}

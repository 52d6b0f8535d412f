#include "runtime/block.h"

#include "kernels/gemm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A region of the pool costs a few microseconds: below this many elements one thread is faster. */
enum { MIN_PARALLEL = 1 << 14, ASK_FLOATS = 1 << 11, LINE_BYTES = 64 };
enum { ALONE_BYTES = 6 << 10 }; /* keys of a head */

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

void dgm_forward_bad(const dgm_forward *f, int row)
{
    f->bad[row] = 1;
    if (f->bad_text[0] == '\0')
        (void)snprintf(f->bad_text, DGM_BAD_TEXT, "%s", dgm_error_text());
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
    dgm_observe(f->observer, &w->w, x, rows);
    dgm_gemm(f->kern, f->pool, &job, 1, f->step);
    dgm_comm_progress(f->comm);
}

typedef struct attend_args {
    const dgm_forward *f;
    const dgm_attend_job *jobs;
    float *prob; /* [parts, DGM_QUERIES, max_keys] */
    int n_jobs, heads, max_keys;
    bool
        split_heads; /* parts share out rows and heads, else rows: `looked` is summed over heads in order */
} attend_args;

/* attend_at_once - `heads` heads of a row from `head` on, or that head of n_jobs rows that look at the same keys. */
static void attend_at_once(const attend_args *a, const dgm_attend_job *j, int n_jobs, int head,
                           int heads, float *prob)
{
    const int hd = a->f->model->cfg.d_model / a->heads;
    const size_t ldp = (size_t)a->max_keys,
                 kv = (size_t)head * j->head * (j->bf16 ? 2 : sizeof(float));
    dgm_attend look = {.queries = n_jobs > 1 ? n_jobs : heads,
                       .k = (const char *)j->k + kv,
                       .v = (const char *)j->v + kv,
                       .bf16 = j->bf16,
                       .apart = n_jobs > 1 ? 0 : j->head,
                       .idx = j->idx,
                       .ld = j->ld,
                       .n = j->n,
                       .hd = hd,
                       .scale = 1.0F / sqrtf((float)hd)};
    for (int r = 0; r < look.queries; r++) {
        const dgm_attend_job *job = n_jobs > 1 ? &j[r] : j;
        const size_t at = (size_t)(n_jobs > 1 ? head : head + r) * (size_t)hd;
        look.q[r] = job->q + at;
        look.out[r] = job->out + at;
    }
    a->f->kern->attend(prob, ldp, &look);
    for (int r = 0; r < look.queries; r++) {
        float *looked = n_jobs > 1 ? j[r].looked : j->looked;
        if (looked != NULL)
            a->f->kern->add(looked, looked, prob + (size_t)r * ldp, j->n);
    }
}

/* of_one_sentence - rows of the decoder whose pasts began alike, or with one source; of the encoder, with one text. */
static bool of_one_sentence(const dgm_attend_job *a, const dgm_attend_job *b)
{
    if (a->idx == NULL || b->idx == NULL)
        return a->k == b->k;
    return a->idx[0] == b->idx[0];
}

static bool same_keys(const dgm_attend_job *a, const dgm_attend_job *b)
{
    return a->k == b->k && a->idx == b->idx && a->n == b->n;
}

/*
 * ask - for what `head` and those beside it will read of the next sentence. Short ones only: of long ones the hardware
 * sees that they are read in order. Inlined, for gcc drops a call that only prefetches.
 */
static inline __attribute__((always_inline)) void
ask(const attend_args *a, const dgm_attend_job *next, int head, int heads)
{
    const size_t hd = (size_t)(a->f->model->cfg.d_model / a->heads);
    if (next->idx == NULL || (size_t)next->n * hd > ASK_FLOATS)
        return;
    const size_t bytes = next->bf16 ? 2 : 4;
    for (int h = head; h < head + heads; h++) {
        const char *from = (const char *)next->k + (size_t)h * next->head * bytes;
        for (int p = 0; p < next->n; p++)
            for (size_t i = 0; i < 2 * hd * bytes; i += LINE_BYTES) /* v stands behind k */
                __builtin_prefetch(from + (size_t)next->idx[p] * next->ld * bytes + i);
    }
}

/* heads_at_once - of one row: several, so that no step of one waits; keys of several heads that would not stay in L1
 * together are better looked at one head after the other. */
static int heads_at_once(const attend_args *a, const dgm_attend_job *j, int head)
{
    const int hd = a->f->model->cfg.d_model / a->heads;
    if (j->n * hd * (j->bf16 ? 2 : (int)sizeof(float)) > ALONE_BYTES)
        return 1;
    return a->heads - head < DGM_QUERIES ? a->heads - head : DGM_QUERIES;
}

/* attend_sentence - all heads of n rows of a sentence, one head after the other, so that its keys stay in L1; with `same`
 * keys rows attend together. */
static void attend_sentence(const attend_args *a, const dgm_attend_job *j, int n, bool same,
                            const dgm_attend_job *next, float *prob)
{
    const int rows = same ? DGM_QUERIES : 1;
    for (int h = 0, heads; h < a->heads; h += heads) {
        heads = same && n > 1 ? 1 : heads_at_once(a, j, h);
        if (next != NULL)
            ask(a, next, h, heads);
        for (int r = 0; r < n; r += rows) {
            const int at_once = n - r < rows ? n - r : rows;
            attend_at_once(a, j + r, at_once, h, heads, prob);
        }
    }
}

static void attend_rows(const attend_args *a, int begin, int end, float *prob)
{
    for (int first = begin, last; first < end; first = last) {
        const dgm_attend_job *j = &a->jobs[first];
        bool same = true;
        for (last = first + 1; last < end && of_one_sentence(j, &a->jobs[last]); last++)
            same = same && same_keys(j, &a->jobs[last]);
        attend_sentence(a, j, last - first, same, last < end ? &a->jobs[last] : NULL, prob);
    }
}

static void attend_part(void *ctx, int part, int n_parts)
{
    const attend_args *a = ctx;
    const int per_row = a->split_heads ? a->heads : 1;
    float *prob = a->prob + (size_t)part * DGM_QUERIES * (size_t)a->max_keys;
    int begin, end;
    dgm_pool_share(&begin, &end, a->n_jobs * per_row, part, n_parts);
    if (!a->split_heads)
        attend_rows(a, begin, end, prob);
    for (int i = begin; a->split_heads && i < end; i++)
        attend_at_once(a, &a->jobs[i / per_row], 1, i % per_row, 1, prob);
}

void dgm_block_attend(const dgm_forward *f, const dgm_attend_job *jobs, int n_jobs, int heads,
                      int max_keys)
{
    if (n_jobs == 0)
        return;
    const size_t mark = dgm_arena_mark(f->step);
    attend_args a = {
        .f = f, .jobs = jobs, .n_jobs = n_jobs, .heads = heads, .max_keys = (max_keys + 15) & ~15};
    a.split_heads = dgm_pool_size(f->pool) > 1 && n_jobs < 4 * dgm_pool_size(f->pool);
    size_t work = 0;
    for (int i = 0; i < n_jobs; i++) {
        work += (size_t)jobs[i].n * (size_t)f->model->cfg.d_model;
        a.split_heads = a.split_heads && jobs[i].looked == NULL;
    }
    a.prob = dgm_arena_push(f->step, (size_t)dgm_pool_size(f->pool) * DGM_QUERIES *
                                         (size_t)a.max_keys * sizeof(float));
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
    return 4 * n * (d + wide) + 4 * (size_t)n_threads * DGM_QUERIES * ((size_t)max_keys + 16) +
           dgm_gemm_scratch_bytes(rows, 1, (int)wide, (int)wide, n_threads) + 4096;
}

#include "runtime/decoder.h"

#include "runtime/layers.h"
#include "runtime/moe.h"

#include <string.h>

void dgm_decoder_cross(const dgm_forward *f, dgm_kvcache *kv, const float *memory,
                       const int32_t *starts, const int *slots, int n_seqs)
{
    const dgm_stack *stack = &f->model->stack[DGM_DECODER];
    const size_t mark = dgm_arena_mark(f->step), d = (size_t)f->model->cfg.d_model;
    float *t = dgm_arena_push(f->step, (size_t)starts[n_seqs] * 2 * d * sizeof(float));
    for (int s = 0; s < n_seqs; s++)
        dgm_kv_grow(&kv->cross, slots[s], starts[s + 1] - starts[s], 0);
    const int64_t began = dgm_stage_begin(f->clock);
    for (int l = 0; l < stack->n_layers; l++) {
        dgm_block_linear(f, t, memory, &stack->layers[l].cross_kv, NULL, 0, starts[n_seqs]);
        for (int s = 0; s < n_seqs; s++)
            for (int p = starts[s]; p < starts[s + 1]; p++) {
                const float *k = t + (size_t)p * 2 * d;
                dgm_kv_put(&kv->cross, l, dgm_kv_index(&kv->cross, slots[s], p - starts[s], 0), k,
                           k + d);
            }
    }
    dgm_stage_end(f->clock, DGM_STAGE_CROSS_KV, began, starts[n_seqs], 0);
    dgm_arena_pop(f->step, mark);
}

/* What the rows of a step share over all layers. */
typedef struct step_rows {
    const dgm_kvcache *kv;
    const dgm_decoder_row *rows;
    int n, longest_target, longest_source;
    int32_t **past,
        **source;   /* [n] where each position of a row's past, and of its source, is cached */
    float **looked; /* [n] sums of attention over heads and layers, or NULL */
    dgm_attend_job *jobs;                   /* [n] */
    float *x, *h, *wide;                    /* [n, d], [n, d], [n, 3 d] */
    dgm_stage_total past_keys, source_keys; /* of one layer, when there is a clock */
} step_rows;

static int32_t *index_source(const dgm_forward *f, const dgm_kvcache *kv,
                             const dgm_decoder_row *row)
{
    int32_t *at = dgm_arena_push(f->step, (size_t)row->n_source * sizeof *at);
    for (int p = 0; p < row->n_source; p++)
        at[p] = dgm_kv_index(&kv->cross, row->memory, p, 0);
    return at;
}

static void index_caches(const dgm_forward *f, dgm_kvcache *kv, step_rows *s)
{
    for (int r = 0; r < s->n; r++) {
        const dgm_decoder_row *row = &s->rows[r];
        dgm_kv_grow(&kv->self, row->slot, row->pos + 1, row->row);
        s->past[r] = dgm_arena_push(f->step, (size_t)(row->pos + 1) * sizeof(int32_t));
        for (int p = 0; p <= row->pos; p++)
            s->past[r][p] =
                dgm_kv_index(&kv->self, row->slot, p, row->path == NULL ? 0 : row->path[p]);
        if (r > 0 && row->memory == row[-1].memory) /* what rows share, they may look at together */
            s->source[r] = s->source[r - 1];
        else
            s->source[r] = index_source(f, kv, row);
        s->looked[r] = NULL;
        if (row->looked_at != NULL) {
            s->looked[r] = dgm_arena_push(f->step, (size_t)row->n_source * sizeof(float));
            memset(s->looked[r], 0, (size_t)row->n_source * sizeof(float));
        }
        if (row->pos + 1 > s->longest_target)
            s->longest_target = row->pos + 1;
        if (row->n_source > s->longest_source)
            s->longest_source = row->n_source;
    }
}

static int first_of_slot(const step_rows *s, int r)
{
    while (r > 0 && s->rows[r - 1].slot == s->rows[r].slot)
        r--;
    return r;
}

/* is_new - no row of the sentence before r has the same place at position p in its past. */
static bool is_new(const step_rows *s, int r, int p)
{
    for (int i = first_of_slot(s, r); i < r; i++)
        if (p <= s->rows[i].pos && s->past[i][p] == s->past[r][p])
            return false;
    return true;
}

static void count_keys(step_rows *s)
{
    for (int r = 0; r < s->n; r++) {
        const dgm_decoder_row *row = &s->rows[r];
        s->past_keys.units += (uint64_t)row->pos + 1;
        s->source_keys.units += (uint64_t)row->n_source;
        for (int p = 0; p <= row->pos; p++)
            s->past_keys.distinct += is_new(s, r, p);
        if (r == 0 || row->memory != row[-1].memory)
            s->source_keys.distinct += (uint64_t)row->n_source;
    }
}

/* cached - q over what `pool` holds of layer l at the n places of idx. */
static dgm_attend_job cached(const dgm_kvpool *pool, int l, const int32_t *idx, int n)
{
    const char *k = dgm_kv_at(pool, l);
    return (dgm_attend_job){.k = k,
                            .v = k + (size_t)pool->hd * dgm_kv_bytes(pool),
                            .bf16 = pool->bf16,
                            .idx = idx,
                            .ld = 2 * (size_t)pool->hd,
                            .head = pool->head,
                            .n = n};
}

static void self_attention(const dgm_forward *f, const dgm_kvcache *kv, const step_rows *s, int l)
{
    const dgm_layer *layer = &f->model->stack[DGM_DECODER].layers[l];
    const size_t d = (size_t)f->model->cfg.d_model;
    dgm_block_norm(f, s->h, s->x, &layer->self_norm, s->n);
    dgm_block_linear(f, s->wide, s->h, &layer->qkv, NULL, 0, s->n);
    for (int r = 0; r < s->n; r++) {
        const dgm_decoder_row *row = &s->rows[r];
        const float *qkv = s->wide + (size_t)r * 3 * d;
        dgm_kv_put(&kv->self, l, dgm_kv_index(&kv->self, row->slot, row->pos, row->row), qkv + d,
                   qkv + 2 * d);
        s->jobs[r] = cached(&kv->self, l, s->past[r], row->pos + 1);
        s->jobs[r].out = s->h + (size_t)r * d;
        s->jobs[r].q = qkv;
    }
    dgm_block_attend(f, s->jobs, s->n, f->model->cfg.n_heads[DGM_DECODER], s->longest_target);
    dgm_block_linear(f, s->x, s->h, &layer->self_out, s->x, 0, s->n);
}

static void cross_attention(const dgm_forward *f, const dgm_kvcache *kv, const step_rows *s, int l)
{
    const dgm_layer *layer = &f->model->stack[DGM_DECODER].layers[l];
    const size_t d = (size_t)f->model->cfg.d_model;
    dgm_block_norm(f, s->h, s->x, &layer->cross_norm, s->n);
    dgm_block_linear(f, s->wide, s->h, &layer->cross_q, NULL, 0, s->n);
    for (int r = 0; r < s->n; r++) {
        s->jobs[r] = cached(&kv->cross, l, s->source[r], s->rows[r].n_source);
        s->jobs[r].out = s->h + (size_t)r * d;
        s->jobs[r].q = s->wide + (size_t)r * d;
        s->jobs[r].looked = s->looked[r];
    }
    dgm_block_attend(f, s->jobs, s->n, f->model->cfg.n_heads[DGM_DECODER], s->longest_source);
    dgm_block_linear(f, s->x, s->h, &layer->cross_out, s->x, 0, s->n);
}

static void keep_looks(const step_rows *s)
{
    for (int r = 0; r < s->n; r++) {
        const dgm_decoder_row *row = &s->rows[r];
        if (row->looked_at == NULL)
            continue;
        int best = row->look_from;
        for (int p = row->look_from; p < row->look_to; p++)
            if (s->looked[r][p] > s->looked[r][best])
                best = p;
        *row->looked_at = (int16_t)best;
    }
}

/* The two attentions of layer l, each on the clock. */
static void attention(const dgm_forward *f, const dgm_half *half, int l)
{
    const step_rows *s = half->ctx;
    const int64_t began = dgm_stage_begin(f->clock);
    self_attention(f, s->kv, s, l);
    dgm_stage_end(f->clock, DGM_STAGE_SELF, began, s->n, s->past_keys.units);
    const int64_t then = dgm_stage_begin(f->clock);
    cross_attention(f, s->kv, s, l);
    dgm_stage_end(f->clock, DGM_STAGE_CROSS, then, s->n, s->source_keys.units);
    dgm_stage_distinct(f->clock, DGM_STAGE_SELF, s->past_keys.distinct);
    dgm_stage_distinct(f->clock, DGM_STAGE_CROSS, s->source_keys.distinct);
}

/* Rows from .. to - 1. Rows of one sentence at successive positions may be in both halves: the first one's keys are
 * there when the second one looks. */
static step_rows some_rows(const step_rows *s, size_t d, int from, int to, bool clocked)
{
    step_rows part = *s;
    const size_t at = (size_t)from;
    part.n = to - from;
    part.rows += at;
    part.past += at;
    part.source += at;
    part.looked += at;
    part.jobs += at;
    part.x += at * d;
    part.h += at * d;
    part.wide += at * 3 * d;
    if (clocked)
        count_keys(&part);
    return part;
}

/* All layers over all rows. */
static int layers(const dgm_forward *f, const step_rows *s)
{
    const size_t d = (size_t)f->model->cfg.d_model;
    const int cut = f->overlap ? (s->n + 1) / 2 : s->n;
    const step_rows a = some_rows(s, d, 0, cut, f->clock != NULL),
                    b = some_rows(s, d, cut, s->n, f->clock != NULL);
    const dgm_half halves[DGM_HALVES] = {{.x = a.x, .rows = a.n, .ctx = &a},
                                         {.x = b.x, .rows = b.n, .first = cut, .ctx = &b}};
    return dgm_layers_run(f, DGM_DECODER, "decode", halves, f->overlap ? DGM_HALVES : 1, attention);
}

/* project - the vocabulary for the rows that choose from `list`. */
static int project(const dgm_forward *f, const step_rows *s, dgm_vocab_row *want,
                   const dgm_shortlist *list)
{
    const size_t d = (size_t)f->model->cfg.d_model;
    int n = 0;
    for (int r = 0; r < s->n; r++) {
        if (s->rows[r].best == NULL || s->rows[r].list != list)
            continue;
        want[n] = *s->rows[r].best;
        want[n++].x = s->h + (size_t)r * d;
    }
    for (int r = 0; f->observer != NULL && r < n; r++)
        dgm_observe(f->observer, &f->model->embed, want[r].x, 1);
    const int rc = dgm_vocab(f->kern, f->pool, want, n, list == NULL ? &f->model->embed : &list->w,
                             f->compute, f->step);
    if (rc != DGM_OK && (rc != DGM_ENAN || f->bad == NULL))
        return rc;
    n = 0;
    for (int r = 0; r < s->n; r++) {
        if (s->rows[r].best == NULL || s->rows[r].list != list)
            continue;
        *s->rows[r].best = want[n++];
        if (rc != DGM_OK && s->rows[r].best->max != s->rows[r].best->max) {
            dgm_forward_bad(f, r);
            continue;
        }
        if (list != NULL)
            dgm_shortlist_name(list, s->rows[r].best, f->model->cfg.vocab_size);
    }
    return DGM_OK;
}

static int vocabulary(const dgm_forward *f, const step_rows *s)
{
    dgm_vocab_row *want = dgm_arena_push(f->step, (size_t)s->n * sizeof *want);
    int n = 0;
    const int64_t began = dgm_stage_begin(f->clock);
    dgm_comm_at(f->comm, "vocabulary", -1);
    for (int r = 0; r < s->n; r++)
        n += s->rows[r].best != NULL;
    dgm_block_norm(f, s->h, s->x, &f->model->stack[DGM_DECODER].norm, s->n);
    DGM_TRY(project(f, s, want, NULL));
    for (int i = 0; f->lists != NULL && i < f->lists->n; i++)
        DGM_TRY(project(f, s, want, &f->lists->list[i]));
    dgm_stage_end(f->clock, DGM_STAGE_VOCABULARY, began, n, 0);
    return DGM_OK;
}

int dgm_decoder_step(const dgm_forward *f, dgm_kvcache *kv, const dgm_decoder_row *rows, int n_rows)
{
    const size_t mark = dgm_arena_mark(f->step), n = (size_t)n_rows,
                 row_bytes = (size_t)f->model->cfg.d_model * sizeof(float);
    step_rows s = {.kv = kv, .rows = rows, .n = n_rows};
    s.past = dgm_arena_push(f->step, n * sizeof *s.past);
    s.source = dgm_arena_push(f->step, n * sizeof *s.source);
    s.looked = dgm_arena_push(f->step, n * sizeof *s.looked);
    s.jobs = dgm_arena_push(f->step, n * sizeof *s.jobs);
    s.x = dgm_arena_push(f->step, n * row_bytes);
    s.h = dgm_arena_push(f->step, n * row_bytes);
    s.wide = dgm_arena_push(f->step, 3 * n * row_bytes);
    int32_t *ids = dgm_arena_push(f->step, n * sizeof *ids),
            *pos = dgm_arena_push(f->step, n * sizeof *pos);
    for (int r = 0; r < n_rows; r++) {
        ids[r] = rows[r].token;
        pos[r] = rows[r].pos;
    }
    dgm_stage_enter(f->clock, DGM_DECODER);
    const int64_t began = dgm_stage_begin(f->clock);
    index_caches(f, kv, &s);
    if (n_rows > 0)
        dgm_block_embed(f, s.x, ids, pos, n_rows);
    dgm_stage_end(f->clock, DGM_STAGE_EMBED, began, n_rows, 0);
    DGM_TRY(layers(f, &s));
    keep_looks(&s);
    const int rc = n_rows > 0 ? vocabulary(f, &s) : DGM_OK;
    dgm_arena_pop(f->step, mark);
    return rc;
}

size_t dgm_decoder_scratch_bytes(const dgm_model *m, int n_rows, int n_tokens, int max_target,
                                 int max_source, int max_best, int n_threads)
{
    const size_t d = (size_t)m->cfg.d_model, n = (size_t)n_rows;
    const size_t row = 5 * d * sizeof(float) + ((size_t)max_target + 2 * (size_t)max_source) * 4 +
                       192 + 3 * sizeof(void *) + sizeof(dgm_attend_job) + sizeof(dgm_vocab_row) +
                       8;
    const size_t cross = 2 * (size_t)n_tokens * d * sizeof(float);
    return n * row + cross +
           dgm_vocab_scratch_bytes(n_rows, max_best, m->cfg.vocab_size, (int)d, n_threads) + 8192;
}

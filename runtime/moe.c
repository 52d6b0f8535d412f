#include "runtime/moe.h"

#include "kernels/gemm.h"
#include "kernels/route.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the share of one token comes back: a row of the replies of one or two ranks. */
typedef struct trip {
    int32_t peer[2], at[2]; /* peer[1] -1: one rank has it all */
} trip;

/* One row for one expert of this rank. */
typedef struct assignment {
    const dgm_row_tag *tag;
    const char *row; /* as it travels: [d] f32, or its scale and [d] int8 */
    float *reply;
    int32_t pick; /* which expert of the tag */
    int32_t at;   /* place in the order by expert */
} assignment;

/* What one half of a step's rows needs in one layer. */
typedef struct half {
    dgm_xchg *xchg;
    dgm_arena
        scratch; /* reserved for the worst case, touched as far as used; empty between layers */
    const trip *trips; /* [rows], from begin to end */
    int rows;
    bool at_home;       /* nothing travels; all rows are in: */
    dgm_xchg_part home; /* from begin to end */
} half;

struct dgm_moe {
    const dgm_model *model;
    half halves[DGM_HALVES];
    int ranks, max_ffn, bad;
    int n_encoder, n_layers; /* MoE layers of the encoder, and of both stacks */
    bool int8;               /* rows travel as int8 */
    size_t row_bytes;
    char bad_text[512];
    int32_t *n_to;        /* [ranks] */
    int32_t *n_for;       /* [most experts + 1] first place of each expert in the order by expert */
    uint32_t *load;       /* [experts of all layers] rows that each had since dgm_moe_take_load */
    dgm_gemm_job *jobs;   /* [most experts] */
    dgm_gpu_experts *gpu; /* NULL: this rank's experts run on the CPU */
};

static int widest_ffn(const dgm_model *model)
{
    const int *f = model->cfg.ffn_dim;
    return f[DGM_ENCODER] > f[DGM_DECODER] ? f[DGM_ENCODER] : f[DGM_DECODER];
}

static size_t scratch_bytes(const dgm_model *model, int ranks, int max_rows, int n_threads)
{
    const dgm_model_config *c = &model->cfg;
    const size_t d = (size_t)c->d_model, rows = (size_t)max_rows,
                 assigned = 2 * rows * (size_t)ranks;
    const int n_experts = dgm_config_most_experts(c);
    const int f = widest_ffn(model), wide = f > c->d_model ? f : c->d_model;
    return rows * (((size_t)n_experts + 3 * (size_t)c->d_model) * sizeof(float) + sizeof(trip) +
                   sizeof(dgm_row_tag)) +
           assigned * (sizeof(assignment) + d + (1 + d + (size_t)f) * sizeof(float)) +
           dgm_gemm_scratch_bytes((int)assigned, n_experts, wide, wide, n_threads) + 65536;
}

/* integer_experts - all of them: a packed model has one type. */
static bool integer_experts(const dgm_model *model)
{
    for (int s = 0; s < DGM_STACKS; s++)
        for (int l = 0; l < model->stack[s].n_layers; l++) {
            const dgm_layer *layer = &model->stack[s].layers[l];
            for (int e = 0; layer->sparse && e < layer->router.n; e++) {
                const dgm_wtype t = layer->experts[e].fc1.w.type;
                if (t != DGM_W_INT8 && t != DGM_W_INT4)
                    return false;
            }
        }
    return true;
}

int dgm_moe_create(dgm_moe **out, const dgm_model *model, dgm_comm *comm, int max_rows,
                   int n_threads, dgm_compute compute)
{
    dgm_moe *m = calloc(1, sizeof *m);
    if (m == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a mixture-of-experts layer");
    const size_t n_experts = (size_t)dgm_config_most_experts(&model->cfg);
    m->model = model;
    m->int8 = compute == DGM_COMPUTE_INT8 && integer_experts(model);
    const size_t d = (size_t)model->cfg.d_model;
    m->row_bytes = m->int8 ? sizeof(float) + (d + 3) / 4 * 4 : d * sizeof(float);
    m->ranks = dgm_comm_size(comm);
    m->max_ffn = widest_ffn(model);
    for (int l = 0; l < model->stack[DGM_ENCODER].n_layers; l++)
        m->n_encoder += model->stack[DGM_ENCODER].layers[l].sparse;
    m->n_layers = m->n_encoder;
    for (int l = 0; l < model->stack[DGM_DECODER].n_layers; l++)
        m->n_layers += model->stack[DGM_DECODER].layers[l].sparse;
    m->n_to = calloc((size_t)m->ranks, sizeof *m->n_to);
    m->n_for = calloc(n_experts + 1, sizeof *m->n_for);
    m->jobs = calloc(n_experts, sizeof *m->jobs);
    m->load = calloc((size_t)m->n_layers * n_experts + 1, sizeof *m->load);
    int rc = DGM_OK;
    if (m->n_to == NULL || m->n_for == NULL || m->jobs == NULL || m->load == NULL)
        rc = dgm_fail(DGM_ENOMEM, "out of memory for %zu experts", n_experts);
    for (int i = 0; rc == DGM_OK && i < DGM_HALVES; i++) {
        half *b = &m->halves[i];
        rc = dgm_arena_init_huge(&b->scratch, scratch_bytes(model, m->ranks, max_rows, n_threads));
        if (rc == DGM_OK)
            rc = dgm_xchg_create(&b->xchg, comm, m->row_bytes, model->cfg.d_model, max_rows);
    }
    if (rc != DGM_OK) {
        dgm_moe_destroy(m);
        return rc;
    }
    *out = m;
    return DGM_OK;
}

void dgm_moe_destroy(dgm_moe *m)
{
    if (m == NULL)
        return;
    for (int i = 0; i < DGM_HALVES; i++) {
        dgm_xchg_destroy(m->halves[i].xchg);
        dgm_arena_fini(&m->halves[i].scratch);
    }
    free(m->n_to);
    free(m->n_for);
    free(m->jobs);
    free(m->load);
    free(m);
}

void dgm_moe_use_gpu(dgm_moe *m, dgm_gpu_experts *gpu)
{
    m->gpu = gpu;
}

/* A local failure waits for the verdict; the first one counts. */
static void fail_here(dgm_moe *m, int rc)
{
    if (m->bad != DGM_OK)
        return;
    m->bad = rc;
    (void)snprintf(m->bad_text, sizeof m->bad_text, "%s", dgm_error_text());
}

/* layer_of - number of a layer among the MoE layers of its stack. */
static int layer_of(const dgm_moe *m, const dgm_layer *layer)
{
    return layer->moe_index < m->n_encoder ? layer->moe_index : layer->moe_index - m->n_encoder;
}

/* lost - of the gates that a row would have without a set, what falls on experts outside it. */
static float lost(const dgm_row_tag *tag, const uint8_t *kept, int top_k)
{
    if (top_k == 1) /* its gate is not renormalised, but all of it is gone */
        return kept[tag->expert[0]] ? 0.0f : 1.0f;
    float sum = 0.0f;
    for (int i = 0; i < 2; i++)
        if (tag->expert[i] >= 0 && !kept[tag->expert[i]])
            sum += tag->gate[i];
    return sum < 1.0f ? sum : 1.0f; /* both gates may round to a bit more */
}

/* first_of - a layer's expert 0 among those of all layers, as sets and marks have them. */
static size_t first_of(const dgm_moe *m, const dgm_layer *layer)
{
    const int *n = m->model->cfg.n_experts;
    const int enc = layer->moe_index < m->n_encoder ? layer->moe_index : m->n_encoder;
    return (size_t)enc * (size_t)n[DGM_ENCODER] +
           (size_t)(layer->moe_index - enc) * (size_t)n[DGM_DECODER];
}

/* keep_logits - for statistics: this layer's part of what a row leaves. */
static void keep_logits(const dgm_moe *m, float *row, const dgm_layer *layer, const float *logits)
{
    const size_t n = (size_t)layer->router.n;
    memcpy(row + (size_t)layer_of(m, layer) * n, logits, n * sizeof *row);
}

/* choose - two experts for a row, or one. */
static int choose(const dgm_moe *m, const dgm_forward *f, dgm_row_tag *tag, const float *logits,
                  int n)
{
    return m->model->cfg.top_k == 1 ? dgm_route_top1(tag->expert, tag->gate, f->kern, logits, n)
                                    : dgm_route_top2(tag->expert, tag->gate, logits, n);
}

/* choose_kept - the same among those of a set: what that loses is told, then logits outside it become -infinity. */
static int choose_kept(const dgm_moe *m, const dgm_forward *f, dgm_row_tag *tag, float *logits,
                       const dgm_layer *layer, const uint8_t *set, float *absent)
{
    const uint8_t *kept = set + first_of(m, layer);
    DGM_TRY(choose(m, f, tag, logits, layer->router.n));
    if (absent != NULL)
        absent[layer_of(m, layer)] = lost(tag, kept, m->model->cfg.top_k);
    for (int e = 0; e < layer->router.n; e++)
        if (kept[e] == 0)
            logits[e] = -INFINITY;
    return choose(m, f, tag, logits, layer->router.n);
}

/* take_by_hand - the experts of a task with the layer's own gates. Sets of languages do not touch them: there is no other
 * choice. */
static void take_by_hand(const dgm_moe *m, dgm_row_tag *tag, const dgm_layer *layer, int task)
{
    const dgm_tasks *t = &m->model->tasks;
    const int stack = layer->moe_index < m->n_encoder ? DGM_ENCODER : DGM_DECODER;
    const int16_t *pair = t->by_hand[stack][task * t->n_layers[stack] + layer_of(m, layer)];
    for (int i = 0; i < 2; i++) {
        tag->expert[i] = pair[i];
        tag->gate[i] = layer->gates[2 * task + i];
    }
}

/* choose_row - the experts of row `at` of the step. */
static int choose_row(const dgm_moe *m, const dgm_forward *f, dgm_row_tag *tag, float *logits,
                      const dgm_layer *layer, int at)
{
    const uint8_t *set = f->experts != NULL ? f->experts[at] : NULL;
    float *absent = f->absent != NULL ? f->absent[at] : NULL;
    if (set != NULL && layer->gates == NULL)
        return choose_kept(m, f, tag, logits, layer, set, absent);
    if (absent != NULL)
        absent[layer_of(m, layer)] = 0.0f;
    if (layer->gates != NULL) {
        take_by_hand(m, tag, layer, f->tasks[at]);
        return DGM_OK;
    }
    return choose(m, f, tag, logits, layer->router.n);
}

/* route_row - stage 5 for row `at` of the step. */
static int route_row(const dgm_moe *m, const dgm_forward *f, dgm_row_tag *tag, float *logits,
                     const dgm_layer *layer, int at)
{
    if (f->gates != NULL)
        keep_logits(m, f->gates[at], layer, logits);
    DGM_TRY(choose_row(m, f, tag, logits, layer, at));
    for (int i = 0; f->marks != NULL && i < 2; i++)
        if (tag->expert[i] >= 0)
            f->marks[at][first_of(m, layer) + (size_t)tag->expert[i]] = 1;
    return DGM_OK;
}

void dgm_moe_mean(float *y, const dgm_forward *f, const float *x, int rows)
{
    const int d = f->model->cfg.d_model;
    memcpy(y, x, (size_t)d * sizeof *y);
    for (int r = 1; r < rows; r++)
        f->kern->add(y, y, x + (size_t)r * (size_t)d, d);
    for (int i = 0; i < d; i++)
        y[i] /= (float)rows;
}

/* means_of - [rows, d] the mean of each row's sentence; rows of one sentence follow one another. */
static void means_of(const dgm_forward *f, float *y, const float *h, int rows, int first)
{
    const size_t d = (size_t)f->model->cfg.d_model;
    for (int r = 0, end; r < rows; r = end) {
        for (end = r + 1; end < rows && f->sentences[first + end] == f->sentences[first + r];)
            end++;
        dgm_moe_mean(y + (size_t)r * d, f, h + (size_t)r * d, end - r);
        for (int i = r + 1; i < end; i++)
            memcpy(y + (size_t)i * d, y + (size_t)r * d, d * sizeof *y);
    }
}

/* task_logits - a row of the table, or what makes dgm_route choose the experts that were given by hand. */
static void task_logits(const dgm_moe *m, float *logits, const dgm_layer *layer, int stack,
                        int task)
{
    if (m->model->cfg.routing[stack] == DGM_BY_TASK) {
        dgm_packed_read(logits, &layer->tasks, task);
        return;
    }
    const dgm_tasks *t = &m->model->tasks;
    const int16_t *pair = t->by_hand[stack][task * t->n_layers[stack] + layer_of(m, layer)];
    for (int e = 0; e < layer->router.n; e++)
        logits[e] = e == pair[0] || e == pair[1] ? 0.0f : -INFINITY;
}

/* logits_of - [rows, experts] of rows first .. of the step, from h [rows, d] or what stands for it. */
static void logits_of(const dgm_moe *m, half *b, const dgm_forward *f, float *logits,
                      const float *h, const dgm_layer *layer, int rows, int first)
{
    const int stack = layer->moe_index < m->n_encoder ? DGM_ENCODER : DGM_DECODER;
    const enum dgm_routing by = m->model->cfg.routing[stack];
    const size_t d = (size_t)m->model->cfg.d_model, n = (size_t)layer->router.n;
    const dgm_linear router = {.w = layer->router};
    if (dgm_routing_by_task(by)) {
        for (int r = 0; r < rows; r++)
            task_logits(m, logits + (size_t)r * n, layer, stack, f->tasks[first + r]);
        return;
    }
    const size_t mark = dgm_arena_mark(&b->scratch);
    if (by == DGM_BY_SENTENCE) {
        float *x = dgm_arena_push(&b->scratch, (size_t)rows * d * sizeof *x);
        if (stack == DGM_ENCODER)
            means_of(f, x, h, rows, first);
        for (int r = 0; stack == DGM_DECODER && r < rows; r++)
            memcpy(x + (size_t)r * d, f->means[first + r], d * sizeof *x);
        h = x;
    }
    dgm_block_linear(f, logits, h, &router, NULL, 0, rows);
    dgm_arena_pop(&b->scratch, mark);
}

/* Stage 5: two experts for each row, or one. */
static int route(dgm_moe *m, half *b, const dgm_forward *f, dgm_row_tag *tags, const float *h,
                 const dgm_layer *layer, int rows, int first)
{
    const int n_experts = layer->router.n;
    float *logits = dgm_arena_push(&b->scratch, (size_t)rows * (size_t)n_experts * sizeof(float));
    logits_of(m, b, f, logits, h, layer, rows, first);
    for (int r = 0; r < rows; r++) {
        const int rc =
            route_row(m, f, &tags[r], logits + (size_t)r * (size_t)n_experts, layer, first + r);
        if (rc == DGM_OK)
            continue;
        (void)dgm_fail(rc, "mixture-of-experts layer %d, row %d: a router logit is not a number",
                       layer->moe_index, first + r);
        if (f->bad == NULL)
            return rc;
        dgm_forward_bad(f, first + r);
        tags[r] = (dgm_row_tag){.expert = {-1, -1}};
    }
    return DGM_OK;
}

/* The owners of a row's experts; the second is -1 when one rank has both (or there is one expert), both of a bad row. */
static void owners(int32_t owner[2], const dgm_moe *m, const dgm_row_tag *tag,
                   const dgm_layer *layer)
{
    const dgm_placement *p = &m->model->placement;
    owner[0] = tag->expert[0] < 0 ? -1 : dgm_placement_owner(p, layer->moe_index, tag->expert[0]);
    owner[1] = tag->expert[1] < 0 ? -1 : dgm_placement_owner(p, layer->moe_index, tag->expert[1]);
    if (owner[1] == owner[0])
        owner[1] = -1;
}

/* put_row - one row [d] as it travels. */
static void put_row(const dgm_moe *m, const dgm_forward *f, char *to, const float *row)
{
    if (m->int8)
        f->kern->quantize_row((int8_t *)to + sizeof(float), (float *)(void *)to, row,
                              m->model->cfg.d_model);
    else
        memcpy(to, row, m->row_bytes);
}

/* stays - the plan says that the layer's rows are served where they are. */
static bool stays(const dgm_forward *f, const dgm_layer *layer)
{
    const int l = layer->moe_index;
    return f->skip != NULL && (f->skip[l / 8] >> l % 8 & 1) != 0;
}

/* keep_rows - stage 6 for rows that stay: all that is left of the exchange is the form of a row. */
static void keep_rows(const dgm_moe *m, half *b, const dgm_forward *f, dgm_row_tag *tags,
                      const float *h, int rows)
{
    const size_t d = (size_t)m->model->cfg.d_model, n = (size_t)rows;
    b->home = (dgm_xchg_part){.n_rows = rows,
                              .tags = tags,
                              .rows = dgm_arena_push(&b->scratch, n * m->row_bytes),
                              .reply = dgm_arena_push(&b->scratch, n * d * sizeof(float))};
    for (int r = 0; r < rows; r++) {
        put_row(m, f, (char *)b->home.rows + (size_t)r * m->row_bytes, h + (size_t)r * d);
        if (tags[r].expert[0] < 0) /* nobody writes it */
            memset(b->home.reply + (size_t)r * d, 0, d * sizeof(float));
    }
}

/* n_in, in_of - where the rows that this rank serves come from. */
static int n_in(const dgm_moe *m, const half *b)
{
    return b->at_home ? 1 : m->ranks;
}

static dgm_xchg_part in_of(const half *b, int p)
{
    return b->at_home ? b->home : dgm_xchg_in(b->xchg, p);
}

/* Stage 6, outward: count, lay out, and write each row once for each rank that holds an expert of it. */
static void pack_rows(dgm_moe *m, half *b, const dgm_forward *f, trip *trips,
                      const dgm_row_tag *tags, const float *h, const dgm_layer *layer, int rows)
{
    memset(m->n_to, 0, (size_t)m->ranks * sizeof *m->n_to);
    for (int r = 0; r < rows; r++) {
        trip *t = &trips[r];
        owners(t->peer, m, &tags[r], layer);
        for (int i = 0; i < 2; i++)
            t->at[i] = t->peer[i] < 0 ? -1 : m->n_to[t->peer[i]]++;
    }
    dgm_xchg_reserve(b->xchg, m->n_to);
    for (int r = 0; r < rows; r++) {
        const trip *t = &trips[r];
        char *first = NULL;
        for (int i = 0; i < 2 && t->peer[i] >= 0; i++) {
            const dgm_xchg_part part = dgm_xchg_out(b->xchg, t->peer[i]);
            dgm_row_tag tag = tags[r];
            if (t->peer[1] >= 0) /* two ranks: each is told its own expert only */
                tag = (dgm_row_tag){.expert = {tag.expert[i], -1}, .gate = {tag.gate[i], 0}};
            part.tags[t->at[i]] = tag;
            char *to = (char *)part.rows + (size_t)t->at[i] * m->row_bytes;
            if (i == 0)
                put_row(m, f, first = to, h + (size_t)r * (size_t)m->model->cfg.d_model);
            else
                memcpy(to, first, m->row_bytes);
        }
    }
}

/* Lists what came in, in the order peer, row, best first; m->n_for[e] becomes expert e's first place. */
static int list_assignments(dgm_moe *m, half *b, assignment **list, int n_experts)
{
    const size_t d = (size_t)m->model->cfg.d_model;
    int n_rows = 0, n = 0;
    for (int p = 0; p < n_in(m, b); p++)
        n_rows += in_of(b, p).n_rows;
    *list = dgm_arena_push(&b->scratch, 2 * (size_t)n_rows * sizeof **list);
    memset(m->n_for, 0, ((size_t)n_experts + 1) * sizeof *m->n_for);
    for (int p = 0; p < n_in(m, b); p++) {
        const dgm_xchg_part in = in_of(b, p);
        for (int i = 0; i < 2 * in.n_rows; i++) {
            const size_t r = (size_t)i / 2;
            const int32_t e = in.tags[r].expert[i % 2];
            if (e < 0)
                continue;
            (*list)[n++] = (assignment){&in.tags[r], (const char *)in.rows + r * m->row_bytes,
                                        in.reply + r * d, i % 2, m->n_for[e + 1]++};
        }
    }
    for (int e = 0; e < n_experts; e++)
        m->n_for[e + 1] += m->n_for[e];
    for (int i = 0; i < n; i++)
        (*list)[i].at += m->n_for[(*list)[i].tag->expert[(*list)[i].pick]];
    return n;
}

/* Rows in the order by expert: f32, or int8 with their scales. */
typedef struct rows_in {
    const float *x;
    const int8_t *q;
    const float *scale;
} rows_in;

/* One of an expert's two matrices over the rows of every expert: one parallel region. */
static void run_matrix(dgm_moe *m, half *b, const dgm_forward *f, float *y, const rows_in *in,
                       const dgm_layer *layer, int second)
{
    int n_jobs = 0;
    for (int e = 0; e < layer->router.n; e++) {
        const size_t at = (size_t)m->n_for[e];
        const int rows = m->n_for[e + 1] - m->n_for[e];
        if (rows == 0)
            continue;
        const dgm_linear *w = second ? &layer->experts[e].fc2 : &layer->experts[e].fc1;
        DGM_ASSERT(w->w.data !=
                   NULL); /* else the placement sent us a row of an expert that lives elsewhere */
        const size_t k = (size_t)w->w.k, n = (size_t)w->w.n;
        dgm_gemm_job *job = &m->jobs[n_jobs++];
        *job = (dgm_gemm_job){.ldx = k,
                              .y = y + at * n,
                              .ldy = n,
                              .w = &w->w,
                              .bias = w->b,
                              .rows = rows,
                              .relu = !second,
                              .compute = f->compute};
        if (in->q != NULL) {
            job->q = in->q + at * k;
            job->ldq = k;
            job->q_scale = in->scale + at;
        } else {
            job->x = in->x + at * k;
            dgm_observe(f->observer, &w->w, job->x, rows);
        }
    }
    dgm_gemm(f->kern, f->pool, m->jobs, n_jobs, &b->scratch);
    dgm_comm_progress(f->comm);
}

/* gather - what came in, in the order by expert; `x` [n, d] is room for it if it is f32. */
static rows_in gather(const dgm_moe *m, half *b, const assignment *list, int n, float *x)
{
    const size_t d = (size_t)m->model->cfg.d_model;
    if (!m->int8) {
        for (int i = 0; i < n; i++)
            memcpy(x + (size_t)list[i].at * d, list[i].row, m->row_bytes);
        return (rows_in){.x = x};
    }
    int8_t *q = dgm_arena_push(&b->scratch, (size_t)n * d);
    float *scale = dgm_arena_push(&b->scratch, (size_t)n * sizeof *scale);
    for (int i = 0; i < n; i++) {
        memcpy(&scale[list[i].at], list[i].row, sizeof *scale);
        memcpy(q + (size_t)list[i].at * d, list[i].row + sizeof *scale, d);
    }
    return (rows_in){.q = q, .scale = scale};
}

/* The first use of an expert compares its checksums. */
static int use_experts(const dgm_moe *m, const dgm_forward *f, const dgm_layer *layer)
{
    for (int e = 0; e < layer->router.n; e++) {
        if (m->n_for[e + 1] == m->n_for[e] ||
            !dgm_model_is_unchecked(m->model, layer->moe_index, e))
            continue;
        dgm_comm_busy(f->comm, "reading experts");
        DGM_TRY(dgm_model_check_expert(m->model, layer->moe_index, e));
    }
    return DGM_OK;
}

/* For the clock: experts that had rows. */
static uint64_t count_active(const dgm_moe *m, const dgm_layer *layer)
{
    uint64_t n = 0;
    for (int e = 0; e < layer->router.n; e++)
        n += m->n_for[e + 1] > m->n_for[e];
    return n;
}

/* run_experts - the FFNs of all n rows, in the order by expert; results to x [n, d], which may be what comes in. */
static int run_experts(dgm_moe *m, half *b, const dgm_forward *f, float *x, const rows_in *in,
                       const dgm_layer *layer, int n)
{
    if (m->gpu != NULL) {
        const dgm_device_rows rows = {
            .rows = n, .k = m->model->cfg.d_model, .x = in->x, .q = in->q, .q_scale = in->scale};
        const int rc = dgm_gpu_experts_run(m->gpu, x, &rows, layer->moe_index, m->n_for,
                                           layer->router.n, f->compute);
        dgm_comm_progress(f->comm);
        return rc;
    }
    const rows_in hidden = {
        .x = dgm_arena_push(&b->scratch, (size_t)n * (size_t)m->max_ffn * sizeof(float))};
    run_matrix(m, b, f, (float *)hidden.x, in, layer, 0);
    run_matrix(m, b, f, x, &hidden, layer, 1);
    return DGM_OK;
}

/* Stage 7: the experts of this rank over everybody's rows; weighed results go into the replies. How many rows. */
static int serve_experts(dgm_moe *m, half *b, const dgm_forward *f, const dgm_layer *layer)
{
    const size_t d = (size_t)m->model->cfg.d_model;
    assignment *list;
    const int n = list_assignments(m, b, &list, layer->router.n);
    if (n == 0)
        return 0;
    uint32_t *load = m->load + first_of(m, layer);
    for (int e = 0; e < layer->router.n; e++)
        load[e] += (uint32_t)(m->n_for[e + 1] - m->n_for[e]);
    float *x = m->gpu != NULL ? dgm_gpu_experts_room(m->gpu, (size_t)n * d) : NULL;
    if (x == NULL)
        x = dgm_arena_push(&b->scratch, (size_t)n * d * sizeof *x);
    int rc = use_experts(m, f, layer);
    if (rc == DGM_OK) {
        const rows_in in = gather(m, b, list, n, x);
        rc = run_experts(m, b, f, x, &in, layer, n);
    }
    if (rc != DGM_OK) {
        /* Too late to stop: peers wait for replies. Zeros, so that no NaN of theirs drowns our sentence. */
        fail_here(m, rc);
        for (int i = 0; i < n; i++)
            memset(list[i].reply, 0, d * sizeof *list[i].reply);
        return 0;
    }
    for (int i = 0; i < n; i++) {
        const assignment *a = &list[i];
        float *y = x + (size_t)a->at * d;
        f->kern->weigh(a->pick == 0 ? a->reply : y, y, a->tag->gate[a->pick],
                       m->model->cfg.expert_scale, (int)d);
        if (a->pick == 1)
            f->kern->add(a->reply, a->reply, y, (int)d);
    }
    return n;
}

/* Stage 8, at home: x += share (+ share), in gate order. */
static void combine(const dgm_moe *m, half *b, const dgm_forward *f, float *x)
{
    const int d = m->model->cfg.d_model;
    float *sum = dgm_arena_push(&b->scratch, (size_t)d * sizeof(float));
    for (int r = 0; b->at_home && r < b->rows; r++) {
        float *xr = x + (size_t)r * (size_t)d;
        f->kern->add(xr, b->home.reply + (size_t)r * (size_t)d, xr, d);
    }
    for (int r = 0; !b->at_home && r < b->rows; r++) {
        const trip *t = &b->trips[r];
        if (t->peer[0] < 0)
            continue;
        const float *y = dgm_xchg_back(b->xchg, t->peer[0]) + (size_t)t->at[0] * (size_t)d;
        if (t->peer[1] >= 0) {
            f->kern->add(sum, y, dgm_xchg_back(b->xchg, t->peer[1]) + (size_t)t->at[1] * (size_t)d,
                         d);
            y = sum;
        }
        float *xr = x + (size_t)r * (size_t)d;
        f->kern->add(xr, y, xr, d);
    }
}

int dgm_moe_begin(dgm_moe *m, int which, const dgm_forward *f, const float *h,
                  const dgm_layer *layer, int rows, int first)
{
    half *b = &m->halves[which];
    if (m->bad != DGM_OK)
        rows = 0;
    dgm_row_tag *tags = dgm_arena_push(&b->scratch, (size_t)rows * sizeof *tags);
    trip *trips = dgm_arena_push(&b->scratch, (size_t)rows * sizeof *trips);
    /* A rank that fails alone must still turn up, or its peers wait until their deadline: it sends nobody
     * anything, its status rides with the counts, and it goes on serving its experts to the others. */
    int64_t began = dgm_stage_begin(f->clock);
    const int routed = rows > 0 ? route(m, b, f, tags, h, layer, rows, first) : DGM_OK;
    if (routed != DGM_OK) {
        fail_here(m, routed);
        rows = 0;
    }
    dgm_stage_end(f->clock, DGM_STAGE_ROUTER, began, rows, 0);
    began = dgm_stage_begin(f->clock);
    b->at_home = stays(f, layer);
    b->trips = trips;
    b->rows = rows;
    if (b->at_home) { /* the experts' own rows: nothing is exchanged */
        keep_rows(m, b, f, tags, h, rows);
        dgm_stage_end(f->clock, DGM_STAGE_EXPERTS, began, 0, 0);
        return DGM_OK;
    }
    pack_rows(m, b, f, trips, tags, h, layer, rows);
    DGM_TRY(dgm_xchg_dispatch_begin(b->xchg, m->bad));
    dgm_stage_end(f->clock, DGM_STAGE_EXCHANGE, began, rows, 0);
    return DGM_OK;
}

int dgm_moe_serve(dgm_moe *m, int which, const dgm_forward *f, const dgm_layer *layer)
{
    half *b = &m->halves[which];
    int64_t began = dgm_stage_begin(f->clock);
    int worst; /* whoever failed tells the coordinator in its report */
    if (!b->at_home) {
        DGM_TRY(dgm_xchg_dispatch_end(b->xchg, &worst));
        dgm_stage_end(f->clock, DGM_STAGE_EXCHANGE, began, 0, 0);
    }
    began = dgm_stage_begin(f->clock);
    const int served = serve_experts(m, b, f, layer);
    dgm_stage_end(f->clock, DGM_STAGE_EXPERTS, began, served,
                  f->clock == NULL ? 0 : count_active(m, layer));
    if (b->at_home)
        return DGM_OK;
    began = dgm_stage_begin(f->clock);
    DGM_TRY(dgm_xchg_combine_begin(b->xchg));
    dgm_stage_end(f->clock, DGM_STAGE_EXCHANGE, began, 0, 0);
    return DGM_OK;
}

int dgm_moe_end(dgm_moe *m, int which, const dgm_forward *f, float *x)
{
    half *b = &m->halves[which];
    int64_t began = dgm_stage_begin(f->clock);
    if (!b->at_home) {
        DGM_TRY(dgm_xchg_combine_end(b->xchg));
        dgm_stage_end(f->clock, DGM_STAGE_EXCHANGE, began, 0, 0);
    }
    began = dgm_stage_begin(f->clock);
    combine(m, b, f, x);
    dgm_stage_end(f->clock, DGM_STAGE_COMBINE, began, b->rows, 0);
    dgm_arena_pop(&b->scratch, 0);
    return DGM_OK;
}

int dgm_moe_forward(dgm_moe *m, const dgm_forward *f, float *x, const float *h,
                    const dgm_layer *layer, int rows)
{
    DGM_TRY(dgm_moe_begin(m, 0, f, h, layer, rows, 0));
    DGM_TRY(dgm_moe_serve(m, 0, f, layer));
    return dgm_moe_end(m, 0, f, x);
}

int dgm_moe_verdict(dgm_moe *m)
{
    const int bad = m->bad;
    m->bad = DGM_OK;
    return bad == DGM_OK ? DGM_OK : dgm_fail(bad, "%s", m->bad_text);
}

dgm_xchg_stats dgm_moe_exchange_stats(const dgm_moe *m)
{
    dgm_xchg_stats sum = {0};
    for (int i = 0; i < DGM_HALVES; i++) {
        const dgm_xchg_stats s = dgm_xchg_get_stats(m->halves[i].xchg);
        sum.rounds += s.rounds;
        sum.rows_sent += s.rows_sent;
        sum.bytes_sent += s.bytes_sent;
        sum.bytes_received += s.bytes_received;
        sum.wait_s += s.wait_s;
    }
    return sum;
}

void dgm_moe_take_load(dgm_moe *m, dgm_layer_load *out)
{
    uint32_t *load = m->load;
    for (int l = 0; l < m->n_layers; l++) {
        const int n = m->model->cfg.n_experts[l < m->n_encoder ? DGM_ENCODER : DGM_DECODER];
        out[l] = (dgm_layer_load){0};
        for (int e = 0; e < n; e++) {
            out[l].rows += load[e];
            out[l].busiest = load[e] > out[l].busiest ? load[e] : out[l].busiest;
        }
        memset(load, 0, (size_t)n * sizeof *load);
        load += n;
    }
}

/*
 * Slots that share a destination are a run: one matrix or vector of our graph. Runs are walked twice in the same
 * order, first to plan the tensors, then to fill them.
 */
#define _GNU_SOURCE
#include "runtime/quantize.h"

#include "runtime/history.h"
#include "runtime/model_copy.h"
#include "runtime/sparse_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Weights worked on at a time: enough for the threads, small beside a model. 16 rows are the least. */
enum { CHUNK_WEIGHTS = 4 << 20 };
static const uint64_t SHARD_BYTES = (uint64_t)4 << 30;

/* A matrix or vector: slots [first, first + n) of the source. */
typedef struct run {
    const dgm_slot *first;
    size_t n;
    dgm_wtype type;         /* it becomes */
    int chunk;              /* rows worked on at a time */
    int groups;             /* scales of an output */
    dgm_sparse_shape shape; /* as which it is written */
} run;

typedef struct job {
    const dgm_model *m;
    const dgm_quantize_options *opt;
    dgm_pool *pool;
    dgm_model_writer *out;
    dgm_quantize_report *report;
    uint64_t done_bytes, total_bytes;
    dgm_quantize_progress progress;
    void *ctx;
    uint64_t zeros; /* of matrices that may be pruned, as far as they are written */
    bool planned;
    dgm_sparse_shape *shapes; /* [slots]: of the run that begins there, once planned */
    /* buffers, each as large as the largest run needs: of a chunk */
    void *raw;        /* the source's bytes; then each row's own memory, [rows, k] f32 */
    float *rows;      /* [rows, k] */
    uint16_t *narrow; /* [rows, k] bf16 or integers */
    void *panels;
    dgm_quantize_error *errors; /* [rows] */
    int *row_zeros;             /* [rows] */
    float *scales;              /* of a matrix, as in the file */
    unsigned char *whole;       /* a sparse matrix, row-major */
    /* with calibration: */
    dgm_feedback_error *outputs; /* [rows] */
    dgm_arena scratch;
} job;

/* ---- runs ---- */

static bool is_integer(dgm_wtype t)
{
    return t == DGM_W_INT8 || t == DGM_W_INT4;
}

static bool same_run(const dgm_slot *a, const dgm_slot *b)
{
    return a->matrix == b->matrix && a->vector == b->vector;
}

/* shape_of - what was sparse stays so; the numbers that are kept, too. */
static dgm_sparse_shape shape_of(const job *j, const run *r)
{
    const dgm_slot *first = r->first;
    dgm_sparse_shape s = {.type = r->type, .n = first->n, .k = first->k, .group = j->opt->group};
    if (first->form != DGM_SLOT_PANELS)
        return s;
    DGM_ASSERT(first->matrix != NULL); /* panels are a matrix's */
    s.pattern = first->matrix->pattern;
    if (s.pattern == DGM_BITMAP)
        s.values =
            first->tensor->dims[0] - DGM_BITMAP_SLACK / dgm_element_bytes(first->matrix->type);
    s.pattern = dgm_sparse_choose(&s);
    return s;
}

static run run_at(const job *j, size_t at)
{
    const struct dgm_model_files *f = j->m->files;
    run r = {.first = &f->slots[at], .type = DGM_W_F32};
    while (at + r.n < f->n_slots && same_run(r.first, &f->slots[at + r.n]))
        r.n++;
    if (r.first->matrix != NULL && r.first->part != DGM_ROUTER)
        r.type = r.first->part == DGM_EXPERTS ? j->opt->experts : j->opt->dense;
    const int chunk = CHUNK_WEIGHTS / r.first->k / DGM_PANEL * DGM_PANEL;
    const int rows = (int)dgm_packed_panels(r.first->n) * DGM_PANEL;
    r.chunk = chunk < DGM_PANEL ? DGM_PANEL : chunk < rows ? chunk : rows;
    r.groups = dgm_packed_groups(r.first->k, j->opt->group);
    r.shape = j->planned ? j->shapes[at] : shape_of(j, &r);
    return r;
}

static bool is_calibrated(const job *j, const run *r)
{
    return j->opt->calibration != NULL && is_integer(r->type);
}

/* ---- plan ---- */

static int add_vector(dgm_new_tensor *list, size_t *n, dgm_new_tensor t, const dgm_slot *s)
{
    t.name = strdup(s->name);
    t.bytes = (uint64_t)s->n * sizeof(float);
    if (t.name == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of tensors");
    list[(*n)++] = t;
    return DGM_OK;
}

/* starts - the run is the first of what stays together: of an expert, or a dense matrix. */
static bool starts(const job *j, const run *r)
{
    const dgm_slot *s = r->first;
    if (s->expert < 0)
        return s->matrix != NULL;
    return s == j->m->files->slots || s[-1].expert != s->expert || s[-1].moe != s->moe;
}

static int plan_run(const job *j, const run *r, dgm_new_tensor *list, size_t *n)
{
    const dgm_slot *s = r->first;
    dgm_new_tensor t = {.type = "F32", .unit = starts(j, r), .n_dims = 1, .dims = {(uint64_t)s->n}};
    t.page = t.unit && s->expert >= 0;
    if (s->matrix == NULL)
        return add_vector(list, n, t, s);
    return dgm_sparse_plan(list, n, s->name, &r->shape, t.unit, t.page);
}

/* may_shrink - weights that pruning makes zero. */
static bool may_shrink(const job *j, const run *r)
{
    return j->opt->compact && r->shape.pattern == DGM_DENSE && dgm_prunable_slot(r->first);
}

static int read_run(job *j, const run *r, int row, int rows);

/* look - finds out by reading the matrix once more. */
static int look(job *j, run *r)
{
    const uint64_t done = j->done_bytes;
    dgm_sparse_found found = {.k = r->first->k};
    for (int row = 0; row < r->first->n && !found.tiny; row += r->chunk) {
        const int rows = r->first->n - row < r->chunk ? r->first->n - row : r->chunk;
        DGM_TRY(read_run(j, r, row, rows));
        dgm_sparse_look(&found, j->rows, rows);
    }
    dgm_sparse_fit(&r->shape, &found);
    j->done_bytes = done;
    return DGM_OK;
}

static int plan(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    dgm_new_tensor *list = calloc(4 * f->n_slots + 1, sizeof *list);
    if (list == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of tensors");
    size_t n = 0;
    for (size_t i = 0; i < f->n_slots;) {
        run r = run_at(j, i);
        int rc = may_shrink(j, &r) ? look(j, &r) : DGM_OK;
        j->shapes[i] = r.shape;
        if (rc == DGM_OK)
            rc = plan_run(j, &r, list, &n);
        if (rc == DGM_OK && is_calibrated(j, &r))
            rc = dgm_calibration_want(j->opt->calibration, r.first->matrix);
        if (rc != DGM_OK) {
            for (size_t t = 0; t < n; t++)
                free(list[t].name);
            free(list);
            return rc;
        }
        for (size_t t = 0; t < r.n; t++)
            j->total_bytes += r.first[t].tensor->bytes;
        i += r.n;
    }
    j->planned = true;
    return dgm_model_writer_plan(j->out, list, n,
                                 j->opt->shard_bytes != 0 ? j->opt->shard_bytes : SHARD_BYTES);
}

/* ---- reading ---- */

static int check_finite(const job *j, const dgm_slot *s, const float *w, size_t n, size_t first)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(w[i]))
            return dgm_fail(DGM_EMODEL,
                            "%s: tensor %s: wanted finite numbers, found %g near element %zu",
                            dgm_tensors_path(j->m->files->tensors, s->tensor), s->tensor->name,
                            (double)w[i], first + i);
    return DGM_OK;
}

static void tell(job *j, uint64_t bytes)
{
    j->done_bytes += bytes;
    if (j->progress != NULL)
        j->progress(j->ctx, j->done_bytes, j->total_bytes);
}

/* Rows row .. row + rows of a Hugging Face tensor or vector. */
static int read_rows(job *j, float *dst, const dgm_slot *s, int row, int rows)
{
    const dgm_dtype t = (dgm_dtype)s->tensor->dtype;
    const size_t k = (size_t)s->k, n = (size_t)rows * k, size = dgm_dtype_bytes(t);
    DGM_TRY(dgm_tensors_read(j->m->files->tensors, s->tensor, j->raw, (size_t)row * k * size,
                             n * size, n * size));
    dgm_widen(dst, j->raw, t, n);
    tell(j, n * size);
    return check_finite(j, s, dst, n, (size_t)row * k);
}

/* The same from a sparse matrix, wherever it lies. */
static int read_sparse(job *j, float *dst, const dgm_slot *s, int row, int rows)
{
    dgm_packed w;
    const size_t k = (size_t)s->k;
    DGM_TRY(dgm_slot_map(&w, j->m, s));
    for (int r = 0; r < rows; r++)
        dgm_packed_read(dst + (size_t)r * k, &w, row + r);
    tell(j, s->tensor->bytes * (uint64_t)rows / (uint64_t)s->n);
    return check_finite(j, s, dst, (size_t)rows * k, (size_t)row * k);
}

/* The same from panels; row is the first of one. */
static int read_panels(job *j, float *dst, const dgm_slot *s, int row, int rows)
{
    const dgm_packed w = {.n = rows, .k = s->k, .type = s->matrix->type, .data = j->raw};
    const size_t bytes = dgm_packed_bytes(w.type, rows, w.k), k = (size_t)w.k;
    DGM_TRY(dgm_tensors_read(j->m->files->tensors, s->tensor, j->raw,
                             (size_t)(row / DGM_PANEL) * dgm_panel_bytes(w.type, w.k), bytes,
                             bytes));
    for (int r = 0; r < rows; r++)
        dgm_packed_read(dst + (size_t)r * k, &w, r);
    tell(j, bytes);
    return check_finite(j, s, dst, (size_t)rows * k, (size_t)row * k);
}

/* Rows row .. row + rows of a run, from whichever of its tensors hold them. */
static int read_run(job *j, const run *r, int row, int rows)
{
    for (size_t i = 0; i < r->n; i++) {
        const dgm_slot *s = &r->first[i];
        const int from = row > s->row0 ? row : s->row0;
        const int to = row + rows < s->row0 + s->rows ? row + rows : s->row0 + s->rows;
        float *dst = j->rows + (size_t)(from - row) * (size_t)s->k;
        if (from >= to || !dgm_slot_has_weights(s))
            continue;
        const bool sparse = s->matrix != NULL && s->matrix->pattern != DGM_DENSE;
        DGM_TRY(s->form != DGM_SLOT_PANELS ? read_rows(j, dst, s, from - s->row0, to - from)
                : sparse                   ? read_sparse(j, dst, s, from, to - from)
                                           : read_panels(j, dst, s, from, to - from));
    }
    return DGM_OK;
}

/* ---- one chunk of a matrix ---- */

typedef struct chunk {
    job *j;
    const run *r;
    dgm_packed w;  /* the chunk as a matrix of its own */
    float *scales; /* of its outputs */
} chunk;

static dgm_quantizer quantizer_of(const chunk *c)
{
    return (dgm_quantizer){c->w.type, c->j->opt->group, c->j->opt->rule, c->j->opt->clip};
}

/* `own` [k] is this row's own memory, and keeps its scales; the row is in j->rows, and comes to stand in j->narrow. */
static void round_row(const chunk *c, int i, float *own)
{
    const int k = c->w.k;
    const float *row = c->j->rows + (size_t)i * (size_t)k;
    uint16_t *narrow = c->j->narrow + (size_t)i * (size_t)k;
    const dgm_quantizer z = quantizer_of(c);
    if (is_integer(c->w.type))
        dgm_quantize_row((int8_t *)narrow, own, row, k, &z);
    for (int x = 0; c->w.type == DGM_W_BF16 && x < k; x++)
        narrow[x] = dgm_bf16_round(row[x]);
}

static void pack_row(const chunk *c, int i, const float *own)
{
    const job *j = c->j;
    const int k = c->w.k;
    const uint16_t *narrow = j->narrow + (size_t)i * (size_t)k;
    if (c->w.type == DGM_W_F32) {
        dgm_pack((float *)j->panels, j->rows + (size_t)i * (size_t)k, DGM_F32, i, 1, k);
    } else if (c->w.type == DGM_W_BF16) {
        dgm_pack_bf16(j->panels, narrow, i, 1, k);
    } else {
        for (int g = 0; g < c->r->groups; g++)
            c->scales[dgm_packed_scale_at(c->r->groups, i, g)] = own[g];
        dgm_pack_integers(j->panels, c->w.type, (const int8_t *)narrow, i, 1, k);
    }
}

static void measure_row(const chunk *c, int i, float *own)
{
    const float *row = c->j->rows + (size_t)i * (size_t)c->w.k;
    dgm_quantize_error e = {0};
    int zeros = 0;
    dgm_packed_read(own, &c->w, i);
    for (int x = 0; x < c->w.k; x++) {
        zeros += own[x] == 0;
        const double d = (double)row[x] - (double)own[x];
        e.wrong += d * d;
        e.all += (double)row[x] * (double)row[x];
    }
    c->j->errors[i] = e;
    c->j->row_zeros[i] = zeros;
}

static float *own_memory(const chunk *c, int i)
{
    return (float *)c->j->raw + (size_t)i * (size_t)c->w.k; /* read, so free again */
}

static void round_part(void *ctx, int part, int n_parts)
{
    const chunk *c = ctx;
    int begin, end;
    dgm_pool_share(&begin, &end, c->w.n, part, n_parts);
    for (int i = begin; i < end; i++)
        round_row(c, i, own_memory(c, i));
}

static void pack_part(void *ctx, int part, int n_parts)
{
    const chunk *c = ctx;
    int begin, end;
    dgm_pool_share(&begin, &end, c->w.n, part, n_parts);
    for (int i = begin; i < end; i++) {
        pack_row(c, i, own_memory(c, i));
        measure_row(c, i, own_memory(c, i));
    }
}

/* Sums in the order of rows, so that the report does not depend on threads either. */
static int add_errors(const chunk *c)
{
    const dgm_slot *s = c->r->first;
    dgm_quantize_error *sum = &c->j->report->error[1 + s->layer][s->part];
    for (int i = 0; i < c->w.n; i++) {
        sum->wrong += c->j->errors[i].wrong;
        sum->all += c->j->errors[i].all;
        c->j->zeros += dgm_prunable_slot(s) ? (uint64_t)c->j->row_zeros[i] : 0;
    }
    if (!isfinite(sum->wrong))
        return dgm_fail(DGM_EMODEL, "%s: %s: wanted numbers that bf16 can hold, found larger ones",
                        c->j->m->dir, s->name);
    return DGM_OK;
}

/* ---- feedback ---- */

/* The next matrix's factors, or *use false: it is rounded without feedback. */
static int open_feedback(dgm_feedback *f, bool *use, const job *j, const run *r)
{
    const dgm_moments *m;
    *use = false;
    if (!is_calibrated(j, r))
        return DGM_OK;
    DGM_TRY(dgm_calibration_next(&m, j->opt->calibration));
    if (m->rows < (uint64_t)m->n * DGM_QUANTIZE_ROWS) {
        j->report->n_few++;
        return DGM_OK;
    }
    DGM_TRY(dgm_feedback_init(f, use, m, DGM_QUANTIZE_DAMP, j->pool));
    *(*use ? &j->report->n_fed : &j->report->n_unsolved) += 1;
    return DGM_OK;
}

static int feed_back(const chunk *c, dgm_feedback *f)
{
    job *j = c->j;
    const dgm_slot *s = c->r->first;
    const size_t k = (size_t)c->w.k;
    const dgm_quantizer z = quantizer_of(c);
    const dgm_moments_tools tools = {j->opt->kern, j->pool, &j->scratch};
    const dgm_feedback_rows rows = {.rows = c->w.n,
                                    .w = j->rows,
                                    .q = (int8_t *)j->narrow,
                                    .ldq = k * sizeof *j->narrow,
                                    .scale = j->raw,
                                    .ld_scale = k,
                                    .keep_zeros = c->r->shape.pattern != DGM_DENSE,
                                    .error = j->outputs};
    DGM_TRY(dgm_feedback_run(f, &rows, &z, &tools));
    dgm_feedback_error *sum = &j->report->output[1 + s->layer][s->part];
    for (int i = 0; i < c->w.n; i++) {
        sum->all += j->outputs[i].all;
        sum->alone += j->outputs[i].alone;
        sum->fed += j->outputs[i].fed;
    }
    return DGM_OK;
}

/* ---- one run ---- */

static int write_vector(job *j, const run *r)
{
    DGM_TRY(read_run(j, r, 0, r->first->n));
    return dgm_model_writer_put(j->out, j->rows, (size_t)r->first->n * sizeof(float));
}

/* keep_row - of a sparse matrix, which is written as a whole: row i of the chunk. */
static void keep_row(const chunk *c, int i, int row)
{
    const job *j = c->j;
    const size_t k = (size_t)c->w.k, size = is_integer(c->w.type) ? 1 : sizeof(float);
    const void *from =
        is_integer(c->w.type) ? (const void *)(j->narrow + (size_t)i * k) : j->rows + (size_t)i * k;
    memcpy(j->whole + (size_t)row * k * size, from, k * size);
}

static int write_chunk(job *j, const run *r, int row, dgm_feedback *f)
{
    const int n = r->first->n, k = r->first->k, rows = n - row < r->chunk ? n - row : r->chunk;
    chunk c = {.j = j, .r = r, .scales = j->scales + (size_t)row * (size_t)r->groups};
    c.w = (dgm_packed){.n = rows,
                       .k = k,
                       .type = r->type,
                       .group = j->opt->group,
                       .data = j->panels,
                       .scale = c.scales};
    DGM_TRY(read_run(j, r, row, rows));
    dgm_packed_clear(j->panels, r->type, rows, k);
    dgm_pool_run(j->pool, round_part, &c);
    if (f != NULL)
        DGM_TRY(feed_back(&c, f));
    dgm_pool_run(j->pool, pack_part, &c);
    DGM_TRY(add_errors(&c));
    if (r->shape.pattern == DGM_DENSE)
        return dgm_model_writer_put(j->out, j->panels, dgm_packed_bytes(r->type, rows, k));
    for (int i = 0; i < rows; i++)
        keep_row(&c, i, row + i);
    return DGM_OK;
}

static int write_matrix(job *j, const run *r)
{
    const int n = r->first->n;
    const size_t scale_bytes = dgm_packed_panels(n) * DGM_PANEL * (size_t)r->groups * sizeof(float);
    dgm_feedback f;
    bool use;
    if (is_integer(r->type))
        memset(j->scales, 0, scale_bytes);
    DGM_TRY(open_feedback(&f, &use, j, r));
    int rc = DGM_OK;
    for (int row = 0; rc == DGM_OK && row < n; row += r->chunk)
        rc = write_chunk(j, r, row, use ? &f : NULL);
    if (use)
        dgm_feedback_fini(&f);
    DGM_TRY(rc);
    if (r->shape.pattern != DGM_DENSE)
        return dgm_sparse_put(j->out, r->first->name, &r->shape, j->whole, j->scales);
    return is_integer(r->type) ? dgm_model_writer_put(j->out, j->scales, scale_bytes) : DGM_OK;
}

static int write_weights(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    for (size_t i = 0; i < f->n_slots;) {
        const run r = run_at(j, i);
        DGM_TRY(r.first->matrix != NULL ? write_matrix(j, &r) : write_vector(j, &r));
        i += r.n;
    }
    return DGM_OK;
}

/* ---- the whole ---- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int allocate(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    size_t weights = 1, rows = 1, scales = 1, feedback = 1, whole = 1;
    for (size_t i = 0; i < f->n_slots; i++) {
        const run r = run_at(j, i);
        const size_t padded = dgm_packed_panels(r.first->n) * DGM_PANEL;
        weights = larger(weights, (size_t)r.chunk * (size_t)r.first->k);
        rows = larger(rows, (size_t)r.chunk);
        if (r.shape.pattern != DGM_DENSE || may_shrink(j, &r))
            whole = larger(whole, (size_t)r.first->n * (size_t)r.first->k);
        if (is_integer(r.type))
            scales = larger(scales, padded * (size_t)r.groups);
        feedback = larger(feedback,
                          dgm_feedback_scratch_bytes(r.chunk, r.first->k, dgm_pool_size(j->pool)));
    }
    j->rows = malloc(weights * sizeof *j->rows);
    j->raw = malloc(weights * sizeof(float)); /* chunks are whole panels, and f32 has the largest */
    j->panels = malloc(weights * sizeof(float));
    j->narrow = malloc(weights * sizeof *j->narrow);
    j->shapes = calloc(f->n_slots + 1, sizeof *j->shapes);
    j->whole = malloc(whole * 4); /* f32 has the largest */
    j->scales = malloc(scales * sizeof *j->scales);
    j->errors = malloc(rows * sizeof *j->errors);
    j->row_zeros = malloc(rows * sizeof *j->row_zeros);
    j->report->n_layers = j->m->cfg.n_layers[DGM_ENCODER] + j->m->cfg.n_layers[DGM_DECODER];
    j->report->error = calloc((size_t)j->report->n_layers + 1, sizeof *j->report->error);
    if (j->opt->calibration != NULL) {
        j->outputs = malloc(rows * sizeof *j->outputs);
        j->report->output = calloc((size_t)j->report->n_layers + 1, sizeof *j->report->output);
    }
    if (j->rows == NULL || j->raw == NULL || j->panels == NULL || j->narrow == NULL ||
        j->scales == NULL || j->whole == NULL || j->shapes == NULL || j->errors == NULL ||
        j->row_zeros == NULL || j->report->error == NULL ||
        (j->opt->calibration != NULL && (j->outputs == NULL || j->report->output == NULL)))
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu weights at a time", weights);
    return j->opt->calibration == NULL ? DGM_OK : dgm_arena_init(&j->scratch, feedback);
}

static void release(job *j)
{
    free(j->rows);
    free(j->raw);
    free(j->panels);
    free(j->narrow);
    free(j->scales);
    free(j->whole);
    free(j->shapes);
    free(j->errors);
    free(j->row_zeros);
    free(j->outputs);
    dgm_arena_fini(&j->scratch);
}

void dgm_quantize_report_free(dgm_quantize_report *report)
{
    free(report->error);
    free(report->output);
    report->error = NULL;
    report->output = NULL;
}

/* count_zeros - in the matrices that may be pruned; chunks have told how many. */
static void count_zeros(dgm_zeros *z, const job *j)
{
    const struct dgm_model_files *f = j->m->files;
    *z = (dgm_zeros){0};
    for (size_t i = 0; i < f->n_slots; i++) {
        const dgm_slot *s = &f->slots[i];
        if (dgm_slot_has_weights(s))
            dgm_zeros_add(z, dgm_prunable_slot(s), (uint64_t)s->rows * (uint64_t)s->k, 0);
    }
    z->zeros = j->zeros;
}

static int write_rest(job *j)
{
    dgm_text config;
    dgm_zeros zeros;
    bool zeroed;
    count_zeros(&zeros, j);
    DGM_TRY(dgm_history_zeroed(&zeroed, j->m->dir));
    DGM_TRY(dgm_quantize_config(&config.text, &config.len, j->m, j->opt, zeroed ? &zeros : NULL));
    return dgm_model_finish(&j->report->bytes_after, j->out, j->m, NULL, config);
}

static int check_source(const dgm_model *m)
{
    const dgm_weight_types *w = &m->cfg.weights;
    if (!w->packed || (!is_integer(w->experts) && !is_integer(w->dense)))
        return DGM_OK;
    return dgm_fail(
        DGM_EUSAGE,
        "%s: wanted weights of f32, f16 or bf16, found integers (experts %s, dense %s): "
        "quantise the model that it was made from",
        m->dir, dgm_weight_type_name(w->experts), dgm_weight_type_name(w->dense));
}

int dgm_quantize(dgm_quantize_report *report, const dgm_model *in, const char *out,
                 const dgm_quantize_options *opt, dgm_pool *pool, dgm_quantize_progress progress,
                 void *ctx)
{
    *report = (dgm_quantize_report){.bytes_before = dgm_tensors_bytes(in->files->tensors)};
    job j = {.m = in, .opt = opt, .pool = pool, .report = report, .progress = progress, .ctx = ctx};
    DGM_TRY(check_source(in));
    int rc = dgm_model_writer_open(&j.out, out);
    if (rc == DGM_OK)
        rc = allocate(&j);
    if (rc == DGM_OK)
        rc = plan(&j);
    if (rc == DGM_OK)
        rc = write_weights(&j);
    if (rc == DGM_OK)
        rc = write_rest(&j);
    dgm_model_writer_close(j.out);
    release(&j);
    return rc;
}

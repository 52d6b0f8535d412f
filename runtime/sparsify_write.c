#include "runtime/sparsify_write.h"

#include "runtime/sparse_write.h"
#include "runtime/zeros.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 4 << 20 };

typedef struct job {
    const dgm_model *m;
    const dgm_sparsify_options *opt;
    dgm_model_copy *copy;
    char *piece;              /* rows of the source */
    float *row;               /* of a matrix in memory */
    dgm_sparse_shape *shapes; /* [slots]: how a packed matrix is stored */
    void *whole;              /* a matrix that is stored without its zeros */
} job;

/* ---- what is stored without its zeros ---- */

static bool is_matrix(const dgm_slot *s)
{
    return dgm_prunable_slot(s) && s->form == DGM_SLOT_PANELS;
}

/* last_slot - of the matrix whose first is `slot`: its scales, or what says where its numbers stood. */
static size_t last_slot(const struct dgm_model_files *f, size_t slot)
{
    const dgm_packed *w = f->slots[slot].matrix;
    while (slot + 1 < f->n_slots && f->slots[slot + 1].matrix == w)
        slot++;
    return slot;
}

/* as_numbers - w with scales of 1, so that integers are read as they are; ones [a scale for each output]. */
static int as_numbers(dgm_packed *out, float **ones, const dgm_packed *w)
{
    const size_t n = dgm_packed_panels(w->n) * DGM_PANEL;
    *out = *w;
    out->group = 0;
    *ones = malloc(n * sizeof **ones);
    if (*ones == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu scales", n);
    for (size_t i = 0; i < n; i++)
        (*ones)[i] = 1;
    out->scale = *ones;
    return DGM_OK;
}

static int fit(job *j, size_t slot)
{
    const dgm_slot *s = &j->m->files->slots[slot];
    dgm_sparse_found found = {.k = s->k};
    dgm_packed w;
    float *ones;
    j->shapes[slot] = (dgm_sparse_shape){
        .type = s->matrix->type, .n = s->n, .k = s->k, .group = s->matrix->group};
    DGM_TRY(as_numbers(&w, &ones, s->matrix));
    for (int r = 0; r < s->n; r++) {
        dgm_packed_read(j->row, &w, r);
        dgm_sparse_look(&found, j->row, 1);
    }
    free(ones);
    dgm_sparse_fit(&j->shapes[slot], &found);
    return DGM_OK;
}

/* put_matrix - its scales are among what it writes. */
static int put_matrix(job *j, size_t slot)
{
    const dgm_slot *s = &j->m->files->slots[slot];
    const size_t k = (size_t)s->k;
    const bool integers = s->matrix->scale != NULL;
    float *ones;
    dgm_packed w;
    DGM_TRY(as_numbers(&w, &ones, s->matrix));
    for (size_t r = 0; r < (size_t)s->n; r++) {
        dgm_packed_read(j->row, &w, (int)r);
        if (!integers)
            memcpy((float *)j->whole + r * k, j->row, k * sizeof *j->row);
        for (size_t i = 0; integers && i < k; i++)
            ((int8_t *)j->whole)[r * k + i] = (int8_t)j->row[i];
    }
    free(ones);
    return dgm_sparse_put(j->copy->to, s->name, &j->shapes[slot], j->whole, s->matrix->scale);
}

/* ---- plan ---- */

/* add_matrix - of panels, in the form that fits it. */
static int add_matrix(job *j, size_t slot)
{
    const dgm_slot *s = &j->m->files->slots[slot];
    const bool unit = dgm_slot_starts(j->m, s);
    DGM_TRY(fit(j, slot));
    return dgm_sparse_plan(j->copy->list, &j->copy->n, s->name, &j->shapes[slot], unit,
                           unit && s->expert >= 0);
}

static int plan(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    for (size_t i = 0; i < f->n_slots; i++) {
        const dgm_slot *s = &f->slots[i];
        const bool matrix = is_matrix(s);
        DGM_TRY(matrix ? add_matrix(j, i)
                       : dgm_model_copy_add_slot(j->copy, strdup(s->tensor->name), s));
        i = matrix ? last_slot(f, i) : i;
    }
    return dgm_model_copy_plan(j->copy, j->opt->shard_bytes);
}

/* put_rows - of a Hugging Face tensor, a few MiB at a time. */
static int put_rows(job *j, const dgm_slot *s)
{
    const size_t size = dgm_dtype_bytes((dgm_dtype)s->tensor->dtype), k = (size_t)s->k,
                 row_bytes = k * size;
    const int step = PIECE_BYTES / row_bytes > 0 ? (int)(PIECE_BYTES / row_bytes) : 1;
    for (int row = 0; row < s->rows; row += step) {
        const int rows = s->rows - row < step ? s->rows - row : step;
        const size_t bytes = (size_t)rows * row_bytes;
        DGM_TRY(dgm_tensors_read(j->m->files->tensors, s->tensor, j->piece,
                                 (uint64_t)row * row_bytes, bytes, PIECE_BYTES));
        for (int r = 0; r < rows; r++) {
            dgm_packed_read(j->row, s->matrix, s->row0 + row + r);
            for (size_t i = 0; i < k; i++)
                if (j->row[i] == 0)
                    memset(j->piece + (size_t)r * row_bytes + i * size, 0, size);
        }
        DGM_TRY(dgm_model_copy_put(j->copy, j->piece, bytes));
    }
    return DGM_OK;
}

static int put_tensor(job *j, const dgm_slot *s)
{
    if (!dgm_prunable_slot(s) || !dgm_slot_has_weights(s))
        return dgm_model_copy_run(j->copy, s);
    return put_rows(j, s);
}

static int allocate(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    size_t k = 1;
    for (size_t i = 0; i < f->n_slots; i++)
        k = (size_t)f->slots[i].k > k ? (size_t)f->slots[i].k : k;
    size_t whole = 1;
    for (size_t i = 0; i < f->n_slots; i++)
        if (is_matrix(&f->slots[i]) && (size_t)f->slots[i].n * (size_t)f->slots[i].k > whole)
            whole = (size_t)f->slots[i].n * (size_t)f->slots[i].k;
    j->shapes = calloc(f->n_slots + 1, sizeof *j->shapes);
    j->whole = malloc(whole * sizeof(float));
    j->row = malloc(k * sizeof *j->row);
    j->piece = malloc(k * sizeof(float) > PIECE_BYTES ? k * sizeof(float) : PIECE_BYTES);
    if (j->row == NULL || j->piece == NULL || j->shapes == NULL || j->whole == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d bytes at a time", PIECE_BYTES);
    return DGM_OK;
}

static int write_weights(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    DGM_TRY(allocate(j));
    DGM_TRY(plan(j));
    for (size_t i = 0; i < f->n_slots; i++) {
        const bool matrix = is_matrix(&f->slots[i]);
        DGM_TRY(matrix ? put_matrix(j, i) : put_tensor(j, &f->slots[i]));
        i = matrix ? last_slot(f, i) : i;
    }
    return DGM_OK;
}

int dgm_sparsify_write(dgm_sparsify_report *report, dgm_model_copy *copy,
                       const dgm_sparsify_options *opt)
{
    dgm_text config;
    job j = {.m = copy->from, .opt = opt, .copy = copy};
    int rc = write_weights(&j);
    if (rc == DGM_OK)
        rc = dgm_sparsify_config(&config.text, &config.len, j.m, opt, report);
    if (rc == DGM_OK)
        rc = dgm_model_finish(&report->bytes_after, copy->to, j.m, NULL, config);
    free(j.row);
    free(j.shapes);
    free(j.whole);
    free(j.piece);
    return rc;
}

#include "runtime/sparsify_write.h"

#include "runtime/cut.h"
#include "runtime/sparsify_matrix.h"
#include "runtime/tensor_copy.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 4 << 20 };
static const uint64_t SHARD_BYTES = (uint64_t)4 << 30;

typedef struct job {
    const dgm_model *m;
    const dgm_sparsify_options *opt;
    dgm_sparsify_report *report;
    dgm_model_writer *out;
    dgm_tensor_copy copy;
    char *piece; /* rows of the source */
    float *row;  /* of a matrix in memory */
} job;

/* starts - the tensor is the first of what stays together: of an expert, or a dense matrix. */
static bool starts(const job *j, const dgm_slot *s)
{
    if (s->expert < 0)
        return s->matrix != NULL && dgm_slot_has_weights(s);
    return s == j->m->files->slots || s[-1].expert != s->expert || s[-1].moe != s->moe;
}

static int plan(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    dgm_new_tensor *list = calloc(f->n_slots + 1, sizeof *list);
    bool good = list != NULL;
    size_t n = 0;
    while (good && n < f->n_slots) {
        const dgm_slot *s = &f->slots[n];
        dgm_new_tensor *to = &list[n++];
        good = dgm_tensor_copy_plan(&j->copy, to, s->tensor);
        to->unit = starts(j, s);
        to->loose = !j->m->cfg.weights.packed;
        to->page = !to->loose && to->unit && s->expert >= 0;
    }
    if (!good) {
        for (size_t i = 0; i < n; i++)
            free(list[i].name);
        free(list);
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of tensors");
    }
    return dgm_model_writer_plan(j->out, list, n,
                                 j->opt->shard_bytes != 0 ? j->opt->shard_bytes : SHARD_BYTES);
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
        DGM_TRY(dgm_model_writer_put(j->out, j->piece, bytes));
    }
    return DGM_OK;
}

static int put_tensor(job *j, const dgm_slot *s)
{
    if (!dgm_prunable_slot(s) || !dgm_slot_has_weights(s))
        return dgm_tensor_copy_run(&j->copy, s->tensor);
    if (s->form == DGM_SLOT_PANELS) /* memory has them as the file does */
        return dgm_model_writer_put(j->out, s->matrix->data, (size_t)s->tensor->bytes);
    return put_rows(j, s);
}

static int allocate(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    size_t k = 1;
    for (size_t i = 0; i < f->n_slots; i++)
        k = (size_t)f->slots[i].k > k ? (size_t)f->slots[i].k : k;
    j->row = malloc(k * sizeof *j->row);
    j->piece = malloc(k * sizeof(float) > PIECE_BYTES ? k * sizeof(float) : PIECE_BYTES);
    if (j->row == NULL || j->piece == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d bytes at a time", PIECE_BYTES);
    return dgm_tensor_copy_init(&j->copy);
}

static int write_all(job *j)
{
    const struct dgm_model_files *f = j->m->files;
    char *text = NULL;
    size_t len;
    DGM_TRY(allocate(j));
    DGM_TRY(plan(j));
    for (size_t i = 0; i < f->n_slots; i++)
        DGM_TRY(put_tensor(j, &f->slots[i]));
    DGM_TRY(dgm_model_writer_beside(j->out, j->m->dir));
    if (j->m->cut != NULL)
        DGM_TRY(dgm_model_writer_copy(j->out, j->m->dir, DGM_CUT_KEEP_NAME));
    DGM_TRY(dgm_sparsify_config(&text, &len, j->m, j->opt, j->report));
    const int rc = dgm_model_writer_commit(&j->report->bytes_after, j->out, text, len);
    free(text);
    return rc;
}

int dgm_sparsify_write(dgm_sparsify_report *report, dgm_model_writer *out, const dgm_model *m,
                       const dgm_sparsify_options *opt)
{
    job j = {.m = m,
             .opt = opt,
             .report = report,
             .out = out,
             .copy = {.from = m->files->tensors, .to = out}};
    const int rc = write_all(&j);
    dgm_tensor_copy_fini(&j.copy);
    free(j.row);
    free(j.piece);
    return rc;
}

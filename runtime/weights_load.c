/* Reading a rank's part of the weights into memory, in kernel layout. */
#include "runtime/expert_sets.h"
#include "runtime/task_experts.h"
#include "runtime/weights.h"

#include <math.h>
#include <stdlib.h>

/* Read at a time: large enough for any disk, small beside the weights. A row always fits (MAX_FFN * 4). */
enum { PIECE_BYTES = 4 << 20, PAGE = 4096 };

/* ---- one tensor ---- */

static void unpack_piece(const dgm_slot *s, const void *src, int row, int rows)
{
    const dgm_dtype t = (dgm_dtype)s->tensor->dtype;
    /* Nobody else has seen this memory yet; const begins when loading is done. */
    if (s->matrix != NULL && s->matrix->type == DGM_W_BF16)
        dgm_pack_bf16((void *)s->matrix->data, src, s->row0 + row, rows, s->k);
    else if (s->matrix != NULL)
        dgm_pack((float *)s->matrix->data, src, t, s->row0 + row, rows, s->k);
    else
        dgm_widen((float *)*s->vector + s->row0 + row, src, t, (size_t)rows);
}

static int load_slot(const dgm_model *m, const dgm_slot *s, void *piece, dgm_comm *comm)
{
    const size_t row_bytes = (size_t)s->k * dgm_dtype_bytes((dgm_dtype)s->tensor->dtype);
    const int step = (int)(PIECE_BYTES / row_bytes);
    for (int row = 0; row < s->rows; row += step) {
        const int rows = s->rows - row < step ? s->rows - row : step;
        if (comm != NULL)
            dgm_comm_busy(comm, s->expert >= 0 ? "reading experts" : "reading weights");
        DGM_TRY(dgm_tensors_read(m->files->tensors, s->tensor, piece, (uint64_t)row * row_bytes,
                                 (size_t)rows * row_bytes, PIECE_BYTES));
        unpack_piece(s, piece, row, rows);
    }
    return DGM_OK;
}

/* ---- memory ---- */

bool dgm_slot_is_kept(const dgm_model *m, const dgm_slot *s)
{
    const int stack = s->layer >= m->cfg.n_layers[DGM_ENCODER] ? DGM_DECODER : DGM_ENCODER;
    return m->sets == NULL || dgm_config_has_gates(&m->cfg, stack) ||
           dgm_expert_sets_wanted(m->sets, s->moe, s->expert);
}

bool dgm_slot_is_mine(const dgm_model *m, const dgm_slot *s, int rank, bool dense)
{
    if (s->expert < 0)
        return dense;
    const bool here = dgm_placement_at_home(&m->placement, s->moe)
                          ? dense
                          : dgm_placement_owner(&m->placement, s->moe, s->expert) == rank;
    return here && dgm_task_needs(m, rank, s->moe, s->expert) && dgm_slot_is_kept(m, s);
}

/* begins_expert - an expert's slots follow one another. */
static bool begins_expert(const struct dgm_model_files *f, size_t slot)
{
    const dgm_slot *s = &f->slots[slot];
    return slot == 0 || s[-1].moe != s->moe || s[-1].expert != s->expert;
}

size_t dgm_positions_bytes(const dgm_model *m)
{
    return dgm_arena_align((size_t)(m->cfg.max_positions + 2) * (size_t)m->cfg.d_model *
                           sizeof(float));
}

size_t dgm_weights_dense_bytes(const dgm_model *m)
{
    size_t bytes = dgm_positions_bytes(m);
    for (size_t i = 0; i < m->files->n_slots; i++)
        if (m->files->slots[i].expert < 0)
            bytes += dgm_weights_bytes(&m->files->slots[i]);
    return bytes;
}

/*
 * Weights are streamed, so in 4 KiB pages the TLB and the prefetcher set the pace: reading 512 MiB went at 7.5 GB/s,
 * in huge pages at 9.8 (Zen 3, median of a busy machine). Small experts share them.
 */
static int reserve(dgm_model *m, int rank, bool dense)
{
    struct dgm_model_files *f = m->files;
    size_t bytes = 0;
    for (size_t i = 0; i < f->n_slots; i++) {
        const dgm_slot *s = &f->slots[i];
        if (s->expert < 0 || !dgm_slot_is_mine(m, s, rank, dense))
            continue;
        bytes += dgm_weights_bytes(s) + (begins_expert(f, i) ? PAGE : 0);
    }
    DGM_TRY(dgm_arena_init_huge(&f->experts, bytes));
    return dense ? dgm_arena_init_huge(&f->dense, dgm_weights_dense_bytes(m)) : DGM_OK;
}

static void place(dgm_model *m, size_t slot)
{
    struct dgm_model_files *f = m->files;
    const dgm_slot *s = &f->slots[slot];
    dgm_arena *a = s->expert < 0 ? &f->dense : &f->experts;
    if (s->expert >= 0 && begins_expert(f, slot))
        (void)dgm_arena_push(a, (PAGE - a->used % PAGE) % PAGE);
    if (s->row0 != 0)
        return;
    void *dst = dgm_arena_push(a, dgm_weights_bytes(s)); /* zeros: rows past n stay so */
    if (s->matrix != NULL)
        s->matrix->data = dst;
    else
        *s->vector = dst;
}

/* ---- a rank's part ---- */

static int read_weights(dgm_model *m, int rank, bool dense, dgm_comm *comm)
{
    struct dgm_model_files *f = m->files;
    DGM_TRY(reserve(m, rank, dense));
    void *piece = dgm_reserve(PIECE_BYTES); /* malloc may keep what is given back */
    if (piece == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate %d bytes to read weights", (int)PIECE_BYTES);
    int rc = DGM_OK;
    for (size_t i = 0; i < f->n_slots && rc == DGM_OK; i++) {
        if (!dgm_slot_is_mine(m, &f->slots[i], rank, dense))
            continue;
        place(m, i);
        rc = load_slot(m, &f->slots[i], piece, comm);
    }
    dgm_release(piece, PIECE_BYTES);
    return rc;
}

static int check_gates(const dgm_model *m)
{
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < m->stack[s].n_layers; i++) {
            const dgm_layer *l = &m->stack[s].layers[i];
            if (l->gates != NULL)
                DGM_TRY(dgm_gates_check(m, dgm_slot_of_gates(m->files, l), l->gates));
        }
    return DGM_OK;
}

int dgm_weights_load(dgm_model *m, int rank, bool dense, dgm_comm *comm)
{
    struct dgm_model_files *f = m->files;
    const bool packed = m->cfg.weights.packed;
    DGM_ASSERT(!f->loaded);
    f->loaded = true;
    if (packed && dense)
        DGM_TRY(dgm_arena_init_huge(&f->dense, dgm_positions_bytes(m)));
    DGM_TRY(packed ? dgm_weights_map(m, rank, dense, comm) : read_weights(m, rank, dense, comm));
    if (dense) {
        m->positions = dgm_arena_push(&f->dense, dgm_positions_bytes(m));
        dgm_positions_fill(m->positions, m->cfg.max_positions + 2, m->cfg.d_model);
        DGM_TRY(check_gates(m));
    }
    return DGM_OK;
}

/* ---- everything, without keeping it ---- */

static int verify_slot(const dgm_model *m, const dgm_slot *s, void *piece, float *wide)
{
    if (s->form != DGM_SLOT_ROWS)
        DGM_TRY(dgm_slot_check_sum(m, s));
    dgm_packed sparse;
    if (s->form == DGM_SLOT_PANELS && s->matrix->pattern != DGM_DENSE)
        DGM_TRY(dgm_slot_map(&sparse, m, s));
    if (s->tensor->dtype < 0) /* integers are always finite */
        return DGM_OK;
    const dgm_dtype t = (dgm_dtype)s->tensor->dtype;
    const size_t size = dgm_dtype_bytes(t), step = PIECE_BYTES / sizeof(float);
    const size_t n = (size_t)s->tensor->bytes / size;
    for (size_t at = 0; at < n; at += step) {
        const size_t count = n - at < step ? n - at : step;
        DGM_TRY(dgm_tensors_read(m->files->tensors, s->tensor, piece, at * size, count * size,
                                 PIECE_BYTES));
        dgm_widen(wide, piece, t, count);
        for (size_t i = 0; i < count; i++)
            if (!isfinite(wide[i]))
                return dgm_fail(DGM_EMODEL,
                                "%s: tensor %s: wanted finite numbers, found %g at element %zu",
                                dgm_tensors_path(m->files->tensors, s->tensor), s->tensor->name,
                                (double)wide[i], at + i);
    }
    return DGM_OK;
}

int dgm_weights_verify(const dgm_model *m)
{
    float *wide = malloc(2 * (size_t)PIECE_BYTES); /* a piece as f32, then as the file has it */
    if (wide == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate %d bytes to read weights", 2 * PIECE_BYTES);
    int rc = DGM_OK;
    for (size_t i = 0; i < m->files->n_slots && rc == DGM_OK; i++)
        rc = verify_slot(m, &m->files->slots[i], wide + PIECE_BYTES / sizeof *wide, wide);
    free(wide);
    return rc;
}

void dgm_weights_free(dgm_model *m)
{
    struct dgm_model_files *f = m->files;
    dgm_arena_fini(&f->experts);
    dgm_arena_fini(&f->dense);
    free(f->slots);
    for (int s = 0; s < DGM_STACKS; s++) {
        for (int i = 0; i < m->stack[s].n_layers; i++)
            free(m->stack[s].layers[i].experts);
        free(m->stack[s].layers);
    }
}

/* Packed weights: used where they lie in the files, checked against their sums before. */
#include "kernels/sparse.h"
#include "kernels/sparse_check.h"
#include "runtime/weights.h"

#include <inttypes.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

int dgm_slot_check_sum(const dgm_model *m, const dgm_slot *s)
{
    dgm_tensors *set = m->files->tensors;
    const dgm_tensor *t = s->tensor;
    const void *data;
    if (!t->has_xxh)
        return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted a checksum in __metadata__, found none",
                        dgm_tensors_path(set, t), t->name);
    DGM_TRY(dgm_tensors_map(&data, set, t));
    const uint64_t found = XXH3_64bits(data, (size_t)t->bytes);
    if (found != t->xxh)
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted bytes of checksum %016" PRIx64 ", found %016" PRIx64
                        " (the file is damaged: copy it again)",
                        dgm_tensors_path(set, t), t->name, t->xxh, found);
    return DGM_OK;
}

/* Slots of one matrix follow one another. */
static int map_sparse(dgm_packed *w, const dgm_model *m, const dgm_slot *s)
{
    dgm_tensors *set = m->files->tensors;
    const void *starts = NULL;
    *w = *s->matrix;
    DGM_TRY(dgm_tensors_map(&w->data, set, s->tensor));
    DGM_TRY(dgm_tensors_map(&w->index, set, s[1].tensor));
    if (w->pattern == DGM_BITMAP)
        DGM_TRY(dgm_tensors_map(&starts, set, s[2].tensor));
    w->starts = starts;
    return DGM_OK;
}

int dgm_slot_map(dgm_packed *out, const dgm_model *m, const dgm_slot *s)
{
    const dgm_tensors *set = m->files->tensors;
    const dgm_tensor *t = s->tensor;
    uint64_t block, wanted, found;
    int row, input;
    DGM_TRY(map_sparse(out, m, s));
    if (dgm_is_nm(out->pattern) && !dgm_nm_check(&row, &input, out))
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted places that ascend, each with one number, found "
                        "others in row %d, from input %d on",
                        dgm_tensors_path(set, s[1].tensor), s[1].tensor->name, row, input);
    if (out->pattern != DGM_BITMAP || dgm_bitmap_check(&block, &wanted, &found, out, t->dims[0]))
        return DGM_OK;
    if (block == dgm_bitmap_starts(s->n, s->k) - 1)
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted at least %" PRIu64
                        " numbers, as %s says, found %" PRIu64,
                        dgm_tensors_path(set, t), t->name, wanted, s[2].tensor->name, found);
    return dgm_fail(DGM_EMODEL,
                    "%s: tensor %s: wanted %" PRIu64 " numbers in block %" PRIu64
                    ", as the bits of %s say, found %" PRIu64,
                    dgm_tensors_path(set, t), s[2].tensor->name, wanted, block, s[1].tensor->name,
                    found);
}

/* check_form - of a sparse matrix, at its last slot. What a bitmap says kernels believe: so whatever --verify says. Places of
 * n of m cannot lead them astray. */
static int check_form(const dgm_model *m, const dgm_slot *s)
{
    dgm_packed w;
    if (s->form == DGM_SLOT_STARTS)
        return dgm_slot_map(&w, m, s - 2);
    if (s->form == DGM_SLOT_INDEX && dgm_is_nm(s->matrix->pattern) &&
        m->files->verify != DGM_VERIFY_NEVER)
        return dgm_slot_map(&w, m, s - 1);
    return DGM_OK;
}

static int point_at(const dgm_model *m, const dgm_slot *s)
{
    const void *data;
    DGM_TRY(dgm_tensors_map(&data, m->files->tensors, s->tensor));
    if (s->form == DGM_SLOT_PANELS)
        s->matrix->data = data;
    else if (s->form == DGM_SLOT_INDEX)
        s->matrix->index = data;
    else if (s->form == DGM_SLOT_STARTS)
        s->matrix->starts = data;
    else if (s->form == DGM_SLOT_SCALES)
        s->matrix->scale = data;
    else
        *s->vector = data;
    return DGM_OK;
}

static int want_or_check(const dgm_model *m, const dgm_slot *s, int checking)
{
    if (!checking) {
        dgm_tensors_want(m->files->tensors, s->tensor);
        return DGM_OK;
    }
    if (m->files->verify != DGM_VERIFY_NEVER)
        DGM_TRY(dgm_slot_check_sum(m, s));
    return check_form(m, s);
}

/* What is needed now is asked for as a whole, so that checking does not wait for each page. */
static int check_now(const dgm_model *m, int rank, bool dense, dgm_comm *comm)
{
    const struct dgm_model_files *f = m->files;
    const bool all = f->verify == DGM_VERIFY_OPEN;
    for (int checking = 0; checking < 2; checking++) {
        for (size_t i = 0; i < f->n_slots; i++) {
            const dgm_slot *s = &f->slots[i];
            if (!dgm_slot_is_mine(m, s, rank, dense) || (s->expert >= 0 && !all))
                continue;
            if (comm != NULL)
                dgm_comm_busy(comm, s->expert >= 0 ? "reading experts" : "reading weights");
            DGM_TRY(want_or_check(m, s, checking));
        }
    }
    return DGM_OK;
}

int dgm_weights_map(dgm_model *m, int rank, bool dense, dgm_comm *comm)
{
    const struct dgm_model_files *f = m->files;
    m->unchecked =
        calloc((size_t)(f->n_moe * dgm_config_most_experts(&m->cfg)) + 1, sizeof *m->unchecked);
    if (m->unchecked == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate a list of experts");
    for (size_t i = 0; i < f->n_slots; i++) {
        const dgm_slot *s = &f->slots[i];
        if (!dgm_slot_is_mine(m, s, rank, dense))
            continue;
        DGM_TRY(point_at(m, s));
        if (s->expert >= 0)
            m->unchecked[s->moe * dgm_config_most_experts(&m->cfg) + s->expert] =
                f->verify != DGM_VERIFY_OPEN;
    }
    return check_now(m, rank, dense, comm);
}

int dgm_model_check_expert(const dgm_model *m, int moe_layer, int expert)
{
    const struct dgm_model_files *f = m->files;
    for (int checking = 0; checking < 2; checking++) {
        for (size_t i = 0; i < f->n_slots; i++) {
            const dgm_slot *s = &f->slots[i];
            if (s->moe == moe_layer && s->expert == expert)
                DGM_TRY(want_or_check(m, s, checking));
        }
    }
    m->unchecked[moe_layer * dgm_config_most_experts(&m->cfg) + expert] = 0;
    return DGM_OK;
}

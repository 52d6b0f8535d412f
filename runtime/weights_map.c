/* Packed weights: used where they lie in the files, checked against their sums before. */
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

static int point_at(const dgm_model *m, const dgm_slot *s)
{
    const void *data;
    DGM_TRY(dgm_tensors_map(&data, m->files->tensors, s->tensor));
    if (s->form == DGM_SLOT_PANELS)
        s->matrix->data = data;
    else if (s->form == DGM_SLOT_SCALES)
        s->matrix->scale = data;
    else
        *s->vector = data;
    return DGM_OK;
}

/* What is needed now is asked for as a whole, so that checking does not wait for each page. */
static int check_now(const dgm_model *m, int rank, bool dense, dgm_comm *comm)
{
    const struct dgm_model_files *f = m->files;
    const bool all = f->verify == DGM_VERIFY_OPEN;
    for (int checking = 0; checking <= (f->verify != DGM_VERIFY_NEVER); checking++) {
        for (size_t i = 0; i < f->n_slots; i++) {
            const dgm_slot *s = &f->slots[i];
            if (!dgm_slot_is_mine(m, s, rank, dense) || (s->expert >= 0 && !all))
                continue;
            if (comm != NULL)
                dgm_comm_busy(comm, s->expert >= 0 ? "reading experts" : "reading weights");
            if (!checking)
                dgm_tensors_want(f->tensors, s->tensor);
            else
                DGM_TRY(dgm_slot_check_sum(m, s));
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
    for (int checking = 0; checking <= (f->verify != DGM_VERIFY_NEVER); checking++) {
        for (size_t i = 0; i < f->n_slots; i++) {
            const dgm_slot *s = &f->slots[i];
            if (s->moe != moe_layer || s->expert != expert)
                continue;
            if (!checking)
                dgm_tensors_want(f->tensors, s->tensor);
            else
                DGM_TRY(dgm_slot_check_sum(m, s));
        }
    }
    m->unchecked[moe_layer * dgm_config_most_experts(&m->cfg) + expert] = 0;
    return DGM_OK;
}

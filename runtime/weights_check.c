/* Whether a tensor is what its slot asks for: type, shape and, when it is used where it lies, its place. */
#include "runtime/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static void shape_text(char *out, size_t size, int n_dims, const uint64_t *dims)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < n_dims && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRIu64, i > 0 ? ", " : "", dims[i]);
    if (used < size)
        (void)snprintf(out + used, size - used, "]");
}

static int check_shape(const dgm_tensors *set, const dgm_tensor *t, int n_dims,
                       const uint64_t *want)
{
    if (t->n_dims == n_dims && memcmp(t->dims, want, (size_t)n_dims * sizeof *want) == 0)
        return DGM_OK;
    char wanted[128], found[128];
    shape_text(wanted, sizeof wanted, n_dims, want);
    shape_text(found, sizeof found, t->n_dims, t->dims);
    return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted shape %s, found %s",
                    dgm_tensors_path(set, t), t->name, wanted, found);
}

static int check_type(const dgm_tensors *set, const dgm_tensor *t, const char *want)
{
    if (strcmp(t->type, want) == 0)
        return DGM_OK;
    return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted %s, found %s", dgm_tensors_path(set, t),
                    t->name, want, t->type);
}

static int check_place(const dgm_tensors *set, const dgm_tensor *t)
{
    if (t->begin % ALIGNMENT == 0)
        return DGM_OK;
    return dgm_fail(DGM_EMODEL,
                    "%s: tensor %s: wanted it at a multiple of %d bytes, found it at %" PRIu64,
                    dgm_tensors_path(set, t), t->name, ALIGNMENT, t->begin);
}

int dgm_panels_shape(const char **type, uint64_t dims[DGM_TENSOR_DIMS], dgm_wtype t, int n, int k)
{
    static const struct {
        const char *type;
        uint64_t inputs, last; /* of a run of 64 bytes; what the last dimension counts */
    } layouts[] = {[DGM_W_F32] = {"F32", 1, 1},
                   [DGM_W_BF16] = {"BF16", 2, 2},
                   [DGM_W_INT8] = {"I8", 4, 4},
                   [DGM_W_INT4] = {"U8", 8, 4}};
    *type = layouts[t].type;
    dims[0] = dgm_packed_panels(n);
    dims[1] = ((uint64_t)k + layouts[t].inputs - 1) / layouts[t].inputs;
    dims[2] = DGM_PANEL;
    dims[3] = layouts[t].last;
    return t == DGM_W_F32 ? 3 : 4;
}

static int check_panels(const dgm_tensors *set, const dgm_slot *s)
{
    const char *type;
    uint64_t dims[DGM_TENSOR_DIMS];
    const int n_dims = dgm_panels_shape(&type, dims, s->matrix->type, s->n, s->k);
    DGM_TRY(check_type(set, s->tensor, type));
    return check_shape(set, s->tensor, n_dims, dims);
}

static int check_scales(const dgm_tensors *set, const dgm_slot *s)
{
    const uint64_t dims[] = {dgm_packed_panels(s->n),
                             (uint64_t)dgm_packed_groups(s->k, s->matrix->group), DGM_PANEL};
    DGM_TRY(check_type(set, s->tensor, "F32"));
    return check_shape(set, s->tensor, 3, dims);
}

static int check_rows(const dgm_tensors *set, const dgm_slot *s)
{
    const dgm_tensor *t = s->tensor;
    const uint64_t want[2] = {(uint64_t)s->rows, (uint64_t)s->k};
    if (t->dtype < 0)
        return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted F32, F16 or BF16, found %s",
                        dgm_tensors_path(set, t), t->name, t->type);
    return check_shape(set, t, s->matrix != NULL ? 2 : 1, want);
}

int dgm_slot_check(const dgm_tensors *t, const dgm_slot *s)
{
    switch (s->form) {
    case DGM_SLOT_PANELS:
        DGM_TRY(check_panels(t, s));
        return check_place(t, s->tensor);
    case DGM_SLOT_SCALES:
        DGM_TRY(check_scales(t, s));
        return check_place(t, s->tensor);
    case DGM_SLOT_VECTOR:
        DGM_TRY(check_type(t, s->tensor, "F32"));
        DGM_TRY(check_rows(t, s));
        return check_place(t, s->tensor);
    default:
        return check_rows(t, s);
    }
}

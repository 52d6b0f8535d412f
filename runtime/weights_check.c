/* Whether a tensor is what its slot asks for: type, shape and, when it is used where it lies, its place. */
#include "kernels/sparse.h"
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

int dgm_panels_file_shape(const char **type, uint64_t dims[DGM_TENSOR_DIMS], const dgm_packed *w)
{
    const int kept = dgm_is_nm(w->pattern) ? dgm_nm_inputs(w->pattern) / 2 : 0;
    const int k = kept > 0 ? dgm_sparse_blocks(w->pattern, w->k) * kept : w->k;
    const int n_dims = dgm_panels_shape(type, dims, w->type, w->n, k);
    if (w->pattern != DGM_BITMAP)
        return n_dims;
    dims[0] = 0;
    return 1;
}

int dgm_index_file_shape(const char **type, uint64_t dims[DGM_TENSOR_DIMS], const dgm_packed *w)
{
    const uint64_t per = (uint64_t)dgm_line_inputs(w->type);
    dims[0] = dgm_packed_panels(w->n);
    dims[1] = (uint64_t)dgm_sparse_blocks(w->pattern, w->k);
    dims[2] = DGM_PANEL;
    *type = "U32";
    if (w->pattern != DGM_BITMAP)
        return 3;
    dims[1] = ((uint64_t)w->k + per - 1) / per;
    dims[2] = per;
    *type = "U16";
    return 3;
}

const char *dgm_index_tail(dgm_pattern p)
{
    return p == DGM_2_OF_4 ? ".2of4" : p == DGM_4_OF_8 ? ".4of8" : ".bits";
}

/* A bitmap's numbers are as many as its bits say, which is known once those are read (dgm_slot_map). */
static int check_panels(const dgm_tensors *set, const dgm_slot *s)
{
    const char *type;
    uint64_t dims[DGM_TENSOR_DIMS];
    const int n_dims = dgm_panels_file_shape(&type, dims, s->matrix);
    DGM_TRY(check_type(set, s->tensor, type));
    if (s->matrix->pattern == DGM_BITMAP) {
        const uint64_t least = DGM_BITMAP_SLACK / dgm_element_bytes(s->matrix->type);
        dims[0] = s->tensor->dims[0] > least ? s->tensor->dims[0] : least;
    }
    return check_shape(set, s->tensor, n_dims, dims);
}

static int check_index(const dgm_tensors *set, const dgm_slot *s)
{
    const char *type;
    uint64_t dims[DGM_TENSOR_DIMS];
    const int n_dims = dgm_index_file_shape(&type, dims, s->matrix);
    if (s->matrix->type == DGM_W_INT4)
        return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted none beside int4 weights, found it",
                        dgm_tensors_path(set, s->tensor), s->tensor->name);
    DGM_TRY(check_type(set, s->tensor, type));
    return check_shape(set, s->tensor, n_dims, dims);
}

static int check_starts(const dgm_tensors *set, const dgm_slot *s)
{
    const uint64_t n = dgm_bitmap_starts(s->n, s->k);
    DGM_TRY(check_type(set, s->tensor, "U32"));
    return check_shape(set, s->tensor, 1, &n);
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
    case DGM_SLOT_INDEX:
        DGM_TRY(check_index(t, s));
        return check_place(t, s->tensor);
    case DGM_SLOT_STARTS:
        DGM_TRY(check_starts(t, s));
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

const dgm_slot *dgm_slot_of_gates(const struct dgm_model_files *f, const dgm_layer *layer)
{
    const dgm_slot *s = f->slots;
    while (s->vector != &layer->gates)
        s++;
    return s;
}

int dgm_gates_check(const dgm_model *m, const dgm_slot *s, const float *gates)
{
    for (int i = 0; i < s->n; i++)
        if (!(gates[i] >= 0 && gates[i] <= 1))
            return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted gates from 0 to 1, found %g",
                            dgm_tensors_path(m->files->tensors, s->tensor), s->tensor->name,
                            (double)gates[i]);
    return DGM_OK;
}

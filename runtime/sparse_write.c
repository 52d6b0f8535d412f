#define _GNU_SOURCE
#include "runtime/sparse_write.h"

#include "runtime/weights.h"

#include <stdio.h>
#include <stdlib.h>

static dgm_packed packed_of(const dgm_sparse_shape *s)
{
    return (dgm_packed){
        .n = s->n, .k = s->k, .type = s->type, .group = s->group, .pattern = s->pattern};
}

dgm_pattern dgm_sparse_choose(const dgm_sparse_shape *s)
{
    dgm_packed w = packed_of(s);
    if (s->type == DGM_W_INT4 || (s->pattern == DGM_BITMAP && s->values > UINT32_MAX))
        return DGM_DENSE;
    const uint64_t sparse = dgm_sparse_bytes(&w, s->values);
    w.pattern = DGM_DENSE;
    return sparse < dgm_sparse_bytes(&w, 0) ? s->pattern : DGM_DENSE;
}

/* ---- what a matrix looks like ---- */

/* over - more than m / 2 of some m inputs are kept. */
static bool over(const float *row, int k, int m)
{
    int kept = 0;
    for (int i = 0; i < k; i++) {
        kept = (i % m == 0 ? 0 : kept) + dgm_sparse_keeps(row[i]);
        if (kept > m / 2)
            return true;
    }
    return false;
}

void dgm_sparse_look(dgm_sparse_found *f, const float *w, int rows)
{
    for (int r = 0; r < rows; r++, w += f->k) {
        f->over_2_of_4 = f->over_2_of_4 || over(w, f->k, 4);
        f->over_4_of_8 = f->over_4_of_8 || over(w, f->k, 8);
        for (int i = 0; i < f->k; i++) {
            f->values += dgm_sparse_keeps(w[i]);
            f->tiny = f->tiny || (w[i] != 0 && !dgm_sparse_keeps(w[i]));
        }
    }
    f->rows += (uint64_t)rows;
}

void dgm_sparse_fit(dgm_sparse_shape *s, const dgm_sparse_found *f)
{
    s->values = f->values;
    s->pattern = !f->over_2_of_4 ? DGM_2_OF_4 : !f->over_4_of_8 ? DGM_4_OF_8 : DGM_BITMAP;
    s->pattern = f->tiny ? DGM_DENSE : dgm_sparse_choose(s);
}

/* ---- plan ---- */

typedef struct list {
    dgm_new_tensor *at;
    size_t *n;
    const char *name;
} list;

static int add(const list *l, const char *tail, dgm_new_tensor t)
{
    if (asprintf(&t.name, "%s%s", l->name, tail) < 0)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of tensors");
    t.bytes = dgm_st_element_bytes(t.type);
    for (int i = 0; i < t.n_dims; i++)
        t.bytes *= t.dims[i];
    l->at[(*l->n)++] = t;
    return DGM_OK;
}

int dgm_sparse_plan(dgm_new_tensor *tensors, size_t *n, const char *name, const dgm_sparse_shape *s,
                    bool unit, bool page)
{
    const list l = {tensors, n, name};
    dgm_packed w = packed_of(s);
    dgm_new_tensor t = {.unit = unit, .page = page};
    t.n_dims = dgm_panels_file_shape(&t.type, t.dims, &w);
    if (s->pattern == DGM_BITMAP)
        t.dims[0] = dgm_bitmap_room(s->type, s->values);
    DGM_TRY(add(&l, ".q", t));
    if (s->pattern != DGM_DENSE) {
        dgm_new_tensor index = {0};
        index.n_dims = dgm_index_file_shape(&index.type, index.dims, &w);
        DGM_TRY(add(&l, dgm_index_tail(s->pattern), index));
    }
    if (s->pattern == DGM_BITMAP)
        DGM_TRY(add(
            &l, DGM_STARTS_TAIL,
            (dgm_new_tensor){.type = "U32", .n_dims = 1, .dims = {dgm_bitmap_starts(s->n, s->k)}}));
    if (s->type != DGM_W_INT8 && s->type != DGM_W_INT4)
        return DGM_OK;
    const uint64_t groups = (uint64_t)dgm_packed_groups(s->k, s->group);
    return add(&l, ".scale",
               (dgm_new_tensor){.type = "F32",
                                .n_dims = 3,
                                .dims = {dgm_packed_panels(s->n), groups, DGM_PANEL}});
}

/* ---- put ---- */

/* half: room for a row of bf16. */
static void pack_dense(void *data, uint16_t *half, const dgm_sparse_shape *s, const void *w)
{
    const size_t k = (size_t)s->k;
    dgm_packed_clear(data, s->type, s->n, s->k);
    if (s->type == DGM_W_INT8 || s->type == DGM_W_INT4) {
        dgm_pack_integers(data, s->type, w, 0, s->n, s->k);
    } else if (s->type == DGM_W_F32) {
        dgm_pack(data, w, DGM_F32, 0, s->n, s->k);
    } else {
        const float *f = w;
        for (int r = 0; r < s->n; r++) {
            for (size_t i = 0; i < k; i++)
                half[i] = dgm_bf16_round(f[(size_t)r * k + i]);
            dgm_pack_bf16(data, half, r, 1, s->k);
        }
    }
}

static int put_sparse(dgm_model_writer *out, const char *name, const dgm_sparse_shape *s,
                      const void *w, unsigned char *memory, uint64_t room)
{
    dgm_packed to = packed_of(s);
    const bool bitmap = s->pattern == DGM_BITMAP;
    const uint64_t index =
                       dgm_packed_panels(s->n) * dgm_sparse_index_bytes(s->pattern, s->type, s->k),
                   starts = bitmap ? dgm_bitmap_starts(s->n, s->k) * sizeof *to.starts : 0,
                   data = dgm_sparse_bytes(&to, s->values) - index - starts;
    to.starts = (const uint32_t *)(const void *)memory;
    to.index = memory + starts;
    to.data = memory + starts + index;
    DGM_TRY(dgm_sparse_pack(&to, w, room, name));
    DGM_TRY(dgm_model_writer_put(out, to.data, data));
    DGM_TRY(dgm_model_writer_put(out, to.index, index));
    return bitmap ? dgm_model_writer_put(out, to.starts, starts) : DGM_OK;
}

int dgm_sparse_put(dgm_model_writer *out, const char *name, const dgm_sparse_shape *s,
                   const void *w, const float *scale)
{
    const dgm_packed to = packed_of(s);
    const uint64_t bytes = dgm_sparse_bytes(&to, s->values);
    unsigned char *memory = malloc(bytes + (size_t)s->k * sizeof(uint16_t));
    if (memory == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: out of memory for %llu bytes", name,
                        (unsigned long long)bytes);
    int rc;
    if (s->pattern == DGM_DENSE) {
        pack_dense(memory, (uint16_t *)(void *)(memory + bytes), s, w);
        rc = dgm_model_writer_put(out, memory, bytes);
    } else {
        rc = put_sparse(out, name, s, w, memory, dgm_bitmap_room(s->type, s->values));
    }
    free(memory);
    const size_t scales = dgm_packed_scales(s->type, s->n, s->k, s->group);
    if (rc == DGM_OK && scales > 0)
        rc = dgm_model_writer_put(out, scale, scales * sizeof *scale);
    return rc;
}

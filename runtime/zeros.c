#include "runtime/zeros.h"

#include <string.h>

bool dgm_prunable_slot(const dgm_slot *s)
{
    return s->matrix != NULL &&
           (s->part == DGM_ATTENTION || s->part == DGM_FFN || s->part == DGM_EXPERTS);
}

void dgm_zeros_add(dgm_zeros *z, bool prunable, uint64_t n, uint64_t zeros)
{
    z->parameters += n;
    z->pruned += prunable ? n : 0;
    z->zeros += prunable ? zeros : 0;
}

void dgm_zeros_add_slot(dgm_zeros *z, const dgm_slot *s)
{
    const uint64_t n = (uint64_t)s->rows * (uint64_t)s->k;
    if (dgm_slot_has_weights(s))
        dgm_zeros_add(z, dgm_prunable_slot(s), n, n);
}

/* A float is zero whatever its sign says. */
static uint64_t floats(const unsigned char *p, size_t bytes, size_t size)
{
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i += size) {
        uint32_t bits = 0;
        memcpy(&bits, p + i, size); /* little endian: what is missing is above */
        n += (bits & (size == 4 ? 0x7fffffffU : 0x7fffU)) != 0;
    }
    return n;
}

static uint64_t integers(const unsigned char *p, size_t bytes)
{
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += p[i] != 0;
    return n;
}

static uint64_t nibbles(const unsigned char *p, size_t bytes)
{
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += (uint64_t)((p[i] & 15) != 8) + (uint64_t)(p[i] >> 4 != 8);
    return n;
}

void dgm_zeros_see_bytes(dgm_zeros *z, const dgm_slot *s, const void *data, size_t bytes)
{
    if (!dgm_prunable_slot(s) || !dgm_slot_has_weights(s))
        return;
    if (s->form == DGM_SLOT_ROWS)
        z->zeros -= floats(data, bytes, dgm_dtype_bytes((dgm_dtype)s->tensor->dtype));
    else if (s->matrix->type == DGM_W_INT4)
        z->zeros -= nibbles(data, bytes);
    else if (s->matrix->type == DGM_W_INT8)
        z->zeros -= integers(data, bytes);
    else
        z->zeros -= floats(data, bytes, s->matrix->type == DGM_W_F32 ? 4 : 2);
}

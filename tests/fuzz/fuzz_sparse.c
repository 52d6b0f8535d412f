/* Sparse panels of whatever bytes: a bitmap that the check believes, and any n of m, is read inside of its memory. */
#include "kernels/sparse.h"
#include "kernels/sparse_check.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* taken - n bytes of their own, of data while there are any, then zeros. */
static void *taken(const uint8_t **data, size_t *size, size_t n)
{
    unsigned char *p = calloc(n + 1, 1);
    const size_t have = n < *size ? n : *size;
    DGM_ASSERT(p != NULL);
    memcpy(p, *data, have);
    *data += have;
    *size -= have;
    return p;
}

static void read_all(const dgm_packed *w)
{
    dgm_kernels kern;
    float *row = malloc((size_t)w->k * sizeof *row);
    void *panels = malloc(dgm_packed_bytes(w->type, w->n, w->k));
    DGM_ASSERT(row != NULL && panels != NULL);
    DGM_ASSERT(dgm_kernels_select(&kern, NULL) == DGM_OK);
    for (int r = 0; r < w->n; r++)
        dgm_sparse_read(row, w, r);
    dgm_sparse_expand(&kern, panels, w);
    free(row);
    free(panels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    dgm_packed w = {.n = 1 + data[0] % 40,
                    .k = 1 + data[1] * 3,
                    .type = (dgm_wtype)(data[2] % 3),
                    .pattern = (dgm_pattern)(1 + data[2] / 3 % 3)};
    const uint64_t room = dgm_bitmap_room(w.type, data[3] * 8);
    uint64_t block, wanted, found;
    int at, input;
    data += 4;
    size -= 4;
    void *starts = taken(&data, &size, 4 * dgm_bitmap_starts(w.n, w.k));
    void *index = taken(&data, &size,
                        dgm_packed_panels(w.n) * dgm_sparse_index_bytes(w.pattern, w.type, w.k));
    void *numbers = taken(&data, &size,
                          w.pattern == DGM_BITMAP
                              ? room * dgm_element_bytes(w.type)
                              : dgm_packed_panels(w.n) * dgm_nm_bytes(w.pattern, w.type, w.k));
    w.starts = starts;
    w.index = index;
    w.data = numbers;
    if (w.pattern != DGM_BITMAP && !dgm_nm_check(&at, &input, &w))
        DGM_ASSERT(at >= 0 && at < w.n && input >= 0 &&
                   input < dgm_sparse_blocks(w.pattern, w.k) * dgm_nm_inputs(w.pattern));
    if (w.pattern != DGM_BITMAP || dgm_bitmap_check(&block, &wanted, &found, &w, room))
        read_all(&w);
    free(starts);
    free(index);
    free(numbers);
    return 0;
}

/* A file that torch.save() may have written, or its pickle alone: refused in one sentence, or tensors that lie in the
 * file with exactly the bytes of their shape. */
#define _GNU_SOURCE /* memfd_create */
#include "runtime/pickle.h"
#include "runtime/torch_file.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int refused(int rc)
{
    DGM_ASSERT(rc == DGM_OK ||
               (dgm_error_text()[0] != '\0' && strchr(dgm_error_text(), '\n') == NULL));
    return rc != DGM_OK;
}

static void check_pickle(const uint8_t *data, size_t size)
{
    dgm_pickled *all;
    size_t n;
    if (refused(dgm_pickle_parse(&all, &n, "f", data, size)))
        return;
    for (size_t i = 0; i < n; i++) {
        DGM_ASSERT(all[i].name[0] != '\0' && all[i].type != NULL &&
                   strlen(all[i].storage) < DGM_PICKLE_KEY);
        DGM_ASSERT(all[i].n_dims >= 0 && all[i].n_dims <= DGM_TENSOR_DIMS);
        for (int d = 0; d < all[i].n_dims; d++)
            DGM_ASSERT(all[i].dims[d] <= INT64_MAX && all[i].strides[d] <= INT64_MAX);
    }
    dgm_pickle_free(all, n);
}

static void check_file(const uint8_t *data, size_t size)
{
    dgm_st_header h;
    const int fd = memfd_create("fuzz", 0);
    DGM_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    if (!refused(dgm_torch_read(&h, "f", fd, size))) {
        for (size_t i = 0; i < h.n; i++) {
            const dgm_tensor *t = &h.tensors[i];
            uint64_t bytes = strcmp(t->type, "BF16") == 0 || strcmp(t->type, "F16") == 0 ? 2 : 4;
            for (int d = 0; d < t->n_dims; d++)
                bytes *= t->dims[d];
            DGM_ASSERT(t->bytes <= size && t->begin <= size - t->bytes);
            DGM_ASSERT(t->dtype < 0 || t->bytes == bytes);
            DGM_ASSERT(i == 0 || h.tensors[i - 1].begin <= t->begin);
        }
        dgm_st_header_fini(&h);
    }
    (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 2 && data[0] == 0x80 && data[1] == 2)
        check_pickle(data, size);
    else
        check_file(data, size);
    return 0;
}

/* A safetensors file's first bytes: whatever they are, the parser refuses them or hands out tensors that keep its
 * promises (inside the file, apart from each other, as large as their shape says). */
#include "runtime/safetensors.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* written - the tensor's checksum, as digits, stands in the header. */
static bool written(const dgm_tensor *t, const char *json, size_t len)
{
    char digits[17];
    (void)snprintf(digits, sizeof digits, "%016llx", (unsigned long long)t->xxh);
    for (size_t i = 0; i + 16 <= len; i++)
        if (strncasecmp(json + i, digits, 16) == 0)
            return true;
    return false;
}

static void check(const dgm_st_header *h, uint64_t file_bytes, const char *json, size_t len)
{
    for (size_t i = 0; i < h->n; i++) {
        const dgm_tensor *t = &h->tensors[i];
        DGM_ASSERT(t->name != NULL && t->type != NULL);
        DGM_ASSERT(t->n_dims >= 0 && t->n_dims <= DGM_TENSOR_DIMS);
        DGM_ASSERT(t->begin >= 8 && t->bytes <= file_bytes && t->begin <= file_bytes - t->bytes);
        DGM_ASSERT(i == 0 || t->begin >= h->tensors[i - 1].begin + h->tensors[i - 1].bytes);
        uint64_t bytes = strcmp(t->type, "BF16") == 0 || strcmp(t->type, "F16") == 0 ? 2 : 4;
        for (int d = 0; d < t->n_dims; d++)
            bytes *= t->dims[d];
        DGM_ASSERT(t->dtype < 0 || t->bytes == bytes);
        /* an escape such as \u0030 may stand for a digit */
        DGM_ASSERT(!t->has_xxh || written(t, json, len) || memchr(json, '\\', len) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { DATA_BYTES = 64 };
    size_t len;
    dgm_st_header h;
    if (dgm_st_header_bytes(&len, "f", data, size, size) == DGM_OK)
        DGM_ASSERT(len <= size - 8);
    if (size < 8)
        return 0;
    /* What follows is parsed whatever length was said, or hardly any mutation would get past the first 8 bytes. */
    len = size - 8;
    if (dgm_st_parse(&h, "f", (const char *)data + 8, len, size + DATA_BYTES) != DGM_OK) {
        DGM_ASSERT(dgm_error_text()[0] != '\0' && strchr(dgm_error_text(), '\n') == NULL);
        return 0;
    }
    check(&h, size + DATA_BYTES, (const char *)data + 8, len);
    dgm_st_header_fini(&h);
    return 0;
}

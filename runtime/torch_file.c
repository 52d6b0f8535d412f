#include "runtime/torch_file.h"

#include "runtime/config_json.h"
#include "runtime/pickle.h"
#include "runtime/zip.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The 54.5B model's pickles are some 100 KB each; a byte of a hostile one costs some 60 of memory. */
enum { MAX_PICKLE_BYTES = 8 << 20, MAX_PREFIX = 128 };

typedef struct archive {
    const char *path;
    int fd;
    dgm_zip *zip;
    char prefix[MAX_PREFIX]; /* the folder of all entries: "pytorch_model/" */
} archive;

/* ---- a tensor ---- */

/* Row-major: each stride is the product of the dimensions after it. Those of a dimension of 1 do not matter. */
static bool is_contiguous(const dgm_pickled *p)
{
    uint64_t stride = 1;
    for (int i = p->n_dims - 1; i >= 0; i--) {
        if (p->dims[i] != 1 && p->strides[i] != stride)
            return false;
        if (__builtin_mul_overflow(stride, p->dims[i], &stride))
            return false;
    }
    return true;
}

/* Takes the name over. */
static int place(dgm_tensor *t, const archive *a, dgm_pickled *p)
{
    uint64_t element = 0, n = 1, end, begin, bytes;
    char name[MAX_PREFIX + DGM_PICKLE_KEY + 8];
    t->name = p->name;
    p->name = NULL;
    const bool known = dgm_st_type(t, &element, p->type);
    DGM_ASSERT(known); /* pickle.c names no others */
    t->n_dims = p->n_dims;
    memcpy(t->dims, p->dims, sizeof t->dims);
    for (int i = 0; i < p->n_dims; i++)
        if (__builtin_mul_overflow(n, p->dims[i], &n))
            n = UINT64_MAX;
    if (__builtin_add_overflow(p->offset, n, &end) || end > p->storage_elements)
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted it inside its storage of %" PRIu64
                        " elements, found it outside",
                        a->path, t->name, p->storage_elements);
    if (n > 0 && !is_contiguous(p))
        return dgm_fail(
            DGM_EMODEL,
            "%s: tensor %s: wanted rows one after another, found a transposed or strided view",
            a->path, t->name);
    (void)snprintf(name, sizeof name, "%sdata/%s", a->prefix, p->storage);
    DGM_TRY(dgm_zip_find(&begin, &bytes, a->zip, name));
    if (bytes % element != 0 || bytes / element != p->storage_elements)
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted a storage of %" PRIu64
                        " elements of %s, found %" PRIu64 " bytes",
                        a->path, t->name, p->storage_elements, t->type, bytes);
    t->begin = begin + p->offset * element;
    t->bytes = n * element;
    return DGM_OK;
}

static int place_all(dgm_st_header *out, const archive *a, dgm_pickled *pickled, size_t n)
{
    dgm_st_header h = {.tensors = calloc(n + 1, sizeof *h.tensors)};
    if (h.tensors == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a table of %zu tensors", a->path, n);
    while (h.n < n) {
        const int rc = place(&h.tensors[h.n], a, &pickled[h.n]);
        h.n++;
        if (rc != DGM_OK) {
            dgm_st_header_fini(&h);
            return rc;
        }
    }
    dgm_st_sort(&h);
    *out = h;
    return DGM_OK;
}

/* ---- the archive ---- */

/* data.pkl in whole, malloc'ed. */
static int read_pickle(unsigned char **out, size_t *len, const archive *a)
{
    char name[MAX_PREFIX + 16];
    uint64_t begin, bytes;
    (void)snprintf(name, sizeof name, "%sdata.pkl", a->prefix);
    DGM_TRY(dgm_zip_find(&begin, &bytes, a->zip, name));
    if (bytes > MAX_PICKLE_BYTES)
        return dgm_fail(DGM_EMODEL, "%s: wanted a pickle of at most %d bytes, found %" PRIu64,
                        a->path, MAX_PICKLE_BYTES, bytes);
    unsigned char *data = malloc((size_t)bytes + 1);
    if (data == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate %" PRIu64 " bytes", a->path, bytes);
    const int rc = dgm_file_read_at(a->fd, a->path, data, begin, (size_t)bytes);
    if (rc != DGM_OK) {
        free(data);
        return rc;
    }
    *out = data;
    *len = (size_t)bytes;
    return DGM_OK;
}

/* Which folder the entries are in; there is one pickle of tensors, in it. */
static int find_prefix(archive *a)
{
    size_t len = 0;
    const char *name = dgm_zip_ending(a->zip, "/data.pkl", &len);
    const size_t n = name == NULL ? 0 : len - strlen("data.pkl");
    if (n == 0 || n >= MAX_PREFIX || memchr(name, '\0', n) != NULL)
        return dgm_fail(DGM_EMODEL, "%s: wanted an entry data.pkl in the archive, found none",
                        a->path);
    memcpy(a->prefix, name, n);
    a->prefix[n] = '\0';
    return DGM_OK;
}

/* Said by newer versions of torch; without it, little endian is meant. */
static int check_byte_order(const archive *a)
{
    size_t len = 0;
    uint64_t begin, bytes;
    char name[MAX_PREFIX + 16], text[6] = "";
    (void)snprintf(name, sizeof name, "%sbyteorder", a->prefix);
    if (dgm_zip_ending(a->zip, name, &len) == NULL)
        return DGM_OK;
    DGM_TRY(dgm_zip_find(&begin, &bytes, a->zip, name));
    if (bytes == sizeof text)
        DGM_TRY(dgm_file_read_at(a->fd, a->path, text, begin, sizeof text));
    if (memcmp(text, "little", sizeof text) != 0)
        return dgm_fail(DGM_EMODEL, "%s: wanted numbers in little-endian order, found another",
                        a->path);
    return DGM_OK;
}

static int read_archive(dgm_st_header *out, archive *a)
{
    unsigned char *pickle = NULL;
    size_t len = 0, n = 0;
    dgm_pickled *pickled = NULL;
    DGM_TRY(find_prefix(a));
    DGM_TRY(check_byte_order(a));
    DGM_TRY(read_pickle(&pickle, &len, a));
    int rc = dgm_pickle_parse(&pickled, &n, a->path, pickle, len);
    free(pickle);
    if (rc != DGM_OK)
        return rc;
    rc = place_all(out, a, pickled, n);
    dgm_pickle_free(pickled, n);
    return rc;
}

int dgm_torch_read(dgm_st_header *out, const char *path, int fd, uint64_t file_bytes)
{
    unsigned char first[2] = {0};
    archive a = {.path = path, .fd = fd};
    if (file_bytes >= 2)
        DGM_TRY(dgm_file_read_at(fd, path, first, 0, 2));
    if (first[0] == 0x80)
        return dgm_fail(DGM_EMODEL,
                        "%s: wanted a zip archive (torch.save since version 1.6), found a bare "
                        "pickle: load and save it with a "
                        "newer torch",
                        path);
    DGM_TRY(dgm_zip_open(&a.zip, path, fd, file_bytes));
    const int rc = read_archive(out, &a);
    dgm_zip_close(a.zip);
    return rc;
}

#include "runtime/safetensors.h"

#include "kernels/dtype.h"
#include "runtime/config_json.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The limit of the format's own reference implementation; the 54.5B model needs 1 MB. */
enum { MAX_HEADER_BYTES = 100000000, MAX_NAME = 256 };

static const struct type {
    const char *name;
    int bytes, dtype;
} types[] = {
    {"F32", 4, DGM_F32}, {"F16", 2, DGM_F16}, {"BF16", 2, DGM_BF16}, {"F64", 8, -1},
    {"I64", 8, -1},      {"I32", 4, -1},      {"I16", 2, -1},        {"I8", 1, -1},
    {"U64", 8, -1},      {"U32", 4, -1},      {"U16", 2, -1},        {"U8", 1, -1},
    {"BOOL", 1, -1},     {"F8_E4M3", 1, -1},  {"F8_E5M2", 1, -1},
};

int dgm_st_header_bytes(size_t *out, const char *path, const unsigned char *first, size_t n_first,
                        uint64_t file_bytes)
{
    if (n_first < 8 || file_bytes < 8)
        return dgm_fail(DGM_EMODEL,
                        "%s: wanted 8 bytes of header length, found %" PRIu64 " bytes in all", path,
                        file_bytes);
    uint64_t len = 0;
    for (int i = 7; i >= 0; i--)
        len = len << 8 | first[i];
    if (len > MAX_HEADER_BYTES)
        return dgm_fail(DGM_EMODEL,
                        "%s: wanted a header of at most %d bytes, found a length of %" PRIu64, path,
                        MAX_HEADER_BYTES, len);
    if (len > file_bytes - 8)
        return dgm_fail(DGM_EMODEL,
                        "%s: wanted a header of %" PRIu64 " bytes, found %" PRIu64
                        " (is the file truncated?)",
                        path, len, file_bytes - 8);
    *out = (size_t)len;
    return DGM_OK;
}

uint64_t dgm_st_element_bytes(const char *name)
{
    dgm_tensor t;
    uint64_t bytes = 0;
    (void)dgm_st_type(&t, &bytes, name);
    return bytes;
}

bool dgm_st_type(dgm_tensor *t, uint64_t *element_bytes, const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].name, name) != 0)
            continue;
        t->type = types[i].name;
        t->dtype = types[i].dtype;
        *element_bytes = (uint64_t)types[i].bytes;
        return true;
    }
    return false;
}

static int parse_type(dgm_tensor *t, uint64_t *element_bytes, const char *path, const json_t *v)
{
    const char *name = json_string_value(v);
    if (name == NULL)
        return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted a dtype, found none", path, t->name);
    if (dgm_st_type(t, element_bytes, name))
        return DGM_OK;
    return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted a dtype such as F32, F16 or BF16, found %s",
                    path, t->name, dgm_printable(name));
}

/* *bytes starts as the size of an element and becomes that of the tensor. */
static int parse_shape(dgm_tensor *t, uint64_t *bytes, const char *path, const json_t *v)
{
    const size_t n = json_array_size(v); /* 0 when it is no array */
    if (!json_is_array(v) || n > DGM_TENSOR_DIMS)
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted a shape of at most %d dimensions, found %zu", path,
                        t->name, DGM_TENSOR_DIMS, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *dim = json_array_get(v, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return dgm_fail(DGM_EMODEL,
                            "%s: tensor %s: wanted dimensions of 0 or more, found another value",
                            path, t->name);
        t->dims[i] = (uint64_t)json_integer_value(dim);
        if (__builtin_mul_overflow(*bytes, t->dims[i], bytes))
            return dgm_fail(DGM_EMODEL,
                            "%s: tensor %s: wanted a size below 2^64 bytes, found a larger shape",
                            path, t->name);
    }
    t->n_dims = (int)n;
    return DGM_OK;
}

static int parse_offsets(dgm_tensor *t, const char *path, const json_t *v, uint64_t data_begin,
                         uint64_t file_bytes)
{
    const json_t *begin = json_array_get(v, 0), *end = json_array_get(v, 1);
    if (json_array_size(v) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted two data_offsets, found another value",
                        path, t->name);
    const json_int_t b = json_integer_value(begin), e = json_integer_value(end);
    if (b < 0 || e < b)
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted ascending data_offsets, found %lld to %lld", path,
                        t->name, (long long)b, (long long)e);
    if ((uint64_t)e > file_bytes - data_begin)
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted data up to byte %lld, found %" PRIu64
                        " (is the file truncated?)",
                        path, t->name, (long long)e, file_bytes - data_begin);
    t->begin = data_begin + (uint64_t)b;
    t->bytes = (uint64_t)(e - b);
    return DGM_OK;
}

static int parse_tensor(dgm_tensor *t, const char *path, const char *name, const json_t *v,
                        uint64_t data_begin, uint64_t file_bytes)
{
    if (strlen(name) > MAX_NAME || dgm_printable(name) != name)
        return dgm_fail(DGM_EMODEL, "%s: wanted tensor names of printable ASCII, found %s", path,
                        dgm_printable(name));
    t->name = strdup(name);
    if (t->name == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a tensor's name", path);
    uint64_t bytes = 0;
    DGM_TRY(parse_type(t, &bytes, path, json_object_get(v, "dtype")));
    DGM_TRY(parse_shape(t, &bytes, path, json_object_get(v, "shape")));
    DGM_TRY(parse_offsets(t, path, json_object_get(v, "data_offsets"), data_begin, file_bytes));
    if (t->bytes != bytes)
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted %" PRIu64
                        " bytes for its shape and dtype, found %" PRIu64,
                        path, t->name, bytes, t->bytes);
    return DGM_OK;
}

static int by_offset(const void *a, const void *b)
{
    const dgm_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    /* Empty ones first, so that they do not look like overlaps; then any fixed order. */
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

void dgm_st_sort(dgm_st_header *h)
{
    qsort(h->tensors, h->n, sizeof *h->tensors, by_offset);
}

static int check_overlaps(const dgm_st_header *h, const char *path)
{
    for (size_t i = 1; i < h->n; i++) {
        const dgm_tensor *a = &h->tensors[i - 1], *b = &h->tensors[i];
        if (b->begin < a->begin + a->bytes)
            return dgm_fail(DGM_EMODEL, "%s: wanted tensors apart, found %s and %s overlapping",
                            path, a->name, b->name);
    }
    return DGM_OK;
}

/* Sixteen hexadecimal digits under the tensor's name in __metadata__, where our own tools put them. */
static int parse_xxh(dgm_tensor *t, const char *path, const json_t *metadata)
{
    const json_t *v = json_object_get(metadata, t->name);
    if (v == NULL)
        return DGM_OK;
    const char *text = json_string_value(v);
    size_t digits = 0;
    while (text != NULL && isxdigit((unsigned char)text[digits]))
        digits++;
    if (digits != 16 || text[digits] != '\0')
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted a checksum of 16 hexadecimal digits in "
                        "__metadata__, found %s",
                        path, t->name, text == NULL ? "no text" : dgm_printable(text));
    t->has_xxh = true;
    t->xxh = strtoull(text, NULL, 16);
    return DGM_OK;
}

static int parse_tensors(dgm_st_header *h, const char *path, const dgm_json *j, size_t len,
                         uint64_t file_bytes)
{
    const json_t *metadata = json_object_get(j->root, "__metadata__");
    if (metadata != NULL && !json_is_object(metadata))
        return dgm_fail(DGM_EMODEL, "%s: wanted __metadata__ to be an object, found another value",
                        path);
    const char *name;
    json_t *v;
    json_object_foreach(j->root, name, v)
    {
        if (v == metadata)
            continue;
        dgm_tensor *t = &h->tensors[h->n++];
        DGM_TRY(parse_tensor(t, path, name, v, 8 + len, file_bytes));
        DGM_TRY(parse_xxh(t, path, metadata));
    }
    dgm_st_sort(h);
    return check_overlaps(h, path);
}

int dgm_st_parse(dgm_st_header *out, const char *path, const char *json, size_t len,
                 uint64_t file_bytes)
{
    dgm_json j;
    DGM_TRY(dgm_json_open(&j, path, json, len, false));
    const size_t n_keys = json_object_size(j.root);
    dgm_st_header h = {.tensors = calloc(n_keys + 1, sizeof *h.tensors)};
    int rc = h.tensors == NULL
                 ? dgm_fail(DGM_ENOMEM, "%s: cannot allocate a table of %zu tensors", path, n_keys)
                 : parse_tensors(&h, path, &j, len, file_bytes);
    dgm_json_close(&j);
    if (rc != DGM_OK) {
        dgm_st_header_fini(&h);
        return rc;
    }
    *out = h;
    return DGM_OK;
}

void dgm_st_header_fini(dgm_st_header *h)
{
    for (size_t i = 0; i < h->n; i++)
        free(h->tensors[i].name);
    free(h->tensors);
    *h = (dgm_st_header){0};
}

#include "runtime/zip.h"

#include "runtime/config_json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    ENTRY_BYTES = 46,
    LOCAL_BYTES = 30,
    MAX_COMMENT = 65535,
    MAX_DIRECTORY = 100000000
};

typedef struct zip_entry {
    const char *name; /* inside the directory */
    size_t len;
    unsigned flags, method;
    uint64_t bytes, at; /* at: its own header */
} zip_entry;

struct dgm_zip {
    const char *path;
    int fd;
    unsigned char *directory; /* [directory_bytes] */
    uint64_t begin;           /* of the directory: entries end before it */
    size_t directory_bytes, n;
    zip_entry *entries; /* [n] by name */
};

static uint64_t le(const unsigned char *b, int n)
{
    uint64_t x = 0;
    for (int i = n - 1; i >= 0; i--)
        x = x << 8 | b[i];
    return x;
}

static int broken(const dgm_zip *z, const char *what)
{
    return dgm_fail(DGM_EMODEL, "%s: wanted a zip archive as torch.save writes it, found %s",
                    z->path, what);
}

/* ---- where the directory is ---- */

/* The last bytes of the file up to END_BYTES + MAX_COMMENT: *at is where the end record begins in them. */
static int find_end(const dgm_zip *z, const unsigned char *tail, size_t n, size_t *at)
{
    for (size_t i = n - END_BYTES + 1; i-- > 0;) {
        if (le(tail + i, 4) == 0x06054b50 && le(tail + i + 20, 2) == n - END_BYTES - i) {
            *at = i;
            return DGM_OK;
        }
    }
    return broken(z, "no directory at its end (is the file truncated?)");
}

/* The end record with fields of 64 bits, when a locator of it stands before the end record. */
static int read_end64(const dgm_zip *z, const unsigned char *end, bool has_locator, uint64_t limit,
                      uint64_t *n, uint64_t *bytes, uint64_t *begin)
{
    *n = le(end + 10, 2);
    *bytes = le(end + 12, 4);
    *begin = le(end + 16, 4);
    if (!has_locator || le(end - LOCATOR_BYTES, 4) != 0x07064b50)
        return DGM_OK;
    const uint64_t at = le(end - LOCATOR_BYTES + 8, 8);
    unsigned char end64[END64_BYTES];
    if (at > limit || limit - at < END64_BYTES)
        return broken(z, "an end record outside the file");
    DGM_TRY(dgm_file_read_at(z->fd, z->path, end64, at, END64_BYTES));
    if (le(end64, 4) != 0x06064b50)
        return broken(z, "something else where its end record should be");
    *n = le(end64 + 32, 8);
    *bytes = le(end64 + 40, 8);
    *begin = le(end64 + 48, 8);
    return DGM_OK;
}

static int read_directory(dgm_zip *z, uint64_t file_bytes, uint64_t *n_entries)
{
    const size_t n =
        file_bytes < END_BYTES + MAX_COMMENT ? (size_t)file_bytes : END_BYTES + MAX_COMMENT;
    if (n < END_BYTES)
        return broken(z, "a file too short to be one");
    unsigned char *tail = malloc(n);
    if (tail == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate %zu bytes", z->path, n);
    size_t at = 0;
    uint64_t bytes = 0;
    int rc = dgm_file_read_at(z->fd, z->path, tail, file_bytes - n, n);
    if (rc == DGM_OK)
        rc = find_end(z, tail, n, &at);
    const uint64_t limit = file_bytes - n + at;
    if (rc == DGM_OK)
        rc = read_end64(z, tail + at, at >= LOCATOR_BYTES, limit, n_entries, &bytes, &z->begin);
    free(tail);
    if (rc != DGM_OK)
        return rc;
    if (bytes > MAX_DIRECTORY || z->begin > limit || bytes > limit - z->begin ||
        *n_entries > bytes / ENTRY_BYTES)
        return broken(z, "a directory outside the file");
    z->directory_bytes = (size_t)bytes;
    z->directory = malloc(z->directory_bytes + 1);
    z->entries = calloc((size_t)*n_entries + 1, sizeof *z->entries);
    if (z->directory == NULL || z->entries == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a directory of %zu bytes", z->path,
                        z->directory_bytes);
    return dgm_file_read_at(z->fd, z->path, z->directory, z->begin, z->directory_bytes);
}

/* ---- what it says ---- */

/* Fields of 32 bits that are all ones stand in an extra field, in this order. */
static bool read_extra(zip_entry *e, uint64_t *stored, const unsigned char *extra, size_t n)
{
    uint64_t *const fields[] = {&e->bytes, stored, &e->at};
    size_t need = 0;
    for (int i = 0; i < 3; i++)
        need += *fields[i] == UINT32_MAX;
    while (n >= 4 && need > 0) {
        const size_t len = (size_t)le(extra + 2, 2);
        if (len > n - 4)
            return false;
        if (le(extra, 2) == 1) {
            if (len < 8 * need)
                return false;
            const unsigned char *at = extra + 4;
            for (int i = 0; i < 3; i++) {
                if (*fields[i] != UINT32_MAX)
                    continue;
                *fields[i] = le(at, 8);
                at += 8;
            }
            return true;
        }
        extra += 4 + len;
        n -= 4 + len;
    }
    return need == 0;
}

static int read_entries(dgm_zip *z, uint64_t n_entries)
{
    const unsigned char *at = z->directory, *const end = at + z->directory_bytes;
    for (; z->n < n_entries; z->n++) {
        if ((size_t)(end - at) < ENTRY_BYTES || le(at, 4) != 0x02014b50)
            return broken(z, "something else in its directory");
        const size_t name = (size_t)le(at + 28, 2), extra = (size_t)le(at + 30, 2),
                     comment = (size_t)le(at + 32, 2);
        if ((size_t)(end - at) - ENTRY_BYTES < name + extra + comment)
            return broken(z, "a directory that ends in an entry");
        uint64_t stored = le(at + 20, 4);
        zip_entry *e = &z->entries[z->n];
        *e = (zip_entry){.name = (const char *)at + ENTRY_BYTES,
                         .len = name,
                         .flags = (unsigned)le(at + 8, 2),
                         .method = (unsigned)le(at + 10, 2),
                         .bytes = le(at + 24, 4),
                         .at = le(at + 42, 4)};
        if (!read_extra(e, &stored, at + ENTRY_BYTES + name, extra) ||
            (e->method == 0 && stored != e->bytes))
            return broken(z, "an entry of two sizes");
        at += ENTRY_BYTES + name + extra + comment;
    }
    return DGM_OK;
}

static int by_name(const void *a, const void *b)
{
    const zip_entry *x = a, *y = b;
    const int order = memcmp(x->name, y->name, x->len < y->len ? x->len : y->len);
    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static int sort_entries(dgm_zip *z)
{
    if (z->n > 0)
        qsort(z->entries, z->n, sizeof *z->entries, by_name);
    for (size_t i = 1; i < z->n; i++)
        if (by_name(&z->entries[i - 1], &z->entries[i]) == 0)
            return broken(z, "two entries of one name");
    return DGM_OK;
}

int dgm_zip_open(dgm_zip **out, const char *path, int fd, uint64_t file_bytes)
{
    dgm_zip *z = calloc(1, sizeof *z);
    if (z == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a directory", path);
    z->path = path;
    z->fd = fd;
    uint64_t n = 0;
    int rc = read_directory(z, file_bytes, &n);
    if (rc == DGM_OK)
        rc = read_entries(z, n);
    if (rc == DGM_OK)
        rc = sort_entries(z);
    if (rc != DGM_OK) {
        dgm_zip_close(z);
        return rc;
    }
    *out = z;
    return DGM_OK;
}

void dgm_zip_close(dgm_zip *z)
{
    if (z == NULL)
        return;
    free(z->entries);
    free(z->directory);
    free(z);
}

/* ---- an entry ---- */

const char *dgm_zip_ending(const dgm_zip *z, const char *ending, size_t *len)
{
    const size_t n = strlen(ending);
    for (size_t i = 0; i < z->n; i++) {
        const zip_entry *e = &z->entries[i];
        if (e->len >= n && memcmp(e->name + e->len - n, ending, n) == 0) {
            *len = e->len;
            return e->name;
        }
    }
    return NULL;
}

int dgm_zip_find(uint64_t *begin, uint64_t *bytes, const dgm_zip *z, const char *name)
{
    const zip_entry key = {.name = name, .len = strlen(name)};
    const zip_entry *e = bsearch(&key, z->entries, z->n, sizeof *z->entries, by_name);
    if (e == NULL)
        return dgm_fail(DGM_EMODEL, "%s: wanted an entry %s in the archive, found none", z->path,
                        dgm_printable(name));
    if (e->method != 0 || (e->flags & 1) != 0)
        return dgm_fail(DGM_EMODEL, "%s: entry %s: wanted it stored as it is, found it %s", z->path,
                        dgm_printable(name), e->method != 0 ? "compressed" : "encrypted");
    unsigned char local[LOCAL_BYTES];
    if (e->at > z->begin || z->begin - e->at < LOCAL_BYTES)
        return dgm_fail(DGM_EMODEL,
                        "%s: entry %s: wanted it before the directory, found it at byte %" PRIu64,
                        z->path, dgm_printable(name), e->at);
    DGM_TRY(dgm_file_read_at(z->fd, z->path, local, e->at, LOCAL_BYTES));
    const uint64_t skip = LOCAL_BYTES + le(local + 26, 2) + le(local + 28, 2),
                   room = z->begin - e->at;
    if (le(local, 4) != 0x04034b50 || room < skip || room - skip < e->bytes)
        return dgm_fail(DGM_EMODEL,
                        "%s: entry %s: wanted %" PRIu64
                        " bytes before the directory, found none or fewer",
                        z->path, dgm_printable(name), e->bytes);
    *begin = e->at + skip;
    *bytes = e->bytes;
    return DGM_OK;
}

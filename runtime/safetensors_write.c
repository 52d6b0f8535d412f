#define _GNU_SOURCE
#include "runtime/safetensors_write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { PAGE = 4096 };

struct dgm_st_writer {
    char *path;
    int fd;
    const dgm_st_spec *specs;
    size_t n;
    bool sums;
    uint64_t *begin; /* [n + 1] from the first byte of the data; the last is their end */
    uint64_t *sum;   /* [n] */
    uint64_t data_begin;
    size_t now;     /* the tensor at hand */
    uint64_t given; /* bytes of it so far */
    XXH3_state_t *hash;
};

uint64_t dgm_st_spec_bytes(const dgm_st_spec *s)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } types[] = {{"F32", 4}, {"BF16", 2}, {"F16", 2}, {"I8", 1}, {"U8", 1}};
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, s->type) == 0)
            bytes = types[i].bytes;
    DGM_ASSERT(bytes > 0);
    for (int i = 0; i < s->n_dims; i++)
        bytes *= s->dims[i];
    return bytes;
}

static int fail_errno(const dgm_st_writer *w, const char *doing)
{
    return dgm_fail(DGM_EOUTPUT, "%s: %s: %s", w->path, doing, strerror(errno));
}

/* ---- the header ---- */

static void print_shape(FILE *f, const dgm_st_spec *s)
{
    (void)fprintf(f, "\"dtype\":\"%s\",\"shape\":[", s->type);
    for (int i = 0; i < s->n_dims; i++)
        (void)fprintf(f, "%s%" PRIu64, i > 0 ? "," : "", s->dims[i]);
    (void)fprintf(f, "],");
}

static void print_header(FILE *f, const dgm_st_writer *w)
{
    (void)fprintf(f, "{\"__metadata__\":{\"format\":\"pt\"");
    for (size_t i = 0; w->sums && i < w->n; i++)
        (void)fprintf(f, ",\"%s\":\"%016" PRIx64 "\"", w->specs[i].name, w->sum[i]);
    (void)fprintf(f, "}");
    uint64_t at = 0;
    int pads = 0;
    for (size_t i = 0; i < w->n; i++) {
        const dgm_st_spec *s = &w->specs[i];
        const uint64_t begin = w->begin[i], end = begin + dgm_st_spec_bytes(s);
        if (begin > at)
            (void)fprintf(f,
                          ",\"pad.%d\":{\"dtype\":\"U8\",\"shape\":[%" PRIu64
                          "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                          pads++, begin - at, at, begin);
        (void)fprintf(f, ",\"%s\":{", s->name);
        print_shape(f, s);
        (void)fprintf(f, "\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
        at = end;
    }
    (void)fprintf(f, "}");
}

/* Its length is that of any other with the same tensors: sums have 16 digits whatever they are. */
static int header_text(char **text, size_t *len, const dgm_st_writer *w)
{
    FILE *f = open_memstream(text, len);
    if (f == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a header", w->path);
    print_header(f, w);
    return fclose(f) == 0 ? DGM_OK : dgm_fail(DGM_ENOMEM, "%s: cannot allocate a header", w->path);
}

/* ---- places ---- */

static uint64_t align_up(uint64_t x, uint64_t align)
{
    return (x + align - 1) / align * align;
}

/* Data begin on a page when any tensor has a place to keep, so that offsets in the data are offsets in the file. */
static int lay_out(dgm_st_writer *w)
{
    uint64_t at = 0, align = 8;
    for (size_t i = 0; i < w->n; i++) {
        const uint32_t want = w->specs[i].align;
        DGM_ASSERT(want == 0 || PAGE % want == 0);
        if (want > 0) {
            at = align_up(at, want);
            align = PAGE;
        }
        w->begin[i] = at;
        at += dgm_st_spec_bytes(&w->specs[i]);
    }
    w->begin[w->n] = at;
    char *text = NULL;
    size_t len = 0;
    const int rc = header_text(&text, &len, w);
    free(text);
    w->data_begin = align_up(8 + len, align);
    return rc;
}

/* A file system that cannot reserve (EOPNOTSUPP) will say on the way what it lacks. */
static int reserve(const dgm_st_writer *w)
{
    const uint64_t bytes = dgm_st_writer_bytes(w);
    if (ftruncate(w->fd, (off_t)bytes) != 0)
        return fail_errno(w, "cannot be made so large");
    if (fallocate(w->fd, 0, 0, (off_t)bytes) != 0 && errno != EOPNOTSUPP)
        return dgm_fail(DGM_EOUTPUT, "%s: wanted %.2f GiB of disk: %s", w->path,
                        (double)bytes / (1 << 30), strerror(errno));
    return DGM_OK;
}

int dgm_st_writer_open(dgm_st_writer **out, const char *path, const dgm_st_spec *specs, size_t n,
                       bool sums)
{
    dgm_st_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a writer", path);
    *w = (dgm_st_writer){.fd = -1, .specs = specs, .n = n, .sums = sums};
    w->path = strdup(path);
    w->begin = calloc(n + 1, sizeof *w->begin);
    w->sum = calloc(n + 1, sizeof *w->sum);
    w->hash = XXH3_createState();
    int rc = DGM_OK;
    if (w->path == NULL || w->begin == NULL || w->sum == NULL || w->hash == NULL)
        rc = dgm_fail(DGM_ENOMEM, "%s: cannot allocate a list of %zu tensors", path, n);
    if (rc == DGM_OK)
        rc = lay_out(w);
    if (rc == DGM_OK && (w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) < 0)
        rc = fail_errno(w, "cannot be created");
    if (rc == DGM_OK)
        rc = reserve(w);
    if (rc != DGM_OK) {
        dgm_st_writer_close(w);
        return rc;
    }
    (void)XXH3_64bits_reset(w->hash);
    *out = w;
    return DGM_OK;
}

/* ---- bytes ---- */

static int write_at(const dgm_st_writer *w, const void *data, size_t bytes, uint64_t at)
{
    size_t done = 0;
    while (done < bytes) {
        const ssize_t n =
            pwrite(w->fd, (const char *)data + done, bytes - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(w, "cannot be written");
        done += (size_t)n;
    }
    return DGM_OK;
}

int dgm_st_writer_put(dgm_st_writer *w, const void *data, size_t bytes)
{
    DGM_ASSERT(w->now < w->n);
    const uint64_t all = dgm_st_spec_bytes(&w->specs[w->now]);
    DGM_ASSERT(bytes <= all - w->given);
    if (w->sums)
        (void)XXH3_64bits_update(w->hash, data, bytes);
    DGM_TRY(write_at(w, data, bytes, w->data_begin + w->begin[w->now] + w->given));
    w->given += bytes;
    if (w->given < all)
        return DGM_OK;
    w->sum[w->now++] = XXH3_64bits_digest(w->hash);
    (void)XXH3_64bits_reset(w->hash);
    w->given = 0;
    return DGM_OK;
}

int dgm_st_writer_finish(dgm_st_writer *w)
{
    DGM_ASSERT(w->now == w->n);
    char *text = NULL;
    size_t len = 0;
    DGM_TRY(header_text(&text, &len, w));
    const size_t room = (size_t)w->data_begin - 8;
    char *header = malloc(room);
    int rc =
        header == NULL ? dgm_fail(DGM_ENOMEM, "%s: cannot allocate a header", w->path) : DGM_OK;
    if (rc == DGM_OK) {
        memset(header, ' ', room); /* as Hugging Face pads it */
        memcpy(header, text, len);
        rc = write_at(w, header, room, 8);
    }
    free(header);
    free(text);
    DGM_TRY(rc);
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)room >> 8 * i);
    if (fdatasync(w->fd) != 0) /* the data before what makes them a file */
        return fail_errno(w, "cannot be written");
    DGM_TRY(write_at(w, length, sizeof length, 0));
    if (fsync(w->fd) != 0)
        return fail_errno(w, "cannot be written");
    return DGM_OK;
}

void dgm_st_writer_close(dgm_st_writer *w)
{
    if (w == NULL)
        return;
    if (w->fd >= 0)
        (void)close(w->fd);
    XXH3_freeState(w->hash);
    free(w->path);
    free(w->begin);
    free(w->sum);
    free(w);
}

uint64_t dgm_st_writer_bytes(const dgm_st_writer *w)
{
    return w->data_begin + w->begin[w->n];
}

#define _GNU_SOURCE
#include "runtime/model_writer.h"

#include "runtime/config_json.h"
#include "runtime/model_writer_header.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MAX_COPY_BYTES = 1 << 30 };

struct dgm_model_writer {
    char *dir, *part; /* OUT, OUT.part */
    int part_fd;      /* of the directory, locked; -1 */
    bool committed;
    dgm_layout layout;
    int shard, fd; /* being written; fd -1: none */
    char shard_name[DGM_SHARD_NAME];
    size_t tensor; /* the next bytes belong to it, */
    uint64_t have; /* from this byte on */
    XXH3_state_t *hash;
};

static int fail_errno(const dgm_model_writer *w, const char *name, const char *doing)
{
    return dgm_fail(DGM_EOUTPUT, "%s%s%s: %s: %s", w->part, name[0] == '\0' ? "" : "/", name, doing,
                    strerror(errno));
}

/* ---- the directory ---- */

/* What an earlier run left: only files, never a folder. */
static int empty_part(const dgm_model_writer *w)
{
    const int fd = dup(w->part_fd);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    int rc = DGM_OK;
    if (d == NULL)
        return fail_errno(w, "", "cannot be listed");
    rewinddir(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL && rc == DGM_OK;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            unlinkat(w->part_fd, e->d_name, 0) != 0)
            rc = fail_errno(w, e->d_name, "cannot be removed");
    }
    (void)closedir(d);
    return rc;
}

static int make_part(dgm_model_writer *w)
{
    struct stat st;
    if (lstat(w->dir, &st) == 0)
        return dgm_fail(DGM_EOUTPUT, "%s: wanted a name that is free, found something there",
                        w->dir);
    if (mkdir(w->part, 0777) != 0 && errno != EEXIST)
        return fail_errno(w, "", "cannot be made");
    w->part_fd = open(w->part, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (w->part_fd < 0)
        return fail_errno(w, "", "cannot be opened");
    if (flock(w->part_fd, LOCK_EX | LOCK_NB) != 0) {
        const int rc = fail_errno(w, "", "another process is writing it");
        (void)close(w->part_fd);
        w->part_fd = -1; /* so that closing leaves the other's files alone */
        return rc;
    }
    return empty_part(w);
}

int dgm_model_writer_open(dgm_model_writer **out, const char *dir)
{
    dgm_model_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the output");
    w->fd = w->part_fd = -1;
    size_t len = strlen(dir);
    while (len > 1 && dir[len - 1] == '/')
        len--;
    w->dir = strndup(dir, len);
    if (w->dir == NULL || asprintf(&w->part, "%s.part", w->dir) < 0)
        w->part = NULL;
    w->hash = XXH3_createState();
    const int rc = w->part == NULL || w->hash == NULL
                       ? dgm_fail(DGM_ENOMEM, "out of memory for the output")
                       : make_part(w);
    if (rc != DGM_OK) {
        dgm_model_writer_close(w);
        return rc;
    }
    *out = w;
    return DGM_OK;
}

void dgm_model_writer_close(dgm_model_writer *w)
{
    if (w == NULL)
        return;
    if (w->fd >= 0)
        (void)close(w->fd);
    if (w->part_fd >= 0) {
        if (!w->committed && empty_part(w) == DGM_OK)
            (void)rmdir(w->part);
        (void)close(w->part_fd);
    }
    dgm_layout_fini(&w->layout);
    XXH3_freeState(w->hash);
    free(w->dir);
    free(w->part);
    free(w);
}

/* ---- files ---- */

static int create(int *fd, const dgm_model_writer *w, const char *name)
{
    *fd = openat(w->part_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return *fd < 0 ? fail_errno(w, name, "cannot be made") : DGM_OK;
}

static int write_at(const dgm_model_writer *w, int fd, const char *name, const void *data,
                    size_t bytes, uint64_t at)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = pwrite(fd, (const char *)data + done, bytes - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_errno(w, name, "cannot be written");
        done += (size_t)n;
    }
    return DGM_OK;
}

/* Some file systems find out only when asked to keep it that there is no room. */
static int finish(const dgm_model_writer *w, int fd, const char *name, int rc)
{
    if (rc == DGM_OK && fsync(fd) != 0)
        rc = fail_errno(w, name, "cannot be written");
    if (close(fd) != 0 && rc == DGM_OK)
        rc = fail_errno(w, name, "cannot be written");
    return rc;
}

int dgm_model_writer_file(dgm_model_writer *w, const char *name, const char *text, size_t len)
{
    int fd;
    DGM_TRY(create(&fd, w, name));
    return finish(w, fd, name, write_at(w, fd, name, text, len, 0));
}

int dgm_model_writer_copy(dgm_model_writer *w, const char *from, const char *name)
{
    char *path = NULL, *text = NULL;
    size_t len = 0;
    if (asprintf(&path, "%s/%s", from, name) < 0)
        return dgm_fail(DGM_ENOMEM, "out of memory for the output");
    int rc = DGM_OK;
    if (access(path, F_OK) == 0) {
        rc = dgm_file_slurp(&text, &len, path, MAX_COPY_BYTES);
        if (rc == DGM_OK)
            rc = dgm_model_writer_file(w, name, text, len);
    }
    free(text);
    free(path);
    return rc;
}

int dgm_model_writer_beside(dgm_model_writer *w, const char *from)
{
    static const char *const names[] = {"generation_config.json",  "sentencepiece.bpe.model",
                                        "tokenizer_config.json",   "added_tokens.json",
                                        "special_tokens_map.json", "tokenizer.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        DGM_TRY(dgm_model_writer_copy(w, from, names[i]));
    return DGM_OK;
}

/* ---- weights ---- */

/* More than the disk has is said before the first shard is written, not when the last one finds no room. */
static int check_room(const dgm_model_writer *w)
{
    struct statvfs fs;
    char first[DGM_SHARD_NAME];
    uint64_t need = 0, room;
    for (int i = 0; i < w->layout.n_shards; i++)
        need += w->layout.shards[i].bytes;
    if (fstatvfs(w->part_fd, &fs) != 0 || fs.f_blocks == 0) /* does not count its blocks */
        return DGM_OK;
    room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (need <= room)
        return DGM_OK;
    dgm_layout_name(first, &w->layout, 0);
    return dgm_fail(DGM_EOUTPUT,
                    "%s/%s: cannot be written: No space left on device: want %" PRIu64
                    " bytes for the weights, found %" PRIu64,
                    w->part, first, need, room);
}

int dgm_model_writer_plan(dgm_model_writer *w, dgm_new_tensor *tensors, size_t n,
                          uint64_t shard_bytes)
{
    DGM_TRY(dgm_layout_make(&w->layout, tensors, n, shard_bytes));
    return check_room(w);
}

/* Headers come last, when the checksums are known: until then the file begins with zeros, which is no model. */
static int end_shard(dgm_model_writer *w)
{
    char *header = NULL;
    size_t len;
    if (w->fd < 0)
        return DGM_OK;
    int rc = dgm_layout_header(&header, &len, &w->layout, w->shard);
    if (rc == DGM_OK)
        rc = write_at(w, w->fd, w->shard_name, header, len, 0);
    free(header);
    rc = finish(w, w->fd, w->shard_name, rc);
    w->fd = -1;
    return rc;
}

static int begin_tensor(dgm_model_writer *w)
{
    const dgm_placed *t = &w->layout.placed[w->tensor];
    (void)XXH3_64bits_reset(w->hash);
    if (w->fd >= 0 && t->shard == w->shard)
        return DGM_OK;
    DGM_TRY(end_shard(w));
    w->shard = t->shard;
    dgm_layout_name(w->shard_name, &w->layout, w->shard);
    DGM_TRY(create(&w->fd, w, w->shard_name));
    /* A disk without room says so now rather than in an hour; a file system that cannot promise lets us try. */
    const off_t size = (off_t)w->layout.shards[w->shard].bytes;
    if (fallocate(w->fd, 0, 0, size) != 0 && (errno != EOPNOTSUPP || ftruncate(w->fd, size) != 0))
        return fail_errno(w, w->shard_name, "cannot be written");
    return DGM_OK;
}

int dgm_model_writer_put(dgm_model_writer *w, const void *data, size_t bytes)
{
    DGM_ASSERT(w->tensor < w->layout.n);
    dgm_placed *t = &w->layout.placed[w->tensor];
    DGM_ASSERT(bytes <= t->what.bytes - w->have);
    if (w->have == 0)
        DGM_TRY(begin_tensor(w));
    DGM_TRY(write_at(w, w->fd, w->shard_name, data, bytes, t->at + w->have));
    (void)XXH3_64bits_update(w->hash, data, bytes);
    w->have += bytes;
    if (w->have == t->what.bytes) {
        t->xxh = XXH3_64bits_digest(w->hash);
        w->tensor++;
        w->have = 0;
    }
    return DGM_OK;
}

/* ---- the end ---- */

static int sync_parent(const dgm_model_writer *w)
{
    char *copy = strdup(w->dir);
    const int fd = copy == NULL ? -1 : open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        (void)close(fd);
    free(copy);
    /* EINVAL: a file system that cannot; then nothing can be done */
    return rc == 0 || errno == EINVAL ? DGM_OK : fail_errno(w, "", "cannot be made durable");
}

int dgm_model_writer_commit(uint64_t *bytes, dgm_model_writer *w, const char *config,
                            size_t config_len)
{
    DGM_ASSERT(w->tensor == w->layout.n);
    DGM_TRY(end_shard(w));
    *bytes = 0;
    for (int i = 0; i < w->layout.n_shards; i++)
        *bytes += w->layout.shards[i].bytes;
    if (w->layout.n_shards > 1) {
        char *index = NULL;
        size_t len;
        int rc = dgm_layout_index(&index, &len, &w->layout);
        if (rc == DGM_OK)
            rc = dgm_model_writer_file(w, "model.safetensors.index.json", index, len);
        free(index);
        DGM_TRY(rc);
    }
    DGM_TRY(dgm_model_writer_file(w, "config.json", config, config_len));
    if (fsync(w->part_fd) != 0 && errno != EINVAL)
        return fail_errno(w, "", "cannot be written");
    if (renameat2(AT_FDCWD, w->part, AT_FDCWD, w->dir, RENAME_NOREPLACE) != 0) {
        /* some file systems do not know how to refuse; rename does not replace what is not an empty folder */
        if (errno != EINVAL || rename(w->part, w->dir) != 0)
            return dgm_fail(DGM_EOUTPUT, "%s: cannot be renamed to %s: %s", w->part, w->dir,
                            strerror(errno));
    }
    w->committed = true;
    return sync_parent(w);
}

#include "runtime/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct dgm_writer {
    char *name; /* for messages: the file that is written */
    char *path; /* what FILE.part becomes, or NULL */
    int fd;
    bool waits; /* not a regular file: ask before writing */
    char *buf;  /* [at, used) is not written yet */
    size_t at, used, cap;
};

static int fail_errno(const dgm_writer *w, const char *doing)
{
    if (errno == EPIPE)
        return dgm_fail(DGM_EOUTPUT, "%s: closed by its reader", w->name);
    return dgm_fail(DGM_EOUTPUT, "%s: %s: %s", w->name, doing, strerror(errno));
}

/* open_part - FILE.part, locked: two jobs that write one file would both be wrong. */
static int open_part(dgm_writer *w, const char *path)
{
    const size_t len = strlen(path);
    w->path = strdup(path);
    w->name = malloc(len + sizeof ".part");
    if (w->path == NULL || w->name == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the output");
    (void)snprintf(w->name, len + sizeof ".part", "%s.part", path);
    w->fd = open(w->name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (w->fd < 0)
        return fail_errno(w, "cannot be opened");
    if (flock(w->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return dgm_fail(DGM_EOUTPUT, "%s: another process is writing it", w->name);
    return DGM_OK;
}

/* is_device - what must not be replaced: a path that exists and is no regular file, or a name for a descriptor of ours. */
static bool is_device(const char *path)
{
    struct stat st;
    /* /dev/stderr may well lead to a regular file, which is somebody's log. */
    if (strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0)
        return true;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

/* open_fd - our own descriptors are shared, not opened again: their place in a file is shared too. */
static int open_fd(const char *path)
{
    if (path[0] == '\0')
        return STDOUT_FILENO;
    if (strcmp(path, "/dev/stdout") == 0)
        return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (strcmp(path, "/dev/stderr") == 0)
        return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    return open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static int open_direct(dgm_writer *w, const char *path)
{
    struct stat st;
    w->name = strdup(path[0] == '\0' ? "standard output" : path);
    if (w->name == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the output");
    w->fd = open_fd(path);
    if (w->fd < 0)
        return fail_errno(w, "cannot be opened");
    const int flags = fcntl(w->fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
        return dgm_fail(DGM_EOUTPUT, "%s: not open for writing", w->name);
    w->waits = fstat(w->fd, &st) != 0 || !S_ISREG(st.st_mode);
    return DGM_OK;
}

int dgm_writer_open(dgm_writer **out, const char *path)
{
    dgm_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the output");
    w->fd = -1;
    const int rc = path[0] == '\0' || is_device(path) ? open_direct(w, path) : open_part(w, path);
    if (rc != DGM_OK) {
        dgm_writer_close(w);
        return rc;
    }
    *out = w;
    return DGM_OK;
}

void dgm_writer_close(dgm_writer *w)
{
    if (w == NULL)
        return;
    if (w->fd > STDERR_FILENO)
        (void)close(w->fd);
    free(w->buf);
    free(w->name);
    free(w->path);
    free(w);
}

/* scan - the end of line number `limit` in FILE.part (or of its last whole line), and how many lines that is. */
static int scan(uint64_t *n_lines, off_t *end, dgm_writer *w, uint64_t limit)
{
    char block[65536];
    off_t at = 0;
    *n_lines = 0;
    *end = 0;
    while (*n_lines < limit) {
        const ssize_t n = pread(w->fd, block, sizeof block, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(w, "cannot be read");
        if (n == 0)
            break;
        const char *p = block;
        while (*n_lines < limit && (p = memchr(p, '\n', (size_t)(block + n - p))) != NULL) {
            p++;
            *end = at + (p - block);
            ++*n_lines;
        }
        at += n;
    }
    return DGM_OK;
}

int dgm_writer_count(uint64_t *n_lines, dgm_writer *w)
{
    off_t end;
    *n_lines = 0;
    return dgm_writer_is_part(w) ? scan(n_lines, &end, w, UINT64_MAX) : DGM_OK;
}

int dgm_writer_keep(dgm_writer *w, uint64_t n_lines)
{
    uint64_t found;
    off_t end;
    if (!dgm_writer_is_part(w))
        return DGM_OK;
    DGM_TRY(scan(&found, &end, w, n_lines));
    DGM_ASSERT(found == n_lines);
    if (ftruncate(w->fd, end) != 0 || lseek(w->fd, end, SEEK_SET) != end)
        return fail_errno(w, "cannot be cut");
    return DGM_OK;
}

int dgm_writer_put(dgm_writer *w, const char *bytes, size_t n)
{
    if (n == 0)
        return DGM_OK;
    if (w->used + n > w->cap && w->at > 0) {
        memmove(w->buf, w->buf + w->at, w->used - w->at);
        w->used -= w->at;
        w->at = 0;
    }
    if (w->used + n > w->cap) {
        const size_t cap = 2 * (w->used + n) < 65536 ? 65536 : 2 * (w->used + n);
        char *grown = realloc(w->buf, cap);
        if (grown == NULL)
            return dgm_fail(DGM_ENOMEM, "out of memory for the output");
        w->buf = grown;
        w->cap = cap;
    }
    memcpy(w->buf + w->used, bytes, n);
    w->used += n;
    return DGM_OK;
}

/* takes - the other side takes PIPE_BUF bytes without blocking, within timeout_ms. An error counts: write names it. */
static bool takes(const dgm_writer *w, int timeout_ms)
{
    struct pollfd p = {.fd = w->fd, .events = POLLOUT};
    return !w->waits || poll(&p, 1, timeout_ms) > 0;
}

static int write_some(dgm_writer *w)
{
    const size_t left = w->used - w->at;
    const ssize_t n = write(w->fd, w->buf + w->at, w->waits && left > PIPE_BUF ? PIPE_BUF : left);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        return fail_errno(w, "cannot be written");
    if (n > 0)
        w->at += (size_t)n;
    if (w->at == w->used)
        w->at = w->used = 0;
    return DGM_OK;
}

int dgm_writer_flush(dgm_writer *w)
{
    while (dgm_writer_pending(w) > 0 && takes(w, 0))
        DGM_TRY(write_some(w));
    return DGM_OK;
}

int dgm_writer_drain(dgm_writer *w, int timeout_ms)
{
    while (dgm_writer_pending(w) > 0) {
        if (!takes(w, timeout_ms))
            return dgm_fail(DGM_EOUTPUT, "%s: nobody has read it for %d ms", w->name, timeout_ms);
        DGM_TRY(write_some(w));
    }
    return DGM_OK;
}

size_t dgm_writer_pending(const dgm_writer *w)
{
    return w->used - w->at;
}

int dgm_writer_fd(const dgm_writer *w)
{
    return w->waits ? w->fd : -1;
}

bool dgm_writer_is_part(const dgm_writer *w)
{
    return w->path != NULL;
}

const char *dgm_writer_name(const dgm_writer *w)
{
    return w->name;
}

int dgm_writer_commit(dgm_writer *w)
{
    DGM_ASSERT(w->at == w->used);
    if (!dgm_writer_is_part(w))
        return DGM_OK;
    /* Some file systems find out only now that the disk is full. */
    if (fsync(w->fd) != 0)
        return fail_errno(w, "cannot be written");
    if (rename(w->name, w->path) != 0)
        return dgm_fail(DGM_EOUTPUT, "%s: cannot be renamed to %s: %s", w->name, w->path,
                        strerror(errno));
    return DGM_OK;
}

static int put_file(dgm_writer *w, const char *text)
{
    enum { WAIT_MS = 10000 };
    DGM_ASSERT(w != NULL);
    DGM_TRY(dgm_writer_keep(w, 0));
    DGM_TRY(dgm_writer_put(w, text, strlen(text)));
    DGM_TRY(dgm_writer_put(w, "\n", 1));
    DGM_TRY(dgm_writer_drain(w, WAIT_MS));
    return dgm_writer_commit(w);
}

int dgm_writer_file(const char *path, const char *text)
{
    dgm_writer *w = NULL;
    DGM_TRY(dgm_writer_open(&w, path));
    const int rc = put_file(w, text);
    dgm_writer_close(w);
    return rc;
}

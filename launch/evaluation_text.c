#define _GNU_SOURCE /* memfd_create */
#include "launch/evaluation_text.h"

#include "runtime/lines.h"
#include "runtime/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BLOCK = 1 << 16 };

static int fail_read(const char *name)
{
    return dgm_fail(DGM_EINPUT, "%s: %s", name, strerror(errno));
}

static int copy_bytes(int to, int from, const char *name)
{
    char block[BLOCK];
    for (;;) {
        const ssize_t n = read(from, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_read(name);
        if (n == 0)
            return DGM_OK;
        for (ssize_t at = 0; at < n;) {
            const ssize_t put = write(to, block + at, (size_t)(n - at));
            if (put < 0 && errno != EINTR)
                return dgm_fail(DGM_ENOMEM, "%s: cannot be held in memory: %s", name,
                                strerror(errno));
            at += put > 0 ? put : 0;
        }
    }
}

static int hold(int *fd, const char *name)
{
    const int from = open(name, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return fail_read(name);
    *fd = memfd_create("dragoman text", MFD_CLOEXEC);
    const int rc =
        *fd < 0 ? dgm_fail(DGM_ENOMEM, "%s: cannot be held in memory: %s", name, strerror(errno))
                : copy_bytes(*fd, from, name);
    (void)close(from);
    return rc;
}

static int next_line(dgm_line *line, dgm_lines *lines)
{
    int got = DGM_LINES_AGAIN;
    while (got == DGM_LINES_AGAIN)
        got = dgm_lines_poll(lines, line, -1);
    return got;
}

static int count_lines(size_t *n, int fd, const char *name)
{
    dgm_lines *lines;
    dgm_line line;
    int got;
    (void)lseek(fd, 0, SEEK_SET);
    DGM_TRY(dgm_lines_open(&lines, fd, name, DGM_STREAM_MAX_LINE_BYTES));
    for (*n = 0; (got = next_line(&line, lines)) == DGM_LINES_LINE;)
        ++*n;
    dgm_lines_close(lines);
    return got < 0 ? got : DGM_OK;
}

static int keep_line(dgm_evaluation_line *to, const dgm_lines *lines, const dgm_line *line)
{
    if (line->state != DGM_LINE_OK)
        return dgm_fail(DGM_EINPUT, "%s", (dgm_lines_fail(lines, line), dgm_error_text()));
    to->text = malloc(line->len + 1);
    if (to->text == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a reference");
    memcpy(to->text, line->text, line->len + 1);
    to->len = line->len;
    return DGM_OK;
}

/* read_references - as many as there are lines. */
static int read_references(dgm_evaluation_text *t, dgm_lines *lines, const char *name)
{
    dgm_line line;
    size_t n = 0;
    int got;
    for (; (got = next_line(&line, lines)) == DGM_LINES_LINE; n++)
        if (n < t->n_lines)
            DGM_TRY(keep_line(&t->references[n], lines, &line));
    if (got < 0)
        return got;
    if (n != t->n_lines)
        return dgm_fail(DGM_EINPUT, "%s: want as many lines as %s (%zu), found %zu", name, t->name,
                        t->n_lines, n);
    return DGM_OK;
}

int dgm_evaluation_text_open(dgm_evaluation_text *t, const char *input, const char *reference)
{
    dgm_lines *lines = NULL;
    *t = (dgm_evaluation_text){.name = input, .fd = -1};
    DGM_TRY(hold(&t->fd, input));
    DGM_TRY(count_lines(&t->n_lines, t->fd, input));
    if (t->n_lines == 0)
        return dgm_fail(DGM_EINPUT, "%s: want at least one line, found none", input);
    t->references = calloc(t->n_lines, sizeof *t->references);
    if (t->references == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: out of memory for %zu lines", reference, t->n_lines);
    const int fd = open(reference, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_read(reference);
    int rc = dgm_lines_open(&lines, fd, reference, DGM_STREAM_MAX_LINE_BYTES);
    if (rc == DGM_OK)
        rc = read_references(t, lines, reference);
    dgm_lines_close(lines);
    (void)close(fd);
    return rc;
}

void dgm_evaluation_text_close(dgm_evaluation_text *t)
{
    for (size_t i = 0; t->references != NULL && i < t->n_lines; i++)
        free(t->references[i].text);
    free(t->references);
    if (t->fd >= 0)
        (void)close(t->fd);
    *t = (dgm_evaluation_text){.fd = -1};
}

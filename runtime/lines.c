#include "runtime/lines.h"

#include "base/clock.h"
#include "runtime/split.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024 };

/*
 * buf: | handed out | scanned, no newline | not scanned | free |
 *      0            begin                 scan          end    cap
 */
struct dgm_lines {
    int fd;
    char *name;
    size_t max_bytes;
    char *buf;
    size_t begin, scan, end, cap;
    uint64_t number; /* lines handed out */
    uint64_t offset; /* bytes of the descriptor before buf[begin] */
    size_t skipped;  /* bytes of an over-long line already thrown away */
    bool started;    /* past a byte order mark, if there was one */
    bool eof;
};

int dgm_lines_open(dgm_lines **out, int fd, const char *name, size_t max_bytes)
{
    DGM_ASSERT(max_bytes > 0 && max_bytes < SIZE_MAX / 4);
    dgm_lines *l = calloc(1, sizeof *l);
    if (l == NULL)
        return dgm_fail(DGM_ENOMEM, "reading %s: no memory", name);
    l->fd = fd;
    l->max_bytes = max_bytes;
    l->name = strdup(name);
    l->cap = READ_BYTES;
    l->buf = malloc(l->cap);
    if (l->name == NULL || l->buf == NULL) {
        dgm_lines_close(l);
        return dgm_fail(DGM_ENOMEM, "reading %s: no memory", name);
    }
    *out = l;
    return DGM_OK;
}

void dgm_lines_close(dgm_lines *l)
{
    if (l == NULL)
        return;
    free(l->name);
    free(l->buf);
    free(l);
}

/* Room for a read and for the NUL behind a last line. A line that passed the limit never grows the buffer. */
static int make_room(dgm_lines *l)
{
    if (l->begin > 0 && l->begin == l->end)
        l->begin = l->scan = l->end = 0;
    if (l->end + READ_BYTES / 2 < l->cap)
        return DGM_OK;
    if (l->begin >= l->cap / 2) {
        memmove(l->buf, l->buf + l->begin, l->end - l->begin);
        l->scan -= l->begin;
        l->end -= l->begin;
        l->begin = 0;
        return DGM_OK;
    }
    char *grown = realloc(l->buf, l->cap * 2);
    if (grown == NULL)
        return dgm_fail(DGM_ENOMEM, "%s line %" PRIu64 ": no memory for %zu bytes", l->name,
                        l->number + 1, l->cap * 2);
    l->buf = grown;
    l->cap *= 2;
    return DGM_OK;
}

/* DGM_OK after bytes or the end of the file came, DGM_LINES_AGAIN when none did. */
static int fill(dgm_lines *l, int timeout_ms)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    const int ready = poll(&p, 1, timeout_ms);
    if (ready == 0 || (ready < 0 && (errno == EINTR || errno == EAGAIN)))
        return DGM_LINES_AGAIN;
    if (ready < 0)
        return dgm_fail(DGM_EINPUT, "cannot read %s: %s", l->name, strerror(errno));
    DGM_TRY(make_room(l));
    const ssize_t n = read(l->fd, l->buf + l->end, l->cap - l->end - 1);
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
        return DGM_LINES_AGAIN;
    if (n < 0)
        return dgm_fail(DGM_EINPUT, "cannot read %s: %s", l->name, strerror(errno));
    l->eof = n == 0;
    l->end += (size_t)n;
    return DGM_OK;
}

/* Throws away what is buffered of a line over the limit, but for a CR that may belong to its newline. */
static void skip_long(dgm_lines *l)
{
    const size_t held = l->end - l->begin;
    if (held == 0 || (l->skipped == 0 && held <= l->max_bytes + 1))
        return;
    const size_t keep = l->buf[l->end - 1] == '\r';
    l->skipped += held - keep;
    l->offset += held - keep;
    l->buf[0] = '\r';
    l->begin = 0;
    l->scan = l->end = keep;
}

/* True when the start of the file is decided: a byte order mark was dropped, or there is none. */
static bool drop_mark(dgm_lines *l)
{
    static const char mark[3] = "\xEF\xBB\xBF";
    const size_t n = l->end < sizeof mark ? l->end : sizeof mark;
    const bool matches = memcmp(l->buf, mark, n) == 0;
    if (matches && n < sizeof mark && !l->eof)
        return false;
    if (matches && n == sizeof mark)
        l->begin = l->scan = l->offset = sizeof mark;
    return true;
}

static void judge(dgm_line *line)
{
    line->state = DGM_LINE_OK;
    if (dgm_utf8_check(line->text, line->len, &line->bad_at))
        line->bad_at = 0;
    else
        line->state = line->text[line->bad_at] == '\0' ? DGM_LINE_NUL : DGM_LINE_NOT_UTF8;
}

/* Hands out buf[begin, stop), behind which `newline` bytes (0 or 1) end the line. */
static void cut(dgm_lines *l, dgm_line *line, size_t stop, size_t newline)
{
    size_t len = stop - l->begin;
    if (newline == 1 && len > 0 && l->buf[stop - 1] == '\r')
        len--;
    l->offset += stop + newline - l->begin;
    *line = (dgm_line){.n_bytes = l->skipped + len, .number = ++l->number, .offset = l->offset};
    if (line->n_bytes > l->max_bytes) {
        line->state = DGM_LINE_TOO_LONG;
        line->text = "";
    } else {
        l->buf[l->begin + len] = '\0'; /* over CR or LF, or in the byte that fill() leaves free */
        line->text = l->buf + l->begin;
        line->len = len;
        judge(line);
    }
    l->begin = l->scan = stop + newline;
    l->skipped = 0;
}

int dgm_lines_poll(dgm_lines *l, dgm_line *line, int timeout_ms)
{
    const int64_t deadline = dgm_now_ns() + (int64_t)timeout_ms * 1000000;
    for (bool tried = false;; tried = true) {
        l->started = l->started || drop_mark(l);
        if (l->started) {
            const char *newline = memchr(l->buf + l->scan, '\n', l->end - l->scan);
            if (newline != NULL) {
                cut(l, line, (size_t)(newline - l->buf), 1);
                return DGM_LINES_LINE;
            }
            l->scan = l->end;
        }
        if (l->eof && l->begin == l->end && l->skipped == 0)
            return DGM_LINES_END;
        if (l->eof) {
            cut(l, line, l->end, 0);
            return DGM_LINES_LINE;
        }
        skip_long(l);
        /* One try is always made, so that a timeout of 0 reads what is there. */
        int64_t wait_ms = timeout_ms;
        if (timeout_ms >= 0 && tried && (wait_ms = (deadline - dgm_now_ns()) / 1000000) <= 0)
            return DGM_LINES_AGAIN;
        const int rc = fill(l, (int)wait_ms);
        if (rc != DGM_OK)
            return rc;
    }
}

int dgm_line_fail(const dgm_line *line)
{
    switch (line->state) {
    case DGM_LINE_NOT_UTF8:
        return dgm_fail(DGM_ETEXT, "byte %zu (0x%02x) is not UTF-8", line->bad_at + 1,
                        (unsigned char)line->text[line->bad_at]);
    case DGM_LINE_NUL:
        return dgm_fail(DGM_ETEXT, "byte %zu is NUL, want text", line->bad_at + 1);
    case DGM_LINE_TOO_LONG:
        return dgm_fail(DGM_ETEXT, "%zu bytes are too long", line->n_bytes);
    case DGM_LINE_OK:
        break;
    }
    return DGM_OK;
}

int dgm_lines_fail(const dgm_lines *l, const dgm_line *line)
{
    if (line->state == DGM_LINE_TOO_LONG)
        return dgm_fail(DGM_ETEXT, "%s line %" PRIu64 ": %zu bytes, want at most %zu", l->name,
                        line->number, line->n_bytes, l->max_bytes);
    const int rc = dgm_line_fail(line);
    return rc == DGM_OK
               ? rc
               : dgm_fail(rc, "%s line %" PRIu64 ": %s", l->name, line->number, dgm_error_text());
}

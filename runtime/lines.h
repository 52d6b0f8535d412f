/*
 * lines.h - the lines of a file descriptor, in bounded memory, without ever waiting longer than asked.
 *
 * A line is what stands before LF, CRLF or the end of the file; a byte order mark at the very start is
 * dropped; a last line without a newline counts, an empty rest does not. Any other control character
 * (a lone CR, U+2028) is text. The descriptor's flags are left alone (they may be shared with a shell):
 * waiting is by poll(2).
 */
#ifndef DGM_RUNTIME_LINES_H
#define DGM_RUNTIME_LINES_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dgm_lines dgm_lines;

enum dgm_line_state {
    DGM_LINE_OK,
    DGM_LINE_NOT_UTF8, /* bad_at: offset of the first byte that is not UTF-8 */
    DGM_LINE_NUL,      /* bad_at: offset of the first NUL byte */
    DGM_LINE_TOO_LONG, /* more than max_bytes: text is empty, the line was read past */
};

typedef struct dgm_line {
    const char *text; /* [len] and a NUL behind it; valid until the next poll or close */
    size_t len;       /* bytes without newline and byte order mark; 0 when TOO_LONG */
    size_t n_bytes;   /* the same, TOO_LONG or not */
    uint64_t number;  /* 1 is the first */
    uint64_t offset; /* bytes of the descriptor read up to the end of this line, newline included */
    enum dgm_line_state state;
    size_t bad_at;
} dgm_line;

/* What dgm_lines_poll answers when it does not fail. */
enum { DGM_LINES_LINE = 1, DGM_LINES_AGAIN = 2, DGM_LINES_END = 3 };

/* dgm_lines_open - `fd` stays the caller's; `name` is for messages and copied. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_lines_open(dgm_lines **out, int fd, const char *name, size_t max_bytes);
void dgm_lines_close(dgm_lines *l);

/*
 * dgm_lines_poll - the next line. LINE fills *line; AGAIN: nothing whole yet after timeout_ms (0: do not wait,
 * -1: wait for ever) or a signal came; END: no more, and again END on later calls. DGM_EINPUT when reading
 * fails. A regular file is always ready.
 */
DGM_MUST_CHECK int dgm_lines_poll(dgm_lines *l, dgm_line *line, int timeout_ms);

/* dgm_lines_fail - the sentence about a line that is not OK: DGM_ETEXT, "NAME line 7: byte 3 is not UTF-8". */
int dgm_lines_fail(const dgm_lines *l, const dgm_line *line);
/* dgm_line_fail - the same of a line that stands in no text: without its place. */
int dgm_line_fail(const dgm_line *line);

#endif

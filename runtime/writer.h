/*
 * writer.h - stage 12 of a filter: bytes to standard output or to FILE.part, without ever blocking the engine.
 *
 * Output is buffered here; dgm_writer_flush writes what the other side takes now. Pipes, sockets and terminals are
 * asked by poll(2) and given at most PIPE_BUF bytes at a time, so their flags, which others may share, are left alone.
 * A regular FILE is written as FILE.part and renamed when it is whole; FILE.part can be gone on with.
 */
#ifndef DGM_RUNTIME_WRITER_H
#define DGM_RUNTIME_WRITER_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dgm_writer dgm_writer;

/*
 * dgm_writer_open - path "" is standard output. An existing FILE.part is kept until dgm_writer_keep decides. A path that
 * exists and is no regular file (/dev/null, a pipe) is written directly. DGM_EOUTPUT, also when another process is
 * writing the same FILE.part.
 */
DGM_MUST_CHECK int dgm_writer_open(dgm_writer **out, const char *path);
/* dgm_writer_close - FILE.part stays unless committed. What was not flushed is lost. NULL is fine. */
void dgm_writer_close(dgm_writer *w);

/* dgm_writer_count - whole lines in FILE.part, from its beginning; 0 for anything else. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_writer_count(uint64_t *n_lines, dgm_writer *w);
/* dgm_writer_keep - cuts FILE.part behind its first n_lines lines; what is put goes there. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_writer_keep(dgm_writer *w, uint64_t n_lines);

/* dgm_writer_put - appends to the buffer. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_writer_put(dgm_writer *w, const char *bytes, size_t n);
/* dgm_writer_flush - writes what goes without waiting. DGM_EOUTPUT: closed by its reader, disk full, ... */
DGM_MUST_CHECK int dgm_writer_flush(dgm_writer *w);
/* dgm_writer_drain - writes everything; waits for the reader at most timeout_ms without progress. The last resort of a
 * job that ends: meanwhile nothing else happens. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_writer_drain(dgm_writer *w, int timeout_ms);
size_t dgm_writer_pending(const dgm_writer *w);

/* dgm_writer_file - `text` and a newline as a whole file, atomically. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_writer_file(const char *path, const char *text);

/* dgm_writer_fd - what to poll for POLLOUT, or -1 when it never waits (a regular file). */
int dgm_writer_fd(const dgm_writer *w);
bool dgm_writer_is_part(const dgm_writer *w); /* writes FILE.part */
const char *dgm_writer_name(const dgm_writer *w);

/* dgm_writer_commit - everything is on the disk and FILE.part becomes FILE. Only after drain. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_writer_commit(dgm_writer *w);

#endif

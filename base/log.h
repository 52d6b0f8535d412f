/*
 * log.h - lines on stderr: `time level rank/ranks module words`, or the same as one JSON object a line.
 *
 * Lower case, no `=`, the exact cause. At info and below only rank 0 speaks unless --log-level is
 * debug or more. Thread-safe (one write a line). Whoever does not read stderr holds up those who speak, unless dgm_log_never_wait.
 */
#ifndef DGM_BASE_LOG_H
#define DGM_BASE_LOG_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dgm_log_level { DGM_LOG_ERROR, DGM_LOG_WARN, DGM_LOG_INFO, DGM_LOG_DEBUG, DGM_LOG_TRACE };

/* What a line of a server is about: its connection, counted from 1, and the client's id of a request there; 0: none. */
typedef struct dgm_log_id {
    uint64_t connection, request;
} dgm_log_id;

/* dgm_log_init - once, before threads start; rank/ranks appear in each line. */
void dgm_log_init(enum dgm_log_level level, int rank, int ranks);

/*
 * dgm_log_as_json - once, before threads start: each line is an object with time (UTC), level, rank, ranks, module, words, and
 * where there is one connection and request. It is valid JSON whatever bytes the words have: those that are not UTF-8 become U+FFFD.
 */
void dgm_log_as_json(bool json);

/*
 * dgm_log_never_wait - once, before threads start: who does not read stderr (a pipe that is full, a terminal that was stopped) holds
 * nobody up. What cannot be written at once is lost, and the next line that can be says how many were. Lines end at PIPE_BUF bytes.
 */
void dgm_log_never_wait(void);
/* dgm_log_lost - how many were lost, in all. Any thread. */
uint64_t dgm_log_lost(void);

/* dgm_log_parse - "error|warn|info|debug|trace" -> level; DGM_EUSAGE otherwise. */
DGM_MUST_CHECK int dgm_log_parse(enum dgm_log_level *out, const char *name);

bool dgm_log_on(enum dgm_log_level level);
void dgm_log(enum dgm_log_level level, const char *module, const char *fmt, ...) DGM_PRINTF(3, 4);
/* dgm_log_of - of a connection or a request: as text the words begin with `connection 3 request 17: `. */
void dgm_log_of(enum dgm_log_level level, const char *module, dgm_log_id id, const char *fmt, ...)
    DGM_PRINTF(4, 5);

/* dgm_log_failure - why the program ends with an error, at any level: `dragoman: sentence`, or an object of module `end`. */
void dgm_log_failure(const char *sentence);

/* dgm_log_escape - text as what stands between the quotes of a JSON string, [size] with its NUL; cut where it would not fit. Returns its length. */
size_t dgm_log_escape(char *out, size_t size, const char *text);

#endif

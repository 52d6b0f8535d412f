/*
 * log.h - lines on stderr: `time level rank/ranks module words`.
 *
 * Lower case, no `=`, the exact cause. At info and below only rank 0 speaks unless --log-level is
 * debug or more. Thread-safe (one write a line).
 */
#ifndef DGM_BASE_LOG_H
#define DGM_BASE_LOG_H

#include "base/status.h"

#include <stdbool.h>

enum dgm_log_level { DGM_LOG_ERROR, DGM_LOG_WARN, DGM_LOG_INFO, DGM_LOG_DEBUG, DGM_LOG_TRACE };

/* dgm_log_init - once, before threads start; rank/ranks appear in each line. */
void dgm_log_init(enum dgm_log_level level, int rank, int ranks);

/* dgm_log_parse - "error|warn|info|debug|trace" -> level; DGM_EUSAGE otherwise. */
DGM_MUST_CHECK int dgm_log_parse(enum dgm_log_level *out, const char *name);

bool dgm_log_on(enum dgm_log_level level);
void dgm_log(enum dgm_log_level level, const char *module, const char *fmt, ...) DGM_PRINTF(3, 4);

#endif

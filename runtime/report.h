/*
 * report.h - what happened to a line, as one JSON object a line (docs/config.md has the fields).
 */
#ifndef DGM_RUNTIME_REPORT_H
#define DGM_RUNTIME_REPORT_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name in the report; flagged: counts at the end and makes the exit code 1 */
#define DGM_LINE_STATUS_MAP(X)                                                                     \
    X(OK, "ok", false)                                                                             \
    X(EMPTY, "empty", false)        /* blank in, blank out */                                      \
    X(SPLIT, "split", false)        /* translated in parts and joined */                           \
    X(TRUNCATED, "truncated", true) /* the translation reached the length limit */                 \
    X(TOO_LONG, "too_long", true)   /* longer than the model takes, and not to be split */         \
    X(BAD_INPUT, "bad_input", true) /* not UTF-8, or a NUL byte */                                 \
    X(FAILED, "failed", true)       /* the engine refused it; the message says why */              \
    X(COPIED, "copied", false)      /* the source again; see runtime/checks.h */                   \
    X(LOOPED, "looped", false)                                                                     \
    X(WRONG_SCRIPT, "wrong_script", false)                                                         \
    X(TIMED_OUT, "timed_out", true) /* these two by a server: a client's wish */                   \
    X(CANCELLED, "cancelled", true)

enum dgm_line_status {
#define DGM_LINE_ENUM(name, text, flagged) DGM_LINE_STATUS_##name,
    DGM_LINE_STATUS_MAP(DGM_LINE_ENUM)
#undef DGM_LINE_ENUM
        DGM_LINE_STATUSES,
    DGM_LINE_ENGINE_STATUSES = DGM_LINE_STATUS_TIMED_OUT /* those that an engine can give */
};

const char *dgm_line_status_name(enum dgm_line_status s);
bool dgm_line_status_flagged(enum dgm_line_status s);

typedef struct dgm_line_report {
    uint64_t line;
    const char *target; /* language code when a line has several targets, else NULL */
    enum dgm_line_status status;
    int src_tokens, tgt_tokens; /* pieces of text, without codes and </s>; of the best hypothesis */
    bool has_score;
    double score, seconds;
    double absent_mass, absent_most; /* gate weight lost, mean and most; see dgm_absent */
    char worst_layer[24];            /* "decoder 3", or "" */
    int segments;
    unsigned checks;      /* sum of dgm_check: what struck the best hypothesis */
    bool retried, second; /* it was decoded twice; the second decoding is the one told of */
    double first_score, second_score;
    unsigned first_checks, second_checks;
    const char *message; /* "" or why */
} dgm_line_report;

/*
 * dgm_report_format - one object with its newline. *json is malloc'ed (the caller frees), *len without the NUL.
 * DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_report_format(char **json, size_t *len, const dgm_line_report *r);

#endif

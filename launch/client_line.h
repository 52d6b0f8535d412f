/*
 * client_line.h - a line of a client's text between its reading and its writing: sent once for each target, done when every target
 * is; and an answer of a server as the outputs and the report of a filter want it: the bytes that translate writes.
 */
#ifndef DGM_LAUNCH_CLIENT_LINE_H
#define DGM_LAUNCH_CLIENT_LINE_H

#include "launch/options.h"
#include "proto/wire.h"
#include "runtime/lines.h"
#include "runtime/report.h"
#include "runtime/stream.h"

/* How lines are written. */
typedef struct dgm_client_form {
    const dgm_options *o;
    const dgm_stream_target *targets; /* [n_targets] lang alone */
    int n_targets;
    bool together; /* several targets in one output: each line says its language */
    bool report;
} dgm_client_form;

/* What a target made of a line. */
typedef struct dgm_client_text {
    char *out, *report; /* [out_len] its lines of the output; report NULL: none is written */
    size_t out_len, report_len;
} dgm_client_text;

typedef struct dgm_client_line {
    uint64_t number;     /* of the input, from 1 */
    char *text, *prefix; /* [len, prefix_len] until it is sent to all; prefix may be NULL */
    size_t len, prefix_len;
    uint64_t input_end;          /* bytes of the input up to here */
    dgm_client_text *texts;      /* [n_targets] */
    int left;                    /* targets that are not done */
    size_t bytes;                /* that it holds */
    uint64_t hash;               /* over the input up to here */
    enum dgm_line_status status; /* the worst of its targets', and why */
    char *message;               /* NULL: none */
} dgm_client_line;

/* dgm_client_line_take - nothing of it is done. DGM_ENOMEM; then it can still be freed. */
DGM_MUST_CHECK int dgm_client_line_take(dgm_client_line *l, const dgm_client_form *form,
                                        uint64_t number, const dgm_line *input);
/* dgm_client_line_keep - the texts, until they are sent. dgm_client_line_sent - to all targets. */
DGM_MUST_CHECK int dgm_client_line_keep(dgm_client_line *l, const dgm_line *input,
                                        const dgm_line *prefix);
void dgm_client_line_sent(dgm_client_line *l);
/* dgm_client_line_finish - for one target; a NULL: without a translation. message "": none. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_client_line_finish(dgm_client_line *l, const dgm_client_form *form,
                                          int target, enum dgm_line_status status,
                                          const dgm_wire_answer *a, const char *message);
void dgm_client_line_free(dgm_client_line *l, const dgm_client_form *form);

/* dgm_client_line_hopeless - some target has no translation, though the line is not blank: --strict stops there. */
bool dgm_client_line_hopeless(const dgm_client_line *l);
/* dgm_client_line_why - its message, or the name of its status. */
const char *dgm_client_line_why(const dgm_client_line *l);

/* dgm_client_status - the status of a line from that of an answer; FAILED for one that this program does not know. */
enum dgm_line_status dgm_client_status(uint32_t status);

#endif

/* client_line.h - one answer of a server as the outputs and the report of a filter want it: the bytes that translate writes. */
#ifndef DGM_LAUNCH_CLIENT_LINE_H
#define DGM_LAUNCH_CLIENT_LINE_H

#include "launch/options.h"
#include "proto/wire.h"
#include "runtime/report.h"

#include <stdio.h>

/* dgm_client_status - the status of a line from that of an answer; FAILED for one that this program does not know. */
enum dgm_line_status dgm_client_status(uint32_t status);

/* dgm_client_put_text - o->n_best lines; *a may be NULL: the line has no translation. `number` is the input's, from 1. */
void dgm_client_put_text(FILE *f, const dgm_options *o, uint64_t number, const dgm_wire_answer *a);

/* dgm_client_put_report - one object. a may be NULL. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_client_put_report(FILE *f, uint64_t number, enum dgm_line_status status,
                                         const dgm_wire_answer *a, const char *message);

#endif

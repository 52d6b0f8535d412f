/*
 * client_job.h - a text through a server: lines in, lines out, in order, on one thread, as stream.h does it with an engine.
 *
 * As many lines are sent as the server gives credits for, each once for each target; a window of lines bounds memory. Outputs
 * that are files go on where an earlier run with the same options, server model and input was stopped.
 */
#ifndef DGM_LAUNCH_CLIENT_JOB_H
#define DGM_LAUNCH_CLIENT_JOB_H

#include "launch/filter_files.h"
#include "launch/options.h"
#include "proto/client.h"

#include <signal.h>

typedef struct dgm_client_job_config {
    const dgm_options *o;
    dgm_client *client;
    dgm_filter_files *files;
    const dgm_stream_target
        *targets; /* [n_targets] lang alone: as the server and the outputs call them */
    int n_targets;
    const dgm_wire_options *options;
    uint64_t job;  /* hash over model and options of both sides */
    bool progress; /* to be shown on the terminal */
    const volatile sig_atomic_t *stop;
} dgm_client_job_config;

typedef struct dgm_client_totals {
    uint64_t lines; /* written, those of an earlier run included */
    uint64_t tokens, flagged;
    uint64_t by_status[DGM_LINE_STATUSES];
    double seconds;
    bool stopped;
} dgm_client_totals;

/* dgm_client_job_run - until the input ends, *stop is set, or something fails; as dgm_stream_run. */
DGM_MUST_CHECK int dgm_client_job_run(dgm_client_totals *totals, const dgm_client_job_config *cfg);

#endif

/* filter_files.h - the texts that a filter reads and writes. Rank 0 alone. */
#ifndef DGM_LAUNCH_FILTER_FILES_H
#define DGM_LAUNCH_FILTER_FILES_H

#include "launch/options.h"
#include "runtime/stream.h"

typedef struct dgm_filter_files {
    dgm_lines *input, *beside;
    int input_fd, beside_fd;
    const char *input_name, *beside_name;
    uint64_t input_bytes; /* 0: not a regular file */
    dgm_writer *outputs[DGM_STREAM_MAX_TARGETS];
    int n_outputs;
    dgm_writer *report;
} dgm_filter_files;

/*
 * dgm_filter_files_open - input, prefixes or references, report, and outputs: one for all targets, or one each where
 * --output has {lang} in it. DGM_EINPUT, DGM_EOUTPUT, DGM_EUSAGE. On failure the rest can still be closed.
 */
DGM_MUST_CHECK int dgm_filter_files_open(dgm_filter_files *f, const dgm_options *o,
                                         const dgm_stream_target *targets, int n_targets);
/* dgm_filter_files_progress - a terminal is there to show it, and nothing else is written or typed there. */
bool dgm_filter_files_progress(const dgm_filter_files *f, const dgm_options *o);
void dgm_filter_files_close(dgm_filter_files *f);

#endif

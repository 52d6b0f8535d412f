/*
 * filter.h - translate and score are one thing: lines in, lines out, through a session and a stream.
 */
#ifndef DGM_LAUNCH_FILTER_H
#define DGM_LAUNCH_FILTER_H

#include "launch/options.h"

/* dgm_filter_run - the whole command. Returns the exit code. */
int dgm_filter_run(const dgm_options *o);

#endif

/* sweep_show.h - points of a sweep as a table, a plot and a file. Rank 0 alone. */
#ifndef DGM_LAUNCH_SWEEP_SHOW_H
#define DGM_LAUNCH_SWEEP_SHOW_H

#include "launch/sweep_points.h"

/* On standard output: the head of the table, and a measured point as its next line. */
void dgm_sweep_show_head(void);
void dgm_sweep_show_point(const dgm_point *p, const dgm_evaluation *e);

/* dgm_sweep_plot - chrF++ against bytes; points are by bytes, the first but one (points[0]: all experts). knee: one of them or -1. */
void dgm_sweep_plot(const dgm_sweep *s, int knee);

/* dgm_sweep_write - as JSON (docs/compression.md) into a file, atomically. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_sweep_write(const dgm_sweep *s, const dgm_evaluation *e, int knee,
                                   const char *path);

#endif

/* knee.h - where a curve of quality against size bends: less costs more from there on. */
#ifndef DGM_RUNTIME_KNEE_H
#define DGM_RUNTIME_KNEE_H

/*
 * dgm_knee - of points [n], x ascending: the one that stands highest above the straight line from the first to the last, both axes
 * scaled to 0 .. 1, y being the best value up to there (so a point that is worse than a smaller one is none). Ties: the smaller x.
 * -1 when no point is above the line. After Satopaa et al., Finding a "Kneedle" in a Haystack (2011).
 */
int dgm_knee(const double *x, const double *y, int n);

#endif

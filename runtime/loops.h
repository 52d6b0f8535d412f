/* loops.h - a text that goes round in circles: the failure of a model that does not find its end. Any thread. */
#ifndef DGM_RUNTIME_LOOPS_H
#define DGM_RUNTIME_LOOPS_H

#include <stdbool.h>
#include <stdint.h>

/* A block of pieces is a loop when it stands LOOP_TIMES times in a row, and all of them together are LOOP_PIECES or more. */
enum { DGM_LOOP_TIMES = 4, DGM_LOOP_PIECES = 8 };

/* dgm_loops - the pieces ids [n] of a text hold a loop, anywhere. Time n^2 / DGM_LOOP_TIMES. */
bool dgm_loops(const int32_t *ids, int n);

#endif

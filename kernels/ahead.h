/*
 * ahead.h - private to kernels/: weights are asked for while others are computed with.
 *
 * One place read at a time does not use the memory's bandwidth, four do (measured on one core: 14 and 22 GB/s). So
 * while one group of `width` panels is computed, four streams of lines are asked for: with width 1 a quarter of each
 * of the next four panels, with width 2 a half of each of the next four; each part in the turn before its panel is
 * due, so that all of a panel is there when it is. When `tiles` calls share the panels, each asks for its share.
 */
#ifndef DGM_KERNELS_AHEAD_H
#define DGM_KERNELS_AHEAD_H

#include "kernels/kernels.h"

/* Inputs per turn of a tile's loop. */
enum { DGM_TURN = 4 };

/*
 * dgm_ahead_of - for call `tile` of `tiles` on `width` (1 or 2) panels at w, inputs [0, k) of panels `stride` apart;
 * panels_left counts from w. Parts of panels that do not exist are replaced by w, which is there already.
 */
static inline dgm_ahead dgm_ahead_of(const float *w, size_t stride, int k, int width,
                                     int panels_left, int tile, int tiles)
{
    const int groups = 4 / width, part = k / groups; /* lines of each stream */
    dgm_ahead a = {.every = tiles > width ? tiles / width : 1, .lines = tiles >= width ? 1 : width};
    for (int s = 0; s < 4; s++) {
        const int panel = (s / width + 1) * width + s % width;
        const int line = (groups - 1 - s / width) * part + tile * (part / tiles);
        a.stream[s] =
            panel < panels_left ? w + (size_t)panel * stride + (size_t)line * DGM_PANEL : w;
    }
    return a;
}

#endif

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

/*
 * dgm_ahead_of - for the first of `tiles` calls on `width` (1 or 2) panels at w, `lines` lines of each of which are at
 * hand, panels `stride` bytes apart; panels_left counts from w. A line lasts `per_line` inputs of the tile's loop.
 * Parts of panels that do not exist are replaced by w, which is there already.
 */
static inline dgm_ahead dgm_ahead_of(const void *w, size_t stride, int lines, int per_line,
                                     int width, int panels_left, int tiles)
{
    const int groups = 4 / width, part = lines / groups; /* lines of each stream */
    const int every = tiles > width ? tiles / width : 1;
    dgm_ahead a = {.every = every * per_line, .lines = tiles >= width ? 1 : width};
    for (int s = 0; s < 4; s++) {
        const int panel = (s / width + 1) * width + s % width;
        const int line = (groups - 1 - s / width) * part;
        a.stream[s] = w;
        if (panel < panels_left)
            a.stream[s] += (size_t)panel * stride + (size_t)line * DGM_LINE;
    }
    return a;
}

/* dgm_ahead_share - bytes of each stream that one of those calls asks for. */
static inline size_t dgm_ahead_share(int lines, int width, int tiles)
{
    return (size_t)(lines / (4 / width) / tiles) * DGM_LINE;
}

static inline void dgm_ahead_next(dgm_ahead *a, size_t share)
{
    for (int s = 0; s < 4; s++)
        a->stream[s] += share;
}

/* dgm_ahead_ask - for the lines from `line` on of each stream; returns which are next. */
static inline size_t dgm_ahead_ask(const dgm_ahead *a, size_t line)
{
    for (int l = 0; l < a->lines; l++, line++)
        for (int s = 0; s < 4; s++)
            __builtin_prefetch(a->stream[s] + line * DGM_LINE, 0, 2);
    return line;
}

/*
 * Few rows wait for memory, and hardware follows a stream only from its third line or so on, and not into the next
 * panel: so with each line one further on is asked for, past a panel's end in the panel that follows once this group of
 * panels is done. All streams together ask for DGM_SOON lines at a time: measured best between 128 and 256.
 */
#ifndef DGM_SOON
#define DGM_SOON 192
#endif

/* dgm_soon_of - bytes from line `line` of `lines` of each of n_panels panels to the one to ask for, `all` lines at a time. */
static inline size_t dgm_soon_of(int all, int line, int lines, size_t stride, int n_panels)
{
    const int soon = all / n_panels < lines ? all / n_panels : lines;
    return (size_t)soon * DGM_LINE + (line + soon < lines ? 0 : stride * (size_t)(n_panels - 1));
}

static inline size_t dgm_soon(int line, int lines, size_t stride, int n_panels)
{
    return dgm_soon_of(DGM_SOON, line, lines, stride, n_panels);
}

/* Scales of groups, 16 floats a group and panel, are asked for likewise: no prefetcher follows so few lines. */

/* dgm_soon_groups - how many groups of k inputs ahead. */
static inline int dgm_soon_groups(int group, int k, int n_panels, dgm_wtype t)
{
    const int soon = DGM_SOON / n_panels / (group / dgm_line_inputs(t)) + 1, all = k / group;
    return soon < all ? soon : all;
}

/* dgm_soon_scales - those `soon` groups beyond `at`, which are in the same panels or in those that follow. */
static inline void dgm_soon_scales(const float *at, int same, int soon, size_t stride, int n_panels)
{
    at += (size_t)soon * DGM_PANEL + (same ? 0 : stride * (size_t)(n_panels - 1));
    for (int p = 0; p < n_panels; p++)
        __builtin_prefetch(at + (size_t)p * stride, 0, 3);
}

#endif

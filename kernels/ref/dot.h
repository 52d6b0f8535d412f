/*
 * dot.h (ref) - dot products of 4 inputs, int8 with int8 or int4, added to 16 sums of int32.
 *
 * Where weights are taken as unsigned, a constant has been added to each: a sum is then too large by that times the
 * sum of its row (DOT_S8_ADDED, DOT_U4_ADDED). Rows that are picked from may be unsigned likewise (PICKED_ADDED).
 */
#ifndef DGM_KERNELS_DOT_H
#define DGM_KERNELS_DOT_H

#include "kernels/ref/lines.h"

enum { DOT_S8_ADDED = 0, DOT_U4_ADDED = 8, PICKED_ADDED = 0, DOT_U4_PAIRS = 1 };

typedef struct vsum {
    int32_t l[16];
} vsum;
typedef struct vdot {
    int8_t l[16][4];
} vdot_s8, vdot_u4;

V_INLINE vsum vs_set1(int32_t a)
{
    vsum r;
    V_LANES(l) r.l[l] = a;
    return r;
}

V_INLINE vsum vs_load(const void *p)
{
    vsum r;
    memcpy(r.l, p, sizeof r.l);
    return r;
}

V_INLINE void vs_store(void *p, vsum a)
{
    memcpy(p, a.l, sizeof a.l);
}

V_INLINE vsum vs_add(vsum a, vsum b)
{
    V_LANES(l) a.l[l] += b.l[l];
    return a;
}

V_INLINE vsum vs_sub(vsum a, vsum b)
{
    V_LANES(l) a.l[l] -= b.l[l];
    return a;
}

V_INLINE v16 vs_float(vsum a)
{
    v16 r;
    V_LANES(l) r.l[l] = (float)a.l[l];
    return r;
}

/* vs_add_quads - 64 numbers, four to each sum. */
V_INLINE vsum vs_add_quads(vsum acc, const int8_t *x)
{
    V_LANES(l) for (int j = 0; j < 4; j++) acc.l[l] += x[4 * l + j];
    return acc;
}

/* vdot_of_s8 - a line of int8, and vdot_s8_of, which is in a register; vdot_of_u4 - half a line of int4: inputs 0 .. 3 or 4 .. 7. */
V_INLINE vdot_s8 vdot_of_s8(const unsigned char *line)
{
    vdot_s8 r;
    memcpy(r.l, line, sizeof r.l);
    return r;
}

V_INLINE vdot_s8 vdot_s8_of(vline line)
{
    vdot_s8 r;
    memcpy(r.l, line.l, sizeof r.l);
    return r;
}

V_INLINE vdot_u4 vdot_of_u4(const unsigned char *line, const int half)
{
    vdot_u4 r;
    V_LANES(l) for (int j = 0; j < 4; j++) r.l[l][j] = (int8_t)(line[4 * l + j] >> 4 * half & 15);
    return r;
}

/* x: 4 inputs of a row. */
V_INLINE vsum vs_dot_s8(vsum acc, vdot_s8 w, const int8_t *x)
{
    V_LANES(l) for (int j = 0; j < 4; j++) acc.l[l] += w.l[l][j] * x[j];
    return acc;
}

/* vs_window - 8 inputs of a row, from which each lane picks 4. vs_places - of kept numbers 4 l .. 4 l + 3 of a block
 * (sparse.h): inputs of that window. */
typedef struct vinputs {
    int8_t l[8];
} vinputs;

V_INLINE vinputs vs_window(const int8_t *x)
{
    vinputs r;
    memcpy(r.l, x, sizeof r.l);
    return r;
}

V_INLINE vline vs_places(vline index, const int l, const int m)
{
    const uint32_t mask = m == 4 ? 0x03030303u : 0x07070707u, second = m == 4 ? 0x04040000u : 0;
    V_LANES(i) index.l[i] = (index.l[i] >> (m == 4 ? 2 : 4) * l & mask) | second;
    return index;
}

/* vs_dot_picked - w: a line of kept numbers. */
typedef vdot_s8 vkept;

V_INLINE vkept vkept_of(const unsigned char *line)
{
    return vdot_of_s8(line);
}

V_INLINE vsum vs_dot_picked(vsum acc, vkept w, vinputs x, vline places)
{
    V_LANES(l)
    for (int j = 0; j < 4; j++)
        acc.l[l] += w.l[l][j] * x.l[places.l[l] >> 8 * j & 7];
    return acc;
}

/* vs_dot_added - PICKED_ADDED times each kept number. */
V_INLINE vsum vs_dot_added(vsum acc, vkept w)
{
    V_LANES(l) for (int j = 0; j < 4; j++) acc.l[l] += PICKED_ADDED * w.l[l][j];
    return acc;
}

V_INLINE vsum vs_dot_u4(vsum acc, vdot_u4 w, const int8_t *x)
{
    return vs_dot_s8(acc, w, x);
}

/* vs_dot_u4_pair - both halves of a line; DOT_U4_PAIRS: that costs less than one after the other. */
V_INLINE vsum vs_dot_u4_pair(vsum acc, vdot_u4 low, const int8_t *x, vdot_u4 high,
                             const int8_t *more)
{
    return vs_dot_u4(vs_dot_u4(acc, low, x), high, more);
}

#endif

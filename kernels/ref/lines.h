/* lines.h (ref) - a line of packed weights (pack.h): 16 outputs with 2, 4 or 8 inputs, one input of all at a time. */
#ifndef DGM_KERNELS_LINES_H
#define DGM_KERNELS_LINES_H

#include "kernels/ref/vec.h"

typedef struct vline {
    uint32_t l[16];
} vline;

V_INLINE vline v_line(const unsigned char *p)
{
    vline r;
    memcpy(r.l, p, sizeof r.l);
    return r;
}

/* v_bf16 - input s of a line of bf16, s = 0, 1. */
V_INLINE v16 v_bf16(vline w, const int s)
{
    v16 r;
    V_LANES(l) w.l[l] = s == 0 ? w.l[l] << 16 : w.l[l] & 0xffff0000u;
    memcpy(r.l, w.l, sizeof r.l);
    return r;
}

/* v_s8 - input s of a line of int8, s = 0 .. 3. */
V_INLINE v16 v_s8(vline w, const int s)
{
    v16 r;
    V_LANES(l) r.l[l] = (float)(int8_t)(w.l[l] >> 8 * s);
    return r;
}

/* v_u4 - input s of a line of int4, s = 0 .. 7. */
V_INLINE v16 v_u4(vline w, const int s)
{
    v16 r;
    V_LANES(l) r.l[l] = (float)((int)(w.l[l] >> (s < 4 ? 8 * s : 8 * s - 28) & 15) - 8);
    return r;
}

/* v_s8_few, v_u4_few, v_u4_side - the same, by other ways: where few rows wait for it, where groups are side by side. */
V_INLINE v16 v_s8_few(vline w, const int s)
{
    return v_s8(w, s);
}

V_INLINE v16 v_u4_few(vline w, const int s)
{
    return v_u4(w, s);
}

V_INLINE v16 v_u4_side(vline w, const int s)
{
    return v_u4(w, s);
}

/*
 * v_window - the `size` inputs at p, for v_picked: m of them (4 or 8), or 16 where PICKED_WINDOW says so.
 * v_places - of an index from bit `bit` on, the places among m inputs that are the window's from number `first` on. Above
 * them may be bits that nobody looks at.
 */
typedef struct vwindow {
    float l[8];
} vwindow;

V_INLINE vwindow v_window(const float *p, const int size)
{
    vwindow r = {{0}};
    memcpy(r.l, p, (size_t)size * sizeof *p);
    return r;
}

V_INLINE vline v_places(vline index, const int bit, const int m, const int first, const int size)
{
    (void)m, (void)first, (void)size; /* a window is m inputs here */
    V_LANES(l) index.l[l] >>= bit;
    return index;
}

/* v_picked - each lane's input of the window. */
V_INLINE v16 v_picked(vwindow w, vline places, const int size)
{
    v16 r;
    V_LANES(l) r.l[l] = w.l[places.l[l] & (uint32_t)(size - 1)];
    return r;
}

/* v_unzip - 16 elements of `size` bytes: those of the mask from src on, the others zero. Reads up to 64 bytes. */
V_INLINE void v_unzip(unsigned char *dst, const unsigned char *src, uint16_t mask, const int size)
{
    V_LANES(l)
    {
        const int there = mask >> l & 1;
        for (int j = 0; j < size; j++)
            dst[size * l + j] = there ? src[j] : 0;
        src += there ? size : 0;
    }
}

/* v_max_bits - the greater of m and |x| as integers: infinity above all numbers, NaN above infinity. */
V_INLINE v16 v_max_bits(v16 m, v16 x)
{
    uint32_t a[16], b[16];
    memcpy(a, m.l, sizeof a);
    memcpy(b, x.l, sizeof b);
    V_LANES(l) a[l] = a[l] > (b[l] & 0x7fffffffu) ? a[l] : b[l] & 0x7fffffffu;
    memcpy(m.l, a, sizeof a);
    return m;
}

/* v_store_bytes - the low byte of each lane's bits. */
V_INLINE void v_store_bytes(int8_t *p, v16 a)
{
    uint32_t bits[16];
    memcpy(bits, a.l, sizeof bits);
    V_LANES(l) p[l] = (int8_t)bits[l];
}

#endif

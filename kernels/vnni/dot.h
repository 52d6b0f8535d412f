/* dot.h (AVX-512 VNNI) - the products of ref/dot.h: one instruction, which wants weights unsigned. */
#ifndef DGM_KERNELS_DOT_H
#define DGM_KERNELS_DOT_H

#include "kernels/avx512/sums.h"

enum { DOT_S8_ADDED = 128, DOT_U4_ADDED = 8, PICKED_ADDED = 128, DOT_U4_PAIRS = 0 };

typedef __m512i vdot_s8, vdot_u4, vkept;

#define DOT_ONE_INSTRUCTION /* product and sum */

V_INLINE vdot_s8 vdot_s8_of(vline line)
{
    return _mm512_xor_si512(line, _mm512_set1_epi8(-128));
}

V_INLINE vdot_s8 vdot_of_s8(const unsigned char *line)
{
    return vdot_s8_of(v_line(line));
}

V_INLINE vdot_u4 vdot_of_u4(const unsigned char *line, const int half)
{
    return nibbles(line, half);
}

V_INLINE vsum vs_dot_s8(vsum acc, vdot_s8 w, const int8_t *x)
{
    return _mm512_dpbusd_epi32(acc, w, four(x));
}

V_INLINE vkept vkept_of(const unsigned char *line)
{
    return v_line(line);
}

/* A constant added to weights would be added once for each input that a lane picked: here the inputs are unsigned. */
V_INLINE vsum vs_dot_picked(vsum acc, vkept w, vinputs x, vline places)
{
    return _mm512_dpbusd_epi32(acc, _mm512_shuffle_epi8(x, places), w);
}

V_INLINE vsum vs_dot_added(vsum acc, vkept w)
{
    return _mm512_dpbusd_epi32(acc, _mm512_set1_epi8(-128), w);
}

V_INLINE vsum vs_dot_u4(vsum acc, vdot_u4 w, const int8_t *x)
{
    return _mm512_dpbusd_epi32(acc, w, four(x));
}

V_INLINE vsum vs_dot_u4_pair(vsum acc, vdot_u4 low, const int8_t *x, vdot_u4 high,
                             const int8_t *more)
{
    return vs_dot_u4(vs_dot_u4(acc, low, x), high, more);
}

#endif

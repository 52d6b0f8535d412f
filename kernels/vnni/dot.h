/* dot.h (AVX-512 VNNI) - the products of ref/dot.h: one instruction, which wants weights unsigned. */
#ifndef DGM_KERNELS_DOT_H
#define DGM_KERNELS_DOT_H

#include "kernels/avx512/sums.h"

enum { DOT_S8_ADDED = 128, DOT_U4_ADDED = 8 };

typedef __m512i vdot_s8, vdot_u4;

V_INLINE vdot_s8 vdot_of_s8(const unsigned char *line)
{
    return _mm512_xor_si512(v_line(line), _mm512_set1_epi8(-128));
}

V_INLINE vdot_u4 vdot_of_u4(const unsigned char *line, const int half)
{
    return nibbles(line, half);
}

V_INLINE vsum vs_dot_s8(vsum acc, vdot_s8 w, const int8_t *x)
{
    return _mm512_dpbusd_epi32(acc, w, four(x));
}

/* A constant added to weights would be added once for each input that a lane picked: signs go to the inputs instead. */
V_INLINE vsum vs_dot_picked(vsum acc, vkept w, vinputs x, vline places)
{
    return _mm512_dpbusd_epi32(acc, w.size, picked(w, x, places));
}

V_INLINE vsum vs_dot_u4(vsum acc, vdot_u4 w, const int8_t *x)
{
    return _mm512_dpbusd_epi32(acc, w, four(x));
}

#endif

/* dot.h (AVX-512 BW) - the products of ref/dot.h, by the same trick as avx2/dot.h. */
#ifndef DGM_KERNELS_DOT_H
#define DGM_KERNELS_DOT_H

#include "kernels/avx512/sums.h"

enum { DOT_S8_ADDED = 0, DOT_U4_ADDED = 8 };

typedef vkept vdot_s8;
typedef __m512i vdot_u4;

V_INLINE vdot_s8 vdot_of_s8(const unsigned char *line)
{
    return vkept_of(line);
}

V_INLINE vdot_u4 vdot_of_u4(const unsigned char *line, const int half)
{
    return nibbles(line, half);
}

/* quads - u unsigned, s signed bytes. */
V_INLINE vsum quads(vsum acc, __m512i u, __m512i s)
{
    const __m512i pairs = _mm512_maddubs_epi16(u, s);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

V_INLINE vsum vs_dot_s8(vsum acc, vdot_s8 w, const int8_t *x)
{
    const __m512i xv = four(x);
    return quads(acc, w.size, _mm512_mask_sub_epi8(xv, w.negative, _mm512_setzero_si512(), xv));
}

V_INLINE vsum vs_dot_picked(vsum acc, vkept w, vinputs x, vline places)
{
    return quads(acc, w.size, picked(w, x, places));
}

V_INLINE vsum vs_dot_u4(vsum acc, vdot_u4 w, const int8_t *x)
{
    return quads(acc, w, four(x));
}

#endif

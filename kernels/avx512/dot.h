/* dot.h (AVX-512 BW) - the products of ref/dot.h, by the same trick as avx2/dot.h. */
#ifndef DGM_KERNELS_DOT_H
#define DGM_KERNELS_DOT_H

#include "kernels/avx512/sums.h"

enum { DOT_S8_ADDED = 0, DOT_U4_ADDED = 8, PICKED_ADDED = 0, DOT_U4_PAIRS = 1 };

/* Bytes and which of them are negative: dot products want one operand unsigned. */
typedef struct vkept {
    __m512i size;
    __mmask64 negative;
} vkept;

typedef vkept vdot_s8;
typedef __m512i vdot_u4;

V_INLINE vdot_s8 vdot_s8_of(vline w)
{
    return (vkept){_mm512_abs_epi8(w), _mm512_movepi8_mask(w)};
}

V_INLINE vkept vkept_of(const unsigned char *line)
{
    return vdot_s8_of(v_line(line));
}

/* picked - each lane's 4 inputs with the signs of w. */
V_INLINE __m512i picked(vkept w, vinputs x, vline places)
{
    const __m512i four = _mm512_shuffle_epi8(x, places);
    return _mm512_mask_sub_epi8(four, w.negative, _mm512_setzero_si512(), four);
}

V_INLINE vdot_s8 vdot_of_s8(const unsigned char *line)
{
    return vkept_of(line);
}

V_INLINE vdot_u4 vdot_of_u4(const unsigned char *line, const int half)
{
    return nibbles(line, half);
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

V_INLINE vsum vs_dot_added(vsum acc, vkept w)
{
    (void)w; /* nothing is */
    return acc;
}

V_INLINE vsum vs_dot_u4(vsum acc, vdot_u4 w, const int8_t *x)
{
    return quads(acc, w, four(x));
}

/* In 16 bits four products are at most 4 * 15 * 127. */
V_INLINE vsum vs_dot_u4_pair(vsum acc, vdot_u4 low, const int8_t *x, vdot_u4 high,
                             const int8_t *more)
{
    const __m512i pairs = _mm512_add_epi16(_mm512_maddubs_epi16(low, four(x)),
                                           _mm512_maddubs_epi16(high, four(more)));
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#endif

/* dot.h (AVX-512 BW) - the products of ref/dot.h, by the same trick as avx2/dot.h. */
#ifndef DGM_KERNELS_DOT_H
#define DGM_KERNELS_DOT_H

#include "kernels/avx512/sums.h"

enum { DOT_S8_ADDED = 0, DOT_U4_ADDED = 8 };

typedef struct vdot_s8 {
    __m512i size;
    __mmask64 negative;
} vdot_s8;
typedef __m512i vdot_u4;

V_INLINE vdot_s8 vdot_of_s8(const unsigned char *line)
{
    const __m512i w = v_line(line);
    return (vdot_s8){_mm512_abs_epi8(w), _mm512_movepi8_mask(w)};
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

V_INLINE vsum vs_dot_u4(vsum acc, vdot_u4 w, const int8_t *x)
{
    return quads(acc, w, four(x));
}

#endif

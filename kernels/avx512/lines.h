/* lines.h (AVX-512) - the operations of ref/lines.h on one register. */
#ifndef DGM_KERNELS_LINES_H
#define DGM_KERNELS_LINES_H

#include "kernels/avx512/vec.h"

typedef __m512i vline;

V_INLINE vline v_line(const unsigned char *p)
{
    return _mm512_loadu_si512(p);
}

V_INLINE v16 v_bf16(vline w, const int s)
{
    return _mm512_castsi512_ps(s == 0 ? _mm512_slli_epi32(w, 16)
                                      : _mm512_and_si512(w, _mm512_set1_epi32(-0x10000)));
}

/* Shifts take constants: which case it is, is known once loops are unrolled. */
V_INLINE v16 v_s8(vline w, const int s)
{
    switch (s) {
    case 0:
        w = _mm512_slli_epi32(w, 24);
        break;
    case 1:
        w = _mm512_slli_epi32(w, 16);
        break;
    case 2:
        w = _mm512_slli_epi32(w, 8);
        break;
    default:
        break;
    }
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(w, 24));
}

/* nibble - input s in the low four bits; what stands above them is for v_u4 to ignore. */
V_INLINE vline nibble(vline w, const int s)
{
    switch (s) {
    case 0:
        return w;
    case 1:
        return _mm512_srli_epi32(w, 8);
    case 2:
        return _mm512_srli_epi32(w, 16);
    case 3:
        return _mm512_srli_epi32(w, 24);
    case 4:
        return _mm512_srli_epi32(w, 4);
    case 5:
        return _mm512_srli_epi32(w, 12);
    case 6:
        return _mm512_srli_epi32(w, 20);
    default:
        return _mm512_srli_epi32(w, 28);
    }
}

/* A permutation looks at the low four bits of an index: it is a table of 16 floats. */
V_INLINE v16 v_u4(vline w, const int s)
{
    const v16 table = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    return _mm512_permutexvar_ps(nibble(w, s), table);
}

V_INLINE v16 v_max_bits(v16 m, v16 x)
{
    const __m512i a = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(m), a));
}

V_INLINE void v_store_bytes(int8_t *p, v16 a)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_castps_si512(a)));
}

#endif

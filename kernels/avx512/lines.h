/* lines.h (AVX-512) - the operations of ref/lines.h on one register. */
#ifndef DGM_KERNELS_LINES_H
#define DGM_KERNELS_LINES_H

#include "kernels/avx512/vec.h"

#include <string.h>

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

/* looked_up - the nibble at bit `at`. A permutation looks at the low four bits of an index: it is a table of 16 floats. */
V_INLINE v16 looked_up(vline w, const int at)
{
    const v16 table = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    return _mm512_permutexvar_ps(at == 0 ? w : _mm512_srli_epi32(w, (unsigned)at), table);
}

/*
 * in_place - bits `ones` at bit `at`, which end below bit 23: there they are part of the mantissa of 2^(23 - at) and count ones.
 * Bits that are to be turned over are those of `flip`. What that is more than the number asked for is taken off: exactly.
 */
V_INLINE v16 in_place(vline w, const int at, const int ones, const int flip, const float more)
{
    const vline mask = _mm512_set1_epi32(ones << at),
                power = _mm512_set1_epi32((150 - at) << 23 | flip << at);
    const vline number = _mm512_ternarylogic_epi32(w, mask, power, 0x6a); /* (w & mask) ^ power */
    return _mm512_sub_ps(_mm512_castsi512_ps(number),
                         _mm512_set1_ps((float)(1 << (23 - at)) + more));
}

/* v_s8_few - only two of four pipes shift: so once for four numbers. */
V_INLINE v16 v_s8_few(vline w, const int s)
{
    return in_place(s < 2 ? w : _mm512_srli_epi32(w, 16), s % 2 * 8, 255, 128, 128.0f);
}

V_INLINE v16 v_u4(vline w, const int s)
{
    switch (s) {
    case 0:
        return looked_up(w, 0);
    case 1:
        return looked_up(w, 8);
    case 2:
        return looked_up(w, 16);
    case 3:
        return looked_up(w, 24);
    case 4:
        return looked_up(w, 4);
    case 5:
        return looked_up(w, 12);
    case 6:
        return looked_up(w, 20);
    default:
        return looked_up(w, 28);
    }
}

/* nibble - bits `at` .. of a word, less 8. */
V_INLINE v16 nibble(vline w, const int at)
{
    return in_place(w, at, 15, 0, 8.0f);
}

/* v_u4_few - only two of four pipes shift and permute, only two subtract: so half the one way, half the other. */
V_INLINE v16 v_u4_few(vline w, const int s)
{
    switch (s) {
    case 1:
        return nibble(w, 8);
    case 2:
        return nibble(w, 16);
    case 4:
        return nibble(w, 4);
    case 5:
        return nibble(w, 12);
    default:
        return v_u4(w, s);
    }
}

/* v_u4_side - with one shift for all that ends above bit 23: better where eight lines are at hand. */
V_INLINE v16 v_u4_side(vline w, const int s)
{
    const int bit = s < 4 ? 8 * s : 8 * s - 28;
    if (bit >= 16)
        w = _mm512_srli_epi32(w, 16);
    return bit % 16 == 0 ? looked_up(w, 0) : nibble(w, bit % 16);
}

/* The window as often as it fits. */
typedef __m512 vwindow;

V_INLINE vwindow v_window(const float *p, const int size)
{
    return size == 4   ? _mm512_broadcast_f32x4(_mm_loadu_ps(p))
           : size == 8 ? _mm512_broadcast_f32x8(_mm256_loadu_ps(p))
                       : _mm512_loadu_ps(p);
}

/* Permutations look at two bits of a place, or at four: of a window twice, the fourth chooses between equals. */
V_INLINE vline v_places(vline index, const int bit, const int m, const int first, const int size)
{
    const vline places = bit == 0 ? index : _mm512_srli_epi32(index, (unsigned)bit),
                mask = _mm512_set1_epi32(m - 1);
    if (size == m)
        return places;
    if (first == 0)
        return _mm512_and_si512(places, mask);
    return _mm512_ternarylogic_epi32(places, mask, _mm512_set1_epi32(first), 0xea);
}

V_INLINE v16 v_picked(vwindow w, vline places, const int size)
{
    return size == 4 ? _mm512_permutevar_ps(w, places) : _mm512_permutexvar_ps(places, w);
}

/* v_whole_line - as in kernels/whole_line.h; with VBMI2, one instruction. */
#ifdef V_EXPANDS_BYTES
V_INLINE vline v_whole_line(const unsigned char **src, const uint16_t *mask, const int size)
{
    vline all = _mm512_loadu_si512(*src);
    uint64_t bits = 0;
#ifdef __AVX512F__
    __asm__(
        ""
        : "+v"(all)); /* else compilers expand from memory, which is slow where lines are crossed */
#endif
    memcpy(&bits, mask, (size_t)(8 / size));
    *src += __builtin_popcountll(bits) * size;
    return size == 1   ? _mm512_maskz_expand_epi8((__mmask64)bits, all)
           : size == 2 ? _mm512_maskz_expand_epi16((__mmask32)bits, all)
                       : _mm512_maskz_expand_epi32((__mmask16)bits, all);
}
#else
/* expanded - the next elements of *src where mask has its ones, of `size` bytes, each as 32 bits. */
V_INLINE vline expanded(const unsigned char **src, uint16_t mask, const int size)
{
    const unsigned char *p = *src;
    *src += __builtin_popcount(mask) * size;
    const vline all = size == 4   ? _mm512_loadu_si512(p)
                      : size == 2 ? _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p))
                                  : _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm512_maskz_expand_epi32(mask, all);
}

V_INLINE vline v_whole_line(const unsigned char **src, const uint16_t *mask, const int size)
{
    const vline a = expanded(src, mask[0], size);
    if (size == 4)
        return a;
    const vline b = expanded(src, mask[1], size);
    const vline ab = _mm512_packus_epi32(a, b); /* of each four of a and of b, in turns */
    if (size == 2)
        return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), ab);
    const vline c = expanded(src, mask[2], size), d = expanded(src, mask[3], size);
    const vline abcd = _mm512_packus_epi16(ab, _mm512_packus_epi32(c, d));
    return _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), abcd);
}
#endif

V_INLINE v16 v_line_f32(vline line)
{
    return _mm512_castsi512_ps(line);
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

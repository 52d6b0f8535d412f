/* lines.h (AVX2) - the operations of ref/lines.h on two registers. */
#ifndef DGM_KERNELS_LINES_H
#define DGM_KERNELS_LINES_H

#include "kernels/avx2/vec.h"
#include "kernels/dtype.h"

#include <string.h>

typedef struct vline {
    __m256i lo, hi;
} vline;

V_INLINE vline v_line(const unsigned char *p)
{
    return (vline){_mm256_loadu_si256((const __m256i *)p),
                   _mm256_loadu_si256((const __m256i *)(p + 32))};
}

V_INLINE __m256 bf16(__m256i w, const int s)
{
    return _mm256_castsi256_ps(s == 0 ? _mm256_slli_epi32(w, 16)
                                      : _mm256_and_si256(w, _mm256_set1_epi32(-0x10000)));
}

V_INLINE v16 v_bf16(vline w, const int s)
{
    return (v16){bf16(w.lo, s), bf16(w.hi, s)};
}

/* Shifts take constants: which case it is, is known once loops are unrolled. */
V_INLINE __m256 s8(__m256i w, const int s)
{
    switch (s) {
    case 0:
        w = _mm256_slli_epi32(w, 24);
        break;
    case 1:
        w = _mm256_slli_epi32(w, 16);
        break;
    case 2:
        w = _mm256_slli_epi32(w, 8);
        break;
    default:
        break;
    }
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(w, 24));
}

V_INLINE v16 v_s8(vline w, const int s)
{
    return (v16){s8(w.lo, s), s8(w.hi, s)};
}

/* A nibble as the low bits of 2^23 + nibble, less 2^23 + 8. */
V_INLINE __m256 u4(__m256i w, const int s)
{
    const __m256i two23 = _mm256_set1_epi32(0x4b000000);
    w = _mm256_srl_epi32(w, _mm_cvtsi32_si128(s < 4 ? 8 * s : 8 * s - 28));
    w = _mm256_or_si256(_mm256_and_si256(w, _mm256_set1_epi32(15)), two23);
    return _mm256_sub_ps(_mm256_castsi256_ps(w), _mm256_set1_ps(0x1p23f + 8.0f));
}

V_INLINE v16 v_u4(vline w, const int s)
{
    return (v16){u4(w.lo, s), u4(w.hi, s)};
}

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

/* ---- for picked_kernels.h: half a panel ---- */
#define V_PARTS 2
#define V_S8_UNIT 0x1p24f
typedef __m256 vpart;
typedef __m256i vpart_line;

V_INLINE vpart part_set1(float a)
{
    return _mm256_set1_ps(a);
}

V_INLINE vpart part_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

V_INLINE void part_store(float *p, vpart a)
{
    _mm256_storeu_ps(p, a);
}

V_INLINE vpart part_mul(vpart a, vpart b)
{
    return _mm256_mul_ps(a, b);
}

V_INLINE vpart part_fma(vpart a, vpart b, vpart c)
{
    return _mm256_fmadd_ps(a, b, c);
}

V_INLINE vpart_line part_line(const unsigned char *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* s8_top - input s as the top byte, the others zero: 2^24 times what it stands for, two operations instead of three. */
V_INLINE __m256 s8_top(__m256i w, const int s)
{
    if (s == 0)
        return _mm256_cvtepi32_ps(_mm256_slli_epi32(w, 24));
    if (s == 1)
        w = _mm256_slli_epi32(w, 16);
    else if (s == 2)
        w = _mm256_slli_epi32(w, 8);
    return _mm256_cvtepi32_ps(_mm256_and_si256(w, _mm256_set1_epi32(-0x1000000)));
}

V_INLINE vpart part_wide(vpart_line line, const int s, const dgm_wtype t, const int few)
{
    (void)few;
    return t == DGM_W_BF16 ? bf16(line, s) : s8_top(line, s);
}

/* The window twice where it has 4 inputs. */
typedef __m256 vwindow;

V_INLINE vwindow v_window(const float *p, const int size)
{
    return size == 4 ? _mm256_broadcast_ps((const __m128 *)p) : _mm256_loadu_ps(p);
}

V_INLINE vpart_line v_places(vpart_line index, const int bit, const int m, const int first,
                             const int size)
{
    (void)m, (void)first, (void)size; /* a window is m inputs here */
    return _mm256_srl_epi32(index, _mm_cvtsi32_si128(bit));
}

V_INLINE vpart v_picked(vwindow w, vpart_line places, const int size)
{
    return size == 4 ? _mm256_permutevar_ps(w, places) : _mm256_permutevar8x32_ps(w, places);
}

/* v_unzip - set bits alone: half of them are zeros, and no instruction spreads out. */
V_INLINE void v_unzip(unsigned char *dst, const unsigned char *src, uint16_t mask, const int size)
{
    memset(dst, 0, (size_t)(16 * size));
    for (uint32_t left = mask; left != 0; left &= left - 1, src += size)
        memcpy(dst + size * __builtin_ctz(left), src, (size_t)size);
}

V_INLINE __m256 max_bits(__m256 m, __m256 x)
{
    const __m256i a = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(m), a));
}

V_INLINE v16 v_max_bits(v16 m, v16 x)
{
    return (v16){max_bits(m.lo, x.lo), max_bits(m.hi, x.hi)};
}

V_INLINE void v_store_bytes(int8_t *p, v16 a)
{
    const __m256i low = _mm256_set1_epi32(0xff);
    const __m256i lo = _mm256_and_si256(_mm256_castps_si256(a.lo), low);
    const __m256i hi = _mm256_and_si256(_mm256_castps_si256(a.hi), low);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(lo, hi), 0xd8);
    const __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)p, bytes);
}

#endif

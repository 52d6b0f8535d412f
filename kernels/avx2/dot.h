/*
 * dot.h (AVX2) - the operations of ref/dot.h on two registers.
 *
 * The byte product wants one operand unsigned and adds pairs in 16 bits: |w| times x with w's sign never leaves them,
 * 2 * 128 * 127 < 2^15. Nibbles are unsigned as they are.
 */
#ifndef DGM_KERNELS_DOT_H
#define DGM_KERNELS_DOT_H

#include "kernels/avx2/lines.h"

#include <string.h>

enum { DOT_S8_ADDED = 0, DOT_U4_ADDED = 8, PICKED_ADDED = 0, DOT_U4_PAIRS = 1 };

typedef struct vsum {
    __m256i lo, hi;
} vsum;
typedef vline vdot_s8, vdot_u4;

V_INLINE vsum vs_set1(int32_t a)
{
    const __m256i v = _mm256_set1_epi32(a);
    return (vsum){v, v};
}

V_INLINE vsum vs_load(const void *p)
{
    const __m256i *v = p;
    return (vsum){_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}

V_INLINE void vs_store(void *p, vsum a)
{
    __m256i *v = p;
    _mm256_storeu_si256(v, a.lo);
    _mm256_storeu_si256(v + 1, a.hi);
}

V_INLINE vsum vs_add(vsum a, vsum b)
{
    return (vsum){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}

V_INLINE vsum vs_sub(vsum a, vsum b)
{
    return (vsum){_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}

V_INLINE v16 vs_float(vsum a)
{
    return (v16){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}

V_INLINE vdot_s8 vdot_s8_of(vline line)
{
    return line;
}

V_INLINE vdot_s8 vdot_of_s8(const unsigned char *line)
{
    return vdot_s8_of(v_line(line));
}

V_INLINE vdot_u4 vdot_of_u4(const unsigned char *line, const int half)
{
    const __m256i low = _mm256_set1_epi8(15);
    vline w = v_line(line);
    if (half != 0)
        w = (vline){_mm256_srli_epi16(w.lo, 4), _mm256_srli_epi16(w.hi, 4)};
    return (vline){_mm256_and_si256(w.lo, low), _mm256_and_si256(w.hi, low)};
}

V_INLINE __m256i four(const int8_t *x)
{
    int32_t all;
    memcpy(&all, x, sizeof all);
    return _mm256_set1_epi32(all);
}

/* quads - u unsigned, s signed bytes. */
V_INLINE __m256i quads(__m256i acc, __m256i u, __m256i s)
{
    const __m256i pairs = _mm256_maddubs_epi16(u, s);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

V_INLINE vsum vs_add_quads(vsum acc, const int8_t *x)
{
    const __m256i one = _mm256_set1_epi8(1), *v = (const __m256i *)x;
    return (vsum){quads(acc.lo, one, _mm256_loadu_si256(v)),
                  quads(acc.hi, one, _mm256_loadu_si256(v + 1))};
}

V_INLINE vsum vs_dot_s8(vsum acc, vdot_s8 w, const int8_t *x)
{
    const __m256i xv = four(x);
    return (vsum){quads(acc.lo, _mm256_abs_epi8(w.lo), _mm256_sign_epi8(xv, w.lo)),
                  quads(acc.hi, _mm256_abs_epi8(w.hi), _mm256_sign_epi8(xv, w.hi))};
}

typedef __m256i vinputs;
typedef vdot_s8 vkept;

V_INLINE vinputs vs_window(const int8_t *x)
{
    int64_t all;
    memcpy(&all, x, sizeof all);
    return _mm256_set1_epi64x(all);
}

V_INLINE vline vs_places(vline index, const int l, const int m)
{
    const __m128i by = _mm_cvtsi32_si128((m == 4 ? 2 : 4) * l);
    const __m256i mask = _mm256_set1_epi8(m == 4 ? 3 : 7),
                  second = _mm256_set1_epi32(m == 4 ? 0x04040000 : 0);
    index.lo = _mm256_or_si256(_mm256_and_si256(_mm256_srl_epi32(index.lo, by), mask), second);
    index.hi = _mm256_or_si256(_mm256_and_si256(_mm256_srl_epi32(index.hi, by), mask), second);
    return index;
}

V_INLINE vkept vkept_of(const unsigned char *line)
{
    return vdot_of_s8(line);
}

V_INLINE vsum vs_dot_picked(vsum acc, vkept w, vinputs x, vline places)
{
    const __m256i lo = _mm256_shuffle_epi8(x, places.lo), hi = _mm256_shuffle_epi8(x, places.hi);
    return (vsum){quads(acc.lo, _mm256_abs_epi8(w.lo), _mm256_sign_epi8(lo, w.lo)),
                  quads(acc.hi, _mm256_abs_epi8(w.hi), _mm256_sign_epi8(hi, w.hi))};
}

V_INLINE vsum vs_dot_added(vsum acc, vkept w)
{
    (void)w; /* nothing is */
    return acc;
}

V_INLINE vsum vs_dot_u4(vsum acc, vdot_u4 w, const int8_t *x)
{
    const __m256i xv = four(x);
    return (vsum){quads(acc.lo, w.lo, xv), quads(acc.hi, w.hi, xv)};
}

/* In 16 bits four products are at most 4 * 15 * 127. */
V_INLINE __m256i two_quads(__m256i acc, __m256i u, __m256i s, __m256i u2, __m256i s2)
{
    const __m256i pairs =
        _mm256_add_epi16(_mm256_maddubs_epi16(u, s), _mm256_maddubs_epi16(u2, s2));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

V_INLINE vsum vs_dot_u4_pair(vsum acc, vdot_u4 low, const int8_t *x, vdot_u4 high,
                             const int8_t *more)
{
    const __m256i xv = four(x), more_v = four(more);
    return (vsum){two_quads(acc.lo, low.lo, xv, high.lo, more_v),
                  two_quads(acc.hi, low.hi, xv, high.hi, more_v)};
}

#endif

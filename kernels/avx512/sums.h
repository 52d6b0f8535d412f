/* sums.h (AVX-512) - sums of int32 as in ref/dot.h on one register; the products are dot.h's and vnni/dot.h's. */
#ifndef DGM_KERNELS_AVX512_SUMS_H
#define DGM_KERNELS_AVX512_SUMS_H

#include "kernels/avx512/lines.h"

#include <string.h>

typedef __m512i vsum;

V_INLINE vsum vs_set1(int32_t a)
{
    return _mm512_set1_epi32(a);
}

V_INLINE vsum vs_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

V_INLINE void vs_store(void *p, vsum a)
{
    _mm512_storeu_si512(p, a);
}

V_INLINE vsum vs_add(vsum a, vsum b)
{
    return _mm512_add_epi32(a, b);
}

V_INLINE vsum vs_sub(vsum a, vsum b)
{
    return _mm512_sub_epi32(a, b);
}

V_INLINE v16 vs_float(vsum a)
{
    return _mm512_cvtepi32_ps(a);
}

/* quads - u unsigned, s signed bytes. */
V_INLINE vsum quads(vsum acc, __m512i u, __m512i s)
{
    const __m512i pairs = _mm512_maddubs_epi16(u, s);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

V_INLINE vsum vs_add_quads(vsum acc, const int8_t *x)
{
    return quads(acc, _mm512_set1_epi8(1), _mm512_loadu_si512(x));
}

V_INLINE __m512i four(const int8_t *x)
{
    int32_t all;
    memcpy(&all, x, sizeof all);
    return _mm512_set1_epi32(all);
}

typedef __m512i vinputs;

V_INLINE vinputs vs_window(const int8_t *x)
{
    int64_t all;
    memcpy(&all, x, sizeof all);
    return _mm512_set1_epi64(all);
}

V_INLINE vline vs_places(vline index, const int l, const int m)
{
    const __m512i mask = _mm512_set1_epi8(m == 4 ? 3 : 7),
                  second = _mm512_set1_epi32(m == 4 ? 0x04040000 : 0);
    const __m512i places = _mm512_srli_epi32(index, (unsigned)((m == 4 ? 2 : 4) * l));
    return _mm512_ternarylogic_epi32(places, mask, second, 0xea); /* places & mask | second */
}

/* nibbles - of half a line of int4, as bytes. */
V_INLINE __m512i nibbles(const unsigned char *line, const int half)
{
    const __m512i w = v_line(line);
    return _mm512_and_si512(half == 0 ? w : _mm512_srli_epi32(w, 4), _mm512_set1_epi8(15));
}

#endif

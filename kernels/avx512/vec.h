/* vec.h (AVX-512 F, BW, DQ, VL) - the operations of ref/vec.h on one register. */
#ifndef DGM_KERNELS_VEC_H
#define DGM_KERNELS_VEC_H

#include "kernels/avx2/fold.h"

#include <stddef.h>
#include <stdint.h>

typedef __m512 v16;

#define V_QUERIES 4

V_INLINE v16 v_set1(float a)
{
    return _mm512_set1_ps(a);
}

V_INLINE v16 v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

V_INLINE __mmask16 first_lanes(int n)
{
    return (__mmask16)((1u << n) - 1);
}

V_INLINE v16 v_load_part(const float *p, int n, float fill)
{
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(n), p);
}

V_INLINE void v_store(float *p, v16 a)
{
    _mm512_storeu_ps(p, a);
}

V_INLINE void v_store_part(float *p, v16 a, int n)
{
    _mm512_mask_storeu_ps(p, first_lanes(n), a);
}

V_INLINE v16 v_keep(v16 a, int n)
{
    return _mm512_maskz_mov_ps(first_lanes(n), a);
}

/* v_first - n lanes of a, then fill. */
V_INLINE v16 v_first(v16 a, int n, float fill)
{
    return _mm512_mask_mov_ps(_mm512_set1_ps(fill), first_lanes(n), a);
}

V_INLINE v16 v_add(v16 a, v16 b)
{
    return _mm512_add_ps(a, b);
}

V_INLINE v16 v_sub(v16 a, v16 b)
{
    return _mm512_sub_ps(a, b);
}

V_INLINE v16 v_mul(v16 a, v16 b)
{
    return _mm512_mul_ps(a, b);
}

V_INLINE v16 v_div(v16 a, v16 b)
{
    return _mm512_div_ps(a, b);
}

V_INLINE v16 v_fma(v16 a, v16 b, v16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

V_INLINE v16 v_max(v16 a, v16 b)
{
    return _mm512_max_ps(a, b);
}

V_INLINE v16 v_select_gt(v16 a, v16 b, v16 yes, v16 no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), no, yes);
}

V_INLINE v16 v_select_nan(v16 x, v16 other)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), other, x);
}

V_INLINE uint32_t v_gt_bits(v16 a, v16 b)
{
    return (uint32_t)_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

V_INLINE v16 v_raise(v16 a, v16 n, v16 t, v16 x, v16 least)
{
    (void)t;
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, least, _CMP_NLT_UQ), a, n);
}

V_INLINE __m256 lower(v16 a)
{
    return _mm512_castps512_ps256(a);
}

V_INLINE __m256 upper(v16 a)
{
    return _mm512_extractf32x8_ps(a, 1);
}

V_INLINE __m256 halves_added(v16 a)
{
    return _mm256_add_ps(lower(a), upper(a));
}

V_INLINE float v_fold_add(v16 a)
{
    return fold_add(halves_added(a));
}

V_INLINE float v_fold_max(v16 a)
{
    return fold_max(_mm256_max_ps(lower(a), upper(a)));
}

V_INLINE void v_fold_add4(float *out, v16 a, v16 b, v16 c, v16 d)
{
    fold_add4(out, halves_added(a), halves_added(b), halves_added(c), halves_added(d));
}

/* Two vectors halve to one, four times; what four vectors halve to in two steps is [a, b, c, d], 4 lanes each. */
V_INLINE v16 halves_of_two(v16 a, v16 b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}

V_INLINE v16 quarters_of_four(const v16 a[4])
{
    const v16 ab = halves_of_two(a[0], a[1]), cd = halves_of_two(a[2], a[3]);
    return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}

V_INLINE v16 pairs_of_two(v16 a, v16 b)
{
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
}

/* v_fold_quads - lane 4 * r + c = the fold of a[4 * c + r], for 4 x 4 of them. */
V_INLINE v16 v_fold_quads(const v16 a[16])
{
    const v16 ab = pairs_of_two(quarters_of_four(a), quarters_of_four(a + 4));
    const v16 cd = pairs_of_two(quarters_of_four(a + 8), quarters_of_four(a + 12));
    return _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x88), _mm512_shuffle_ps(ab, cd, 0xdd));
}

/* v_quads_by_row - lane 4 * g + c of to[r] = lane 4 * r + c of from[g]. */
V_INLINE void v_quads_by_row(v16 to[4], const v16 from[4])
{
    const v16 a = _mm512_shuffle_f32x4(from[0], from[1], 0x44),
              b = _mm512_shuffle_f32x4(from[2], from[3], 0x44),
              c = _mm512_shuffle_f32x4(from[0], from[1], 0xee),
              d = _mm512_shuffle_f32x4(from[2], from[3], 0xee);
    to[0] = _mm512_shuffle_f32x4(a, b, 0x88);
    to[1] = _mm512_shuffle_f32x4(a, b, 0xdd);
    to[2] = _mm512_shuffle_f32x4(c, d, 0x88);
    to[3] = _mm512_shuffle_f32x4(c, d, 0xdd);
}

V_INLINE v16 widened(__m256i a)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(a), 16));
}

V_INLINE v16 v_load_bf16(const uint16_t *p)
{
    return widened(_mm256_loadu_si256((const __m256i *)p));
}

V_INLINE v16 v_load_bf16_part(const uint16_t *p, int n)
{
    return widened(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}

#endif

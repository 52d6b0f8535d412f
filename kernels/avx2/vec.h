/* vec.h (AVX2, FMA) - the operations of ref/vec.h on two registers. */
#ifndef DGM_KERNELS_VEC_H
#define DGM_KERNELS_VEC_H

#include "kernels/avx2/fold.h"

#include <stddef.h>
#include <stdint.h>

typedef struct v16 {
    __m256 lo, hi;
} v16;

#define V_QUERIES 1

V_INLINE v16 v_set1(float a)
{
    const __m256 v = _mm256_set1_ps(a);
    return (v16){v, v};
}

V_INLINE v16 v_load(const float *p)
{
    return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

/* first_lanes - all bits set in the lanes of this half that come before n. */
V_INLINE __m256i first_lanes(int n, int half)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8 * half), lane);
}

V_INLINE v16 v_load_part(const float *p, int n, float fill)
{
    const __m256i mlo = first_lanes(n, 0), mhi = first_lanes(n, 1);
    const __m256 f = _mm256_set1_ps(fill);
    return (v16){_mm256_blendv_ps(f, _mm256_maskload_ps(p, mlo), _mm256_castsi256_ps(mlo)),
                 _mm256_blendv_ps(f, _mm256_maskload_ps(p + 8, mhi), _mm256_castsi256_ps(mhi))};
}

V_INLINE void v_store(float *p, v16 a)
{
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}

V_INLINE void v_store_part(float *p, v16 a, int n)
{
    _mm256_maskstore_ps(p, first_lanes(n, 0), a.lo);
    _mm256_maskstore_ps(p + 8, first_lanes(n, 1), a.hi);
}

V_INLINE v16 v_keep(v16 a, int n)
{
    return (v16){_mm256_and_ps(a.lo, _mm256_castsi256_ps(first_lanes(n, 0))),
                 _mm256_and_ps(a.hi, _mm256_castsi256_ps(first_lanes(n, 1)))};
}

V_INLINE v16 v_add(v16 a, v16 b)
{
    return (v16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

V_INLINE v16 v_sub(v16 a, v16 b)
{
    return (v16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

V_INLINE v16 v_mul(v16 a, v16 b)
{
    return (v16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

V_INLINE v16 v_div(v16 a, v16 b)
{
    return (v16){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

V_INLINE v16 v_fma(v16 a, v16 b, v16 c)
{
    return (v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

V_INLINE v16 v_max(v16 a, v16 b)
{
    return (v16){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

V_INLINE __m256 gt(__m256 a, __m256 b)
{
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}

V_INLINE v16 v_select_gt(v16 a, v16 b, v16 yes, v16 no)
{
    return (v16){_mm256_blendv_ps(no.lo, yes.lo, gt(a.lo, b.lo)),
                 _mm256_blendv_ps(no.hi, yes.hi, gt(a.hi, b.hi))};
}

V_INLINE v16 v_select_nan(v16 x, v16 other)
{
    return (v16){_mm256_blendv_ps(other.lo, x.lo, _mm256_cmp_ps(x.lo, x.lo, _CMP_UNORD_Q)),
                 _mm256_blendv_ps(other.hi, x.hi, _mm256_cmp_ps(x.hi, x.hi, _CMP_UNORD_Q))};
}

V_INLINE uint32_t v_gt_bits(v16 a, v16 b)
{
    return (uint32_t)_mm256_movemask_ps(gt(a.lo, b.lo)) |
           (uint32_t)_mm256_movemask_ps(gt(a.hi, b.hi)) << 8;
}

V_INLINE __m256 raise(__m256 a, __m256 t)
{
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(a), _mm256_slli_epi32(_mm256_castps_si256(t), 23)));
}

V_INLINE v16 v_raise(v16 a, v16 n, v16 t, v16 x, v16 least)
{
    const v16 y = {raise(a.lo, t.lo), raise(a.hi, t.hi)};
    (void)n;
    return v_select_nan(x, v_select_gt(least, x, v_set1(0.0f), y));
}

V_INLINE float v_fold_add(v16 a)
{
    return fold_add(_mm256_add_ps(a.lo, a.hi));
}

V_INLINE float v_fold_max(v16 a)
{
    return fold_max(_mm256_max_ps(a.lo, a.hi));
}

V_INLINE void v_fold_add4(float *out, v16 a, v16 b, v16 c, v16 d)
{
    fold_add4(out, _mm256_add_ps(a.lo, a.hi), _mm256_add_ps(b.lo, b.hi), _mm256_add_ps(c.lo, c.hi),
              _mm256_add_ps(d.lo, d.hi));
}

V_INLINE v16 v_load_bf16(const uint16_t *p)
{
    const __m256i lo = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)),
                  hi = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p + 8)));
    return (v16){_mm256_castsi256_ps(_mm256_slli_epi32(lo, 16)),
                 _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16))};
}

V_INLINE v16 v_load_bf16_part(const uint16_t *p, int n)
{
    uint16_t t[16] = {0};
    for (int i = 0; i < n; i++)
        t[i] = p[i];
    return v_load_bf16(t);
}

#endif

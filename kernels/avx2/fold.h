/* fold.h - the last three steps of a fold over 16 lanes, for AVX2 and AVX-512: + 4, + 2, + 1. */
#ifndef DGM_KERNELS_AVX2_FOLD_H
#define DGM_KERNELS_AVX2_FOLD_H

#include <immintrin.h>

#ifndef V_INLINE
#define V_INLINE static inline __attribute__((always_inline, unused))
#endif

V_INLINE float fold_add(__m256 v8)
{
    const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

V_INLINE float fold_max(__m256 v8)
{
    const __m128 v4 = _mm_max_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    const __m128 v2 = _mm_max_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_max_ss(v2, _mm_movehdup_ps(v2)));
}

/* fold_add4 - four of them; each lane meets the same partner as in fold_add. */
V_INLINE void fold_add4(float *out, __m256 a, __m256 b, __m256 c, __m256 d)
{
    const __m256 ab =
        _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    const __m256 cd =
        _mm256_add_ps(_mm256_permute2f128_ps(c, d, 0x20), _mm256_permute2f128_ps(c, d, 0x31));
    /* left to right: a0 a1 c0 c1 b0 b1 d0 d1, each already the sum with lanes 2, 3 */
    const __m256 v2 =
        _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    const __m128 ac = _mm256_castps256_ps128(v2), bd = _mm256_extractf128_ps(v2, 1);
    const __m128 acbd = _mm_add_ps(_mm_shuffle_ps(ac, bd, 0x88), _mm_shuffle_ps(ac, bd, 0xdd));
    _mm_storeu_ps(out, _mm_shuffle_ps(acbd, acbd, 0xd8));
}

#endif

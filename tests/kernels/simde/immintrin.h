/*
 * Found before the compiler's own immintrin.h when kernels/avx512 is built for CPUs without AVX-512: SIMDe spells
 * each 512-bit operation as two of AVX2 or FMA, so the sources as they stand are tested everywhere.
 *
 * What SIMDe 0.7.4 lacks is spelled here: masked loads and stores, the upper half, and some of the integers.
 */
#ifndef DGM_TESTS_SIMDE_IMMINTRIN_H
#define DGM_TESTS_SIMDE_IMMINTRIN_H

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#if !defined(SIMDE_X86_FMA_NATIVE) || !SIMDE_NATURAL_VECTOR_SIZE_LE(256)
#error "SIMDe would round the product of an fma: build this with -mavx2 -mfma and without AVX-512"
#endif

static inline __m512 shim_mask_loadu(__m512 other, __mmask16 mask, const void *p)
{
    float lane[16];
    simde_mm512_storeu_ps(lane, other);
    for (int l = 0; l < 16; l++)
        if ((mask >> l & 1) != 0)
            lane[l] = ((const float *)p)[l];
    return simde_mm512_loadu_ps(lane);
}

static inline void shim_mask_storeu(void *p, __mmask16 mask, __m512 a)
{
    float lane[16];
    simde_mm512_storeu_ps(lane, a);
    for (int l = 0; l < 16; l++)
        if ((mask >> l & 1) != 0)
            ((float *)p)[l] = lane[l];
}

static inline __m256 shim_half(__m512 a, int half)
{
    float lane[16];
    simde_mm512_storeu_ps(lane, a);
    return _mm256_loadu_ps(lane + 8 * half);
}

static inline __m512i shim_widen_u16(__m256i a)
{
    const __m256i half[2] = {_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)),
                             _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1))};
    return simde_mm512_loadu_si512(half);
}

static inline __m256i shim_loadu_u16(__mmask16 mask, const void *p)
{
    uint16_t lane[16] = {0};
    for (int l = 0; l < 16; l++)
        if ((mask >> l & 1) != 0)
            lane[l] = ((const uint16_t *)p)[l];
    return _mm256_loadu_si256((const __m256i *)lane);
}

#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(a, b, imm8) simde_mm512_shuffle_f32x4(a, b, imm8)
#define _mm512_cvtepu16_epi32(a) shim_widen_u16(a)
#define _mm256_maskz_loadu_epi16(mask, p) shim_loadu_u16(mask, p)
static inline __m512i shim_srai(__m512i a, unsigned by)
{
    int32_t lane[16];
    simde_mm512_storeu_si512(lane, a);
    for (int l = 0; l < 16; l++)
        lane[l] >>= by;
    return simde_mm512_loadu_si512(lane);
}

static inline __m512 shim_to_float(__m512i a)
{
    int32_t lane[16];
    float f[16];
    simde_mm512_storeu_si512(lane, a);
    for (int l = 0; l < 16; l++)
        f[l] = (float)lane[l];
    return simde_mm512_loadu_ps(f);
}

static inline __m128i shim_to_bytes(__m512i a)
{
    int32_t lane[16];
    int8_t byte[16];
    simde_mm512_storeu_si512(lane, a);
    for (int l = 0; l < 16; l++)
        byte[l] = (int8_t)lane[l];
    return _mm_loadu_si128((const __m128i *)(const void *)byte);
}

static inline __m256i shim_to_words(__m512i a)
{
    int32_t lane[16];
    int16_t word[16];
    simde_mm512_storeu_si512(lane, a);
    for (int l = 0; l < 16; l++)
        word[l] = (int16_t)lane[l];
    return _mm256_loadu_si256((const __m256i *)(const void *)word);
}

static inline __m512i shim_widen_u8(__m128i a)
{
    const __m256i half[2] = {_mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(_mm_srli_si128(a, 8))};
    return simde_mm512_loadu_si512(half);
}

static inline __m512i shim_expand(__mmask16 mask, __m512i a)
{
    int32_t lane[16], out[16] = {0};
    simde_mm512_storeu_si512(lane, a);
    for (int l = 0, at = 0; l < 16; l++)
        if ((mask >> l & 1) != 0)
            out[l] = lane[at++];
    return simde_mm512_loadu_si512(out);
}

static inline __m512i shim_expand_epi8(__mmask64 mask, __m512i a)
{
    uint8_t lane[64], out[64] = {0};
    simde_mm512_storeu_si512(lane, a);
    for (int l = 0, at = 0; l < 64; l++)
        if ((mask >> l & 1) != 0)
            out[l] = lane[at++];
    return simde_mm512_loadu_si512(out);
}

static inline __m512i shim_expand_epi16(__mmask32 mask, __m512i a)
{
    uint16_t lane[32], out[32] = {0};
    simde_mm512_storeu_si512(lane, a);
    for (int l = 0, at = 0; l < 32; l++)
        if ((mask >> l & 1) != 0)
            out[l] = lane[at++];
    return simde_mm512_loadu_si512(out);
}

static inline __m512 shim_permutevar(__m512 a, __m512i from)
{
    float lane[16], out[16];
    int32_t at[16];
    simde_mm512_storeu_ps(lane, a);
    simde_mm512_storeu_si512(at, from);
    for (int l = 0; l < 16; l++)
        out[l] = lane[l / 4 * 4 + (at[l] & 3)];
    return simde_mm512_loadu_ps(out);
}

/* SIMDe's own multiplies by 2^n, which may not be a number where the product is. */
static inline __m512 shim_scalef(__mmask16 mask, __m512 a, __m512 n)
{
    float lane[16], by[16];
    simde_mm512_storeu_ps(lane, a);
    simde_mm512_storeu_ps(by, n);
    for (int l = 0; l < 16; l++)
        if ((mask >> l & 1) == 0)
            lane[l] = 0.0f;
        else if (lane[l] == lane[l])
            lane[l] = ldexpf(lane[l], (int)by[l]);
    return simde_mm512_loadu_ps(lane);
}

#undef _mm512_madd_epi16 /* an alias of the masked form there */
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#undef _mm512_maskz_scalef_ps
#define _mm512_maskz_scalef_ps(mask, a, n) shim_scalef(mask, a, n)
#define _mm512_srai_epi32(a, by) shim_srai(a, by)
#define _mm512_cvtepi32_ps(a) shim_to_float(a)
#define _mm512_cvtepi32_epi8(a) shim_to_bytes(a)
#define _mm512_cvtepi32_epi16(a) shim_to_words(a)
#define _mm512_cvtepu8_epi32(a) shim_widen_u8(a)
#define _mm512_maskz_expand_epi32(mask, a) shim_expand(mask, a)
#define _mm512_maskz_expand_epi8(mask, a) shim_expand_epi8(mask, a)
#define _mm512_maskz_expand_epi16(mask, a) shim_expand_epi16(mask, a)
#define _mm512_permutevar_ps(a, from) shim_permutevar(a, from)
#define _mm512_mask_loadu_ps(other, mask, p) shim_mask_loadu(other, mask, p)
#define _mm512_mask_storeu_ps(p, mask, a) shim_mask_storeu(p, mask, a)
#define _mm512_extractf32x8_ps(a, half) shim_half(a, half)

#endif

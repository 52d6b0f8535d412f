/* sampling.c - temperature, top-k, top-p, and a counter-based generator. */
#include "runtime/sampling.h"

#include "kernels/math.h"

#include <math.h>
#include <string.h>

void dgm_sampling_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    /* multipliers and Weyl increments of the paper's table 2 and section 4.3 */
    const uint32_t m0 = 0xD2511F53, m1 = 0xCD9E8D57, w0 = 0x9E3779B9, w1 = 0xBB67AE85;
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)m0 * c0, p1 = (uint64_t)m1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += w0;
        k1 += w1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

uint64_t dgm_sampling_bits(uint64_t seed, uint64_t line, int step)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)line, (uint32_t)(line >> 32), (uint32_t)step, 0};
    uint32_t out[4];
    dgm_sampling_philox(out, counter, key);
    return (uint64_t)out[1] << 32 | out[0];
}

/* e in [0, 1]; the product is exact, so this only drops bits below 2^-40. */
static uint64_t weight(float e)
{
    return (uint64_t)(e * 0x1p40f);
}

/* Floats that are not negative order as their bits do. */
static uint32_t key_of(float e)
{
    uint32_t u;
    memcpy(&u, &e, sizeof u);
    return u;
}

/*
 * The greatest key such that items with this key or a greater one come to `goal` (counted or
 * weighed); `above` is what those with a greater one come to. Key 0 when all do not. Radix
 * selection: a digit of 8 bits a pass.
 */
static uint32_t cut_at(uint64_t *above, const float *e, int n, bool weigh, uint64_t goal)
{
    uint32_t key = 0;
    *above = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        uint64_t bin[256] = {0};
        for (int i = 0; i < n; i++) {
            const uint32_t k = key_of(e[i]);
            if ((uint64_t)k >> (shift + 8) == (uint64_t)key >> (shift + 8))
                bin[k >> shift & 255] += weigh ? weight(e[i]) : 1;
        }
        uint32_t digit = 255;
        while (digit > 0 && *above + bin[digit] < goal)
            *above += bin[digit--];
        key |= digit << shift;
    }
    return key;
}

static uint64_t mass_of(const float *e, int n)
{
    uint64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += weight(e[i]);
    return sum;
}

static void keep_top_k(float *e, int n, int k)
{
    uint64_t above;
    const uint32_t cut = cut_at(&above, e, n, false, (uint64_t)k);
    for (int i = 0; i < n; i++)
        if (key_of(e[i]) < cut)
            e[i] = 0;
}

static void keep_top_p(float *e, int n, float top_p)
{
    uint64_t goal = (uint64_t)((double)top_p * (double)mass_of(e, n)), before;
    goal = goal == 0 ? 1 : goal; /* the best one always stays */
    const uint32_t cut = cut_at(&before, e, n, true, goal);
    for (int i = 0; i < n; i++) {
        const uint32_t k = key_of(e[i]);
        if (k > cut)
            continue;
        if (k == cut && before < goal)
            before += weight(e[i]);
        else
            e[i] = 0;
    }
}

int32_t dgm_sampling_draw(float *z, int n, const dgm_decode_options *opt, uint64_t bits)
{
    float max = -INFINITY;
    for (int i = 0; i < n; i++)
        max = z[i] > max ? z[i] : max;
    if (max == -INFINITY)
        return -1;
    for (int i = 0; i < n; i++)
        z[i] = z[i] < max ? dgm_exp((z[i] - max) / opt->temperature) : 1.0f;
    if (opt->sampling_topk > 0 && opt->sampling_topk < n)
        keep_top_k(z, n, opt->sampling_topk);
    if (opt->sampling_topp < 1.0f)
        keep_top_p(z, n, opt->sampling_topp);
    /* the high half of bits * mass is in [0, mass) */
    uint64_t left = (uint64_t)((unsigned __int128)bits * mass_of(z, n) >> 64);
    for (int i = 0;; i++) {
        const uint64_t w = weight(z[i]);
        if (left < w)
            return i;
        left -= w;
    }
}

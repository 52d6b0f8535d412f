#include "kernels/pack.h"

#include <string.h>

enum { SLAB = 64 }; /* inputs widened at a time: 16 rows of them stay in L1 */

/* Exact: a half's 11 bits of mantissa and 5 of exponent all fit. */
static float widen_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    uint32_t bits;
    float f;
    if (rest >= 0x7c00) { /* infinity, NaN */
        bits = rest << 13 | 0x7f800000;
    } else if (rest >= 0x0400) {
        bits = (rest << 13) + 0x38000000; /* exponent bias 15 -> 127 */
    } else {                              /* zero, subnormal: rest * 2^-24 */
        f = (float)rest * 0x1p-24f;
        memcpy(&bits, &f, sizeof bits);
    }
    bits |= sign;
    memcpy(&f, &bits, sizeof f);
    return f;
}

void dgm_widen(float *dst, const void *src, dgm_dtype t, size_t n)
{
    const unsigned char *p = src;
    if (t == DGM_F32) {
        memcpy(dst, p, n * sizeof *dst);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, sizeof h);
        if (t == DGM_BF16) {
            const uint32_t bits = (uint32_t)h << 16;
            memcpy(&dst[i], &bits, sizeof bits);
        } else {
            dst[i] = widen_f16(h);
        }
    }
}

void dgm_pack(float *dst, const void *src, dgm_dtype t, int row0, int rows, int k)
{
    const unsigned char *from = src;
    const size_t bytes = dgm_dtype_bytes(t), panel_floats = (size_t)DGM_PANEL * (size_t)k;
    float slab[DGM_PANEL][SLAB];
    for (int r = 0; r < rows;) {
        /* the rows that fall into one panel */
        const int panel = (row0 + r) / DGM_PANEL, lane = (row0 + r) % DGM_PANEL;
        const int n = DGM_PANEL - lane < rows - r ? DGM_PANEL - lane : rows - r;
        for (int i = 0; i < k; i += SLAB) {
            const int part = k - i < SLAB ? k - i : SLAB;
            float *to = dst + (size_t)panel * panel_floats + (size_t)i * DGM_PANEL + lane;
            for (int l = 0; l < n; l++)
                dgm_widen(slab[l], from + ((size_t)(r + l) * (size_t)k + (size_t)i) * bytes, t,
                          (size_t)part);
            for (int j = 0; j < part; j++)
                for (int l = 0; l < n; l++)
                    to[(size_t)j * DGM_PANEL + l] = slab[l][j];
        }
        r += n;
    }
}

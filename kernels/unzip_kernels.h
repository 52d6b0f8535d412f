/*
 * unzip_kernels.h - private to kernels/: stretches of sparse panels (sparse.h) as dense lines, written once; compilers
 * make vectors of the loops over lanes.
 */
#ifndef DGM_KERNELS_UNZIP_KERNELS_H
#define DGM_KERNELS_UNZIP_KERNELS_H

#include "kernels/sparse.h"
#include "kernels/unroll.h"
#include "kernels/whole_line.h"

#include <string.h>

/* unzip_group - m inputs of all lanes: numbers g * n .. of a block, as m / per lines. */
V_INLINE void unzip_group(uint32_t out[][DGM_PANEL], const uint32_t (*data)[DGM_PANEL],
                          const uint32_t *index, const int g, const dgm_wtype t,
                          const dgm_pattern pattern)
{
    const int n = dgm_nm_n(pattern), m = dgm_nm_m(pattern), per = dgm_line_inputs(t);
    const int bits = 32 / per;
    const uint32_t mask = bits == 32 ? 0xffffffffu : (1u << bits) - 1;
    memset(out, 0, (size_t)(m / per) * sizeof *out);
    UNROLL(4)
    for (int s = 0; s < n; s++) {
        const int v = g * n + s;
        UNROLL(8)
        for (int line = 0; line < m / per; line++)
            for (int l = 0; l < DGM_PANEL; l++) {
                const uint32_t e = data[v / per][l] >> bits * (v % per) & mask;
                const uint32_t place = index[l] >> dgm_nm_bit(pattern, v) & (uint32_t)(m - 1);
                const uint32_t here = (int)(place / (uint32_t)per) == line ? e : 0;
                out[line][l] |= here << (uint32_t)bits * (place % (uint32_t)per);
            }
    }
}

V_INLINE void unzip_nm(unsigned char *lines, const dgm_zipped *from, int k, const dgm_wtype t,
                       const dgm_pattern pattern)
{
    const int per = dgm_line_inputs(t), inputs = dgm_nm_inputs(pattern), m = dgm_nm_m(pattern);
    const uint32_t(*data)[DGM_PANEL] = from->data, *index = from->index;
    int left = (k + per - 1) / per;
    for (int i = 0; i < k; i += inputs, data += inputs / 2 / per, index += DGM_PANEL) {
        UNROLL(8)
        for (int g = 0; g < inputs / m; g++) {
            uint32_t out[8][DGM_PANEL];
            const int n = left < m / per ? left : m / per;
            unzip_group(out, data, index, g, t, pattern);
            memcpy(lines, out, (size_t)n * DGM_LINE);
            lines += (size_t)n * DGM_LINE;
            left -= n;
        }
    }
}

V_INLINE void unzip_bitmap(unsigned char *lines, const dgm_zipped *from, int k, const dgm_wtype t)
{
    const int per = dgm_line_inputs(t);
    const unsigned char *data = from->data;
    const uint16_t *masks = from->index;
    for (int i = 0; i < k; i += per, masks += per, lines += DGM_LINE) {
        const vline line = v_whole_line(&data, masks, 4 / per);
        memcpy(lines, &line, DGM_LINE);
    }
}

#define UNZIP(type)                                                                                \
    if (from->pattern == DGM_BITMAP)                                                               \
        unzip_bitmap(lines, from, k, type);                                                        \
    else if (from->pattern == DGM_2_OF_4)                                                          \
        unzip_nm(lines, from, k, type, DGM_2_OF_4);                                                \
    else                                                                                           \
        unzip_nm(lines, from, k, type, DGM_4_OF_8);

static void unzip(void *lines, const dgm_zipped *from, int k)
{
    if (from->type == DGM_W_F32) {
        UNZIP(DGM_W_F32)
    } else if (from->type == DGM_W_BF16) {
        UNZIP(DGM_W_BF16)
    } else {
        UNZIP(DGM_W_INT8)
    }
}

V_INLINE void unzip_kernels_init(dgm_kernels *k)
{
    k->unzip = unzip;
}

#endif

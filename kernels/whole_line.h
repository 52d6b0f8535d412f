/*
 * whole_line.h - private to kernels/: a bitmap's line (sparse.h) with its zeros. The including <isa>/kernels.c defines V_WHOLE_LINE
 * when its lines.h has a v_whole_line without memory between.
 */
#ifndef DGM_KERNELS_WHOLE_LINE_H
#define DGM_KERNELS_WHOLE_LINE_H

#include "kernels/kernels.h"
#include "kernels/unroll.h"

#include <string.h>

#ifndef V_WHOLE_LINE
/* v_whole_line - the line whose masks are at mask; *src goes on past its elements, of `size` bytes. */
V_INLINE vline v_whole_line(const unsigned char **src, const uint16_t *mask, const int size)
{
    unsigned char line[DGM_LINE];
    UNROLL(4)
    for (int i = 0; i < 4 / size; i++) {
        v_unzip(line + i * size * DGM_PANEL, *src, mask[i], size);
        *src += __builtin_popcount(mask[i]) * size;
    }
    return v_line(line);
}

V_INLINE v16 v_line_f32(vline line)
{
    float out[DGM_PANEL];
    memcpy(out, &line, sizeof out);
    return v_load(out);
}
#endif

#endif

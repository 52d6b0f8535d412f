/* AVX-512, f32: 32 registers, so a tile of 12 x 32 has 24 sums, 2 of weights, and x as a broadcast operand. */
#include "kernels/avx512/lines.h"
#include "kernels/avx512/parts.h"

#define TILE_ROWS 12
#define TILE_PANELS 2
#define THIN_ROWS 8
#define THIN_PANELS(rows)                                                                          \
    ((rows) == 1 ? 8 : (rows) <= 2 ? 4 : (rows) <= 4 ? 5 : (rows) <= 6 ? 4 : 3)

#define WIDE_PANELS(rows, type) ((rows) == 1 && (type) != DGM_W_INT4 ? 6 : (rows) <= 6 ? 4 : 3)
#define PICKED_PANELS(rows) ((rows) == 1 ? 6 : (rows) <= 4 ? 4 : 2)
#define BITMAP_PANELS(rows) ((rows) <= 4 ? 4 : 2)
#define V_WHOLE_LINE

#include "kernels/bitmap_kernels.h"
#include "kernels/picked_kernels.h"
#include "kernels/tile_kernels.h"
#include "kernels/unzip_kernels.h"
#include "kernels/wide_kernels.h"

void dgm_avx512_floats_init(dgm_kernels *k)
{
    tile_kernels_init(k);
    wide_kernels_init(k);
    picked_kernels_init(k);
    bitmap_kernels_init(k);
    unzip_kernels_init(k);
}

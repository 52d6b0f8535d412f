/* AVX-512: 32 registers, so a tile of 12 x 32 has 24 sums, 2 of weights, and x as a broadcast operand. */
#include "kernels/avx512/dot.h"

#include "kernels/attend_kernels.h"
#include "kernels/int_rows.h"
#include "kernels/isa.h"

#define TILE_ROWS 12
#define TILE_PANELS 2
#define THIN_ROWS 8
#define THIN_PANELS(rows)                                                                          \
    ((rows) == 1 ? 8 : (rows) <= 2 ? 4 : (rows) <= 4 ? 5 : (rows) <= 6 ? 4 : 3)

#define WIDE_PANELS(rows, type) ((rows) == 1 && (type) != DGM_W_INT4 ? 6 : (rows) <= 6 ? 4 : 3)
#define DOT_TILE_ROWS 12
#define DOT_TILE_PANELS 2
#define DOT_GROUP_ROWS 6
#define DOT_THIN_ROWS 8
#define DOT_THIN_PANELS(rows, type, grouped) ((rows) == 1 ? 6 : (rows) <= 6 ? 4 : 3)
#define PICKED_PANELS(rows) ((rows) == 1 ? 6 : (rows) <= 4 ? 4 : 2)
#define PICKED_DOT_PANELS(rows) ((rows) == 1 ? 6 : (rows) <= 4 ? 4 : 2)

#include "kernels/dot_kernels.h"
#include "kernels/tile_kernels.h"
#include "kernels/wide_kernels.h"

#include "kernels/picked_kernels.h"
#include "kernels/unzip_kernels.h"

void dgm_avx512_init(dgm_kernels *k)
{
    k->isa = "avx512";
    row_kernels_init(k);
    attend_kernels_init(k);
    int_rows_init(k);
    tile_kernels_init(k);
    wide_kernels_init(k);
    dot_kernels_init(k);
    picked_kernels_init(k);
    picked_dots_init(k);
    unzip_kernels_init(k);
}

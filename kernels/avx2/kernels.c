/* AVX2 + FMA: 16 registers, so a tile of 6 x 16 has 12 sums, 2 of weights and 2 to broadcast into. */
#include "kernels/avx2/dot.h"

#include "kernels/attend_kernels.h"
#include "kernels/int_rows.h"
#include "kernels/isa.h"

#define TILE_ROWS 6
#define TILE_PANELS 1
#define THIN_ROWS 6
#define THIN_PANELS(rows) ((rows) == 1 ? 4 : (rows) <= 3 ? 2 : 1)

#define WIDE_PANELS(rows, type) THIN_PANELS(rows)
#define WIDE_SIDE 0
#define DOT_TILE_ROWS 4
#define DOT_TILE_PANELS 1
#define DOT_GROUP_ROWS 4
#define DOT_THIN_ROWS 4
#define DOT_THIN_PANELS(rows, type, grouped) 1
#define DOT_THIN_CHAINS(rows) 1
#define PICKED_ROWS 8
#define PICKED_PARTS(rows) ((rows) == 1 ? 4 : (rows) <= 4 ? 2 : 1)
#define PICKED_SIDE(rows) ((rows) == 1 ? 4 : (rows) == 2 ? 2 : 1)
#define PICKED_AGAIN(rows) ((rows) > 2)
#define PICKED_NUMBERS(rows) ((rows) <= 2 ? 1 : 2)
#define PICKED_WINDOW(rows, m) (m)
#define BITMAP_PANELS(rows) 1

#include "kernels/dot_kernels.h"
#include "kernels/tile_kernels.h"
#include "kernels/wide_kernels.h"

#include "kernels/bitmap_dots.h"
#include "kernels/bitmap_kernels.h"
#include "kernels/picked_dots.h"
#include "kernels/picked_kernels.h"
#include "kernels/unzip_kernels.h"

void dgm_avx2_init(dgm_kernels *k)
{
    k->isa = "avx2";
    row_kernels_init(k);
    attend_kernels_init(k);
    int_rows_init(k);
    tile_kernels_init(k);
    wide_kernels_init(k);
    dot_kernels_init(k);
    picked_kernels_init(k);
    bitmap_kernels_init(k);
    picked_dots_init(k);
    bitmap_dots_init(k);
    unzip_kernels_init(k);
}

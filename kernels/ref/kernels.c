/*
 * The reference: plain C, always built, the oracle of the other folders.
 *
 * The build compiles this file twice, under two names of the init function: once for any CPU, where fmaf is
 * a call of libm (exact, slow), and once for CPUs with FMA, where the same C becomes one instruction.
 */
#include "kernels/ref/dot.h"

#include "kernels/attend_kernels.h"
#include "kernels/int_rows.h"
#include "kernels/isa.h"

#define TILE_ROWS 4
#define TILE_PANELS 1
#define THIN_ROWS 2
#define THIN_PANELS(rows) 1

#define WIDE_PANELS(rows, type) 1
#define WIDE_SIDE 0
#define DOT_TILE_ROWS 4
#define DOT_TILE_PANELS 1
#define DOT_GROUP_ROWS 4
#define DOT_THIN_ROWS 2
#define DOT_THIN_PANELS(rows, type, grouped) 1
#define DOT_THIN_CHAINS(rows) 1
#define PICKED_ROWS THIN_ROWS
#define PICKED_PARTS(rows) 1
#define PICKED_SIDE(rows) 1
#define PICKED_AGAIN(rows) 0
#define PICKED_NUMBERS(rows) 1
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

void DGM_REF_INIT(dgm_kernels *k)
{
    k->isa = "ref";
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

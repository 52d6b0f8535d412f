/* AVX-512 without VNNI: integer dot products, in the shapes of the f32 tiles. */
#include "kernels/avx512/dot.h"
#include "kernels/avx512/parts.h"

#define DOT_TILE_ROWS 12
#define DOT_TILE_PANELS 2
#define DOT_GROUP_ROWS 6
#define DOT_THIN_ROWS 8
#define DOT_THIN_PANELS(rows, type, grouped) 1
#define V_WHOLE_LINE
#define DOT_THIN_CHAINS(rows) 1

#include "kernels/bitmap_dots.h"
#include "kernels/dot_kernels.h"
#include "kernels/picked_dots.h"

void dgm_avx512_dots_init(dgm_kernels *k)
{
    dot_kernels_init(k);
    picked_dots_init(k);
    bitmap_dots_init(k);
}

/* AVX2 + FMA: 16 registers, so a tile of 6 x 16 has 12 sums, 2 of weights and 2 to broadcast into. */
#include "kernels/avx2/vec.h"

#include "kernels/isa.h"
#include "kernels/row_kernels.h"

#define TILE_ROWS 6
#define TILE_PANELS 1
#define TILE_CASES TILE_CASE(1) TILE_CASE(2) TILE_CASE(3) TILE_CASE(4) TILE_CASE(5) TILE_CASE(6)
#define THIN_ROWS 6
#define THIN_PANELS(rows) ((rows) == 1 ? 4 : (rows) <= 3 ? 2 : 1)
#define THIN_CASES THIN_CASE(1) THIN_CASE(2) THIN_CASE(3) THIN_CASE(4) THIN_CASE(5) THIN_CASE(6)

#include "kernels/tile_kernels.h"

void dgm_avx2_init(dgm_kernels *k)
{
    k->isa = "avx2";
    row_kernels_init(k);
    tile_kernels_init(k);
}

/* AVX2 + FMA: 16 registers, so a tile of 6 x 16 has 12 sums, 2 of weights and 2 to broadcast into. */
#include "kernels/avx2/vec.h"

#include "kernels/isa.h"
#include "kernels/row_kernels.h"

#define TILE_ROWS 6
#define TILE_PANELS 1
#define THIN_ROWS 6
#define THIN_PANELS(rows) ((rows) == 1 ? 4 : (rows) <= 3 ? 2 : 1)

#include "kernels/tile_kernels.h"

void dgm_avx2_init(dgm_kernels *k)
{
    k->isa = "avx2";
    row_kernels_init(k);
    tile_kernels_init(k);
}

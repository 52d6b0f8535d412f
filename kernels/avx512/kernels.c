/* AVX-512: 32 registers, so a tile of 12 x 32 has 24 sums, 2 of weights, and x as a broadcast operand. */
#include "kernels/avx512/vec.h"

#include "kernels/isa.h"
#include "kernels/row_kernels.h"

#define TILE_ROWS 12
#define TILE_PANELS 2
#define THIN_ROWS 8
#define THIN_PANELS(rows) ((rows) == 1 ? 8 : (rows) <= 6 ? 4 : 3)

#include "kernels/tile_kernels.h"

void dgm_avx512_init(dgm_kernels *k)
{
    k->isa = "avx512";
    row_kernels_init(k);
    tile_kernels_init(k);
}

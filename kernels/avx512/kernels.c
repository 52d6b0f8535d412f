/* AVX-512: 32 registers, so a tile of 12 x 32 has 24 sums, 2 of weights, and x as a broadcast operand. */
#include "kernels/avx512/vec.h"

#include "kernels/isa.h"
#include "kernels/row_kernels.h"

#define TILE_ROWS 12
#define TILE_PANELS 2
#define TILE_CASES                                                                                 \
    TILE_CASE(1)                                                                                   \
    TILE_CASE(2)                                                                                   \
    TILE_CASE(3)                                                                                   \
    TILE_CASE(4) TILE_CASE(5) TILE_CASE(6) TILE_CASE(7) TILE_CASE(8) TILE_CASE(9) TILE_CASE(10)    \
        TILE_CASE(11) TILE_CASE(12)
#define THIN_ROWS 8
#define THIN_PANELS(rows) ((rows) == 1 ? 8 : (rows) <= 6 ? 4 : 3)
#define THIN_CASES                                                                                 \
    THIN_CASE(1)                                                                                   \
    THIN_CASE(2) THIN_CASE(3) THIN_CASE(4) THIN_CASE(5) THIN_CASE(6) THIN_CASE(7) THIN_CASE(8)

#include "kernels/tile_kernels.h"

void dgm_avx512_init(dgm_kernels *k)
{
    k->isa = "avx512";
    row_kernels_init(k);
    tile_kernels_init(k);
}

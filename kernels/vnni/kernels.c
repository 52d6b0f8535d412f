/* AVX-512 with VNNI: all of avx512's table, but integer dot products in one instruction. */
#include "kernels/vnni/dot.h"

#include "kernels/isa.h"

#define DOT_TILE_ROWS 12
#define DOT_TILE_PANELS 2
#define DOT_GROUP_ROWS 6
#define DOT_THIN_ROWS 8
/* A product waits 4 turns for the one before it in its chain. Of groups, 8 rows have both sums of one panel in registers. */
#define DOT_THIN_PANELS(rows, type, grouped) ((rows) <= 4 || (grouped) ? 1 : 2)
#define DOT_THIN_CHAINS(rows) ((rows) == 1 ? 4 : (rows) <= 4 ? 2 : 1)

#include "kernels/dot_kernels.h"

void dgm_vnni_init(dgm_kernels *k)
{
    dgm_avx512_init(k);
    k->isa = "vnni";
    dot_kernels_init(k);
}

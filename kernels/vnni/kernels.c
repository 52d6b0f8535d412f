/* AVX-512 with VNNI: all of avx512's table, but integer dot products in one instruction. */
#include "kernels/vnni/dot.h"

#include "kernels/isa.h"

#define DOT_TILE_ROWS 12
#define DOT_TILE_PANELS 2
#define DOT_GROUP_ROWS 6
#define DOT_THIN_ROWS 8
/* Measured: two panels are streams enough where int8 waits for memory; of int4 with scales eight rows have both sums of
 * one panel in registers. */
#define DOT_THIN_PANELS(rows, type, grouped)                                                       \
    ((type) == DGM_W_INT8 ? ((rows) == 1   ? 6                                                     \
                             : (rows) == 2 ? 4                                                     \
                                           : 2)                                                    \
                          : ((rows) == 1   ? 8                                                     \
                             : (rows) == 2 ? 6                                                     \
                             : (rows) <= 4 ? 2                                                     \
                             : (grouped)   ? 1                                                     \
                                           : 3))
#define PICKED_DOT_PANELS(rows) ((rows) == 1 ? 6 : (rows) <= 4 ? 4 : 2)

#include "kernels/dot_kernels.h"
#include "kernels/picked_dots.h"

void dgm_vnni_init(dgm_kernels *k)
{
    dgm_avx512_init(k);
    k->isa = "vnni";
    dot_kernels_init(k);
    picked_dots_init(k);
}

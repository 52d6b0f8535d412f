/* AVX-512 with VNNI: all of avx512's table, but integer dot products in one instruction. */
#include "kernels/vnni/dot.h"
#include "kernels/vnni/shapes.h"

#include "kernels/isa.h"

#include "kernels/bitmap_dots.h"
#include "kernels/dot_kernels.h"
#include "kernels/picked_dots.h"

void dgm_vnni_init(dgm_kernels *k)
{
    dgm_avx512_init(k);
    k->isa = "vnni";
    dot_kernels_init(k);
    picked_dots_init(k);
    bitmap_dots_init(k);
}

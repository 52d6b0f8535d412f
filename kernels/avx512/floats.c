/* AVX-512: products of floats with dense weights. */
#include "kernels/avx512/lines.h"
#include "kernels/avx512/parts.h"
#include "kernels/avx512/shapes.h"

#include "kernels/tile_kernels.h"
#include "kernels/wide_kernels.h"

void dgm_avx512_floats_init(dgm_kernels *k)
{
    tile_kernels_init(k);
    wide_kernels_init(k);
}

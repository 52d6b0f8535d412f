/* AVX-512: products of floats with bitmaps; weights without zeros spread out. */
#include "kernels/avx512/lines.h"
#include "kernels/avx512/parts.h"
#include "kernels/avx512/shapes.h"

#include "kernels/bitmap_kernels.h"
#include "kernels/unzip_kernels.h"

void dgm_avx512_bitmaps_init(dgm_kernels *k)
{
    bitmap_kernels_init(k);
    unzip_kernels_init(k);
}

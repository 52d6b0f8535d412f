/* AVX-512: products of floats with weights of which n of m are kept. */
#include "kernels/avx512/lines.h"
#include "kernels/avx512/parts.h"
#include "kernels/avx512/shapes.h"

#include "kernels/picked_kernels.h"

void dgm_avx512_picked_init(dgm_kernels *k)
{
    picked_kernels_init(k);
}

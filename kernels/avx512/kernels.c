/* AVX-512: the table; its functions on rows. Products are in files of their own, to compile side by side. */
#include "kernels/avx512/sums.h"

#include "kernels/attend_kernels.h"
#include "kernels/avx512/parts.h"
#include "kernels/int_rows.h"
#include "kernels/isa.h"

void dgm_avx512_init(dgm_kernels *k)
{
    k->isa = "avx512";
    row_kernels_init(k);
    attend_kernels_init(k);
    int_rows_init(k);
    dgm_avx512_floats_init(k);
    dgm_avx512_picked_init(k);
    dgm_avx512_bitmaps_init(k);
    dgm_avx512_dots_init(k);
}

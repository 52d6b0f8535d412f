/* Bitmaps on a CPU that has VBMI2 beside VNNI: a line of any type is made whole by one instruction. */
#define V_EXPANDS_BYTES
#include "kernels/avx512/shapes.h"
#include "kernels/vnni/dot.h"
#include "kernels/vnni/shapes.h"

#include "kernels/isa.h"

#include "kernels/bitmap_dots.h"
#include "kernels/bitmap_kernels.h"
#include "kernels/unzip_kernels.h"

void dgm_vbmi2_init(dgm_kernels *k)
{
    bitmap_kernels_init(k);
    bitmap_dots_init(k);
    unzip_kernels_init(k);
}

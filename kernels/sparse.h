/*
 * sparse.h - packed weights (pack.h) of which only the numbers that are not zero are stored. Every instruction set reads
 * the same layout, where it lies.
 *
 * n of m (2:4, 4:8): of each m consecutive inputs an output keeps n at most, ascending; where it has fewer, +0 fills up.
 * Kept numbers are packed like a matrix of fewer inputs, and a word of 32 bits for each output says where they stood:
 *   data   [blocks of 32 (2:4) or 16 (4:8) inputs][16 or 8 numbers of each output, as lines of pack.h]
 *   index  [blocks][16] u32: number v of the block stood at place p of its m, 2 (2:4) or 4 (4:8) bits at bit
 *          8 (v % 4) + bits * (v / 4): so a shift makes it an operand of a permutation of words or of bytes
 * with inputs past k zero. A lane's kernel picks its own inputs and multiplies n / m as often.
 *
 * bitmap: panels as in pack.h, each line without its zeros:
 *   index  [panels][lines][inputs of a line] u16: together a bit for each element of the line, in their order
 *   data   [count] elements, panel after panel, at least 64 bytes more than there are bits
 *   starts [panels * blocks of 256 inputs + 1] u32: the first element of each block; at last how many there are
 *
 * Integers have scales as in pack.h; int4 is always dense: a bitmap leaves 3 bits of 4 at one half, 2:4 the same.
 */
#ifndef DGM_KERNELS_SPARSE_H
#define DGM_KERNELS_SPARSE_H

#include "kernels/pack.h"

/*
 * The smallest weight that is kept, and the smallest number of a row but zero that such kernels are run with. Then all
 * products are multiples of 2^-148 and no sum is rounded to zero: none is ever -0, and adding a zero times a number
 * changes nothing (docs/numerics.md).
 */
#define DGM_SPARSE_LEAST 0x1p-40f
#define DGM_SPARSE_LEAST_X 0x1p-62f

enum { DGM_BITMAP_BLOCK = 256 }; /* inputs */

static inline bool dgm_sparse_keeps(float w)
{
    return w >= DGM_SPARSE_LEAST || w <= -DGM_SPARSE_LEAST;
}

#endif

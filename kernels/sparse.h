/*
 * sparse.h - packed weights (pack.h) of which only the numbers that are not zero are stored. Every instruction set reads
 * the same layout, where it lies.
 *
 * n of m (2:4, 4:8): of each m consecutive inputs an output keeps n at most, ascending; where it has fewer, +0 fills up.
 * A panel is a row of blocks of 32 (2:4) or 16 (4:8) inputs, inputs past k zero:
 *   data   [blocks][16 or 8 kept numbers of each output, as lines of pack.h]
 *   index  [blocks][16] u32: number v of an output stood at place p of its m inputs; p is 2 (2:4) or 4 (4:8) bits at bit
 *          8 (v % 4) + bits * (v / 4), so that one shift makes it an operand of a permutation of words or of bytes
 * A lane of a kernel picks its own inputs, and multiplies n / m as often.
 *
 * bitmap: panels as in pack.h, each line without its zeros:
 *   index  [panels][lines][inputs of a line] u16: together a bit for each element of the line, in their order
 *   data   elements, panel after panel, and at least 64 bytes more
 *   starts [panels * blocks of 256 inputs + 1] u32: the first element of each block; at last how many there are
 *
 * Integers have scales as in pack.h. int4 is always dense: 3 bits of 4 would be left at one half, and no kernel gain.
 */
#ifndef DGM_KERNELS_SPARSE_H
#define DGM_KERNELS_SPARSE_H

#include "kernels/pack.h"

#include <stdbool.h>

/*
 * The smallest weight that is kept, and the smallest number of a row but zero that picked_rows takes. So all products
 * are multiples of 2^-148 and no sum is rounded to zero: none is ever -0, and a zero weight's product changes nothing
 * (docs/numerics.md). Its numbers are below MOST_X, so that sums with integers may be 2^24 times too large meanwhile.
 */
#define DGM_SPARSE_LEAST 0x1p-40f
#define DGM_SPARSE_LEAST_X 0x1p-62f
#define DGM_SPARSE_MOST_X 0x1p64f

enum {
    DGM_BITMAP_BLOCK = 256, /* inputs from a start to the next */
    DGM_BITMAP_SLACK = 64   /* bytes: what is read at once may go on past the last element */
};

/* dgm_sparse_keeps - w is not dropped. */
static inline bool dgm_sparse_keeps(float w)
{
    return w >= DGM_SPARSE_LEAST || w <= -DGM_SPARSE_LEAST;
}

/* Of n of m: n; m; bits of a place; inputs of a block, of which half are kept. */
static inline int dgm_nm_n(dgm_pattern p)
{
    return p == DGM_2_OF_4 ? 2 : 4;
}

static inline int dgm_nm_m(dgm_pattern p)
{
    return 2 * dgm_nm_n(p);
}

static inline int dgm_nm_bits(dgm_pattern p)
{
    return dgm_nm_n(p);
}

static inline int dgm_nm_inputs(dgm_pattern p)
{
    return p == DGM_2_OF_4 ? 32 : 16;
}

/* dgm_nm_bit - where the place of number v begins in its word. */
static inline int dgm_nm_bit(dgm_pattern p, int v)
{
    return 8 * (v % 4) + dgm_nm_bits(p) * (v / 4);
}

static inline bool dgm_is_nm(dgm_pattern p)
{
    return p == DGM_2_OF_4 || p == DGM_4_OF_8;
}

/* dgm_sparse_blocks - of k inputs of a panel. */
static inline int dgm_sparse_blocks(dgm_pattern p, int k)
{
    const int inputs = p == DGM_BITMAP ? DGM_BITMAP_BLOCK : dgm_nm_inputs(p);
    return (k + inputs - 1) / inputs;
}

/* dgm_nm_bytes - of a panel's data. */
static inline size_t dgm_nm_bytes(dgm_pattern p, dgm_wtype t, int k)
{
    return dgm_panel_bytes(t, dgm_sparse_blocks(p, k) * dgm_nm_inputs(p) / 2);
}

/* dgm_sparse_index_bytes - of a panel's index. */
static inline size_t dgm_sparse_index_bytes(dgm_pattern p, dgm_wtype t, int k)
{
    if (dgm_is_nm(p))
        return (size_t)dgm_sparse_blocks(p, k) * 64;
    const int per = dgm_line_inputs(t);
    return (size_t)((k + per - 1) / per * per) * sizeof(uint16_t);
}

/* dgm_element_bytes - of one weight of type t, which is not int4. */
static inline size_t dgm_element_bytes(dgm_wtype t)
{
    return t == DGM_W_F32 ? 4 : t == DGM_W_BF16 ? 2 : 1;
}

/* dgm_bitmap_room - elements of data for `values` kept ones. */
static inline uint64_t dgm_bitmap_room(dgm_wtype t, uint64_t values)
{
    const uint64_t line = DGM_LINE / dgm_element_bytes(t);
    return (values + line - 1) / line * line + DGM_BITMAP_SLACK / dgm_element_bytes(t);
}

/* dgm_bitmap_starts - how many. */
static inline uint64_t dgm_bitmap_starts(int n, int k)
{
    return dgm_packed_panels(n) * (uint64_t)dgm_sparse_blocks(DGM_BITMAP, k) + 1;
}

/* dgm_sparse_bytes - data, index and starts of w, which keeps `values` numbers (n of m: not looked at). Of any pattern,
 * dense too; scales not included. */
uint64_t dgm_sparse_bytes(const dgm_packed *w, uint64_t values);

/* dgm_sparse_count - how many of count numbers are kept: floats for f32 and bf16, int8_t for int8. */
uint64_t dgm_sparse_count(dgm_wtype t, const void *w, size_t count);

/*
 * dgm_sparse_pack - the numbers of src [to->n, to->k] that are kept, row-major, floats (f32, bf16: rounded to the
 * nearest) or int8_t, become to's data, index and starts, which is memory of the caller's. DGM_EUSAGE where a row has
 * more than n of m, or all have more than `room` less the slack; the sentence names the row and input, and `name`.
 */
DGM_MUST_CHECK int dgm_sparse_pack(const dgm_packed *to, const void *src, uint64_t room,
                                   const char *name);

/* dgm_sparse_read - dst [k] = what stands for row r, zeros in place: a number, or an integer without its scale. */
void dgm_sparse_read(float *dst, const dgm_packed *w, int r);

/* dgm_sparse_expand - the panels of pack.h; dst [dgm_packed_bytes()]. */
void dgm_sparse_expand(const dgm_kernels *kern, void *dst, const dgm_packed *w);

/* dgm_sparse_stretch - panel `panel` of w from input i on: the first of a block, or, of bitmaps, of a line. */
dgm_zipped dgm_sparse_stretch(const dgm_packed *w, int panel, int i);

/*
 * dgm_bitmap_check - whether starts and bits tell the same story, which is what keeps kernels inside of data [room elements].
 * False: block *block (of all panels') has *wanted bits, and *found elements lie between its start and the next; or,
 * block being that beyond the last, *wanted elements are needed and *found there.
 */
bool dgm_bitmap_check(uint64_t *block, uint64_t *wanted, uint64_t *found, const dgm_packed *w,
                      uint64_t room);

#endif

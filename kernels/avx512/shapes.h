/* shapes.h - of AVX-512's products of floats: 32 registers, so a tile of 12 x 32 has 24 sums, 2 of weights, and x as a
 * broadcast operand. */
#ifndef DGM_KERNELS_AVX512_SHAPES_H
#define DGM_KERNELS_AVX512_SHAPES_H

#define TILE_ROWS 12
#define TILE_PANELS 2
#define THIN_ROWS 8
#define THIN_PANELS(rows)                                                                          \
    ((rows) == 1 ? 8 : (rows) <= 2 ? 4 : (rows) <= 4 ? 5 : (rows) <= 6 ? 4 : 3)

#define WIDE_PANELS(rows, type) ((rows) == 1 && (type) != DGM_W_INT4 ? 6 : (rows) <= 6 ? 4 : 3)
#define WIDE_SIDE 1
#define PICKED_ROWS THIN_ROWS
#define PICKED_PARTS(rows) ((rows) <= 2 ? 4 : 2)
#define PICKED_SIDE(rows) PICKED_PARTS(rows)
#define PICKED_AGAIN(rows) 0
#define PICKED_NUMBERS(rows) ((rows) <= 4 ? 1 : 2)
#define PICKED_WINDOW(rows, m) ((rows) <= 4 ? (m) : 16)
#define BITMAP_PANELS(rows) ((rows) <= 4 ? 4 : 2)
#define V_WHOLE_LINE

#endif

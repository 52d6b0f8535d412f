/* shapes.h - of the integer dot products of AVX-512 with VNNI. */
#ifndef DGM_KERNELS_VNNI_SHAPES_H
#define DGM_KERNELS_VNNI_SHAPES_H

#define DOT_TILE_ROWS 12
#define DOT_TILE_PANELS 2
#define DOT_GROUP_ROWS 6
#define DOT_THIN_ROWS 8
/* A product waits 4 turns for the one before it in its chain. Of groups, 8 rows have both sums of one panel in registers. */
#define DOT_THIN_PANELS(rows, type, grouped) ((rows) <= 4 || (grouped) ? 1 : 2)
#define DOT_THIN_CHAINS(rows) ((rows) == 1 ? 4 : (rows) <= 4 ? 2 : 1)
#define V_WHOLE_LINE

#endif

/* unroll.h - private to kernels/: what the tile templates share: loops over rows, panels and steps that vanish, so that
 * sums are registers. */
#ifndef DGM_KERNELS_UNROLL_H
#define DGM_KERNELS_UNROLL_H

#ifdef __clang__
#define UNROLL(n) _Pragma("clang loop unroll(full)")
#else
#define UNROLL_TEXT(x) _Pragma(#x)
#define UNROLL(n) UNROLL_TEXT(GCC unroll n)
#endif

/* DGM_TURN inputs a turn of a tile's loop: one at a time, the loop itself costs 12 %. */
enum { DGM_TURN = 4, MOST_PANELS = 8 };

/* EACH_ROWS - a case for every number of rows that any table takes at once; those beyond this one's are empty. */
/* clang-format off */
#define EACH_ROWS(CASE) \
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) \
    CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14) CASE(15) CASE(16)
/* clang-format on */

#endif

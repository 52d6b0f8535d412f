/*
 * block.h - private to kernels/: the chains of a block of rows with a range of panels, in cache-sized steps.
 *
 * gemm.c and vocab.c differ in who computes which block and in what follows the chain; this is what they share.
 */
#ifndef DGM_KERNELS_BLOCK_H
#define DGM_KERNELS_BLOCK_H

#include "kernels/pack.h"

#include <stdbool.h>

/*
 * A block of rows: in place, row r at x + r * ldx; or tiles of packed rows. Packed, the tiles of one step of k stand
 * side by side, [step of k][tile][k of the step][tile_rows]: the next tile is the next memory, which prefetchers
 * follow, and no power of two stands between tiles to make them share the sets of a cache.
 */
typedef struct dgm_block_rows {
    const float *x;
    size_t ldx;
    int rows;
    bool packed;
    int tile, n_tiles; /* packed: the block's first tile, and how many x holds in all */
} dgm_block_rows;

/* dgm_block_in_place - whether packing would cost more than it saves: few rows, or weights that stay in L2. */
bool dgm_block_in_place(const dgm_kernels *kern, int rows, int n, int k);

/* dgm_block_packed_bytes - of `rows` rows of k, for any tile size. */
size_t dgm_block_packed_bytes(int rows, int k);

/* dgm_block_pack - rows src[0 .. n_rows) as tile `tile` of n_tiles at dst; rows that are missing become zero. */
void dgm_block_pack(float *dst, const float *const *src, int n_rows, int tile_rows, int k, int tile,
                    int n_tiles);

/* dgm_block_chain - acc [x->rows, 16 * n_panels], stride ld = the chains of x with panels panel .. of w. */
void dgm_block_chain(const dgm_kernels *kern, float *acc, size_t ld, const dgm_block_rows *x,
                     const dgm_packed *w, int panel, int n_panels);

#endif

/*
 * block.h - private to kernels/: the chains of a block of rows with a range of panels, in cache-sized steps.
 *
 * gemm.c and vocab.c differ in who computes which block and in what follows the chain; this is what they share.
 */
#ifndef DGM_KERNELS_BLOCK_H
#define DGM_KERNELS_BLOCK_H

#include "base/arena.h"
#include "kernels/pack.h"

#include <stdbool.h>

/*
 * The rows of a product as its kernels read them: in place, or copied. Rows of numbers are copied where they are more
 * than a few, to tiles; rows to be quantised always, to rows of bytes, and from there to tiles likewise (a few: to one of their own size). In tiles 4
 * bytes are an element: a number, or 4 inputs of a quantised row. The tiles of one step of k stand side by side, [step of
 * k][tile][k of the step][pitch] elements: the next tile is the next memory, which prefetchers follow, and no
 * power of two stands between tiles to make them share the sets of a cache.
 * All tiles have about as many rows: 12 and 4 would take longer than 8 and 8, for 4 have too few sums to fill the pipes
 * (16 rows: 1.14 to 1.17 times the products a second, 13 rows: 1.3 to 1.5).
 */
typedef struct dgm_block_rows {
    const dgm_packed *w;
    int rows, n_tiles;
    int tile_rows,
        pitch;     /* of each tile (the last may have fewer): rows in it, rows it has room for */
    int thin_rows; /* in place: how many a chain takes at most */
    bool copied, packed, integers; /* packed: in tiles, many rows' way; integers: quantised */
    bool tiled;                    /* packed, or quantised rows of dense weights */
    bool picked;                   /* quantised rows for picked_dots, as those want them */
    const float *x;                /* not copied: row r at x + r * ldx */
    size_t ldx;
    unsigned char *tiles; /* tiled */
    int8_t *q;            /* integers: [rows, ldq], zero from k on */
    size_t ldq;
    float *scale;  /* integers: [rows] */
    int32_t *sums; /* integers: [rows, groups] */
    int groups;
} dgm_block_rows;

/* Where a row comes from: numbers, or bytes with their scale. */
typedef struct dgm_block_source {
    const float *x;
    const int8_t *q;
    float scale;
} dgm_block_source;

/* Floats of a thread's buffer for widened weights, behind them for the lines of sparse ones that are to be widened. */
enum {
    DGM_BLOCK_NUMBERS = DGM_MAX_TILE_PANELS * DGM_PANEL * DGM_MAX_GROUP,
    DGM_BLOCK_WIDE = DGM_BLOCK_NUMBERS + DGM_BLOCK_NUMBERS / 2
};

/* dgm_block_bytes - enough of an arena for dgm_block_open with `rows` rows of k inputs, whatever the weights. */
size_t dgm_block_bytes(int rows, int k);

/* dgm_block_open - memory for `rows` rows, to be filled by dgm_block_load unless nothing is copied. x [rows, w->k], ldx: where
 * the rows lie; with dense weights the caller may set them later. */
dgm_block_rows dgm_block_open(const dgm_kernels *kern, dgm_arena *arena, int rows,
                              const dgm_packed *w, dgm_compute compute, const float *x, size_t ldx);

/* dgm_block_load - the rows of tile `tile` (tile_rows rows, the last tile fewer), from as many sources. */
void dgm_block_load(const dgm_kernels *kern, const dgm_block_rows *b, int tile,
                    const dgm_block_source *from);

/*
 * dgm_block_chain - acc [rows, 16 * n_panels], stride ld = the sums of rows row .. (a multiple of tile_rows where packed)
 * with panels panel ..; int32 where b->integers and there are no groups. wide [DGM_BLOCK_WIDE] is this thread's own.
 */
void dgm_block_chain(const dgm_kernels *kern, float *acc, size_t ld, const dgm_block_rows *b,
                     int row, int rows, int panel, int n_panels, float *wide);

/* dgm_block_finish - y = what follows, for n outputs from output `col` (a multiple of 16) of row `row`; acc: the
 * sum of that output. bias and residual: of that output, or NULL. y may be acc. */
void dgm_block_finish(const dgm_kernels *kern, float *y, const float *acc, const dgm_block_rows *b,
                      int row, int col, int n, const float *bias, const float *residual, int relu);

#endif

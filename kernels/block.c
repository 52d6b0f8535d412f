#include "kernels/block.h"

#include "kernels/ahead.h"
#include "kernels/sparse.h"

#include <string.h>

enum {
    /* Elements: the lines of two panels stream from L2, which costs less than sums that come and go more often. */
    BLOCK_K = 512,
    IN_PLACE_BYTES = 256 << 10, /* weights up to this stay in L2 while rows pass by */
    L1_BYTES = 24 << 10,        /* weights that passes of rows share */
    PICKED_DOTS = 8, /* n of m as integers: from so many passes of rows on, dense tiles cost less */
    L1_PANELS = 6    /* most kernels of several passes take 3 panels at once: whole ones */
};

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

static bool quantised(const dgm_packed *w, dgm_compute compute)
{
    return compute == DGM_COMPUTE_INT8 && (w->type == DGM_W_INT8 || w->type == DGM_W_INT4);
}

static int groups_of(const dgm_packed *w)
{
    return dgm_packed_groups(w->k, w->group);
}

static size_t row_bytes(int k)
{
    return ((size_t)k + 7) / 8 * 8;
}

/* n of m is picked from rows where they lie: of floats any number, for half the multiplications make up for reading the
 * weights once a pass. Bitmaps are spread out in registers for a few rows, else for tiles. */
static bool in_place(const dgm_kernels *kern, int rows, const dgm_packed *w, bool integers)
{
    if (w->pattern == DGM_BITMAP)
        return rows <= (integers ? kern->dot_thin_rows : kern->thin_rows);
    if (w->pattern != DGM_DENSE)
        return !integers || rows <= PICKED_DOTS * kern->dot_thin_rows;
    if (integers)
        return rows <= kern->dot_thin_rows;
    return rows <= kern->thin_rows || dgm_packed_bytes(w->type, w->n, w->k) <= IN_PLACE_BYTES;
}

/* Tiles of f32 rows, or bytes twice with scales and sums: less, but for the smallest k. */
size_t dgm_block_bytes(int rows, int k)
{
    const size_t padded = (size_t)(rows + DGM_MAX_TILE_ROWS - 1);
    return padded * (row_bytes(k) + 8) * sizeof(float) + 3 * dgm_arena_align(1);
}

enum { NM_INPUTS = 32 }; /* whole blocks of any n of m */

/* step_of - inputs of a step of k: whole lines (blocks) and whole groups, else as even as can be. */
static int step_of(const dgm_block_rows *b)
{
    const int k = b->w->k, most = b->integers ? 4 * BLOCK_K : BLOCK_K;
    if (b->groups > 1)
        return b->w->group < most ? most / b->w->group * b->w->group : b->w->group;
    const int steps = (k + most - 1) / most, whole = dgm_is_nm(b->w->pattern) ? NM_INPUTS : 8;
    return ((k + steps - 1) / steps + whole - 1) / whole * whole;
}

/* elements_of - 4-byte elements of n inputs, from the beginning of a line on. */
static int elements_of(const dgm_block_rows *b, int n)
{
    if (!b->integers)
        return n;
    const int per = dgm_line_inputs(b->w->type);
    return (n + per - 1) / per * per / 4;
}

/* all_plain - the rows may be picked from. */
static bool all_plain(const dgm_kernels *kern, int rows, int k, const float *x, size_t ldx)
{
    for (int r = 0; r < rows; r++)
        if (!kern->plain(x + (size_t)r * ldx, k))
            return false;
    return true;
}

dgm_block_rows dgm_block_open(const dgm_kernels *kern, dgm_arena *arena, int rows,
                              const dgm_packed *w, dgm_compute compute, const float *x, size_t ldx)
{
    dgm_block_rows b = {.w = w, .rows = rows, .groups = groups_of(w), .x = x, .ldx = ldx};
    b.integers = quantised(w, compute);
    b.thin_rows = dgm_is_nm(w->pattern) && !b.integers ? kern->picked_thin_rows : kern->thin_rows;
    b.packed = !in_place(kern, rows, w, b.integers);
    if (!b.packed && !b.integers && dgm_is_nm(w->pattern))
        b.packed = !all_plain(kern, rows, w->k, x, ldx);
    b.copied = b.packed || b.integers;
    b.tiled = b.packed || (b.integers && w->pattern == DGM_DENSE);
    b.picked = b.integers && !b.packed && dgm_is_nm(w->pattern);
    b.pitch = b.integers ? kern->dot_tile_rows : kern->tile_rows;
    if (b.integers && b.tiled && !b.packed) /* one tile, of as many rows as there are */
        b.pitch = rows;
    b.n_tiles = (rows + b.pitch - 1) / b.pitch;
    b.tile_rows = (rows + b.n_tiles - 1) / b.n_tiles;
    b.n_tiles = (rows + b.tile_rows - 1) / b.tile_rows;
    const size_t nr = (size_t)rows;
    if (b.tiled)
        b.tiles = dgm_arena_push(arena, (size_t)(b.n_tiles * b.pitch) *
                                            (size_t)elements_of(&b, w->k) * sizeof(float));
    if (b.integers) {
        b.ldq = row_bytes(w->k);
        b.q = dgm_arena_push(arena, nr * b.ldq);
        b.scale = dgm_arena_push(arena, nr * sizeof *b.scale);
        b.sums = dgm_arena_push(arena, nr * (size_t)b.groups * sizeof *b.sums);
    }
    return b;
}

enum { ELEMENT = 4 }; /* bytes */
typedef uint32_t quad __attribute__((vector_size(16)));

static quad quad_of(const unsigned char *p)
{
    quad q;
    memcpy(&q, p, sizeof q);
    return q;
}

/* transpose - 4 elements of 4 rows, to columns `apart` bytes apart: one by one, copying to tiles would be a tenth of
 * what a product of 1024 outputs costs. */
static void transpose(unsigned char *to, size_t apart, const unsigned char *const *rows, size_t at)
{
    const quad a = quad_of(rows[0] + at), b = quad_of(rows[1] + at);
    const quad c = quad_of(rows[2] + at), d = quad_of(rows[3] + at);
    const quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const quad ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const quad cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const quad column[4] = {__builtin_shufflevector(ab, cd, 0, 1, 4, 5),
                            __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
                            __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5),
                            __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7)};
    for (size_t j = 0; j < 4; j++)
        memcpy(to + j * apart, &column[j], sizeof column[j]);
}

/* to_step - `part` elements from byte `at` on of n_rows rows; rows that are missing become zero. */
static void to_step(unsigned char *to, size_t pitch, const unsigned char *const *rows,
                    size_t n_rows, size_t at, size_t part)
{
    const size_t apart = ELEMENT * pitch;
    size_t r = 0;
    for (; r + 4 <= n_rows; r += 4) {
        size_t j = 0;
        for (; j + 4 <= part; j += 4)
            transpose(to + j * apart + ELEMENT * r, apart, rows + r, at + ELEMENT * j);
        for (; j < part; j++)
            for (size_t i = r; i < r + 4; i++)
                memcpy(to + j * apart + ELEMENT * i, rows[i] + at + ELEMENT * j, ELEMENT);
    }
    for (; r < pitch; r++)
        for (size_t j = 0; j < part; j++)
            if (r < n_rows)
                memcpy(to + j * apart + ELEMENT * r, rows[r] + at + ELEMENT * j, ELEMENT);
            else
                memset(to + j * apart + ELEMENT * r, 0, ELEMENT);
}

/* to_tile - rows of elements as tile `tile`. */
static void to_tile(const dgm_block_rows *b, int tile, const unsigned char *const *rows, int n_rows)
{
    const size_t pitch = (size_t)b->pitch;
    const int k = elements_of(b, b->w->k), step = elements_of(b, step_of(b));
    for (int i = 0; i < k; i += step) {
        const size_t part = (size_t)min_int(step, k - i), at = (size_t)i;
        to_step(b->tiles + ELEMENT * pitch * (at * (size_t)b->n_tiles + (size_t)tile * part), pitch,
                rows, (size_t)n_rows, ELEMENT * at, part);
    }
}

static void quantise(const dgm_kernels *kern, const dgm_block_rows *b, int row,
                     const dgm_block_source *from)
{
    const int k = b->w->k;
    int8_t *q = b->q + (size_t)row * b->ldq;
    if (from->q == NULL) {
        kern->quantize_row(q, &b->scale[row], from->x, k);
    } else {
        memcpy(q, from->q, (size_t)k);
        b->scale[row] = from->scale;
    }
    memset(q + k, 0, b->ldq - (size_t)k);
    kern->sum_row(b->sums + (size_t)row * (size_t)b->groups, q, k, b->groups > 1 ? b->w->group : 0);
    const int added = b->picked ? kern->picked_added : 0;
    for (int i = 0; added != 0 && i < k; i++)
        q[i] = (int8_t)(q[i] ^ added); /* plus 128, as unsigned bytes */
}

void dgm_block_load(const dgm_kernels *kern, const dgm_block_rows *b, int tile,
                    const dgm_block_source *from)
{
    const int row = tile * b->tile_rows, n = min_int(b->tile_rows, b->rows - row);
    const unsigned char *src[DGM_MAX_TILE_ROWS];
    for (int r = 0; r < n; r++) {
        src[r] = (const unsigned char *)from[r].x;
        if (b->integers) {
            quantise(kern, b, row + r, &from[r]);
            src[r] = (const unsigned char *)b->q + (size_t)(row + r) * b->ldq;
        }
    }
    if (b->tiled)
        to_tile(b, tile, src, n);
}

/* panels_from - b's weights from panel `panel`, input i (the first of a line and of a group) on. */
static dgm_panels panels_from(const dgm_block_rows *b, int panel, int i)
{
    const dgm_packed *w = b->w;
    const size_t stride = dgm_panel_bytes(w->type, w->k), p = (size_t)panel, g = (size_t)b->groups;
    const size_t line = (size_t)(i / dgm_line_inputs(w->type));
    dgm_panels from = {.type = w->type, .pattern = w->pattern, .stride = stride};
    if (w->pattern == DGM_DENSE) {
        from.data = (const unsigned char *)w->data + p * stride + line * DGM_LINE;
    } else if (dgm_is_nm(w->pattern)) {
        const dgm_zipped z = dgm_sparse_stretch(w, panel, i);
        from.data = z.data;
        from.stride = dgm_nm_bytes(w->pattern, w->type, w->k);
        from.index = z.index;
        from.index_stride = dgm_sparse_index_bytes(w->pattern, w->type, w->k);
    }
    if (g > 1)
        from.scales = (dgm_scales){.at = w->scale + (p * g + (size_t)(i / w->group)) * DGM_PANEL,
                                   .stride = g * DGM_PANEL,
                                   .group = w->group};
    return from;
}

/* dot_rows_from - the rows from `row` on whose bytes begin at q, from group `group` on. */
static dgm_dot_rows dot_rows_from(const dgm_block_rows *b, const void *q, int row, int group)
{
    return (dgm_dot_rows){.q = q,
                          .ld = (size_t)b->pitch * ELEMENT,
                          .sums = b->sums + (size_t)row * (size_t)b->groups + group,
                          .ld_sums = (size_t)b->groups};
}

static void rows_in_place(const dgm_kernels *kern, float *acc, size_t ld, const dgm_block_rows *b,
                          int row, int rows, int panel, int n_panels)
{
    const dgm_panels w = panels_from(b, panel, 0);
    const int k = b->w->k;
    const float *x = b->integers ? NULL : b->x + (size_t)row * b->ldx;
    if (b->integers && w.pattern == DGM_BITMAP) {
        dgm_dot_rows q = dot_rows_from(b, b->q + (size_t)row * b->ldq, row, 0);
        q.ld = b->ldq;
        kern->bitmap_dots(acc, ld, &q, b->w, panel, rows, n_panels);
    } else if (w.pattern == DGM_BITMAP) {
        kern->bitmap_rows(acc, ld, x, b->ldx, b->w, panel, rows, n_panels);
    } else if (b->integers && w.pattern != DGM_DENSE) {
        kern->picked_dots(acc, ld, b->q + (size_t)row * b->ldq, b->ldq, &w, k, rows, n_panels);
    } else if (w.pattern != DGM_DENSE) {
        kern->picked_rows(acc, ld, x, b->ldx, &w, k, rows, n_panels);
    } else if (b->integers) {
        const dgm_dot_rows q = dot_rows_from(b, b->tiles + (size_t)row * ELEMENT, row, 0);
        kern->dot_rows(acc, ld, &q, &w, k, rows, n_panels);
    } else if (w.type == DGM_W_F32) {
        kern->gemm_rows(acc, ld, x, b->ldx, w.data, w.stride / sizeof *x, k, rows, n_panels);
    } else {
        kern->wide_rows(acc, ld, x, b->ldx, &w, k, rows, n_panels);
    }
}

/* Rows in passes as even as can be: one row more than a kernel takes would cost nearly another pass. Several passes
 * share so many panels as stay in L1. */
static void chain_in_place(const dgm_kernels *kern, float *acc, size_t ld, const dgm_block_rows *b,
                           int row, int rows, int panel, int n_panels)
{
    const int most = b->integers ? kern->dot_thin_rows : b->thin_rows;
    const int passes = (rows + most - 1) / most;
    const int fit = (int)(L1_BYTES / dgm_panel_bytes(b->w->type, b->w->k)) / L1_PANELS * L1_PANELS;
    const int group = passes == 1 ? n_panels : fit > L1_PANELS ? fit : L1_PANELS;
    for (int p = 0; p < n_panels; p += group)
        for (int i = 0; i < passes; i++) {
            const int from = rows * i / passes, to = rows * (i + 1) / passes;
            rows_in_place(kern, acc + (size_t)from * ld + (size_t)p * DGM_PANEL, ld, b, row + from,
                          to - from, panel + p, min_int(group, n_panels - p));
        }
}

/* One step of k of some panels for all tiles of a block. */
typedef struct step {
    dgm_panels w; /* as they lie in memory */
    const float
        *numbers; /* f32 tiles: the weights, or widened ones, number_stride floats a panel */
    size_t number_stride;
    const unsigned char *x; /* the block's first tile */
    int i, k, np, panels_left;
} step;

/* unzip_step - s's panels from panel `panel` on become dense lines in `lines`. */
static void unzip_step(const dgm_kernels *kern, const dgm_block_rows *b, step *s, int panel,
                       float *lines)
{
    s->w.data = lines;
    s->w.stride = dgm_panel_bytes(s->w.type, s->k);
    for (int p = 0; p < s->np; p++) {
        const dgm_zipped z = dgm_sparse_stretch(b->w, panel + p, s->i);
        kern->unzip((unsigned char *)lines + (size_t)p * s->w.stride, &z, s->k);
    }
    s->panels_left = 0; /* what comes next is not read where it lies */
}

static void tiles_of(const dgm_kernels *kern, float *acc, size_t ld, const dgm_block_rows *b,
                     int row, int rows, const step *s)
{
    const int tr = b->tile_rows, tiles = (rows + tr - 1) / tr;
    const int per = dgm_line_inputs(s->w.type), elements = elements_of(b, s->k);
    const size_t tile_bytes = (size_t)elements * (size_t)b->pitch * sizeof(float);
    const int lines = (s->k + per - 1) / per, first = s->i == 0;
    dgm_ahead ahead = dgm_ahead_of(s->w.data, s->w.stride, lines, b->integers ? per / 4 : per,
                                   s->np, s->panels_left, tiles);
    const size_t share = dgm_ahead_share(lines, s->np, tiles);
    for (int t = 0; t < tiles; t++, acc += (size_t)tr * ld, dgm_ahead_next(&ahead, share)) {
        const unsigned char *x = s->x + (size_t)t * tile_bytes;
        const int n = min_int(tr, rows - t * tr);
        if (b->integers) {
            const int group = s->w.scales.at != NULL ? s->i / b->w->group : 0;
            const dgm_dot_rows q = dot_rows_from(b, x, row + t * tr, group);
            kern->dot_tile(acc, ld, &q, &s->w, s->k, n, s->np, first, &ahead);
        } else {
            kern->gemm_tile(acc, ld, (const float *)(const void *)x, s->numbers, s->number_stride,
                            s->k, n, s->np, first, &s->w.scales, &ahead);
        }
    }
}

static void chain_tiles(const dgm_kernels *kern, float *acc, size_t ld, const dgm_block_rows *b,
                        int row, int rows, int panel, int n_panels, float *wide)
{
    const int k = b->w->k, each = step_of(b), all = (int)dgm_packed_panels(b->w->n);
    const size_t tile = (size_t)(row / b->tile_rows);
    for (int i = 0; i < k; i += each) {
        step s = {.i = i, .k = min_int(each, k - i)};
        const size_t done = (size_t)elements_of(b, i), now = (size_t)elements_of(b, s.k);
        s.x =
            b->tiles + (done * (size_t)b->n_tiles + now * tile) * (size_t)b->pitch * sizeof(float);
        for (int p = 0; p < n_panels; p += kern->tile_panels) {
            s.panels_left = all - panel - p;
            s.np = min_int(kern->tile_panels, n_panels - p);
            s.w = panels_from(b, panel + p, i);
            if (b->w->pattern != DGM_DENSE)
                unzip_step(kern, b, &s, panel + p,
                           b->integers || s.w.type == DGM_W_F32 ? wide : wide + DGM_BLOCK_NUMBERS);
            s.numbers = s.w.data;
            s.number_stride = s.w.stride / sizeof(float);
            if (!b->integers && s.w.type != DGM_W_F32) {
                s.numbers = wide;
                s.number_stride = (size_t)s.k * DGM_PANEL;
                for (int q = 0; q < s.np; q++)
                    kern->widen(wide + (size_t)q * s.number_stride, s.w.type,
                                (const unsigned char *)s.w.data + (size_t)q * s.w.stride, s.k);
            }
            tiles_of(kern, acc + (size_t)p * DGM_PANEL, ld, b, row, rows, &s);
        }
    }
}

void dgm_block_chain(const dgm_kernels *kern, float *acc, size_t ld, const dgm_block_rows *b,
                     int row, int rows, int panel, int n_panels, float *wide)
{
    if (b->packed)
        chain_tiles(kern, acc, ld, b, row, rows, panel, n_panels, wide);
    else
        chain_in_place(kern, acc, ld, b, row, rows, panel, n_panels);
}

void dgm_block_finish(const dgm_kernels *kern, float *y, const float *acc, const dgm_block_rows *b,
                      int row, int col, int n, const float *bias, const float *residual, int relu)
{
    const dgm_packed *w = b->w;
    const bool per_output = b->groups == 1 && (w->type == DGM_W_INT8 || w->type == DGM_W_INT4);
    const float *scale = per_output ? w->scale + col : NULL;
    if (b->integers)
        kern->finish_integers(y, acc, b->scale[row], scale, bias, residual, relu, n);
    else if (per_output)
        kern->finish_scaled(y, acc, scale, bias, residual, relu, n);
    else
        kern->finish(y, acc, bias, residual, relu, n);
}

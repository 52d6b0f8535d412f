/*
 * kernels.h - numeric work on rows: one table of functions, filled for the instruction set at hand.
 *
 * Every entry gives the same bits in every instruction set (docs/numerics.md): `ref` is plain C and
 * the oracle, the others are tested against it with memcmp. All functions here are local, allocate
 * nothing and may run on any thread. Matrices are row-major; n, k, d count elements; ld* are strides
 * in elements. Sums over one row use 16 lanes: lane l takes elements l, l+16, ..., missing ones +0,
 * then the lanes fold +8, +4, +2, +1.
 */
#ifndef DGM_KERNELS_KERNELS_H
#define DGM_KERNELS_KERNELS_H

#include "base/status.h"
#include "kernels/dtype.h"

#include <stddef.h>
#include <stdint.h>

enum {
    DGM_LANES = 16,
    DGM_PANEL = 16,
    DGM_LINE =
        64, /* bytes: the 16 outputs of a panel with 1 (f32), 2 (bf16), 4 (int8) or 8 (int4) inputs */
    DGM_VOCAB_BLOCK = 2048,
    DGM_MAX_TILE_ROWS = 16,
    DGM_MAX_TILE_PANELS = 2,
    DGM_QUERIES = 4
};

/*
 * dgm_ahead - memory to ask for while a tile is computed: in every `every`-th turn of 4 inputs the next `lines`
 * lines of 64 bytes of each stream. Only asked for, never read: the addresses need not be valid.
 */
typedef struct dgm_ahead {
    const unsigned char *stream[4];
    int every, lines;
} dgm_ahead;

/* dgm_scales - of groups of inputs: [groups][16] for each panel, from the first group at hand on. */
typedef struct dgm_scales {
    const float *at; /* the first panel's; NULL: no scale is applied */
    size_t stride;   /* floats from one panel's to the next's */
    int group;       /* inputs that share a scale; the last group may be smaller */
} dgm_scales;

/* dgm_panels - neighbouring panels of packed weights (pack.h), from an input on that begins a line. */
struct dgm_packed; /* pack.h */

typedef struct dgm_panels {
    dgm_wtype type;
    const void *data; /* the first panel's first line at hand */
    size_t stride;    /* bytes from panel to panel */
    dgm_scales scales;
    dgm_pattern pattern; /* n of m: data is the first block's, and so is */
    const void *index;
    size_t index_stride; /* bytes from panel to panel */
} dgm_panels;

/* dgm_zipped - a stretch of one sparse panel (sparse.h), from an input on that begins a block (n of m) or a line. */
typedef struct dgm_zipped {
    dgm_pattern pattern;
    dgm_wtype type;
    const void *data, *index;
} dgm_zipped;

/* dgm_dot_rows - rows as quantize_row leaves them, 4 inputs of all rows together: [k / 4][rows or more][4], zero from
 * their end to a multiple of 8 inputs. */
typedef struct dgm_dot_rows {
    const int8_t *q;
    size_t ld; /* bytes from 4 inputs of all rows to the next 4 */
    const int32_t *
        sums; /* sum_row of each row, from the first group at hand on; without groups, of all of k */
    size_t ld_sums;
} dgm_dot_rows;

/*
 * dgm_attend - up to DGM_QUERIES queries at once: heads of one row, or one head of rows that look at the same keys.
 * Position p of query r is element r * apart + idx[p] * ld of k and v; idx NULL: p itself.
 */
typedef struct dgm_attend {
    int queries;
    const float *q[DGM_QUERIES]; /* [hd] */
    float *out[DGM_QUERIES];     /* [hd] */
    const void *k, *v;           /* f32, or bf16 */
    int bf16;
    size_t apart; /* 0: the same keys for all */
    const int32_t *idx;
    size_t ld;
    int n, hd;   /* n >= 1 */
    float scale; /* > 0 */
} dgm_attend;

typedef struct dgm_kernels {
    const char *isa; /* "ref", "avx2", "avx512", "vnni" */

    /*
     * gemm_tile - rows x (16 * n_panels) outputs over k inputs, one fma chain per output, k ascending:
     *   y[r][c] = fma(x[k-1][r], w[k-1][c], ... fma(x[0][r], w[0][c], y0))
     * with y0 = +0 when `first`, else the value in y (a partial sum of an earlier k block).
     *   y   [rows, 16 * n_panels] f32, stride ldy
     *   x   [k][tile_rows] f32: packed, rows beyond `rows` are padding
     *   w   n_panels panels of [k][16] f32, `panel_stride` elements apart
     *   scales  at NULL: as above. Else each group's chain begins at +0, and y = fma(chain, scale, y), group after
     *           group, with y0 as above
     *   ahead   NULL: nothing
     * 1 <= rows <= tile_rows, 1 <= n_panels <= tile_panels.
     */
    int tile_rows, tile_panels;
    void (*gemm_tile)(float *y, size_t ldy, const float *x, const float *w, size_t panel_stride,
                      int k, int rows, int n_panels, int first, const dgm_scales *scales,
                      const dgm_ahead *ahead);

    /*
     * gemm_rows - the same chains for 1 to `thin_rows` rows read in place (x stride ldx), n_panels
     * panels of any number, weights read once from memory: for decode steps. Starts from +0.
     */
    int thin_rows;
    void (*gemm_rows)(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                      size_t panel_stride, int k, int rows, int n_panels);

    /* wide_rows - gemm_rows for bf16, int8 and int4, widened on the way, with or without scales of groups. */
    void (*wide_rows)(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w, int k,
                      int rows, int n_panels);

    /* widen - dst [k][16] = the first k inputs of a panel of bf16, int8 or int4 as floats, scales not applied. */
    void (*widen)(float *dst, dgm_wtype type, const void *panel, int k);

    /*
     * quantize_row - amax = max |x|, scale = amax / 127, q = round to even (x * (127 / amax)): -127 .. 127.
     * amax < 2^-100: q and scale are zero. A NaN or an infinity in x: q is zero and scale NaN, so what is computed
     * with the row is NaN.
     */
    void (*quantize_row)(int8_t *q, float *scale, const float *x, int n);

    /* sum_row - sums [groups] of q [n], group by group; group 0: one sum. */
    void (*sum_row)(int32_t *sums, const int8_t *q, int n, int group);

    /*
     * dot_tile - integer sums of rows x (16 * n_panels) outputs over k inputs, w int8 or int4:
     *   without scales, y [rows, 16 * n_panels] is int32: y = sum (+ y unless `first`; x->sums counts in the first call)
     *   with them, y is f32: y = fma((float)sum, scale, y), group after group, +0 before the first if `first`
     * x->ld is 4 * dot_tile_rows. Sums must fit int32: true of k <= 131072.
     * 1 <= rows <= dot_tile_rows, 1 <= n_panels <= tile_panels.
     */
    int dot_tile_rows;
    void (*dot_tile)(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,
                     int rows, int n_panels, int first, const dgm_ahead *ahead);

    /* dot_rows - the same for 1 to dot_thin_rows rows, any x->ld and any number of panels. */
    int dot_thin_rows;
    void (*dot_rows)(void *y, size_t ldy, const dgm_dot_rows *x, const dgm_panels *w, int k,
                     int rows, int n_panels);

    /* unzip - the first k inputs of a stretch as lines of pack.h. */
    void (*unzip)(void *lines, const dgm_zipped *from, int k);

    /*
     * picked_rows - wide_rows for n of m, of f32, bf16 and int8, 1 to picked_thin_rows rows; picked_dots - dot_rows for n of m,
     * of int8, whose rows q stand in their own order, ldq apart, each number q + picked_added (0, or 128: as unsigned bytes).
     * Inputs that are not kept are left out: dgm_kernels.plain says whether rows of floats allow that.
     */
    int picked_thin_rows;
    void (*picked_rows)(float *y, size_t ldy, const float *x, size_t ldx, const dgm_panels *w,
                        int k, int rows, int n_panels);
    int picked_added;
    void (*picked_dots)(void *y, size_t ldy, const int8_t *q, size_t ldq, const dgm_panels *w,
                        int k, int rows, int n_panels);

    /*
     * bitmap_rows - wide_rows for bitmaps (sparse.h) of f32, bf16 and int8, from panel `panel` of w on; any rows.
     * bitmap_dots - dot_rows for bitmaps of int8; rows stand in their own order, x->ld apart, zero likewise to a multiple of 8.
     */
    void (*bitmap_rows)(float *y, size_t ldy, const float *x, size_t ldx,
                        const struct dgm_packed *w, int panel, int rows, int n_panels);
    void (*bitmap_dots)(void *y, size_t ldy, const dgm_dot_rows *x, const struct dgm_packed *w,
                        int panel, int rows, int n_panels);

    /* plain - each x is zero, or of a size from DGM_SPARSE_LEAST_X to below DGM_SPARSE_MOST_X. */
    int (*plain)(const float *x, int n);

    /*
     * finish - what follows the chain, elementwise over n: y = acc + bias; relu: y > 0 ? y : +0, NaN
     * stays NaN; then y = y + residual. bias, residual may be NULL; y may be residual.
     */
    void (*finish)(float *y, const float *acc, const float *bias, const float *residual, int relu,
                   int n);

    /*
     * finish_scaled - with one scale an output: y = fma(acc, scale, +0) + bias; then as finish.
     * finish_integers - after dot_*: with col (a scale an output; acc int32) y = fma((float)acc, row * col, bias), with
     * col NULL (acc f32) y = fma(acc, row, bias); no bias is +0; then as finish.
     * acc, scale and col may be read up to the next multiple of 16.
     */
    void (*finish_scaled)(float *y, const float *acc, const float *scale, const float *bias,
                          const float *residual, int relu, int n);
    void (*finish_integers)(float *y, const void *acc, float row, const float *col,
                            const float *bias, const float *residual, int relu, int n);

    /* layer_norm - two passes, biased variance, y = fma((x - mean) * (1 / sqrt(var + eps)), w, b). */
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, int d, float eps);

    /* dot - 16-lane sum of x[i] * y[i] by fma. */
    float (*dot)(const float *x, const float *y, int n);

    /*
     * attend - for each query:
     *   s[p] = dot(q, k_p) * scale; prob = softmax over p (max subtracted, 16-lane sum, divided);
     *   out[j] = fma chain over p ascending of prob[p] * v_p[j], from +0.
     *   prob [DGM_QUERIES][n], stride ldp: all of it, and up to the next multiple of 16 of n, may be written
     */
    void (*attend)(float *prob, size_t ldp, const dgm_attend *a);

    /* block_max_sum - m = max(x), s = 16-lane sum of exp(x - m), top [16] = the maximum of each lane (-inf where it has
     * none). A NaN in x makes m and s NaN. n >= 1 */
    void (*block_max_sum)(float *m, float *s, float *top, const float *x, int n);

    /* exp_rows - y[i] = dgm_exp(x[i] - shift). */
    void (*exp_shift)(float *y, const float *x, float shift, int n);

    /* above - writes the indices i (ascending) with x[i] > threshold to idx; returns how many. */
    int (*above)(int32_t *idx, const float *x, float threshold, int n);

    /* weigh - y = g * (c * x), each product rounded: one expert's share of a token (no fma). */
    void (*weigh)(float *y, const float *x, float g, float c, int n);
    /* add - y = a + b. */
    void (*add)(float *y, const float *a, const float *b, int n);
    /* embed - y = row * scale + pos (product rounded, then sum), row given with stride `ld` elements. */
    void (*embed)(float *y, const float *row, size_t ld, float scale, const float *pos, int n);

    /* fma_peak - for benches: n rounds of fma on registers alone, from and to sink [16]; returns how many
     * floating-point operations that was. */
    double (*fma_peak)(float *sink, int n);
    /* dot_peak - likewise of the integer dot product. */
    double (*dot_peak)(float *sink, int n);
} dgm_kernels;

/*
 * dgm_kernels_select - the table for instruction set `want` ("ref", "avx2", "avx512", "vnni"), or the best
 * that this CPU and operating system have when want is NULL or "" or "auto".
 * DGM_EUNSUPPORTED with a sentence that names the best one here; DGM_EUSAGE for an unknown name.
 */
DGM_MUST_CHECK int dgm_kernels_select(dgm_kernels *out, const char *want);

/* dgm_kernels_level - order of an instruction set's name: 0 ref, 1 avx2, 2 avx512, 3 vnni; -1 unknown. */
int dgm_kernels_level(const char *isa);
/* dgm_kernels_level_name - the reverse; NULL beyond the last. */
const char *dgm_kernels_level_name(int level);

#endif

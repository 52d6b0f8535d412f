/*
 * sums.h - rows to int8, and products of int8 rows with int8 and int4 weights (kernels/gemm.h).
 *
 * Sums of integers are exact in any order, so they go through the matrix units, and warps may split k. Only what follows is
 * in order: groups ascending. Quantised rows stand in blocks of 32 inputs, [k / 32][rows][32], zeros past k: then a warp's
 * loads of rows are contiguous, as those of panels are. An int4 weight is a nibble q + 8; its byte is 16 q, and the sum is
 * divided by 16, exactly.
 */
#ifndef DGM_KERNELS_CUDA_SUMS_H
#define DGM_KERNELS_CUDA_SUMS_H

#include "kernels/cuda/prims.h"

enum { QUANTIZE_THREADS = 256, SUM_TILES = 8, SUM_PAIRS = 4, SUM_SPLIT = 8 };
enum { SUMS_FEW_ROWS = 8, SUMS_MANY_ROWS = 8 * SUM_TILES };

/* put_quad - 4 bytes of a row, inputs 4 i ... */
__device__ __forceinline__ void put_quad(int8_t *q, size_t q_rows, size_t row, int i, uint32_t quad)
{
    *(uint32_t *)(q + ((size_t)(i / 8) * q_rows + row) * 32 + (size_t)(i % 8) * 4) = quad;
}

/* quantize - quantize_row of kernels.h, a block a row. */
__global__ void __launch_bounds__(QUANTIZE_THREADS)
    quantize(int8_t *q, float *scale, size_t q_rows, const float *x, size_t ldx, int k)
{
    __shared__ uint32_t most[QUANTIZE_THREADS];
    const size_t row = blockIdx.x;
    x += row * ldx;
    uint32_t m = 0; /* bits of |x| order like numbers: infinity above all, NaN above infinity */
    for (int i = (int)threadIdx.x; i < k; i += QUANTIZE_THREADS)
        m = max(m, __float_as_uint(x[i]) & 0x7fffffffu);
    most[threadIdx.x] = m;
    __syncthreads();
    for (int h = QUANTIZE_THREADS / 2; h > 0; h /= 2) {
        if ((int)threadIdx.x < h)
            most[threadIdx.x] = max(most[threadIdx.x], most[threadIdx.x + h]);
        __syncthreads();
    }
    const float top = __uint_as_float(most[0]);
    const float s = top < 0x1p-100f         ? 0.0f
                    : most[0] < 0x7f800000u ? __fdiv_rn(top, 127.0f)
                                            : __uint_as_float(0x7fc00000u);
    const float factor = s > 0.0f ? __fdiv_rn(127.0f, top) : 0.0f;
    if (threadIdx.x == 0)
        scale[row] = s;
    for (int i = (int)threadIdx.x; i < (k + 31) / 32 * 8; i += QUANTIZE_THREADS) {
        uint32_t quad = 0;
        for (int j = 0; j < 4 && s > 0.0f; j++)
            if (4 * i + j < k)
                quad |= (__float_as_uint(__fadd_rn(__fmul_rn(x[4 * i + j], factor), 12582912.0f)) &
                         255u)
                        << 8 * j;
        put_quad(q, q_rows, row, i, quad);
    }
}

/* place - rows that come quantised, [rows, ld] bytes, into their blocks. */
__global__ void __launch_bounds__(QUANTIZE_THREADS)
    place(int8_t *q, size_t q_rows, const int8_t *from, size_t ld, int k)
{
    const size_t row = blockIdx.x;
    from += row * ld;
    for (int i = (int)threadIdx.x; i < (k + 31) / 32 * 8; i += QUANTIZE_THREADS) {
        uint32_t quad = 0;
        for (int j = 0; j < 4; j++)
            if (4 * i + j < k)
                quad |= (uint32_t)(uint8_t)from[4 * i + j] << 8 * j;
        put_quad(q, q_rows, row, i, quad);
    }
}

/* What a lane reads of 32 inputs: of 4 outputs the first and the second four bytes of its quarter. */
struct Bytes {
    uint32_t first[4], second[4];
};

template <int TYPE>
__device__ __forceinline__ Bytes read_bytes(const uint4 *w, int block, int quarter)
{
    if (TYPE == W_INT8) {
        const uint4 a = w[(size_t)(block * 8 + 2 * quarter) * 4],
                    b = w[(size_t)(block * 8 + 2 * quarter + 1) * 4];
        return {{a.x, a.y, a.z, a.w}, {b.x, b.y, b.z, b.w}};
    }
    const uint4 a = w[(size_t)(block * 4 + quarter) * 4];
    return {{a.x, a.y, a.z, a.w}, {0, 0, 0, 0}};
}

/* open_bytes - nibbles q + 8 become bytes 16 q. */
template <int TYPE> __device__ __forceinline__ void open_bytes(Bytes &b)
{
#pragma unroll
    for (int j = 0; j < (TYPE == W_INT4 ? 4 : 0); j++) {
        b.second[j] = (b.first[j] & 0xf0f0f0f0u) ^ 0x80808080u;
        b.first[j] = (b.first[j] << 4 & 0xf0f0f0f0u) ^ 0x80808080u;
    }
}

template <int TYPE> __device__ __forceinline__ float whole(int sum)
{
    return __int2float_rn(TYPE == W_INT4 ? sum / 16 : sum);
}

/* The 4 outputs x 2 rows x TILES of a lane: [tile][mma][as mma has them]. */
template <int TILES> struct Sums {
    int c[TILES][2][4];
};

/* scaled - one of a lane's numbers before ReLU: output j of 4. */
template <int TYPE, bool GROUPED>
__device__ __forceinline__ float scaled(int sum, float acc, float row, float col, float bias)
{
    return GROUPED ? __fmaf_rn(acc, row, bias)
                   : __fmaf_rn(whole<TYPE>(sum), __fmul_rn(row, col), bias);
}

__device__ __forceinline__ float4 load4(const float *p)
{
    return *(const float4 *)p;
}

/* Where a lane is: its panel of the pair, and the places of what it reads. */
struct Lane {
    int g, t, panel;
    const uint4 *w;
    const int8_t *q;
    const float *scale; /* of its 4 outputs, group 0 */
};

__device__ __forceinline__ Lane lane_of(const Product &p, const Tile &tile, const Job &job,
                                        int pair)
{
    Lane l;
    const int lane = (int)threadIdx.x & 31;
    l.g = lane >> 2;
    l.t = lane & 3;
    l.panel = min(2 * pair + (l.g >> 2), p.panels - 1);
    l.w = (const uint4 *)(job.w + (size_t)l.panel * p.panel_bytes) + (l.g & 3);
    l.q = p.q + ((size_t)tile.row + l.g) * 32 + l.t * 8;
    l.scale = job.scale + (size_t)l.panel * p.groups * PANEL + (l.g & 3) * 4;
    return l;
}

/* add_blocks - blocks [from, end) of 32 inputs, at most N, onto the sums: all are on their way before the first is used. after
 * is called with each. */
template <int TYPE, int N, int TILES, typename After>
__device__ __forceinline__ void add_blocks(Sums<TILES> &s, const Lane &l, const Product &p,
                                           int from, int end, After after)
{
    Bytes bytes[N];
    uint2 x[N][TILES];
#pragma unroll
    for (int u = 0; u < N; u++)
        if (from + u < end) {
            bytes[u] = read_bytes<TYPE>(l.w, from + u, l.t);
#pragma unroll
            for (int n = 0; n < TILES; n++)
                x[u][n] = *(const uint2 *)(l.q + ((size_t)(from + u) * p.q_rows + 8 * n) * 32);
        }
#pragma unroll
    for (int u = 0; u < N; u++) {
        if (from + u >= end)
            break;
        open_bytes<TYPE>(bytes[u]);
#pragma unroll
        for (int n = 0; n < TILES; n++)
#pragma unroll
            for (int m = 0; m < 2; m++)
                mma(s.c[n][m], bytes[u].first[2 * m], bytes[u].first[2 * m + 1],
                    bytes[u].second[2 * m], bytes[u].second[2 * m + 1], x[u][n]);
        after(from + u);
    }
}

/* put_sums - what a lane has of tile n, scaled, to y: 4 outputs of rows 2 t and 2 t + 1. acc: of groups, or c: of all of k. */
template <int TYPE, bool GROUPED>
__device__ __forceinline__ void put_sums(const int (*c)[4], const float (*acc)[4], const Lane &l,
                                         const Product &p, const Tile &tile, const Job &job, int n)
{
    const float4 b = p.has_bias ? load4(job.bias + (size_t)l.panel * PANEL + (l.g & 3) * 4)
                                : make_float4(0, 0, 0, 0);
    const float4 col = GROUPED ? b : load4(l.scale);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int r = 8 * n + 2 * l.t + h;
        if (r >= tile.rows)
            continue;
        const float row = p.q_scale[tile.row + r];
        *(float4 *)(p.y + (size_t)(tile.row + r) * p.ldy + (size_t)l.panel * PANEL +
                    (l.g & 3) * 4) =
            make_float4(
                relu_if(scaled<TYPE, GROUPED>(c[0][h], acc[0][h], row, col.x, b.x), p.relu),
                relu_if(scaled<TYPE, GROUPED>(c[0][2 + h], acc[0][2 + h], row, col.y, b.y), p.relu),
                relu_if(scaled<TYPE, GROUPED>(c[1][h], acc[1][h], row, col.z, b.z), p.relu),
                relu_if(scaled<TYPE, GROUPED>(c[1][2 + h], acc[1][2 + h], row, col.w, b.w),
                        p.relu));
    }
}

template <int TILES> __device__ __forceinline__ void clear_sums(Sums<TILES> &s)
{
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int i = 0; i < 8; i++)
            s.c[n][i >> 2][i & 3] = 0;
}

/*
 * sums_many - a warp has two panels and TILES x 8 rows: lane (g, t) reads outputs 4 (g % 4) .. + 3 of panel g / 4, so one load
 * of 16 bytes feeds two mma.
 */
template <int TYPE, bool GROUPED>
__global__ void __launch_bounds__(32 * SUM_PAIRS) sums_many(const Product p)
{
    enum { AHEAD = 2 };
    const int pair = (int)blockIdx.x * SUM_PAIRS + ((int)threadIdx.x >> 5);
    if (2 * pair >= p.panels)
        return;
    const Tile tile = p.tiles[blockIdx.y];
    const Job job = p.jobs[tile.job];
    const Lane l = lane_of(p, tile, job, pair);
    const int blocks = (p.k + 31) / 32, each = GROUPED ? p.group32 : blocks;
    Sums<SUM_TILES> s;
    float acc[SUM_TILES][2][4];
#pragma unroll
    for (int n = 0; n < SUM_TILES; n++)
#pragma unroll
        for (int i = 0; i < 8; i++)
            acc[n][i >> 2][i & 3] = 0.0f;
    clear_sums(s);
    for (int from = 0, group = 0; from < blocks; from += each, group++) {
        const int end = min(from + each, blocks);
        for (int b = from; b < end; b += AHEAD)
            add_blocks<TYPE, AHEAD>(s, l, p, b, end, [](int) {});
        if (!GROUPED)
            break;
        const float4 col = load4(l.scale + (size_t)group * PANEL);
        const float of[4] = {col.x, col.y, col.z, col.w};
#pragma unroll
        for (int n = 0; n < SUM_TILES; n++)
#pragma unroll
            for (int i = 0; i < 8; i++)
                acc[n][i >> 2][i & 3] = __fmaf_rn(whole<TYPE>(s.c[n][i >> 2][i & 3]), of[i >> 1],
                                                  acc[n][i >> 2][i & 3]);
        clear_sums(s);
    }
    if (2 * pair + (l.g >> 2) >= p.panels)
        return;
#pragma unroll
    for (int n = 0; n < SUM_TILES; n++)
        put_sums<TYPE, GROUPED>(s.c[n], acc[n], l, p, tile, job, n);
}

/* sums_few - SUM_SPLIT warps have two panels and 8 rows, and split k. */
template <int TYPE> __global__ void __launch_bounds__(32 * SUM_SPLIT) sums_few(const Product p)
{
    enum { AHEAD = 8 };
    __shared__ int part[SUM_SPLIT][8][32];
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, pair = (int)blockIdx.x;
    const Tile tile = p.tiles[blockIdx.y];
    const Job job = p.jobs[tile.job];
    const Lane l = lane_of(p, tile, job, pair);
    const int blocks = (p.k + 31) / 32;
    Sums<1> s;
    const float none[2][4] = {};
    clear_sums(s);
    for (int b = warp * AHEAD; b < blocks; b += AHEAD * SUM_SPLIT)
        add_blocks<TYPE, AHEAD>(s, l, p, b, blocks, [](int) {});
#pragma unroll
    for (int i = 0; i < 8; i++)
        part[warp][i][lane] = s.c[0][i >> 2][i & 3];
    __syncthreads();
    if (warp > 0 || 2 * pair + (l.g >> 2) >= p.panels)
        return;
    for (int o = 1; o < SUM_SPLIT; o++)
#pragma unroll
        for (int i = 0; i < 8; i++)
            s.c[0][i >> 2][i & 3] += part[o][i][lane];
    put_sums<TYPE, false>(s.c[0], none, l, p, tile, job, 0);
}

/* few_slots - groups that a warp of sums_few_groups sums before all meet. */
__host__ __device__ __forceinline__ int few_slots(int group32)
{
    return group32 < 8 ? 8 / group32 : 1;
}

/*
 * sums_few_groups - the same with groups. Each warp sums few_slots groups, which follow those of the warp before; then every
 * thread takes one of the 32 x 8 outputs through all of these groups, in order.
 */
template <int TYPE>
__global__ void __launch_bounds__(32 * SUM_SPLIT) sums_few_groups(const Product p)
{
    enum { AHEAD = 8 };
    DYNAMIC_SHARED(shared);
    int(*const part)[8][32] = (int(*)[8][32])shared; /* [SUM_SPLIT * slots] */
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, pair = (int)blockIdx.x;
    const Tile tile = p.tiles[blockIdx.y];
    const Job job = p.jobs[tile.job];
    const Lane l = lane_of(p, tile, job, pair);
    const int blocks = (p.k + 31) / 32, slots = few_slots(p.group32), all = SUM_SPLIT * slots;
    const float *scale =
        l.scale + (warp >> 1); /* of number `warp` of a lane's 8: output warp / 2 */
    float acc = 0.0f;
    for (int first = 0; first < p.groups; first += all) {
        const int from = (first + warp * slots) * p.group32;
        const int end = min(from + slots * p.group32, blocks);
        int slot = warp * slots;
        Sums<1> s;
        clear_sums(s);
        for (int b0 = from; b0 < end; b0 += AHEAD)
            add_blocks<TYPE, AHEAD>(s, l, p, b0, end, [&](int b) {
                if ((b + 1) % p.group32 != 0 && b + 1 != blocks)
                    return;
#pragma unroll
                for (int j = 0; j < 8; j++)
                    part[slot][j][lane] = s.c[0][j >> 2][j & 3];
                slot++;
                clear_sums(s);
            });
        __syncthreads();
        const int n = min(all, p.groups - first);
#pragma unroll 4
        for (int i = 0; i < n; i++)
            acc = __fmaf_rn(whole<TYPE>(part[i][warp][lane]), scale[(size_t)(first + i) * PANEL],
                            acc);
        __syncthreads();
    }
    float(*const sum)[32] = (float(*)[32])shared;
    sum[warp][lane] = acc;
    __syncthreads();
    if (warp > 0 || 2 * pair + (l.g >> 2) >= p.panels)
        return;
    float of[2][4];
    const int none[2][4] = {};
#pragma unroll
    for (int i = 0; i < 8; i++)
        of[i >> 2][i & 3] = sum[i][lane];
    put_sums<TYPE, true>(none, of, l, p, tile, job, 0);
}

#endif

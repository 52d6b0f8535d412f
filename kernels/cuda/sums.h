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

/*
 * sums - a warp has two panels and TILES x 8 rows: lane (g, t) reads outputs 4 (g % 4) .. + 3 of panel g / 4, so one load of
 * 16 bytes feeds two mma. SPLIT warps share two panels and split k; else each has its own.
 */
template <int TYPE, bool GROUPED, int TILES>
__global__ void __launch_bounds__(TILES == 1 && !GROUPED ? 32 * SUM_SPLIT : 32 * SUM_PAIRS)
    sums(const Product p)
{
    constexpr int split = TILES == 1 && !GROUPED ? SUM_SPLIT : 1;
    constexpr int ahead = TILES == 1 ? 8 : 2; /* blocks of 32 inputs on their way */
    __shared__ int part[split > 1 ? split : 1][8][32];
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, g = lane >> 2,
              t = lane & 3;
    const int pair = split > 1 ? (int)blockIdx.x : (int)blockIdx.x * SUM_PAIRS + warp;
    if (2 * pair >= p.panels)
        return; /* the whole warp; with split, the whole block has its pair */
    const Tile tile = p.tiles[blockIdx.y];
    const Job job = p.jobs[tile.job];
    const int panel = min(2 * pair + (g >> 2), p.panels - 1);
    const uint4 *w = (const uint4 *)(job.w + (size_t)panel * p.panel_bytes) + (g & 3);
    const int8_t *q = p.q + ((size_t)tile.row + g) * 32 + t * 8;
    const float *scale = job.scale + (size_t)panel * p.groups * PANEL + (g & 3) * 4;
    const int blocks = (p.k + 31) / 32;
    Sums<TILES> s;
    float acc[TILES][2][4];
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int i = 0; i < 8; i++) {
            s.c[n][i >> 2][i & 3] = 0;
            acc[n][i >> 2][i & 3] = 0.0f;
        }
    for (int b0 = split > 1 ? warp * ahead : 0; b0 < blocks; b0 += ahead * split) {
        Bytes bytes[ahead];
        uint2 x[ahead][TILES];
#pragma unroll
        for (int u = 0; u < ahead; u++)
            if (b0 + u < blocks) {
                bytes[u] = read_bytes<TYPE>(w, b0 + u, t);
#pragma unroll
                for (int n = 0; n < TILES; n++)
                    x[u][n] = *(const uint2 *)(q + ((size_t)(b0 + u) * p.q_rows + 8 * n) * 32);
            }
#pragma unroll
        for (int u = 0; u < ahead; u++) {
            if (b0 + u >= blocks)
                break;
            open_bytes<TYPE>(bytes[u]);
#pragma unroll
            for (int n = 0; n < TILES; n++)
#pragma unroll
                for (int m = 0; m < 2; m++)
                    mma(s.c[n][m], bytes[u].first[2 * m], bytes[u].first[2 * m + 1],
                        bytes[u].second[2 * m], bytes[u].second[2 * m + 1], x[u][n]);
            if (GROUPED && ((b0 + u + 1) % p.group32 == 0 || b0 + u + 1 == blocks)) {
                const float4 col = load4(scale + (size_t)((b0 + u) / p.group32) * PANEL);
                const float of[4] = {col.x, col.y, col.z, col.w};
#pragma unroll
                for (int n = 0; n < TILES; n++)
#pragma unroll
                    for (int i = 0; i < 8; i++) {
                        acc[n][i >> 2][i & 3] = __fmaf_rn(whole<TYPE>(s.c[n][i >> 2][i & 3]),
                                                          of[i >> 1], acc[n][i >> 2][i & 3]);
                        s.c[n][i >> 2][i & 3] = 0;
                    }
            }
        }
    }
    if (split > 1) {
#pragma unroll
        for (int i = 0; i < 8; i++)
            part[warp][i][lane] = s.c[0][i >> 2][i & 3];
        __syncthreads();
        if (warp > 0)
            return;
        for (int o = 1; o < split; o++)
#pragma unroll
            for (int i = 0; i < 8; i++)
                s.c[0][i >> 2][i & 3] += part[o][i][lane];
    }
    if (2 * pair + (g >> 2) >= p.panels)
        return;
    const float4 b = p.has_bias ? load4(job.bias + (size_t)panel * PANEL + (g & 3) * 4)
                                : make_float4(0, 0, 0, 0);
    const float4 col = GROUPED ? b : load4(scale);
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int r = 8 * n + 2 * t + h;
            if (r >= tile.rows)
                continue;
            const float row = p.q_scale[tile.row + r];
            const int *c0 = s.c[n][0], *c1 = s.c[n][1];
            const float *a0 = acc[n][0], *a1 = acc[n][1];
            *(float4 *)(p.y + (size_t)(tile.row + r) * p.ldy + (size_t)panel * PANEL +
                        (g & 3) * 4) =
                make_float4(
                    relu_if(scaled<TYPE, GROUPED>(c0[h], a0[h], row, col.x, b.x), p.relu),
                    relu_if(scaled<TYPE, GROUPED>(c0[2 + h], a0[2 + h], row, col.y, b.y), p.relu),
                    relu_if(scaled<TYPE, GROUPED>(c1[h], a1[h], row, col.z, b.z), p.relu),
                    relu_if(scaled<TYPE, GROUPED>(c1[2 + h], a1[2 + h], row, col.w, b.w), p.relu));
        }
}

#endif

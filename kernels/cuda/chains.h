/*
 * chains.h - products of f32 rows: one fma chain along k for each output, in order (kernels/gemm.h).
 *
 * A thread owns outputs of rows and walks all of k with them; nothing is split along k, so how blocks and threads are cut
 * has no bearing on the bits. `few` waits for memory: a block has a few panels and up to 8 rows, and streams the panels through
 * shared memory, several stages ahead. `many` waits for arithmetic: a block has 8 panels and 64 rows, a thread 8 x 8 outputs.
 */
#ifndef DGM_KERNELS_CUDA_CHAINS_H
#define DGM_KERNELS_CUDA_CHAINS_H

#include "kernels/cuda/prims.h"

enum { FEW_ROWS = 8, FEW_THREADS = 128, FEW_STAGES = 4 };

template <int TYPE> struct Few {
    static constexpr int per = Line<TYPE>::inputs;
    static constexpr int inputs = TYPE == W_F32 ? 64 : TYPE == W_INT4 ? 256 : 128; /* of a stage */
    static constexpr int bytes = inputs / per * LINE;                              /* of a panel */
    static constexpr int ldx = inputs + 4; /* rows of a warp in different banks */
    static __host__ __device__ constexpr size_t stage(int panels, int rows)
    {
        return (size_t)panels * bytes + (size_t)rows * ldx * sizeof(float);
    }
    static __host__ __device__ constexpr size_t shared(int panels, int rows)
    {
        return FEW_STAGES * stage(panels, rows);
    }
};

/* finish - of a chain, or of the sum over groups: scale, bias, ReLU. */
template <int TYPE>
__device__ __forceinline__ float finish(float acc, const Product &p, const Job &job, int panel,
                                        int out, bool grouped)
{
    if (TYPE >= W_INT8 && !grouped)
        acc = __fmaf_rn(acc, job.scale[(size_t)panel * PANEL + out], 0.0f);
    if (p.has_bias)
        acc = __fadd_rn(acc, job.bias[(size_t)panel * PANEL + out]);
    return relu_if(acc, p.relu);
}

/* few_fetch - stage s of the block's panels, and of the rows, on their way to shared memory. */
template <int TYPE>
__device__ __forceinline__ void few_fetch(unsigned char *to, const unsigned char *w, const float *x,
                                          const Product &p, int panels, int s, int rows)
{
    using F = Few<TYPE>;
    const int line = s * (F::inputs / F::per), input = s * F::inputs;
    const int bytes = min(F::bytes, (p.lines - line) * LINE);
    for (int v = (int)threadIdx.x * 16; v < panels * F::bytes; v += (int)blockDim.x * 16) {
        const int panel = v / F::bytes, b = v % F::bytes;
        if (b < bytes)
            copy16(to + v, w + (size_t)panel * p.panel_bytes + (size_t)line * LINE + b);
    }
    to += (size_t)p.few_panels * F::bytes;
    for (int v = (int)threadIdx.x; v < rows * (F::inputs / 4); v += (int)blockDim.x) {
        const int r = v / (F::inputs / 4), i = v % (F::inputs / 4) * 4;
        if (input + i < p.k)
            copy16(to + ((size_t)r * F::ldx + i) * sizeof(float),
                   x + (size_t)r * p.ldx + input + i);
    }
}

/* Some inputs of one output and ROWS rows in registers: the next are read while these are computed with. */
template <int TYPE, int ROWS> struct Slab {
    static constexpr int inputs = ROWS == 1 ? 16 : 8;
    uint32_t w[inputs / Line<TYPE>::inputs];
    float4 x[ROWS][inputs / 4];

    __device__ __forceinline__ void read(const uint32_t *ws, const float *xs, int i)
    {
#pragma unroll
        for (int l = 0; l < inputs / Line<TYPE>::inputs; l++)
            w[l] = ws[(i / Line<TYPE>::inputs + l) * PANEL];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int j = 0; j < inputs / 4; j++)
                x[r][j] = *(const float4 *)(xs + r * Few<TYPE>::ldx + i + 4 * j);
    }

    __device__ __forceinline__ void chain(float *c) const
    {
#pragma unroll
        for (int i = 0; i < inputs; i++) {
            const float v = wide<TYPE>(w[i / Line<TYPE>::inputs], i % Line<TYPE>::inputs);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                const float4 q = x[r][i / 4];
                const float part[4] = {q.x, q.y, q.z, q.w};
                c[r] = __fmaf_rn(part[i % 4], v, c[r]);
            }
        }
    }
};

/* A thread has one output and ROWS rows; 16 threads a panel; few_groups times ROWS rows; few_panels panels. */
template <int TYPE, bool GROUPED, int ROWS>
__global__ void __launch_bounds__(FEW_THREADS) few(const Product p)
{
    using F = Few<TYPE>;
    constexpr int step = Slab<TYPE, ROWS>::inputs;
    DYNAMIC_SHARED(shared);
    const Tile tile = p.tiles[blockIdx.y];
    const Job job = p.jobs[tile.job];
    const int out = (int)threadIdx.x % PANEL, slot = (int)threadIdx.x / PANEL;
    const int row = slot % p.few_groups * ROWS, mine = slot / p.few_groups;
    const int first = (int)blockIdx.x * p.few_panels, panels = min(p.few_panels, p.panels - first),
              panel = first + mine;
    const bool busy = row < tile.rows && mine < panels;
    const unsigned char *w = job.w + (size_t)first * p.panel_bytes;
    const float *x = p.x + (size_t)tile.row * p.ldx;
    const float *scale = GROUPED ? job.scale + (size_t)panel * p.groups * PANEL + out : NULL;
    const int steps = (p.k + F::inputs - 1) / F::inputs;
    const size_t stage = F::stage(p.few_panels, p.tile_rows);
    for (int s = 0; s < FEW_STAGES - 1; s++) {
        if (s < steps)
            few_fetch<TYPE>(shared + s * stage, w, x, p, panels, s, tile.rows);
        copy_commit();
    }
    float chain[ROWS], acc[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        chain[r] = acc[r] = 0.0f;
    int in_group = 0;
    for (int s = 0; s < steps; s++) {
        copy_wait<FEW_STAGES - 2>();
        __syncthreads(); /* all have stage s, and all are done with stage s - 1, which is filled anew */
        if (s + FEW_STAGES - 1 < steps)
            few_fetch<TYPE>(shared + (s + FEW_STAGES - 1) % FEW_STAGES * stage, w, x, p, panels,
                            s + FEW_STAGES - 1, tile.rows);
        copy_commit();
        if (!busy)
            continue;
        const unsigned char *here = shared + s % FEW_STAGES * stage;
        const uint32_t *ws = (const uint32_t *)(here + (size_t)mine * F::bytes) + out;
        /* rows past the tile's hold junk: computed, not written */
        const float *xs = (const float *)(here + (size_t)p.few_panels * F::bytes) + row * F::ldx;
        const int left = min(F::inputs, p.k - s * F::inputs);
        Slab<TYPE, ROWS> now;
        now.read(ws, xs, 0);
#pragma unroll 4
        for (int i = 0; i + step <= left; i += step) {
            Slab<TYPE, ROWS> next;
            next.read(ws, xs, min(i + step, F::inputs - step));
            now.chain(chain);
            now = next;
            if (GROUPED && (i + step) % 32 == 0 && ++in_group == p.group32) {
                const float by = *scale;
#pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    acc[r] = __fmaf_rn(chain[r], by, acc[r]);
                    chain[r] = 0.0f;
                }
                in_group = 0;
                scale += PANEL;
            }
        }
        for (int i = left / step * step; i < left; i++) {
            const float v = wide<TYPE>(ws[i / F::per * PANEL], i % F::per);
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                chain[r] = __fmaf_rn(xs[r * F::ldx + i], v, chain[r]);
        }
    }
    if (!busy)
        return;
    if (GROUPED && p.k % (32 * p.group32) != 0) { /* the last group is smaller */
        const float by = *scale;
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            acc[r] = __fmaf_rn(chain[r], by, acc[r]);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (row + r < tile.rows)
            p.y[(size_t)(tile.row + row + r) * p.ldy + (size_t)panel * PANEL + out] =
                finish<TYPE>(GROUPED ? acc[r] : chain[r], p, job, panel, out, GROUPED);
}

enum {
    MANY_ROWS = 64,
    MANY_PANELS = 8,
    MANY_OUTS = MANY_PANELS * PANEL,
    MANY_THREADS = 128,
    MANY_K = 32
};

/* What a thread carries from global to shared memory for 32 inputs. */
template <int TYPE> struct Carried {
    static constexpr int words = MANY_OUTS * MANY_K / 4 / MANY_THREADS / Line<TYPE>::inputs;
    uint4 w[words];
    float4 x[4];
};

template <int TYPE>
__device__ __forceinline__ void many_read(Carried<TYPE> &c, const unsigned char *w, const float *x,
                                          const Product &p, int first_panel, int input, int rows)
{
    const int quad = (int)threadIdx.x & 3, panel = (int)threadIdx.x >> 2 & 7,
              at = (int)threadIdx.x >> 5;
    const bool mine = first_panel + panel < p.panels;
    w += (size_t)(first_panel + panel) * p.panel_bytes + quad * 16;
#pragma unroll
    for (int i = 0; i < Carried<TYPE>::words; i++) {
        const int line = input / Line<TYPE>::inputs + at + 4 * i;
        c.w[i] = mine && line < p.lines ? *(const uint4 *)(w + (size_t)line * LINE)
                                        : make_uint4(0, 0, 0, 0);
    }
    const int row = (int)threadIdx.x & 63, half = (int)threadIdx.x >> 6;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int col = input + (half + 2 * i) * 4;
        c.x[i] = row < rows && col < p.k ? *(const float4 *)(x + (size_t)row * p.ldx + col)
                                         : make_float4(0, 0, 0, 0);
    }
}

template <int TYPE>
__device__ __forceinline__ void many_write(float (*ws)[MANY_OUTS], float (*xs)[MANY_ROWS],
                                           const Carried<TYPE> &c)
{
    const int quad = (int)threadIdx.x & 31, at = (int)threadIdx.x >> 5;
#pragma unroll
    for (int i = 0; i < Carried<TYPE>::words; i++)
#pragma unroll
        for (int s = 0; s < Line<TYPE>::inputs; s++)
            *(float4 *)&ws[(at + 4 * i) * Line<TYPE>::inputs + s][quad * 4] =
                make_float4(wide<TYPE>(c.w[i].x, s), wide<TYPE>(c.w[i].y, s),
                            wide<TYPE>(c.w[i].z, s), wide<TYPE>(c.w[i].w, s));
    const int row = (int)threadIdx.x & 63, half = (int)threadIdx.x >> 6;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int col = (half + 2 * i) * 4;
        xs[col][row] = c.x[i].x;
        xs[col + 1][row] = c.x[i].y;
        xs[col + 2][row] = c.x[i].z;
        xs[col + 3][row] = c.x[i].w;
    }
}

/* many_input - one input of a thread's 8 rows and 8 outputs. */
__device__ __forceinline__ void many_input(float acc[8][8], const float *ws, const float *xs,
                                           int out, int row)
{
    const float4 w0 = *(const float4 *)(ws + out), w1 = *(const float4 *)(ws + 64 + out);
    const float4 x0 = *(const float4 *)(xs + row), x1 = *(const float4 *)(xs + 32 + row);
    const float w[8] = {w0.x, w0.y, w0.z, w0.w, w1.x, w1.y, w1.z, w1.w};
    const float x[8] = {x0.x, x0.y, x0.z, x0.w, x1.x, x1.y, x1.z, x1.w};
#pragma unroll
    for (int r = 0; r < 8; r++)
#pragma unroll
        for (int o = 0; o < 8; o++)
            acc[r][o] = __fmaf_rn(x[r], w[o], acc[r][o]);
}

/* many_group - the chains of a group times its scales onto the sums; the chains begin anew. */
__device__ __forceinline__ void many_group(float acc[8][8], float chain[8][8], const Job &job,
                                           const Product &p, int first_panel, int out, int group)
{
#pragma unroll
    for (int o = 0; o < 8; o++) {
        const int col = out + (o & 3) + (o >> 2) * 64,
                  panel = min(first_panel + col / PANEL, p.panels - 1);
        const float s = job.scale[((size_t)panel * p.groups + group) * PANEL + col % PANEL];
#pragma unroll
        for (int r = 0; r < 8; r++) {
            acc[r][o] = __fmaf_rn(chain[r][o], s, acc[r][o]);
            chain[r][o] = 0.0f;
        }
    }
}

template <int TYPE, bool GROUPED>
__global__ void __launch_bounds__(MANY_THREADS) many(const Product p)
{
    __shared__ __align__(16) float ws[2][MANY_K][MANY_OUTS];
    __shared__ __align__(16) float xs[2][MANY_K][MANY_ROWS];
    const Tile tile = p.tiles[blockIdx.y];
    const Job job = p.jobs[tile.job];
    const int first_panel = (int)blockIdx.x * MANY_PANELS;
    const int out = (int)threadIdx.x % 16 * 4, row = (int)threadIdx.x / 16 * 4;
    const float *x = p.x + (size_t)tile.row * p.ldx;
    const int steps = (p.k + MANY_K - 1) / MANY_K;
    Carried<TYPE> c;
    float chain[8][8], acc[8][8];
#pragma unroll
    for (int r = 0; r < 8; r++)
#pragma unroll
        for (int o = 0; o < 8; o++)
            chain[r][o] = acc[r][o] = 0.0f;
    many_read<TYPE>(c, job.w, x, p, first_panel, 0, tile.rows);
    many_write<TYPE>(ws[0], xs[0], c);
    __syncthreads();
    for (int s = 0; s < steps; s++) {
        const int now = s & 1;
        if (s + 1 < steps)
            many_read<TYPE>(c, job.w, x, p, first_panel, (s + 1) * MANY_K, tile.rows);
        if ((s + 1) * MANY_K <= p.k) {
#pragma unroll 8
            for (int i = 0; i < MANY_K; i++)
                many_input(chain, ws[now][i], xs[now][i], out, row);
        } else { /* zeros would not do: they turn -0 into +0 */
#pragma unroll 1
            for (int i = 0; i < p.k - s * MANY_K; i++)
                many_input(chain, ws[now][i], xs[now][i], out, row);
        }
        if (GROUPED && ((s + 1) % p.group32 == 0 || s + 1 == steps))
            many_group(acc, chain, job, p, first_panel, out, s / p.group32);
        if (s + 1 < steps)
            many_write<TYPE>(ws[now ^ 1], xs[now ^ 1], c);
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 8; r++) {
        const int at = row + (r & 3) + (r >> 2) * 32;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int col = out + 64 * h, panel = first_panel + col / PANEL;
            if (at >= tile.rows || panel >= p.panels)
                continue;
            float v[4];
#pragma unroll
            for (int o = 0; o < 4; o++)
                v[o] = finish<TYPE>(GROUPED ? acc[r][4 * h + o] : chain[r][4 * h + o], p, job,
                                    panel, col % PANEL + o, GROUPED);
            *(float4 *)(p.y + (size_t)(tile.row + at) * p.ldy + (size_t)panel * PANEL +
                        col % PANEL) = make_float4(v[0], v[1], v[2], v[3]);
        }
    }
}

#endif

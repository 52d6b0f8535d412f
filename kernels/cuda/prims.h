/*
 * prims.h - private to kernels/cuda/: what every kernel works with, and the few instructions that C++ has no word for.
 *
 * The files of this folder are compiled by nvcc, and a second time by the host's C++ compiler for the tests, on a
 * cuda_runtime.h that runs blocks on the CPU (tests/kernels/cuda_on_cpu): there the instructions come from that header.
 */
#ifndef DGM_KERNELS_CUDA_PRIMS_H
#define DGM_KERNELS_CUDA_PRIMS_H

#include <cuda_runtime.h>
#include <stdint.h>

/* As kernels/dtype.h has them; plugin.cu checks that. */
enum { W_F32, W_BF16, W_INT8, W_INT4 };
enum { PANEL = 16, LINE = 64 };

/* One matrix as a kernel reads it: panels of pack.h, scales, bias [16 * panels]. */
struct Job {
    const unsigned char *w;
    const float *scale, *bias;
};

/* Rows of one job that one block computes. */
struct Tile {
    int job, row, rows;
};

/* A grouped product. Rows of all jobs stand one behind the other. */
struct Product {
    const Job *jobs;
    const Tile *tiles;
    const float *x;       /* [rows, ldx]; or */
    const int8_t *q;      /* [k / 32][q_rows][32] and */
    const float *q_scale; /* [rows] */
    float *y;             /* [rows, ldy], ldy a multiple of 16: whole panels are written */
    size_t ldx, q_rows, ldy, panel_bytes;
    int k, panels, lines; /* lines of 64 bytes of a panel */
    int groups, group32;  /* integers: scales of an output; inputs of a group / 32 */
    int relu, has_bias;
    int tile_rows;              /* the most of any tile */
    int few_panels, few_groups; /* of a block of few(): panels, and groups of rows */
};

template <int TYPE> struct Line {
    static constexpr int inputs = TYPE == W_INT4 ? 8 : TYPE == W_INT8 ? 4 : TYPE == W_BF16 ? 2 : 1;
};

/* wide - input s of a word of one output, as a float: exact. The integers through the bits of 2^23 + q + bias. */
template <int TYPE> __device__ __forceinline__ float wide(uint32_t word, int s)
{
    if (TYPE == W_F32)
        return __uint_as_float(word);
    if (TYPE == W_BF16)
        return __uint_as_float(s == 0 ? word << 16 : word & 0xffff0000u);
    if (TYPE == W_INT8)
        return __fadd_rn(
            __uint_as_float(__byte_perm(word ^ 0x80808080u, 0x4b000000u, 0x7440u | (unsigned)s)),
            -8388736.0f);
    const uint32_t nibble = word >> (s < 4 ? 8 * s : 8 * s - 28) & 15u;
    return __fadd_rn(__uint_as_float(nibble | 0x4b000000u), -8388616.0f);
}

/* relu - x > 0 ? x : +0, and NaN stays NaN. */
__device__ __forceinline__ float relu_if(float y, int relu)
{
    return relu && y <= 0.0f ? 0.0f : y;
}

#ifdef __CUDACC__

/* 16 bytes from global to shared memory, without waiting. */
__device__ __forceinline__ void copy16(void *to, const void *from)
{
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
        "l"(from)
        : "memory");
}

__device__ __forceinline__ void copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* copy_wait - until all but the last N commits are there. */
template <int N> __device__ __forceinline__ void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/*
 * mma - c += a b in a warp: 16 outputs x 32 bytes, 32 bytes x 8 rows, exact. With g = lane / 4, t = lane % 4:
 * a 0, 1: outputs g, g + 8, the first four bytes of quarter t; a 2, 3: likewise, the second four;
 * b 0, 1: row g, the same bytes; c 0, 1: output g, rows 2 t, 2 t + 1; c 2, 3: output g + 8.
 */
__device__ __forceinline__ void mma(int c[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                    uint2 b)
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b.x), "r"(b.y));
}

/* Shared memory whose size the launch says. */
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

#define LAUNCH(stream, blocks, threads, shared, kernel, ...)                                       \
    kernel<<<blocks, threads, shared, stream>>>(__VA_ARGS__)

#endif
#endif

/*
 * A cuda_runtime.h for the host's C++ compiler: the sources of kernels/cuda, unchanged, run on the CPU, so that their
 * indices, barriers and bits are tested where there is no GPU. Not fast, and not a model of speed.
 *
 * The threads of a block are contexts of one thread of the host, switched at barriers; blocks run one after the other.
 * DGM_ON_CPU_GPUS is how many devices there are (2), DGM_ON_CPU_MIB what
 * each has (2048), DGM_ON_CPU_FAIL the number of the cudaGetLastError that finds an error (0: none).
 */
#ifndef DGM_TESTS_CUDA_ON_CPU_H
#define DGM_TESTS_CUDA_ON_CPU_H

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

using std::max;
using std::min;

#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

struct uint2 {
    uint32_t x, y;
};
struct uint4 {
    uint32_t x, y, z, w;
};
struct float4 {
    float x, y, z, w;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c)
    {
    }
};

inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w)
{
    return {x, y, z, w};
}

inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

/* ---- a block ---- */

extern dim3 threadIdx, blockIdx, blockDim;
extern unsigned char *on_cpu_shared;
void on_cpu_launch(dim3 blocks, unsigned threads, size_t shared,
                   const std::function<void()> &kernel);
void __syncthreads();
void on_cpu_sync_warp();
uint32_t (*on_cpu_warp())[32]; /* 8 words of each lane of the running thread's warp */

#define DYNAMIC_SHARED(name) unsigned char *name = on_cpu_shared
#define LAUNCH(stream, blocks, threads, shared, kernel, ...)                                       \
    ((void)(stream), on_cpu_launch(blocks, threads, shared, [=] { kernel(__VA_ARGS__); }))

/* ---- arithmetic ---- */

inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}

inline float __fadd_rn(float a, float b)
{
    return a + b;
}

inline float __fmul_rn(float a, float b)
{
    return a * b;
}

inline float __fdiv_rn(float a, float b)
{
    return a / b;
}

inline float __int2float_rn(int a)
{
    return (float)a;
}

inline float __uint_as_float(uint32_t a)
{
    float f;
    memcpy(&f, &a, sizeof f);
    return f;
}

inline uint32_t __float_as_uint(float f)
{
    uint32_t a;
    memcpy(&a, &f, sizeof a);
    return a;
}

inline uint32_t __byte_perm(uint32_t a, uint32_t b, uint32_t order)
{
    const uint64_t all = (uint64_t)b << 32 | a;
    uint32_t r = 0;
    for (int i = 0; i < 4; i++)
        r |= (uint32_t)(all >> 8 * (order >> 4 * i & 7) & 255) << 8 * i;
    return r;
}

/* ---- what prims.h has instructions for ---- */

inline void copy16(void *to, const void *from)
{
    memcpy(to, from, 16);
}

inline void copy_commit()
{
}
template <int N> inline void copy_wait()
{
}

inline int on_cpu_dot(uint32_t a, uint32_t b)
{
    int sum = 0;
    for (int i = 0; i < 32; i += 8)
        sum += (int)(int8_t)(a >> i) * (int)(int8_t)(b >> i);
    return sum;
}

inline void mma(int c[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint2 b)
{
    uint32_t(*words)[32] = on_cpu_warp();
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const uint32_t mine[6] = {a0, a1, a2, a3, b.x, b.y};
    for (int i = 0; i < 6; i++)
        words[i][lane] = mine[i];
    on_cpu_sync_warp();
    for (int i = 0; i < 4; i++)
        for (int quarter = 0; quarter < 4; quarter++) {
            const int out = g * 4 + quarter, row = (2 * t + i % 2) * 4 + quarter;
            c[i] += on_cpu_dot(words[i / 2][out], words[4][row]) +
                    on_cpu_dot(words[2 + i / 2][out], words[5][row]);
        }
    on_cpu_sync_warp();
}

/* ---- the runtime ---- */

typedef enum {
    cudaSuccess,
    cudaErrorMemoryAllocation = 2,
    cudaErrorNoDevice = 100,
    cudaErrorLaunchFailure = 719
} cudaError_t;
typedef void *cudaStream_t;
typedef void *cudaEvent_t;
enum {
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaStreamNonBlocking,
    cudaEventDisableTiming,
    cudaHostAllocDefault,
    cudaFuncAttributeMaxDynamicSharedMemorySize
};
struct cudaDeviceProp {
    char name[256];
    int multiProcessorCount;
};

cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int index);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int index);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaGetLastError();
const char *cudaGetErrorString(cudaError_t e);

inline cudaError_t cudaHostAlloc(void **out, size_t bytes, int)
{
    return cudaMalloc(out, bytes);
}

inline cudaError_t cudaFreeHost(void *p)
{
    return cudaFree(p);
}

inline cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t)
{
    memset(p, value, bytes);
    return cudaSuccess;
}

inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, int, cudaStream_t)
{
    memcpy(to, from, bytes);
    return cudaSuccess;
}

inline cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                                     size_t width, size_t rows, int, cudaStream_t)
{
    for (size_t r = 0; r < rows; r++)
        memcpy((char *)to + r * to_pitch, (const char *)from + r * from_pitch, width);
    return cudaSuccess;
}

/* All is done when the call returns, so streams and events have nothing to hold. */
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t *, int)
{
    return cudaSuccess;
}

inline cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaSuccess;
}

inline cudaError_t cudaStreamDestroy(cudaStream_t)
{
    return cudaSuccess;
}

inline cudaError_t cudaEventCreate(cudaEvent_t *)
{
    return cudaSuccess;
}

inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t *, int)
{
    return cudaSuccess;
}

inline cudaError_t cudaEventDestroy(cudaEvent_t)
{
    return cudaSuccess;
}

inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t)
{
    return cudaSuccess;
}

inline cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    return cudaSuccess;
}

inline cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t, cudaEvent_t)
{
    *ms = 0;
    return cudaSuccess;
}

inline cudaError_t cudaFuncSetAttribute(const void *, int, int)
{
    return cudaSuccess;
}

#endif

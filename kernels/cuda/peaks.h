/* peaks.h - what the card reaches on registers alone, for benches. */
#ifndef DGM_KERNELS_CUDA_PEAKS_H
#define DGM_KERNELS_CUDA_PEAKS_H

#include "kernels/cuda/prims.h"

enum { PEAK_THREADS = 256, PEAK_CHAINS = 16 };

__global__ void __launch_bounds__(PEAK_THREADS) fma_peak(float *sink, int rounds)
{
    float a[PEAK_CHAINS];
    const float x = sink[threadIdx.x], y = sink[threadIdx.x + 1];
#pragma unroll
    for (int i = 0; i < PEAK_CHAINS; i++)
        a[i] = x + (float)i;
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int i = 0; i < PEAK_CHAINS; i++)
            a[i] = __fmaf_rn(a[i], x, y);
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PEAK_CHAINS; i++)
        sum += a[i];
    if (sum == 1.5f) /* never: but the compiler cannot know */
        sink[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(PEAK_THREADS) mma_peak(float *sink, int rounds)
{
    int c[8][4] = {};
    const uint32_t a = __float_as_uint(sink[threadIdx.x]);
    const uint2 b = {a, a + 1};
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int i = 0; i < 8; i++)
            mma(c[i], a, a + 1, a + 2, a + 3, b);
    int sum = 0;
#pragma unroll
    for (int i = 0; i < 8; i++)
        sum += c[i][0] + c[i][1] + c[i][2] + c[i][3];
    if (sum == 12345)
        sink[blockIdx.x] = (float)sum;
}

#endif

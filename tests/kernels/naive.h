/*
 * naive.h - the bit contract (kernels.h, gemm.h, vocab.h) spelled a second time, one number after the other, with
 * nothing from kernels/ but dgm_exp and dgm_ln, which test_math checks by themselves.
 */
#ifndef DGM_TESTS_KERNELS_NAIVE_H
#define DGM_TESTS_KERNELS_NAIVE_H

#include "kernels/math.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* The sum of 16 lanes: + 8, + 4, + 2, + 1. */
static inline float naive_fold(const float lane[16])
{
    float a[8], b[4];
    for (int l = 0; l < 8; l++)
        a[l] = lane[l] + lane[l + 8];
    for (int l = 0; l < 4; l++)
        b[l] = a[l] + a[l + 4];
    return (b[0] + b[2]) + (b[1] + b[3]);
}

static inline float naive_sum(const float *x, int n)
{
    float lane[16] = {0};
    for (int i = 0; i < n; i++)
        lane[i % 16] += x[i];
    return naive_fold(lane);
}

static inline float naive_dot(const float *x, const float *y, int n)
{
    float lane[16] = {0};
    for (int i = 0; i < n; i++)
        lane[i % 16] = fmaf(x[i], y[i], lane[i % 16]);
    return naive_fold(lane);
}

/* Loops of one thread alone, most of what the tests of products take: nothing for ThreadSanitizer to watch. */
#define NAIVE_LOOP __attribute__((no_sanitize("thread")))

NAIVE_LOOP __attribute__((always_inline)) static inline float
naive_chain_loop(float acc, const float *x, size_t x_step, const float *w, size_t w_step, int k)
{
    for (int i = 0; i < k; i++)
        acc = fmaf(x[(size_t)i * x_step], w[(size_t)i * w_step], acc);
    return acc;
}

/* One instruction in place of a call for fmaf. */
#if defined __x86_64__
NAIVE_LOOP __attribute__((target("fma"))) static inline float
naive_chain_fma(float acc, const float *x, size_t x_step, const float *w, size_t w_step, int k)
{
    return naive_chain_loop(acc, x, x_step, w, w_step, k);
}
#endif

/* One output before bias: w's inputs are `step` apart. */
NAIVE_LOOP static inline float naive_chain(float acc, const float *x, size_t x_step, const float *w,
                                           size_t w_step, int k)
{
#if defined __x86_64__
    if (__builtin_cpu_supports("fma"))
        return naive_chain_fma(acc, x, x_step, w, w_step, k);
#endif
    return naive_chain_loop(acc, x, x_step, w, w_step, k);
}

static inline float naive_finish(float acc, const float *bias, const float *residual, int relu,
                                 int i)
{
    float y = bias != NULL ? acc + bias[i] : acc;
    if (relu && !(y > 0.0f) && y == y)
        y = 0.0f;
    return residual != NULL ? y + residual[i] : y;
}

static inline float naive_max(const float *x, int n)
{
    float m = x[0];
    for (int i = 0; i < n; i++) {
        if (x[i] != x[i])
            return x[i];
        if (x[i] > m)
            m = x[i];
    }
    return m;
}

#endif

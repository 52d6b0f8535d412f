/*
 * exp_terms.h - private to kernels/: the steps of exp, shared by the scalar and the vector form.
 *
 *   t = fma(x, 1/ln 2, 1.5 * 2^23)      n = t - 1.5 * 2^23: x / ln 2 rounded; t's low bits hold n
 *   r = fma(n, -LN2_LO, fma(n, -LN2_HI, x))
 *   q = Q0 + r (Q1 + r (Q2 + r (Q3 + r Q4))), all by fma
 *   exp(x) = fma(r * r, q, r) + 1, its exponent raised by n
 *
 * Q is the minimax polynomial of (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, weighted with r^2 / e^r (Remez in 40
 * digits, then rounded): 0.05 of an ulp, so nearly all of the error is that of the last addition.
 * Below EXP_MIN the result is +0, so no subnormal ever arises; above EXP_MAX it is +inf.
 */
#ifndef DGM_KERNELS_EXP_TERMS_H
#define DGM_KERNELS_EXP_TERMS_H

#define EXP_MIN -87.33f
#define EXP_MAX 0x1.62e42ep+6f /* 88.722832: the last float whose exp is finite */
#define EXP_LOG2E 0x1.715476p+0f
#define EXP_ROUND 0x1.8p+23f
#define EXP_LN2_HI 0x1.62e43p-1f
#define EXP_LN2_LO -0x1.05c61p-29f
#define EXP_Q0 0x1.fffffcp-2f
#define EXP_Q1 0x1.555492p-3f
#define EXP_Q2 0x1.5558f2p-5f
#define EXP_Q3 0x1.123a2p-7f
#define EXP_Q4 0x1.6a23dp-10f

#endif

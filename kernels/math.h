/*
 * math.h - elementary functions with the same bits on every machine.
 *
 * libm picks FMA variants by CPU, so its last bit differs between machines. These use a fixed
 * sequence of IEEE operations. `/` and sqrt are IEEE and used directly.
 */
#ifndef DGM_KERNELS_MATH_H
#define DGM_KERNELS_MATH_H

/* dgm_exp - within 1 ulp (f32); +0 below -87.33, +inf above 88.72, NaN stays NaN. */
float dgm_exp(float x);
/* dgm_ln - natural logarithm, within 1 ulp (f32); -inf at 0, NaN below. */
float dgm_ln(float x);
/* dgm_pow - x to the power y for x >= 0, computed in f64 and rounded; dgm_pow(x, 0) = 1, dgm_pow(x, 1) = x; NaN
 * for x < 0. */
float dgm_pow(float x, float y);
/* dgm_sin, dgm_cos - for |x| up to 1e6, computed in f64 and rounded: correct to the last f32 bit but for rare ties.
 * NaN beyond. */
float dgm_sin(float x);
float dgm_cos(float x);

#endif

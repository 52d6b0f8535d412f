/* The sinusoid table that NLLB adds to embeddings. Source: papers by way of Hugging Face's
 * M2M100SinusoidalPositionalEmbedding; computed, not stored in checkpoints. */
#include "kernels/math.h"
#include "runtime/weights.h"

#include <math.h>
#include <string.h>

/*
 * e to the x for -10 <= x <= 0, in f64 and by the same operations on every machine (libm's differ): x = n ln 2 + r,
 * |r| <= 0.35, and a Taylor series whose 15th term is below 1e-19. Rounded to f32, the result is the correct
 * one but for ties that no x here comes near.
 */
static double exp_f64(double x)
{
    const double n = floor(x * 1.4426950408889634 + 0.5);
    const double r = x - n * 0.6931471805599453;
    double sum = 1.0;
    for (int i = 15; i >= 1; i--)
        sum = 1.0 + sum * r / i;
    return ldexp(sum, (int)n);
}

void dgm_positions_fill(float *table, int rows, int d)
{
    const int half = d / 2;
    /* Each rounding as there: ln(10000) / (half - 1) in f64, then f32; w = exp(f32(i * -step)); angle = f32(p * w). */
    const float step = (float)(9.210340371976184 / (half - 1));
    memset(table, 0,
           (size_t)rows * (size_t)d *
               sizeof *table); /* row 1 (padding) and an odd d's last column stay 0 */
    for (int i = 0; i < half; i++) {
        const float w = (float)exp_f64((double)((float)i * -step));
        for (int p = 0; p < rows; p++) {
            float *row = table + (size_t)p * (size_t)d;
            const float angle = (float)p * w;
            if (p == 1)
                continue;
            row[i] = dgm_sin(angle);
            row[half + i] = dgm_cos(angle);
        }
    }
}

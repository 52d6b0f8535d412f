#include "runtime/quantize_row.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { FIRST_FACTOR = 115, LAST_FACTOR = 30, LANES = 8 };
/* The error falls, then rises, nearly always: past this multiple of the least there is nothing to find. */
static const float HOPELESS = 4;

/* What q may be, and by what amax is divided. */
typedef struct range {
    int low, high, divisor;
} range;

static range range_of(const dgm_quantizer *z)
{
    const int half = z->type == DGM_W_INT4 ? 8 : 128;
    if (z->rule == DGM_SCALE_PAPER)
        return (range){-half, half - 1, half};
    return (range){1 - half, half - 1, half - 1};
}

/* |x| is some hundreds at most (amax / scale, clipped): the conversions are exact, and compilers vectorise them. */
static inline int round_into(float x, int low, int high)
{
    int q = (int)x;
    const float rest = x - (float)q;
    q += (rest >= 0.5f) - (rest <= -0.5f);
    q = q < low ? low : q;
    return q > high ? high : q;
}

static float largest(const float *w, int n)
{
    float amax = 0;
    for (int i = 0; i < n; i++)
        amax = fabsf(w[i]) > amax ? fabsf(w[i]) : amax;
    return amax;
}

/* In units of the scale, so that nothing overflows. */
static float squared_error(const float *w, int n, float scale, const range *r)
{
    float sum[LANES] = {0}, all = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float x = w[i + l] / scale, d = x - (float)round_into(x, r->low, r->high);
            sum[l] += d * d;
        }
    }
    for (; i < n; i++) {
        const float x = w[i] / scale, d = x - (float)round_into(x, r->low, r->high);
        sum[0] += d * d;
    }
    for (int l = 0; l < LANES; l++)
        all += sum[l];
    return all;
}

static float best_scale(const float *w, int n, float amax, const range *r)
{
    float best = 0, least = INFINITY;
    for (int f = FIRST_FACTOR; f >= LAST_FACTOR; f--) {
        const float factor = (float)f / 100, scale = amax / (float)r->divisor * factor;
        if (scale < FLT_MIN)
            break;
        const float error = squared_error(w, n, scale, r) * factor * factor;
        if (error < least) {
            least = error;
            best = scale;
        }
        if (error > HOPELESS * least)
            break;
    }
    return best;
}

static float quantize_group(int8_t *q, const float *w, int n, const range *r, bool clip)
{
    const float amax = largest(w, n);
    const float scale = clip ? best_scale(w, n, amax, r) : amax / (float)r->divisor;
    if (scale < FLT_MIN) {
        memset(q, 0, (size_t)n);
        return 0;
    }
    for (int i = 0; i < n; i++)
        q[i] = (int8_t)round_into(w[i] / scale, r->low, r->high);
    return scale;
}

void dgm_quantize_row(int8_t *q, float *scale, const float *w, int k, const dgm_quantizer *z)
{
    const range r = range_of(z);
    const int step = z->group == 0 ? k : z->group;
    for (int i = 0, g = 0; i < k; i += step, g++)
        scale[g] = quantize_group(q + i, w + i, k - i < step ? k - i : step, &r, z->clip);
}

int dgm_quantize_one(float w, float scale, const dgm_quantizer *z)
{
    const range r = range_of(z);
    if (scale == 0)
        return 0;
    const float x = w / scale;
    /* what was fed back may be anything, and a conversion of what does not fit is undefined */
    return x > (float)r.low ? round_into(x < (float)r.high ? x : (float)r.high, r.low, r.high)
                            : r.low;
}

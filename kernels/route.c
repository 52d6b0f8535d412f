#include "kernels/route.h"

#include "kernels/math.h"

#include <math.h>

/* -1 where there is none; -inf never gets in. */
static int best_two(int *best, int *second, const float *logits, int n)
{
    int a = -1, b = -1;
    for (int i = 0; i < n; i++) {
        const float l = logits[i];
        if (l != l)
            return dgm_fail(DGM_ENAN, "router: the logit of expert %d is not a number", i);
        if (l == -INFINITY)
            continue;
        if (a < 0 || l > logits[a]) {
            b = a;
            a = i;
        } else if (b < 0 || l > logits[b]) {
            b = i;
        }
    }
    if (a < 0 || logits[a] == INFINITY)
        return dgm_fail(DGM_ENAN, "router: want a finite best logit of %d, found %s", n,
                        a < 0 ? "none" : "infinity");
    *best = a;
    *second = b;
    return DGM_OK;
}

int dgm_route_top2(int32_t *idx, float *gate, const float *logits, int n)
{
    int a = 0, b = 0;
    DGM_TRY(best_two(&a, &b, logits, n));
    const float e = b < 0 ? 0.0f : dgm_exp(logits[b] - logits[a]);
    idx[0] = a;
    idx[1] = b;
    gate[0] = 1.0f / (1.0f + e);
    gate[1] = e / (1.0f + e);
    return DGM_OK;
}

int dgm_route_top1(int32_t *idx, float *gate, const dgm_kernels *kern, const float *logits, int n)
{
    int a = 0, b = 0;
    float max, sum, top[DGM_LANES];
    DGM_TRY(best_two(&a, &b, logits, n));
    kern->block_max_sum(&max, &sum, top, logits, n);
    idx[0] = a;
    idx[1] = -1;
    gate[0] = 1.0f / sum; /* exp(l_a - max) is 1 */
    gate[1] = 0.0f;
    return DGM_OK;
}

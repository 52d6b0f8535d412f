#include "runtime/sparsify_score.h"

#include "kernels/math.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

float dgm_score_factor(const dgm_channel *c, const dgm_score_rule *rule)
{
    double f = c->a;
    if (rule->lambda != 0 && !rule->mul)
        f += rule->lambda * sqrt(c->variance);
    if (rule->lambda != 0 && rule->mul && c->a > 0)
        f *= 1 + rule->lambda * c->variance / (c->a * c->a);
    if (rule->gamma != 0)
        f *= (double)dgm_pow((float)c->fired, (float)rule->gamma);
    return (float)f;
}

/* whole - floor(x), x a share of k by a decimal number that f64 holds to its last bits alone: 0.29 of 100 is 29. */
static double whole(double x, int k)
{
    return floor(x + 1e-9 * k);
}

int dgm_score_goes(int k, double sparsity, dgm_n_of_m p)
{
    if (p.m == 0)
        return (int)whole(sparsity * k, k);
    return k / p.m * p.n + k % p.m * p.n / p.m;
}

int dgm_score_goes_row(int r, int k, double mean)
{
    mean = mean < 0 ? 0 : mean > k ? k : mean;
    return (int)(whole((r + 1) * mean, k) - whole(r * mean, k));
}

static void swap(uint64_t *a, uint64_t *b)
{
    const uint64_t t = *a;
    *a = *b;
    *b = t;
}

static uint64_t middle_of(uint64_t a, uint64_t b, uint64_t c)
{
    if ((a < b) == (b < c))
        return b;
    return (b < a) == (a < c) ? a : c;
}

/* select_smallest - the n smallest of keys [k], which are all different, come to stand first. */
static void select_smallest(uint64_t *keys, int k, int n)
{
    int from = 0, to = k - 1;
    while (from < to) {
        const uint64_t pivot = middle_of(keys[from], keys[from + (to - from) / 2], keys[to]);
        int i = from, j = to;
        while (i <= j) {
            while (keys[i] < pivot)
                i++;
            while (keys[j] > pivot)
                j--;
            if (i <= j)
                swap(&keys[i++], &keys[j--]);
        }
        if (n <= j)
            to = j;
        else if (n >= i)
            from = i;
        else
            return;
    }
}

/* key_of - orders by score, then by place: scores are not negative, so their bits are in their order. */
static uint64_t key_of(float score, int place)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return (uint64_t)bits << 32 | (uint32_t)place;
}

bool dgm_score_choose(int32_t *gone, uint64_t *room, const float *w, const float *factor, int k,
                      int goes, dgm_n_of_m p)
{
    const int group = p.m == 0 ? k : p.m;
    int n = 0;
    for (int j = 0; j < k; j++) {
        const float score = fabsf(w[j]) * factor[j];
        if (!isfinite(score))
            return false;
        room[j] = key_of(score, j);
    }
    for (int first = 0; first < k; first += group) {
        const int in = k - first < group ? k - first : group,
                  out = p.m == 0 ? goes : in * p.n / p.m;
        select_smallest(room + first, in, out);
        for (int i = 0; i < out; i++)
            gone[n++] = (int32_t)(room[first + i] & UINT32_MAX);
    }
    return true;
}

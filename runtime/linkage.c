#include "runtime/linkage.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* A cluster lives in the slot of its first vector. */
typedef struct clusters {
    int n;
    int *id, *size;   /* [n]; size 0: the slot was merged away */
    double *distance; /* [n, n], both halves */
    enum dgm_linkage_method method;
} clusters;

static double euclid(const double *a, const double *b, size_t d)
{
    double sum = 0;
    for (size_t i = 0; i < d; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

static double *at(const clusters *c, int i, int j)
{
    return &c->distance[(size_t)i * (size_t)c->n + (size_t)j];
}

static void nearest(int *a, int *b, const clusters *c)
{
    double least = INFINITY;
    *a = *b = -1;
    for (int i = 0; i < c->n; i++)
        for (int j = i + 1; c->size[i] > 0 && j < c->n; j++)
            if (c->size[j] > 0 && (*a < 0 || *at(c, i, j) < least)) {
                least = *at(c, i, j);
                *a = i;
                *b = j;
            }
}

/* joined - distance of cluster k from the union of a and b (Lance and Williams 1967). */
static double joined(const clusters *c, int k, int a, int b)
{
    const double ka = *at(c, k, a), kb = *at(c, k, b), ab = *at(c, a, b);
    const double na = c->size[a], nb = c->size[b], nk = c->size[k];
    switch (c->method) {
    case DGM_LINKAGE_SINGLE:
        return ka < kb ? ka : kb;
    case DGM_LINKAGE_COMPLETE:
        return ka > kb ? ka : kb;
    case DGM_LINKAGE_WARD:
        return sqrt(((nk + na) * ka * ka + (nk + nb) * kb * kb - nk * ab * ab) / (nk + na + nb));
    default:
        return (na * ka + nb * kb) / (na + nb);
    }
}

static void merge(dgm_linkage_merge *out, clusters *c, int a, int b, int id)
{
    const int x = c->id[a], y = c->id[b];
    *out = (dgm_linkage_merge){x < y ? x : y, x < y ? y : x, c->size[a] + c->size[b], *at(c, a, b)};
    for (int k = 0; k < c->n; k++)
        if (c->size[k] > 0 && k != a && k != b)
            *at(c, k, a) = *at(c, a, k) = joined(c, k, a, b);
    c->id[a] = id;
    c->size[a] = out->size;
    c->size[b] = 0;
}

int dgm_linkage(dgm_linkage_merge *out, const double *x, int n, size_t d,
                enum dgm_linkage_method method)
{
    const size_t all = (size_t)n;
    clusters c = {n, calloc(all + 1, sizeof(int)), calloc(all + 1, sizeof(int)),
                  calloc(all * all + 1, sizeof(double)), method};
    const bool there = c.id != NULL && c.size != NULL && c.distance != NULL;
    for (int i = 0; there && i < n; i++) {
        c.id[i] = i;
        c.size[i] = 1;
        for (int j = 0; j < i; j++)
            *at(&c, i, j) = *at(&c, j, i) = euclid(x + (size_t)i * d, x + (size_t)j * d, d);
    }
    for (int i = 0; there && i + 1 < n; i++) {
        int a, b;
        nearest(&a, &b, &c);
        merge(&out[i], &c, a, b, n + i);
    }
    free(c.id);
    free(c.size);
    free(c.distance);
    return there ? DGM_OK : dgm_fail(DGM_ENOMEM, "out of memory for a tree of %d languages", n);
}

int dgm_linkage_leaves(int *order, const dgm_linkage_merge *merges, int n)
{
    int *stack = calloc((size_t)n + 1, sizeof *stack), top = 0, k = 0;
    if (stack == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a tree of %d languages", n);
    if (n > 0)
        stack[top++] = 2 * n - 2; /* the last merge, or the only vector */
    while (top > 0) {
        const int c = stack[--top];
        if (c < n) {
            order[k++] = c;
            continue;
        }
        stack[top++] = merges[c - n].b;
        stack[top++] = merges[c - n].a;
    }
    free(stack);
    return DGM_OK;
}

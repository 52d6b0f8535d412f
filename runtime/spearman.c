#include "runtime/spearman.h"

#include <math.h>
#include <stdlib.h>

typedef struct place {
    double value;
    int at;
} place;

static int by_value(const void *a, const void *b)
{
    const double x = ((const place *)a)->value, y = ((const place *)b)->value;
    return (x > y) - (x < y);
}

/* rank - twice the rank of each value, so that means of ranks are whole. */
static void rank(double *out, place *room, const double *x, int n)
{
    for (int i = 0; i < n; i++)
        room[i] = (place){x[i], i};
    qsort(room, (size_t)n, sizeof *room, by_value);
    for (int i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && room[end].value == room[i].value;)
            end++;
        for (int k = i; k < end; k++)
            out[room[k].at] = i + end + 1;
    }
}

static double pearson(const double *x, const double *y, int n)
{
    double xx = 0, yy = 0, xy = 0;
    for (int i = 0; i < n; i++) {
        const double dx = x[i] - (n + 1), dy = y[i] - (n + 1); /* the mean of twice the ranks */
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

int dgm_spearman(double *out, const double *a, const double *b, int n)
{
    place *room = calloc((size_t)n + 1, sizeof *room);
    double *x = calloc((size_t)n + 1, sizeof *x), *y = calloc((size_t)n + 1, sizeof *y);
    const int there = room != NULL && x != NULL && y != NULL;
    if (there) {
        rank(x, room, a, n);
        rank(y, room, b, n);
        *out = pearson(x, y, n);
    }
    free(room);
    free(x);
    free(y);
    return there ? DGM_OK : dgm_fail(DGM_ENOMEM, "out of memory for the ranks of %d values", n);
}

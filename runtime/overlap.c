#include "runtime/overlap.h"

#include <stdlib.h>

void dgm_overlap_init(dgm_overlap *o, dgm_overlap_mode mode, bool several_hosts)
{
    *o = (dgm_overlap){.mode = mode};
    if (mode == DGM_OVERLAP_AUTO && !several_hosts)
        o->mode = DGM_OVERLAP_OFF;
}

bool dgm_overlap_next(const dgm_overlap *o)
{
    if (o->mode != DGM_OVERLAP_AUTO)
        return o->mode == DGM_OVERLAP_ON;
    return o->left > 0 ? o->kept : o->n[1] < o->n[0]; /* in turns, without first */
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double v[DGM_OVERLAP_TRIES])
{
    qsort(v, DGM_OVERLAP_TRIES, sizeof *v, by_value);
    return v[DGM_OVERLAP_TRIES / 2];
}

void dgm_overlap_took(dgm_overlap *o, double seconds)
{
    if (o->mode != DGM_OVERLAP_AUTO)
        return;
    if (o->left > 0) {
        o->left--;
        return;
    }
    const int with = dgm_overlap_next(o);
    o->seconds[with][o->n[with]++] = seconds;
    if (o->n[1] < DGM_OVERLAP_TRIES)
        return;
    o->kept = median(o->seconds[1]) < median(o->seconds[0]);
    o->left = DGM_OVERLAP_KEEP;
    o->n[0] = o->n[1] = 0;
}

/*
 * linkage.h - hierarchical clustering of a few hundred vectors: which are joined, in which order, at which distance.
 *
 * Two vectors are as far apart as Euclid says. Two clusters, by method: the mean over their pairs (average), the nearest
 * pair (single), the farthest pair (complete), or by how much joining them raises the sum of squares (Ward):
 * sqrt(2 |a| |b| / (|a| + |b|)) times the distance of their centres. Numbers as scipy.cluster.hierarchy.linkage gives them.
 * Local. Any thread.
 */
#ifndef DGM_RUNTIME_LINKAGE_H
#define DGM_RUNTIME_LINKAGE_H

#include "base/status.h"

#include <stddef.h>

enum dgm_linkage_method {
    DGM_LINKAGE_AVERAGE,
    DGM_LINKAGE_SINGLE,
    DGM_LINKAGE_COMPLETE,
    DGM_LINKAGE_WARD,
    DGM_LINKAGES
};

/* Clusters 0 to n-1 are the vectors, n + i is what merge i made. */
typedef struct dgm_linkage_merge {
    int a, b; /* a < b */
    int size; /* vectors in the new cluster */
    double distance;
} dgm_linkage_merge;

/*
 * dgm_linkage - out [n-1], nearest first, from x [n, d]; nothing for n < 2. Ties: the cluster whose first vector comes
 * first, then likewise of its partner. Time n^3, memory n^2. DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_linkage(dgm_linkage_merge *out, const double *x, int n, size_t d,
                               enum dgm_linkage_method method);

/* dgm_linkage_leaves - order [n]: the vectors as the leaves of a tree drawn without crossings, cluster a before b. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_linkage_leaves(int *order, const dgm_linkage_merge *merges, int n);

#endif

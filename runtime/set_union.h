/* set_union.h - how large the union of n of several sets is: over all choices of n. Local. Any thread. */
#ifndef DGM_RUNTIME_SET_UNION_H
#define DGM_RUNTIME_SET_UNION_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DGM_UNION_EXACT = 16, /* up to so many sets, every choice is looked at */
    DGM_UNION_SAMPLES =
        4096, /* else so many random orders of the sets; the first n of each are a choice */
    DGM_UNION_SEED = 1
};

typedef struct dgm_union_size {
    double
        mean; /* over all choices, exact: of an element in c of N sets, a choice of n lacks it in C(N-c,n)/C(N,n) */
    int least, most; /* over the choices that were looked at */
} dgm_union_size;

/* dgm_union_sizes - out [n_sets]: out[n-1] for n sets. sets [n_sets, n_elements] are 0 or 1. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_union_sizes(dgm_union_size *out, const uint8_t *const *sets, int n_sets,
                                   size_t n_elements);

#endif

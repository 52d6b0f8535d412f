/* histogram.h - how long things took: one thread notes, any thread reads. */
#ifndef DGM_RUNTIME_HISTOGRAM_H
#define DGM_RUNTIME_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { DGM_HISTOGRAM_BOUNDS = 15 };

/* Upper bounds in seconds; beyond the last is one more place. */
static const double dgm_histogram_bounds[DGM_HISTOGRAM_BOUNDS] = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 25};

typedef struct dgm_histogram {
    atomic_uint_least64_t at[DGM_HISTOGRAM_BOUNDS + 1];
    atomic_uint_least64_t sum_ns;
} dgm_histogram;

static inline void dgm_histogram_note(dgm_histogram *h, int64_t ns)
{
    int i = 0;
    while (i < DGM_HISTOGRAM_BOUNDS && (double)ns * 1e-9 > dgm_histogram_bounds[i])
        i++;
    atomic_fetch_add_explicit(&h->at[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_ns, (uint64_t)(ns > 0 ? ns : 0), memory_order_relaxed);
}

#endif

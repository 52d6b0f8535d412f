/* clock.h - monotonic time. */
#ifndef DGM_BASE_CLOCK_H
#define DGM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t dgm_now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline double dgm_now_s(void)
{
    return (double)dgm_now_ns() * 1e-9;
}

#endif

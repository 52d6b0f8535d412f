/* memory.h - how much memory this process may still take, and took at most. */
#ifndef DGM_BASE_MEMORY_H
#define DGM_BASE_MEMORY_H

#include <stdint.h>

/*
 * dgm_memory_free - bytes: what the kernel calls available, or what a control group of this process leaves if that is
 * less (its file cache can be dropped and does not count; version 1 and 2). UINT64_MAX if nothing tells. `root` stands
 * before /proc and /sys; "" but in tests.
 */
uint64_t dgm_memory_free(const char *root);

/* dgm_memory_resident - bytes of this program that are in memory now; 0 if unknown. Allocates nothing. */
uint64_t dgm_memory_resident(void);

/* dgm_memory_peak - most bytes ever resident in this program; 0 if unknown. Not ru_maxrss: exec hands that on. */
uint64_t dgm_memory_peak(void);

#endif

/* session_cpus.h - which CPUs this rank may use, and how they are shared with other ranks of its host. */
#ifndef DGM_LAUNCH_SESSION_CPUS_H
#define DGM_LAUNCH_SESSION_CPUS_H

#include <stddef.h>
#include <stdint.h>

enum { DGM_CPU_WORDS = 64 }; /* 4096 CPUs */

typedef struct dgm_cpus {
    uint64_t mask[DGM_CPU_WORDS];
    uint64_t nodes; /* bit n: some of them belong to NUMA node n */
} dgm_cpus;

/* dgm_cpus_read - of this process. */
void dgm_cpus_read(dgm_cpus *out);

/*
 * dgm_cpus_share - how many of `mine` are left for this rank when each CPU is shared evenly by the ranks of `here` [n]
 * (ranks of this host, this one included) that may use it; at least 1.
 */
int dgm_cpus_share(const dgm_cpus *mine, const dgm_cpus *const *here, int n);

/* dgm_cpus_own - how many CPUs this process may use; at least 1. */
int dgm_cpus_own(void);

/* dgm_cpus_format - "0-3,8 node 0". */
void dgm_cpus_format(char *buf, size_t size, const dgm_cpus *c);

#endif

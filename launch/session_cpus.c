#define _GNU_SOURCE /* sched_getaffinity, CPU_* */
#include "launch/session_cpus.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CPUS = DGM_CPU_WORDS * 64, MAX_NODES = 64 };

static bool has(const dgm_cpus *c, int cpu)
{
    return (c->mask[cpu / 64] >> (cpu % 64) & 1) != 0;
}

/* touches - some CPU of `list` ("0-3,8-11") is in c. */
static bool touches(const dgm_cpus *c, const char *list)
{
    while (*list >= '0' && *list <= '9') {
        char *end = NULL;
        long first = strtol(list, &end, 10), last = first;
        if (*end == '-')
            last = strtol(end + 1, &end, 10);
        for (long cpu = first; cpu <= last && cpu < MAX_CPUS; cpu++) {
            if (has(c, (int)cpu))
                return true;
        }
        list = *end == ',' ? end + 1 : end;
    }
    return false;
}

void dgm_cpus_read(dgm_cpus *out)
{
    *out = (dgm_cpus){0};
    cpu_set_t *set = CPU_ALLOC(MAX_CPUS);
    const size_t bytes = CPU_ALLOC_SIZE(MAX_CPUS);
    if (set != NULL && sched_getaffinity(0, bytes, set) == 0) {
        for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
            if (CPU_ISSET_S(cpu, bytes, set))
                out->mask[cpu / 64] |= (uint64_t)1 << (cpu % 64);
        }
    }
    if (set != NULL)
        CPU_FREE(set);
    for (int node = 0; node < MAX_NODES; node++) {
        char path[64], list[4096];
        (void)snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", node);
        FILE *f = fopen(path, "re");
        if (f == NULL)
            continue; /* nodes need not be numbered without gaps */
        if (fgets(list, sizeof list, f) != NULL && touches(out, list))
            out->nodes |= (uint64_t)1 << node;
        (void)fclose(f);
    }
}

int dgm_cpus_share(const dgm_cpus *mine, const dgm_cpus *const *here, int n)
{
    double share = 0;
    for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
        if (!has(mine, cpu))
            continue;
        int users = 0;
        for (int i = 0; i < n; i++)
            users += has(here[i], cpu);
        share += 1.0 / users;
    }
    /* A little more than the sum: thirds must add up to one. */
    const int whole = (int)(share + 1e-6);
    return whole < 1 ? 1 : whole;
}

int dgm_cpus_own(void)
{
    dgm_cpus mine;
    const dgm_cpus *const here[] = {&mine};
    dgm_cpus_read(&mine);
    return dgm_cpus_share(&mine, here, 1);
}

void dgm_cpus_format(char *buf, size_t size, const dgm_cpus *c)
{
    size_t n = 0;
    buf[0] = '\0';
    for (int cpu = 0; cpu < MAX_CPUS && n < size; cpu++) {
        if (!has(c, cpu))
            continue;
        int last = cpu;
        while (last + 1 < MAX_CPUS && has(c, last + 1))
            last++;
        n += (size_t)snprintf(buf + n, size - n, last > cpu ? "%s%d-%d" : "%s%d", n > 0 ? "," : "",
                              cpu, last);
        cpu = last;
    }
    const char *before = " node ";
    for (int node = 0; node < MAX_NODES && n < size; node++) {
        if ((c->nodes >> node & 1) != 0) {
            n += (size_t)snprintf(buf + n, size - n, "%s%d", before, node);
            before = ",";
        }
    }
}

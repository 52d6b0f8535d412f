/* bench_link.h - what this machine can do while all ranks work at once: arithmetic, reading, and the links between them. */
#ifndef DGM_LAUNCH_BENCH_LINK_H
#define DGM_LAUNCH_BENCH_LINK_H

#include "base/pool.h"
#include "comm/comm.h"

enum { DGM_LINK_SIZES = 7 }; /* 4 MiB to 256 MiB, each twice the one before */

/* Of one rank: the mean over ranks. */
typedef struct dgm_bench_link {
    double gflops, gops;           /* 1e9 a second, of f32 and of the integer product */
    double gbytes[DGM_LINK_SIZES]; /* 1e9 bytes a second, reading so many again and again */
    double empty_s;                /* a dispatch and combine that carry nothing; 0 on one rank */
    double link_bytes;             /* a second, that a rank sends beyond that; 0 on one rank */
} dgm_bench_link;

/* dgm_bench_link_measure - Collective. Before an engine has exchanges of its own. */
DGM_MUST_CHECK int dgm_bench_link_measure(dgm_bench_link *out, dgm_comm *comm, dgm_pool *pool);

/* dgm_bench_link_gbytes - reading `bytes`, between the sizes measured. */
double dgm_bench_link_gbytes(const dgm_bench_link *l, double bytes);

#endif

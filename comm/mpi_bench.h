/* mpi_bench.h - what the exchange is measured against: MPI_Alltoallv, in the same job. */
#ifndef DGM_COMM_MPI_BENCH_H
#define DGM_COMM_MPI_BENCH_H

#include "base/status.h"

#include <stddef.h>

/* dgm_mpi_bench_pairs - Collective, under the mpi backend. Seconds that `reps` pairs of
 * MPI_Alltoallv take, each with `bytes` from every rank to every other (nothing to itself). */
#if DGM_HAVE_MPI
DGM_MUST_CHECK int dgm_mpi_bench_pairs(double *seconds, size_t bytes, int reps);
#else
static inline int dgm_mpi_bench_pairs(double *seconds, size_t bytes, int reps)
{
    (void)seconds, (void)bytes, (void)reps;
    return dgm_fail(DGM_EUNSUPPORTED, "bench exchange: want a build with MPI");
}
#endif

#endif

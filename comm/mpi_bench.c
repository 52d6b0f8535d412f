#include "comm/mpi_bench.h"

#include "base/clock.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

int dgm_mpi_bench_pairs(double *seconds, size_t bytes, int reps)
{
    int rank = 0, size = 0;
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &size);
    int *counts = calloc((size_t)size, sizeof *counts), *at = calloc((size_t)size, sizeof *at);
    char *send = malloc(bytes * (size_t)size + 1), *recv = malloc(bytes * (size_t)size + 1);
    int rc = DGM_OK;
    if (counts == NULL || at == NULL || send == NULL || recv == NULL) {
        rc = dgm_fail(DGM_ENOMEM, "bench: out of memory for %zu bytes", bytes * (size_t)size);
        goto err_free;
    }
    memset(send, 1, bytes * (size_t)size + 1);
    memset(recv, 2, bytes * (size_t)size + 1);
    for (int r = 0; r < size; r++) {
        counts[r] = r == rank ? 0 : (int)bytes;
        at[r] = r * (int)bytes;
    }
    (void)MPI_Barrier(MPI_COMM_WORLD);
    const int64_t began = dgm_now_ns();
    for (int i = 0; rc == MPI_SUCCESS && i < 2 * reps; i++)
        rc = MPI_Alltoallv(send, counts, at, MPI_BYTE, recv, counts, at, MPI_BYTE, MPI_COMM_WORLD);
    *seconds = (double)(dgm_now_ns() - began) * 1e-9;
    if (rc != MPI_SUCCESS)
        rc = dgm_fail(DGM_EINTERNAL, "bench: MPI_Alltoallv of %zu bytes failed", bytes);

err_free:
    free(recv);
    free(send);
    free(at);
    free(counts);
    return rc;
}

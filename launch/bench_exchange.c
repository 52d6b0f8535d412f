/*
 * bench_exchange.c - dispatch + combine against two MPI_Alltoallv of the same bytes, in the same
 * run.
 *
 * Both are timed in turns, in short blocks, so that whatever else the machine does meets both
 * alike. The median block counts; the quickest is shown beside it. Rows carry 16 bytes of tag and a
 * message 64 of head, which the Alltoallv does not have.
 */
#include "launch/bench_exchange.h"

#include "base/clock.h"
#include "base/log.h"
#include "comm/exchange.h"
#include "comm/mpi_bench.h"
#include "launch/bench_median.h"

#include <stdio.h>

enum { BLOCKS = 15, ROW_BYTES = 4096 };

struct size {
    size_t bytes; /* a peer; 0: the empty exchange, beside the Alltoallv of 8 bytes */
    int reps;
};

/* One dispatch and combine of n_rows rows to every other rank, `reps` times. */
static int time_ours(double *seconds, dgm_comm *c, dgm_xchg *x, int n_rows, int reps)
{
    int32_t n_to[1024];
    int worst = DGM_OK;
    char token = 0, tokens[1024];
    for (int r = 0; r < dgm_comm_size(c); r++)
        n_to[r] = r == dgm_comm_rank(c) ? 0 : n_rows;
    DGM_TRY(dgm_comm_allgather(c, tokens, &token, 1)); /* start together */
    const int64_t began = dgm_now_ns();
    for (int i = 0; i < reps; i++) {
        dgm_xchg_reserve(x, n_to);
        DGM_TRY(dgm_xchg_dispatch(x, DGM_OK, &worst));
        DGM_TRY(dgm_xchg_combine(x));
    }
    *seconds = (double)(dgm_now_ns() - began) * 1e-9;
    return worst;
}

static int measure(dgm_comm *c, const struct size *s, double *theirs, double *ours)
{
    const size_t row = s->bytes < ROW_BYTES ? (s->bytes < 4 ? 4 : s->bytes) : ROW_BYTES;
    const int n_rows = (int)(s->bytes / row);
    dgm_xchg *x = NULL;
    DGM_TRY(dgm_xchg_create(&x, c, row, (int)(row / sizeof(float)), n_rows));
    int rc = DGM_OK;
    for (int b = -1; rc == DGM_OK && b < BLOCKS; b++) { /* the first block warms up */
        double t = 0, o = 0;
        rc = dgm_mpi_bench_pairs(&t, s->bytes == 0 ? 8 : s->bytes, s->reps);
        if (rc == DGM_OK)
            rc = time_ours(&o, c, x, n_rows, s->reps);
        if (b >= 0) {
            theirs[b] = t / s->reps * 1e6;
            ours[b] = o / s->reps * 1e6;
        }
    }
    dgm_xchg_destroy(x);
    return rc;
}

static void print_row(const dgm_options *o, int ranks, const struct size *s, double *theirs,
                      double *ours)
{
    const double t = dgm_bench_median(theirs, BLOCKS), u = dgm_bench_median(ours, BLOCKS);
    const double sent = 2 * (double)s->bytes * (ranks - 1) / u * 1e-3;
    if (o->json)
        (void)printf("{\"bench\":\"exchange\",\"ranks\":%d,\"bytes\":%zu,\"alltoallv_us\":%.3f,"
                     "\"exchange_us\":%.3f,\"ratio\":%.3f,\"alltoallv_min_us\":%.3f,"
                     "\"exchange_min_us\":%.3f,\"gb_per_s\":%.3f}\n",
                     ranks, s->bytes, t, u, u / t, theirs[0], ours[0], sent);
    else
        (void)printf("%10zu  %12.2f  %12.2f  %6.2f  %12.2f  %12.2f  %6.2f  %8.2f\n", s->bytes, t, u,
                     u / t, theirs[0], ours[0], ours[0] / theirs[0], sent);
}

static int run(dgm_comm *c, const dgm_options *o)
{
    static const struct size sizes[] = {{0, 2000},    {8, 2000},    {64, 2000},
                                        {512, 2000},  {4096, 1000}, {16384, 500},
                                        {65536, 200}, {262144, 60}, {1 << 20, 20}};
    const int ranks = dgm_comm_size(c);
    double theirs[BLOCKS], ours[BLOCKS];
    if (dgm_comm_rank(c) == 0 && !o->json)
        (void)printf("exchange, %d ranks: microseconds of dispatch + combine beside two "
                     "MPI_Alltoallv; GB/s that a rank sends\n"
                     "%10s  %12s  %12s  %6s  %12s  %12s  %6s  %8s\n",
                     ranks, "bytes/peer", "alltoallv", "exchange", "ratio", "best a2av",
                     "best exch", "ratio", "GB/s");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        DGM_TRY(measure(c, &sizes[i], theirs, ours));
        if (dgm_comm_rank(c) == 0)
            print_row(o, ranks, &sizes[i], theirs, ours);
    }
    return DGM_OK;
}

int dgm_bench_exchange(const dgm_options *o)
{
    dgm_comm *c = NULL;
    const dgm_comm_config cfg = {
        .backend = o->comm, .stall_ms = o->stall_ms, .deadline_ms = o->deadline_ms};
    int rc = dgm_comm_open(&c, &cfg);
    if (rc == DGM_OK && dgm_comm_size(c) < 2)
        rc = dgm_fail(DGM_EUSAGE, "bench exchange: want 2 or more ranks, found 1; run it under "
                                  "dragoman-mpirun -n 2");
    if (rc == DGM_OK) {
        rc = run(c, o);
        if (rc != DGM_OK)
            dgm_comm_end(c, rc);
    } else if (c == NULL || dgm_comm_rank(c) == 0) {
        dgm_log_failure(dgm_error_text());
    }
    dgm_comm_close(c);
    return dgm_exit_code(rc);
}

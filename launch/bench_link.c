/*
 * All ranks measure the same at the same time, since they work so too: cores, memory and cables are shared. Twice, and the
 * higher rate, the shorter time counts: other work on the machine only lowers them.
 */
#include "launch/bench_link.h"

#include "base/clock.h"
#include "comm/exchange.h"
#include "launch/bench_peak.h"

#include <math.h>
#include <stdlib.h>

enum { ROUNDS = 2, ROW_BYTES = 4096, ROWS = 16, EMPTY_REPS = 100, FULL_REPS = 20 };
static const double SECONDS = 0.04, LEAST_BYTES = 4 << 20;

/* mean - of what each rank found, the same on all. */
static int mean(double *out, dgm_comm *c, double mine)
{
    double *all = calloc((size_t)dgm_comm_size(c), sizeof *all), sum = 0;
    if (all == NULL)
        return dgm_comm_agree(c, dgm_fail(DGM_ENOMEM, "out of memory for a measurement"));
    const int rc = dgm_comm_allgather(c, all, &mine, sizeof mine);
    for (int r = 0; r < dgm_comm_size(c); r++)
        sum += all[r];
    free(all);
    *out = sum / dgm_comm_size(c);
    return rc;
}

/* better - *best becomes this round's mean if that is higher; the ranks are together again after it. */
static int better(double *best, dgm_comm *c, double mine)
{
    double now = 0;
    DGM_TRY(mean(&now, c, mine));
    *best = now > *best ? now : *best;
    return DGM_OK;
}

static int measure_cores(dgm_bench_link *l, dgm_comm *c, dgm_bench_peak *p)
{
    DGM_TRY(better(&l->gflops, c, 0));
    DGM_TRY(better(&l->gflops, c, dgm_bench_peak_gflops(p, SECONDS)));
    DGM_TRY(better(&l->gops, c, dgm_bench_peak_gops(p, SECONDS)));
    for (int i = 0; i < DGM_LINK_SIZES; i++)
        DGM_TRY(better(&l->gbytes[i], c, dgm_bench_peak_again(p, ldexp(LEAST_BYTES, i), SECONDS)));
    return DGM_OK;
}

/* time_exchange - *seconds of one with n_rows rows to each other rank. */
static int time_exchange(double *seconds, dgm_comm *c, dgm_xchg *x, int n_rows, int reps)
{
    int32_t *n_to = calloc((size_t)dgm_comm_size(c), sizeof *n_to);
    int worst,
        rc = dgm_comm_agree(
            c, n_to != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "out of memory for a measurement"));
    for (int r = 0; rc == DGM_OK && n_to != NULL && r < dgm_comm_size(c); r++)
        n_to[r] = r == dgm_comm_rank(c) ? 0 : n_rows;
    const double began = dgm_now_s();
    for (int i = 0; i < reps && rc == DGM_OK; i++) {
        dgm_xchg_reserve(x, n_to);
        rc = dgm_xchg_dispatch(x, DGM_OK, &worst);
        if (rc == DGM_OK)
            rc = dgm_xchg_combine(x);
    }
    free(n_to);
    DGM_TRY(rc);
    return mean(seconds, c, (dgm_now_s() - began) / reps);
}

static int measure_link(dgm_bench_link *l, dgm_comm *c, dgm_xchg *x)
{
    const double bytes = 2.0 * ROWS * ROW_BYTES * (dgm_comm_size(c) - 1);
    double empty, full, shortest = 0;
    for (int i = 0; i < ROUNDS + 1; i++) { /* the first warms up */
        DGM_TRY(time_exchange(&empty, c, x, 0, EMPTY_REPS));
        DGM_TRY(time_exchange(&full, c, x, ROWS, FULL_REPS));
        if (i == 0)
            continue;
        l->empty_s = i == 1 || empty < l->empty_s ? empty : l->empty_s;
        shortest = i == 1 || full < shortest ? full : shortest;
    }
    const double rest = shortest - l->empty_s;
    l->link_bytes = bytes / (rest > 1e-9 ? rest : 1e-9);
    return DGM_OK;
}

static int measure_links(dgm_bench_link *l, dgm_comm *c)
{
    dgm_xchg *x = NULL;
    if (dgm_comm_size(c) == 1)
        return DGM_OK;
    const int made = dgm_xchg_create(&x, c, ROW_BYTES, ROW_BYTES / sizeof(float), ROWS);
    int rc = dgm_comm_agree(c, made);
    if (rc == DGM_OK)
        rc = measure_link(l, c, x);
    dgm_xchg_destroy(x);
    return rc;
}

int dgm_bench_link_measure(dgm_bench_link *out, dgm_comm *comm, dgm_pool *pool)
{
    dgm_bench_peak *p = NULL;
    *out = (dgm_bench_link){0};
    int rc = dgm_comm_agree(comm, dgm_bench_peak_open(&p, pool));
    for (int i = 0; i < ROUNDS && rc == DGM_OK; i++)
        rc = measure_cores(out, comm, p);
    dgm_bench_peak_close(p);
    return rc == DGM_OK ? measure_links(out, comm) : rc;
}

double dgm_bench_link_gbytes(const dgm_bench_link *l, double bytes)
{
    const double at = log2(bytes / LEAST_BYTES);
    if (!(at > 0))
        return l->gbytes[0];
    const int i = (int)at;
    if (i >= DGM_LINK_SIZES - 1)
        return l->gbytes[DGM_LINK_SIZES - 1];
    return l->gbytes[i] + (at - i) * (l->gbytes[i + 1] - l->gbytes[i]);
}

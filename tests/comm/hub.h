/*
 * hub.h - a backend for tests: the ranks are threads of one process.
 *
 * So what comm does with several ranks (exchange, control messages, deadlines, blame) runs under
 * the sanitizers, without MPI, as a unit test.
 */
#ifndef DGM_TESTS_COMM_HUB_H
#define DGM_TESTS_COMM_HUB_H

#include "comm/backend.h"
#include "comm/comm.h"

/* How long a message is on its way; 0 if a test does not say otherwise. */
extern int hub_latency_ms;

/* Runs fn(c, ctx) as each of n_ranks ranks, each in its thread with its own handle; returns when
 * all did. */
void hub_run(int n_ranks, const dgm_comm_config *cfg, void (*fn)(dgm_comm *c, void *ctx),
             void *ctx);

/* hub_run_leaving - the same, but nobody closes its handle in good order (a rank was lost). */
void hub_run_leaving(int n_ranks, const dgm_comm_config *cfg, void (*fn)(dgm_comm *c, void *ctx),
                     void *ctx);

#endif

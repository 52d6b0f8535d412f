/*
 * comm.h - ranks and bytes.
 *
 * One handle per process. Backends fill one table (comm/backend.h): `local` (one rank, memcpy) and
 * `mpi` (host memory). The engine thread alone calls this module, but for dgm_comm_where. No wait is
 * without a deadline: a peer that died, stopped or fell behind ends the wait with DGM_EPEER or
 * DGM_EDEADLINE and a sentence that names rank, host, stage, layer and cause; results of that epoch
 * are void. No collective of the message library is used after start, since a dead rank would block
 * it.
 */
#ifndef DGM_COMM_COMM_H
#define DGM_COMM_COMM_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dgm_comm dgm_comm;

typedef struct dgm_comm_config {
    const char *backend; /* "auto" (mpi under a launcher, else local), "local", "mpi" */
    int stall_ms;        /* warn after this long without a sign of life; 2000 */
    int deadline_ms;     /* give a peer up after this long; 60000 */
    bool alone; /* local, for what one process does by itself, also where a launcher started more */
} dgm_comm_config;

/*
 * dgm_comm_open - joins the job. Collective; before any thread is started, since a launched rank
 * leaves a small parent behind here (guard.h; the caller goes on in the child). Sets the thread's
 * fpenv again (MPI_Init may change it). Ranks above 0 read an empty stdin from then on, and SIGURG
 * is comm's.
 *
 * auto: mpi when OMPI_COMM_WORLD_SIZE or PMIX_NAMESPACE is set, else local; local while more than
 * one process was started is DGM_ELAUNCH. A rank that is lost while the ranks meet ends the
 * process, as dgm_comm_end does.
 */
DGM_MUST_CHECK int dgm_comm_open(dgm_comm **out, const dgm_comm_config *cfg);

/* dgm_comm_close - leaves the job in good order. Collective. NULL is fine. */
void dgm_comm_close(dgm_comm *c);

/*
 * dgm_comm_end - ends the process after DGM_EPEER or DGM_EDEADLINE, or when this rank alone cannot
 * go on (any other status, with its dgm_error_text): tells the peers that are still there (so that
 * all leave at once with the same culprit and exit code), prints the sentence if this is the lowest
 * rank alive, and exits with dgm_exit_code(status), stdio not flushed, without waiting for anyone.
 * Never returns.
 */
_Noreturn void dgm_comm_end(dgm_comm *c, int status);

/* dgm_comm_quit - ends this process at once with `code`, as a signal wants it: nobody is told anything, and the launcher ends the
 * other ranks. Also where there is no dgm_comm yet, or any more. Async-signal-safe. Never returns. */
_Noreturn void dgm_comm_quit(int code);

int dgm_comm_rank(const dgm_comm *c);
int dgm_comm_size(const dgm_comm *c);
const char *dgm_comm_backend(const dgm_comm *c);        /* "local", "mpi" */
const char *dgm_comm_host(const dgm_comm *c, int rank); /* host name of a rank */
int dgm_comm_ranks_on_host(const dgm_comm *c); /* ranks that share this host, this one included */

/* dgm_comm_tell_launcher - leaves a number for dragoman-mpirun, if it runs on this host: "reload" is the process that takes its SIGHUP. */
void dgm_comm_tell_launcher(const char *name, int number);

/* dgm_comm_set_limits - new stall and deadline times (options are read after open). */
void dgm_comm_set_limits(dgm_comm *c, int stall_ms, int deadline_ms);

/* dgm_comm_beat_ms - how often a rank that has nothing to do lets those hear of it that warn after stall_ms: several times before
 * they do, and twice a second. */
int dgm_comm_beat_ms(int stall_ms);

/* dgm_comm_on_stall - when this rank warns that it waits, tell(ctx, sentence) is called on the engine thread, and tell(ctx, NULL)
 * when that wait has ended well. NULL, as at first: nobody is told. */
void dgm_comm_on_stall(dgm_comm *c, void (*tell)(void *ctx, const char *sentence), void *ctx);

/* dgm_comm_at - what this rank does now, for messages: stage "plan", "encode", "decode", ... (a
 * literal: the pointer is kept); layer or -1. Cheap. */
void dgm_comm_at(dgm_comm *c, const char *stage, int layer);

/* dgm_comm_where - what dgm_comm_at said last ("decode, layer 3"), and when it or dgm_comm_busy was
 * called last (dgm_now_ns). Any thread: stage and layer may then be those of two calls in a row. */
int64_t dgm_comm_where(const dgm_comm *c, char *where, size_t size);

/* dgm_comm_busy - called now and then in long local work (reading experts): tells waiting peers
 * that this rank lives and what it does, at most once in stall_ms / 2. Cheap otherwise. */
void dgm_comm_busy(dgm_comm *c, const char *doing);

/* dgm_comm_progress - called between pieces of work while an exchange is in flight: lets the message
 * library move what the network cannot move alone. Never waits; free when nothing is in flight. */
void dgm_comm_progress(dgm_comm *c);

/*
 * dgm_comm_agree - Collective. Each rank gives its status (with its dgm_error_text); all return the
 * same: DGM_OK, or the code of the lowest failing rank with the sentence "rank R (HOST): ..." (just
 * the sentence when there is one rank). The way a local failure becomes everybody's.
 */
DGM_MUST_CHECK int dgm_comm_agree(dgm_comm *c, int status);

/*
 * dgm_comm_allgather - Collective. all [size * bytes] receives each rank's `mine` [bytes], in rank
 * order. For start-up facts (hashes, ISA, masks).
 */
DGM_MUST_CHECK int dgm_comm_allgather(dgm_comm *c, void *all, const void *mine, size_t bytes);

/*
 * Control messages between the coordinator (rank 0) and the others: any length, in order per pair.
 * dgm_comm_send copies `bytes` and returns at once; sent after a pause, a message wakes a peer of
 * this host that sleeps in a wait. dgm_comm_recv waits for the next message of
 * `peer`; the buffer belongs to comm and lives until the next recv from the same peer. Neither
 * allocates once buffers have grown to the largest message (2 GiB at most). dgm_comm_waiting: a
 * message of `peer` is there (does not wait).
 */
DGM_MUST_CHECK int dgm_comm_send(dgm_comm *c, int peer, const void *buf, size_t bytes);
DGM_MUST_CHECK int dgm_comm_recv(dgm_comm *c, int peer, const void **buf, size_t *bytes);
bool dgm_comm_waiting(dgm_comm *c, int peer);

#endif

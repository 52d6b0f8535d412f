/*
 * internal.h - the handle, for the files of comm/ alone.
 *
 *   comm.c     open, close, facts about ranks, allgather, agree
 *   wait.c     every wait: spin, yield, sleep; notices; stall warning; deadline; who is to blame
 *   control.c  control messages and posted sends
 *   bell.c     waking a rank of this host that sleeps
 *   exchange.c the all-to-all of the MoE layer
 *   end.c      leaving after a rank was lost
 *   alive.c    is the process of a rank on this host still there
 *   guard.c    the small parent that each launched rank leaves behind
 *   pmix.c     what Slurm's PMIx server hears of the end of a rank
 */
#ifndef DGM_COMM_INTERNAL_H
#define DGM_COMM_INTERNAL_H

#include "comm/alive.h"
#include "comm/backend.h"
#include "comm/bell.h"
#include "comm/comm.h"

#include <stdatomic.h>

enum { DGM_DOING_LEN = 96, DGM_VERDICT_LEN = 640 };

/* dgm_peer - what this rank knows about another (or itself). */
typedef struct dgm_peer {
    char host[64];
    dgm_proc proc, guard;
    bool here; /* on this host: its process can be looked at */

    int64_t sent_ns; /* when it was last sent a control message; 0: never */
    int64_t busy_ns; /* its last sign of life that was not a message of a round; 0: none */
    int waits_for;   /* whom it last said that it waits for; -1: nobody */
    char doing[DGM_DOING_LEN];

    void *in; /* the last control message received from it */
    size_t in_cap;
} dgm_peer;

/* dgm_slot - a posted send and the copy of its bytes. */
typedef struct dgm_slot {
    void *buf;
    size_t cap;
    int peer;
    bool busy;
} dgm_slot;

struct dgm_comm {
    const struct dgm_comm_ops *ops;
    dgm_link *link;
    int rank, size;
    dgm_peer *peers; /* [size] */
    int on_host;
    bool crowded; /* more ranks than CPUs on this host: give the CPU away early */

    int stall_ms, deadline_ms;
    void (*on_stall)(void *ctx, const char *sentence); /* or NULL */
    void *on_stall_ctx;
    /* where the engine thread is, and since when; any thread may look */
    _Atomic(const char *) stage;
    atomic_int layer;
    atomic_int_least64_t at_ns;
    int64_t told_busy_ns;
    int64_t waited_ns;    /* in waits so far, each from its first look at the clock */
    uint64_t rests, rung; /* sleeps in waits, and those that a peer ended */
    unsigned flying;      /* bit per lane: a round was begun and not yet ended */
    unsigned taken;       /* bit per lane: an exchange has it */

    /* Why the job cannot go on; code DGM_OK while it can. Set once. */
    struct {
        int code, culprit;
        char text[DGM_VERDICT_LEN];
    } verdict;
    int speaker; /* the lowest rank that took the word to print the verdict; -1: nobody yet */
    bool said;   /* a rank has printed it */

    dgm_wire *wires; /* [2 * size], for gathers */
    dgm_slot *slots;
    int n_slots;
};

/* A wait: poll() returns DGM_OK with *peer = DGM_ROUND_DONE when it is over, or whom it waits for.
 */
typedef int (*dgm_poll_fn)(void *ctx, int *peer);

/*
 * dgm_wait_for - polls until done. `what` is the operation, for messages ("dispatch").
 * DGM_EPEER, DGM_EDEADLINE, or what poll returned; c->verdict is then set.
 */
DGM_MUST_CHECK int dgm_wait_for(dgm_comm *c, const char *what, dgm_poll_fn poll, void *ctx);

/* dgm_wait_patience - nobody sleeps before he has waited so long, ns. */
int64_t dgm_wait_patience(const dgm_comm *c);

/* dgm_wait_round - begins a round on lane 0 and waits for its end. */
DGM_MUST_CHECK int dgm_wait_round(dgm_comm *c, const char *what, const dgm_round *r);

/* dgm_round_begin, dgm_round_end - the two halves of it, for a lane of the caller's; what lies
 * between is on nobody's deadline but the peers'. */
DGM_MUST_CHECK int dgm_round_begin(dgm_comm *c, const dgm_round *r);
DGM_MUST_CHECK int dgm_round_end(dgm_comm *c, const char *what, int lane);

/* dgm_wait_notices - receives the notices that have arrived. Sets c->verdict when one is an abort.
 */
void dgm_wait_notices(dgm_comm *c);

/* dgm_wait_verdict - records why the job ends, if nothing was recorded yet; returns the recorded
 * code. */
int dgm_wait_verdict(dgm_comm *c, int code, int culprit, const char *fmt, ...) DGM_PRINTF(4, 5);

/* dgm_wait_over - DGM_OK, or the recorded code with its sentence: the job cannot go on. */
DGM_MUST_CHECK int dgm_wait_over(const dgm_comm *c);

/* Notices: small messages beside the rounds. Sent to every other rank but `except` (or -1). */
enum dgm_notice_kind {
    DGM_NOTICE_BUSY,  /* I work, this is what I do */
    DGM_NOTICE_WAIT,  /* I wait for `rank` */
    DGM_NOTICE_GO,    /* I no longer wait */
    DGM_NOTICE_ABORT, /* the job ends: code, culprit `rank`, sentence */
    DGM_NOTICE_SPEAK, /* I am about to print the sentence */
    DGM_NOTICE_SAID,  /* I printed it */
};

typedef struct dgm_notice {
    uint32_t kind;
    int32_t rank, code;
    char text[DGM_VERDICT_LEN];
} dgm_notice;

void dgm_notice_tell(dgm_comm *c, const dgm_notice *n, int except);

/* dgm_end_print - prints the verdict on one of the ranks that have it; returns when that is done. */
void dgm_end_print(dgm_comm *c);

/*
 * dgm_end_mark - leaves `code` in $DGM_RUN_DIR/name for dragoman-mpirun, if it runs on this host:
 * "started" when the job stands, "lost" when it was given up (mpirun may then not end by itself).
 */
void dgm_end_mark(const char *name, int code);

/* dgm_post - sends a copy of `bytes` bytes without waiting. */
DGM_MUST_CHECK int dgm_post(dgm_comm *c, enum dgm_channel ch, int peer, const void *buf,
                            size_t bytes);

/* dgm_post_pending - the receiver of a posted send that has not left yet, or DGM_ROUND_DONE. */
int dgm_post_pending(dgm_comm *c);

/* dgm_post_flush - waits until all posted sends have left. */
DGM_MUST_CHECK int dgm_post_flush(dgm_comm *c);

#endif

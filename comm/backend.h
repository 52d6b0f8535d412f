/*
 * backend.h - the table that a backend of comm fills: local.c, mpi.c.
 *
 * A backend moves bytes and knows nobody's deadline: every function returns at once (open and close
 * excepted, which hold the process's only collective calls of the message library). Waiting, stall
 * warnings, deadlines, liveness and the abort protocol are wait.c and end.c, the same for every
 * backend.
 *
 * The data path is one primitive, the round: some sends and some receives that complete together. A
 * round maps to Isend/Irecv and, later, to one NCCL group. Rounds in flight at once go on lanes of
 * their own. Beside it there are single messages that need no answer (post, probe, take): control
 * messages and notices.
 *
 * Messages of a pair of ranks on a channel and lane arrive in the order in which they were sent.
 * Messages of another epoch are never matched: the tag carries the epoch, so that a group rebuilt
 * without a lost rank starts clean.
 */
#ifndef DGM_COMM_BACKEND_H
#define DGM_COMM_BACKEND_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dgm_channel {
    DGM_CH_GATHER,   /* start-up facts, agreement */
    DGM_CH_CONTROL,  /* dgm_comm_send */
    DGM_CH_DISPATCH, /* rows to the owners of their experts */
    DGM_CH_COMBINE,  /* results back */
    DGM_CH_NOTICE,   /* signs of life, abort */
    DGM_N_CHANNELS
};

enum { DGM_ANY_PEER = -1, DGM_ROUND_DONE = -1 };

/* Lane 0 is that of rounds whose caller waits at once, and of single messages; an exchange has one
 * of the others. */
enum { DGM_LANES = 3 };

/* The longest message; MPI counts are int. */
#define DGM_WIRE_MAX ((size_t)0x7fffffc0)

/* dgm_wire - one message of a round. For a receive `bytes` is the room in `buf`, and its length
 * afterwards. */
typedef struct dgm_wire {
    int peer;
    void *buf;
    size_t bytes;
} dgm_wire;

typedef struct dgm_round {
    enum dgm_channel channel;
    const dgm_wire *sends;
    dgm_wire *recvs;
    int n_sends, n_recvs, lane;
} dgm_round;

/* dgm_link - what every backend's state begins with. */
typedef struct dgm_link {
    int rank, size;
    uint32_t epoch; /* of the messages sent and received from now on */
} dgm_link;

struct dgm_comm_ops {
    const char *name;

    /* A launcher that this backend belongs to started the process. */
    bool (*launched)(void);

    /* Collective. */
    int (*open)(dgm_link **out);
    void (*close)(dgm_link *l);

    /* One round at a time on a lane. The wires and their buffers stay untouched by the caller until
     * test says done. */
    int (*begin)(dgm_link *l, const dgm_round *r);

    /* Moves things on, on all lanes. *peer: DGM_ROUND_DONE, or a rank that the lane's round waits
     * for. */
    int (*test)(dgm_link *l, int lane, int *peer);

    /* A message of `peer` (or of any) has arrived and can be received: who sent it, how long it is.
     */
    bool (*probe)(dgm_link *l, enum dgm_channel ch, int peer, int *from, size_t *bytes);

    /* Receives a probed message that is at most DGM_NOTICE_BYTES long. */
    int (*take)(dgm_link *l, enum dgm_channel ch, int from, void *buf, size_t bytes);

    /* Sends without waiting; `buf` stays untouched until posted(slot) says true. Slots count from
     * 0. */
    int (*post)(dgm_link *l, int slot, enum dgm_channel ch, int peer, const void *buf,
                size_t bytes);
    bool (*posted)(dgm_link *l, int slot);
};

/* Small enough for every transport to carry it whole in its first packet. */
#define DGM_NOTICE_BYTES ((size_t)1024)

extern const struct dgm_comm_ops dgm_comm_local;
extern const struct dgm_comm_ops dgm_comm_mpi;

/* dgm_comm_open_with - dgm_comm_open on a given table: for tests that bring a backend of their own.
 */
struct dgm_comm;
struct dgm_comm_config;
DGM_MUST_CHECK int dgm_comm_open_with(struct dgm_comm **out, const struct dgm_comm_ops *ops,
                                      const struct dgm_comm_config *cfg);

/* dgm_comm_abandon - frees the handle without a word to anybody: for tests that lose a rank. */
void dgm_comm_abandon(struct dgm_comm *c);

#endif

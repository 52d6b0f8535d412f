/*
 * exchange.h - the all-to-all of a mixture-of-experts layer: rows to the owners of their experts,
 * results back.
 *
 *   dgm_xchg_reserve   how many rows go to each rank; lays out the send buffers
 *   dgm_xchg_out       the place for a peer's rows and tags; the caller fills it
 *   dgm_xchg_dispatch  Collective: everybody's rows travel
 *   dgm_xchg_in        what a peer sent; the owner writes one result row for each into `reply`
 *   dgm_xchg_combine   Collective: results travel back, in the order in which the rows were sent
 *   dgm_xchg_back      the results of the rows that went to a peer
 *
 * dispatch and combine are each a begin and an end. Between the two the caller may compute, and run
 * another exchange: DGM_XCHG_MOST of them can be in flight. All ranks create the same exchanges in
 * the same order, and begin and end them in the same order.
 *
 * Example, 2 ranks, experts 0 and 2 on rank 0, 1 and 3 on rank 1. Rank 0 has tokens a (experts 0,
 * 1) and b (1, 3). It sends a to itself tagged (0, -) and to rank 1 tagged (1, -), b to rank 1
 * tagged (1, 3): a row travels once to each rank that holds an expert of it, and comes back as one
 * row.
 *
 * One message a pair carries counts, tags and rows, of any number up to max_rows, so nothing is
 * ever dropped; yet no memory is sized for the worst case: buffers are reservations of address
 * space, touched as far as used. Rows to oneself are not copied.
 */
#ifndef DGM_COMM_EXCHANGE_H
#define DGM_COMM_EXCHANGE_H

#include "comm/comm.h"

typedef struct dgm_xchg dgm_xchg;

enum { DGM_XCHG_MOST = 2 };

/* dgm_row_tag - which of the owner's experts a row is for, and with what weight. 16 bytes on the
 * wire. */
typedef struct dgm_row_tag {
    int32_t expert[2]; /* ids in the layer, best first; -1: none (or not on that rank) */
    float gate[2];
} dgm_row_tag;

typedef struct dgm_xchg_part {
    int n_rows;
    dgm_row_tag *tags; /* [n_rows] */
    void *rows;        /* [n_rows] of row_bytes each, on 64 bytes */
    float *reply;      /* [n_rows, width]; for parts of dgm_xchg_in only, else NULL */
} dgm_xchg_part;

/* dgm_xchg_create - for rows of row_bytes (a multiple of 4) that come back as rows of `width` f32, at most max_rows of
 * them leaving a rank for any one peer. At most DGM_XCHG_MOST at a time. */
DGM_MUST_CHECK int dgm_xchg_create(dgm_xchg **out, dgm_comm *c, size_t row_bytes, int width,
                                   int max_rows);
void dgm_xchg_destroy(dgm_xchg *x);

/* dgm_xchg_reserve - n_to [ranks]: rows that will go to each rank, oneself included. Local. */
void dgm_xchg_reserve(dgm_xchg *x, const int32_t *n_to);
dgm_xchg_part dgm_xchg_out(dgm_xchg *x, int peer);

/*
 * dgm_xchg_dispatch - Collective: begin, and end. `status` rides with the counts: a rank that failed
 * alone calls it with its code (after reserving zero rows). *worst receives DGM_OK or the code of
 * the lowest rank that failed; the exchange itself still completes. Returns DGM_EPEER,
 * DGM_EDEADLINE: the epoch is over, its results void. What dgm_xchg_out gave is not to be touched
 * between begin and end, except that rows to oneself may be read.
 */
DGM_MUST_CHECK int dgm_xchg_dispatch(dgm_xchg *x, int status, int *worst);
DGM_MUST_CHECK int dgm_xchg_dispatch_begin(dgm_xchg *x, int status);
DGM_MUST_CHECK int dgm_xchg_dispatch_end(dgm_xchg *x, int *worst);
dgm_xchg_part dgm_xchg_in(dgm_xchg *x, int peer); /* valid from dispatch to the end of combine */

/* dgm_xchg_combine - Collective between ranks that share rows: begin, and end. Errors as dispatch.
 * Replies are not to be touched between begin and end. */
DGM_MUST_CHECK int dgm_xchg_combine(dgm_xchg *x);
DGM_MUST_CHECK int dgm_xchg_combine_begin(dgm_xchg *x);
DGM_MUST_CHECK int dgm_xchg_combine_end(dgm_xchg *x);
const float *dgm_xchg_back(dgm_xchg *x, int peer); /* valid until the next dispatch */

/* What travelled to and from other ranks so far (rows to oneself are not counted) and the time spent
 * waiting in the ends (the first microseconds of a wait are not counted: they are cheaper than the clock). */
typedef struct dgm_xchg_stats {
    uint64_t rounds, rows_sent, bytes_sent, bytes_received;
    double wait_s;
} dgm_xchg_stats;
dgm_xchg_stats dgm_xchg_get_stats(const dgm_xchg *x);

#endif

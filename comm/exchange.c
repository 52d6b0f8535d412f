#include "comm/exchange.h"

#include "base/arena.h"
#include "comm/internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A message of dispatch, as it lies in memory of both sides:
 *
 *   | head | tag 0 | tag 1 | ... | to 64 bytes | row 0 | row 1 | ... |
 *
 * It is received into a reservation that could hold the largest, so its length need not be known
 * before, and one message does what counts and rows would do in two. A message of combine is rows
 * alone.
 */
struct head {
    uint32_t round; /* of this exchange: a mismatch means that ranks do different things */
    int32_t status;
    int32_t n_rows;
    uint32_t row_bytes;
};

struct dgm_xchg {
    dgm_comm *comm;
    size_t row_bytes; /* outward; back come `width` f32 */
    int width, max_rows;
    int lane; /* the backend's, for its rounds */
    uint32_t round;
    int status; /* of the dispatch in flight: this rank's own */

    size_t part_stride, row_stride; /* bytes from peer to peer in out and in, in reply and back */
    char *out, *in, *reply, *back;  /* [ranks] each, reserved address space */
    int32_t *n_out, *n_in;          /* [ranks] */

    dgm_wire *sends, *recvs; /* [ranks] of the round in flight */
    int n_recvs;
    dgm_xchg_stats stats;
};

static size_t rows_at(int n_rows)
{
    return dgm_arena_align(sizeof(struct head) + (size_t)n_rows * sizeof(dgm_row_tag));
}

static size_t reply_bytes(const dgm_xchg *x, int n_rows)
{
    return (size_t)n_rows * (size_t)x->width * sizeof(float);
}

static size_t part_bytes(const dgm_xchg *x, int n_rows)
{
    return rows_at(n_rows) + (size_t)n_rows * x->row_bytes;
}

static char *part(const dgm_xchg *x, char *base, int peer)
{
    return base + (size_t)peer * x->part_stride;
}

static float *plain(const dgm_xchg *x, char *base, int peer)
{
    return (float *)(void *)(base + (size_t)peer * x->row_stride);
}

static size_t to_pages(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

/* The same one on all ranks, since they create exchanges in the same order. */
static int take_lane(dgm_comm *c, int *lane)
{
    for (*lane = 1; *lane < DGM_LANES; ++*lane) {
        if ((c->taken >> *lane & 1) == 0) {
            c->taken |= 1U << *lane;
            return DGM_OK;
        }
    }
    return dgm_fail(DGM_EINTERNAL, "exchange: want at most %d at a time", DGM_XCHG_MOST);
}

int dgm_xchg_create(dgm_xchg **out, dgm_comm *c, size_t row_bytes, int width, int max_rows)
{
    DGM_ASSERT(row_bytes > 0 && row_bytes % 4 == 0 && width > 0 && max_rows >= 0);
    const size_t reply = (size_t)width * sizeof(float),
                 larger = row_bytes > reply ? row_bytes : reply;
    const size_t row = larger + sizeof(dgm_row_tag);
    if ((size_t)max_rows > (DGM_WIRE_MAX - 4096) / row)
        return dgm_fail(DGM_EUNSUPPORTED,
                        "exchange: at most %zu rows of %zu bytes travel between two ranks in a "
                        "step, found %d; make the batch smaller",
                        (DGM_WIRE_MAX - 4096) / row, larger, max_rows);
    dgm_xchg *x = calloc(1, sizeof *x);
    if (x == NULL)
        return dgm_fail(DGM_ENOMEM, "exchange: out of memory");
    const size_t n = (size_t)c->size;
    *x = (dgm_xchg){.comm = c, .row_bytes = row_bytes, .width = width, .max_rows = max_rows};
    const int rc = take_lane(c, &x->lane);
    if (rc != DGM_OK) {
        free(x);
        return rc;
    }
    x->part_stride = to_pages(part_bytes(x, max_rows));
    x->row_stride = to_pages(reply_bytes(x, max_rows) + 1);
    x->out = dgm_reserve(n * x->part_stride);
    x->in = dgm_reserve(n * x->part_stride);
    x->reply = dgm_reserve(n * x->row_stride);
    x->back = dgm_reserve(n * x->row_stride);
    x->n_out = calloc(n, sizeof *x->n_out);
    x->n_in = calloc(n, sizeof *x->n_in);
    x->sends = calloc(n, sizeof *x->sends);
    x->recvs = calloc(n, sizeof *x->recvs);
    if (x->out == NULL || x->in == NULL || x->reply == NULL || x->back == NULL ||
        x->n_out == NULL || x->n_in == NULL || x->sends == NULL || x->recvs == NULL) {
        const size_t bytes = 2 * n * (x->part_stride + x->row_stride);
        dgm_xchg_destroy(x);
        return dgm_fail(DGM_ENOMEM, "exchange: cannot reserve %zu bytes of address space", bytes);
    }
    *out = x;
    return DGM_OK;
}

void dgm_xchg_destroy(dgm_xchg *x)
{
    if (x == NULL)
        return;
    const size_t n = (size_t)x->comm->size;
    x->comm->taken &= ~(1U << x->lane);
    free(x->recvs);
    free(x->sends);
    free(x->n_in);
    free(x->n_out);
    dgm_release(x->back, n * x->row_stride);
    dgm_release(x->reply, n * x->row_stride);
    dgm_release(x->in, n * x->part_stride);
    dgm_release(x->out, n * x->part_stride);
    free(x);
}

void dgm_xchg_reserve(dgm_xchg *x, const int32_t *n_to)
{
    for (int r = 0; r < x->comm->size; r++) {
        DGM_ASSERT(n_to[r] >= 0 && n_to[r] <= x->max_rows);
        x->n_out[r] = n_to[r];
    }
}

static dgm_xchg_part view(const dgm_xchg *x, char *base, int peer, int n_rows)
{
    char *p = part(x, base, peer);
    return (dgm_xchg_part){.n_rows = n_rows,
                           .tags = (dgm_row_tag *)(void *)(p + sizeof(struct head)),
                           .rows = p + rows_at(n_rows)};
}

dgm_xchg_part dgm_xchg_out(dgm_xchg *x, int peer)
{
    return view(x, x->out, peer, x->n_out[peer]);
}

/* Rows to oneself stay where the caller put them, and their results go where dgm_xchg_back looks.
 */
dgm_xchg_part dgm_xchg_in(dgm_xchg *x, int peer)
{
    const bool self = peer == x->comm->rank;
    dgm_xchg_part p = view(x, self ? x->out : x->in, peer, x->n_in[peer]);
    p.reply = plain(x, self ? x->back : x->reply, peer);
    return p;
}

const float *dgm_xchg_back(dgm_xchg *x, int peer)
{
    return plain(x, x->back, peer);
}

static int begin(dgm_xchg *x, enum dgm_channel ch, int n_sends, int n_recvs)
{
    const dgm_round r = {ch, x->sends, x->recvs, n_sends, n_recvs, x->lane};
    x->n_recvs = n_recvs;
    x->stats.rounds++;
    for (int i = 0; i < n_sends; i++)
        x->stats.bytes_sent += x->sends[i].bytes;
    return dgm_round_begin(x->comm, &r);
}

static int end(dgm_xchg *x, const char *what)
{
    const int64_t before = x->comm->waited_ns;
    const int rc = dgm_round_end(x->comm, what, x->lane);
    x->stats.wait_s += (double)(x->comm->waited_ns - before) * 1e-9;
    for (int i = 0; rc == DGM_OK && i < x->n_recvs; i++)
        x->stats.bytes_received += x->recvs[i].bytes;
    return rc;
}

/* A part is what its head and its length say alike, or the ranks are not in the same round. */
static int check_part(const dgm_xchg *x, const dgm_wire *w)
{
    const struct head *h = w->buf;
    if (w->bytes >= sizeof *h && h->round == x->round && h->row_bytes == x->row_bytes &&
        h->n_rows >= 0 && h->n_rows <= x->max_rows && w->bytes == part_bytes(x, h->n_rows))
        return DGM_OK;
    return dgm_wait_verdict(
        x->comm, DGM_EINTERNAL, w->peer,
        "dispatch %u: rank %d (host %s) sent %zu bytes that are not a part of it", x->round,
        w->peer, x->comm->peers[w->peer].host, w->bytes);
}

int dgm_xchg_dispatch_begin(dgm_xchg *x, int status)
{
    const dgm_comm *c = x->comm;
    int n = 0;
    x->round++;
    x->status = status;
    if (status != DGM_OK)
        memset(x->n_out, 0, (size_t)c->size * sizeof *x->n_out);
    x->n_in[c->rank] = x->n_out[c->rank];
    for (int i = 1; i < c->size; i++, n++) {
        const int to = (c->rank + i) % c->size, from = (c->rank + c->size - i) % c->size;
        char *buf = part(x, x->out, to);
        *(struct head *)(void *)buf =
            (struct head){x->round, status, x->n_out[to], (uint32_t)x->row_bytes};
        x->sends[n] = (dgm_wire){to, buf, part_bytes(x, x->n_out[to])};
        x->recvs[n] = (dgm_wire){from, part(x, x->in, from), part_bytes(x, x->max_rows)};
        x->stats.rows_sent += (uint64_t)x->n_out[to];
    }
    return begin(x, DGM_CH_DISPATCH, n, n);
}

int dgm_xchg_dispatch_end(dgm_xchg *x, int *worst)
{
    const dgm_comm *c = x->comm;
    int lowest = x->status != DGM_OK ? c->rank : c->size;
    *worst = x->status;
    DGM_TRY(end(x, "dispatch"));
    for (int i = 0; i < x->n_recvs; i++) {
        const dgm_wire *w = &x->recvs[i];
        const struct head *h = w->buf;
        DGM_TRY(check_part(x, w));
        x->n_in[w->peer] = h->n_rows;
        if (h->status != DGM_OK && w->peer < lowest) {
            lowest = w->peer;
            *worst = h->status;
        }
    }
    return DGM_OK;
}

int dgm_xchg_dispatch(dgm_xchg *x, int status, int *worst)
{
    DGM_TRY(dgm_xchg_dispatch_begin(x, status));
    return dgm_xchg_dispatch_end(x, worst);
}

int dgm_xchg_combine_begin(dgm_xchg *x)
{
    const dgm_comm *c = x->comm;
    int n_sends = 0, n_recvs = 0;
    for (int i = 1; i < c->size; i++) {
        const int to = (c->rank + i) % c->size, from = (c->rank + c->size - i) % c->size;
        if (x->n_in[to] > 0)
            x->sends[n_sends++] =
                (dgm_wire){to, plain(x, x->reply, to), reply_bytes(x, x->n_in[to])};
        if (x->n_out[from] > 0)
            x->recvs[n_recvs++] =
                (dgm_wire){from, plain(x, x->back, from), reply_bytes(x, x->n_out[from])};
        x->stats.rows_sent += (uint64_t)x->n_in[to];
    }
    return begin(x, DGM_CH_COMBINE, n_sends, n_recvs);
}

int dgm_xchg_combine_end(dgm_xchg *x)
{
    DGM_TRY(end(x, "combine"));
    for (int i = 0; i < x->n_recvs; i++) {
        const dgm_wire *w = &x->recvs[i];
        const size_t want = reply_bytes(x, x->n_out[w->peer]);
        if (w->bytes != want)
            return dgm_wait_verdict(x->comm, DGM_EINTERNAL, w->peer,
                                    "combine %u: want %zu bytes from rank %d (host %s), found %zu",
                                    x->round, want, w->peer, x->comm->peers[w->peer].host,
                                    w->bytes);
    }
    return DGM_OK;
}

int dgm_xchg_combine(dgm_xchg *x)
{
    DGM_TRY(dgm_xchg_combine_begin(x));
    return dgm_xchg_combine_end(x);
}

dgm_xchg_stats dgm_xchg_get_stats(const dgm_xchg *x)
{
    return x->stats;
}

/*
 * control.c - control messages, and the posted sends that they and the notices are made of.
 *
 * A posted send owns a copy of its bytes in a slot until it has left. Slots and receive buffers
 * grow to the largest message and stay, so that a running job allocates nothing here.
 */
#include "base/clock.h"
#include "comm/internal.h"

#include <stdlib.h>
#include <string.h>

static int grow(void **buf, size_t *cap, size_t bytes)
{
    if (bytes <= *cap)
        return DGM_OK;
    const size_t want = bytes < 4096 ? 4096 : bytes + bytes / 2;
    void *p = realloc(*buf, want);
    if (p == NULL)
        return dgm_fail(DGM_ENOMEM, "comm: out of memory for a message of %zu bytes", bytes);
    *buf = p;
    *cap = want;
    return DGM_OK;
}

static int free_slot(dgm_comm *c, int *out)
{
    for (int i = 0; i < c->n_slots; i++) {
        if (c->slots[i].busy && c->ops->posted(c->link, i))
            c->slots[i].busy = false;
        if (!c->slots[i].busy) {
            *out = i;
            return DGM_OK;
        }
    }
    dgm_slot *more = realloc(c->slots, ((size_t)c->n_slots + 1) * sizeof *more);
    if (more == NULL)
        return dgm_fail(DGM_ENOMEM, "comm: out of memory for %d messages on their way",
                        c->n_slots + 1);
    c->slots = more;
    c->slots[c->n_slots] = (dgm_slot){0};
    *out = c->n_slots++;
    return DGM_OK;
}

int dgm_post(dgm_comm *c, enum dgm_channel ch, int peer, const void *buf, size_t bytes)
{
    DGM_ASSERT(peer >= 0 && peer < c->size && peer != c->rank);
    if (bytes > DGM_WIRE_MAX)
        return dgm_fail(DGM_EUNSUPPORTED, "comm: a message of at most %zu bytes, found %zu",
                        DGM_WIRE_MAX, bytes);
    int i = 0;
    DGM_TRY(free_slot(c, &i));
    DGM_TRY(grow(&c->slots[i].buf, &c->slots[i].cap, bytes));
    if (bytes > 0) {
        DGM_ASSERT(c->slots[i].buf != NULL);
        memcpy(c->slots[i].buf, buf, bytes);
    }
    DGM_TRY(c->ops->post(c->link, i, ch, peer, c->slots[i].buf, bytes));
    c->slots[i].peer = peer;
    c->slots[i].busy = true;
    return DGM_OK;
}

int dgm_post_pending(dgm_comm *c)
{
    for (int i = 0; i < c->n_slots; i++) {
        if (c->slots[i].busy && !c->ops->posted(c->link, i))
            return c->slots[i].peer;
        c->slots[i].busy = false;
    }
    return DGM_ROUND_DONE;
}

static int poll_posts(void *ctx, int *peer)
{
    *peer = dgm_post_pending(ctx);
    return DGM_OK;
}

int dgm_post_flush(dgm_comm *c)
{
    return dgm_wait_for(c, "send", poll_posts, c);
}

int dgm_comm_send(dgm_comm *c, int peer, const void *buf, size_t bytes)
{
    DGM_TRY(dgm_wait_over(c));
    DGM_TRY(dgm_post(c, DGM_CH_CONTROL, peer, buf, bytes));
    dgm_peer *p = &c->peers[peer];
    const int64_t now = dgm_now_ns();
    if (p->here && now - p->sent_ns > dgm_wait_patience(c))
        dgm_bell_ring(&p->proc);
    p->sent_ns = now;
    return DGM_OK;
}

struct arrival {
    dgm_comm *c;
    int peer;
    size_t bytes;
};

static int poll_arrival(void *ctx, int *peer)
{
    struct arrival *a = ctx;
    int from;
    const bool here = a->c->ops->probe(a->c->link, DGM_CH_CONTROL, a->peer, &from, &a->bytes);
    *peer = here ? DGM_ROUND_DONE : a->peer;
    return DGM_OK;
}

int dgm_comm_recv(dgm_comm *c, int peer, const void **buf, size_t *bytes)
{
    DGM_ASSERT(peer >= 0 && peer < c->size && peer != c->rank);
    struct arrival a = {.c = c, .peer = peer};
    dgm_peer *p = &c->peers[peer];
    DGM_TRY(dgm_wait_for(c, "message", poll_arrival, &a));
    DGM_TRY(grow(&p->in, &p->in_cap, a.bytes));
    dgm_wire w = {.peer = peer, .buf = p->in, .bytes = a.bytes};
    const dgm_round r = {.channel = DGM_CH_CONTROL, .recvs = &w, .n_recvs = 1};
    DGM_TRY(dgm_wait_round(c, "message", &r));
    *buf = p->in;
    *bytes = w.bytes;
    return DGM_OK;
}

bool dgm_comm_waiting(dgm_comm *c, int peer)
{
    struct arrival a = {.c = c, .peer = peer};
    int whom;
    (void)poll_arrival(&a, &whom);
    return whom == DGM_ROUND_DONE;
}

#include "tests/comm/hub.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANKS = 16 };

struct message {
    struct message *next;
    int from, to, lane;
    enum dgm_channel ch;
    uint32_t epoch;
    int64_t due_ns;
    size_t bytes;
    char data[];
};

struct hub_link {
    dgm_link base;
    struct {
        dgm_wire *recvs;
        int n_recvs, next;
        enum dgm_channel ch;
    } rounds[DGM_LANES];
};

/* mutex guards the list of messages on their way, oldest first. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct message *first, **last = &first;
int hub_latency_ms;

static _Thread_local struct {
    int rank, size;
} me;

static bool hub_launched(void)
{
    return true;
}

static int hub_open(dgm_link **out)
{
    struct hub_link *h = calloc(1, sizeof *h);
    if (h == NULL)
        return dgm_fail(DGM_ENOMEM, "hub: out of memory");
    h->base.rank = me.rank;
    h->base.size = me.size;
    *out = &h->base;
    return DGM_OK;
}

static void hub_close(dgm_link *l)
{
    free(l);
}

static int send_to(dgm_link *l, int lane, enum dgm_channel ch, int peer, const void *buf,
                   size_t bytes)
{
    struct message *m = malloc(sizeof *m + bytes);
    if (m == NULL)
        return dgm_fail(DGM_ENOMEM, "hub: out of memory");
    const int64_t due_ns = dgm_now_ns() + (int64_t)hub_latency_ms * 1000000;
    *m = (struct message){NULL, l->rank, peer, lane, ch, l->epoch, due_ns, bytes};
    if (bytes > 0)
        memcpy(m->data, buf, bytes);
    (void)pthread_mutex_lock(&mutex);
    *last = m;
    last = &m->next;
    (void)pthread_mutex_unlock(&mutex);
    return DGM_OK;
}

static int hub_post(dgm_link *l, int slot, enum dgm_channel ch, int peer, const void *buf,
                    size_t bytes)
{
    (void)slot;
    return send_to(l, 0, ch, peer, buf, bytes);
}

static bool hub_posted(dgm_link *l, int slot)
{
    (void)l, (void)slot;
    return true;
}

/* The link of the list that holds the oldest such message; NULL when there is none. With the mutex
 * held. */
static struct message **find(const dgm_link *l, int lane, enum dgm_channel ch, int peer)
{
    const int64_t now = dgm_now_ns();
    for (struct message **p = &first; *p != NULL; p = &(*p)->next) {
        const struct message *m = *p;
        if (m->due_ns <= now && m->to == l->rank && m->lane == lane && m->ch == ch &&
            m->epoch == l->epoch && (peer == DGM_ANY_PEER || m->from == peer))
            return p;
    }
    return NULL;
}

static bool receive(dgm_link *l, int lane, enum dgm_channel ch, int peer, void *buf, size_t *bytes)
{
    struct message *m = NULL;
    (void)pthread_mutex_lock(&mutex);
    struct message **p = find(l, lane, ch, peer);
    if (p != NULL) {
        m = *p;
        *p = m->next;
        if (last == &m->next)
            last = p;
    }
    (void)pthread_mutex_unlock(&mutex);
    if (m == NULL)
        return false;
    DGM_ASSERT(m->bytes <= *bytes);
    if (m->bytes > 0)
        memcpy(buf, m->data, m->bytes);
    *bytes = m->bytes;
    free(m);
    return true;
}

static int hub_begin(dgm_link *l, const dgm_round *r)
{
    struct hub_link *h = (struct hub_link *)l;
    h->rounds[r->lane].recvs = r->recvs;
    h->rounds[r->lane].n_recvs = r->n_recvs;
    h->rounds[r->lane].next = 0;
    h->rounds[r->lane].ch = r->channel;
    for (int i = 0; i < r->n_sends; i++)
        DGM_TRY(
            send_to(l, r->lane, r->channel, r->sends[i].peer, r->sends[i].buf, r->sends[i].bytes));
    return DGM_OK;
}

static int hub_test(dgm_link *l, int lane, int *peer)
{
    struct hub_link *h = (struct hub_link *)l;
    for (int *next = &h->rounds[lane].next; *next < h->rounds[lane].n_recvs; ++*next) {
        dgm_wire *w = &h->rounds[lane].recvs[*next];
        if (!receive(l, lane, h->rounds[lane].ch, w->peer, w->buf, &w->bytes)) {
            *peer = w->peer;
            return DGM_OK;
        }
    }
    *peer = DGM_ROUND_DONE;
    return DGM_OK;
}

static bool hub_probe(dgm_link *l, enum dgm_channel ch, int peer, int *from, size_t *bytes)
{
    (void)pthread_mutex_lock(&mutex);
    struct message **p = find(l, 0, ch, peer);
    if (p != NULL) {
        *from = (*p)->from;
        *bytes = (*p)->bytes;
    }
    (void)pthread_mutex_unlock(&mutex);
    return p != NULL;
}

static int hub_take(dgm_link *l, enum dgm_channel ch, int from, void *buf, size_t bytes)
{
    return receive(l, 0, ch, from, buf, &bytes)
               ? DGM_OK
               : dgm_fail(DGM_EINTERNAL, "hub: nothing to take from rank %d", from);
}

static const struct dgm_comm_ops hub = {
    .name = "hub",
    .launched = hub_launched,
    .open = hub_open,
    .close = hub_close,
    .begin = hub_begin,
    .test = hub_test,
    .probe = hub_probe,
    .take = hub_take,
    .post = hub_post,
    .posted = hub_posted,
};

struct job {
    int rank, size;
    bool close;
    const dgm_comm_config *cfg;
    void (*fn)(dgm_comm *c, void *ctx);
    void *ctx;
};

static void *rank_main(void *arg)
{
    const struct job *j = arg;
    dgm_comm *c = NULL;
    me.rank = j->rank;
    me.size = j->size;
    if (dgm_comm_open_with(&c, &hub, j->cfg) != DGM_OK) {
        (void)fprintf(stderr, "hub: %s\n", dgm_error_text());
        abort();
    }
    j->fn(c, j->ctx);
    if (j->close)
        dgm_comm_close(c);
    else
        dgm_comm_abandon(c);
    return NULL;
}

static void run(int n_ranks, bool close, const dgm_comm_config *cfg,
                void (*fn)(dgm_comm *c, void *ctx), void *ctx)
{
    pthread_t threads[MAX_RANKS];
    struct job jobs[MAX_RANKS];
    DGM_ASSERT(n_ranks <= MAX_RANKS);
    for (int r = 0; r < n_ranks; r++) {
        jobs[r] = (struct job){r, n_ranks, close, cfg, fn, ctx};
        const int rc = pthread_create(&threads[r], NULL, rank_main, &jobs[r]);
        DGM_ASSERT(rc == 0);
    }
    for (int r = 0; r < n_ranks; r++)
        (void)pthread_join(threads[r], NULL);
    while (first != NULL) { /* a lost rank leaves messages unread */
        struct message *m = first;
        first = m->next;
        free(m);
    }
    last = &first;
}

void hub_run(int n_ranks, const dgm_comm_config *cfg, void (*fn)(dgm_comm *c, void *ctx), void *ctx)
{
    run(n_ranks, true, cfg, fn, ctx);
}

void hub_run_leaving(int n_ranks, const dgm_comm_config *cfg, void (*fn)(dgm_comm *c, void *ctx),
                     void *ctx)
{
    run(n_ranks, false, cfg, fn, ctx);
}

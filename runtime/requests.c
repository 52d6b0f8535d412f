#include "runtime/requests.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    EACH_TOKENS = 8,        /* what a line counts beside its tokens: one of few is not free */
    URGENT_LINES = 8,       /* a client with more lines than these does not wait for each */
    INTERACTIVE_LINES = 64, /* the same of lines that say that somebody waits */
    RETRY_MIN_MS = 50,      /* what a client that is told to come again waits */
    RETRY_MAX_MS = 10000,
};

/* How much a token of each priority counts for whose turn it is. */
static const int weight[DGM_PRIORITIES] = {4, 1, 16};

/* What a client asked for at one priority. */
typedef struct flow {
    struct flow *next, *before; /* among those that have something waiting */
    dgm_request *first, *last;
    uint64_t turn; /* grows by the weighed tokens of what was taken */
    bool listed;
} flow;

struct dgm_requests_client {
    flow flows[DGM_PRIORITIES];
    int here; /* admitted and not back */
    bool gone;
};

struct dgm_requests {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t work;
    flow *active;
    uint64_t
        turn; /* where who comes anew starts: grows with what is taken, shared among all that wait */
    int n_active, n_waiting, n_urgent, n_engine, n_clients;
    int64_t tokens, max_tokens;
    dgm_request *done, **done_end;    /* for the net thread */
    dgm_request *stopped, **stop_end; /* for the engine thread */
    dgm_request **heap;               /* [n_heap] those with a deadline, earliest first */
    int n_heap, cap_heap;
    int n_announced;
    bool draining, closed, told;
    int64_t drain_limit_ns;
    double tokens_s; /* how fast tokens leave, smoothed */
    int64_t left_ns, left_tokens;
    dgm_requests_state counts;
    void (*wake)(void *);
    void *wake_ctx;
};

int dgm_requests_create(dgm_requests **out, int64_t max_tokens, void (*wake)(void *), void *ctx)
{
    dgm_requests *q = calloc(1, sizeof *q);
    if (q == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the queue of requests");
    q->max_tokens = max_tokens;
    q->wake = wake;
    q->wake_ctx = ctx;
    q->done_end = &q->done;
    q->stop_end = &q->stopped;
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->work, &attr);
    (void)pthread_condattr_destroy(&attr);
    *out = q;
    return DGM_OK;
}

void dgm_requests_destroy(dgm_requests *q)
{
    if (q == NULL)
        return;
    DGM_ASSERT(q->n_waiting == 0 && q->n_engine == 0 && q->done == NULL);
    (void)pthread_cond_destroy(&q->work);
    (void)pthread_mutex_destroy(&q->lock);
    free(q->heap);
    free(q);
}

static void lock(dgm_requests *q)
{
    (void)pthread_mutex_lock(&q->lock);
}

static void unlock(dgm_requests *q)
{
    (void)pthread_mutex_unlock(&q->lock);
}

/* ---- deadlines: a heap ---- */

static bool earlier(const dgm_requests *q, int a, int b)
{
    return q->heap[a]->deadline_ns < q->heap[b]->deadline_ns;
}

static void heap_swap(dgm_requests *q, int a, int b)
{
    dgm_request *r = q->heap[a];
    q->heap[a] = q->heap[b];
    q->heap[b] = r;
    q->heap[a]->heap_at = a;
    q->heap[b]->heap_at = b;
}

static void heap_settle(dgm_requests *q, int at)
{
    while (at > 0 && earlier(q, at, (at - 1) / 2)) {
        heap_swap(q, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
    for (;;) {
        int least = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2 && child < q->n_heap; child++)
            if (earlier(q, child, least))
                least = child;
        if (least == at)
            return;
        heap_swap(q, at, least);
        at = least;
    }
}

/* heap_room - so that admission can fail and nothing later can. */
static int heap_room(dgm_requests *q, int n)
{
    if (q->n_heap + n <= q->cap_heap)
        return DGM_OK;
    const int cap = 2 * q->cap_heap + n;
    dgm_request **grown = realloc(q->heap, (size_t)cap * sizeof(dgm_request *));
    if (grown == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for deadlines");
    q->heap = grown;
    q->cap_heap = cap;
    return DGM_OK;
}

static void heap_add(dgm_requests *q, dgm_request *r)
{
    r->heap_at = -1;
    if (r->deadline_ns == 0)
        return;
    r->heap_at = q->n_heap;
    q->heap[q->n_heap++] = r;
    heap_settle(q, r->heap_at);
}

static void heap_drop(dgm_requests *q, dgm_request *r)
{
    const int at = r->heap_at;
    if (at < 0)
        return;
    r->heap_at = -1;
    q->n_heap--;
    if (at == q->n_heap)
        return;
    q->heap[at] = q->heap[q->n_heap];
    q->heap[at]->heap_at = at;
    heap_settle(q, at);
}

/* ---- flows ---- */

static flow *flow_of(const dgm_request *r)
{
    return &r->client->flows[r->priority];
}

static void flow_list(dgm_requests *q, flow *f)
{
    if (f->listed)
        return;
    f->listed = true;
    q->n_active++;
    if (f->turn < q->turn) /* time without a wish is not saved up */
        f->turn = q->turn;
    f->before = NULL;
    f->next = q->active;
    if (f->next != NULL)
        f->next->before = f;
    q->active = f;
}

static void flow_unlist(dgm_requests *q, flow *f)
{
    f->listed = false;
    q->n_active--;
    if (f->before != NULL)
        f->before->next = f->next;
    else
        q->active = f->next;
    if (f->next != NULL)
        f->next->before = f->before;
}

/* flow_put - behind `before` (NULL: first of all). */
static void flow_put(dgm_requests *q, dgm_request *r, dgm_request *before)
{
    flow *f = flow_of(r);
    r->before = before;
    r->next = before != NULL ? before->next : f->first;
    *(r->before != NULL ? &r->before->next : &f->first) = r;
    *(r->next != NULL ? &r->next->before : &f->last) = r;
    flow_list(q, f);
    q->n_waiting++;
    q->n_urgent += r->urgent;
}

static void flow_drop(dgm_requests *q, dgm_request *r)
{
    flow *f = flow_of(r);
    if (r->before != NULL)
        r->before->next = r->next;
    else
        f->first = r->next;
    if (r->next != NULL)
        r->next->before = r->before;
    else
        f->last = r->before;
    r->next = r->before = NULL;
    if (f->first == NULL)
        flow_unlist(q, f);
    q->n_waiting--;
    q->n_urgent -= r->urgent;
}

/* ---- the way back ---- */

static void give_back(dgm_requests *q, dgm_request *r, enum dgm_request_end end)
{
    heap_drop(q, r);
    r->end = end;
    r->ended_ns = dgm_now_ns();
    r->place = DGM_REQUEST_IS_DONE;
    r->next = NULL;
    *q->done_end = r;
    q->done_end = &r->next;
    q->counts.by_end[end]++;
}

/* stop - of one that waits it is the end; of one in the engine that thread must hear. */
static void stop(dgm_requests *q, dgm_request *r, enum dgm_request_end end)
{
    if (r->place == DGM_REQUEST_IS_DONE || r->stopping)
        return;
    if (r->place == DGM_REQUEST_IN_QUEUE) {
        flow_drop(q, r);
        give_back(q, r, end);
        return;
    }
    heap_drop(q, r);
    r->stopping = true;
    r->stop_as = end;
    r->next = NULL;
    *q->stop_end = r;
    q->stop_end = &r->next;
    (void)pthread_cond_signal(&q->work);
}

/* wake - without the lock: the other thread may come at once. */
static void wake(dgm_requests *q)
{
    lock(q);
    const bool any = q->done != NULL && !q->told;
    q->told = q->told || any;
    unlock(q);
    if (any)
        q->wake(q->wake_ctx);
}

/* ---- net thread ---- */

int dgm_requests_join(dgm_requests *q, dgm_requests_client **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a client");
    lock(q);
    q->n_clients++;
    unlock(q);
    return DGM_OK;
}

/* forget_client - when it is gone and so is all it asked for. */
static void forget_client(dgm_requests *q, dgm_requests_client *c)
{
    if (!c->gone || c->here > 0)
        return;
    q->n_clients--;
    free(c);
}

void dgm_requests_leave(dgm_requests *q, dgm_requests_client *c)
{
    lock(q);
    c->gone = true;
    for (int p = 0; p < DGM_PRIORITIES; p++)
        while (c->flows[p].first != NULL)
            stop(q, c->flows[p].first, DGM_REQUEST_CANCELLED);
    forget_client(q, c);
    unlock(q);
    wake(q);
}

int dgm_requests_tokens(const dgm_request *r)
{
    int n = EACH_TOKENS;
    for (int i = 0; i < r->line.segments.n; i++)
        n += r->line.segments.at[i].n;
    return n;
}

/* retry_after - as long as it takes, at the speed of late, until half of what waits is gone. */
static int retry_after(const dgm_requests *q)
{
    const double ms = q->tokens_s > 0 ? 500 * (double)q->tokens / q->tokens_s : 1000;
    return ms < RETRY_MIN_MS ? RETRY_MIN_MS : ms > RETRY_MAX_MS ? RETRY_MAX_MS : (int)ms;
}

static bool urgent(const dgm_requests_client *c, const dgm_request *r)
{
    if (r->priority == DGM_PRIORITY_BULK)
        return false;
    return c->here <= (r->priority == DGM_PRIORITY_INTERACTIVE ? INTERACTIVE_LINES : URGENT_LINES);
}

/* hurry - a client that has few lines left here no longer waits for any that is not in the engine yet. */
static void hurry(dgm_requests *q, const dgm_requests_client *c)
{
    for (int p = 0; p < DGM_PRIORITIES; p++)
        for (dgm_request *r = c->flows[p].first; r != NULL && urgent(c, r); r = r->next) {
            q->n_urgent += !r->urgent;
            r->urgent = true;
        }
}

static int admit(dgm_requests *q, dgm_requests_client *c, dgm_request *const *r, int n,
                 int *retry_ms)
{
    int64_t more = 0;
    for (int i = 0; i < n; i++)
        more += r[i]->tokens = dgm_requests_tokens(r[i]);
    *retry_ms = 0;
    if (q->closed || (q->draining && q->n_announced == 0))
        return dgm_fail(DGM_EUNSUPPORTED, "the server is draining: it takes nothing new");
    if (q->tokens > 0 && q->tokens + more > q->max_tokens) {
        *retry_ms = retry_after(q);
        q->counts.refused += (uint64_t)n;
        return dgm_fail(DGM_EBUSY, "the queue is full: %lld tokens wait, want at most %lld",
                        (long long)q->tokens + (long long)more, (long long)q->max_tokens);
    }
    DGM_TRY(heap_room(q, n));
    c->here += n;
    q->tokens += more;
    q->counts.admitted += (uint64_t)n;
    for (int i = 0; i < n; i++) {
        r[i]->client = c;
        r[i]->place = DGM_REQUEST_IN_QUEUE;
        r[i]->stopping = false;
        r[i]->urgent = urgent(c, r[i]);
        flow_put(q, r[i], flow_of(r[i])->last);
        heap_add(q, r[i]);
    }
    (void)pthread_cond_signal(&q->work);
    return DGM_OK;
}

int dgm_requests_admit(dgm_requests *q, dgm_requests_client *c, dgm_request *const *r, int n,
                       int *retry_ms)
{
    lock(q);
    const int rc = admit(q, c, r, n, retry_ms);
    unlock(q);
    return rc;
}

int dgm_requests_announce(dgm_requests *q)
{
    lock(q);
    const bool draining = q->draining;
    q->n_announced += !draining;
    unlock(q);
    return draining ? dgm_fail(DGM_EUNSUPPORTED, "the server is draining: it takes nothing new")
                    : DGM_OK;
}

void dgm_requests_arrived(dgm_requests *q)
{
    lock(q);
    q->n_announced--;
    (void)pthread_cond_signal(&q->work);
    unlock(q);
}

bool dgm_requests_full(dgm_requests *q, int *retry_ms)
{
    lock(q);
    const bool full = q->tokens >= q->max_tokens;
    *retry_ms = full ? retry_after(q) : 0;
    unlock(q);
    return full;
}

void dgm_requests_cancel(dgm_requests *q, dgm_request *r)
{
    lock(q);
    stop(q, r, DGM_REQUEST_CANCELLED);
    unlock(q);
    wake(q);
}

/* note_speed - over the last second or so. */
static void note_speed(dgm_requests *q, int64_t tokens)
{
    const int64_t now = dgm_now_ns();
    q->left_tokens += tokens;
    if (q->left_ns == 0)
        q->left_ns = now;
    const double s = (double)(now - q->left_ns) * 1e-9;
    if (s < 0.5)
        return;
    const double speed = (double)q->left_tokens / s;
    q->tokens_s = q->tokens_s > 0 ? 0.7 * q->tokens_s + 0.3 * speed : speed;
    q->left_ns = now;
    q->left_tokens = 0;
}

dgm_request *dgm_requests_take_done(dgm_requests *q)
{
    lock(q);
    dgm_request *all = q->done;
    int64_t tokens = 0;
    for (dgm_request *r = all; r != NULL; r = r->next) {
        tokens += r->tokens;
        r->client->here--;
        hurry(q, r->client);
        forget_client(q, r->client);
        r->client = NULL;
    }
    q->tokens -= tokens;
    note_speed(q, tokens);
    q->done = NULL;
    q->done_end = &q->done;
    q->told = false;
    unlock(q);
    return all;
}

/* ---- engine thread ---- */

/* first_of - before one that is urgent never stand more than its client may have of these. */
static dgm_request *first_of(const flow *f, enum dgm_requests_kind kind)
{
    dgm_request *r = f->first;
    if (kind == DGM_REQUESTS_OTHERS)
        return r->urgent ? NULL : r;
    for (int i = 0; kind == DGM_REQUESTS_URGENT && r != NULL && !r->urgent; i++)
        r = i < INTERACTIVE_LINES ? r->next : NULL;
    return r;
}

static dgm_request *choose(dgm_requests *q, enum dgm_requests_kind kind)
{
    flow *best = NULL;
    dgm_request *found = NULL;
    if (q->n_waiting == 0 || (kind == DGM_REQUESTS_URGENT && q->n_urgent == 0) ||
        (kind == DGM_REQUESTS_OTHERS && q->n_urgent == q->n_waiting))
        return NULL;
    for (flow *f = q->active; f != NULL; f = f->next) {
        dgm_request *r = best == NULL || f->turn < best->turn ? first_of(f, kind) : NULL;
        if (r == NULL)
            continue;
        best = f;
        found = r;
    }
    if (found == NULL)
        return NULL;
    const uint64_t cost = (uint64_t)found->tokens * (uint64_t)weight[found->priority];
    best->turn += cost;
    q->turn += cost / (uint64_t)q->n_active;
    flow_drop(q, found);
    found->place = DGM_REQUEST_IN_ENGINE;
    q->n_engine++;
    return found;
}

dgm_request *dgm_requests_next(dgm_requests *q, enum dgm_requests_kind kind)
{
    lock(q);
    dgm_request *r = choose(q, kind);
    unlock(q);
    return r;
}

dgm_request *dgm_requests_stopped(dgm_requests *q)
{
    lock(q);
    dgm_request *r = q->stopped;
    if (r != NULL) {
        q->stopped = r->next;
        if (q->stopped == NULL)
            q->stop_end = &q->stopped;
        r->next = NULL;
    }
    unlock(q);
    return r;
}

/* unstop - a request that was finished by itself before the engine thread heard that it should stop. */
static void unstop(dgm_requests *q, const dgm_request *r)
{
    for (dgm_request **at = &q->stopped; *at != NULL; at = &(*at)->next) {
        if (*at != r)
            continue;
        *at = r->next;
        if (r->next == NULL)
            q->stop_end = at;
        return;
    }
}

void dgm_requests_again(dgm_requests *q, dgm_request *r)
{
    lock(q);
    if (!r->stopping) {
        q->n_engine--;
        r->place = DGM_REQUEST_IN_QUEUE;
        r->urgent = r->urgent || urgent(r->client, r); /* others of its client are done meanwhile */
        flow_put(q, r, NULL);
        if (r->client->gone)
            stop(q, r, DGM_REQUEST_CANCELLED);
    }
    unlock(q);
}

void dgm_requests_finish(dgm_requests *q, dgm_request *r, enum dgm_request_end end)
{
    lock(q);
    if (r->stopping)
        unstop(q, r);
    q->n_engine--;
    give_back(q, r, end);
    unlock(q);
}

void dgm_requests_flush(dgm_requests *q)
{
    wake(q);
}

void dgm_requests_expire(dgm_requests *q, int64_t now_ns)
{
    lock(q);
    while (q->n_heap > 0 && q->heap[0]->deadline_ns <= now_ns)
        stop(q, q->heap[0], DGM_REQUEST_TIMED_OUT);
    unlock(q);
}

void dgm_requests_wait(dgm_requests *q, int timeout_ms)
{
    const int64_t most = dgm_now_ns() + (int64_t)timeout_ms * 1000000;
    lock(q);
    for (int rc = 0; rc == 0 && q->n_waiting == 0 && q->stopped == NULL &&
                     !(q->draining && q->n_announced == 0);) {
        const int64_t until =
            q->n_heap > 0 && q->heap[0]->deadline_ns < most ? q->heap[0]->deadline_ns : most;
        const struct timespec at = {.tv_sec = (time_t)(until / 1000000000),
                                    .tv_nsec = (long)(until % 1000000000)};
        rc = pthread_cond_timedwait(&q->work, &q->lock, &at);
    }
    unlock(q);
}

void dgm_requests_fail_waiting(dgm_requests *q, int code)
{
    lock(q);
    q->closed = true;
    for (flow *f = q->active; f != NULL; f = q->active) {
        dgm_request *r = f->first;
        flow_drop(q, r);
        r->code = code;
        r->message = strdup(dgm_error_text());
        give_back(q, r, DGM_REQUEST_FAILED);
    }
    unlock(q);
    wake(q);
}

/* ---- either ---- */

void dgm_requests_drain(dgm_requests *q, int64_t limit_ns)
{
    lock(q);
    if (!q->draining)
        q->drain_limit_ns = limit_ns;
    q->draining = true;
    (void)pthread_cond_signal(&q->work);
    unlock(q);
}

bool dgm_requests_draining(dgm_requests *q, int64_t *limit_ns)
{
    lock(q);
    const bool draining = q->draining;
    if (limit_ns != NULL)
        *limit_ns = q->drain_limit_ns;
    unlock(q);
    return draining;
}

dgm_requests_state dgm_requests_look(dgm_requests *q)
{
    lock(q);
    dgm_requests_state s = q->counts;
    s.tokens = q->tokens;
    s.waiting = q->n_waiting;
    s.computing = q->n_engine;
    s.announced = q->n_announced;
    s.clients = q->n_clients;
    unlock(q);
    return s;
}

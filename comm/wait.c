/*
 * wait.c - every wait of comm, and who is to blame when one does not end.
 *
 * A wait polls, first as fast as it can, then giving the CPU away, then with growing pauses: a busy
 * exchange sees microseconds, an idle job costs a percent or two of a core. The clock is read every
 * few polls. A control message of a rank of this host ends a pause (bell.h); one of another host
 * does not, so those who wait for that make shorter ones.
 *
 * A peer is given up when its process on this host has ended, or when deadline_ms passed without a
 * sign of life. Ranks wait for each other in chains, so a rank that waits says for whom
 * (DGM_NOTICE_WAIT), and its peers blame the end of the chain: the one rank that waits for nobody.
 */
#include "base/clock.h"
#include "base/log.h"
#include "comm/internal.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { POLLS_PER_LOOK = 16 };

#define MS ((int64_t)1000000)
#define FIRST_LOOK_AROUND (50 * MS) /* before that nobody is suspected of anything */
#define LOOK_AROUND_EVERY (20 * MS)
#define OWN_ABSENCE (1000 * MS)
#define LONGEST_REST MS
#define LONGEST_REST_UNRUNG (MS / 2) /* for a peer of another host, whose ring does not come here */

struct wait {
    const char *what;
    int64_t began, last_look, next_look_around;
    int told; /* whom the others were told that this rank waits for; -1: nobody */
    bool warned;
};

int dgm_wait_verdict(dgm_comm *c, int code, int culprit, const char *fmt, ...)
{
    if (c->verdict.code == DGM_OK) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(c->verdict.text, sizeof c->verdict.text, fmt, ap);
        va_end(ap);
        c->verdict.code = code;
        c->verdict.culprit = culprit;
    }
    return dgm_wait_over(c);
}

int dgm_wait_over(const dgm_comm *c)
{
    return c->verdict.code == DGM_OK ? DGM_OK : dgm_fail(c->verdict.code, "%s", c->verdict.text);
}

/* "in decode, layer 3 (dispatch)" */
static const char *place(const dgm_comm *c, const char *what)
{
    static _Thread_local char text[128];
    if (c->layer >= 0)
        (void)snprintf(text, sizeof text, "in %s, layer %d (%s)", c->stage, c->layer, what);
    else
        (void)snprintf(text, sizeof text, "in %s (%s)", c->stage, what);
    return text;
}

void dgm_notice_tell(dgm_comm *c, const dgm_notice *n, int except)
{
    const size_t bytes = offsetof(dgm_notice, text) + strlen(n->text) + 1;
    for (int r = 0; r < c->size; r++) {
        if (r != c->rank && r != except && dgm_post(c, DGM_CH_NOTICE, r, n, bytes) != DGM_OK)
            dgm_log(DGM_LOG_DEBUG, "comm", "no notice to rank %d: %s", r, dgm_error_text());
    }
}

static void hear(dgm_comm *c, int from, dgm_notice *n)
{
    dgm_peer *p = &c->peers[from];
    n->text[sizeof n->text - 1] = '\0';
    switch (n->kind) {
    case DGM_NOTICE_BUSY:
        p->busy_ns = dgm_now_ns();
        (void)snprintf(p->doing, sizeof p->doing, "%.*s", (int)sizeof p->doing - 1, n->text);
        break;
    case DGM_NOTICE_WAIT:
        p->waits_for = n->rank >= 0 && n->rank < c->size ? n->rank : -1;
        break;
    case DGM_NOTICE_GO:
        p->waits_for = -1;
        break;
    case DGM_NOTICE_ABORT:
        (void)dgm_wait_verdict(c, n->code, n->rank >= 0 && n->rank < c->size ? n->rank : from, "%s",
                               n->text);
        break;
    case DGM_NOTICE_SPEAK:
        if (c->speaker < 0 || from < c->speaker)
            c->speaker = from;
        break;
    case DGM_NOTICE_SAID:
        c->said = true;
        break;
    default:
        break;
    }
}

void dgm_wait_notices(dgm_comm *c)
{
    int from;
    size_t bytes;
    while (c->ops->probe(c->link, DGM_CH_NOTICE, DGM_ANY_PEER, &from, &bytes)) {
        dgm_notice n = {0};
        if (bytes > sizeof n ||
            c->ops->take(c->link, DGM_CH_NOTICE, from, &n, sizeof n) != DGM_OK) {
            (void)dgm_wait_verdict(c, DGM_EINTERNAL, from,
                                   "rank %d (%s) sent a notice of %zu bytes: at most %zu", from,
                                   c->peers[from].host, bytes, sizeof n);
            return;
        }
        hear(c, from, &n);
    }
}

/* The end of the chain of waits that begins with `peer`. */
static int follow(const dgm_comm *c, int peer)
{
    for (int hops = 0; hops < c->size; hops++) {
        const int next = c->peers[peer].waits_for;
        if (next < 0 || next == c->rank)
            break;
        peer = next;
    }
    return peer;
}

static int find_gone(dgm_comm *c, const struct wait *w)
{
    for (int r = 0; r < c->size; r++) {
        const dgm_peer *p = &c->peers[r];
        if (p->here && dgm_proc_gone(&p->proc))
            return dgm_wait_verdict(c, DGM_EPEER, r,
                                    "rank %d (host %s) was lost %s: its process ended; the job "
                                    "cannot go on without its experts",
                                    r, p->host, place(c, w->what));
    }
    return DGM_OK;
}

static void say_wait(dgm_comm *c, struct wait *w, int peer)
{
    const dgm_notice n = {.kind = DGM_NOTICE_WAIT, .rank = peer};
    dgm_notice_tell(c, &n, -1);
    w->told = peer;
}

/* What is known about a silent rank, as the end of a sentence. */
static const char *state_of(const dgm_peer *p)
{
    return p->here ? dgm_proc_state(&p->proc) : "or the network to it does not answer";
}

static void tell_stall(const dgm_comm *c, const char *sentence)
{
    if (c->on_stall != NULL)
        c->on_stall(c->on_stall_ctx, sentence);
}

static void warn(const dgm_comm *c, const struct wait *w, int root, int64_t quiet)
{
    const dgm_peer *p = &c->peers[root];
    char text[DGM_VERDICT_LEN];
    (void)snprintf(text, sizeof text,
                   "rank %d waits for rank %d (host %s) since %.1f s %s: its process %s", c->rank,
                   root, p->host, (double)quiet * 1e-9, place(c, w->what), state_of(p));
    dgm_log(DGM_LOG_WARN, "comm", "%s", text);
    tell_stall(c, text);
}

static int judge(dgm_comm *c, struct wait *w, int peer, int64_t now)
{
    const int root = follow(c, peer);
    const dgm_peer *p = &c->peers[root];
    int64_t since = w->began;
    if (c->peers[peer].busy_ns > since)
        since = c->peers[peer].busy_ns;
    if (p->busy_ns > since)
        since = p->busy_ns;
    const int64_t quiet = now - since, stall = c->stall_ms * MS, deadline = c->deadline_ms * MS;
    if (w->told != peer && now - w->began > stall / 2)
        say_wait(c, w, peer);
    /* One rank speaks for all that wait. */
    if (!w->warned && quiet > stall && c->rank == (root == 0 ? 1 : 0)) {
        w->warned = true;
        warn(c, w, root, quiet);
    }
    /* Those next to the culprit go first: they know best. */
    if (quiet <= (root == peer ? deadline : deadline + deadline / 4))
        return DGM_OK;
    /* What it said before this wait lay unread until the first look around. */
    const bool told = p->busy_ns > w->began + FIRST_LOOK_AROUND;
    return dgm_wait_verdict(c, DGM_EDEADLINE, root,
                            "rank %d (host %s) was lost %s: no sign of life for %.1f s%s%s, its "
                            "process %s; the job cannot go on without its experts",
                            root, p->host, place(c, w->what), (double)quiet * 1e-9,
                            told ? " since it was " : "", told ? p->doing : "", state_of(p));
}

int64_t dgm_wait_patience(const dgm_comm *c)
{
    return c->crowded ? MS / 10 : MS;
}

/* Gives the CPU away, the longer the longer the wait has lasted. */
static bool rest(dgm_comm *c, int peer, int64_t waited)
{
    const int64_t most = c->peers[peer].here ? LONGEST_REST : LONGEST_REST_UNRUNG;
    if (waited < dgm_wait_patience(c)) {
        (void)sched_yield();
        return false;
    }
    int64_t pause = waited / 16;
    if (pause > most)
        pause = most;
    c->rests++;
    c->rung += dgm_bell_sleep(pause);
    return true;
}

/* Between polls: the time, the notices, the peers. *rested: the last poll is old news. */
static int look(dgm_comm *c, struct wait *w, int peer, bool *rested)
{
    const int64_t now = dgm_now_ns();
    if (w->began == 0) {
        w->began = now;
        w->last_look = now;
        w->next_look_around = now + MS;
    }
    /* This process was stopped or starved itself, maybe with the whole job: nobody's fault. */
    if (now - w->last_look > OWN_ABSENCE)
        w->began += now - w->last_look;
    w->last_look = now;
    if (now >= w->next_look_around) {
        w->next_look_around = now + (now - w->began < FIRST_LOOK_AROUND ? MS : LOOK_AROUND_EVERY);
        dgm_wait_notices(c);
        DGM_TRY(dgm_wait_over(c));
        if (now - w->began >= FIRST_LOOK_AROUND) {
            DGM_TRY(find_gone(c, w));
            DGM_TRY(judge(c, w, peer, now));
        }
    }
    *rested = rest(c, peer, now - w->began);
    return DGM_OK;
}

int dgm_wait_for(dgm_comm *c, const char *what, dgm_poll_fn poll, void *ctx)
{
    struct wait w = {.what = what, .told = -1};
    bool rested = false;
    DGM_TRY(dgm_wait_over(c));
    for (int polls = 1;; polls++) {
        int peer;
        const int rc = poll(ctx, &peer);
        if (rc != DGM_OK)
            return dgm_wait_verdict(c, rc, c->rank, "rank %d (host %s) failed %s: %s", c->rank,
                                    c->peers[c->rank].host, place(c, what), dgm_error_text());
        if (peer == DGM_ROUND_DONE)
            break;
        if (rested || polls % POLLS_PER_LOOK == 0)
            DGM_TRY(look(c, &w, peer, &rested));
    }
    if (w.began != 0)
        c->waited_ns += dgm_now_ns() - w.began;
    if (w.warned) {
        dgm_log(DGM_LOG_WARN, "comm", "rank %d waits no longer, after %.1f s", c->rank,
                (double)(dgm_now_ns() - w.began) * 1e-9);
        tell_stall(c, NULL);
    }
    if (w.told >= 0) {
        const dgm_notice go = {.kind = DGM_NOTICE_GO};
        dgm_notice_tell(c, &go, -1);
    }
    return DGM_OK;
}

struct lane_poll {
    const dgm_comm *c;
    int lane;
};

static int poll_lane(void *ctx, int *peer)
{
    const struct lane_poll *p = ctx;
    return p->c->ops->test(p->c->link, p->lane, peer);
}

int dgm_round_begin(dgm_comm *c, const dgm_round *r)
{
    DGM_TRY(dgm_wait_over(c));
    DGM_ASSERT((c->flying >> r->lane & 1) == 0);
    DGM_TRY(c->ops->begin(c->link, r));
    c->flying |= 1U << r->lane;
    return DGM_OK;
}

int dgm_round_end(dgm_comm *c, const char *what, int lane)
{
    struct lane_poll p = {c, lane};
    DGM_TRY(dgm_wait_over(c));
    DGM_ASSERT(c->flying >> lane & 1);
    DGM_TRY(dgm_wait_for(c, what, poll_lane, &p));
    c->flying &= ~(1U << lane);
    return DGM_OK;
}

int dgm_wait_round(dgm_comm *c, const char *what, const dgm_round *r)
{
    DGM_TRY(dgm_round_begin(c, r));
    return dgm_round_end(c, what, r->lane);
}

void dgm_comm_progress(dgm_comm *c)
{
    for (int lane = 0; c->flying >> lane != 0; lane++) {
        int peer;
        if ((c->flying >> lane & 1) == 0)
            continue;
        const int rc = c->ops->test(c->link, lane, &peer);
        if (rc != DGM_OK) /* whoever ends a round next says it */
            (void)dgm_wait_verdict(c, rc, c->rank, "rank %d (host %s) failed %s: %s", c->rank,
                                   c->peers[c->rank].host, place(c, "progress"), dgm_error_text());
    }
}

/*
 * serve_load - asks a `dragoman serve` for lines over many connections, each line in a request of its own, and says how long it took.
 *
 *   serve_load ADDRESS -s SRC -t TGT -i FILE [-k LINES] [-n CONNECTIONS] [-w WINDOW] [-p MS] [-r RATE] [-S SEED] [-P PRIORITY] [-o FILE] [-T FILE] [-L]
 *
 *   -k   lines; more than the file has: again, with a number before each (the file's)
 *   -n   connections (1)               -w   lines that each may have in flight (as many as it gets credits)
 *   -p   closed loop with pauses: each connection waits so many ms, exponentially distributed, between an answer and the next line
 *   -r   open loop: lines come at random times (Poisson), so many a second, whether earlier ones are answered or not
 *   -S   seed of these times (1)       -P   priority: 0 normal, 1 interactive, 2 bulk
 *   -o   writes the translations, in order
 *   -T   writes what became of each line, in order: when it was due (s since the first could be), how late it was sent, how long it took
 *        from then on, and how much of that it waited and was computed, as the server says (ms); its target tokens
 *
 *   -L   the server is to lose a rank: prints `sent` when it has read all lines, and then lines may fail, if they say RANK_LOST and
 *        to come again; connections may be closed that have all their answers. At least one line must
 *
 * Prints `name value` lines. Latency counts in a closed loop from when a line is sent, in an open loop from when it was to be
 * sent: a line that waits for credits or for this program is late, and that is counted. Each line must be answered once, and what
 * comes after that is looked at too. Exit 1 when a line is refused or fails, or the server misbehaves.
 */
#include "base/clock.h"
#include "tests/bench/serve_peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { EVENTS = 64 };
static const uint32_t TIMER = UINT32_MAX; /* its mark */

typedef struct line {
    int64_t due_ns, sent_ns, done_ns;
    uint64_t queue_us, compute_us; /* of the server */
    uint32_t tgt_tokens;
    char *text; /* its translation */
    bool answered;
} line;

typedef struct conn {
    serve_peer peer;
    int *asked; /* [cap] which line each id is, from 1 */
    size_t cap;
    int next; /* open loop: its next line */
    int in_flight;
    int64_t rest_ns; /* closed loop: nothing is sent before */
    uint64_t rests;
} conn;

typedef struct load {
    const char *address, *src, *tgt, *out, *trace;
    int n_conns, window;
    double pause_ms, rate;
    uint64_t seed;
    uint32_t priority;
    serve_texts texts;
    line *lines; /* [texts.n] */
    conn *conns; /* [n_conns] */
    int epoll, timer;
    int next, due, done; /* lines: to be sent next, not yet due, answered */
    int in_flight, most_in_flight, fenced;
    bool loses, asked, told; /* -L; a question is behind all lines; which was answered and told */
    int lost;
    int64_t began_ns, ended_ns;
    uint64_t src_tokens, tgt_tokens, cached, statuses[DGM_WIRE_STATUS_BAD_INPUT + 1];
} load;

static void *claim(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (p == NULL)
        serve_die("out of memory");
    return p;
}

/* ---- out ---- */

static void ask(load *l, conn *c, int at, int64_t now)
{
    const dgm_wire_segment seg = {.text = l->texts.at[at], .text_len = strlen(l->texts.at[at])};
    const dgm_wire_frame f = {.id = ++c->peer.id,
                              .kind = DGM_WIRE_TRANSLATE,
                              .as.translate = {.src = l->src,
                                               .tgt = l->tgt,
                                               .options.priority = l->priority,
                                               .segments = &seg,
                                               .n_segments = 1}};
    if (c->peer.id >= c->cap) {
        c->cap = 2 * c->cap + 64;
        c->asked = realloc(c->asked, c->cap * sizeof *c->asked);
        if (c->asked == NULL)
            serve_die("out of memory");
    }
    c->asked[c->peer.id] = at;
    l->lines[at].sent_ns = now;
    serve_peer_put(&c->peer, &f);
    c->peer.credits--;
    c->in_flight++;
    if (++l->in_flight > l->most_in_flight)
        l->most_in_flight = l->in_flight;
}

/* pick - a line that this connection sends now, or -1. */
static int pick(load *l, conn *c, int64_t now)
{
    int at = -1;
    if (c->peer.credits == 0 || (l->window > 0 && c->in_flight >= l->window))
        return -1;
    if (l->rate > 0) {
        if (c->next < l->due) {
            at = c->next;
            c->next += l->n_conns;
        }
    } else if (l->next < l->texts.n && c->rest_ns <= now) {
        at = l->next++;
        l->lines[at].due_ns = now;
    }
    return at;
}

static void send_due(load *l)
{
    const int64_t now = dgm_now_ns();
    while (l->rate > 0 && l->due < l->texts.n && l->lines[l->due].due_ns <= now)
        l->due++;
    for (int i = 0; i < l->n_conns; i++) {
        conn *c = &l->conns[i];
        bool any = false;
        for (int at; (at = pick(l, c, now)) >= 0; any = true)
            ask(l, c, at, now);
        if (any && !serve_peer_push(&c->peer))
            serve_die("the server closed a connection");
    }
}

/* set_timer - for the next line that is not due, or the next end of a pause. */
static void set_timer(load *l)
{
    int64_t at = 0;
    if (l->rate > 0) {
        at = l->due < l->texts.n ? l->lines[l->due].due_ns : 0;
    } else if (l->pause_ms > 0 && l->next < l->texts.n) {
        for (int i = 0; i < l->n_conns; i++)
            if (l->conns[i].in_flight == 0 && (at == 0 || l->conns[i].rest_ns < at))
                at = l->conns[i].rest_ns;
    }
    const struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)}};
    if (timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &when, NULL) != 0)
        serve_die("timerfd: %s", strerror(errno));
}

/* ---- in ---- */

/* take_failure - the only one that there may be. */
static void take_failure(load *l, const conn *c, const dgm_wire_frame *f)
{
    const dgm_wire_answer *a = &f->as.answer;
    if (!l->loses || a->code != DGM_WIRE_ERROR_RANK_LOST || !a->retry)
        serve_die("line %d failed: %s: %s", c->asked[f->id] + 1, dgm_wire_error_name(a->code),
                  a->message);
    l->lost++;
}

static void take_answer(load *l, conn *c, const dgm_wire_frame *f)
{
    const dgm_wire_answer *a = &f->as.answer;
    if (f->id == 0 || f->id > c->peer.id)
        serve_die("an answer to request %llu, which was not asked", (unsigned long long)f->id);
    line *to = &l->lines[c->asked[f->id]];
    if (to->answered)
        serve_die("line %d is answered twice", c->asked[f->id] + 1);
    if (a->segment != 0 || !a->last || a->status > DGM_WIRE_STATUS_BAD_INPUT)
        serve_die("an answer of no sense to line %d", c->asked[f->id] + 1);
    if (a->status == DGM_WIRE_STATUS_FAILED)
        take_failure(l, c, f);
    to->answered = true;
    to->done_ns = l->ended_ns = dgm_now_ns();
    if (l->out != NULL && (to->text = strdup(a->n_hyps > 0 ? a->hyps[0].text : "")) == NULL)
        serve_die("out of memory");
    to->queue_us = a->queue_us;
    to->compute_us = a->compute_us;
    to->tgt_tokens = a->tgt_tokens;
    l->src_tokens += a->src_tokens;
    l->tgt_tokens += a->tgt_tokens;
    l->cached += a->cached;
    l->statuses[a->status]++;
    l->done++;
    l->in_flight--;
    c->in_flight--;
    if (l->pause_ms > 0)
        c->rest_ns = to->done_ns + (int64_t)(1e6 * serve_draw_gap(l->seed + c->peer.mark,
                                                                  c->rests++, l->pause_ms));
}

static void take(load *l, conn *c)
{
    const bool open = serve_peer_pull(&c->peer);
    for (dgm_wire_frame f; serve_peer_next(&c->peer, &f);) {
        if (f.kind == DGM_WIRE_ERROR)
            serve_die("the server says %s: %s", dgm_wire_error_name(f.as.error.code),
                      f.as.error.message);
        if (f.kind == DGM_WIRE_ANSWER)
            take_answer(l, c, &f);
        else if (f.kind == DGM_WIRE_HEALTH && f.id != 0)
            l->fenced++;
    }
    if (open)
        return;
    if (l->lost == 0 || c->in_flight > 0)
        serve_die("the server closed a connection, and %d lines are not answered", c->in_flight);
    serve_peer_close(&c->peer);
}

static void wait_events(load *l)
{
    struct epoll_event e[EVENTS];
    const int n = epoll_wait(l->epoll, e, EVENTS, -1);
    for (int i = 0; i < n; i++) {
        uint64_t times;
        if (e[i].data.u32 == TIMER) {
            (void)!read(l->timer, &times, sizeof times);
            continue;
        }
        conn *c = &l->conns[e[i].data.u32];
        if ((e[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
            take(l, c);
        if ((e[i].events & EPOLLOUT) != 0 && !serve_peer_push(&c->peer))
            serve_die("the server closed a connection");
    }
}

/* ---- from begin to end ---- */

static void open_all(load *l)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = TIMER};
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->epoll < 0 || l->timer < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->timer, &e) != 0)
        serve_die("epoll: %s", strerror(errno));
    l->conns = claim((size_t)l->n_conns, sizeof *l->conns);
    for (int i = 0; i < l->n_conns; i++) {
        dgm_wire_frame f;
        l->conns[i].next = i;
        serve_peer_open(&l->conns[i].peer, l->address, l->epoll, (uint32_t)i);
        serve_peer_wait(&l->conns[i].peer, &f);
        if (!l->conns[i].peer.greeted)
            serve_die("no welcome: %s", f.kind == DGM_WIRE_ERROR ? f.as.error.message : "");
    }
}

static void plan(load *l)
{
    l->lines = claim((size_t)l->texts.n, sizeof *l->lines);
    l->began_ns = dgm_now_ns();
    double at = 0;
    for (int i = 0; l->rate > 0 && i < l->texts.n; i++) {
        at += serve_draw_gap(l->seed, (uint64_t)i, 1e9 / l->rate);
        l->lines[i].due_ns = l->began_ns + (int64_t)at;
    }
}

/* ask_all - a question behind all others. */
static void ask_all(load *l)
{
    for (int i = 0; i < l->n_conns; i++) {
        conn *c = &l->conns[i];
        const dgm_wire_frame f = {.id = ++c->peer.id, .kind = DGM_WIRE_HEALTH_REQUEST};
        serve_peer_put(&c->peer, &f);
        if (!serve_peer_push(&c->peer))
            serve_die("the server closed a connection");
    }
}

/* fence - what the server had to say before has then been looked at. */
static void fence(load *l)
{
    ask_all(l);
    while (l->fenced < l->n_conns)
        wait_events(l);
    for (int i = 0; i < l->n_conns; i++)
        if (l->conns[i].peer.credits != l->conns[i].peer.first_credits)
            serve_die("want %u credits at the end, found %u", l->conns[i].peer.first_credits,
                      l->conns[i].peer.credits);
}

/* tell_sent - once, when the server has read all lines. */
static void tell_sent(load *l)
{
    if (!l->asked && l->next == l->texts.n)
        ask_all(l);
    l->asked = l->next == l->texts.n;
    if (l->told || l->fenced < l->n_conns)
        return;
    l->told = true;
    (void)puts("sent");
    (void)fflush(stdout);
}

static void run(load *l)
{
    open_all(l);
    plan(l);
    while (l->done < l->texts.n) {
        send_due(l);
        if (l->loses)
            tell_sent(l);
        set_timer(l);
        wait_events(l);
    }
    if (!l->loses)
        fence(l);
    else if (l->lost == 0)
        serve_die("no line was lost");
}

/* ---- what is told ---- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void show_times(const char *name, double *ms, int n)
{
    static const int percent[] = {50, 95, 99};
    qsort(ms, (size_t)n, sizeof *ms, ascending);
    for (size_t i = 0; i < sizeof percent / sizeof percent[0]; i++) {
        const int rank = (n * percent[i] + 99) / 100; /* the nearest rank, from 1 */
        (void)printf("%s_p%d_ms %.2f\n", name, percent[i], ms[rank - 1]);
    }
}

static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void show(const load *l, double cpu_s)
{
    const int n = l->texts.n;
    const double s = (double)(l->ended_ns - l->began_ns) * 1e-9;
    double *ms = claim((size_t)n, sizeof *ms);
    (void)printf("lines %d\nseconds %.3f\nlines_per_s %.2f\ntarget_tokens_per_s %.1f\n", n, s,
                 n / s, (double)l->tgt_tokens / s);
    for (int i = 0; i < n; i++)
        ms[i] = (double)(l->lines[i].done_ns - l->lines[i].due_ns) * 1e-6;
    show_times("latency", ms, n);
    for (int i = 0; i < n; i++)
        ms[i] = (double)(l->lines[i].sent_ns - l->lines[i].due_ns) * 1e-6;
    show_times("sent_late", ms, n);
    if (l->loses)
        (void)printf("lost %d\n", l->lost);
    (void)printf("most_in_flight %d\ncached %llu\nclient_cpu_s %.3f\n", l->most_in_flight,
                 (unsigned long long)l->cached, cpu_s);
    for (uint32_t i = 0; i <= DGM_WIRE_STATUS_BAD_INPUT; i++)
        if (l->statuses[i] > 0)
            (void)printf("status_%s %llu\n", dgm_wire_status_name(i),
                         (unsigned long long)l->statuses[i]);
    free(ms);
}

static void write_texts(const load *l)
{
    FILE *f = fopen(l->out, "w");
    for (int i = 0; f != NULL && i < l->texts.n; i++)
        (void)fprintf(f, "%s\n", l->lines[i].text);
    if (f == NULL || fclose(f) != 0)
        serve_die("%s: %s", l->out, strerror(errno));
}

static double ms_between(int64_t from_ns, int64_t to_ns)
{
    return (double)(to_ns - from_ns) * 1e-6;
}

static void write_trace(const load *l)
{
    FILE *f = fopen(l->trace, "w");
    for (int i = 0; f != NULL && i < l->texts.n; i++) {
        const line *a = &l->lines[i];
        (void)fprintf(f, "%.6f\t%.3f\t%.3f\t%.3f\t%.3f\t%u\n",
                      ms_between(l->began_ns, a->due_ns) * 1e-3, ms_between(a->due_ns, a->sent_ns),
                      ms_between(a->sent_ns, a->done_ns), (double)a->queue_us * 1e-3,
                      (double)a->compute_us * 1e-3, a->tgt_tokens);
    }
    if (f == NULL || fclose(f) != 0)
        serve_die("%s: %s", l->trace, strerror(errno));
}

static void close_all(load *l)
{
    for (int i = 0; i < l->n_conns; i++) {
        serve_peer_close(&l->conns[i].peer);
        free(l->conns[i].asked);
    }
    for (int i = 0; i < l->texts.n; i++)
        free(l->lines[i].text);
    free(l->lines);
    free(l->conns);
    serve_free_texts(&l->texts);
}

int main(int argc, char **argv)
{
    load l = {.n_conns = 1, .seed = 1};
    const char *in = NULL;
    int n = 0;
    for (int flag;
         argc > 1 && (flag = getopt(argc - 1, argv + 1, "s:t:i:k:n:w:p:r:S:P:o:T:L")) != -1;) {
        switch (flag) {
        case 's':
            l.src = optarg;
            break;
        case 't':
            l.tgt = optarg;
            break;
        case 'i':
            in = optarg;
            break;
        case 'k':
            n = atoi(optarg);
            break;
        case 'n':
            l.n_conns = atoi(optarg);
            break;
        case 'w':
            l.window = atoi(optarg);
            break;
        case 'p':
            l.pause_ms = atof(optarg);
            break;
        case 'r':
            l.rate = atof(optarg);
            break;
        case 'S':
            l.seed = strtoull(optarg, NULL, 10);
            break;
        case 'P':
            l.priority = (uint32_t)atoi(optarg);
            break;
        case 'o':
            l.out = optarg;
            break;
        case 'L':
            l.loses = true;
            break;
        case 'T':
            l.trace = optarg;
            break;
        default:
            return 2;
        }
    }
    if (argc < 2 || optind + 1 != argc || in == NULL || l.src == NULL || l.tgt == NULL ||
        l.n_conns < 1)
        serve_die("usage: serve_load ADDRESS -s SRC -t TGT -i FILE [OPTION...]");
    l.address = argv[1];
    serve_read_texts(&l.texts, in, n);
    const double before = cpu_seconds();
    run(&l);
    show(&l, cpu_seconds() - before);
    if (l.out != NULL)
        write_texts(&l);
    if (l.trace != NULL)
        write_trace(&l);
    close_all(&l);
    return 0;
}

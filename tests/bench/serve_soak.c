/*
 * serve_soak - many clients that behave as clients do: they ask in several ways and languages (soak_ways.c), cancel requests and
 * single lines, set deadlines, look after the server's health and statistics, go away in the middle, also of a frame, and come
 * again; while what a `dragoman serve` owes them is counted, and its descriptors and memory are watched.
 *
 *   serve_soak ADDRESS -P SRC:TGT[,SRC:TGT...] -i FILE -p PID [-n CLIENTS] [-k REQUESTS] [-d SECONDS] [-m MIB] [-l LINES] [-S SEED]
 *
 *   -p   the server's process            -n   clients (50)
 *   -k   requests, of 1 to 4 lines (2000)    -d   seconds that they are spread over (10); twice as long at most
 *   -m   what VmRSS may grow by from half-time to the end (0: it is only printed)
 *   -l   different lines that are asked for (4000)
 *
 * Exit 1 when a line or a question is not answered within 10 minutes, or twice; has another status than it can have, or another
 * answer than the same line had before; when credits are missing, a connection is closed that was not misused, the server is left
 * with lines, clients or descriptors, or its memory grew.
 */
#include "base/clock.h"
#include "tests/bench/serve_watch.h"
#include "tests/bench/soak_ways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    MOST_LINES = 4,   /* of a request */
    MOST_OPEN = 8,    /* requests of a client */
    MOST_LIFE = 12,   /* requests before it goes */
    PATIENCE_S = 600, /* for answers after the last request */
    SAMPLES = 40,
};

/* A request that is not all answered. A question has no lines, and one answer of the kind `answer`. */
typedef struct asked {
    uint64_t id;
    enum dgm_wire_kind answer;
    int n, left;
    soak_key key[MOST_LINES];
    bool answered[MOST_LINES], cancelled[MOST_LINES], limited[MOST_LINES];
} asked;

typedef struct user {
    serve_peer peer;
    asked open[MOST_OPEN];
    int n_open, life; /* requests until it goes */
    bool polite;      /* goes when all is answered */
    uint64_t draws;
    int64_t act_ns;
} user;

static struct {
    const char *address;
    int n_users, n_requests, seconds, grow_mib, pid;
    uint64_t seed;
    serve_texts texts;
    user *users;
    int epoll;
    bool over;
    int64_t began_ns;
    double pause_ns;
    int requests; /* asked */
    /* lines */
    uint64_t asked_lines, answered, dropped, refused, by_status[DGM_WIRE_STATUS_BAD_INPUT + 1];
    uint64_t connects, cancels, cancelled_lines, limits, cut_frames, left_rudely, questions;
} soak;

static uint64_t draw(user *u, uint64_t below)
{
    return serve_draw(soak.seed + u->peer.mark, u->draws++) % below;
}

static void rest(user *u, int64_t now)
{
    u->act_ns = now + (int64_t)serve_draw_gap(soak.seed + u->peer.mark, u->draws++, soak.pause_ns);
}

/* ---- what a user does ---- */

static void leave(user *u)
{
    const uint32_t mark = u->peer.mark;
    for (int i = 0; i < u->n_open; i++)
        soak.dropped += (uint64_t)u->open[i].left;
    u->n_open = 0;
    u->polite = false;
    serve_peer_close(&u->peer);
    u->peer.mark = mark;
}

static void come(user *u)
{
    serve_peer_open(&u->peer, soak.address, soak.epoll, u->peer.mark);
    u->life = 1 + (int)draw(u, MOST_LIFE);
    soak.connects++;
}

static asked *begin(user *u, enum dgm_wire_kind answer, int n)
{
    asked *a = &u->open[u->n_open++];
    *a = (asked){.id = ++u->peer.id, .answer = answer, .n = n, .left = n};
    return a;
}

/* draw_options - of a request, or of a line of it: half of them as the server was started. */
static dgm_wire_options draw_options(user *u, soak_key *k)
{
    static const uint32_t priorities[] = {DGM_WIRE_NORMAL, DGM_WIRE_INTERACTIVE, DGM_WIRE_BULK};
    k->way = draw(u, 2) == 0 ? 0 : (int)draw(u, (uint64_t)soak_ways_count());
    dgm_wire_options o = soak_options(k->way, &u->peer.limits);
    o.priority = priorities[draw(u, 3)];
    o.deadline_ms = draw(u, 4) == 0 ? 1 + (uint32_t)draw(u, 1 + draw(u, 300)) : 0;
    soak.limits += o.deadline_ms > 0;
    return o;
}

/* draw_line - some have options and languages of their own. */
static void draw_line(user *u, asked *a, int i, const dgm_wire_options *of_request,
                      dgm_wire_options *own, dgm_wire_segment *seg)
{
    soak_key *k = &a->key[i];
    const bool apart = draw(u, 3) == 0;
    const int pair = k->pair;
    k->text = (int)draw(u, (uint64_t)soak.texts.n);
    if (apart) {
        k->pair = (int)draw(u, (uint64_t)soak_pairs_count());
        *own = draw_options(u, k);
    }
    a->limited[i] = (apart ? own : of_request)->deadline_ms > 0;
    *seg = soak_segment(k, apart ? own : NULL);
    if (k->pair == pair)
        seg->src = seg->tgt = NULL;
}

static void ask(user *u)
{
    dgm_wire_segment segs[MOST_LINES];
    dgm_wire_options own[MOST_LINES];
    asked *a = begin(u, DGM_WIRE_ANSWER, 1 + (int)draw(u, MOST_LINES));
    soak_key k = {.pair = (int)draw(u, (uint64_t)soak_pairs_count())};
    dgm_wire_frame f = {.id = a->id,
                        .kind = DGM_WIRE_TRANSLATE,
                        .as.translate = {.src = soak_src(k.pair),
                                         .tgt = soak_tgt(k.pair),
                                         .options = draw_options(u, &k),
                                         .segments = segs,
                                         .n_segments = (size_t)a->n}};
    for (int i = 0; i < a->n; i++) {
        a->key[i] = k;
        draw_line(u, a, i, &f.as.translate.options, &own[i], &segs[i]);
    }
    serve_peer_put(&u->peer, &f);
    u->peer.credits -= (uint32_t)a->n;
    u->life--;
    soak.requests++;
    soak.asked_lines += (uint64_t)a->n;
}

/* question - something that needs no engine. */
static void question(user *u)
{
    static const struct {
        enum dgm_wire_kind ask, answer;
    } kinds[] = {{DGM_WIRE_HEALTH_REQUEST, DGM_WIRE_HEALTH},
                 {DGM_WIRE_HEALTH_REQUEST, DGM_WIRE_HEALTH},
                 {DGM_WIRE_STATISTICS_REQUEST, DGM_WIRE_STATISTICS},
                 {DGM_WIRE_LANGUAGES_REQUEST, DGM_WIRE_LANGUAGES}};
    const size_t i = draw(u, sizeof kinds / sizeof kinds[0]);
    const asked *a = begin(u, kinds[i].answer, 0);
    const dgm_wire_frame f = {.id = a->id, .kind = kinds[i].ask};
    serve_peer_put(&u->peer, &f);
    soak.questions++;
}

/* cancel - a request, or some of its lines, or of what is none. */
static void cancel(user *u)
{
    asked *a = &u->open[draw(u, (uint64_t)u->n_open)];
    uint32_t segments[MOST_LINES];
    const size_t n = draw(u, 2) == 0 ? 0 : 1 + draw(u, MOST_LINES);
    for (size_t i = 0; i < n; i++)
        segments[i] = (uint32_t)draw(u, MOST_LINES);
    const dgm_wire_frame f = {
        .kind = DGM_WIRE_CANCEL,
        .as.cancel = {.request = a->id, .segments = segments, .n_segments = n}};
    serve_peer_put(&u->peer, &f);
    for (int i = 0; n == 0 && i < a->n; i++)
        a->cancelled[i] = true;
    for (size_t i = 0; i < n; i++)
        a->cancelled[segments[i]] = true;
    soak.cancels++;
    soak.cancelled_lines += n > 0;
}

/* cut_frame - a part of a frame, and away. */
static void cut_frame(user *u)
{
    const dgm_wire_frame f = {.id = u->peer.id + 1, .kind = DGM_WIRE_HEALTH_REQUEST};
    (void)serve_peer_push(&u->peer);
    size_t before, after;
    (void)dgm_frame_buffer_bytes(&u->peer.out, &before);
    serve_peer_put(&u->peer, &f);
    (void)dgm_frame_buffer_bytes(&u->peer.out, &after);
    u->peer.out.len -= 1 + draw(u, after - before - 1);
    (void)serve_peer_push(&u->peer);
    soak.cut_frames++;
    leave(u);
}

/* go - at the end of its life: some wait for what they asked, others do not. */
static void go(user *u)
{
    const uint64_t how = draw(u, 10);
    if (how < 5) {
        u->polite = true;
    } else if (how == 5) {
        cut_frame(u);
    } else {
        if (u->n_open < MOST_OPEN)
            ask(u);
        (void)serve_peer_push(&u->peer);
        soak.left_rudely++;
        leave(u);
    }
}

static void check_credits(const user *u)
{
    if (u->peer.credits != u->peer.first_credits)
        serve_die("client %u: want %u credits when all is answered, found %u", u->peer.mark,
                  u->peer.first_credits, u->peer.credits);
}

static void act(user *u, int64_t now)
{
    rest(u, now);
    if (soak.over)
        u->polite = true;
    if (u->peer.fd < 0) {
        if (!soak.over)
            come(u);
    } else if (!u->peer.greeted) {
        return;
    } else if (u->polite) {
        if (u->n_open > 0)
            return;
        check_credits(u);
        leave(u);
        return;
    } else if (u->life == 0) {
        go(u);
    } else if (u->n_open > 0 && draw(u, 6) == 0) {
        cancel(u);
    } else if (u->n_open < MOST_OPEN && draw(u, 12) == 0) {
        question(u);
    } else if (u->n_open < MOST_OPEN) {
        ask(u);
        if (draw(u, 12) == 0)
            cancel(u); /* in the same breath */
    }
    if (u->peer.fd >= 0 && !serve_peer_push(&u->peer))
        serve_die("client %u: the server closed its connection", u->peer.mark);
}

/* ---- what it gets ---- */

static asked *find(user *u, uint64_t id)
{
    for (int i = 0; i < u->n_open; i++)
        if (u->open[i].id == id)
            return &u->open[i];
    serve_die("client %u: request %llu was answered before, or never asked", u->peer.mark,
              (unsigned long long)id);
}

static void close_request(user *u, asked *a)
{
    *a = u->open[--u->n_open];
}

static void take_answer(user *u, const dgm_wire_frame *f)
{
    const dgm_wire_answer *a = &f->as.answer;
    asked *r = find(u, f->id);
    const uint32_t i = a->segment;
    if (i >= (uint32_t)r->n || r->answered[i])
        serve_die("client %u: line %u of request %llu is answered twice, or is none", u->peer.mark,
                  i, (unsigned long long)f->id);
    r->answered[i] = true;
    if (a->last != (--r->left == 0))
        serve_die("client %u: %d lines are left, and last is %d", u->peer.mark, r->left, a->last);
    if (a->status == DGM_WIRE_STATUS_TIMED_OUT ? !r->limited[i]
        : a->status == DGM_WIRE_STATUS_CANCELLED
            ? !r->cancelled[i]
            : a->status == DGM_WIRE_STATUS_FAILED || a->status > DGM_WIRE_STATUS_BAD_INPUT)
        serve_die("client %u: a line is %s: %s", u->peer.mark, dgm_wire_status_name(a->status),
                  a->message);
    if (a->status != DGM_WIRE_STATUS_TIMED_OUT && a->status != DGM_WIRE_STATUS_CANCELLED)
        soak_check(&r->key[i], a);
    soak.answered++;
    soak.by_status[a->status]++;
    if (r->left == 0)
        close_request(u, r);
}

static void take_told(user *u, const dgm_wire_frame *f)
{
    asked *r = find(u, f->id);
    if (r->answer != f->kind)
        serve_die("client %u: a question is answered by %s", u->peer.mark,
                  dgm_wire_kind_name(f->kind));
    close_request(u, r);
}

static void take_error(user *u, const dgm_wire_frame *f)
{
    const dgm_wire_error *e = &f->as.error;
    if (f->id == 0 || e->code != DGM_WIRE_ERROR_BUSY)
        serve_die("client %u: the server says %s: %s", u->peer.mark, dgm_wire_error_name(e->code),
                  e->message);
    asked *r = find(u, f->id);
    soak.refused += (uint64_t)r->left;
    close_request(u, r);
}

static void take(user *u)
{
    if (!serve_peer_pull(&u->peer))
        serve_die("client %u: the server closed its connection", u->peer.mark);
    for (dgm_wire_frame f; serve_peer_next(&u->peer, &f);) {
        if (f.kind == DGM_WIRE_ANSWER)
            take_answer(u, &f);
        else if (f.kind == DGM_WIRE_ERROR)
            take_error(u, &f);
        else if (f.id != 0)
            take_told(u, &f);
    }
}

/* ---- the time ---- */

typedef struct memory_record {
    int64_t next_ns;
    int kib[2 * SAMPLES + 2], n; /* a slow machine takes twice as long; and the end */
} memory_record;

static void sample(memory_record *m, int64_t now, bool end)
{
    if (!end && (now < m->next_ns || m->n > 2 * SAMPLES))
        return;
    m->kib[m->n] = serve_resident_kib(soak.pid);
    (void)printf("%6.1f s  %7d requests  %4d descriptors  %8d KiB\n",
                 (double)(now - soak.began_ns) * 1e-9, soak.requests, serve_descriptors(soak.pid),
                 m->kib[m->n++]);
    (void)fflush(stdout);
    m->next_ns += (int64_t)soak.seconds * 1000000000 / SAMPLES;
}

static int most(const memory_record *m, int from, int to)
{
    int kib = 0;
    for (int i = from; i < to; i++)
        if (m->kib[i] > kib)
            kib = m->kib[i];
    return kib;
}

/* check_memory - the second half against the first. */
static void check_memory(const memory_record *m)
{
    const int before = most(m, 0, (m->n + 1) / 2), after = most(m, (m->n + 1) / 2, m->n);
    (void)printf("VmRSS: at most %d KiB in the first half, %d KiB in the second\n", before, after);
    if (soak.grow_mib > 0 && after - before > soak.grow_mib * 1024)
        serve_die("want at most %d MiB more memory in the second half, found %d KiB more",
                  soak.grow_mib, after - before);
}

/* earliest - when the next of them acts. */
static int64_t earliest(void)
{
    int64_t at = INT64_MAX;
    for (int i = 0; i < soak.n_users; i++)
        if (soak.users[i].act_ns < at)
            at = soak.users[i].act_ns;
    return at;
}

static void wait_events(int64_t until)
{
    struct epoll_event e[EVENTS];
    const int64_t left = until - dgm_now_ns();
    const int ms = left <= 0 ? 0 : left > 100000000 ? 100 : (int)(left / 1000000) + 1;
    const int n = epoll_wait(soak.epoll, e, EVENTS, ms);
    for (int i = 0; i < n; i++) {
        user *u = &soak.users[e[i].data.u32];
        take(u);
        if ((e[i].events & EPOLLOUT) != 0 && !serve_peer_push(&u->peer))
            serve_die("client %u: the server closed its connection", u->peer.mark);
    }
}

static void act_all(int64_t now)
{
    for (int i = 0; i < soak.n_users; i++)
        if (soak.users[i].act_ns <= now)
            act(&soak.users[i], now);
}

/* leave_all - all wait for what they asked, and go. */
static void leave_all(void)
{
    const int64_t until = dgm_now_ns() + (int64_t)PATIENCE_S * 1000000000;
    soak.over = true;
    soak.pause_ns = 1e6;
    for (int left = 1; left > 0;) {
        const int64_t now = dgm_now_ns();
        left = 0;
        for (int i = 0; i < soak.n_users; i++) {
            soak.users[i].act_ns = now;
            act(&soak.users[i], now);
            left += soak.users[i].peer.fd >= 0;
        }
        if (now > until)
            serve_die("%d clients wait for answers that do not come", left);
        wait_events(now + 10000000);
    }
}

static void run(void)
{
    memory_record memory = {0};
    soak.began_ns = memory.next_ns = dgm_now_ns();
    for (int i = 0; i < soak.n_users; i++)
        rest(&soak.users[i], soak.began_ns);
    const int64_t until = soak.began_ns + (int64_t)soak.seconds * 2000000000;
    while (soak.requests < soak.n_requests) {
        const int64_t now = dgm_now_ns();
        if (now > until) { /* a slow machine: what was asked must still be answered */
            (void)printf("only %d of %d requests\n", soak.requests, soak.n_requests);
            break;
        }
        sample(&memory, now, false);
        act_all(now);
        wait_events(earliest());
    }
    leave_all();
    sample(&memory, dgm_now_ns(), true);
    check_memory(&memory);
}

static void show(void)
{
    (void)printf("%d requests of %llu lines over %llu connections: %llu answered, %llu refused, "
                 "%llu dropped by who asked\n",
                 soak.requests, (unsigned long long)soak.asked_lines,
                 (unsigned long long)soak.connects, (unsigned long long)soak.answered,
                 (unsigned long long)soak.refused, (unsigned long long)soak.dropped);
    (void)printf("%llu cancels, %llu of them of single lines, %llu deadlines, %llu left in the "
                 "middle, %llu in the middle of a frame, %llu questions\n",
                 (unsigned long long)soak.cancels, (unsigned long long)soak.cancelled_lines,
                 (unsigned long long)soak.limits, (unsigned long long)soak.left_rudely,
                 (unsigned long long)soak.cut_frames, (unsigned long long)soak.questions);
    soak_show();
    for (uint32_t i = 0; i <= DGM_WIRE_STATUS_BAD_INPUT; i++)
        if (soak.by_status[i] > 0)
            (void)printf("  %s %llu\n", dgm_wire_status_name(i),
                         (unsigned long long)soak.by_status[i]);
    if (soak.asked_lines != soak.answered + soak.refused + soak.dropped)
        serve_die("lines are missing");
}

static void prepare(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    soak.epoll = epoll_create1(EPOLL_CLOEXEC);
    soak.users = calloc((size_t)soak.n_users, sizeof *soak.users);
    if (soak.epoll < 0 || soak.users == NULL)
        serve_die("out of memory or descriptors");
    /* A client acts about 4 times for 3 requests. */
    soak.pause_ns = 1e9 * 0.75 * soak.seconds * soak.n_users / soak.n_requests;
    for (int i = 0; i < soak.n_users; i++)
        soak.users[i].peer = (serve_peer){.fd = -1, .mark = (uint32_t)i};
}

static void clean_up(void)
{
    soak_ways_close();
    free(soak.users);
    serve_free_texts(&soak.texts);
}

int main(int argc, char **argv)
{
    const char *in = NULL;
    char *pairs = NULL;
    int n_texts = 4000;
    soak.n_users = 50;
    soak.n_requests = 2000;
    soak.seconds = 10;
    soak.seed = 1;
    for (int flag; argc > 1 && (flag = getopt(argc - 1, argv + 1, "P:i:p:n:k:d:m:l:S:")) != -1;) {
        switch (flag) {
        case 'P':
            pairs = optarg;
            break;
        case 'i':
            in = optarg;
            break;
        case 'p':
            soak.pid = atoi(optarg);
            break;
        case 'n':
            soak.n_users = atoi(optarg);
            break;
        case 'k':
            soak.n_requests = atoi(optarg);
            break;
        case 'd':
            soak.seconds = atoi(optarg);
            break;
        case 'm':
            soak.grow_mib = atoi(optarg);
            break;
        case 'l':
            n_texts = atoi(optarg);
            break;
        case 'S':
            soak.seed = strtoull(optarg, NULL, 10);
            break;
        default:
            return 2;
        }
    }
    if (argc < 2 || optind + 1 != argc || in == NULL || pairs == NULL || soak.pid == 0 ||
        soak.n_users < 1 || soak.n_requests < 1 || soak.seconds < 1)
        serve_die("usage: serve_soak ADDRESS -P SRC:TGT,... -i FILE -p PID [OPTION...]");
    soak.address = argv[1];
    serve_read_texts(&soak.texts, in, n_texts);
    soak_ways_open(&soak.texts, pairs);
    prepare();
    const int descriptors = serve_descriptors(soak.pid);
    run();
    show();
    serve_check_rest(soak.address, soak.pid, descriptors);
    clean_up();
    return 0;
}

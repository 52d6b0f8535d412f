/*
 * serve_client ADDRESS COMMAND... - a client for tests of `dragoman serve`, by the frames alone.
 *
 *   lines CONNECTIONS BATCH   standard input has `SRC<TAB>TGT<TAB>TEXT` a line; they go over so many connections, BATCH a request,
 *                             in an order of their own; translations come out in order, one a line
 *   status SRC TGT [OPTION=N ...]   each line of standard input alone: `STATUS TEXT`, or `error NAME: MESSAGE`; prefix=TEXT
 *   counts SRC TGT [OPTION=N ...]   the same, but `source tokens, of them <unk>; tokens of the translation, of them <unk>`
 *   times SRC TGT             the same, but how many milliseconds each took, and of them, by the server, waiting and computing;
 *                             pause=MS before each line
 *   hold N                    opens N connections, says hello on each, prints `held`, waits for the end of standard input
 *   raw [N]                   sends standard input as it is, prints what frames come back until the server closes, or N
 *   drop                      sends standard input as it is, and hangs up
 *   deaf                      asks for much and reads nothing until the server closes
 *   flood N BYTES             N connections, each with so many bytes of a frame that never ends; prints how many of them the server
 *                             closed, and how many of these it told `busy`, then waits for the end of standard input
 *   ping N                    asks N times for health, and prints the median and the longest time that took, in ms
 *   freeze PID                the process's first thread, and no other, stands still until the end of standard input; prints `frozen`.
 *                             ADDRESS is any word
 *   hear                      takes ADDRESS (unix:) for systemd's socket of messages, and prints what comes there, a line each
 *   activate PROGRAM ARGS...  listens at ADDRESS, as systemd does, and becomes the program, which gets the socket
 *   health | drain | languages | statistics
 *
 * Exit 1 when the server closes or misbehaves.
 */
#include "base/clock.h"
#include "proto/wire.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 1000 };

typedef struct peer {
    int fd;
    dgm_frame_reader in;
    dgm_frame_buffer out;
    uint64_t id;
    uint32_t credits;
} peer;

static dgm_wire_memory in_memory, out_memory;

static _Noreturn void die(const char *what)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "serve_client: %s\n", what);
    exit(1);
}

static int connect_to(const char *address)
{
    int fd = -1;
    if (strncmp(address, "unix:", 5) == 0) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", address + 5);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
            die(strerror(errno));
        return fd;
    }
    char host[256];
    (void)snprintf(host, sizeof host, "%s", address + 4);
    char *colon = strrchr(host, ':');
    *colon = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        die("no such host");
    fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen) != 0)
        die(strerror(errno));
    freeaddrinfo(found);
    return fd;
}

static void put(peer *p, const dgm_wire_frame *f)
{
    if (dgm_wire_encode(&p->out, &out_memory, f) != DGM_OK)
        die(dgm_error_text());
}

static void push_bytes(peer *p)
{
    size_t n;
    const uint8_t *bytes = dgm_frame_buffer_bytes(&p->out, &n);
    const ssize_t sent = n == 0 ? 0 : send(p->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN)
        die(strerror(errno));
    if (sent > 0)
        dgm_frame_buffer_sent(&p->out, (size_t)sent);
}

/* pull - what has come; false at the end. */
static bool pull(peer *p)
{
    size_t n;
    uint8_t *space = dgm_frame_reader_space(&p->in, &n);
    const ssize_t got = recv(p->fd, space, n, 0);
    if (got <= 0)
        return false;
    dgm_frame_reader_filled(&p->in, (size_t)got);
    return true;
}

static bool next_frame(peer *p, dgm_wire_frame *f)
{
    int found;
    const uint8_t *body;
    size_t len;
    enum dgm_wire_error_code code;
    if (dgm_frame_reader_next(&p->in, &found, &body, &len) != DGM_OK)
        die(dgm_error_text());
    if (found && dgm_wire_decode(f, &code, &in_memory, body, len) != DGM_OK)
        die(dgm_error_text());
    return found;
}

/* wait_frame - sends what is to be sent, and waits for one frame. */
static void wait_frame(peer *p, dgm_wire_frame *f)
{
    while (!next_frame(p, f)) {
        push_bytes(p);
        size_t left;
        (void)dgm_frame_buffer_bytes(&p->out, &left);
        struct pollfd at = {.fd = p->fd, .events = (short)(POLLIN | (left > 0 ? POLLOUT : 0))};
        (void)poll(&at, 1, -1);
        if ((at.revents & (POLLIN | POLLHUP)) != 0 && !pull(p))
            die("the server closed the connection");
    }
}

static void hello(peer *p, const char *address)
{
    dgm_wire_frame f = {.kind = DGM_WIRE_HELLO,
                        .as.hello = {.version = DGM_WIRE_VERSION, .client = "serve_client"}};
    *p = (peer){.fd = connect_to(address)};
    put(p, &f);
    wait_frame(p, &f);
    if (f.kind == DGM_WIRE_ERROR)
        die(f.as.error.message);
    if (f.kind != DGM_WIRE_WELCOME)
        die("no welcome");
    p->credits = f.as.welcome.credits;
}

/* ---- lines ---- */

typedef struct text {
    char *src, *tgt, *line, *out;
} text;

static text *texts;
static int n_texts;

static void read_texts(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) >= 0) {
        if (n > 0 && line[n - 1] == '\n')
            line[n - 1] = '\0';
        texts = realloc(texts, (size_t)(n_texts + 1) * sizeof *texts);
        text *t = &texts[n_texts++];
        *t = (text){.src = strdup(line)};
        t->tgt = strchr(t->src, '\t');
        *t->tgt++ = '\0';
        t->line = strchr(t->tgt, '\t');
        *t->line++ = '\0';
    }
    free(line);
}

/* Requests of a connection: which texts each has. */
typedef struct sent {
    int first, n, step;
} sent;

static void ask(peer *p, const sent *s)
{
    dgm_wire_segment *segs = calloc((size_t)s->n, sizeof *segs);
    for (int i = 0; i < s->n; i++) {
        const text *t = &texts[s->first + i * s->step];
        segs[i] = (dgm_wire_segment){
            .text = t->line, .text_len = strlen(t->line), .src = t->src, .tgt = t->tgt};
    }
    const dgm_wire_frame f = {.id = ++p->id,
                              .kind = DGM_WIRE_TRANSLATE,
                              .as.translate = {.segments = segs, .n_segments = (size_t)s->n}};
    put(p, &f);
    p->credits -= (uint32_t)s->n;
    free(segs);
}

static int take(peer *p, const sent *requests)
{
    int done = 0;
    for (dgm_wire_frame f; next_frame(p, &f);) {
        if (f.kind == DGM_WIRE_ERROR)
            die(f.as.error.message);
        if (f.kind != DGM_WIRE_ANSWER)
            continue;
        const dgm_wire_answer *a = &f.as.answer;
        const sent *s = &requests[f.id];
        text *t = &texts[s->first + (int)a->segment * s->step];
        if (t->out != NULL)
            die("a line was answered twice");
        if (a->status == DGM_WIRE_STATUS_FAILED)
            die(a->message);
        t->out = strdup(a->n_hyps > 0 ? a->hyps[0].text : "");
        p->credits += a->credits;
        done++;
    }
    return done;
}

static int lines(const char *address, int n_peers, int batch)
{
    peer *peers = calloc((size_t)n_peers, sizeof *peers);
    sent **requests = calloc((size_t)n_peers, sizeof *requests);
    int *next = calloc((size_t)n_peers, sizeof *next), left;
    struct pollfd *at = calloc((size_t)n_peers, sizeof *at);
    read_texts();
    left = n_texts;
    for (int i = 0; i < n_peers; i++) {
        hello(&peers[i], address);
        requests[i] = calloc((size_t)n_texts + 2, sizeof **requests);
        next[i] = i; /* connection i has the texts i, i + n_peers, ... */
    }
    while (left > 0) {
        for (int i = 0; i < n_peers; i++) {
            peer *p = &peers[i];
            while (next[i] < n_texts) {
                int n = 1 + (n_texts - 1 - next[i]) / n_peers;
                n = n < batch ? n : batch;
                if ((uint32_t)n > p->credits)
                    break;
                requests[i][p->id + 1] = (sent){next[i], n, n_peers};
                ask(p, &requests[i][p->id + 1]);
                next[i] += n * n_peers;
            }
            push_bytes(p);
            size_t unsent;
            (void)dgm_frame_buffer_bytes(&p->out, &unsent);
            at[i] = (struct pollfd){.fd = p->fd,
                                    .events = (short)(POLLIN | (unsent > 0 ? POLLOUT : 0))};
        }
        (void)poll(at, (nfds_t)n_peers, -1);
        for (int i = 0; i < n_peers; i++) {
            if ((at[i].revents & (POLLIN | POLLHUP)) != 0 && !pull(&peers[i]))
                die("the server closed a connection");
            left -= take(&peers[i], requests[i]);
        }
    }
    for (int i = 0; i < n_texts; i++)
        (void)puts(texts[i].out);
    return 0;
}

/* ---- one line at a time ---- */

static const char *prefix = "";
static unsigned pause_ms;

static void take_option(dgm_wire_options *o, const char *word)
{
    const char *equals = strchr(word, '=');
    if (strncmp(word, "prefix=", 7) == 0) {
        prefix = equals + 1;
        return;
    }
    const size_t n = (size_t)(equals - word);
    const uint32_t value = (uint32_t)strtoul(equals + 1, NULL, 10);
    if (strncmp(word, "pause=", 6) == 0) {
        pause_ms = value;
        return;
    }
    static const char *const names[] = {"beam_size",   "n_best", "max_length",
                                        "deadline_ms", "split",  "priority",
                                        "seed",        "retry",  "sampling_topk"};
    uint32_t *const places[] = {&o->beam_size,    &o->n_best,   &o->max_length, &o->deadline_ms,
                                &o->split,        &o->priority, NULL,           &o->retry,
                                &o->sampling_topk};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i]) != n || strncmp(names[i], word, n) != 0)
            continue;
        if (places[i] == NULL)
            o->seed = value;
        else
            *places[i] = value;
        return;
    }
    die("no such option");
}

static void show(const dgm_wire_frame *f)
{
    if (f->kind == DGM_WIRE_ERROR) {
        const dgm_wire_error *e = &f->as.error;
        char after[48] = "";
        if (e->retry && e->retry_after_ms > 0)
            (void)snprintf(after, sizeof after, " (retry after %u ms)", e->retry_after_ms);
        (void)printf("error %s: %s%s%s\n", dgm_wire_error_name(e->code), e->message,
                     e->retry && after[0] == '\0' ? " (retry)" : after,
                     e->closing ? " (closing)" : "");
    } else if (f->kind == DGM_WIRE_ANSWER) {
        const dgm_wire_answer *a = &f->as.answer;
        (void)printf("%s%s%s%s", dgm_wire_status_name(a->status), a->code != 0 ? " " : "",
                     a->code != 0 ? dgm_wire_error_name(a->code) : "", a->retry ? " (retry)" : "");
        for (size_t i = 0; i < a->n_hyps; i++)
            (void)printf("%s%s", i == 0 ? " " : " ||| ", a->hyps[i].text);
        (void)printf("%s%s\n", a->message[0] != '\0' ? " " : "", a->message);
    } else {
        (void)printf("%s\n", dgm_wire_kind_name(f->kind));
    }
    (void)fflush(stdout);
}

enum shown { SHOW_ANSWER, SHOW_TIME, SHOW_COUNTS };

static void show_counts(const dgm_wire_frame *f)
{
    const dgm_wire_answer *a = &f->as.answer;
    if (f->kind != DGM_WIRE_ANSWER)
        die("no answer");
    (void)printf("%u %u %u %u%s\n", a->src_tokens, a->src_unknown, a->tgt_tokens, a->tgt_unknown,
                 a->cached ? " cached" : "");
}

static void show_times(const dgm_wire_frame *f, int64_t ns)
{
    const dgm_wire_answer *a = &f->as.answer;
    if (f->kind != DGM_WIRE_ANSWER)
        die("no answer");
    (void)printf("%.2f %.2f %.2f\n", (double)ns * 1e-6, (double)a->queue_us * 1e-3,
                 (double)a->compute_us * 1e-3);
}

/* bye - and what was read and written. */
static void bye(peer *p)
{
    dgm_frame_reader_fini(&p->in);
    dgm_frame_buffer_fini(&p->out);
    dgm_wire_memory_fini(&in_memory);
    dgm_wire_memory_fini(&out_memory);
    (void)close(p->fd);
}

static int status(const char *address, int argc, char **argv, enum shown shown)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    peer p;
    dgm_wire_options o = {0};
    for (int i = 2; i < argc; i++)
        take_option(&o, argv[i]);
    hello(&p, address);
    while ((n = getline(&line, &cap, stdin)) >= 0) {
        n -= n > 0 && line[n - 1] == '\n';
        const dgm_wire_segment seg = {
            .text = line, .text_len = (size_t)n, .prefix = prefix, .prefix_len = strlen(prefix)};
        dgm_wire_frame f = {
            .id = ++p.id,
            .kind = DGM_WIRE_TRANSLATE,
            .as.translate = {
                .src = argv[0], .tgt = argv[1], .options = o, .segments = &seg, .n_segments = 1}};
        (void)usleep(1000 * pause_ms);
        const int64_t began = dgm_now_ns();
        put(&p, &f);
        do
            wait_frame(&p, &f);
        while (f.kind == DGM_WIRE_HEALTH); /* news */
        if (shown == SHOW_TIME)
            show_times(&f, dgm_now_ns() - began);
        else if (shown == SHOW_COUNTS)
            show_counts(&f);
        else
            show(&f);
    }
    free(line);
    bye(&p);
    return 0;
}

static int hold(const char *address, int n)
{
    static peer peers[MOST_CONNECTIONS];
    for (int i = 0; i < n; i++)
        hello(&peers[i], address);
    (void)puts("held");
    (void)fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}

static void send_input(const peer *p)
{
    char buf[65536];
    ssize_t n;
    while ((n = read(STDIN_FILENO, buf, sizeof buf)) > 0)
        for (size_t at = 0; at < (size_t)n;) {
            const ssize_t gone = send(p->fd, buf + at, (size_t)n - at, MSG_NOSIGNAL);
            if (gone < 0)
                break;
            at += (size_t)gone;
        }
}

static int drop(const char *address)
{
    const peer p = {.fd = connect_to(address)};
    send_input(&p);
    return close(p.fd);
}

static int raw(const char *address, int most)
{
    peer p = {.fd = connect_to(address)};
    send_input(&p);
    for (dgm_wire_frame f;;) {
        while (next_frame(&p, &f)) {
            show(&f);
            if (--most == 0)
                return 0;
        }
        if (!pull(&p))
            break;
        (void)fflush(stdout);
    }
    (void)puts("closed");
    return 0;
}

static int deaf(const char *address)
{
    peer p;
    hello(&p, address);
    for (int i = 0; i < 200000; i++) {
        const dgm_wire_frame f = {.id = ++p.id, .kind = DGM_WIRE_LANGUAGES_REQUEST};
        size_t n;
        put(&p, &f);
        const uint8_t *bytes = dgm_frame_buffer_bytes(&p.out, &n);
        const ssize_t gone = send(p.fd, bytes, n, MSG_NOSIGNAL);
        if (gone < 0) {
            (void)puts("closed");
            return 0;
        }
        dgm_frame_buffer_sent(&p.out, (size_t)gone);
    }
    (void)puts("all taken");
    return 0;
}

/* send_part - of a frame of 4 MiB that does not end; false when the server has closed. */
static bool send_part(const peer *p, size_t bytes)
{
    static const char zeros[65536] = {0};
    static const unsigned char head[4] = {0, 0x40, 0, 0};
    if (send(p->fd, head, sizeof head, MSG_NOSIGNAL) != (ssize_t)sizeof head)
        return false;
    while (bytes > 0) {
        const size_t part = bytes < sizeof zeros ? bytes : sizeof zeros;
        const ssize_t gone = send(p->fd, zeros, part, MSG_NOSIGNAL);
        if (gone < 0)
            return false;
        bytes -= (size_t)gone;
    }
    return true;
}

static int flood(const char *address, int n, size_t bytes)
{
    static peer peers[MOST_CONNECTIONS];
    int closed = 0, busy = 0;
    for (int i = 0; i < n; i++)
        hello(&peers[i], address);
    for (int i = 0; i < n; i++)
        (void)send_part(&peers[i], bytes);
    for (int i = 0; i < n; i++) {
        struct pollfd at = {.fd = peers[i].fd, .events = POLLIN};
        while (poll(&at, 1, 0) > 0 && pull(&peers[i]))
            ;
        for (dgm_wire_frame f; next_frame(&peers[i], &f);)
            busy += f.kind == DGM_WIRE_ERROR && f.as.error.code == DGM_WIRE_ERROR_BUSY;
        closed += (at.revents & (POLLIN | POLLHUP)) != 0;
    }
    (void)printf("closed %d busy %d\n", closed, busy);
    (void)fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int ping(const char *address, int n)
{
    int64_t *took = calloc((size_t)n, sizeof *took);
    peer p;
    hello(&p, address);
    for (int i = 0; i < n; i++) {
        dgm_wire_frame f = {.id = ++p.id, .kind = DGM_WIRE_HEALTH_REQUEST};
        const int64_t began = dgm_now_ns();
        put(&p, &f);
        wait_frame(&p, &f);
        took[i] = dgm_now_ns() - began;
        (void)usleep(2000);
    }
    qsort(took, (size_t)n, sizeof *took, by_size);
    (void)printf("%.2f %.2f\n", (double)took[n / 2] * 1e-6, (double)took[n - 1] * 1e-6);
    free(took);
    bye(&p);
    return 0;
}

static int freeze(pid_t pid)
{
    int how;
    char byte;
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0 ||
        ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0 || waitpid(pid, &how, __WALL) != pid)
        die(strerror(errno));
    (void)printf("frozen\n");
    (void)fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0 ? 0 : 1;
}

static int hear(const char *address)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char words[256];
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", address + 5);
    const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0)
        die(strerror(errno));
    for (ssize_t n; (n = recv(fd, words, sizeof words, 0)) >= 0;) {
        for (ssize_t i = 0; i < n; i++)
            words[i] = (char)(words[i] == '\n' ? ' ' : words[i]);
        (void)printf("%.*s\n", (int)n, words);
        (void)fflush(stdout);
    }
    return 1;
}

static int activate(const char *address, char **argv)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct addrinfo at = {
        .ai_family = AF_UNIX, .ai_addr = (struct sockaddr *)&local, .ai_addrlen = sizeof local};
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = &at;
    char host[256], pid[32];
    (void)snprintf(local.sun_path, sizeof local.sun_path, "%s", address + 5);
    (void)snprintf(host, sizeof host, "%s", address + 4);
    char *colon = strrchr(host, ':');
    if (strncmp(address, "tcp:", 4) == 0) {
        *colon = '\0';
        if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
            die("no such host");
    }
    const int fd = socket(found->ai_family, SOCK_STREAM, 0), on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 16) != 0 ||
        (fd != 3 && (dup2(fd, 3) != 3 || close(fd) != 0)))
        die(strerror(errno));
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    (void)setenv("LISTEN_PID", pid, 1);
    (void)setenv("LISTEN_FDS", "1", 1);
    (void)execv(argv[0], argv);
    die(strerror(errno));
}

static int ask_one(const char *address, const char *what)
{
    peer p;
    hello(&p, address);
    dgm_wire_frame f = {.id = ++p.id,
                        .kind = strcmp(what, "health") == 0      ? DGM_WIRE_HEALTH_REQUEST
                                : strcmp(what, "drain") == 0     ? DGM_WIRE_DRAIN
                                : strcmp(what, "languages") == 0 ? DGM_WIRE_LANGUAGES_REQUEST
                                                                 : DGM_WIRE_STATISTICS_REQUEST};
    put(&p, &f);
    wait_frame(&p, &f);
    if (f.kind == DGM_WIRE_HEALTH)
        (void)printf("state %u\n", f.as.health.state);
    else if (f.kind == DGM_WIRE_LANGUAGES)
        for (size_t i = 0; i < f.as.languages.n; i++)
            (void)printf("%s %s\n", f.as.languages.at[i].code, f.as.languages.at[i].name);
    else if (f.kind == DGM_WIRE_STATISTICS)
        for (size_t i = 0; i < f.as.statistics.n; i++)
            (void)printf("%s %.0f\n", f.as.statistics.at[i].name, f.as.statistics.at[i].value);
    else
        show(&f);
    bye(&p);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        die("usage: ADDRESS COMMAND");
    const char *address = argv[1], *command = argv[2];
    if (strcmp(command, "lines") == 0 && argc == 5)
        return lines(address, atoi(argv[3]), atoi(argv[4]));
    if (strcmp(command, "status") == 0 && argc >= 5)
        return status(address, argc - 3, argv + 3, SHOW_ANSWER);
    if (strcmp(command, "counts") == 0 && argc >= 5)
        return status(address, argc - 3, argv + 3, SHOW_COUNTS);
    if (strcmp(command, "times") == 0 && argc >= 5)
        return status(address, argc - 3, argv + 3, SHOW_TIME);
    if (strcmp(command, "hold") == 0 && argc == 4 && atoi(argv[3]) <= MOST_CONNECTIONS)
        return hold(address, atoi(argv[3]));
    if (strcmp(command, "raw") == 0)
        return raw(address, argc > 3 ? atoi(argv[3]) : 0);
    if (strcmp(command, "drop") == 0)
        return drop(address);
    if (strcmp(command, "deaf") == 0)
        return deaf(address);
    if (strcmp(command, "flood") == 0 && argc == 5 && atoi(argv[3]) <= MOST_CONNECTIONS)
        return flood(address, atoi(argv[3]), (size_t)atol(argv[4]));
    if (strcmp(command, "ping") == 0 && argc == 4 && atoi(argv[3]) > 0)
        return ping(address, atoi(argv[3]));
    if (strcmp(command, "hear") == 0)
        return hear(address);
    if (strcmp(command, "freeze") == 0 && argc == 4)
        return freeze(atoi(argv[3]));
    if (strcmp(command, "activate") == 0 && argc >= 4)
        return activate(address, argv + 3);
    return ask_one(address, command);
}

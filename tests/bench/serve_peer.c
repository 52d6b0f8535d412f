#include "tests/bench/serve_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECT_S = 10 };

static dgm_wire_memory in_memory, out_memory;

void serve_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fflush(stdout);
    (void)fputs("serve: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* ---- a connection ---- */

static int connect_unix(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const struct timeval most = {.tv_sec = CONNECT_S};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        serve_die("a socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most); /* a full backlog */
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    if (connect(fd, (const struct sockaddr *)&at, sizeof at) != 0)
        serve_die("unix:%s: %s", path, strerror(errno));
    return fd;
}

static int connect_tcp(const char *address)
{
    char host[256];
    const int on = 1;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    (void)snprintf(host, sizeof host, "%s", address);
    char *colon = strrchr(host, ':');
    if (colon == NULL)
        serve_die("want unix:PATH or tcp:HOST:PORT, found '%s'", address);
    *colon = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        serve_die("tcp:%s: no such host", address);
    const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0)
        serve_die("tcp:%s: %s", address, strerror(errno));
    freeaddrinfo(found);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void watch(serve_peer *p, int how, bool out)
{
    struct epoll_event e = {.events = EPOLLIN | (out ? (unsigned)EPOLLOUT : 0U),
                            .data.u32 = p->mark};
    if (p->epoll >= 0 && epoll_ctl(p->epoll, how, p->fd, &e) != 0)
        serve_die("epoll: %s", strerror(errno));
    p->watched = out;
}

void serve_peer_open(serve_peer *p, const char *address, int epoll, uint32_t mark)
{
    const dgm_wire_frame hello = {
        .kind = DGM_WIRE_HELLO, .as.hello = {.version = DGM_WIRE_VERSION, .client = "serve_load"}};
    const bool local = strncmp(address, "unix:", 5) == 0;
    if (!local && strncmp(address, "tcp:", 4) != 0)
        serve_die("want unix:PATH or tcp:HOST:PORT, found '%s'", address);
    *p = (serve_peer){.epoll = epoll, .mark = mark};
    p->fd = local ? connect_unix(address + 5) : connect_tcp(address + 4);
    if (fcntl(p->fd, F_SETFL, O_NONBLOCK) != 0)
        serve_die("O_NONBLOCK: %s", strerror(errno));
    watch(p, EPOLL_CTL_ADD, false);
    serve_peer_put(p, &hello);
}

void serve_peer_close(serve_peer *p)
{
    if (p->fd >= 0)
        (void)close(p->fd);
    dgm_frame_reader_fini(&p->in);
    dgm_frame_buffer_fini(&p->out);
    *p = (serve_peer){.fd = -1};
}

void serve_peer_put(serve_peer *p, const dgm_wire_frame *f)
{
    if (dgm_wire_encode(&p->out, &out_memory, f) != DGM_OK)
        serve_die("%s", dgm_error_text());
}

bool serve_peer_push(serve_peer *p)
{
    size_t n;
    for (const uint8_t *bytes; bytes = dgm_frame_buffer_bytes(&p->out, &n), n > 0;) {
        const ssize_t sent = send(p->fd, bytes, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            return false;
        dgm_frame_buffer_sent(&p->out, (size_t)sent);
    }
    if (p->watched != (n > 0))
        watch(p, EPOLL_CTL_MOD, n > 0);
    return true;
}

bool serve_peer_pull(serve_peer *p)
{
    size_t n;
    uint8_t *space = dgm_frame_reader_space(&p->in, &n);
    if (space == NULL)
        serve_die("%s", dgm_error_text());
    const ssize_t got = recv(p->fd, space, n, 0);
    if (got < 0 && errno == EAGAIN)
        return true;
    if (got <= 0)
        return false;
    dgm_frame_reader_filled(&p->in, (size_t)got);
    return true;
}

static void note(serve_peer *p, const dgm_wire_frame *f)
{
    if (f->kind == DGM_WIRE_WELCOME) {
        p->greeted = true;
        p->credits = p->first_credits = f->as.welcome.credits;
        p->limits = f->as.welcome.limits;
    } else if (f->kind == DGM_WIRE_ANSWER) {
        p->credits += f->as.answer.credits;
    } else if (f->kind == DGM_WIRE_ERROR) {
        p->credits += f->as.error.credits;
    } else if (f->kind == DGM_WIRE_CREDIT) {
        p->credits += f->as.credit.credits;
    }
}

bool serve_peer_next(serve_peer *p, dgm_wire_frame *f)
{
    int found;
    const uint8_t *body;
    size_t len;
    enum dgm_wire_error_code code;
    if (dgm_frame_reader_next(&p->in, &found, &body, &len) != DGM_OK)
        serve_die("%s", dgm_error_text());
    if (found && dgm_wire_decode(f, &code, &in_memory, body, len) != DGM_OK)
        serve_die("%s", dgm_error_text());
    if (found)
        note(p, f);
    return found;
}

void serve_peer_wait(serve_peer *p, dgm_wire_frame *f)
{
    while (!serve_peer_next(p, f)) {
        struct pollfd at = {.fd = p->fd, .events = POLLIN};
        if (!serve_peer_push(p))
            serve_die("the server closed a connection");
        if (p->watched)
            at.events |= POLLOUT;
        (void)poll(&at, 1, -1);
        if ((at.revents & (POLLIN | POLLHUP)) != 0 && !serve_peer_pull(p))
            serve_die("the server closed a connection");
    }
}

/* ---- random numbers ---- */

/* The finaliser of splitmix64, twice: a number of a stream costs the same wherever it stands. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

uint64_t serve_draw(uint64_t seed, uint64_t at)
{
    return mix(mix(seed + 0x9e3779b97f4a7c15U) + (at + 1) * 0x9e3779b97f4a7c15U);
}

double serve_draw_unit(uint64_t seed, uint64_t at)
{
    return (double)((serve_draw(seed, at) >> 11) + 1) * 0x1p-53;
}

double serve_draw_gap(uint64_t seed, uint64_t at, double mean)
{
    return -log(serve_draw_unit(seed, at)) * mean;
}

/* ---- texts ---- */

static char *numbered(const char *line, int number)
{
    const size_t size = strlen(line) + 16;
    char *text = malloc(size);
    if (text == NULL)
        serve_die("out of memory for the lines");
    (void)snprintf(text, size, "%d %s", number, line);
    return text;
}

static void add_text(serve_texts *t, char *line)
{
    if ((t->n & (t->n - 1)) == 0) { /* full at powers of two */
        char **grown = realloc(t->at, (size_t)(t->n == 0 ? 1 : 2 * t->n) * sizeof(char *));
        if (grown == NULL)
            serve_die("out of memory for the lines");
        t->at = grown;
    }
    t->at[t->n++] = line;
}

void serve_read_texts(serve_texts *t, const char *path, int n)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    if (f == NULL)
        serve_die("%s: %s", path, strerror(errno));
    while ((n == 0 || t->n < n) && (len = getline(&line, &cap, f)) >= 0) {
        if (len > 0 && line[len - 1] == '\n')
            line[len - 1] = '\0';
        add_text(t, line);
        line = NULL;
        cap = 0;
    }
    free(line);
    (void)fclose(f);
    if (t->n == 0)
        serve_die("%s: want at least one line", path);
    for (const int whole = t->n; t->n < n;)
        add_text(t, numbered(t->at[t->n % whole], t->n / whole));
}

void serve_free_texts(serve_texts *t)
{
    for (int i = 0; i < t->n; i++)
        free(t->at[i]);
    free(t->at);
    *t = (serve_texts){0};
}

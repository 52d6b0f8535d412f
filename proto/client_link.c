/* The client's connection: address, attempts with pauses between, Hello and Welcome, bytes in and out. */
#include "base/clock.h"
#include "proto/client_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    MAX_PAUSE_MS = 10000,
    RECEIVED_BYTES = 16 << 10, /* at once, where there is TLS */
};
static const int64_t ms = 1000000;

/* ---- address ---- */

static bool is_unix(const char *address)
{
    return strncmp(address, "unix:", 5) == 0;
}

/* split_tcp - HOST and PORT of tcp:HOST:PORT; brackets around a numeric IPv6 host go. */
static int split_tcp(const char *address, char *host, size_t size, const char **port)
{
    const bool tcp = strncmp(address, "tcp:", 4) == 0;
    const char *from = tcp ? address + 4 : address, *colon = strrchr(from, ':');
    if (!tcp || colon == NULL || colon == from || colon[1] == '\0')
        return dgm_fail(DGM_EUSAGE, "want unix:PATH or tcp:HOST:PORT, found '%s'", address);
    char *end = NULL; /* a number, or the name of a service */
    const long number = strtol(colon + 1, &end, 10);
    if (*end == '\0' && (number < 1 || number > 65535))
        return dgm_fail(DGM_EUSAGE, "%s: want a port from 1 to 65535, found %s", address,
                        colon + 1);
    size_t n = (size_t)(colon - from);
    if (from[0] == '[' && from[n - 1] == ']') {
        from++;
        n -= 2;
    }
    if (n >= size)
        return dgm_fail(DGM_EUSAGE, "%s: the host's name is too long", address);
    memcpy(host, from, n);
    host[n] = '\0';
    *port = colon + 1;
    return DGM_OK;
}

int dgm_client_check_address(const char *address)
{
    char host[256];
    const char *port;
    const struct sockaddr_un *un = NULL;
    if (!is_unix(address))
        return split_tcp(address, host, sizeof host, &port);
    const size_t n = strlen(address + 5);
    if (n == 0 || n >= sizeof un->sun_path)
        return dgm_fail(DGM_EUSAGE, "%s: want a path of 1 to %zu bytes", address,
                        sizeof un->sun_path - 1);
    return DGM_OK;
}

/* ---- the end of a connection ---- */

int dgm_client_give_up(dgm_client *c, int rc)
{
    if (c->rc == DGM_OK) {
        c->rc = rc;
        (void)snprintf(c->why, sizeof c->why, "%s", dgm_error_text());
        dgm_client_end_all(c);
    }
    return dgm_fail(c->rc, "%s", c->why);
}

void dgm_client_parts(dgm_client *c, const dgm_wire_error *e)
{
    c->parting = (dgm_client_parting){
        .said = true, .retry = e->retry, .code = e->code, .retry_after_ms = e->retry_after_ms};
    (void)snprintf(c->parting.message, sizeof c->parting.message, "the server says: %s",
                   e->message);
}

static void hang_up(dgm_client *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    c->state = DGM_CLIENT_ASLEEP;
    c->draining = false;
    c->credits = 0;
    c->last_id = 0;
    c->resume_ns = 0;
    dgm_client_tls_end(c);
    dgm_frame_reader_fini(&c->reader);
    dgm_frame_buffer_fini(&c->out);
    dgm_client_requeue(c);
}

/* The pause doubles; a part of it is chance, so that many clients do not come back at once. It is at least what the server asks for. */
static int64_t pause_ns(dgm_client *c)
{
    int64_t pause = c->cfg.pause_ms;
    for (int i = 1; i < c->attempts && pause < MAX_PAUSE_MS; i++)
        pause *= 2;
    if (pause > MAX_PAUSE_MS)
        pause = MAX_PAUSE_MS;
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    const int64_t chosen =
        pause * ms / 2 + (int64_t)((c->random >> 33) % (uint64_t)(pause * ms / 2 + 1));
    const int64_t asked = c->parting.said ? c->parting.retry_after_ms * ms : 0;
    return asked > chosen ? asked : chosen;
}

/* lost - rc: what it was if this attempt was the last. */
static int lost(dgm_client *c, int rc, const char *why)
{
    if (c->parting.said)
        why = c->parting.message;
    if (c->parting.said && !c->parting.retry)
        return dgm_client_give_up(c, dgm_fail(DGM_EUSAGE, "%s: %s", c->address, why));
    hang_up(c);
    /* Another address of the same host is tried at once. */
    c->host = c->host == NULL ? NULL : c->host->ai_next;
    const bool minded = !c->welcomed || dgm_client_has_work(c); /* an idle connection may go */
    c->attempts += minded && c->host == NULL;
    c->wake_ns = dgm_now_ns() + (c->host != NULL ? 0 : pause_ns(c));
    if (minded && c->host == NULL && c->cfg.attempts >= 0 && c->attempts >= c->cfg.attempts)
        return dgm_client_give_up(
            c, dgm_fail(rc, "%s: %s (after %d attempts)", c->address, why, c->attempts));
    (void)dgm_fail(rc, "%s: %s", c->address, why);
    return DGM_OK;
}

int dgm_client_lost(dgm_client *c, const char *fmt, ...)
{
    char why[400];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return lost(c, DGM_EPEER, why);
}

/* ---- connecting ---- */

static int open_socket(dgm_client *c, int family, const struct sockaddr *to, socklen_t len)
{
    const int yes = 1;
    c->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return dgm_client_lost(c, "socket: %s", strerror(errno));
    if (family != AF_UNIX)
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    /* EAGAIN: the queue of a Unix socket is full; then there is nothing to wait for but time */
    if (connect(c->fd, to, len) != 0 && errno != EINPROGRESS)
        return dgm_client_lost(c, "%s", strerror(errno));
    c->state = DGM_CLIENT_CONNECTING;
    c->wake_ns = dgm_now_ns() + c->cfg.connect_ms * ms;
    return DGM_OK;
}

static int connect_unix(dgm_client *c)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s", c->address + 5);
    return open_socket(c, AF_UNIX, (const struct sockaddr *)&to, sizeof to);
}

static int connect_tcp(dgm_client *c)
{
    if (c->host == NULL) {
        const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        char host[256];
        const char *port = "";
        DGM_TRY(split_tcp(c->address, host, sizeof host, &port));
        if (c->hosts != NULL)
            freeaddrinfo(c->hosts);
        c->hosts = NULL;
        const int rc = getaddrinfo(host, port, &hints, &c->hosts);
        if (rc != 0)
            return dgm_client_lost(c, "%s", gai_strerror(rc));
        c->host = c->hosts;
    }
    return open_socket(c, c->host->ai_family, c->host->ai_addr, c->host->ai_addrlen);
}

static int greet(dgm_client *c)
{
    const dgm_wire_frame hello = {.kind = DGM_WIRE_HELLO,
                                  .as.hello = {DGM_WIRE_VERSION, c->token, c->name}};
    DGM_TRY(dgm_wire_encode(&c->out, &c->scratch, &hello));
    c->state = DGM_CLIENT_GREETING;
    return DGM_OK;
}

/* connected - is it? Then Hello goes out. */
static int connected(dgm_client *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    if (poll(&p, 1, 0) <= 0)
        return DGM_OK;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
        return dgm_client_lost(c, "%s", strerror(error));
    if (c->tls != NULL) {
        char host[256];
        const char *port;
        DGM_TRY(split_tcp(c->address, host, sizeof host, &port));
        const int rc = dgm_client_tls_begin(c, host);
        if (rc != DGM_OK)
            return dgm_client_give_up(c, rc);
    }
    return greet(c);
}

/* ---- bytes ---- */

static int send_bytes(dgm_client *c)
{
    dgm_frame_buffer *b = c->tls == NULL ? &c->out : &c->sealed;
    for (;;) {
        size_t n;
        if (c->tls != NULL)
            DGM_TRY(dgm_client_tls_seal(c));
        const uint8_t *p = dgm_frame_buffer_bytes(b, &n);
        if (n == 0 || c->fd < 0)
            return DGM_OK;
        const ssize_t done = send(c->fd, p, n, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return DGM_OK;
        if (done < 0) /* what the server said before it closed may still be there: receive_bytes */
            return errno == EPIPE || errno == ECONNRESET
                       ? DGM_OK
                       : dgm_client_lost(c, "send: %s", strerror(errno));
        dgm_frame_buffer_sent(b, (size_t)done);
    }
}

/* open_sealed - a client that gives up still tells the server, as far as goes without waiting. */
static int open_sealed(dgm_client *c, const uint8_t *bytes, size_t n, bool *ended)
{
    const int rc = dgm_client_tls_receive(c, bytes, n, ended);
    size_t left;
    const uint8_t *last = dgm_frame_buffer_bytes(&c->sealed, &left);
    if (rc != DGM_OK && left > 0 && c->fd >= 0)
        (void)send(c->fd, last, left, MSG_NOSIGNAL);
    return rc;
}

/* *ended: no more will come on this connection. */
static int receive_bytes(dgm_client *c, bool *ended)
{
    *ended = false;
    while (dgm_frame_reader_pending(&c->reader) < DGM_CLIENT_UNREAD_BYTES) {
        uint8_t sealed[RECEIVED_BYTES];
        size_t room = sizeof sealed;
        uint8_t *to = c->tls != NULL ? sealed : dgm_frame_reader_space(&c->reader, &room);
        if (to == NULL)
            return dgm_client_give_up(c, DGM_ENOMEM);
        const ssize_t n = recv(c->fd, to, room, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return DGM_OK;
        if (n <= 0) {
            *ended = true;
            return DGM_OK;
        }
        if (c->tls == NULL)
            dgm_frame_reader_filled(&c->reader, (size_t)n);
        else
            DGM_TRY(open_sealed(c, sealed, (size_t)n, ended));
        if (*ended || c->fd < 0)
            return DGM_OK;
    }
    return DGM_OK;
}

/* ---- Welcome ---- */

static int accept_welcome(dgm_client *c)
{
    const dgm_wire_welcome *w = &c->welcome.as.welcome;
    if (c->welcomed && (w->model_hash != c->model_hash || w->option_hash != c->option_hash))
        return dgm_client_give_up(
            c, dgm_fail(DGM_ECONFIG,
                        "%s: the server came back with another model or other options: its "
                        "answers would not go with those before",
                        c->address));
    c->welcomed = true;
    c->model_hash = w->model_hash;
    c->option_hash = w->option_hash;
    c->credits = w->credits;
    c->attempts = 0;
    c->state = DGM_CLIENT_READY;
    return DGM_OK;
}

static int refused(dgm_client *c)
{
    const dgm_wire_error *e = &c->welcome.as.error;
    const bool well = e->code == DGM_WIRE_ERROR_CONNECTIONS || e->code == DGM_WIRE_ERROR_BUSY;
    dgm_client_parts(c, e);
    return lost(c, well ? DGM_EBUSY : DGM_EPEER, "");
}

static int take_welcome(dgm_client *c)
{
    const uint8_t *body;
    size_t len;
    int found;
    enum dgm_wire_error_code code;
    if (dgm_frame_reader_next(&c->reader, &found, &body, &len) != DGM_OK)
        return dgm_client_lost(c, "no dragoman server: %s", dgm_error_text());
    if (!found)
        return DGM_OK;
    if (dgm_wire_decode(&c->welcome, &code, &c->welcome_memory, body, len) != DGM_OK)
        return dgm_client_lost(c, "no dragoman server: %s", dgm_error_text());
    if (c->welcome.kind == DGM_WIRE_WELCOME)
        return accept_welcome(c);
    if (c->welcome.kind == DGM_WIRE_ERROR)
        return refused(c);
    return dgm_client_lost(c, "want Welcome, found %s", dgm_wire_kind_name(c->welcome.kind));
}

/* ---- a step ---- */

static int wake(dgm_client *c)
{
    if (c->welcomed && !dgm_client_has_work(c))
        return DGM_OK;
    if (dgm_now_ns() < c->wake_ns)
        return DGM_OK;
    c->parting.said = false;
    return is_unix(c->address) ? connect_unix(c) : connect_tcp(c);
}

/* exchange_bytes - both ways. What came before the connection ended counts; client.c sees the end when it has read that. */
static int exchange_bytes(dgm_client *c)
{
    bool ended;
    if (c->state == DGM_CLIENT_READY)
        DGM_TRY(dgm_client_fill(c));
    DGM_TRY(send_bytes(c));
    if (c->fd < 0)
        return DGM_OK;
    DGM_TRY(receive_bytes(c, &ended));
    if (c->tls != NULL && c->fd >= 0)
        DGM_TRY(send_bytes(c)); /* what the handshake says next */
    if (c->state == DGM_CLIENT_GREETING)
        DGM_TRY(take_welcome(c));
    if (!ended || c->fd < 0)
        return DGM_OK;
    if (dgm_frame_reader_pending(&c->reader) > 0 && c->state == DGM_CLIENT_READY) {
        (void)close(c->fd);
        c->fd = -1;
        return DGM_OK;
    }
    return dgm_client_lost(c, "the server closed the connection");
}

int dgm_client_link(dgm_client *c)
{
    DGM_TRY(dgm_client_well(c));
    if (c->state == DGM_CLIENT_READY && c->fd < 0)
        return DGM_OK; /* closed, and not all read yet */
    if (c->state == DGM_CLIENT_ASLEEP)
        DGM_TRY(wake(c));
    if (c->state == DGM_CLIENT_CONNECTING)
        DGM_TRY(connected(c));
    if (c->state == DGM_CLIENT_GREETING || c->state == DGM_CLIENT_READY)
        DGM_TRY(exchange_bytes(c));
    const bool waits = c->state == DGM_CLIENT_CONNECTING || c->state == DGM_CLIENT_GREETING;
    if (waits && dgm_now_ns() >= c->wake_ns)
        return dgm_client_lost(c, "no Welcome within %d ms", c->cfg.connect_ms);
    /* Welcome came with this step: what waits goes out with it too. */
    if (c->state == DGM_CLIENT_READY && c->fd >= 0) {
        DGM_TRY(dgm_client_fill(c));
        DGM_TRY(send_bytes(c));
    }
    return DGM_OK;
}

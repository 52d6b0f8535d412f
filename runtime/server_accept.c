/*
 * Clients that come. One file descriptor is kept in reserve: when there is no other, it is given up for a moment, and the client that gets it
 * is told CONNECTIONS, rather than hung up on without a word, or left to wait.
 */
#define _GNU_SOURCE
#include "base/log.h"
#include "runtime/server_state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AT_ONCE = 64 }; /* then others have their turn */

void dgm_server_open_spare(dgm_server *s)
{
    if (s->spare < 0)
        s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int take(const dgm_server_listener *l)
{
    return accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* tell - what the socket takes without waiting; where there is TLS nobody would understand it. */
static void tell(dgm_server_listener *l, int fd, const char *why)
{
    dgm_server *s = l->server;
    dgm_frame_buffer b = {0};
    size_t n;
    char unread[4096];
    const dgm_wire_frame f = {.kind = DGM_WIRE_ERROR,
                              .as.error = {.code = DGM_WIRE_ERROR_CONNECTIONS,
                                           .message = why,
                                           .retry = true,
                                           .retry_after_ms = 1000,
                                           .closing = true}};
    if ((l->local || s->keys == NULL) && dgm_wire_encode(&b, &s->scratch, &f) == DGM_OK) {
        const uint8_t *bytes = dgm_frame_buffer_bytes(&b, &n);
        (void)send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)shutdown(fd, SHUT_WR);
        (void)recv(fd, unread, sizeof unread, MSG_DONTWAIT); /* or it would hear of a reset */
    }
    dgm_frame_buffer_fini(&b);
}

/* refuse - with the descriptor in reserve. False: that does not help either. */
static bool refuse(dgm_server_listener *l)
{
    static const char why[] = "too many connections: the server has no file descriptor left";
    dgm_server *s = l->server;
    if (!s->short_of_descriptors)
        dgm_log(DGM_LOG_WARN, "serve",
                "clients are refused: no file descriptor is left (ulimit -n)");
    s->short_of_descriptors = true;
    if (s->spare < 0)
        return false;
    (void)close(s->spare);
    s->spare = -1;
    const int fd = take(l);
    const bool helped = fd >= 0 || errno == EAGAIN;
    if (fd >= 0) {
        atomic_fetch_add(&s->refused, 1);
        tell(l, fd, why);
        (void)close(fd);
    }
    dgm_server_open_spare(s);
    return helped;
}

/* rest - until the next tick: whoever waits goes on waiting. */
static void rest(dgm_server_listener *l)
{
    l->resting = true;
    (void)uv_poll_stop(&l->poll);
}

/* accept_one - false: nobody waits any more, or nobody can be taken. */
static bool accept_one(dgm_server_listener *l)
{
    dgm_server *s = l->server;
    const int fd = take(l);
    if (fd >= 0) {
        if (s->short_of_descriptors)
            dgm_log(DGM_LOG_INFO, "serve", "clients are taken again: there are file descriptors");
        s->short_of_descriptors = false;
        dgm_server_open_spare(s);
        dgm_conn_open(s, fd, l->local);
        return true;
    }
    if (errno == EINTR || errno == ECONNABORTED)
        return true;
    if (errno == EAGAIN)
        return false;
    if (errno == EMFILE || errno == ENFILE) {
        if (refuse(l))
            return true;
    } else {
        dgm_log(DGM_LOG_WARN, "serve", "a client could not be taken: %s", strerror(errno));
    }
    rest(l);
    return false;
}

void dgm_server_accept(uv_poll_t *poll, int status, int events)
{
    dgm_server_listener *l = poll->data;
    (void)status; /* whatever is wrong, accept says */
    (void)events;
    for (int i = 0; i < AT_ONCE && accept_one(l); i++)
        ;
}

void dgm_server_accept_again(dgm_server *s)
{
    dgm_server_open_spare(s);
    for (int i = 0; i < s->n_listeners; i++) {
        dgm_server_listener *l = &s->listeners[i];
        if (!l->resting || l->fd < 0)
            continue;
        l->resting = false;
        (void)uv_poll_start(&l->poll, UV_READABLE, dgm_server_accept);
    }
}

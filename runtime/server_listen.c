/* Addresses to listen on: unix:PATH, tcp:HOST:PORT. */
#include "base/log.h"
#include "runtime/address.h"
#include "runtime/server_state.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 512, FIRST_INHERITED = 3 };

/* bound_to - the address that it really is, for the log: a name may be of several, port 0 is whichever was free. "": as it was asked for. */
static const char *bound_to(char out[128], int fd)
{
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof at;
    char host[64], port[8];
    out[0] = '\0';
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return out;
    if (at.ss_family == AF_UNIX)
        (void)snprintf(out, 128, " (unix:%.*s)",
                       (int)(len - offsetof(struct sockaddr_un, sun_path)),
                       ((const struct sockaddr_un *)&at)->sun_path);
    else if (getnameinfo((const struct sockaddr *)&at, len, host, sizeof host, port, sizeof port,
                         NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        (void)snprintf(out, 128, at.ss_family == AF_INET6 ? " (tcp:[%s]:%s)" : " (tcp:%s:%s)", host,
                       port);
    return out;
}

/* start - on l->fd, which is bound; the listener counts from now on, so that it is closed. */
static int start(dgm_server *s, dgm_server_listener *l, const char *address)
{
    int rc = uv_poll_init(&s->loop, &l->poll, l->fd); /* makes it non-blocking, too */
    if (rc != 0) {
        dgm_server_unix_remove(l->entry);
        (void)close(l->fd);
        return dgm_fail(DGM_EUSAGE, "--listen %s: %s", address, uv_strerror(rc));
    }
    s->n_listeners++;
    l->poll.data = l;
    if (listen(l->fd, BACKLOG) != 0)
        return dgm_fail(DGM_EUSAGE, "--listen %s: %s", address,
                        uv_strerror(uv_translate_sys_error(errno)));
    rc = uv_poll_start(&l->poll, UV_READABLE, dgm_server_accept);
    if (rc != 0)
        return dgm_fail(DGM_EUSAGE, "--listen %s: %s", address, uv_strerror(rc));
    char real[128];
    (void)bound_to(real, l->fd);
    const size_t n = strlen(address);
    const bool known =
        real[0] == '\0' || (strncmp(real + 2, address, n) == 0 && real[n + 2] == ')');
    dgm_log(DGM_LOG_INFO, "serve", "listening on %s%s", address, known ? "" : real);
    return DGM_OK;
}

void dgm_server_unlisten(dgm_server_listener *l)
{
    if (l->fd < 0)
        return;
    dgm_server_unix_remove(l->entry);
    l->entry = NULL;
    uv_close((uv_handle_t *)&l->poll, NULL);
    (void)close(l->fd);
    l->fd = -1;
}

static int cannot_bind(const dgm_server_listener *l, const char *address)
{
    const int why = errno;
    if (l->fd >= 0)
        (void)close(l->fd);
    return dgm_fail(DGM_EUSAGE, "--listen %s: %s", address,
                    uv_strerror(uv_translate_sys_error(why)));
}

static int listen_unix(dgm_server *s, dgm_server_listener *l, const char *address, const char *path)
{
    l->local = true;
    DGM_TRY(dgm_server_unix_listen(&l->fd, &l->entry, address, path, BACKLOG));
    return start(s, l, address);
}

/* lacking - what anybody in the network must not do without. */
static const char *lacking(const dgm_server *s)
{
    if (s->cfg.insecure)
        return NULL;
    return s->keys == NULL   ? s->tokens.n > 0 ? "TLS (--tls-cert, --tls-key)"
                                               : "TLS (--tls-cert, --tls-key) and --tokens"
           : s->tokens.n > 0 ? NULL
                             : "--tokens";
}

static int listen_tcp(dgm_server *s, dgm_server_listener *l, const char *address, const char *text)
{
    struct sockaddr_storage at;
    DGM_TRY(dgm_address_resolve(&at, "--listen", address, text, lacking(s)));
    const int on = 1, off = 0;
    const socklen_t len =
        at.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    l->fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return cannot_bind(l, address);
    (void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at.ss_family == AF_INET6) /* [::] is for both */
        (void)setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(l->fd, (const struct sockaddr *)(const void *)&at, len) != 0)
        return cannot_bind(l, address);
    return start(s, l, address);
}

/* next_listener - or NULL and DGM_EUSAGE's sentence. */
static dgm_server_listener *next_listener(dgm_server *s)
{
    if (s->n_listeners == DGM_SERVER_LISTENERS) {
        (void)dgm_fail(DGM_EUSAGE, "--listen: want at most %d addresses", DGM_SERVER_LISTENERS);
        return NULL;
    }
    dgm_server_listener *l = &s->listeners[s->n_listeners];
    *l = (dgm_server_listener){.server = s, .fd = -1};
    return l;
}

int dgm_server_listen(dgm_server *s, const char *address)
{
    dgm_server_listener *l = next_listener(s);
    if (l == NULL)
        return DGM_EUSAGE;
    if (strncmp(address, "unix:", 5) == 0)
        return listen_unix(s, l, address, address + 5);
    if (strncmp(address, "tcp:", 4) == 0)
        return listen_tcp(s, l, address, address + 4);
    return dgm_fail(DGM_EUSAGE, "--listen: want unix:PATH or tcp:HOST:PORT, found '%s'", address);
}

/* ---- sockets that systemd opened ---- */

/* number_in - of a variable of the environment; 0: none. */
static long number_in(const char *name)
{
    const char *text = getenv(name);
    char *end = NULL;
    const long n = text == NULL ? 0 : strtol(text, &end, 10);
    return text == NULL || *text == '\0' || *end != '\0' || n < 0 ? 0 : n;
}

int dgm_server_inherited(void)
{
    /* another process's number: they are not for us, such as below mpirun */
    if (number_in("LISTEN_PID") != (long)getpid())
        return 0;
    const long n = number_in("LISTEN_FDS");
    return n > DGM_SERVER_LISTENERS ? DGM_SERVER_LISTENERS + 1 : (int)n;
}

static bool listens(int fd)
{
    int type = 0, on = 0;
    socklen_t len = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM)
        return false;
    len = sizeof on;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on != 0;
}

int dgm_server_listen_inherited(dgm_server *s, int i)
{
    const int fd = FIRST_INHERITED + i;
    char shown[64];
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof at;
    (void)snprintf(shown, sizeof shown, "descriptor %d (LISTEN_FDS)", fd);
    if (!listens(fd) || getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return dgm_fail(DGM_EUSAGE, "--listen: %s: want a stream socket that listens", shown);
    dgm_server_listener *l = next_listener(s);
    if (l == NULL)
        return DGM_EUSAGE;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    l->fd = fd;
    l->local = at.ss_family == AF_UNIX;
    if (!l->local && lacking(s) != NULL && !dgm_address_loopback((const struct sockaddr *)&at))
        return dgm_fail(DGM_EUSAGE,
                        "--listen: %s: is not on loopback, and lacks %s: anybody on the network "
                        "could read or ask (--insecure says that this is meant)",
                        shown, lacking(s));
    return start(s, l, shown);
}

/* Addresses to listen on: unix:PATH, tcp:HOST:PORT. */
#include "base/log.h"
#include "runtime/address.h"
#include "runtime/server_state.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 512, FIRST_INHERITED = 3 };

/* start - on l->fd, which is bound; the listener counts from now on, so that it is closed. */
static int start(dgm_server *s, dgm_server_listener *l, const char *address)
{
    int rc = uv_poll_init(&s->loop, &l->poll, l->fd); /* makes it non-blocking, too */
    if (rc != 0) {
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
    dgm_log(DGM_LOG_INFO, "serve", "listening on %s", address);
    return DGM_OK;
}

void dgm_server_unlisten(dgm_server_listener *l)
{
    if (l->fd < 0)
        return;
    uv_close((uv_handle_t *)&l->poll, NULL);
    (void)close(l->fd);
    l->fd = -1;
    struct stat st; /* another server may have its own there by now, where somebody removed ours */
    if (l->path[0] != '\0' && lstat(l->path, &st) == 0 && st.st_dev == l->device &&
        st.st_ino == l->inode)
        (void)unlink(l->path);
}

/* answers - somebody listens there. */
static bool answers(const struct sockaddr_un *at)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    const bool there = connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 || errno == EAGAIN;
    (void)close(fd);
    return there;
}

/* clear_stale - a socket that a server left when it died. Anything else that is there stays. */
static int clear_stale(const struct sockaddr_un *at, const char *address)
{
    struct stat st;
    if (lstat(at->sun_path, &st) != 0)
        return DGM_OK;
    if (!S_ISSOCK(st.st_mode))
        return dgm_fail(DGM_EUSAGE, "--listen %s: there is something that is no socket", address);
    if (answers(at))
        return dgm_fail(DGM_EUSAGE, "--listen %s: another server listens there", address);
    if (unlink(at->sun_path) != 0)
        return dgm_fail(DGM_EUSAGE, "--listen %s: a socket that nobody uses cannot be removed: %s",
                        address, strerror(errno));
    return DGM_OK;
}

static int cannot_bind(const dgm_server_listener *l, const char *address)
{
    const int why = errno;
    if (l->fd >= 0)
        (void)close(l->fd);
    return dgm_fail(DGM_EUSAGE, "--listen %s: %s", address,
                    l->local ? strerror(why) : uv_strerror(uv_translate_sys_error(why)));
}

static int listen_unix(dgm_server *s, dgm_server_listener *l, const char *address, const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (path[0] == '\0' || strlen(path) >= sizeof at.sun_path)
        return dgm_fail(DGM_EUSAGE, "--listen %s: want a path of 1 to %zu bytes, found %zu",
                        address, sizeof at.sun_path - 1, strlen(path));
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    DGM_TRY(clear_stale(&at, address));
    l->local = true;
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* It must never be there with more rights than it shall have. */
    const mode_t before = umask(0177);
    const int rc =
        l->fd < 0 ? -1 : bind(l->fd, (const struct sockaddr *)(const void *)&at, sizeof at);
    (void)umask(before);
    if (rc != 0)
        return cannot_bind(l, address);
    struct stat st;
    if (lstat(path, &st) != 0)
        return cannot_bind(l, address);
    l->device = st.st_dev;
    l->inode = st.st_ino;
    (void)snprintf(l->path, sizeof l->path, "%s", path);
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

#include "runtime/server_unix.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 16, LOCK_WAIT_S = 10, LOCK_LOOK_MS = 5 };

struct dgm_server_unix {
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* "": free */
    dev_t device;
    ino_t inode;
};

/* Those of the process: a signal handler finds them here. */
static dgm_server_unix bound[MOST];

static int fail(const char *shown, const char *what)
{
    return dgm_fail(DGM_EUSAGE, "--listen %s: %s", shown, what);
}

/* ---- one at a time ---- */

static int open_folder(const char *path)
{
    char folder[sizeof bound->path + 1];
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        (void)snprintf(folder, sizeof folder, ".");
    else
        (void)snprintf(folder, sizeof folder, "%.*s/", (int)(slash - path), path);
    return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* lock_folder - *lock -1: the folder cannot be locked, for want of rights or on such a file system. */
static int lock_folder(int *lock, const char *shown, const char *path)
{
    const int64_t until = dgm_now_ns() + LOCK_WAIT_S * INT64_C(1000000000);
    const struct timespec pause = {.tv_nsec = LOCK_LOOK_MS * 1000000L};
    *lock = open_folder(path);
    while (*lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) != 0) {
        const bool held = errno == EWOULDBLOCK;
        if (held && dgm_now_ns() < until) {
            (void)nanosleep(&pause, NULL);
            continue;
        }
        (void)close(*lock);
        *lock = -1;
        if (held)
            return dgm_fail(DGM_EUSAGE,
                            "--listen %s: want the lock of its folder (flock), which another "
                            "process has held for %d s",
                            shown, LOCK_WAIT_S);
    }
    return DGM_OK;
}

/* ---- the path ---- */

/* check_dead - only who is refused knows that nobody listens there. */
static int check_dead(const struct sockaddr_un *at, const char *shown)
{
    int why = 0;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)(const void *)at, sizeof *at) != 0)
        why = errno;
    if (fd >= 0)
        (void)close(fd);
    if (why == ECONNREFUSED || why == ENOENT)
        return DGM_OK;
    if (why == 0 || why == EAGAIN) /* EAGAIN: there are many who wait for it */
        return fail(shown, "another server listens there");
    return dgm_fail(DGM_EUSAGE, "--listen %s: cannot tell whether another server listens there: %s",
                    shown, strerror(why));
}

/* clear_stale - a socket that a server left when it died. */
static int clear_stale(const struct sockaddr_un *at, const char *shown)
{
    struct stat st;
    if (lstat(at->sun_path, &st) != 0)
        return DGM_OK;
    if (!S_ISSOCK(st.st_mode))
        return fail(shown, "there is something that is no socket");
    DGM_TRY(check_dead(at, shown));
    if (unlink(at->sun_path) != 0 && errno != ENOENT)
        return dgm_fail(DGM_EUSAGE, "--listen %s: a socket that nobody uses cannot be removed: %s",
                        shown, strerror(errno));
    return DGM_OK;
}

/* bind_and_note - 0, or errno. It must never be there with more rights than it shall have, nor unknown to a signal's handler. */
static int bind_and_note(dgm_server_unix *u, int fd, const struct sockaddr_un *at)
{
    sigset_t all, old;
    struct stat st;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    const mode_t before = umask(0177);
    int why = bind(fd, (const struct sockaddr *)(const void *)at, sizeof *at) == 0 ? 0 : errno;
    (void)umask(before);
    if (why == 0 && lstat(at->sun_path, &st) != 0)
        why = errno;
    if (why == 0) {
        u->device = st.st_dev;
        u->inode = st.st_ino;
        (void)snprintf(u->path, sizeof u->path, "%s", at->sun_path);
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return why;
}

static dgm_server_unix *find_free(void)
{
    for (int i = 0; i < MOST; i++)
        if (bound[i].path[0] == '\0')
            return &bound[i];
    return NULL;
}

/* take_path - with the lock held. A socket that is bound and does not listen yet looks like a dead one. */
static int take_path(int *fd, dgm_server_unix **out, const struct sockaddr_un *at,
                     const char *shown, int backlog)
{
    dgm_server_unix *u = find_free();
    if (u == NULL)
        return dgm_fail(DGM_EUSAGE, "--listen: want at most %d Unix sockets", MOST);
    DGM_TRY(clear_stale(at, shown));
    const int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int why = s < 0 ? errno : bind_and_note(u, s, at);
    if (why == 0 && listen(s, backlog) != 0)
        why = errno;
    if (why == 0) {
        *fd = s;
        *out = u;
        return DGM_OK;
    }
    dgm_server_unix_remove(u);
    if (s >= 0)
        (void)close(s);
    return fail(shown, strerror(why));
}

int dgm_server_unix_listen(int *fd, dgm_server_unix **out, const char *shown, const char *path,
                           int backlog)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int lock = -1;
    if (path[0] == '\0' || strlen(path) >= sizeof at.sun_path)
        return dgm_fail(DGM_EUSAGE, "--listen %s: want a path of 1 to %zu bytes, found %zu", shown,
                        sizeof at.sun_path - 1, strlen(path));
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    DGM_TRY(lock_folder(&lock, shown, path));
    const int rc = take_path(fd, out, &at, shown, backlog);
    if (lock >= 0)
        (void)close(lock);
    return rc;
}

void dgm_server_unix_remove(dgm_server_unix *u)
{
    struct stat st; /* another server may have its own there by now, where somebody removed ours */
    if (u == NULL || u->path[0] == '\0')
        return;
    if (lstat(u->path, &st) == 0 && st.st_dev == u->device && st.st_ino == u->inode)
        (void)unlink(u->path);
    u->path[0] = '\0';
}

void dgm_server_unix_remove_all(void)
{
    for (int i = 0; i < MOST; i++)
        dgm_server_unix_remove(&bound[i]);
}

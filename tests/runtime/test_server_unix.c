/* Unix sockets in the file system: of many who want a path at once one gets it, and what a dead server left is told from a live one. */
#include "runtime/server_unix.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PROCESSES = 8, ROUNDS = 50, PATIENCE_S = 30 };

static char folder[64], path[96];

static int open_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/test_server_unix.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/s", folder);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static struct sockaddr_un address(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    return at;
}

/* bind_here - a socket of another server; type as of socket(2). */
static int bind_here(int type, bool listens)
{
    const struct sockaddr_un at = address();
    const int fd = socket(AF_UNIX, type, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_true(!listens || listen(fd, 0) == 0);
    return fd;
}

static void leave_stale(void)
{
    (void)unlink(path);
    (void)close(bind_here(SOCK_STREAM, true));
}

static int listen_here(int *fd, dgm_server_unix **u)
{
    return dgm_server_unix_listen(fd, u, "unix:here", path, 8);
}

static void refused(const char *why)
{
    int fd = -1;
    dgm_server_unix *u = NULL;
    assert_int_equal(listen_here(&fd, &u), DGM_EUSAGE);
    if (strstr(dgm_error_text(), why) == NULL)
        fail_msg("want '%s', found '%s'", why, dgm_error_text());
}

static bool is_there(void)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* ---- many at once ---- */

/* What the processes of a round share. */
typedef struct page {
    atomic_int ready, done, rc[PROCESSES];
    char text[PROCESSES][256];
} page;

static void wait_for(atomic_int *n, int want)
{
    while (atomic_load(n) < want)
        (void)sched_yield();
}

/* fork_here - a process that ends with this one at the latest: ctest reads until the last of them has. */
static pid_t fork_here(void)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

/* compete - process i: whoever connects to the one that got the path hears its number. */
static _Noreturn void compete(page *p, int i)
{
    int fd = -1;
    dgm_server_unix *u = NULL;
    atomic_fetch_add(&p->ready, 1);
    wait_for(&p->ready, PROCESSES);
    const int rc = listen_here(&fd, &u);
    atomic_store(&p->rc[i], rc);
    (void)snprintf(p->text[i], sizeof p->text[i], "%s", rc == DGM_OK ? "" : dgm_error_text());
    atomic_fetch_add(&p->done, 1);
    wait_for(&p->done, PROCESSES);
    if (rc == DGM_OK) {
        const char number = (char)i;
        int peer;
        do /* those who only looked whether anybody is there have gone */
            peer = accept(fd, NULL, NULL);
        while (peer >= 0 && send(peer, &number, 1, MSG_NOSIGNAL) != 1);
    }
    _exit(0);
}

/* ask - who is at the path; -1: nobody answers. */
static int ask(void)
{
    const struct sockaddr_un at = address();
    const struct timeval most = {.tv_sec = PATIENCE_S};
    char number = -1;
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most), 0);
    if (connect(fd, (const struct sockaddr *)&at, sizeof at) != 0 || read(fd, &number, 1) != 1)
        number = -1;
    (void)close(fd);
    return number;
}

static void compete_once(page *p)
{
    pid_t pids[PROCESSES];
    int winner = -1, n = 0;
    memset(p, 0, sizeof *p);
    leave_stale();
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork_here();
        if (pids[i] == 0)
            compete(p, i);
    }
    wait_for(&p->done, PROCESSES);
    for (int i = 0; i < PROCESSES; i++) {
        if (atomic_load(&p->rc[i]) == DGM_OK) {
            winner = i;
            n++;
        } else if (strcmp(p->text[i], "--listen unix:here: another server listens there") != 0) {
            fail_msg("process %d: %s", i, p->text[i]);
        }
    }
    if (n != 1)
        fail_msg("want one of %d processes to get the path, found %d", PROCESSES, n);
    assert_int_equal(ask(), winner);
    for (int i = 0; i < PROCESSES; i++)
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
}

static void one_of_many_gets_a_stale_path(void **state)
{
    (void)state;
    page *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    for (int round = 0; round < ROUNDS; round++)
        compete_once(p);
    (void)munmap(p, sizeof *p);
}

/* Whoever holds the folder's lock is at work on the path: what was stale at first is not when it is let go. Held by this one it is shared,
 * so that nothing but the whole of it will do for another. */
static void who_holds_the_lock_goes_first(void **state)
{
    (void)state;
    leave_stale();
    const int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(lock, LOCK_SH), 0);
    const pid_t pid = fork_here();
    if (pid == 0) {
        int fd = -1;
        dgm_server_unix *u = NULL;
        (void)close(lock);
        _exit(listen_here(&fd, &u) == DGM_OK ? 0 : 1);
    }
    (void)usleep(100000); /* a process that does not mind the lock has the path by now */
    if (waitpid(pid, NULL, WNOHANG) != 0) {
        (void)close(lock);
        fail_msg("a path was taken while another process held the lock of its folder");
    }
    assert_int_equal(unlink(path), 0);
    const int live = bind_here(SOCK_STREAM, true);
    assert_int_equal(flock(lock, LOCK_UN), 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 1);
    (void)close(lock);
    (void)close(live);
}

/* listen - in place of the system's: what is bound and does not listen yet looks dead, so until now the folder is locked. */
static bool locked_at_listen;

int listen(int fd, int backlog)
{
    const int other = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    locked_at_listen = flock(other, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    (void)close(other);
    return (int)syscall(SYS_listen, fd, backlog);
}

static void the_lock_is_held_until_it_listens(void **state)
{
    int fd = -1;
    dgm_server_unix *u = NULL;
    (void)state;
    leave_stale();
    assert_false(locked_at_listen);
    assert_int_equal(listen_here(&fd, &u), DGM_OK);
    if (!locked_at_listen)
        fail_msg("the folder is unlocked before the socket that was bound listens");
    dgm_server_unix_remove(u);
    (void)close(fd);
}

/* ---- what is there ---- */

static void only_a_dead_socket_is_replaced(void **state)
{
    (void)state;
    (void)unlink(path);
    int live = bind_here(SOCK_STREAM, true);
    refused("another server listens there");
    /* ... and does not take anybody: those who wait fill its queue */
    const struct sockaddr_un at = address();
    int waiting[64], n = 0;
    do
        waiting[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    while (connect(waiting[n], (const struct sockaddr *)&at, sizeof at) == 0 && ++n < 63);
    assert_int_equal(errno, EAGAIN);
    refused("another server listens there");
    for (; n >= 0; n--)
        (void)close(waiting[n]);
    (void)close(live);
    (void)unlink(path);
    live = bind_here(SOCK_DGRAM, false);
    refused("cannot tell whether another server listens there: Protocol wrong type for socket");
    (void)close(live);
    (void)unlink(path);
    const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    refused("there is something that is no socket");
    (void)close(file);
    assert_true(is_there());
}

static void removed_by_who_bound_it(void **state)
{
    int fd = -1, other = -1;
    dgm_server_unix *u = NULL, *v = NULL;
    (void)state;
    leave_stale();
    assert_int_equal(listen_here(&fd, &u), DGM_OK);
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* one that somebody removed, and another bound */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(listen_here(&other, &v), DGM_OK);
    dgm_server_unix_remove(u);
    assert_true(is_there());
    dgm_server_unix_remove_all();
    assert_false(is_there());
    dgm_server_unix_remove(v);
    dgm_server_unix_remove(NULL);
    (void)close(fd);
    (void)close(other);
}

static void as_many_as_there_is_room_for(void **state)
{
    enum { MOST = 16 };
    int fds[MOST], fd;
    dgm_server_unix *u;
    (void)state;
    for (int i = 0; i < MOST; i++) {
        (void)unlink(path);
        assert_int_equal(listen_here(&fds[i], &u), DGM_OK);
    }
    (void)unlink(path);
    refused("want at most 16 Unix sockets");
    dgm_server_unix_remove(u);
    assert_int_equal(listen_here(&fd, &u), DGM_OK);
    (void)close(fd);
    for (int i = 0; i < MOST; i++)
        (void)close(fds[i]);
    dgm_server_unix_remove_all();
    assert_false(is_there());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_many_gets_a_stale_path),
        cmocka_unit_test(who_holds_the_lock_goes_first),
        cmocka_unit_test(the_lock_is_held_until_it_listens),
        cmocka_unit_test(only_a_dead_socket_is_replaced),
        cmocka_unit_test(removed_by_who_bound_it),
        cmocka_unit_test(as_many_as_there_is_room_for),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}

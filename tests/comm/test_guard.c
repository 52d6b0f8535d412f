/* The guard and the watching of processes, with real processes. */
#include "base/clock.h"
#include "comm/alive.h"
#include "comm/guard.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_THREAD__)
#define HAS_THREADS 1 /* ThreadSanitizer runs one of its own, so no guard is made */
#else
#define HAS_THREADS 0
#endif

static void skip_with_threads(void)
{
    if (!HAS_THREADS)
        return;
    print_message("[  SKIPPED ] ThreadSanitizer has a thread of its own: no guard is made\n");
    skip();
}

/* ---- alive ---- */

static pid_t sleeper(void)
{
    const pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            (void)pause();
    }
    return pid;
}

static void test_alive(void **state)
{
    (void)state;
    const pid_t pid = sleeper();
    dgm_proc p = dgm_proc_of(pid);
    assert_true(dgm_proc_watch(&p));
    for (int with_fd = 1; with_fd >= 0; with_fd--) { /* without: kernels before 5.3 */
        dgm_proc q = p;
        q.fd = with_fd ? p.fd : -1;
        assert_false(dgm_proc_gone(&q));
    }
    dgm_proc_signal(&p, SIGSTOP);
    assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
    assert_string_equal(dgm_proc_state(&p), "is stopped");
    dgm_proc_signal(&p, SIGKILL);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0); /* a zombie now */
    for (int with_fd = 1; with_fd >= 0; with_fd--) {
        dgm_proc q = p;
        q.fd = with_fd ? p.fd : -1;
        assert_true(dgm_proc_gone(&q));
    }
    assert_string_equal(dgm_proc_state(&p), "has ended");
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(dgm_proc_gone(&p));
    dgm_proc_unwatch(&p);
}

/* A pid that means another process by now is not that process. */
static void test_reused_pid(void **state)
{
    (void)state;
    const pid_t pid = sleeper();
    dgm_proc p = dgm_proc_of(pid);
    p.start--;
    assert_false(dgm_proc_watch(&p));
    assert_true(dgm_proc_gone(&p));
    dgm_proc_signal(&p, SIGKILL); /* must not reach it */
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- guard ---- */

enum how { LEAVE, VANISH, WAIT, WAIT_WITH_MATES, WAIT_AND_HOLD, LEAVE_AT_ONCE };

static const char *held; /* a FIFO that the worker opens and has its guard hold */

static volatile sig_atomic_t got;
static void on_signal(int sig)
{
    got = sig;
}

/* Stands for a rank. Its worker tells its pid through `tell`. */
static _Noreturn void rank_main(enum how how, int tell)
{
    if (!dgm_guard_start())
        _exit(99);
    dgm_guard_at("decode", 5);
    dgm_guard_mates(how == WAIT_WITH_MATES ? 2 : 0);
    (void)signal(SIGTERM, on_signal);
    if (how == WAIT_AND_HOLD && !dgm_guard_hold(open(held, O_WRONLY)))
        _exit(97);
    const pid_t pid = getpid();
    if (write(tell, &pid, sizeof pid) != sizeof pid)
        _exit(98);
    if (how == VANISH)
        _exit(4);
    while (how != LEAVE && got == 0)
        (void)usleep(1000);
    if (how == LEAVE_AT_ONCE)
        _exit(143);
    dgm_guard_leave();
    _exit(got == SIGTERM ? 15 : 5);
}

struct rank {
    pid_t guard, worker;
    int err; /* its stderr */
};

static struct rank start(enum how how)
{
    int pids[2], err[2];
    struct rank r = {0};
    assert_int_equal(pipe(pids), 0);
    assert_int_equal(pipe(err), 0);
    r.guard = fork();
    if (r.guard == 0) {
        (void)setenv("PMIX_RANK", "7", 1);
        (void)signal(SIGCHLD, SIG_IGN); /* a careless launcher */
        (void)dup2(err[1], STDERR_FILENO);
        (void)close(err[0]);
        (void)close(err[1]);
        rank_main(how, pids[1]);
    }
    (void)close(pids[1]);
    (void)close(err[1]);
    assert_int_equal(read(pids[0], &r.worker, sizeof r.worker), sizeof r.worker);
    (void)close(pids[0]);
    r.err = err[0];
    return r;
}

/* The exit code of the guard, and what it said. */
static int finish(struct rank r, char *said, size_t room)
{
    int status = 0;
    size_t n = 0;
    assert_int_equal(waitpid(r.guard, &status, 0), r.guard);
    for (ssize_t k = 1; k > 0 && n + 1 < room; n += (size_t)k)
        k = read(r.err, said + n, room - 1 - n);
    said[n] = '\0';
    (void)close(r.err);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_good_order(void **state)
{
    (void)state;
    skip_with_threads();
    char said[512];
    assert_int_equal(finish(start(LEAVE), said, sizeof said), 5);
    assert_string_equal(said, "");
}

/* Nobody else notices: after a while the guard says it. */
static void test_vanished(void **state)
{
    (void)state;
    skip_with_threads();
    char said[512];
    assert_int_equal(finish(start(VANISH), said, sizeof said), 6);
    assert_non_null(strstr(said, "dragoman: rank 7 (host "));
    assert_non_null(strstr(said, "was lost in decode, layer 5: its process exited with code 4"));
}

/* The others noticed, said it, and told the guard. */
static void test_killed_and_told(void **state)
{
    (void)state;
    skip_with_threads();
    char said[512];
    const struct rank r = start(WAIT);
    (void)kill(r.worker, SIGKILL);
    (void)kill(r.guard, SIGTERM);
    assert_int_equal(finish(r, said, sizeof said), 6);
    assert_string_equal(said, "");
}

/* Other ranks of the host may compute for a while before they notice: the guard leaves it to them for longer. */
static void test_mates_are_late(void **state)
{
    (void)state;
    skip_with_threads();
    char said[512];
    const struct rank r = start(WAIT_WITH_MATES);
    (void)kill(r.worker, SIGKILL);
    (void)usleep(4000000);
    assert_int_equal(waitpid(r.guard, NULL, WNOHANG), 0);
    (void)kill(r.guard, SIGTERM);
    assert_int_equal(finish(r, said, sizeof said), 6);
    assert_string_equal(said, "");
}

static bool hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
}

/* What the worker had open is closed neither by its death nor as soon as the others have told it. */
static void test_holds(void **state)
{
    (void)state;
    skip_with_threads();
    char said[512], name[] = "/tmp/test_guard.XXXXXX", path[64];
    assert_non_null(mkdtemp(name));
    (void)snprintf(path, sizeof path, "%s/fifo", name);
    held = path;
    assert_int_equal(mkfifo(path, 0600), 0);
    const int fd = open(path, O_RDONLY | O_NONBLOCK);
    const struct rank r = start(WAIT_AND_HOLD);
    dgm_proc worker = dgm_proc_of(r.worker);
    assert_true(dgm_proc_watch(&worker));
    assert_false(hung_up(fd));
    (void)kill(r.worker, SIGKILL);
    while (!dgm_proc_gone(&worker))
        (void)usleep(1000);
    assert_false(hung_up(fd));
    const int64_t began = dgm_now_ns();
    (void)kill(r.guard, SIGTERM);
    assert_int_equal(finish(r, said, sizeof said), 6);
    assert_string_equal(said, "");
    assert_true(dgm_now_ns() - began > INT64_C(2000000000));
    assert_true(hung_up(fd));
    dgm_proc_unwatch(&worker);
    (void)close(fd);
    (void)unlink(path);
    (void)rmdir(name);
}

static void test_signals(void **state)
{
    (void)state;
    skip_with_threads();
    char said[512];
    const struct rank r = start(WAIT);
    (void)kill(r.guard,
               SIGTERM); /* reaches the worker by itself when a launcher sends it: not passed on */
    (void)usleep(50000);
    assert_int_equal(waitpid(r.guard, NULL, WNOHANG), 0);
    (void)kill(r.guard, SIGUSR1);
    assert_int_equal(finish(r, said, sizeof said), 15);
}

/* A second signal ends the worker at once, which is no loss of a rank. */
static void test_second_signal(void **state)
{
    (void)state;
    skip_with_threads();
    char said[512];
    const struct rank r = start(LEAVE_AT_ONCE);
    (void)kill(r.guard, SIGTERM);
    (void)kill(r.worker, SIGTERM);
    assert_int_equal(finish(r, said, sizeof said), 143);
    assert_string_equal(said, "");
}

static void test_worker_dies_with_guard(void **state)
{
    (void)state;
    skip_with_threads();
    const struct rank r = start(WAIT);
    dgm_proc p = dgm_proc_of(r.worker);
    assert_true(dgm_proc_watch(&p));
    (void)kill(r.guard, SIGKILL);
    assert_int_equal(waitpid(r.guard, NULL, 0), r.guard);
    for (int i = 0; i < 100000 && !dgm_proc_gone(&p); i++)
        (void)usleep(1000);
    assert_true(dgm_proc_gone(&p));
    dgm_proc_unwatch(&p);
    (void)close(r.err);
}

static void test_switched_off(void **state)
{
    (void)state;
    (void)setenv("DGM_GUARD", "0", 1);
    assert_false(dgm_guard_start());
    assert_int_equal(dgm_guard_pid(), 0);
    dgm_guard_at("nowhere", 1);
    dgm_guard_leave();
    (void)unsetenv("DGM_GUARD");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alive),
        cmocka_unit_test(test_reused_pid),
        cmocka_unit_test(test_switched_off),
        cmocka_unit_test(test_good_order),
        cmocka_unit_test(test_vanished),
        cmocka_unit_test(test_killed_and_told),
        cmocka_unit_test(test_mates_are_late),
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_second_signal),
        cmocka_unit_test(test_worker_dies_with_guard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

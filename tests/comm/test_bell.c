/* The bell: rings that come before, in and after the sleep, and processes that have none. */
#include "base/clock.h"
#include "comm/bell.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MS ((int64_t)1000000)

static dgm_proc me;

static int hang(void **state)
{
    (void)state;
    dgm_bell_hang();
    me = dgm_proc_self();
    return dgm_proc_watch(&me) ? 0 : -1;
}

static int take_down(void **state)
{
    (void)state;
    dgm_proc_unwatch(&me);
    return 0;
}

static void test_nobody_rings(void **state)
{
    (void)state;
    const int64_t began = dgm_now_ns();
    assert_false(dgm_bell_sleep(20 * MS));
    assert_true(dgm_now_ns() - began >= 20 * MS);
}

/* A ring before the sleep is kept; several are one. */
static void test_before(void **state)
{
    (void)state;
    for (int with_fd = 1; with_fd >= 0; with_fd--) { /* without: kernels before 5.3 */
        dgm_proc p = me;
        p.fd = with_fd ? me.fd : -1;
        dgm_bell_ring(&p);
        dgm_bell_ring(&p);
        assert_true(dgm_bell_sleep(900 * MS));
        assert_false(dgm_bell_sleep(MS));
    }
}

static void *ring_soon(void *ctx)
{
    (void)ctx;
    (void)usleep(20000);
    dgm_bell_ring(&me);
    return NULL;
}

/* The thread that rings could take it as well: it has inherited that it does not. */
static void test_in_it(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        pthread_t t;
        bool rung = false;
        assert_int_equal(pthread_create(&t, NULL, ring_soon, NULL), 0);
        for (int patience = 100; !rung && patience > 0;
             patience--) /* it may get no CPU for a while */
            rung = dgm_bell_sleep(900 * MS);
        assert_true(rung);
        (void)pthread_join(t, NULL);
    }
}

/* Who hangs no bell is not hurt by a ring. */
static void test_no_bell(void **state)
{
    (void)state;
    int go[2];
    char c;
    assert_int_equal(pipe(go), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        sigset_t set;
        (void)sigemptyset(&set);
        (void)pthread_sigmask(SIG_SETMASK, &set, NULL);
        _exit(read(go[0], &c, 1) == 1 ? 7 : 1);
    }
    dgm_proc p = dgm_proc_of(pid);
    assert_true(dgm_proc_watch(&p));
    (void)usleep(10000);
    dgm_bell_ring(&p);
    assert_int_equal(write(go[1], "x", 1), 1);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    dgm_bell_ring(&p); /* nor is anybody else by one that comes too late */
    dgm_proc_unwatch(&p);
    (void)close(go[0]);
    (void)close(go[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_rings),
        cmocka_unit_test(test_before),
        cmocka_unit_test(test_in_it),
        cmocka_unit_test(test_no_bell),
    };
    return cmocka_run_group_tests(tests, hang, take_down);
}

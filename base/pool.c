/*
 * One generation counter starts a region, one counter of finished parts ends it. Both are futex
 * words: a waiter spins for SPINS rounds (a decode step has hundreds of regions a few microseconds
 * apart), then sleeps. Where ranks share cores, spinning would steal the core that the work needs, so
 * each spin yields to the hyper-thread and the count is small.
 */
#define _GNU_SOURCE
#include "base/pool.h"

#include "base/fpenv.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 4000 };

struct dgm_pool {
    int n_threads;
    dgm_pool_fn fn;
    void *ctx;
    _Alignas(64) _Atomic unsigned generation;
    _Alignas(64) _Atomic unsigned done;
    _Alignas(64) _Atomic bool stop;
    _Atomic int sleepers;
    struct worker {
        dgm_pool *pool;
        pthread_t thread;
        int part;
    } * workers;
};

static void futex_wait(_Atomic unsigned *word, unsigned value)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic unsigned *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}

static unsigned wait_for_change(dgm_pool *p, _Atomic unsigned *word, unsigned old)
{
    for (int i = 0; i < SPINS; i++) {
        const unsigned now = atomic_load_explicit(word, memory_order_acquire);
        if (now != old)
            return now;
        __builtin_ia32_pause();
    }
    atomic_fetch_add(&p->sleepers, 1);
    unsigned now;
    while ((now = atomic_load(word)) == old)
        futex_wait(word, old);
    atomic_fetch_sub(&p->sleepers, 1);
    return now;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    dgm_pool *p = w->pool;
    unsigned seen = 0;
    dgm_fpenv_set();
    for (;;) {
        seen = wait_for_change(p, &p->generation, seen);
        if (atomic_load(&p->stop))
            return NULL;
        p->fn(p->ctx, w->part, p->n_threads);
        atomic_fetch_add(&p->done, 1);
        if (atomic_load(&p->sleepers) > 0)
            futex_wake(&p->done);
    }
}

int dgm_pool_create(dgm_pool **out, int n_threads)
{
    DGM_ASSERT(n_threads >= 1);
    dgm_pool *p = aligned_alloc(64, (sizeof *p + 63) & ~(size_t)63);
    if (p == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate a thread pool");
    *p = (dgm_pool){.n_threads = 1};
    p->workers = calloc((size_t)n_threads, sizeof *p->workers);
    if (p->workers == NULL) {
        free(p);
        return dgm_fail(DGM_ENOMEM, "cannot allocate %d threads", n_threads);
    }
    for (int i = 1; i < n_threads; i++) {
        p->workers[i] = (struct worker){.pool = p, .part = i};
        if (pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]) != 0) {
            dgm_pool_destroy(p);
            return dgm_fail(DGM_ENOMEM, "cannot start thread %d of %d", i + 1, n_threads);
        }
        p->n_threads = i + 1;
    }
    *out = p;
    return DGM_OK;
}

void dgm_pool_destroy(dgm_pool *p)
{
    if (p == NULL)
        return;
    atomic_store(&p->stop, true);
    atomic_fetch_add(&p->generation, 1);
    futex_wake(&p->generation);
    for (int i = 1; i < p->n_threads; i++)
        (void)pthread_join(p->workers[i].thread, NULL);
    free(p->workers);
    free(p);
}

void dgm_pool_run(dgm_pool *p, dgm_pool_fn fn, void *ctx)
{
    if (p == NULL || p->n_threads == 1) {
        fn(ctx, 0, 1);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    atomic_store(&p->done, 0);
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->sleepers) > 0)
        futex_wake(&p->generation);
    fn(ctx, 0, p->n_threads);
    const unsigned want = (unsigned)p->n_threads - 1;
    unsigned done = atomic_load_explicit(&p->done, memory_order_acquire);
    while (done != want)
        done = wait_for_change(p, &p->done, done);
}

int dgm_pool_size(const dgm_pool *p)
{
    return p == NULL ? 1 : p->n_threads;
}

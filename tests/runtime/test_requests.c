/* The queue of a server: whose turn it is, what it refuses, and that each request comes back exactly once. */
#include "runtime/requests.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int woken;

static void on_wake(void *ctx)
{
    (void)ctx;
    __atomic_add_fetch(&woken, 1, __ATOMIC_RELAXED);
}

/* A request of n tokens in all. */
static dgm_request *request(int n, enum dgm_priority priority)
{
    dgm_request *r = calloc(1, sizeof *r);
    r->line.segments.at = calloc(1, sizeof(dgm_segment));
    r->line.segments.n = 1;
    r->line.segments.at[0].n = n - 8;
    r->priority = priority;
    return r;
}

static void free_request(dgm_request *r)
{
    free(r->line.segments.at);
    free(r->message);
    free(r);
}

static dgm_request *admit(dgm_requests *q, dgm_requests_client *c, int n, enum dgm_priority p)
{
    dgm_request *r = request(n, p);
    int retry_ms;
    assert_int_equal(dgm_requests_admit(q, c, &r, 1, &retry_ms), DGM_OK);
    return r;
}

static int take_all(dgm_requests *q)
{
    int n = 0;
    for (dgm_request *r = dgm_requests_take_done(q), *next; r != NULL; r = next, n++) {
        next = r->next;
        free_request(r);
    }
    return n;
}

static void finish_all(dgm_requests *q)
{
    for (dgm_request *r; (r = dgm_requests_next(q, DGM_REQUESTS_ALL)) != NULL;)
        dgm_requests_finish(q, r, DGM_REQUEST_DONE);
}

static dgm_requests *create(int64_t tokens)
{
    dgm_requests *q;
    assert_int_equal(dgm_requests_create(&q, tokens, on_wake, NULL), DGM_OK);
    return q;
}

static dgm_requests_client *join(dgm_requests *q)
{
    dgm_requests_client *c;
    assert_int_equal(dgm_requests_join(q, &c), DGM_OK);
    return c;
}

/* One with a thousand lines, one with three, who comes later: three of the next six are his. */
static void turns_are_shared_by_tokens(void **state)
{
    (void)state;
    dgm_requests *q = create(1000000);
    dgm_requests_client *many = join(q), *few = join(q), *bulk = join(q);
    for (int i = 0; i < 1000; i++)
        (void)admit(q, many, 20, DGM_PRIORITY_NORMAL);
    int of[3] = {0};
    for (int i = 0; i < 100; i++)
        dgm_requests_finish(q, dgm_requests_next(q, DGM_REQUESTS_ALL), DGM_REQUEST_DONE);
    for (int i = 0; i < 3; i++)
        (void)admit(q, few, 20, DGM_PRIORITY_NORMAL);
    for (int i = 0; i < 100; i++)
        (void)admit(q, bulk, 20, DGM_PRIORITY_BULK);
    for (int i = 0; i < 8; i++) {
        dgm_request *r = dgm_requests_next(q, DGM_REQUESTS_ALL);
        of[r->client == many ? 0 : r->client == few ? 1 : 2]++;
        dgm_requests_finish(q, r, DGM_REQUEST_DONE);
    }
    assert_int_equal(of[1], 3);
    assert_in_range(of[2], 1, 2); /* bulk is not starved, and has less */
    /* what is shared is tokens: lines twice as long come half as often */
    finish_all(q);
    for (int i = 0; i < 100; i++) {
        (void)admit(q, many, 20, DGM_PRIORITY_NORMAL);
        (void)admit(q, few, 40, DGM_PRIORITY_NORMAL);
    }
    of[0] = of[1] = 0;
    for (int i = 0; i < 30; i++) {
        dgm_request *r = dgm_requests_next(q, DGM_REQUESTS_ALL);
        of[r->client == many ? 0 : 1]++;
        dgm_requests_finish(q, r, DGM_REQUEST_DONE);
    }
    assert_in_range(of[0], 18, 22);
    finish_all(q);
    assert_int_equal(take_all(q), 1303);
    dgm_requests_leave(q, many);
    dgm_requests_leave(q, few);
    dgm_requests_leave(q, bulk);
    assert_int_equal(dgm_requests_look(q).clients, 0);
    dgm_requests_destroy(q);
}

/* Those that come and go cannot keep one who waits waiting. */
static void newcomers_do_not_starve(void **state)
{
    (void)state;
    dgm_requests *q = create(1000000);
    dgm_requests_client *a = join(q);
    for (int i = 0; i < 10; i++)
        (void)admit(q, a, 1000, DGM_PRIORITY_NORMAL);
    dgm_requests_finish(q, dgm_requests_next(q, DGM_REQUESTS_ALL), DGM_REQUEST_DONE);
    int served = 0;
    for (int i = 0; i < 1000 && served == 0; i++) {
        dgm_requests_client *b = join(q);
        (void)admit(q, b, 20, DGM_PRIORITY_NORMAL);
        dgm_request *r = dgm_requests_next(q, DGM_REQUESTS_ALL);
        served += r->client == a;
        dgm_requests_finish(q, r, DGM_REQUEST_DONE);
        dgm_requests_leave(q, b);
        (void)take_all(q);
    }
    assert_int_equal(served, 1);
    finish_all(q);
    (void)take_all(q);
    dgm_requests_leave(q, a);
    dgm_requests_destroy(q);
}

static void what_somebody_waits_for_is_found(void **state)
{
    (void)state;
    dgm_requests *q = create(1000000);
    dgm_requests_client *many = join(q), *few = join(q);
    for (int i = 0; i < 100; i++)
        (void)admit(q, many, 20, DGM_PRIORITY_NORMAL);
    dgm_request *taken[16], *next;
    int n = 0;
    for (; (next = dgm_requests_next(q, DGM_REQUESTS_URGENT)) != NULL; n++)
        taken[n] = next;
    assert_int_equal(n, 8); /* its first lines, when it had no more */
    (void)admit(q, many, 20, DGM_PRIORITY_NORMAL);
    (void)admit(q, many, 20, DGM_PRIORITY_INTERACTIVE);
    (void)admit(q, few, 20, DGM_PRIORITY_BULK);
    assert_null(dgm_requests_next(q, DGM_REQUESTS_URGENT));
    dgm_request *r = admit(q, few, 20, DGM_PRIORITY_NORMAL);
    /* beside an urgent one the others have their turn, too, if that is asked for */
    dgm_request *other = taken[n++] = dgm_requests_next(q, DGM_REQUESTS_OTHERS);
    assert_non_null(other);
    assert_false(other->urgent);
    assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_URGENT), r);
    taken[n++] = r;
    dgm_requests_leave(q, many);
    dgm_requests_leave(q, few);
    assert_int_equal(dgm_requests_look(q).waiting, 0);
    assert_int_equal(take_all(q), 94);
    const dgm_requests_state look = dgm_requests_look(q);
    assert_int_equal(look.computing, 10);
    assert_int_equal(look.clients, 2); /* until what they asked for is back */
    while (n > 0)
        dgm_requests_finish(q, taken[--n], DGM_REQUEST_DONE);
    assert_int_equal(take_all(q), 10);
    assert_int_equal(dgm_requests_look(q).clients, 0);
    dgm_requests_destroy(q);
}

/* What is left of many lines is few: the last of them no longer wait for those of others, and the newest do not overtake them. */
static void the_last_of_many_are_urgent(void **state)
{
    (void)state;
    dgm_requests *q = create(1000000);
    dgm_requests_client *c = join(q);
    dgm_request *r[20];
    for (int i = 0; i < 20; i++)
        r[i] = admit(q, c, 20, DGM_PRIORITY_NORMAL);
    for (int i = 0; i < 11; i++)
        dgm_requests_finish(q, dgm_requests_next(q, DGM_REQUESTS_ALL), DGM_REQUEST_DONE);
    assert_int_equal(take_all(q), 11);
    assert_null(dgm_requests_next(q, DGM_REQUESTS_URGENT)); /* 9 are left */
    dgm_requests_cancel(q, r[19]);
    assert_int_equal(take_all(q), 1);
    (void)admit(q, c, 20, DGM_PRIORITY_BULK); /* 9 again, but these were urgent before */
    for (int i = 11; i < 19; i++) {
        assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_URGENT), r[i]);
        assert_true(r[i]->urgent);
        dgm_requests_finish(q, r[i], DGM_REQUEST_DONE);
    }
    assert_int_equal(take_all(q), 8);
    assert_null(dgm_requests_next(q, DGM_REQUESTS_URGENT)); /* bulk never is */
    finish_all(q);
    assert_int_equal(take_all(q), 1);
    dgm_requests_leave(q, c);
    dgm_requests_destroy(q);
}

static void a_full_queue_says_when_to_come_again(void **state)
{
    (void)state;
    dgm_requests *q = create(100);
    dgm_requests_client *c = join(q);
    int retry_ms;
    dgm_request *big = admit(q, c, 500, DGM_PRIORITY_NORMAL); /* alone, it is let in */
    dgm_request *r = request(20, DGM_PRIORITY_NORMAL);
    assert_true(dgm_requests_full(q, &retry_ms) && retry_ms > 0);
    assert_int_equal(dgm_requests_admit(q, c, &r, 1, &retry_ms), DGM_EBUSY);
    assert_in_range(retry_ms, 50, 10000);
    assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_ALL), big);
    dgm_requests_finish(q, big, DGM_REQUEST_DONE);
    /* tokens count until the net thread has it */
    assert_int_equal(dgm_requests_admit(q, c, &r, 1, &retry_ms), DGM_EBUSY);
    assert_int_equal(take_all(q), 1);
    assert_int_equal(dgm_requests_admit(q, c, &r, 1, &retry_ms), DGM_OK);
    dgm_requests_drain(q, 0);
    dgm_request *late = request(20, DGM_PRIORITY_NORMAL);
    assert_int_equal(dgm_requests_admit(q, c, &late, 1, &retry_ms), DGM_EUNSUPPORTED);
    free_request(late);
    (void)dgm_fail(DGM_EBUSY, "the end");
    dgm_requests_fail_waiting(q, DGM_EBUSY);
    r = dgm_requests_take_done(q);
    assert_int_equal(r->end, DGM_REQUEST_FAILED);
    assert_string_equal(r->message, "the end");
    free_request(r);
    dgm_requests_leave(q, c);
    dgm_requests_destroy(q);
}

static void deadlines_and_cancels(void **state)
{
    (void)state;
    dgm_requests *q = create(1000000);
    dgm_requests_client *c = join(q);
    enum { N = 64 };
    dgm_request *r[N];
    int retry_ms;
    for (int i = 0; i < N; i++) {
        r[i] = request(20, DGM_PRIORITY_NORMAL);
        r[i]->deadline_ns = i % 4 == 3 ? 0 : 1000 + (i * 37) % N;
    }
    assert_int_equal(dgm_requests_admit(q, c, r, N, &retry_ms), DGM_OK);
    for (int i = 0; i < 8; i++)
        assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_ALL), r[i]);
    dgm_requests_cancel(q, r[0]);
    dgm_requests_cancel(q, r[0]);
    dgm_requests_cancel(q, r[9]); /* in the queue: at once */
    assert_int_equal(r[9]->end, DGM_REQUEST_CANCELLED);
    dgm_requests_finish(q, r[1], DGM_REQUEST_DONE); /* before its deadline */
    assert_int_equal(take_all(q), 2);
    dgm_requests_expire(q, 1000 + N / 2 - 1);
    int late = 0, engine = 0;
    for (int i = 2; i < N; i++)
        late += i != 9 && i % 4 != 3 && (i * 37) % N < N / 2;
    for (dgm_request *s; (s = dgm_requests_stopped(q)) != NULL; engine++)
        dgm_requests_finish(q, s, s->stop_as);
    const dgm_requests_state look = dgm_requests_look(q);
    assert_int_equal(look.by_end[DGM_REQUEST_TIMED_OUT], late);
    assert_int_equal(look.by_end[DGM_REQUEST_CANCELLED], 2);
    assert_true(engine >= 2);
    dgm_requests_cancel(q, r[7]); /* finished before its cancel is heard: it is done */
    dgm_requests_finish(q, r[7], DGM_REQUEST_DONE);
    assert_null(dgm_requests_stopped(q));
    assert_int_equal(r[7]->end, DGM_REQUEST_DONE);
    finish_all(q);
    for (int i = 0; i < 8; i++)
        if (i > 1 && i != 7 && r[i]->place == DGM_REQUEST_IN_ENGINE)
            dgm_requests_finish(q, r[i], DGM_REQUEST_DONE);
    assert_int_equal(take_all(q), N - 2);
    dgm_requests_leave(q, c);
    dgm_requests_destroy(q);
}

/* What is decoded once more waits first in its client's queue, pays again, and counts on. */
static void again_is_the_next_turn(void **state)
{
    (void)state;
    dgm_requests *q = create(100);
    dgm_requests_client *c = join(q), *other = join(q);
    dgm_request *first = admit(q, c, 20, DGM_PRIORITY_NORMAL),
                *second = admit(q, c, 20, DGM_PRIORITY_NORMAL),
                *third = admit(q, other, 60, DGM_PRIORITY_NORMAL);
    assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_ALL), third);
    assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_ALL), first);
    dgm_requests_again(q, first);
    dgm_requests_again(q, third);
    dgm_requests_state look = dgm_requests_look(q);
    assert_int_equal(look.waiting, 3);
    assert_int_equal(look.computing, 0);
    assert_int_equal(look.tokens, 100);
    dgm_request *r = request(20, DGM_PRIORITY_NORMAL);
    int retry_ms;
    assert_int_equal(dgm_requests_admit(q, c, &r, 1, &retry_ms), DGM_EBUSY);
    free_request(r);
    assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_ALL),
                     first); /* third has had 60, these 20 */
    dgm_requests_finish(q, first, DGM_REQUEST_DONE);
    assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_ALL), second);
    dgm_requests_finish(q, second, DGM_REQUEST_DONE);
    assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_ALL), third);
    dgm_requests_finish(q, third, DGM_REQUEST_DONE);
    assert_int_equal(take_all(q), 3);
    dgm_requests_leave(q, c);
    dgm_requests_leave(q, other);
    dgm_requests_destroy(q);
}

/* Of many, the one that comes back when the others are done is what its client waits for. */
static void again_may_have_become_urgent(void **state)
{
    (void)state;
    enum { MANY = 20 };
    dgm_requests *q = create(100000);
    dgm_requests_client *c = join(q);
    dgm_request *r[MANY];
    int retry_ms;
    for (int i = 0; i < MANY; i++)
        r[i] = request(20, DGM_PRIORITY_NORMAL);
    assert_int_equal(dgm_requests_admit(q, c, r, MANY, &retry_ms), DGM_OK);
    for (int i = 0; i < MANY; i++)
        assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_ALL), r[i]);
    for (int i = 1; i < MANY; i++)
        dgm_requests_finish(q, r[i], DGM_REQUEST_DONE);
    assert_int_equal(take_all(q), MANY - 1);
    assert_false(r[0]->urgent);
    dgm_requests_again(q, r[0]);
    assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_URGENT), r[0]);
    dgm_requests_finish(q, r[0], DGM_REQUEST_DONE);
    assert_int_equal(take_all(q), 1);
    dgm_requests_leave(q, c);
    dgm_requests_destroy(q);
}

/* Between its two decodings, and in the second, a request is cancelled or late like any other. */
static void again_can_be_stopped(void **state)
{
    (void)state;
    dgm_requests *q = create(1000);
    dgm_requests_client *c = join(q);
    dgm_request *r[6];
    for (int i = 0; i < 6; i++) {
        int retry_ms;
        r[i] = request(20, DGM_PRIORITY_NORMAL);
        r[i]->deadline_ns = i < 2 ? 1000 : 0;
        assert_int_equal(dgm_requests_admit(q, c, &r[i], 1, &retry_ms), DGM_OK);
        assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_ALL), r[i]);
    }
    dgm_requests_again(q, r[0]);
    dgm_requests_expire(q, 1000); /* r[0] in the queue, r[1] in the engine */
    assert_int_equal(r[0]->end, DGM_REQUEST_TIMED_OUT);
    dgm_requests_again(q, r[1]); /* too late: it stays, and is heard of */
    assert_ptr_equal(dgm_requests_stopped(q), r[1]);
    assert_null(dgm_requests_next(q, DGM_REQUESTS_ALL));
    dgm_requests_finish(q, r[1], r[1]->stop_as);
    dgm_requests_again(q, r[2]);
    dgm_requests_cancel(q, r[2]);
    assert_int_equal(r[2]->end, DGM_REQUEST_CANCELLED);
    dgm_requests_again(q, r[3]);
    assert_ptr_equal(dgm_requests_next(q, DGM_REQUESTS_ALL), r[3]);
    dgm_requests_cancel(q, r[3]);
    assert_ptr_equal(dgm_requests_stopped(q), r[3]);
    dgm_requests_finish(q, r[3], r[3]->stop_as);
    dgm_requests_again(q, r[4]);
    dgm_requests_leave(q, c);    /* of r[4] at once, */
    dgm_requests_again(q, r[5]); /* of r[5] when it wants to wait for nobody */
    assert_int_equal(dgm_requests_look(q).by_end[DGM_REQUEST_CANCELLED], 4);
    assert_int_equal(take_all(q), 6);
    assert_int_equal(dgm_requests_look(q).clients, 0);
    dgm_requests_destroy(q);
}

/* ---- two threads ---- */

static void *engine(void *ctx)
{
    dgm_requests *q = ctx;
    while (!dgm_requests_draining(q, NULL) || dgm_requests_look(q).waiting > 0) {
        dgm_requests_expire(q, dgm_now_ns());
        for (dgm_request *r; (r = dgm_requests_stopped(q)) != NULL;)
            dgm_requests_finish(q, r, r->stop_as);
        for (dgm_request *r; (r = dgm_requests_next(q, DGM_REQUESTS_ALL)) != NULL;)
            if (r->sent++ == 0 && r->priority == DGM_PRIORITY_BULK)
                dgm_requests_again(q, r); /* and then, maybe, it was stopped */
            else
                dgm_requests_finish(q, r, DGM_REQUEST_DONE);
        dgm_requests_flush(q);
        dgm_requests_wait(q, 1);
    }
    return NULL;
}

static void each_comes_back_once(void **state)
{
    (void)state;
    enum { CLIENTS = 8, ROUNDS = 400 };
    dgm_requests *q = create(4000);
    dgm_requests_client *c[CLIENTS];
    pthread_t thread;
    int admitted = 0, back = 0, retry_ms;
    unsigned random = 1;
    for (int i = 0; i < CLIENTS; i++)
        c[i] = join(q);
    assert_int_equal(pthread_create(&thread, NULL, engine, q), 0);
    for (int i = 0; i < ROUNDS; i++) {
        dgm_request *r[5];
        const int n = 1 + (int)(random % 5), at = i % CLIENTS;
        random = random * 1103515245 + 12345;
        for (int k = 0; k < n; k++) {
            r[k] = request(20, (enum dgm_priority)(k % DGM_PRIORITIES));
            r[k]->deadline_ns = k == 2 ? dgm_now_ns() + 10000 : 0;
        }
        int rc;
        while ((rc = dgm_requests_admit(q, c[at], r, n, &retry_ms)) == DGM_EBUSY) {
            (void)sched_yield(); /* the queue is full until the other thread has had its turn */
            back += take_all(q);
        }
        assert_int_equal(rc, DGM_OK);
        admitted += n;
        if (i % 3 == 0) /* it is not freed: only this thread takes what is done */
            dgm_requests_cancel(q, r[n - 1]);
        if (i % 7 == 0) {
            dgm_requests_leave(q, c[at]);
            c[at] = join(q);
        }
        back += take_all(q);
    }
    dgm_requests_drain(q, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    back += take_all(q);
    assert_true(admitted > ROUNDS);
    assert_int_equal(back, admitted);
    for (int i = 0; i < CLIENTS; i++)
        dgm_requests_leave(q, c[i]);
    assert_int_equal(dgm_requests_look(q).clients, 0);
    assert_int_equal(dgm_requests_look(q).tokens, 0);
    dgm_requests_destroy(q);
    assert_true(woken > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_are_shared_by_tokens),
        cmocka_unit_test(newcomers_do_not_starve),
        cmocka_unit_test(what_somebody_waits_for_is_found),
        cmocka_unit_test(the_last_of_many_are_urgent),
        cmocka_unit_test(a_full_queue_says_when_to_come_again),
        cmocka_unit_test(deadlines_and_cancels),
        cmocka_unit_test(again_is_the_next_turn),
        cmocka_unit_test(again_may_have_become_urgent),
        cmocka_unit_test(again_can_be_stopped),
        cmocka_unit_test(each_comes_back_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

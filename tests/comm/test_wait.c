/* Deadlines, blame, abort and liveness, with ranks that are threads (hub.h). */
#include "base/clock.h"
#include "comm/exchange.h"
#include "comm/internal.h"
#include "tests/comm/hub.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Deadlines long enough for a machine that is busy with other work. */
static const dgm_comm_config quick = {.backend = "hub", .stall_ms = 500, .deadline_ms = 2000};
static const dgm_comm_config patient = {.backend = "hub", .stall_ms = 20000, .deadline_ms = 60000};

/* What each rank saw; cmocka's asserts belong to the main thread. */
static struct {
    int code, culprit;
    char text[DGM_VERDICT_LEN];
    double seconds;
} seen[8];
static atomic_int finished;

static void note(dgm_comm *c, int code, double began)
{
    const int r = dgm_comm_rank(c);
    seen[r].code = code;
    seen[r].culprit = c->verdict.culprit;
    seen[r].seconds = dgm_now_s() - began;
    (void)snprintf(seen[r].text, sizeof seen[r].text, "%s", code == DGM_OK ? "" : dgm_error_text());
    atomic_fetch_add(&finished, 1);
}

/* A rank that says nothing until the others have given up. */
static void be_silent(int others)
{
    while (atomic_load(&finished) < others)
        (void)usleep(1000);
}

static int one_exchange(dgm_comm *c, int width)
{
    dgm_xchg *x = NULL;
    int32_t n_to[8] = {0};
    int worst;
    int rc = dgm_xchg_create(&x, c, (size_t)width * sizeof(float), width, 4);
    if (rc != DGM_OK)
        return rc;
    dgm_comm_at(c, "decode", 3);
    dgm_xchg_reserve(x, n_to);
    rc = dgm_xchg_dispatch(x, DGM_OK, &worst);
    if (rc == DGM_OK)
        rc = dgm_xchg_combine(x);
    dgm_xchg_destroy(x);
    return rc;
}

static void run(const dgm_comm_config *cfg, int ranks, void (*fn)(dgm_comm *c, void *ctx))
{
    memset(seen, 0, sizeof seen);
    atomic_store(&finished, 0);
    hub_run_leaving(ranks, cfg, fn, NULL);
}

static void expect(int rank, int code, int culprit, const char *part)
{
    if (strstr(seen[rank].text, part) == NULL)
        fail_msg("rank %d: want '%s' in '%s'", rank, part, seen[rank].text);
    assert_int_equal(seen[rank].code, code);
    assert_int_equal(seen[rank].culprit, culprit);
}

static void silent_fn(dgm_comm *c, void *ctx)
{
    (void)ctx;
    const double began = dgm_now_s();
    if (dgm_comm_rank(c) == 2)
        be_silent(2);
    else
        note(c, one_exchange(c, 4), began);
}

static void test_silent_rank(void **state)
{
    (void)state;
    run(&quick, 3, silent_fn);
    for (int r = 0; r < 2; r++) {
        expect(r, DGM_EDEADLINE, 2, "rank 2 (host ");
        expect(r, DGM_EDEADLINE, 2, "was lost in decode, layer 3 (dispatch): no sign of life for ");
        assert_true(seen[r].seconds > 1.9); /* not given up too early */
    }
}

/* Two exchanges in flight, as the halves of a step have them; ranks that get so far wait for dispatch 1, then for dispatch 2. */
static int two_exchanges(dgm_comm *c)
{
    dgm_xchg *x[2] = {NULL, NULL};
    const int32_t n_to[8] = {0};
    int worst, rc = DGM_OK;
    dgm_comm_at(c, "decode", 5);
    for (int i = 0; i < 2; i++) {
        rc = dgm_xchg_create(&x[i], c, 16, 4, 4);
        if (rc != DGM_OK)
            return rc;
    }
    for (int i = 0; rc == DGM_OK && i < 2; i++) {
        dgm_xchg_reserve(x[i], n_to);
        rc = dgm_xchg_dispatch_begin(x[i], DGM_OK);
        dgm_comm_progress(c);
    }
    for (int i = 0; rc == DGM_OK && i < 2; i++) {
        rc = dgm_xchg_dispatch_end(x[i], &worst);
        if (rc == DGM_OK)
            rc = dgm_xchg_combine_begin(x[i]);
    }
    for (int i = 0; i < 2; i++)
        dgm_xchg_destroy(x[i]);
    return rc;
}

/* The silent rank begins one of the two and says no more. */
static void half_silent_fn(dgm_comm *c, void *ctx)
{
    const int silent = *(const int *)ctx;
    const double began = dgm_now_s();
    if (dgm_comm_rank(c) != silent) {
        note(c, two_exchanges(c), began);
        return;
    }
    dgm_xchg *x[2] = {NULL, NULL};
    const int32_t n_to[8] = {0};
    for (int i = 0; i < 2; i++)
        if (dgm_xchg_create(&x[i], c, 16, 4, 4) != DGM_OK)
            return;
    dgm_xchg_reserve(x[0], n_to);
    if (dgm_xchg_dispatch_begin(x[0], DGM_OK) == DGM_OK)
        be_silent(2);
    for (int i = 0; i < 2; i++)
        dgm_xchg_destroy(x[i]);
}

/* The wait for the second exchange ends as that for the first would, and every later call says the same. */
static void test_silent_between_two(void **state)
{
    (void)state;
    memset(seen, 0, sizeof seen);
    atomic_store(&finished, 0);
    int silent = 1;
    hub_run_leaving(3, &quick, half_silent_fn, &silent);
    for (int r = 0; r < 3; r += 2)
        expect(r, DGM_EDEADLINE, 1, "was lost in decode, layer 5 (dispatch): no sign of life");
}

static void chain_fn(dgm_comm *c, void *ctx)
{
    (void)ctx;
    const void *buf;
    size_t bytes;
    const double began = dgm_now_s();
    const int rank = dgm_comm_rank(c);
    if (rank == 3)
        be_silent(3);
    else
        note(c, dgm_comm_recv(c, rank + 1, &buf, &bytes), began);
}

/* 0 waits for 1, 1 for 2, 2 for 3, and 3 is silent: it is 3 that all must name. */
static void test_chain_of_waits(void **state)
{
    (void)state;
    run(&quick, 4, chain_fn);
    for (int r = 0; r < 3; r++)
        expect(r, DGM_EDEADLINE, 3, "rank 3 (host ");
}

static void cycle_fn(dgm_comm *c, void *ctx)
{
    (void)ctx;
    const void *buf;
    size_t bytes;
    const double began = dgm_now_s();
    note(c, dgm_comm_recv(c, (dgm_comm_rank(c) + 1) % 3, &buf, &bytes), began);
}

/* Everybody waits for the next: nobody is to blame, but it must end. */
static void test_cycle_ends(void **state)
{
    (void)state;
    run(&quick, 3, cycle_fn);
    for (int r = 0; r < 3; r++)
        assert_int_equal(seen[r].code, DGM_EDEADLINE);
}

static void abort_fn(dgm_comm *c, void *ctx)
{
    (void)ctx;
    const double began = dgm_now_s();
    if (dgm_comm_rank(c) == 1) {
        dgm_notice n = {.kind = DGM_NOTICE_ABORT, .rank = 1, .code = DGM_EMODEL};
        (void)snprintf(n.text, sizeof n.text, "no such tensor");
        dgm_notice_tell(c, &n, -1);
        be_silent(2);
        return;
    }
    const int first = one_exchange(c, 4), again = dgm_comm_agree(c, DGM_OK);
    note(c, first == again ? first : DGM_EINTERNAL, began);
}

static void test_abort_reaches_all(void **state)
{
    (void)state;
    run(&patient, 3, abort_fn);
    expect(0, DGM_EMODEL, 1, "no such tensor");
    expect(2, DGM_EMODEL, 1, "no such tensor"); /* the deadline says something else */
}

static void gone_fn(dgm_comm *c, void *ctx)
{
    (void)ctx;
    const double began = dgm_now_s();
    if (dgm_comm_rank(c) == 1) {
        be_silent(1);
        return;
    }
    /* Rank 1 is this same process; put one in its place that can end. */
    const pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            (void)pause();
    }
    dgm_proc_unwatch(&c->peers[1].proc);
    c->peers[1].proc = dgm_proc_of(pid);
    c->peers[1].here = dgm_proc_watch(&c->peers[1].proc);
    (void)kill(pid, SIGKILL);
    /* With two in flight, the same: the verdict of the first wait is that of the second. */
    const int two = two_exchanges(c), again = one_exchange(c, 4);
    note(c, two == again ? two : DGM_EINTERNAL, began);
    (void)waitpid(pid, NULL, 0);
}

static void test_ended_process(void **state)
{
    (void)state;
    run(&patient, 2, gone_fn);
    expect(0, DGM_EPEER, 1, "was lost in decode, layer 5 (dispatch): its process ended");
}

/* Rank 2 was lost, and 1 knows; 0 hears of it late, when 1 is about to print, does, or has done so. Messages take a while. */
static void last_word_fn(dgm_comm *c, void *ctx)
{
    const int late_ms = *(const int *)ctx;
    if (dgm_comm_rank(c) == 2)
        return;
    if (dgm_comm_rank(c) == 0)
        (void)usleep((useconds_t)late_ms * 1000);
    (void)dgm_wait_verdict(c, DGM_EPEER, 2, "rank 2 was lost");
    dgm_end_print(c);
}

static void test_one_sentence(void **state)
{
    (void)state;
    hub_latency_ms = 15;
    const int err = dup(STDERR_FILENO);
    for (int late_ms = 280; late_ms <= 360; late_ms += 10) {
        int words[2];
        char said[512] = "";
        assert_int_equal(pipe(words), 0);
        (void)dup2(words[1], STDERR_FILENO);
        hub_run_leaving(3, &patient, last_word_fn, &late_ms);
        (void)dup2(err, STDERR_FILENO);
        (void)close(words[1]);
        assert_true(read(words[0], said, sizeof said - 1) > 0);
        (void)close(words[0]);
        if (strcmp(said, "dragoman: rank 2 was lost\n") != 0)
            fail_msg("%d ms late: want one sentence, found '%s'", late_ms, said);
    }
    (void)close(err);
    hub_latency_ms = 0;
}

static void desync_fn(dgm_comm *c, void *ctx)
{
    (void)ctx;
    const double began = dgm_now_s();
    note(c, one_exchange(c, 4 + 4 * dgm_comm_rank(c)), began);
}

static void test_different_exchanges(void **state)
{
    (void)state;
    run(&patient, 2, desync_fn);
    expect(0, DGM_EINTERNAL, 1, "rank 1");
    expect(1, DGM_EINTERNAL, 0, "rank 0");
}

static void test_how_it_was_started(void **state)
{
    (void)state;
    dgm_comm *c = NULL;
    dgm_comm_config cfg = {.backend = "auto", .stall_ms = 1000, .deadline_ms = 2000};
    (void)unsetenv("OMPI_COMM_WORLD_SIZE");
    (void)unsetenv("PMIX_NAMESPACE");
    (void)setenv("SLURM_STEP_NUM_TASKS", "4", 1);
    assert_int_equal(dgm_comm_open(&c, &cfg), DGM_ELAUNCH);
    assert_non_null(strstr(dgm_error_text(), "would be 4 copies"));
    assert_non_null(strstr(dgm_error_text(), "--mpi=pmix"));
    (void)setenv("SLURM_STEP_NUM_TASKS", "1", 1);
    assert_int_equal(dgm_comm_open(&c, &cfg), DGM_OK);
    assert_string_equal(dgm_comm_backend(c), "local");
    assert_int_equal(dgm_comm_size(c), 1);
    dgm_comm_close(c);
    (void)unsetenv("SLURM_STEP_NUM_TASKS");
    cfg.backend = "local";
    (void)setenv("OMPI_COMM_WORLD_SIZE", "3", 1);
    assert_int_equal(dgm_comm_open(&c, &cfg), DGM_ELAUNCH);
    assert_non_null(strstr(dgm_error_text(), "would be 3 copies"));
    (void)unsetenv("OMPI_COMM_WORLD_SIZE");
    cfg.backend = "pigeons";
    assert_int_equal(dgm_comm_open(&c, &cfg), DGM_EUNSUPPORTED);
    assert_non_null(strstr(dgm_error_text(), "found 'pigeons'"));
}

/* Nobody warns of who has nothing to do, but is heard of as often as it should be: not even when one word in two is late. */
static void test_beats_come_before_warnings(void **state)
{
    static const int stalls_ms[] = {10, 60, 99, 100, 480, 500, 2000, 3600000};
    const int first_look_ms = 50;
    (void)state;
    for (size_t i = 0; i < sizeof stalls_ms / sizeof stalls_ms[0]; i++) {
        const int stall = stalls_ms[i], beat = dgm_comm_beat_ms(stall);
        assert_in_range(beat, 25,
                        500); /* a beat costs a millisecond of waiting awake: 4 % of a core */
        assert_true(2 * beat <= (stall > first_look_ms ? stall : first_look_ms));
    }
    assert_int_equal(dgm_comm_beat_ms(2000), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent_rank),
        cmocka_unit_test(test_silent_between_two),
        cmocka_unit_test(test_chain_of_waits),
        cmocka_unit_test(test_cycle_ends),
        cmocka_unit_test(test_abort_reaches_all),
        cmocka_unit_test(test_ended_process),
        cmocka_unit_test(test_one_sentence),
        cmocka_unit_test(test_different_exchanges),
        cmocka_unit_test(test_how_it_was_started),
        cmocka_unit_test(test_beats_come_before_warnings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

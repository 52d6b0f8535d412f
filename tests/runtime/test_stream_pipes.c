/*
 * The stream between two other processes: answers at once, never blocks the engine, keeps memory bounded, notices that its
 * reader went away. No clock decides: each side waits for what the other has done, and an alarm ends a test that hangs.
 */
#include "tests/runtime/stream_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HANGS_S = 600 };

typedef struct pipes {
    int to_stream[2], from_stream[2];
    atomic_int *idle_steps; /* of the engine, seen by both processes */
} pipes;

/* start - forks; `user` runs in the child with the outer ends and returns its exit code. Returns its pid. */
static pid_t start(bench *b, pipes *p, int (*user)(pipes *p))
{
    assert_int_equal(pipe(p->to_stream), 0);
    assert_int_equal(pipe(p->from_stream), 0);
    p->idle_steps = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p->idle_steps != MAP_FAILED);
    (void)alarm(HANGS_S);
    const pid_t pid = fork();
    if (pid == 0) {
        (void)close(p->to_stream[0]);
        (void)close(p->from_stream[1]);
        (void)alarm(HANGS_S);
        _exit(user(p));
    }
    (void)close(p->to_stream[1]);
    (void)close(p->from_stream[0]);
    b->engine->idle_steps = p->idle_steps;
    b->cfg.input_fd = p->to_stream[0];
    b->cfg.input_name = "in";
    assert_int_equal(
        dgm_lines_open(&b->cfg.input, b->cfg.input_fd, "in", DGM_STREAM_MAX_LINE_BYTES), DGM_OK);
    char path[64];
    (void)snprintf(path, sizeof path, "/dev/fd/%d", p->from_stream[1]);
    assert_int_equal(dgm_writer_open(&b->outputs[0], path), DGM_OK);
    (void)close(p->from_stream[1]);
    return pid;
}

static void expect_user(pid_t pid, pipes *p)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    (void)munmap(p->idle_steps, 4096);
    (void)alarm(0);
}

static void wait_for_idle_steps(pipes *p, int more)
{
    const int from = atomic_load(p->idle_steps);
    while (atomic_load(p->idle_steps) < from + more)
        (void)usleep(1000);
}

/* ---- a user who types ---- */

static int read_line(int fd, char *line, size_t size)
{
    size_t n = 0;
    while (n + 1 < size && read(fd, line + n, 1) == 1)
        if (line[n++] == '\n')
            break;
    line[n] = '\0';
    return (int)n;
}

/* Types the next line only when the last was answered; also in two halves, with idle time between. */
static int types(pipes *p)
{
    char line[64];
    for (int i = 0; i < 5; i++) {
        if (write(p->to_stream[1], "a d", 3) != 3)
            return 1;
        wait_for_idle_steps(p, i == 0 ? 0 : 2); /* the engine's heart beats while nobody types */
        if (write(p->to_stream[1], "og\n", 3) != 3)
            return 2;
        if (read_line(p->from_stream[0], line, sizeof line) != 6 || strcmp(line, "a dog\n") != 0)
            return 3;
    }
    (void)close(p->to_stream[1]);
    return read_line(p->from_stream[0], line, sizeof line) == 0 ? 0 : 4;
}

static void test_answers_at_once(void **state)
{
    bench *b = *state;
    pipes p;
    const pid_t pid = start(b, &p, types);
    assert_int_equal(bench_run(b), DGM_OK);
    expect_user(pid, &p);
    assert_int_equal(b->totals.lines, 5);
}

/* ---- a reader who is slow ---- */

enum { FLOOD_MOST = 64 << 20, FLOOD_BOUND = 8 << 20 };

/* Writes until the stream takes no more although the engine's heart beats, then reads everything. */
static int floods(pipes *p)
{
    static const char line[] = "a dog and a cat and a boy and a girl\n";
    const size_t len = sizeof line - 1;
    size_t written = 0, at = 0;
    (void)fcntl(p->to_stream[1], F_SETFL, O_NONBLOCK);
    for (int refused = 0; written < FLOOD_MOST && refused < 2;) {
        const ssize_t n = write(p->to_stream[1], line + at, len - at);
        if (n > 0) {
            written += (size_t)n;
            at = (at + (size_t)n) % len;
            refused = 0;
        } else {
            /* Blocked output does not stop the engine; with nothing in flight it is full for good. */
            wait_for_idle_steps(p, 1);
            refused++;
        }
    }
    if (written > FLOOD_BOUND)
        return 1;
    (void)fcntl(p->to_stream[1], F_SETFL, 0);
    (void)close(p->to_stream[1]);
    char block[4096];
    size_t got = 0;
    /* Takes a little and pauses again: the stream may fill that room, but not wait for more. */
    for (int i = 0; i < 2; i++, got += sizeof block) {
        if (read(p->from_stream[0], block, sizeof block) != sizeof block)
            return 4;
    }
    wait_for_idle_steps(p, 2);
    for (ssize_t n; (n = read(p->from_stream[0], block, sizeof block)) > 0;) {
        for (ssize_t i = 0; i < n; i++, got++)
            if (block[i] != line[got % len] && !(got >= written - at))
                return 2;
    }
    /* the last line may lack its newline in the input */
    return got == written || got == written + 1 ? 0 : 3;
}

static void test_memory_is_bounded(void **state)
{
    bench *b = *state;
    pipes p;
    const pid_t pid = start(b, &p, floods);
    const int rc = bench_run(b);
    expect_user(pid, &p);
    assert_int_equal(rc, DGM_OK);
}

/* ---- a reader who leaves ---- */

static int leaves(pipes *p)
{
    char line[64];
    if (write(p->to_stream[1], "a dog\n", 6) != 6)
        return 1;
    if (read_line(p->from_stream[0], line, sizeof line) != 6)
        return 2;
    (void)close(p->from_stream[0]);
    /* the input stays open and silent until the stream has gone */
    struct pollfd gone = {.fd = p->to_stream[1], .events = 0};
    return poll(&gone, 1, -1) == 1 && (gone.revents & POLLERR) != 0 ? 0 : 3;
}

static void test_notices_that_its_reader_left(void **state)
{
    bench *b = *state;
    pipes p;
    const pid_t pid = start(b, &p, leaves);
    assert_int_equal(bench_run(b), DGM_EOUTPUT);
    assert_non_null(strstr(dgm_error_text(), "closed by its reader"));
    expect_user(pid, &p);
}

static int writes_and_leaves(pipes *p)
{
    (void)close(p->from_stream[0]);
    while (write(p->to_stream[1], "a dog\n", 6) > 0)
        ;
    return errno == EPIPE ? 0 : 1;
}

static void test_closed_before_the_first_line(void **state)
{
    bench *b = *state;
    pipes p;
    const pid_t pid = start(b, &p, writes_and_leaves);
    assert_int_equal(bench_run(b), DGM_EOUTPUT);
    assert_non_null(strstr(dgm_error_text(), "closed by its reader"));
    expect_user(pid, &p);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, bench_setup, bench_teardown)
    const struct CMUnitTest tests[] = {
        TEST(answers_at_once),
        TEST(memory_is_bounded),
        TEST(notices_that_its_reader_left),
        TEST(closed_before_the_first_line),
    };
    return cmocka_run_group_tests(tests, bench_open_tokenizer, bench_close_tokenizer);
}

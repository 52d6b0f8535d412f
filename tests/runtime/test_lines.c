/* The reader of lines: newlines of all kinds, bad bytes, long lines, pieces that come when they come. */
#include "runtime/lines.h"
#include "runtime/split.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX = 200000 };

/* A file that holds these bytes, at its start. */
static int file_of(const char *bytes, size_t n)
{
    char path[] = "/tmp/dgm_lines_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static dgm_lines *open_fd(int fd, size_t max_bytes)
{
    dgm_lines *l;
    assert_int_equal(dgm_lines_open(&l, fd, "test", max_bytes), DGM_OK);
    return l;
}

/* Reads on until there is a line or the end. */
static int get(dgm_lines *l, dgm_line *line)
{
    int rc;
    do
        rc = dgm_lines_poll(l, line, -1);
    while (rc == DGM_LINES_AGAIN);
    return rc;
}

/* Checks that bytes are these lines (NULL ends them), and that offsets and numbers count up. */
static void check(const char *bytes, size_t n, const char *const *want)
{
    const int fd = file_of(bytes, n);
    dgm_lines *l = open_fd(fd, MAX);
    dgm_line line;
    uint64_t number = 0, offset = 0;
    for (; *want != NULL; want++) {
        assert_int_equal(get(l, &line), DGM_LINES_LINE);
        assert_int_equal(line.state, DGM_LINE_OK);
        assert_string_equal(line.text, *want);
        assert_int_equal(line.len, strlen(*want));
        assert_int_equal(line.n_bytes, line.len);
        assert_int_equal(line.number, ++number);
        assert_true(line.offset > offset && line.offset <= n);
        offset = line.offset;
    }
    assert_int_equal(get(l, &line), DGM_LINES_END);
    assert_int_equal(get(l, &line), DGM_LINES_END);
    if (number > 0)
        assert_int_equal(offset, n);
    dgm_lines_close(l);
    (void)close(fd);
}

#define CHECK(bytes, ...) check(bytes, sizeof(bytes) - 1, (const char *const[]){__VA_ARGS__, NULL})

static void test_newlines(void **state)
{
    (void)state;
    check("", 0, (const char *const[]){NULL});
    CHECK("a", "a");
    CHECK("a\n", "a");
    CHECK("a\nb", "a", "b");
    CHECK("\n", "");
    CHECK("\n\n", "", "");
    CHECK("a\r\nb\r\n\r\n", "a", "b", "");
    CHECK("a\rb\r\r\n\rc\n", "a\rb\r", "\rc");
    CHECK("a\r", "a\r"); /* no CRLF, so text */
    CHECK("a\vb\fc\xC2\x85"
          "d\xE2\x80\xA8"
          "e\n",
          "a\vb\fc\xC2\x85"
          "d\xE2\x80\xA8"
          "e");
}

static void test_byte_order_mark(void **state)
{
    (void)state;
    check("\xEF\xBB\xBF", 3, (const char *const[]){NULL});
    CHECK("\xEF\xBB\xBF\n", "");
    CHECK("\xEF\xBB\xBF"
          "a\n\xEF\xBB\xBF"
          "b\n",
          "a",
          "\xEF\xBB\xBF"
          "b");
    CHECK("\xEF\xBB\xBF\xEF\xBB\xBF\n", "\xEF\xBB\xBF");
}

/* Half a mark is no text either. */
static void test_half_mark(void **state)
{
    (void)state;
    const int fd = file_of("\xEF\xBB", 2);
    dgm_lines *l = open_fd(fd, MAX);
    dgm_line line;
    assert_int_equal(get(l, &line), DGM_LINES_LINE);
    assert_int_equal(line.state, DGM_LINE_NOT_UTF8);
    assert_int_equal(line.bad_at, 0);
    dgm_lines_close(l);
    (void)close(fd);
}

static void test_bad_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        size_t len;
        enum dgm_line_state state;
        size_t bad_at;
        const char *says;
    } bad[] = {
        {"abc\xFFz", 5, DGM_LINE_NOT_UTF8, 3, "test line 2: byte 4 (0xff) is not UTF-8"},
        {"ab\0c", 4, DGM_LINE_NUL, 2, "test line 2: byte 3 is NUL"},
        {"01234567\xC3", 9, DGM_LINE_NOT_UTF8, 8, "byte 9"},
        {"\xC0\x80", 2, DGM_LINE_NOT_UTF8, 0, "byte 1"},         /* overlong NUL */
        {"a\xED\xA0\x80", 4, DGM_LINE_NOT_UTF8, 1, "byte 2"},    /* surrogate */
        {"\xF4\x90\x80\x80", 4, DGM_LINE_NOT_UTF8, 0, "byte 1"}, /* beyond U+10FFFF */
        {"\xE2\x96", 2, DGM_LINE_NOT_UTF8, 0, "byte 1"},         /* cut off */
        {"12345678\0", 9, DGM_LINE_NUL, 8, "byte 9"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char bytes[64] = "good\n";
        memcpy(bytes + 5, bad[i].line, bad[i].len);
        memcpy(bytes + 5 + bad[i].len, "\r\nafter\n", 8);
        const int fd = file_of(bytes, 13 + bad[i].len);
        dgm_lines *l = open_fd(fd, MAX);
        dgm_line line;
        assert_int_equal(get(l, &line), DGM_LINES_LINE);
        assert_int_equal(line.state, DGM_LINE_OK);
        assert_int_equal(dgm_lines_fail(l, &line), DGM_OK);
        assert_int_equal(get(l, &line), DGM_LINES_LINE);
        assert_int_equal(line.state, bad[i].state);
        assert_int_equal(line.bad_at, bad[i].bad_at);
        assert_int_equal(line.len, bad[i].len);
        assert_int_equal(dgm_lines_fail(l, &line), DGM_ETEXT);
        assert_non_null(strstr(dgm_error_text(), bad[i].says));
        assert_int_equal(get(l, &line), DGM_LINES_LINE);
        assert_string_equal(line.text, "after");
        dgm_lines_close(l);
        (void)close(fd);
    }
}

/* Lines around the limit, with every newline, as files that end there or go on. */
static void test_long_lines(void **state)
{
    (void)state;
    static const size_t lengths[] = {0,      1,      99999,  100000, 100001,
                                     100002, 131071, 131072, 131073, 1 << 20};
    static const char *const newlines[] = {"\n", "\r\n"};
    enum { LIMIT = 100000 };
    char *bytes = malloc((1 << 20) + 16);
    memset(bytes, 'x', 1 << 20);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (int kind = 0; kind < 2; kind++) {
            const size_t nl = strlen(newlines[kind]), n = lengths[i];
            memcpy(bytes + n, newlines[kind], nl);
            memcpy(bytes + n + nl, "end", 3);
            const int fd = file_of(bytes, n + nl + 3);
            dgm_lines *l = open_fd(fd, LIMIT);
            dgm_line line;
            assert_int_equal(get(l, &line), DGM_LINES_LINE);
            assert_int_equal(line.state, n > LIMIT ? DGM_LINE_TOO_LONG : DGM_LINE_OK);
            assert_int_equal(line.n_bytes, n);
            assert_int_equal(line.len, n > LIMIT ? 0 : n);
            assert_int_equal(line.offset, n + nl);
            assert_int_equal(get(l, &line), DGM_LINES_LINE);
            assert_string_equal(line.text, "end");
            assert_int_equal(line.offset, n + nl + 3);
            assert_int_equal(get(l, &line), DGM_LINES_END);
            dgm_lines_close(l);
            (void)close(fd);
            memset(bytes + n, 'x', nl + 3);
        }
    }
    free(bytes);
}

static void test_long_last_line(void **state)
{
    (void)state;
    char *bytes = malloc(300000);
    memset(bytes, 'x', 300000);
    bytes[299999] = '\r';
    const int fd = file_of(bytes, 300000);
    dgm_lines *l = open_fd(fd, 1000);
    dgm_line line;
    assert_int_equal(get(l, &line), DGM_LINES_LINE);
    assert_int_equal(line.state, DGM_LINE_TOO_LONG);
    assert_int_equal(line.n_bytes, 300000);
    assert_int_equal(dgm_lines_fail(l, &line), DGM_ETEXT);
    assert_string_equal(dgm_error_text(), "test line 1: 300000 bytes, want at most 1000");
    assert_int_equal(get(l, &line), DGM_LINES_END);
    dgm_lines_close(l);
    (void)close(fd);
    free(bytes);
}

static void put(int fd, const char *s)
{
    assert_int_equal(write(fd, s, strlen(s)), strlen(s));
}

/* What is typed comes in pieces; a poll without waiting says so and loses nothing. */
static void test_pieces(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe(p), 0);
    dgm_lines *l = open_fd(p[0], MAX);
    dgm_line line;
    assert_int_equal(dgm_lines_poll(l, &line, 0), DGM_LINES_AGAIN);
    put(p[1], "\xEF");
    assert_int_equal(dgm_lines_poll(l, &line, 0), DGM_LINES_AGAIN);
    put(p[1], "\xBB\xBF"
              "one");
    assert_int_equal(dgm_lines_poll(l, &line, 0), DGM_LINES_AGAIN);
    put(p[1], "\r");
    assert_int_equal(dgm_lines_poll(l, &line, 5), DGM_LINES_AGAIN);
    put(p[1], "\ntwo\nthr");
    assert_int_equal(dgm_lines_poll(l, &line, 0), DGM_LINES_LINE);
    assert_string_equal(line.text, "one");
    assert_int_equal(dgm_lines_poll(l, &line, 0), DGM_LINES_LINE);
    assert_string_equal(line.text, "two");
    assert_int_equal(dgm_lines_poll(l, &line, 0), DGM_LINES_AGAIN);
    put(p[1], "ee");
    (void)close(p[1]);
    assert_int_equal(get(l, &line), DGM_LINES_LINE);
    assert_string_equal(line.text, "three");
    assert_int_equal(line.number, 3);
    assert_int_equal(dgm_lines_poll(l, &line, 0), DGM_LINES_END);
    dgm_lines_close(l);
    (void)close(p[0]);
}

/* A CR that comes alone, behind as many bytes as fit or more, is no part of the line if its LF follows. */
static void test_pieces_at_limit(void **state)
{
    (void)state;
    static const char *const first[] = {"0123456789\r", "0123456789x\r", "0123456789xxxxxxxxx\r"};
    for (int i = 0; i < 3; i++) {
        int p[2];
        dgm_line line;
        assert_int_equal(pipe(p), 0);
        dgm_lines *l = open_fd(p[0], 10);
        put(p[1], first[i]);
        assert_int_equal(dgm_lines_poll(l, &line, 0), DGM_LINES_AGAIN);
        put(p[1], "\nend\n");
        assert_int_equal(dgm_lines_poll(l, &line, 0), DGM_LINES_LINE);
        assert_int_equal(line.state, i == 0 ? DGM_LINE_OK : DGM_LINE_TOO_LONG);
        assert_int_equal(line.n_bytes, strlen(first[i]) - 1);
        assert_string_equal(line.text, i == 0 ? "0123456789" : "");
        assert_int_equal(line.offset, strlen(first[i]) + 1);
        assert_int_equal(dgm_lines_poll(l, &line, 0), DGM_LINES_LINE);
        assert_string_equal(line.text, "end");
        dgm_lines_close(l);
        (void)close(p[0]);
        (void)close(p[1]);
    }
}

/* The first line is not held back until it is known to be no byte order mark. */
static void test_first_line_at_once(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe(p), 0);
    dgm_lines *l = open_fd(p[0], MAX);
    dgm_line line;
    put(p[1], "\n");
    assert_int_equal(dgm_lines_poll(l, &line, 0), DGM_LINES_LINE);
    assert_int_equal(line.len, 0);
    dgm_lines_close(l);
    (void)close(p[0]);
    (void)close(p[1]);
}

static void on_alarm(int signal)
{
    (void)signal;
}

/* A signal ends the wait, so that whoever asked can look at its flags. */
static void test_signal(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe(p), 0);
    dgm_lines *l = open_fd(p[0], MAX);
    dgm_line line;
    const struct sigaction action = {.sa_handler = on_alarm};
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    const struct itimerval soon = {.it_value.tv_usec = 20000, .it_interval.tv_usec = 20000};
    const struct itimerval never = {0};
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    assert_int_equal(dgm_lines_poll(l, &line, -1), DGM_LINES_AGAIN);
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    dgm_lines_close(l);
    (void)close(p[0]);
    (void)close(p[1]);
}

static void test_unreadable(void **state)
{
    (void)state;
    dgm_line line;
    const int dir = open("/tmp", O_RDONLY);
    assert_true(dir >= 0);
    dgm_lines *l = open_fd(dir, MAX);
    assert_int_equal(get(l, &line), DGM_EINPUT);
    assert_non_null(strstr(dgm_error_text(), "cannot read test"));
    dgm_lines_close(l);
    (void)close(dir);
    l = open_fd(dir, MAX); /* closed by now */
    assert_int_equal(get(l, &line), DGM_EINPUT);
    dgm_lines_close(l);
    dgm_lines_close(NULL);
}

/* Many lines of many lengths, so that buffers move and grow; each says what it should be. */
static void test_many_lines(void **state)
{
    (void)state;
    char path[] = "/tmp/dgm_lines_XXXXXX";
    FILE *f = fdopen(mkstemp(path), "w+");
    assert_non_null(f);
    assert_int_equal(unlink(path), 0);
    enum { N = 3000 };
    for (int i = 0; i < N; i++)
        (void)fprintf(f, "%0*d%s", 1 + i * 7919 % (i % 50 == 0 ? 60000 : 200), i,
                      i % 3 == 0 ? "\r\n" : "\n");
    assert_int_equal(fflush(f), 0);
    rewind(f);
    dgm_lines *l = open_fd(fileno(f), MAX);
    dgm_line line;
    for (int i = 0; i < N; i++) {
        assert_int_equal(get(l, &line), DGM_LINES_LINE);
        const int want = 1 + i * 7919 % (i % 50 == 0 ? 60000 : 200),
                  digits = snprintf(NULL, 0, "%d", i);
        assert_int_equal(line.len, want > digits ? want : digits);
        assert_int_equal(atoi(line.text), i);
    }
    assert_int_equal(get(l, &line), DGM_LINES_END);
    dgm_lines_close(l);
    (void)fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newlines),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_half_mark),
        cmocka_unit_test(test_bad_bytes),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_long_last_line),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_pieces_at_limit),
        cmocka_unit_test(test_first_line_at_once),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_many_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What log lines look like: text, and JSON that stays JSON whatever is quoted in it. */
#include "base/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char said[32768];

/* begin, end - what is said between them lands in `said`. */
static FILE *file;
static int before;

static void begin(void)
{
    file = tmpfile();
    assert_non_null(file);
    before = dup(STDERR_FILENO);
    assert_true(before >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
}

static const char *end(void)
{
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
    rewind(file);
    said[fread(said, 1, sizeof said - 1, file)] = '\0';
    (void)fclose(file);
    dgm_log_as_json(false);
    return said;
}

static void ends_with(const char *text, const char *want)
{
    const size_t n = strlen(text), k = strlen(want);
    assert_true(n >= k);
    assert_string_equal(text + n - k, want);
}

static void a_line_is_one_line(void **state)
{
    (void)state;
    dgm_log_init(DGM_LOG_INFO, 0, 4);
    begin();
    dgm_log(DGM_LOG_INFO, "serve", "language '%s' is unknown",
            "x\n00:00:00 error 0/4 serve lies\x7f");
    dgm_log(DGM_LOG_DEBUG, "serve", "not at this level");
    const char *line = end();
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    ends_with(line, " info 0/4 serve language 'x 00:00:00 error 0/4 serve lies ' is unknown\n");
}

static void a_request_is_named(void **state)
{
    (void)state;
    dgm_log_init(DGM_LOG_INFO, 0, 1);
    begin();
    dgm_log_of(DGM_LOG_INFO, "serve", (dgm_log_id){.connection = 3}, "closed");
    ends_with(end(), " info 0/1 serve connection 3: closed\n");
    begin();
    dgm_log_of(DGM_LOG_INFO, "serve", (dgm_log_id){3, 17}, "busy");
    ends_with(end(), " info 0/1 serve connection 3 request 17: busy\n");
    begin();
    dgm_log_as_json(true);
    dgm_log_of(DGM_LOG_WARN, "serve", (dgm_log_id){3, 17}, "busy");
    ends_with(end(),
              "Z\",\"level\":\"warn\",\"rank\":0,\"ranks\":1,\"module\":\"serve\",\"connection\":3,"
              "\"request\":17,\"words\":\"busy\"}\n");
}

static void escapes(const char *text, const char *want)
{
    char out[256];
    assert_int_equal(dgm_log_escape(out, sizeof out, text), strlen(want));
    assert_string_equal(out, want);
}

static void what_is_quoted_stays_json(void **state)
{
    (void)state;
    escapes("a \"b\" \\ c\n\x1f\x7f", "a \\\"b\\\" \\\\ c\\u000a\\u001f\\u007f");
    escapes("\xc3\xa4 \xe2\x98\x83 \xf0\x9f\x90\xb6", "\xc3\xa4 \xe2\x98\x83 \xf0\x9f\x90\xb6");
    escapes("\xff\x80 \xc3 x \xe2\x98", "\\ufffd\\ufffd \\ufffd x \\ufffd\\ufffd"); /* cut, alone */
    escapes("\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"); /* a surrogate */
    escapes("\xc0\xaf", "\\ufffd\\ufffd");            /* overlong */
    char few[8];
    assert_int_equal(dgm_log_escape(few, sizeof few, "ab\n\n"), 2 + 0); /* no half of an escape */
    assert_string_equal(few, "ab");
}

static void a_long_line_ends_well(void **state)
{
    (void)state;
    static char text[5000];
    memset(text, '\1', sizeof text - 1);
    dgm_log_init(DGM_LOG_INFO, 0, 1);
    begin();
    dgm_log_as_json(true);
    dgm_log(DGM_LOG_INFO, "serve", "%s", text);
    const char *line = end();
    assert_int_equal(strspn(strstr(line, "\\u0001"), "\\u01") / 6, 2047);
    ends_with(line, "\\u0001\"}\n");
}

/* fill - all that goes into a pipe of one's own; *from reads it. */
static int fill(int *from)
{
    static const char zeros[4096];
    int ends[2], n = 0;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    while (write(ends[1], zeros, sizeof zeros) > 0)
        n++;
    assert_true(n > 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    before = dup(STDERR_FILENO);
    assert_true(before >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    (void)close(ends[1]);
    *from = ends[0];
    return n;
}

static void nobody_waits_for_who_reads_nothing(void **state)
{
    static char text[3000], zeros[4096];
    int from, pages;
    (void)state;
    memset(text, '\1', sizeof text - 1);
    pages = fill(&from);
    dgm_log_init(DGM_LOG_INFO, 0, 1);
    dgm_log_never_wait();
    (void)alarm(60); /* it would wait for ever */
    for (int i = 0; i < 3; i++)
        dgm_log(DGM_LOG_INFO, "serve", "lost %d", i);
    dgm_log_failure("lost too");
    (void)alarm(0);
    assert_int_equal(dgm_log_lost(), 4);
    for (int i = 0; i < pages; i++)
        assert_int_equal(read(from, zeros, sizeof zeros), sizeof zeros);
    dgm_log(DGM_LOG_INFO, "serve", "heard");
    ssize_t n = read(from, said, sizeof said - 1);
    said[n] = '\0';
    assert_non_null(
        strstr(said, " warn 0/1 log 4 messages were not written: nobody reads the log\n"));
    ends_with(said, " info 0/1 serve heard\n");
    dgm_log_as_json(true);
    dgm_log(DGM_LOG_INFO, "serve", "%s", text); /* no more than is written at once */
    dgm_log_as_json(false);
    n = read(from, said, sizeof said - 1);
    assert_true(n > 4000 && n <= 4096);
    said[n] = '\0';
    ends_with(said, "\\u0001\"}\n");
    assert_int_equal(dgm_log_lost(), 4);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
    (void)close(from);
}

static void the_last_word_is_said_in_both(void **state)
{
    (void)state;
    begin();
    dgm_log_failure("no \"such\" model");
    assert_string_equal(end(), "dragoman: no \"such\" model\n");
    begin();
    dgm_log_as_json(true);
    dgm_log_failure("no \"such\" model");
    ends_with(end(), "\"module\":\"end\",\"words\":\"no \\\"such\\\" model\"}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_one_line),
        cmocka_unit_test(a_request_is_named),
        cmocka_unit_test(what_is_quoted_stays_json),
        cmocka_unit_test(a_long_line_ends_well),
        cmocka_unit_test(the_last_word_is_said_in_both),
        cmocka_unit_test(nobody_waits_for_who_reads_nothing), /* and so it stays */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

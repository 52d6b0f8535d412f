/* Every way in which an option can be given, and every way in which that can go wrong. */
#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct target {
    int beam, ranks;
    uint64_t seed;
    float penalty;
    bool strict;
    const char *model, *isa, *text;
} target;

enum { TRANSLATE = 1, INSPECT = 2 };

#define AT(f) offsetof(target, f)
static const dgm_opt rows[] = {
    {"beam-size", 'b', "Decoding", DGM_OPT_INT, AT(beam), "4", 1, 128, NULL, "N", TRANSLATE,
     DGM_OPT_RESULT | DGM_OPT_JOB, "hypotheses", "slow when large"},
    {"seed", 0, "Decoding", DGM_OPT_U64, AT(seed), "0", 0, 0, NULL, "N", TRANSLATE, DGM_OPT_RESULT,
     "of sampling", NULL},
    {"penalty", 0, "Decoding", DGM_OPT_FLOAT, AT(penalty), "1", -10, 10, NULL, "X", TRANSLATE,
     DGM_OPT_RESULT, "exponent", NULL},
    {"strict", 0, "General", DGM_OPT_BOOL, AT(strict), "false", 0, 0, NULL, "", TRANSLATE, 0,
     "stop early", NULL},
    {"model", 'm', "General", DGM_OPT_TEXT, AT(model), "", 0, 0, NULL, "DIR", TRANSLATE | INSPECT,
     0, "directory", NULL},
    {"isa", 0, "General", DGM_OPT_CHOICE, AT(isa), "auto", 0, 0, "auto|ref|avx2", "WHICH",
     TRANSLATE, 0, "instruction set", NULL},
    {"ranks", 'n', "General", DGM_OPT_INT, AT(ranks), "1", 1, 100, NULL, "N", INSPECT, 0, "ranks",
     NULL},
    {"comm-stall-ms", 0, "General", DGM_OPT_INT, AT(ranks), "5", 1, 100, NULL, "MS", TRANSLATE,
     DGM_OPT_NOT_IN_FILE, "never in a file", NULL},
    {"text", 'i', "General", DGM_OPT_TEXT, AT(text), "", 0, 0, NULL, "FILE", TRANSLATE,
     DGM_OPT_LIST | DGM_OPT_JOB, "texts", NULL},
};
static const char *const commands[] = {"translate", "inspect"};

typedef struct fixture {
    target t;
    dgm_config *c;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    return dgm_config_create(&f->c, rows, sizeof rows / sizeof rows[0], commands, 2, &f->t);
}

static int teardown(void **state)
{
    fixture *f = *state;
    dgm_config_destroy(f->c);
    free(f);
    return 0;
}

/* flags - `words` [n] as they would stand on the command line. */
static int flags(fixture *f, int command, const char *const *words)
{
    char *argv[16];
    int n = 0;
    for (; words[n] != NULL; n++)
        argv[n] = (char *)words[n];
    return dgm_config_flags(f->c, command, n, argv);
}

#define FLAGS(f, ...) flags(f, 0, (const char *const[]){__VA_ARGS__, NULL})

static void expect(int rc, int want, const char *part)
{
    assert_int_equal(rc, want);
    if (strstr(dgm_error_text(), part) == NULL)
        fail_msg("'%s' is not in '%s'", part, dgm_error_text());
}

static void test_defaults(void **state)
{
    const fixture *f = *state;
    assert_int_equal(f->t.beam, 4);
    assert_int_equal(f->t.seed, 0);
    assert_true(f->t.penalty == 1.0f);
    assert_false(f->t.strict);
    assert_string_equal(f->t.model, "");
    assert_string_equal(f->t.isa, "auto");
    assert_int_equal(dgm_config_origin(f->c, "beam-size"), DGM_FROM_DEFAULT);
}

static void test_flags(void **state)
{
    fixture *f = *state;
    int n;
    assert_int_equal(FLAGS(f, "--beam-size", "7", "-m/x", "one", "--penalty=-0.5", "--strict",
                           "--seed", "18446744073709551615", "--", "--two"),
                     DGM_OK);
    assert_int_equal(f->t.beam, 7);
    assert_string_equal(f->t.model, "/x");
    assert_true(f->t.penalty == -0.5f);
    assert_true(f->t.strict);
    assert_true(f->t.seed == UINT64_MAX);
    assert_int_equal(dgm_config_origin(f->c, "beam-size"), DGM_FROM_FLAG);
    const char *const *args = dgm_config_args(f->c, &n);
    assert_int_equal(n, 2);
    assert_string_equal(args[0], "one");
    assert_string_equal(args[1], "--two");
}

static void test_last_flag_wins(void **state)
{
    fixture *f = *state;
    assert_int_equal(FLAGS(f, "-b", "7", "-b8", "--strict", "--no-strict", "--model", "-"), DGM_OK);
    assert_int_equal(f->t.beam, 8);
    assert_false(f->t.strict);
    assert_string_equal(f->t.model, "-");
}

/* All of them count, for the hash of a job too; weaker origins give one. */
static void test_list(void **state)
{
    fixture *f = *state;
    int n;
    const char *const *list = dgm_config_list(f->c, "text", &n);
    assert_int_equal(n, 1);
    assert_string_equal(list[0], "");
    char *env[] = {"DGM_TEXT=env", NULL};
    assert_int_equal(dgm_config_environment(f->c, 0, env), DGM_OK);
    assert_string_equal(dgm_config_list(f->c, "text", &n)[0], "env");
    assert_int_equal(n, 1);
    assert_int_equal(FLAGS(f, "-i", "a", "--text", "b"), DGM_OK);
    list = dgm_config_list(f->c, "text", &n);
    assert_int_equal(n, 2);
    assert_string_equal(list[0], "a");
    assert_string_equal(list[1], "b");
    assert_string_equal(f->t.text, "b");
    const uint64_t both = dgm_config_hash(f->c, DGM_OPT_JOB);
    assert_int_equal(dgm_config_environment(f->c, 0, env), DGM_OK); /* a flag is stronger */
    assert_int_equal(dgm_config_hash(f->c, DGM_OPT_JOB), both);
    assert_int_equal(FLAGS(f, "-i", "b"), DGM_OK);
    assert_int_not_equal(dgm_config_hash(f->c, DGM_OPT_JOB), both);
}

static void test_switch_takes_true_and_false(void **state)
{
    fixture *f = *state;
    int n;
    assert_int_equal(FLAGS(f, "--strict", "true", "x"), DGM_OK);
    assert_true(f->t.strict);
    (void)dgm_config_args(f->c, &n);
    assert_int_equal(n, 1);
    expect(FLAGS(f, "--strict=maybe"), DGM_EUSAGE, "--strict: want true or false, found 'maybe'");
    expect(FLAGS(f, "--no-strict=1"), DGM_EUSAGE, "takes no value");
}

static void test_bad_numbers(void **state)
{
    fixture *f = *state;
    static const char *const bad[] = {
        "4x", "x4", "", " 4", "+4", "0", "129", "4.0", "0x4", "1e1", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char word[64];
        (void)snprintf(word, sizeof word, "--beam-size=%s", bad[i]);
        expect(FLAGS(f, word), DGM_EUSAGE,
               "--beam-size: want a whole number from 1 to 128, found '");
    }
    static const char *const bad_float[] = {"1,5", "nan",  "inf",   "1.5x", "",
                                            "11",  "-1e9", "0x1p1", " 1"};
    for (size_t i = 0; i < sizeof bad_float / sizeof bad_float[0]; i++) {
        char word[64];
        (void)snprintf(word, sizeof word, "--penalty=%s", bad_float[i]);
        expect(FLAGS(f, word), DGM_EUSAGE, "--penalty: want a number from -10 to 10, found '");
    }
    expect(FLAGS(f, "--seed=-1"), DGM_EUSAGE, "--seed: want a whole number from 0 to");
    expect(FLAGS(f, "--seed=18446744073709551616"), DGM_EUSAGE, "--seed: want");
    assert_int_equal(f->t.beam, 4);
    assert_true(f->t.penalty == 1.0f);
}

static void test_unknown(void **state)
{
    fixture *f = *state;
    expect(FLAGS(f, "--beam-sise", "4"), DGM_EUSAGE, "did you mean --beam-size?");
    expect(FLAGS(f, "--beam_size", "4"), DGM_EUSAGE, "did you mean --beam-size?");
    expect(FLAGS(f, "--beam", "4"), DGM_EUSAGE, "did you mean --beam-size?");
    expect(FLAGS(f, "--xyzzy"), DGM_EUSAGE, "--xyzzy: no such option");
    assert_null(strstr(dgm_error_text(), "did you mean"));
    expect(FLAGS(f, "-q"), DGM_EUSAGE, "-q: no such option of translate");
    expect(FLAGS(f, "--ranks", "2"), DGM_EUSAGE,
           "--ranks: not an option of translate, but of inspect");
    expect(FLAGS(f, "-n2"), DGM_EUSAGE, "no such option of translate");
    assert_int_equal(flags(f, 1, (const char *const[]){"-n2", NULL}), DGM_OK);
    assert_int_equal(f->t.ranks, 2);
}

static void test_missing_value(void **state)
{
    fixture *f = *state;
    expect(FLAGS(f, "--beam-size"), DGM_EUSAGE, "want a value (N) after it, found nothing");
    expect(FLAGS(f, "--beam-size", "--strict"), DGM_EUSAGE, "found --strict");
    expect(FLAGS(f, "-m", "-b"), DGM_EUSAGE, "found -b");
    assert_int_equal(FLAGS(f, "--penalty", "-2"), DGM_OK); /* a number is no option */
    assert_true(f->t.penalty == -2.0f);
}

static void test_choices(void **state)
{
    fixture *f = *state;
    expect(FLAGS(f, "--isa", "sse"), DGM_EUSAGE, "--isa: want auto, ref or avx2, found 'sse'");
    expect(FLAGS(f, "--isa", "ref|avx2"), DGM_EUSAGE, "found 'ref|avx2'");
    assert_int_equal(FLAGS(f, "--isa", "avx2"), DGM_OK);
    assert_string_equal(f->t.isa, "avx2");
}

/* file - writes `text` to a file and reads it as a configuration. */
static int file(fixture *f, const char *text)
{
    char path[] = "/tmp/dgm_config_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
    const int rc = dgm_config_file(f->c, path);
    (void)unlink(path);
    return rc;
}

static void test_file(void **state)
{
    fixture *f = *state;
    assert_int_equal(file(f, "# all\n\n beam_size = 6 # six\r\nmodel = /a b#c\nranks=3"), DGM_OK);
    assert_int_equal(f->t.beam, 6);
    assert_string_equal(f->t.model, "/a b#c");
    assert_int_equal(f->t.ranks, 3); /* another command's key is checked and kept */
    assert_int_equal(dgm_config_origin(f->c, "beam-size"), DGM_FROM_FILE);
}

static void test_bad_file(void **state)
{
    fixture *f = *state;
    expect(file(f, "beam-size 6\n"), DGM_EUSAGE, "line 1: want 'key = value', found 'beam-size 6'");
    expect(file(f, "\nbeam-sise = 6\n"), DGM_EUSAGE, "did you mean beam-size?");
    expect(file(f, "\n\nbeam.size = 6x\n"), DGM_EUSAGE, "line 3: beam.size: want a whole number");
    expect(file(f, "beam-size = 6\nbeam_size = 6\n"), DGM_EUSAGE, "line 2: beam_size: given twice");
    expect(file(f, "comm.stall_ms = 6\n"), DGM_EUSAGE, "only a flag");
    expect(dgm_config_file(f->c, "/nonexistent/x.conf"), DGM_EUSAGE, "No such file");
    expect(dgm_config_file(f->c, "/tmp"), DGM_EUSAGE, "/tmp");
    char *line = calloc(1, 5000);
    memset(line, 'x', 4999);
    expect(file(f, line), DGM_EUSAGE, "want at most");
    free(line);
}

static void test_strongest_origin_wins(void **state)
{
    fixture *f = *state;
    char *env[] = {"DGM_BEAM_SIZE=9", "DGM_ISA=ref", "DGM_SEED=", "DGM_RANKS=zzz", "HOME=/", NULL};
    assert_int_equal(FLAGS(f, "--beam-size", "7"), DGM_OK);
    assert_int_equal(dgm_config_environment(f->c, 0, env), DGM_OK);
    assert_int_equal(file(f, "beam-size = 6\nisa = avx2\nseed = 5\n"), DGM_OK);
    assert_int_equal(f->t.beam, 7);
    assert_string_equal(f->t.isa, "ref");
    assert_int_equal(f->t.seed, 5); /* an empty variable says nothing */
    assert_int_equal(dgm_config_origin(f->c, "isa"), DGM_FROM_ENVIRONMENT);
    /* a value that is outvoted must still make sense */
    expect(file(f, "beam-size = 600\n"), DGM_EUSAGE, "beam-size: want");
    env[0] = "DGM_BEAM_SIZE=9x";
    expect(dgm_config_environment(f->c, 0, env), DGM_EUSAGE, "DGM_BEAM_SIZE: want");
}

static void test_hash(void **state)
{
    fixture *f = *state;
    const uint64_t results = dgm_config_hash(f->c, DGM_OPT_RESULT),
                   job = dgm_config_hash(f->c, DGM_OPT_JOB);
    assert_int_equal(FLAGS(f, "--isa", "ref", "--strict"), DGM_OK);
    assert_true(dgm_config_hash(f->c, DGM_OPT_RESULT) == results);
    assert_int_equal(FLAGS(f, "--penalty", "1.0"), DGM_OK); /* another spelling of the same */
    assert_true(dgm_config_hash(f->c, DGM_OPT_RESULT) == results);
    assert_int_equal(FLAGS(f, "--seed", "1"), DGM_OK);
    assert_true(dgm_config_hash(f->c, DGM_OPT_RESULT) != results);
    assert_true(dgm_config_hash(f->c, DGM_OPT_JOB) == job);
}

typedef void (*printer)(FILE *f, const dgm_config *c, int command);

static char *print(const fixture *f, printer p, int command)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    p(out, f->c, command);
    (void)fclose(out);
    return text;
}

static void test_printed_values_can_be_read(void **state)
{
    fixture *f = *state;
    assert_int_equal(FLAGS(f, "--penalty", "0.1", "--seed", "3", "-m", "/x"), DGM_OK);
    char *text = print(f, dgm_config_print_values, 0);
    assert_non_null(strstr(text, "# flag\n"));
    assert_non_null(strstr(text, "# default\n"));
    assert_null(strstr(text, "comm-stall-ms"));
    fixture again = {0};
    assert_int_equal(
        dgm_config_create(&again.c, rows, sizeof rows / sizeof rows[0], commands, 2, &again.t),
        DGM_OK);
    assert_int_equal(file(&again, text), DGM_OK);
    assert_true(again.t.penalty == f->t.penalty);
    assert_int_equal(again.t.seed, 3);
    assert_string_equal(again.t.model, "/x");
    assert_true(dgm_config_hash(again.c, DGM_OPT_RESULT) == dgm_config_hash(f->c, DGM_OPT_RESULT));
    dgm_config_destroy(again.c);
    free(text);
}

static void test_help(void **state)
{
    const fixture *f = *state;
    char *text = print(f, dgm_config_print_help, 0);
    assert_non_null(strstr(text, "-b, --beam-size N"));
    assert_non_null(strstr(text, "(1 to 128; default 4)"));
    assert_null(strstr(text, "--ranks"));
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        assert_true(strcspn(line, "\n") <= 100);
    }
    free(text);
}

static void test_near_name(void **state)
{
    static const char *const names[] = {"translate", "score", "languages"};
    (void)state;
    assert_string_equal(dgm_near_name("translat", names, 3), "translate");
    assert_string_equal(dgm_near_name("tranlsate", names, 3), "translate");
    assert_string_equal(dgm_near_name("lang", names, 3), "languages");
    assert_string_equal(dgm_near_name("scroe", names, 3), "score");
    assert_null(dgm_near_name("bench", names, 3));
    assert_null(dgm_near_name("", names, 3));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(defaults),
        TEST(flags),
        TEST(last_flag_wins),
        TEST(list),
        TEST(switch_takes_true_and_false),
        TEST(bad_numbers),
        TEST(unknown),
        TEST(missing_value),
        TEST(choices),
        TEST(file),
        TEST(bad_file),
        TEST(strongest_origin_wins),
        TEST(hash),
        TEST(printed_values_can_be_read),
        TEST(help),
        TEST(near_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

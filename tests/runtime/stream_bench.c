#include "tests/runtime/stream_bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static dgm_tokenizer *the_tokenizer;

int bench_open_tokenizer(void **state)
{
    (void)state;
    const int rc = dgm_tokenizer_open(&the_tokenizer, "models/multi30k-token", 6206);
    if (rc != DGM_OK)
        print_error("%s\n", dgm_error_text());
    return rc;
}

int bench_close_tokenizer(void **state)
{
    (void)state;
    dgm_tokenizer_close(the_tokenizer);
    return 0;
}

int bench_setup(void **state)
{
    bench *b = calloc(1, sizeof *b);
    *state = b;
    (void)snprintf(b->dir, sizeof b->dir, "/tmp/dgm_stream_XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    b->tok = the_tokenizer;
    b->engine = malloc(sizeof *b->engine);
    fake_engine_init(b->engine);
    b->engine->stop = &b->stop;
    b->targets[0] = (dgm_stream_target){.lang = "deu_Latn"};
    b->targets[1] = (dgm_stream_target){.lang = "zho_Hans"};
    for (int i = 0; i < 2; i++)
        assert_int_equal(dgm_tok_lang(b->tok, &b->targets[i].code, b->targets[i].lang), DGM_OK);
    b->cfg = (dgm_stream_config){
        .engine = b->engine,
        .tok = b->tok,
        .source = {.tok = b->tok, .lang = "eng_Latn", .max_ids = 200},
        .targets = b->targets,
        .n_targets = 1,
        .start_id = 2,
        .eos_id = 2,
        .max_target = 200,
        .decode = {.beam = 4, .n_best = 1, .max_length = 200, .eos_id = 2, .token_scores = 1},
        .input_fd = -1,
        .beside_fd = -1,
        .outputs = b->outputs,
        .n_outputs = 1,
        .job = 77,
        .stop = &b->stop};
    assert_int_equal(dgm_tok_lang(b->tok, &b->cfg.source.code, "eng_Latn"), DGM_OK);
    return 0;
}

static void close_files(bench *b)
{
    dgm_lines_close(b->cfg.input);
    dgm_lines_close(b->cfg.beside);
    for (int i = 0; i < b->cfg.n_outputs; i++)
        dgm_writer_close(b->outputs[i]);
    if (b->cfg.input_fd > 2)
        (void)close(b->cfg.input_fd);
    if (b->cfg.beside_fd > 2)
        (void)close(b->cfg.beside_fd);
    b->cfg.input = b->cfg.beside = NULL;
    b->cfg.input_fd = b->cfg.beside_fd = -1;
    memset(b->outputs, 0, sizeof b->outputs);
}

int bench_teardown(void **state)
{
    bench *b = *state;
    char command[128];
    close_files(b);
    free(b->engine);
    (void)snprintf(command, sizeof command, "rm -rf %s", b->dir);
    const int rc = system(command);
    free(b);
    return rc;
}

static const char *path_of(const bench *b, const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", b->dir, name);
    return path;
}

const char *bench_file(bench *b, const char *name, const char *text, size_t len)
{
    const char *path = path_of(b, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return path;
}

char *bench_read(bench *b, const char *name)
{
    FILE *f = fopen(path_of(b, name), "r");
    char *text = NULL;
    size_t cap = 0;
    if (f == NULL)
        return NULL;
    const ssize_t n = getdelim(&text, &cap, '\0', f);
    if (n < 0) /* an empty file */
        text = realloc(text, 1), text[0] = '\0';
    (void)fclose(f);
    return text;
}

static void open_text(dgm_lines **lines, int *fd, const char *path, const char *name)
{
    *fd = open(path, O_RDONLY);
    assert_true(*fd >= 0);
    assert_int_equal(dgm_lines_open(lines, *fd, name, DGM_STREAM_MAX_LINE_BYTES), DGM_OK);
}

void bench_input(bench *b, const char *text, size_t len)
{
    open_text(&b->cfg.input, &b->cfg.input_fd, bench_file(b, "in", text, len), "in");
    b->cfg.input_name = "in";
}

void bench_beside(bench *b, const char *text)
{
    open_text(&b->cfg.beside, &b->cfg.beside_fd, bench_file(b, "beside", text, strlen(text)),
              "beside");
    b->cfg.beside_name = "beside";
}

int bench_run(bench *b)
{
    if (b->outputs[0] == NULL)
        assert_int_equal(dgm_writer_open(&b->outputs[0], path_of(b, "out")), DGM_OK);
    const int rc = dgm_stream_run(&b->totals, &b->cfg);
    char why[512];
    (void)snprintf(why, sizeof why, "%s", dgm_error_text());
    close_files(b);
    (void)dgm_fail(rc, "%s", why);
    return rc;
}

void bench_discard(bench *b)
{
    (void)unlink(path_of(b, "out.part"));
    (void)unlink(path_of(b, "out.part.state"));
}

void bench_expect(bench *b, const char *text, const char *want)
{
    bench_input(b, text, strlen(text));
    const int rc = bench_run(b);
    if (rc != DGM_OK)
        fail_msg("%s", dgm_error_text());
    char *got = bench_read(b, "out");
    assert_non_null(got);
    assert_string_equal(got, want);
    free(got);
}

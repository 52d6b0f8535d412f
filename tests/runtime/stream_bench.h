/* stream_bench.h - a stream set up on the fake engine and files of a temporary folder: what its tests share. */
#ifndef DGM_TESTS_STREAM_BENCH_H
#define DGM_TESTS_STREAM_BENCH_H

#include "runtime/stream.h"
#include "tests/runtime/fake_engine.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct bench {
    char dir[64];
    dgm_tokenizer *tok;
    dgm_engine *engine;
    dgm_stream_target targets[2]; /* deu_Latn, zho_Hans */
    dgm_writer *outputs[2];
    volatile sig_atomic_t stop;
    dgm_stream_config cfg;
    dgm_stream_totals totals;
} bench;

/* Group: one tokenizer for all tests, of the demonstration model. */
int bench_open_tokenizer(void **state);
int bench_close_tokenizer(void **state);
/* Each test: *state is a fresh bench. Input, output and so on are chosen by the functions below. */
int bench_setup(void **state);
int bench_teardown(void **state);

/* bench_file - writes `text` [len] to a file of the folder; its path lives until the next call. */
const char *bench_file(bench *b, const char *name, const char *text, size_t len);
/* bench_read - the whole file, malloc'ed, NUL behind; NULL when it is not there. */
char *bench_read(bench *b, const char *name);

void bench_input(bench *b, const char *text, size_t len);
void bench_beside(bench *b, const char *text);
/* bench_run - opens output "out" (again), runs, closes all files. */
int bench_run(bench *b);
/* bench_discard - removes what a run that failed has left of "out". */
void bench_discard(bench *b);
/* bench_expect - runs input `text` and compares the output. */
void bench_expect(bench *b, const char *text, const char *want);

#endif

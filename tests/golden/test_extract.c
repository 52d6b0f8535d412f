/*
 * test_extract.c MODEL SOURCE TARGET - the sub-network of one direction's task: its logits are those of the whole model to the
 * bit, and folded they are within 1e-5 of the largest of the row.
 */
#define _GNU_SOURCE
#include "runtime/decoder.h"
#include "runtime/encoder.h"
#include "runtime/extract.h"
#include "runtime/moe.h"
#include "tests/golden/golden_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One sentence, and a translation as given, both of ids that mean nothing. */
enum { N_SOURCE = 23, N_TARGET = 31, MAX_WIDTH = 1024 };
static const float tolerance = 1e-5f;

static const char *model_dir, *source, *target;

static void check(int rc)
{
    if (rc != DGM_OK)
        fail_msg("%s", dgm_error_text());
}

/* A model at work on its one sentence. */
typedef struct run {
    golden_model g;
    dgm_forward f;
    dgm_arena step;
    dgm_kvcache kv;
    int32_t tasks[N_TARGET], sentences[N_TARGET];
    const float *means[N_TARGET];
    float mean[MAX_WIDTH];
} run;

static void open_run(run *r, const char *dir)
{
    *r = (run){0};
    check(golden_model_open(&r->g, dir));
    const dgm_model *m = r->g.model;
    int task;
    assert_true(m->cfg.d_model <= MAX_WIDTH);
    check(dgm_arena_init(
        &r->step, dgm_encoder_scratch_bytes(m, N_TARGET) +
                      dgm_block_scratch_bytes(m, N_TARGET, N_TARGET, 2) +
                      dgm_decoder_scratch_bytes(m, N_TARGET, N_TARGET, N_TARGET, N_TARGET, 1, 2) +
                      (1U << 20)));
    check(dgm_kvcache_init(&r->kv, m, &(dgm_kv_limits){1, 1, 1, N_TARGET, N_TARGET}, false));
    check(dgm_tasks_find(&task, &m->tasks, source, target));
    r->f = (dgm_forward){.model = m,
                         .kern = &r->g.kern,
                         .pool = r->g.pool,
                         .comm = r->g.comm,
                         .step = &r->step,
                         .tasks = r->tasks,
                         .sentences = r->sentences,
                         .means = r->means};
    for (int i = 0; i < N_TARGET; i++) {
        r->tasks[i] = task;
        r->means[i] = r->mean;
    }
    if (dgm_config_most_experts(&m->cfg) > 0)
        check(dgm_moe_create(&r->f.moe, m, r->g.comm, N_TARGET, 2, DGM_COMPUTE_F32));
}

static void close_run(run *r)
{
    dgm_moe_destroy(r->f.moe);
    dgm_kvcache_fini(&r->kv);
    dgm_arena_fini(&r->step);
    golden_model_close(&r->g);
}

static int32_t id(int i)
{
    return 4 + (i * 7919 + 13) % 5900;
}

/* [N_TARGET, vocab] logits, malloc'ed. */
static float *logits_of(run *r)
{
    const dgm_model_config *c = &r->g.model->cfg;
    const size_t n = (size_t)c->vocab_size;
    int32_t ids[N_SOURCE], pos[N_SOURCE];
    const int32_t starts[2] = {0, N_SOURCE};
    float *memory = malloc((size_t)N_SOURCE * (size_t)c->d_model * sizeof *memory);
    float *logits = malloc(N_TARGET * n * sizeof *logits);
    dgm_vocab_row best[N_TARGET];
    dgm_decoder_row rows[N_TARGET];
    assert_non_null(memory);
    assert_non_null(logits);
    for (int i = 0; i < N_SOURCE; i++) {
        ids[i] = id(i);
        pos[i] = i;
    }
    const dgm_encoder_batch batch = {
        .n_seqs = 1, .n_tokens = N_SOURCE, .ids = ids, .pos = pos, .starts = starts};
    check(dgm_encoder_forward(&r->f, memory, &batch));
    dgm_moe_mean(r->mean, &r->f, memory, N_SOURCE);
    dgm_decoder_cross(&r->f, &r->kv, memory, starts, &(int){0}, 1);
    for (int i = 0; i < N_TARGET; i++) {
        best[i] = (dgm_vocab_row){.want_id = -1, .full = logits + (size_t)i * n};
        rows[i] = (dgm_decoder_row){
            .token = id(3 * i + 1), .pos = i, .n_source = N_SOURCE, .best = &best[i]};
    }
    check(dgm_decoder_step(&r->f, &r->kv, rows, N_TARGET));
    free(memory);
    return logits;
}

/* The largest of |a - b| / max |b| over the rows; a NaN fails. */
static float relative_error(const float *got, const float *want, size_t n)
{
    float worst = 0;
    for (size_t r = 0; r < N_TARGET; r++) {
        float error = 0, size = 0;
        for (size_t i = r * n; i < (r + 1) * n; i++) {
            assert_false(isnan(got[i]));
            error = fmaxf(error, fabsf(got[i] - want[i]));
            size = fmaxf(size, fabsf(want[i]));
        }
        worst = fmaxf(worst, error / size);
    }
    return worst;
}

static char *temporary(char *text)
{
    assert_non_null(mkdtemp(text));
    return text;
}

static void remove_dir(const char *dir)
{
    char command[512];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a folder of ours */
}

static void extract(const dgm_model *m, const char *dir, bool fold)
{
    dgm_extraction x;
    dgm_extract_report report;
    dgm_kernels kern;
    int task;
    check(dgm_kernels_select(&kern, NULL));
    check(dgm_tasks_find(&task, &m->tasks, source, target));
    check(dgm_extraction_init(&x, m, &task, 1, &kern));
    check(fold ? dgm_extract_fold(&report, &x, dir, NULL, NULL)
               : dgm_extract_write(&report, &x, dir, NULL, NULL));
    dgm_extraction_fini(&x);
    assert_true(report.bytes_after < report.bytes_before);
}

static void test_logits(void **state)
{
    (void)state;
    char parent[] = "/tmp/test_extract.XXXXXX", dir[64];
    run whole, part;
    (void)temporary(parent);
    open_run(&whole, model_dir);
    float *want = logits_of(&whole);
    const size_t n = (size_t)whole.g.model->cfg.vocab_size;
    for (int fold = 0; fold < 2; fold++) {
        (void)snprintf(dir, sizeof dir, "%s/%d", parent, fold);
        extract(whole.g.model, dir, fold != 0);
        open_run(&part, dir);
        float *got = logits_of(&part);
        const float error = relative_error(got, want, n);
        (void)printf("%s: within %.1e\n", fold ? "folded" : "extracted", (double)error);
        if (fold == 0)
            assert_memory_equal(got, want, N_TARGET * n * sizeof *got);
        else
            assert_true(error > 0 && error <= tolerance);
        free(got);
        close_run(&part);
    }
    free(want);
    close_run(&whole);
    remove_dir(parent);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        (void)fprintf(stderr, "usage: test_extract MODEL SOURCE TARGET\n");
        return EXIT_FAILURE;
    }
    model_dir = argv[1];
    source = argv[2];
    target = argv[3];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_logits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

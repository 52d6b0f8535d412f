/*
 * test_golden_tensors.c MODEL GOLDEN - encoder outputs and whole rows of logits against Hugging Face: for each row
 * max |a - b| <= 1e-4 max |b|.
 */
#include "runtime/decoder.h"
#include "runtime/encoder.h"
#include "runtime/moe.h"
#include "tests/golden/golden_file.h"
#include "tests/golden/golden_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_WIDTH = 1024, MAX_TOKENS = 128 };

static const float tolerance = 1e-4f;

static const char *model_dir, *golden_dir;
static golden data;
static golden_model loaded;
static dgm_forward f;
static dgm_arena step;
static dgm_kvcache kv;

static int set_up(void **state)
{
    (void)state;
    golden_open(&data, golden_dir);
    if (golden_model_open(&loaded, model_dir) != DGM_OK)
        goto err;
    const dgm_model *m = loaded.model;
    const size_t bytes =
        dgm_encoder_scratch_bytes(m, MAX_TOKENS) +
        dgm_block_scratch_bytes(m, MAX_TOKENS, MAX_TOKENS, 2) +
        dgm_decoder_scratch_bytes(m, MAX_TOKENS, MAX_TOKENS, MAX_TOKENS, MAX_TOKENS, 1, 2) +
        (1U << 20);
    f = (dgm_forward){
        .model = m, .kern = &loaded.kern, .pool = loaded.pool, .comm = loaded.comm, .step = &step};
    if (dgm_arena_init(&step, bytes) != DGM_OK ||
        dgm_kvcache_init(&kv, m, &(dgm_kv_limits){1, 1, 1, MAX_TOKENS, MAX_TOKENS}, false) !=
            DGM_OK)
        goto err;
    if (dgm_config_most_experts(&m->cfg) > 0 &&
        dgm_moe_create(&f.moe, m, loaded.comm, MAX_TOKENS, 2, DGM_COMPUTE_F32) != DGM_OK)
        goto err;
    return 0;
err:
    (void)fprintf(stderr, "%s\n", dgm_error_text());
    return -1;
}

static int tear_down(void **state)
{
    (void)state;
    dgm_moe_destroy(f.moe);
    dgm_kvcache_fini(&kv);
    dgm_arena_fini(&step);
    golden_model_close(&loaded);
    golden_close(&data);
    return 0;
}

static void check(int rc)
{
    if (rc != DGM_OK)
        fail_msg("%s", dgm_error_text());
}

/* The largest of |a - b| / max |b| over the rows of a tensor; a NaN fails. */
static float relative_error(const golden_tensor *want, const float *got)
{
    float worst = 0;
    for (int r = 0; r < want->rows; r++) {
        float error = 0, size = 0;
        for (int c = 0; c < want->cols; c++) {
            const float a = got[(size_t)r * (size_t)want->cols + (size_t)c],
                        b = want->at[(size_t)r * (size_t)want->cols + (size_t)c];
            assert_false(isnan(a));
            error = fmaxf(error, fabsf(a - b));
            size = fmaxf(size, fabsf(b));
        }
        worst = fmaxf(worst, error / size);
    }
    return worst;
}

static void compare(const golden_tensor *want, const float *got)
{
    const float error = relative_error(want, got);
    (void)printf("%s %s-%s line %d step %d: [%d, %d] within %.1e\n", want->kind, want->src,
                 want->tgt, want->line, want->step, want->rows, want->cols, (double)error);
    if (!(error <= tolerance))
        fail_msg("want at most %.0e", (double)tolerance);
}

/* What rows are routed by, where the model asks for it: all are of one sentence. */
static int32_t tasks[MAX_TOKENS], sentences[MAX_TOKENS];
static const float *means[MAX_TOKENS];
static float mean[MAX_WIDTH];

static void set_routing(const golden_tensor *t)
{
    int task;
    check(dgm_tasks_find(&task, &loaded.model->tasks, t->src, t->tgt));
    for (int i = 0; i < MAX_TOKENS; i++) {
        tasks[i] = task;
        means[i] = mean;
    }
    f.tasks = tasks;
    f.sentences = sentences;
    f.means = means;
}

/* The encoder on one source; its keys and values go to the cross cache's slot 0. */
static void encode(float *memory, const golden_source *s)
{
    assert_true(s->ids.n <= MAX_TOKENS);
    int32_t pos[MAX_TOKENS];
    const int32_t starts[2] = {0, s->ids.n};
    for (int i = 0; i < s->ids.n; i++)
        pos[i] = i;
    const dgm_encoder_batch batch = {
        .n_seqs = 1, .n_tokens = s->ids.n, .ids = s->ids.at, .pos = pos, .starts = starts};
    check(dgm_encoder_forward(&f, memory, &batch));
    assert_true(loaded.model->cfg.d_model <= MAX_WIDTH);
    dgm_moe_mean(mean, &f, memory, s->ids.n);
    dgm_decoder_cross(&f, &kv, memory, starts, &(int){0}, 1);
}

static const golden_forced *find_forced(const golden_tensor *t)
{
    for (int i = 0; i < data.n_forced; i++)
        if (data.forced[i].line == t->line && strcmp(data.forced[i].src, t->src) == 0 &&
            strcmp(data.forced[i].tgt, t->tgt) == 0)
            return &data.forced[i];
    fail_msg("no forced entry for %s-%s line %d", t->src, t->tgt, t->line);
    return NULL;
}

/* Feeds [start, code, pieces up to the step] as one prompt; logits of its last row. */
static void decode(float *logits, const golden_tensor *t, int n_source)
{
    const golden_forced *given = find_forced(t);
    const int n = t->step + 2;
    assert_true(n <= MAX_TOKENS && n <= given->ids.n);
    dgm_vocab_row best = {.want_id = -1, .full = logits};
    dgm_decoder_row rows[MAX_TOKENS];
    for (int i = 0; i < n; i++)
        rows[i] = (dgm_decoder_row){.token = i == 0 ? 2 : given->ids.at[i - 1],
                                    .pos = i,
                                    .n_source = n_source,
                                    .best = i == n - 1 ? &best : NULL};
    check(dgm_decoder_step(&f, &kv, rows, n));
}

static void test_tensors(void **state)
{
    (void)state;
    const dgm_model_config *c = &loaded.model->cfg;
    float *memory = malloc((size_t)MAX_TOKENS * (size_t)c->d_model * sizeof *memory);
    float *logits = malloc((size_t)c->vocab_size * sizeof *logits);
    assert_non_null(memory);
    assert_non_null(logits);
    int n_encoder = 0, n_logits = 0;
    for (int i = 0; i < data.n_tensors; i++) {
        const golden_tensor *t = &data.tensors[i];
        const bool whole = strcmp(t->kind, "encoder") == 0;
        const golden_source *s = golden_find_source(&data, t->src, t->line);
        assert_non_null(s);
        assert_int_equal(t->cols, whole ? c->d_model : c->vocab_size);
        set_routing(t);
        encode(memory, s);
        if (!whole)
            decode(logits, t, s->ids.n);
        compare(t, whole ? memory : logits);
        n_encoder += whole;
        n_logits += !whole;
    }
    assert_int_equal(n_encoder, 4);
    assert_true(n_logits >= 8);
    free(memory);
    free(logits);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: test_golden_tensors MODEL GOLDEN\n");
        return EXIT_FAILURE;
    }
    model_dir = argv[1];
    golden_dir = argv[2];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tensors)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

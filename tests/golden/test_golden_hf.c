/*
 * test_golden_hf.c MODEL GOLDEN - the same ids and scores as Hugging Face, through the engine.
 *
 * Ids are equal. A difference is excused only where Hugging Face's own decision was closer than rounding can
 * tell: a margin below 1e-4 in log p, or a router whose 2nd and 3rd logits differ by less than 1e-5 of the largest.
 * Each excuse is printed and counted.
 */
#include "runtime/engine.h"
#include "tests/golden/golden_file.h"
#include "tests/golden/golden_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const float log_p_margin = 1e-4f, router_margin = 1e-5f, score_tolerance = 1e-4f;

static const char *model_dir, *golden_dir;
static golden data;
static golden_model loaded;
static dgm_engine *engine;

/* What a run over golden entries came to. */
typedef struct tally {
    const char *what;
    int compared, equal, excused, wrong;
    double worst_score; /* largest relative difference of a score */
} tally;

static void open_engine(int beam)
{
    const dgm_model_config *c = &loaded.model->cfg;
    const dgm_engine_config cfg = {.batch_tokens = 4096,
                                   .batch_rows = 1024,
                                   .max_source = c->max_source < 256 ? c->max_source : 256,
                                   .max_target = 200,
                                   .max_beam = beam,
                                   .max_targets = 1,
                                   .prompt_rows = 64};
    if (dgm_engine_open(&engine, &cfg, loaded.model, &loaded.kern, loaded.pool, loaded.comm) !=
        DGM_OK)
        fail_msg("%s", dgm_error_text());
}

static void close_engine(void)
{
    dgm_engine_close(engine);
    engine = NULL;
}

static int32_t code_of(const char *lang)
{
    /* Any golden sentence of that language begins with its code; target-only codes stand in the rows. */
    for (int i = 0; i < data.n_greedy; i++)
        if (strcmp(data.greedy[i].tgt, lang) == 0)
            return data.greedy[i].ids.at[0];
    fail_msg("no golden row has the target %s", lang);
    return -1;
}

static int task_of(const char *src, const char *tgt)
{
    int task;
    if (dgm_tasks_find(&task, &loaded.model->tasks, src, tgt) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    return task;
}

/* Takes what has finished: `take` gets each result with the entry that it belongs to. */
typedef void (*result_fn)(tally *t, const dgm_result *r);

static void poll_all(tally *t, result_fn take)
{
    dgm_result r;
    while (dgm_engine_poll(engine, &r)) {
        if (r.status != DGM_OK)
            fail_msg("entry %llu: %s", (unsigned long long)r.id, dgm_error_text());
        take(t, &r);
    }
}

static void step(tally *t, result_fn take)
{
    if (dgm_engine_step(engine) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    poll_all(t, take);
}

static void submit(tally *t, result_fn take, const dgm_job *job)
{
    int rc;
    while ((rc = dgm_engine_submit(engine, job)) == DGM_EBUSY)
        step(t, take);
    if (rc != DGM_OK)
        fail_msg("%s", dgm_error_text());
}

static void finish(tally *t, result_fn take)
{
    while (dgm_engine_pending(engine) > 0)
        step(t, take);
    (void)printf("%s: %d compared, %d equal, %d excused, %d wrong; scores within %.1e\n", t->what,
                 t->compared, t->equal, t->excused, t->wrong, t->worst_score);
    assert_int_equal(t->wrong, 0);
    assert_int_equal(t->compared, t->equal + t->excused);
}

/* ---- greedy and beam search ---- */

static const golden_row *rows;
static int n_rows;
static int n_beams;

static float least(const golden_floats *f, int from, int to)
{
    float m = INFINITY;
    for (int i = from < 0 ? 0 : from; i < to && i < f->n; i++)
        m = fminf(m, f->at[i]);
    return m;
}

static int first_difference(const golden_ids *want, const dgm_hypothesis *h)
{
    const int n = want->n < h->n ? want->n : h->n;
    for (int i = 0; i < n; i++)
        if (want->at[i] != h->ids[i])
            return i;
    return want->n == h->n ? -1 : n;
}

/*
 * Which margins could explain that token `at` differs? Greedy: that step's own, and the routers up to it. In a beam
 * the decision that dropped a hypothesis may have come later, and any row may have been routed otherwise.
 */
static bool is_excused(const golden_row *r, int at)
{
    const int n_given = r->prefix.n > 0 ? r->prefix.n + 1 : 0, step_at = at - n_given;
    const bool greedy = n_beams == 1;
    const float decision =
        greedy ? least(&r->steps, step_at, step_at + 1) : least(&r->steps, step_at, r->steps.n);
    const float route =
        fminf(r->encoder, least(&r->decoder, 0, greedy ? step_at + 1 : r->decoder.n));
    (void)printf("%s-%s line %d rank %d: token %d differs, margin %.1e, router %.1e\n", r->src,
                 r->tgt, r->line, r->rank, at, (double)decision, (double)route);
    return decision < log_p_margin || route < router_margin;
}

static bool score_agrees(tally *t, float want, float got)
{
    const double error = fabs((double)got - (double)want) / fmax(fabs((double)want), 1e-3);
    t->worst_score = fmax(t->worst_score, error);
    return error <= (double)score_tolerance;
}

/* `best` is the row of rank 0, which holds the margins of them all. */
static void compare_hypothesis(tally *t, const golden_row *best, const golden_row *r,
                               const dgm_hypothesis *h)
{
    const int at = first_difference(&r->ids, h);
    t->compared++;
    if (at < 0 && score_agrees(t, r->score, h->score)) {
        t->equal++;
        return;
    }
    if (at < 0)
        (void)printf("%s-%s line %d rank %d: score %.7g, want %.7g\n", r->src, r->tgt, r->line,
                     r->rank, (double)h->score, (double)r->score);
    if (at >= 0 && is_excused(best, at))
        t->excused++;
    else
        t->wrong++;
}

static void take_hypotheses(tally *t, const dgm_result *result)
{
    const golden_row *best = &rows[result->id];
    int i = 0;
    for (const golden_row *r = best; r < rows + n_rows && (r == best || r->rank > 0); r++, i++) {
        if (i >= result->n_hyps) {
            (void)printf("%s-%s line %d: %d hypotheses, want more\n", r->src, r->tgt, r->line,
                         result->n_hyps);
            t->wrong++;
            t->compared++;
            return;
        }
        compare_hypothesis(t, best, r, &result->hyps[i]);
    }
}

static int count_ranks(int i)
{
    int n = 1;
    while (i + n < n_rows && rows[i + n].rank > 0)
        n++;
    return n;
}

static void submit_row(tally *t, int i)
{
    const golden_row *r = &rows[i];
    const golden_source *s = golden_find_source(&data, r->src, r->line);
    assert_non_null(s);
    int32_t prompt[64] = {2, code_of(r->tgt)};
    assert_true(r->prefix.n <= 62);
    if (r->prefix.n > 0)
        memcpy(prompt + 2, r->prefix.at, (size_t)r->prefix.n * sizeof *prompt);
    const dgm_target target = {
        .prompt = prompt, .n_prompt = 2 + r->prefix.n, .task = task_of(r->src, r->tgt)};
    const dgm_job job = {.id = (uint64_t)i,
                         .source = s->ids.at,
                         .n_source = s->ids.n,
                         .targets = &target,
                         .n_targets = 1,
                         .options = {.beam = n_beams,
                                     .n_best = count_ranks(i),
                                     .max_length = r->max_length,
                                     .min_length = r->min_length,
                                     .no_repeat_ngram = r->ngram,
                                     .early_stopping = r->early_stopping,
                                     .length_penalty = r->length_penalty,
                                     .repetition_penalty = r->repetition_penalty,
                                     .sampling_topp = 1,
                                     .temperature = 1,
                                     .eos_id = 2}};
    submit(t, take_hypotheses, &job);
}

static void search_all(const char *what, const golden_row *all, int n, int beam)
{
    tally t = {.what = what};
    rows = all;
    n_rows = n;
    n_beams = beam;
    open_engine(beam);
    for (int i = 0; i < n; i++)
        if (all[i].rank == 0)
            submit_row(&t, i);
    finish(&t, take_hypotheses);
    assert_int_equal(t.compared, n);
    close_engine();
}

static void test_greedy(void **state)
{
    (void)state;
    search_all("greedy", data.greedy, data.n_greedy, 1);
}

static void test_beam4(void **state)
{
    (void)state;
    search_all("beam 4", data.beam4, data.n_beam4, 4);
}

/* ---- log p of given targets ---- */

static void take_forced(tally *t, const dgm_result *result)
{
    const golden_forced *f = &data.forced[result->id];
    const dgm_hypothesis *h = &result->hyps[0];
    double want = 0, got = 0, worst = 0;
    t->compared++;
    assert_int_equal(h->n, f->ids.n);
    assert_memory_equal(h->ids, f->ids.at, (size_t)h->n * sizeof *h->ids);
    assert_non_null(h->logp);
    for (int i = 0; i < f->logp.n; i++) {
        want += (double)f->logp.at[i];
        got += (double)h->logp[i + 1];
        worst = fmax(worst, fabs((double)h->logp[i + 1] - (double)f->logp.at[i]) /
                                fmax(1, fabs((double)f->logp.at[i])));
    }
    t->worst_score = fmax(t->worst_score, worst);
    if (worst <= (double)score_tolerance &&
        fabs(got - want) <= (double)score_tolerance * fabs(want)) {
        t->equal++;
        return;
    }
    (void)printf("%s-%s line %d: log p %.7g, want %.7g, a token differs by %.1e\n", f->src, f->tgt,
                 f->line, got, want, worst);
    t->wrong++;
}

static void submit_forced(tally *t, int i)
{
    const golden_forced *f = &data.forced[i];
    const golden_source *s = golden_find_source(&data, f->src, f->line);
    assert_non_null(s);
    int32_t prompt[200] = {2};
    assert_true(f->ids.n < 200);
    memcpy(prompt + 1, f->ids.at, (size_t)f->ids.n * sizeof *prompt);
    const dgm_target target = {
        .prompt = prompt, .n_prompt = 1 + f->ids.n, .task = task_of(f->src, f->tgt)};
    const dgm_job job = {.id = (uint64_t)i,
                         .source = s->ids.at,
                         .n_source = s->ids.n,
                         .targets = &target,
                         .n_targets = 1,
                         .score = true,
                         .options = {.beam = 1,
                                     .n_best = 1,
                                     .max_length = 200,
                                     .length_penalty = 1,
                                     .repetition_penalty = 1,
                                     .sampling_topp = 1,
                                     .temperature = 1,
                                     .eos_id = 2,
                                     .token_scores = 1}};
    submit(t, take_forced, &job);
}

static void test_forced(void **state)
{
    (void)state;
    tally t = {.what = "log p of references"};
    open_engine(1);
    for (int i = 0; i < data.n_forced; i++)
        submit_forced(&t, i);
    finish(&t, take_forced);
    assert_int_equal(t.compared, data.n_forced);
    close_engine();
}

static int set_up(void **state)
{
    (void)state;
    golden_open(&data, golden_dir);
    if (golden_model_open(&loaded, model_dir) == DGM_OK)
        return 0;
    (void)fprintf(stderr, "%s\n", dgm_error_text());
    return -1;
}

static int tear_down(void **state)
{
    (void)state;
    golden_model_close(&loaded);
    golden_close(&data);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: test_golden_hf MODEL GOLDEN\n");
        return EXIT_FAILURE;
    }
    model_dir = argv[1];
    golden_dir = argv[2];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_beam4),
        cmocka_unit_test(test_forced),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

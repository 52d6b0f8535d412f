/*
 * The engine on one rank with a small random model: what a sentence becomes does not depend on how it is
 * batched, threads do not matter, several targets share one encoding, scoring agrees with decoding, and
 * stages 4 to 10 allocate nothing.
 */
#include "tests/runtime/engine_rig.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void batching_and_threads_do_not_matter(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    run(want, &c, 1, 1, 4);
    const int tokens[] = {1, 7, 4096}, rows[] = {1, 9, 400};
    for (int i = 0; i < 3; i++) {
        c = usual();
        c.batch_tokens = tokens[i];
        run(got, &c, 1, 1, 4);
        same();
        c = usual();
        c.batch_rows = rows[i];
        run(got, &c, 1 + i, 1, 4);
        same();
    }
    c = usual();
    c.prompt_rows = 1;
    run(got, &c, 2, 1, 4);
    same();
}

/* Beams of a sentence, tokens of a prompt and sentences to encode are cut apart: the same numbers, nothing allocated. */
static void two_halves_compute_the_same(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    run(want, &c, 1, 1, 4);
    c.overlap = DGM_OVERLAP_ON;
    run(got, &c, 1, 1, 4);
    same();
    for (int rows = 1; rows <= 9;
         rows += 4) { /* one sentence of 4 rows, or few: halves of odd sizes */
        c.batch_rows = rows;
        c.batch_tokens = rows * 7;
        run(got, &c, 2, 1, 4);
        same();
    }
    c = usual();
    c.overlap = DGM_OVERLAP_OFF;
    run(got, &c, 1, 1, 4);
    same();
}

/* Mapped, checked on first use in the middle of a step (which allocates nothing, as always), and the same numbers. */
static void packed_models_compute_the_same(void **state)
{
    (void)state;
    const dgm_engine_config c = usual();
    run(want, &c, 1, 1, 4);
    /* the test model's values are exact in bf16, and --compute is about integers */
    for (int i = 0; i < 8; i++) {
        dgm_engine_config other = usual();
        other.compute = i & 4 ? DGM_COMPUTE_INT8 : DGM_COMPUTE_F32;
        packing = &(const dgm_quantize_options){.experts = i & 1 ? DGM_W_F32 : DGM_W_BF16,
                                                .dense = i & 2 ? DGM_W_F32 : DGM_W_BF16};
        run(got, &other, 1, 1, 4);
        same();
    }
    packing = NULL;
}

static void integers_depend_on_no_batch(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        dgm_engine_config c = usual();
        c.compute = i & 1 ? DGM_COMPUTE_INT8 : DGM_COMPUTE_F32;
        packing = &(const dgm_quantize_options){.experts = i & 2 ? DGM_W_INT4 : DGM_W_INT8,
                                                .dense = i & 4 ? DGM_W_INT8 : DGM_W_BF16,
                                                .group = i & 4 ? 32 : 0};
        run(want, &c, 1, 1, 4);
        c.batch_rows = 9;
        c.batch_tokens = 7;
        run(got, &c, 3, 1, 4);
        same();
    }
    packing = NULL;
}

static void targets_share_an_encoding(void **state)
{
    (void)state;
    const dgm_engine_config c = usual();
    run(want, &c, 1, 1, 4);
    run(got, &c, 1, 2, 4);
    same();
    assert_memory_not_equal(&got[0][0], &got[0][1], sizeof(outcome));
}

/* Equal jobs come back each under its own id, in order, from one computation; what differs in anything does not. */
static void equal_jobs_are_computed_once(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    c.batch_rows = 64; /* all at once */
    run(want, &c, 1, 2, 4);
    rig g;
    open_rig(&g, &c, 1, false);
    static const struct {
        int line, n_targets, beam;
        bool sampling;
    } jobs[] = {{5, 2, 4, false}, {5, 2, 4, false}, {6, 2, 4, false}, {5, 2, 4, false},
                {5, 1, 4, false}, {5, 2, 3, false}, {5, 1, 1, true},  {5, 1, 1, true}};
    enum { N = sizeof jobs / sizeof jobs[0], TARGETS = 13, FIRSTS = 9 };
    for (int i = 0; i < N; i++)
        submit(&g, (uint64_t)i, jobs[i].line, jobs[i].n_targets, jobs[i].beam, jobs[i].sampling);
    assert_int_equal(dgm_engine_pending(g.engine), TARGETS);
    int seen[N][2] = {0}, n = 0;
    bool late = false;
    uint64_t first_rows = 0;
    for (dgm_result r; n < TARGETS + 2 * late;) {
        assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
        for (; dgm_engine_poll(g.engine, &r); n++) {
            if (r.id < N)
                seen[r.id][r.target]++;
            if (r.id < 4) {
                keep(&got[0][0], &r);
                assert_memory_equal(&got[0][0], &want[jobs[r.id].line][r.target], sizeof(outcome));
            }
        }
        if (first_rows == 0) /* after one step: a row for each target that is computed */
            first_rows = dgm_engine_all_stats(g.engine)[0].decoded_rows;
        if (n > 0 && !late) { /* a target may be gone already: this one is computed anew */
            submit(&g, N, 5, 2, 4, false);
            late = true;
        }
        assert_int_equal(dgm_engine_pending(g.engine), TARGETS + 2 * late - n);
    }
    for (int i = 0; i < N; i++)
        for (int t = 0; t < jobs[i].n_targets; t++)
            assert_int_equal(seen[i][t], 1);
    assert_int_equal(first_rows, 2 * FIRSTS);
    close_rig(&g);
}

/* until - steps until job `id` is there. */
static void until(outcome *out, rig *g, uint64_t id)
{
    for (bool there = false; !there;) {
        assert_int_equal(dgm_engine_step(g->engine), DGM_OK);
        for (dgm_result r; dgm_engine_poll(g->engine, &r);) {
            there = there || r.id == id;
            if (r.id == id)
                keep(out, &r);
        }
    }
}

/* encoded - so many tokens were, and so many need not be. */
static void encoded(const rig *g, int tokens, int shared)
{
    const dgm_engine_stats *s = dgm_engine_all_stats(g->engine);
    assert_int_equal(s->encoded_tokens, tokens);
    assert_int_equal(s->shared_tokens, shared);
}

static void look_away(void *ctx, const dgm_packed *w, const float *x, int rows)
{
    (void)ctx, (void)w, (void)x, (void)rows;
}

/* Who looks at rows, to calibrate, sees those of each job, however they fell together. */
static void a_source_that_is_watched_is_encoded_for_each(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    c.batch_rows = 64;
    const dgm_observer observer = {look_away, NULL};
    int32_t ids[32];
    rig g;
    open_rig(&g, &c, 1, false);
    dgm_engine_set_observer(g.engine, &observer);
    submit(&g, 0, 5, 2, 4, false);
    submit(&g, 1, 5, 1, 3, false);
    assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
    encoded(&g, 2 * source(ids, 5), 0);
    close_rig(&g);
}

/* A source that is being decoded is not encoded once more for other targets or by other options, whoever had it first and may be gone;
 * when nobody has it any more, it is. */
static void a_source_in_work_is_encoded_once(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    c.batch_rows = 64;
    int32_t ids[32];
    const int five = source(ids, 5), six = source(ids, 6);
    outcome alone, beside;
    rig g;
    open_rig(&g, &c, 1, false);
    submit(&g, 0, 5, 1, 3, false);
    until(&alone, &g, 0);
    close_rig(&g);

    open_rig(&g, &c, 2, false);
    submit(&g, 0, 5, 2, 4, false);
    submit(&g, 1, 5, 1, 3, false);
    submit(&g, 2, 6, 1, 3, false);
    assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
    encoded(&g, five + six, five);
    assert_true(dgm_engine_cancel(g.engine, 0)); /* who brought it */
    submit(&g, 3, 5, 1, 2, false);
    until(&beside, &g, 1);
    assert_memory_equal(&alone, &beside, sizeof alone);
    encoded(&g, five + six, 2 * five);
    while (dgm_engine_pending(g.engine) > 0) {
        assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
        for (dgm_result r; dgm_engine_poll(g.engine, &r);)
            ;
    }
    submit(&g, 4, 5, 1, 3, false);
    until(&beside, &g, 4);
    assert_memory_equal(&alone, &beside, sizeof alone);
    encoded(&g, 2 * five + six, 2 * five);
    close_rig(&g);
}

static void scoring_agrees_with_decoding(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    run(want, &c, 1, 1, 1);
    rig g;
    open_rig(&g, &c, 2, false);
    for (int i = 0; i < N_LINES; i++) {
        int32_t ids[32], prompt[MAX_OUT] = {2};
        const outcome *w = &want[i][0];
        memcpy(prompt + 1, w->ids, (size_t)w->n * sizeof *prompt);
        const dgm_target target = {.prompt = prompt, .n_prompt = w->n + 1};
        const dgm_job job = {.id = (uint64_t)i,
                             .source = ids,
                             .n_source = source(ids, i),
                             .targets = &target,
                             .n_targets = 1,
                             .score = true,
                             .options = decode(1)};
        assert_int_equal(dgm_engine_submit(g.engine, &job), DGM_OK);
        dgm_result r;
        do
            assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
        while (!dgm_engine_poll(g.engine, &r));
        assert_int_equal(r.hyps[0].n, w->n);
        assert_memory_equal(r.hyps[0].ids, w->ids, (size_t)w->n * sizeof *w->ids);
        assert_memory_equal(r.hyps[0].logp, w->logp, (size_t)w->n * sizeof *w->logp);
        assert_false(dgm_engine_poll(g.engine, &r));
    }
    close_rig(&g);
}

/* What the targets B and A of the tests below may use; `every` [VOCAB] is filled by the first of them. */
static const int32_t few_b[] = {2, 7, 20, 33, 34, 60, 61, 90, 119},
                     few_a[] = {0, 2, 5, 8, 40, 41, 42, 77, 78, 79, 80, 99};
static int32_t every[VOCAB];
static const dgm_vmap_list some_lists[] = {{CODE_A, 12, few_a}, {CODE_B, 9, few_b}},
                           one_list[] = {{CODE_B, 9, few_b}},
                           full_lists[] = {{CODE_A, VOCAB, every}, {CODE_B, VOCAB, every}};
static const dgm_vmap some = {(dgm_vmap_list *)some_lists, 2}, one = {(dgm_vmap_list *)one_list, 1},
                      full = {(dgm_vmap_list *)full_lists, 2};

static void same_target(int t)
{
    for (int i = 0; i < N_LINES; i++)
        if (memcmp(&want[i][t], &got[i][t], sizeof(outcome)) != 0)
            fail_msg("line %d target %d differs: scores %.9g and %.9g", i, t,
                     (double)want[i][t].score, (double)got[i][t].score);
}

/* all_listed - but for the code, which is given. */
static void all_listed(int t, const dgm_vmap_list *l)
{
    for (int i = 0; i < N_LINES; i++)
        for (int k = 1; k < got[i][t].n; k++) {
            int at = 0;
            while (at < l->n && l->ids[at] != got[i][t].ids[k])
                at++;
            if (at == l->n)
                fail_msg("line %d: id %d is not listed", i, got[i][t].ids[k]);
        }
}

/* Two languages with lists of their own in the same steps, in any batch; one with and one without. */
static void lists_depend_on_no_batch(int beam)
{
    dgm_engine_config c = usual();
    mapping = NULL;
    run(want, &c, 1, 2, beam);
    mapping = &one;
    run(got, &c, 1, 2, beam);
    same_target(1);
    all_listed(0, &some_lists[1]);
    mapping = &some;
    run(want, &c, 1, 2, beam);
    for (int i = 0; i < 2; i++) {
        c.batch_rows = i == 0 ? 9 : 400;
        c.batch_tokens = i == 0 ? 7 : 4096;
        c.prompt_rows = 1 + 5 * i;
        run(got, &c, 1 + i, 2, beam);
        same_target(0);
        same_target(1);
        all_listed(0, &some_lists[1]);
        all_listed(1, &some_lists[0]);
    }
    run(got, &c, 3, 1, beam); /* a target alone */
    same_target(0);
    mapping = NULL;
}

static void lists_hold_whatever_chooses(void **state)
{
    (void)state;
    lists_depend_on_no_batch(4);
    lists_depend_on_no_batch(1);
    min_length = 9;
    penalty = 1.5F;
    lists_depend_on_no_batch(3);
    penalty = 0.7F; /* wants all logits, which are those of the list */
    lists_depend_on_no_batch(4);
    draws = 1;
    lists_depend_on_no_batch(1);
    draws = min_length = 0;
    penalty = 1;
    packing = &(const dgm_quantize_options){.experts = DGM_W_INT8, .dense = DGM_W_INT8};
    lists_depend_on_no_batch(4);
    packing = NULL;
}

static void a_list_of_all_is_none(void **state)
{
    (void)state;
    const dgm_engine_config c = usual();
    for (int32_t id = 0; id < VOCAB; id++)
        every[id] = id;
    for (int i = 0; i < 3; i++) {
        draws = i == 1;
        penalty = i == 2 ? 0.7F : 1;
        mapping = NULL;
        run(want, &c, 1, 2, draws ? 1 : 4);
        mapping = &full;
        run(got, &c, 2, 2, draws ? 1 : 4);
        same_target(0);
        same_target(1);
    }
    draws = 0;
    penalty = 1;
    mapping = NULL;
}

/* log_p_of - of `id` behind the first n tokens of w, as score has it. */
static double log_p_of(rig *g, int line, const outcome *w, int n, int32_t id)
{
    int32_t ids[32], prompt[MAX_OUT] = {2};
    memcpy(prompt + 1, w->ids, (size_t)n * sizeof *prompt);
    prompt[1 + n] = id;
    const dgm_target target = {.prompt = prompt, .n_prompt = n + 2};
    const dgm_job job = {.source = ids,
                         .n_source = source(ids, line),
                         .targets = &target,
                         .n_targets = 1,
                         .score = true,
                         .options = decode(1)};
    assert_int_equal(dgm_engine_submit(g->engine, &job), DGM_OK);
    dgm_result r;
    do
        assert_int_equal(dgm_engine_step(g->engine), DGM_OK);
    while (!dgm_engine_poll(g->engine, &r));
    const double p = (double)r.hyps[0].logp[n];
    assert_false(dgm_engine_poll(g->engine, &r));
    return p;
}

/* Greedy takes the listed id of the largest log p, which is that of all ids normalised again: by force. Scoring itself
 * knows no lists. */
static void a_list_renormalises(void **state)
{
    (void)state;
    enum { LINES = 4 };
    const dgm_engine_config c = usual();
    mapping = &some;
    run(want, &c, 1, 1, 1);
    rig g;
    open_rig(&g, &c, 1, false);
    for (int i = 0; i < LINES; i++)
        for (int n = 1; n < want[i][0].n; n++) {
            const outcome *w = &want[i][0];
            double sum = 0, chosen = 0, best = -INFINITY;
            for (int k = 0; k < some_lists[1].n; k++) {
                const double p = log_p_of(&g, i, w, n, few_b[k]);
                sum += exp(p);
                best = fmax(best, p);
                if (few_b[k] == w->ids[n])
                    chosen = p;
            }
            assert_true(chosen == best);
            if (fabs((double)w->logp[n] - (chosen - log(sum))) > 1e-5)
                fail_msg("line %d token %d: log p %.9g, want %.9g", i, n, (double)w->logp[n],
                         chosen - log(sum));
        }
    close_rig(&g);
    mapping = NULL;
}

/* How many rows each matrix was shown. */
enum { MOST_SEEN = 64 };
typedef struct seen {
    const dgm_packed *w[MOST_SEEN];
    int rows[MOST_SEEN], n;
} seen;

static void note(void *ctx, const dgm_packed *w, const float *x, int rows)
{
    seen *s = ctx;
    int i = 0;
    while (i < s->n && s->w[i] != w)
        i++;
    assert_true(i < MOST_SEEN);
    s->n += i == s->n;
    s->w[i] = w;
    s->rows[i] += rows;
    for (int j = 0; j < rows * w->k; j++)
        assert_true(isfinite(x[j]));
}

static int rows_of(const seen *s, const dgm_packed *w)
{
    for (int i = 0; i < s->n; i++)
        if (s->w[i] == w)
            return s->rows[i];
    return 0;
}

/* loads_add_up - each row goes to two experts of each sparse layer, and all of them are one rank's. */
static void loads_add_up(const rig *g, int sources, int targets)
{
    for (int stack = 0; stack < DGM_STACKS; stack++) {
        const dgm_engine_load *load = &dgm_engine_loads(g->engine)[stack];
        uint64_t rows = 0;
        for (int l = 0; l < g->model->stack[stack].n_layers; l++)
            rows += g->model->stack[stack].layers[l].sparse
                        ? 2 * (uint64_t)(stack == DGM_ENCODER ? sources : targets)
                        : 0;
        assert_true(rows > 0);
        assert_int_equal(load->rows, rows);
        assert_int_equal(load->busiest_rank, rows);
        assert_in_range(load->busiest_expert, rows / (uint64_t)g->model->cfg.n_experts[stack],
                        rows / 2);
    }
}

static void observers_see_every_row_of_every_matrix(void **state)
{
    (void)state;
    enum { LINES = 5, PROMPT = 7 };
    dgm_engine_config c = usual();
    rig g;
    seen s = {.n = 0};
    const dgm_observer o = {note, &s};
    int sources = 0, done = 0;
    open_rig(&g, &c, 1, false);
    dgm_engine_set_observer(g.engine, &o);
    for (int i = 0; i < LINES; i++) {
        int32_t ids[32], prompt[PROMPT] = {2, CODE_A, 10 + i, 11, 12, 13, 2};
        const dgm_target target = {.prompt = prompt, .n_prompt = PROMPT};
        const dgm_job job = {.id = (uint64_t)i,
                             .source = ids,
                             .n_source = source(ids, i),
                             .targets = &target,
                             .n_targets = 1,
                             .score = true,
                             .options = decode(1)};
        sources += job.n_source;
        assert_int_equal(dgm_engine_submit(g.engine, &job), DGM_OK);
    }
    for (dgm_result r; done < LINES;)
        for (assert_int_equal(dgm_engine_step(g.engine), DGM_OK); dgm_engine_poll(g.engine, &r);)
            done++;
    /* the last token is never fed, and the first one's successor, the code, is given */
    const int targets = LINES * (PROMPT - 1);
    loads_add_up(&g, sources, targets);
    assert_int_equal(rows_of(&s, &g.model->embed), targets - LINES);
    for (int stack = 0; stack < DGM_STACKS; stack++)
        for (int l = 0; l < g.model->stack[stack].n_layers; l++) {
            const dgm_layer *layer = &g.model->stack[stack].layers[l];
            const int rows = stack == DGM_ENCODER ? sources : targets;
            assert_int_equal(rows_of(&s, &layer->qkv.w), rows);
            assert_int_equal(rows_of(&s, &layer->self_out.w), rows);
            if (stack == DGM_DECODER) {
                assert_int_equal(rows_of(&s, &layer->cross_q.w), rows);
                assert_int_equal(rows_of(&s, &layer->cross_kv.w), sources);
                assert_int_equal(rows_of(&s, &layer->cross_out.w), rows);
            }
            int fc1 = layer->sparse ? 0 : rows_of(&s, &layer->ffn.fc1.w),
                fc2 = layer->sparse ? 0 : rows_of(&s, &layer->ffn.fc2.w);
            for (int e = 0; layer->sparse && e < layer->router.n; e++) {
                fc1 += rows_of(&s, &layer->experts[e].fc1.w);
                fc2 += rows_of(&s, &layer->experts[e].fc2.w);
            }
            assert_int_equal(fc1, layer->sparse ? 2 * rows : rows);
            assert_int_equal(fc2, fc1);
        }
    dgm_engine_set_observer(g.engine, NULL);
    close_rig(&g);
}

static void looks_stay_inside_the_text(void **state)
{
    (void)state;
    const dgm_engine_config c = usual();
    run(got, &c, 1, 1, 4);
    for (int i = 0; i < N_LINES; i++) {
        int32_t ids[32];
        const int n = source(ids, i);
        for (int t = 0; t < got[i][0].n; t++)
            assert_in_range(got[i][0].look[t], 1, n - 2);
    }
}

/* How a step with `lines` sentences ends when a number is none: an encoder's router, or position 16, which only the longest
 * sentence has (the third of four, of 17 tokens). */
static void fail_with_nan(char *text, size_t size, dgm_overlap_mode overlap, int lines, bool router)
{
    dgm_engine_config c = usual();
    rig g;
    c.overlap = overlap;
    open_rig(&g, &c, 1, router);
    if (!router)
        ((float *)g.model->positions)[(size_t)(16 + 2) * (size_t)g.model->cfg.d_model] = NAN;
    const int32_t prompt[2] = {2, CODE_B};
    const dgm_target target = {.prompt = prompt, .n_prompt = 2};
    for (int i = 0; i < lines; i++) {
        int32_t ids[32];
        const dgm_job job = {.id = (uint64_t)i,
                             .line = (uint64_t)i,
                             .source = ids,
                             .n_source = source(ids, lines - i),
                             .targets = &target,
                             .n_targets = 1,
                             .options = decode(2)};
        assert_int_equal(dgm_engine_submit(g.engine, &job), DGM_OK);
    }
    assert_int_equal(dgm_engine_step(g.engine), DGM_ENAN);
    (void)snprintf(text, size, "%s", dgm_error_text());
    /* Everything has come home: the rank could go on. */
    assert_int_equal(dgm_engine_stop(g.engine, DGM_OK, ""), DGM_OK);
    close_rig(&g);
}

static void a_nan_names_layer_and_row(void **state)
{
    (void)state;
    char whole[512], halves[512];
    fail_with_nan(whole, sizeof whole, DGM_OVERLAP_OFF, 1, true);
    assert_non_null(strstr(whole, "layer"));
    assert_non_null(strstr(whole, "row"));
    /* In the second half rows are counted from the first one's. */
    fail_with_nan(whole, sizeof whole, DGM_OVERLAP_OFF, 4, false);
    fail_with_nan(halves, sizeof halves, DGM_OVERLAP_ON, 4, false);
    assert_non_null(strstr(whole, "row 25"));
    assert_string_equal(whole, halves);
}

static void submit_short(rig *g, int line)
{
    const int32_t prompt[2] = {2, CODE_B};
    const dgm_target target = {.prompt = prompt, .n_prompt = 2};
    int32_t ids[32];
    dgm_job job = {.id = (uint64_t)line,
                   .line = (uint64_t)line,
                   .source = ids,
                   .n_source = source(ids, line),
                   .targets = &target,
                   .n_targets = 1,
                   .options = decode(2)};
    job.options.max_length = 12;
    assert_int_equal(dgm_engine_submit(g->engine, &job), DGM_OK);
}

/* All lines through one engine; in the encoder (targets are shorter) or in both stacks positions from `first` on are no numbers. Returns how
 * many lines fail; those keep what they would have been. */
static int lines_that_fail(const dgm_engine_config *c, int first)
{
    rig g;
    int failed = 0, done = 0;
    open_rig(&g, c, 2, false);
    for (int p = first; p < 17; p++)
        ((float *)g.model->positions)[(size_t)(p + 2) * (size_t)g.model->cfg.d_model] = NAN;
    for (int sent = 0; done < N_LINES;) {
        for (; sent < N_LINES && dgm_engine_pending(g.engine) < 8; sent++)
            submit_short(&g, sent);
        assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
        for (dgm_result r; dgm_engine_poll(g.engine, &r); done++) {
            int32_t ids[32];
            const bool reaches = source(ids, (int)r.id) > first || first < 11;
            assert_int_equal(r.status, reaches ? DGM_ENAN : DGM_OK);
            failed += reaches;
            if (reaches)
                assert_non_null(strstr(dgm_error_text(), "row"));
            else
                keep(&got[r.id][0], &r);
            assert_int_equal(r.n_hyps == 0, reaches);
        }
    }
    assert_int_equal(dgm_engine_pending(g.engine), 0);
    assert_int_equal(dgm_engine_stop(g.engine, DGM_OK, ""), DGM_OK);
    close_rig(&g);
    return failed;
}

static void a_nan_may_fail_its_line_alone(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    c.fail_lines = true;
    assert_int_equal(lines_that_fail(&c, 17), 0);
    memcpy(want, got, sizeof want);
    for (int overlap = DGM_OVERLAP_OFF; overlap <= DGM_OVERLAP_ON; overlap++) {
        if (overlap != DGM_OVERLAP_OFF && overlap != DGM_OVERLAP_ON)
            continue;
        c.overlap = (dgm_overlap_mode)overlap;
        const int failed = lines_that_fail(&c, 12);
        assert_in_range(failed, 5, N_LINES / 2);
        same();
        assert_int_equal(lines_that_fail(&c, 5), N_LINES); /* in the middle of decoding */
    }
}

static void what_cannot_fit_is_refused(void **state)
{
    (void)state;
    const dgm_engine_config c = usual();
    rig g;
    open_rig(&g, &c, 1, false);
    const int32_t prompt[2] = {2, CODE_B}, ids[64] = {CODE_A};
    const dgm_target target = {.prompt = prompt, .n_prompt = 2};
    dgm_job job = {
        .source = ids, .n_source = 25, .targets = &target, .n_targets = 1, .options = decode(4)};
    assert_int_equal(dgm_engine_submit(g.engine, &job), DGM_EINPUT);
    job.n_source = 24;
    job.options.beam = 5;
    assert_int_equal(dgm_engine_submit(g.engine, &job), DGM_EINPUT);
    job.options = decode(4);
    job.n_targets = 3;
    assert_int_equal(dgm_engine_submit(g.engine, &job), DGM_EINPUT);
    close_rig(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batching_and_threads_do_not_matter),
        cmocka_unit_test(two_halves_compute_the_same),
        cmocka_unit_test(packed_models_compute_the_same),
        cmocka_unit_test(integers_depend_on_no_batch),
        cmocka_unit_test(targets_share_an_encoding),
        cmocka_unit_test(equal_jobs_are_computed_once),
        cmocka_unit_test(a_source_in_work_is_encoded_once),
        cmocka_unit_test(a_source_that_is_watched_is_encoded_for_each),
        cmocka_unit_test(scoring_agrees_with_decoding),
        cmocka_unit_test(lists_hold_whatever_chooses),
        cmocka_unit_test(a_list_of_all_is_none),
        cmocka_unit_test(a_list_renormalises),
        cmocka_unit_test(observers_see_every_row_of_every_matrix),
        cmocka_unit_test(looks_stay_inside_the_text),
        cmocka_unit_test(a_nan_names_layer_and_row),
        cmocka_unit_test(a_nan_may_fail_its_line_alone),
        cmocka_unit_test(what_cannot_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

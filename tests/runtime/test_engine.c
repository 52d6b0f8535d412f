/*
 * The engine on one rank with a small random model: what a sentence becomes does not depend on how it is
 * batched, threads do not matter, several targets share one encoding, scoring agrees with decoding, and
 * stages 4 to 10 allocate nothing.
 */
#include "runtime/engine.h"

#include "runtime/quantize.h"
#include "runtime/shortlist.h"
#include "tests/runtime/testmodel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Linked with -Wl,--wrap: counts allocations while `counting`. */
static int counting, n_allocations;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n)
{
    n_allocations += counting;
    return __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
    n_allocations += counting;
    return __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
    n_allocations += counting;
    return __real_realloc(p, n);
}

enum { VOCAB = 120, CODE_A = 100, CODE_B = 101, N_LINES = 23, MAX_OUT = 40 };

typedef struct rig {
    dgm_comm *comm;
    dgm_model *model;
    dgm_kernels kern;
    dgm_pool *pool;
    dgm_engine *engine;
    dgm_shortlists lists;
    char *dir;
} rig;

static dgm_engine_config usual(void)
{
    return (dgm_engine_config){.batch_tokens = 64,
                               .batch_rows = 32,
                               .max_source = 24,
                               .max_target = MAX_OUT,
                               .max_beam = 4,
                               .max_targets = 2,
                               .prompt_rows = 4};
}

static int draws, min_length; /* of decode() */
static float penalty = 1;

static dgm_decode_options decode(int beam)
{
    return (dgm_decode_options){.beam = beam,
                                .n_best = beam,
                                .max_length = 20,
                                .min_length = min_length,
                                .length_penalty = 1,
                                .repetition_penalty = penalty,
                                .sampling_topp = 1,
                                .temperature = 1,
                                .sampling = draws,
                                .eos_id = 2,
                                .token_scores = 1,
                                .alignment = 1};
}

static const dgm_quantize_options *packing; /* NULL: the model as it was written */

static void pack_model(char *path, size_t size, const char *dir)
{
    dgm_model *m;
    dgm_quantize_report report;
    (void)snprintf(path, size, "%s/packed", dir);
    assert_int_equal(dgm_model_open(&m, dir, NULL), DGM_OK);
    if (dgm_quantize(&report, m, path, packing, NULL, NULL, NULL) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    free(report.error);
    dgm_model_close(m);
}

static const dgm_vmap *mapping; /* NULL: targets choose from all ids */

static void choose_lists(rig *g)
{
    const int32_t codes[] = {CODE_B, CODE_A};
    assert_int_equal(dgm_shortlists_choose(&g->lists, mapping, codes, 2), DGM_OK);
    assert_int_equal(dgm_shortlists_gather(&g->lists, g->model, NULL), DGM_OK);
}

static void open_rig(rig *g, const dgm_engine_config *cfg, int n_threads, bool nan)
{
    const dgm_comm_config comm = {.backend = "local", .stall_ms = 2000, .deadline_ms = 60000};
    const dgm_model_options opt = {.source_order = -1};
    memset(g, 0, sizeof *g);
    testmodel spec = testmodel_small();
    spec.vocab = VOCAB;
    g->dir = testmodel_dir();
    testmodel_write(g->dir, &spec);
    char path[512];
    (void)snprintf(path, sizeof path, "%s", g->dir);
    if (packing != NULL)
        pack_model(path, sizeof path, g->dir);
    assert_int_equal(dgm_comm_open(&g->comm, &comm), DGM_OK);
    if (dgm_model_open(&g->model, path, &opt) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    assert_int_equal(dgm_model_load(g->model, 0, 1, true, NULL), DGM_OK);
    if (nan) /* packed weights are ours to spoil */
        ((float *)g->model->stack[DGM_ENCODER].layers[1].router.data)[3] = NAN;
    assert_int_equal(dgm_kernels_select(&g->kern, "auto"), DGM_OK);
    assert_int_equal(dgm_pool_create(&g->pool, n_threads), DGM_OK);
    dgm_engine_config with = *cfg;
    if (mapping != NULL)
        choose_lists(g);
    with.lists = &g->lists;
    assert_int_equal(dgm_engine_open(&g->engine, &with, g->model, &g->kern, g->pool, g->comm),
                     DGM_OK);
}

static void close_rig(rig *g)
{
    dgm_engine_close(g->engine);
    dgm_shortlists_fini(&g->lists);
    dgm_pool_destroy(g->pool);
    dgm_model_close(g->model);
    dgm_comm_close(g->comm);
    testmodel_remove(g->dir);
}

/* What one target of one line became: the best hypothesis, scores and looks. */
typedef struct outcome {
    int n, n_hyps;
    int32_t ids[MAX_OUT];
    float logp[MAX_OUT], score;
    int16_t look[MAX_OUT];
} outcome;

static int source(int32_t *ids, int line)
{
    const int n = 3 + (line * 7) % 15;
    ids[0] = CODE_A;
    for (int i = 1; i < n - 1; i++)
        ids[i] = 4 + (line * 31 + i * 17 + i * i) % 90;
    ids[n - 1] = 2;
    return n;
}

static void keep(outcome *o, const dgm_result *r)
{
    const dgm_hypothesis *h = &r->hyps[0];
    memset(o, 0, sizeof *o);
    o->n = h->n;
    o->n_hyps = r->n_hyps;
    o->score = h->score;
    memcpy(o->ids, h->ids, (size_t)h->n * sizeof *h->ids);
    memcpy(o->logp, h->logp, (size_t)h->n * sizeof *h->logp);
    if (r->align != NULL)
        memcpy(o->look, r->align[0], (size_t)h->n * sizeof *o->look);
}

/* Runs N_LINES lines to n_targets targets each; out [N_LINES][2]. */
static void run(outcome (*out)[2], const dgm_engine_config *cfg, int n_threads, int n_targets,
                int beam)
{
    rig g;
    open_rig(&g, cfg, n_threads, false);
    const int32_t prompts[2][2] = {{2, CODE_B}, {2, CODE_A}};
    const dgm_target targets[2] = {{.prompt = prompts[0], .n_prompt = 2},
                                   {.prompt = prompts[1], .n_prompt = 2}};
    int n_sent = 0, n_done = 0;
    counting = 0;
    while (n_done < N_LINES * n_targets) {
        for (; n_sent < N_LINES; n_sent++) {
            int32_t ids[32];
            const dgm_job job = {.id = (uint64_t)n_sent,
                                 .line = (uint64_t)n_sent,
                                 .source = ids,
                                 .n_source = source(ids, n_sent),
                                 .targets = targets,
                                 .n_targets = n_targets,
                                 .options = decode(beam)};
            const int rc = dgm_engine_submit(g.engine, &job);
            if (rc == DGM_EBUSY)
                break;
            assert_int_equal(rc, DGM_OK);
        }
        n_allocations = 0;
        counting = 1;
        const int rc = dgm_engine_step(g.engine);
        counting = 0;
        assert_int_equal(rc, DGM_OK);
        assert_int_equal(n_allocations, 0);
        for (dgm_result r; dgm_engine_poll(g.engine, &r); n_done++)
            keep(&out[r.id][r.target], &r);
    }
    assert_int_equal(dgm_engine_pending(g.engine), 0);
    assert_int_equal(dgm_engine_stop(g.engine, DGM_OK, ""), DGM_OK);
    close_rig(&g);
}

static outcome want[N_LINES][2], got[N_LINES][2];

static void same(void)
{
    for (int i = 0; i < N_LINES; i++)
        if (memcmp(&want[i][0], &got[i][0], sizeof(outcome)) != 0)
            fail_msg("line %d differs: %d and %d ids, scores %.9g and %.9g", i, want[i][0].n,
                     got[i][0].n, (double)want[i][0].score, (double)got[i][0].score);
}

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

/* Submits a job for line `line` under `id`. */
static void submit(rig *g, uint64_t id, int line, int n_targets, int beam, bool sampling)
{
    int32_t ids[32];
    const int32_t prompts[2][2] = {{2, CODE_B}, {2, CODE_A}};
    const dgm_target targets[2] = {{.prompt = prompts[0], .n_prompt = 2},
                                   {.prompt = prompts[1], .n_prompt = 2}};
    dgm_job job = {.id = id,
                   .line = id,
                   .source = ids,
                   .n_source = source(ids, line),
                   .targets = targets,
                   .n_targets = n_targets,
                   .options = decode(beam)};
    job.options.sampling = sampling;
    assert_int_equal(dgm_engine_submit(g->engine, &job), DGM_OK);
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

/* cancelled - of the lines in work, every third goes at some step: the others become what they always become. */
static void cancelled_jobs_leave_the_others_alone(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    run(want, &c, 1, 2, 4);
    for (int at = 0; at < 12; at += 3) { /* in the queue, in their prompt, in their search */
        rig g;
        open_rig(&g, &c, 1, false);
        const int slots = dgm_engine_slots(g.engine);
        int seen[N_LINES][2] = {0};
        for (int i = 0; i < N_LINES; i++)
            submit(&g, (uint64_t)i, i, 2, 4, false);
        submit(&g, N_LINES, 0, 2, 4, false); /* line 0 again: others wait for it too */
        for (int steps = 0; dgm_engine_pending(g.engine) > 0; steps++) {
            for (int i = 0; steps == at && i < N_LINES; i += 3)
                assert_true(dgm_engine_cancel(g.engine, (uint64_t)i) ||
                            seen[i][0] + seen[i][1] == 2);
            assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
            for (dgm_result r; dgm_engine_poll(g.engine, &r);) {
                const int line = r.id == N_LINES ? 0 : (int)r.id;
                assert_true(r.id % 3 != 0 || steps < at || r.id == N_LINES);
                keep(&got[line][r.target], &r);
                seen[r.id % N_LINES][r.target]++;
                assert_memory_equal(&got[line][r.target], &want[line][r.target], sizeof(outcome));
            }
        }
        for (int i = 0; i < N_LINES; i++)
            for (int t = 0; i % 3 != 0 && t < 2; t++)
                assert_int_equal(seen[i][t], 1);
        assert_true(seen[0][0] >= 1); /* the twin's */
        assert_false(dgm_engine_cancel(g.engine, 1));
        assert_int_equal(dgm_engine_slots(g.engine), slots);
        close_rig(&g);
    }
}

/* A slot is free after the next step, whatever the job in it had still to do. */
static void a_cancelled_slot_is_free_at_once(void **state)
{
    (void)state;
    const dgm_engine_config c = usual();
    rig g;
    open_rig(&g, &c, 1, false);
    submit(&g, 1, 5, 2, 4, false);
    for (int steps = 0; steps < 3; steps++)
        assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
    assert_int_equal(dgm_engine_pending(g.engine), 2);
    assert_true(dgm_engine_cancel(g.engine, 1));
    assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
    dgm_result r;
    assert_false(dgm_engine_poll(g.engine, &r));
    assert_int_equal(dgm_engine_pending(g.engine), 0);
    close_rig(&g);
}

/* How many take part in a step, and which, changes nothing but when they end: what is urgent first. */
static void pace_does_not_matter(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    run(want, &c, 1, 1, 4);
    rig g;
    open_rig(&g, &c, 1, false);
    int32_t ids[32];
    const int32_t prompt[2] = {2, CODE_B};
    const dgm_target target = {.prompt = prompt, .n_prompt = 2};
    int n_done = 0, last_urgent = 0;
    for (int i = 0; i < N_LINES; i++) {
        const dgm_job job = {.id = (uint64_t)i,
                             .line = (uint64_t)i,
                             .source = ids,
                             .n_source = source(ids, i),
                             .targets = &target,
                             .n_targets = 1,
                             .urgent = i % 5 == 4,
                             .options = decode(4)};
        assert_int_equal(dgm_engine_submit(g.engine, &job), DGM_OK);
    }
    for (int step = 0; n_done < N_LINES; step++) {
        const dgm_engine_pace pace = {.urgent_only = step % 4 != 0 && n_done < 4,
                                      .encode_tokens = 20,
                                      .others = 1 + step % 3};
        dgm_engine_set_pace(g.engine, &pace);
        assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
        for (dgm_result r; dgm_engine_poll(g.engine, &r); n_done++) {
            keep(&got[r.id][0], &r);
            if (r.id % 5 == 4)
                last_urgent = n_done;
        }
    }
    same();
    assert_true(last_urgent < 8);
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
        cmocka_unit_test(cancelled_jobs_leave_the_others_alone),
        cmocka_unit_test(a_cancelled_slot_is_free_at_once),
        cmocka_unit_test(pace_does_not_matter),
        cmocka_unit_test(scoring_agrees_with_decoding),
        cmocka_unit_test(lists_hold_whatever_chooses),
        cmocka_unit_test(a_list_of_all_is_none),
        cmocka_unit_test(a_list_renormalises),
        cmocka_unit_test(observers_see_every_row_of_every_matrix),
        cmocka_unit_test(looks_stay_inside_the_text),
        cmocka_unit_test(a_nan_names_layer_and_row),
        cmocka_unit_test(what_cannot_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/runtime/engine_rig.h"

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

dgm_engine_config usual(void)
{
    return (dgm_engine_config){.batch_tokens = 64,
                               .batch_rows = 32,
                               .max_source = 24,
                               .max_target = MAX_OUT,
                               .max_beam = 4,
                               .max_targets = 2,
                               .prompt_rows = 4};
}

int draws, min_length; /* of decode() */
float penalty = 1;

dgm_decode_options decode(int beam)
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

const dgm_quantize_options *packing; /* NULL: the model as it was written */

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

const dgm_vmap *mapping; /* NULL: targets choose from all ids */

static void choose_lists(rig *g)
{
    const int32_t codes[] = {CODE_B, CODE_A};
    assert_int_equal(dgm_shortlists_choose(&g->lists, mapping, codes, 2), DGM_OK);
    assert_int_equal(dgm_shortlists_gather(&g->lists, g->model, NULL), DGM_OK);
}

void open_rig(rig *g, const dgm_engine_config *cfg, int n_threads, bool nan)
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

void close_rig(rig *g)
{
    dgm_engine_close(g->engine);
    dgm_shortlists_fini(&g->lists);
    dgm_pool_destroy(g->pool);
    dgm_model_close(g->model);
    dgm_comm_close(g->comm);
    testmodel_remove(g->dir);
}

int source(int32_t *ids, int line)
{
    const int n = 3 + (line * 7) % 15;
    ids[0] = CODE_A;
    for (int i = 1; i < n - 1; i++)
        ids[i] = 4 + (line * 31 + i * 17 + i * i) % 90;
    ids[n - 1] = 2;
    return n;
}

void keep(outcome *o, const dgm_result *r)
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
void run(outcome (*out)[2], const dgm_engine_config *cfg, int n_threads, int n_targets, int beam)
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

outcome want[N_LINES][2], got[N_LINES][2];

void same(void)
{
    for (int i = 0; i < N_LINES; i++)
        if (memcmp(&want[i][0], &got[i][0], sizeof(outcome)) != 0)
            fail_msg("line %d differs: %d and %d ids, scores %.9g and %.9g", i, want[i][0].n,
                     got[i][0].n, (double)want[i][0].score, (double)got[i][0].score);
}

/* Submits a job for line `line` under `id`. */
void submit(rig *g, uint64_t id, int line, int n_targets, int beam, bool sampling)
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

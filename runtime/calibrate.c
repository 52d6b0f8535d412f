/* Two jobs a sentence: translated once, then scored in every pass, which shows each matrix all rows in few steps. */
#include "runtime/calibrate.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "runtime/calibrate_text.h"
#include "runtime/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sentences at once, tokens that each feeds in a step, and source tokens of a step. */
enum { SENTENCES = 128, FED = 32, SOURCE_TOKENS = 4096 };

/* A matrix wanted. */
typedef struct entry {
    const dgm_packed *w;
    int pass;
    dgm_moments moments; /* while its pass is the one at hand */
} entry;

/* Where a matrix stands in entries. */
typedef struct place {
    const dgm_packed *w;
    size_t at;
} place;

struct dgm_calibration {
    dgm_model *model;
    dgm_calibration_config cfg;
    dgm_calibration_facts facts;
    dgm_pairs text;
    dgm_comm *comm;
    dgm_engine *engine; /* NULL: not translated yet */
    dgm_arena scratch;
    entry *entries; /* [n] in the order wanted */
    size_t n, cap, next;
    place *by_address; /* [n_now] of the pass at hand, sorted */
    size_t n_now;
};

int dgm_calibration_open(dgm_calibration **out, dgm_model *m, const dgm_calibration_config *cfg)
{
    dgm_calibration *c = calloc(1, sizeof *c);
    if (c == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for calibration");
    *c = (dgm_calibration){.model = m, .cfg = *cfg};
    const int rc = dgm_pairs_read(&c->text, cfg->text, m);
    if (rc != DGM_OK) {
        dgm_calibration_close(c);
        return rc;
    }
    c->facts.hash = c->text.hash;
    c->facts.lines = c->text.n;
    for (size_t i = 0; i < c->text.n; i++)
        c->facts.tokens += (uint64_t)c->text.pairs[i].n_source;
    *out = c;
    return DGM_OK;
}

void dgm_calibration_close(dgm_calibration *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->n; i++)
        dgm_moments_fini(&c->entries[i].moments);
    dgm_engine_close(c->engine);
    dgm_comm_close(c->comm);
    dgm_arena_fini(&c->scratch);
    dgm_pairs_free(&c->text);
    free(c->by_address);
    free(c->entries);
    free(c);
}

dgm_calibration_facts dgm_calibration_get_facts(const dgm_calibration *c)
{
    return c->facts;
}

int dgm_calibration_want(dgm_calibration *c, const dgm_packed *w)
{
    if (c->n == c->cap) {
        const size_t cap = c->cap == 0 ? 256 : 2 * c->cap;
        entry *more = realloc(c->entries, cap * sizeof *more);
        if (more == NULL)
            return dgm_fail(DGM_ENOMEM, "out of memory for a list of %zu matrices", cap);
        c->entries = more;
        c->cap = cap;
    }
    c->entries[c->n++] = (entry){.w = w};
    c->facts.matrices++;
    return DGM_OK;
}

/* ---- the text through the engine ---- */

static int submit(dgm_calibration *c, size_t line, bool score)
{
    const dgm_pair *p = &c->text.pairs[line];
    const dgm_model_config *m = &c->model->cfg;
    const dgm_target target = {.prompt = p->target,
                               .n_prompt = p->n_target,
                               .experts = p->experts[DGM_DECODER],
                               .source_experts = p->experts[DGM_ENCODER],
                               .task = p->task};
    const dgm_job job = {.id = line,
                         .line = line,
                         .source = p->source,
                         .n_source = p->n_source,
                         .targets = &target,
                         .n_targets = 1,
                         .score = score,
                         .options = {.beam = 1,
                                     .n_best = 1,
                                     .max_length = m->max_length,
                                     .length_penalty = 1,
                                     .repetition_penalty = 1,
                                     .sampling_topp = 1,
                                     .temperature = 1,
                                     .eos_id = m->eos_id}};
    return dgm_engine_submit(c->engine, &job);
}

static int take(dgm_calibration *c, const dgm_result *r, bool score)
{
    if (r->status != DGM_OK || score)
        return r->status;
    c->facts.tokens += (uint64_t)r->hyps[0].n;
    return dgm_pair_translated(&c->text.pairs[r->id], r->hyps[0].ids, r->hyps[0].n);
}

static int run_text(dgm_calibration *c, bool score)
{
    size_t sent = 0;
    while (sent < c->text.n || dgm_engine_pending(c->engine) > 0) {
        dgm_result r;
        int rc = DGM_OK;
        while (sent < c->text.n && (rc = submit(c, sent, score)) == DGM_OK)
            sent++;
        if (rc != DGM_OK && rc != DGM_EBUSY)
            return rc;
        DGM_TRY(dgm_engine_step(c->engine));
        while (dgm_engine_poll(c->engine, &r))
            DGM_TRY(take(c, &r, score));
    }
    return DGM_OK;
}

static dgm_engine_config limits(const dgm_model_config *m)
{
    return (dgm_engine_config){.batch_tokens = SOURCE_TOKENS,
                               .batch_rows = SENTENCES,
                               .dense_ranks = 1,
                               .max_source = m->max_source,
                               .max_target = m->max_length,
                               .max_beam = 1,
                               .max_targets = 1,
                               .prompt_rows = FED};
}

/* ---- passes ---- */

/* As many matrices a pass as fit, in their order. */
static void plan_passes(dgm_calibration *c)
{
    const uint64_t most = c->cfg.memory_bytes != 0 ? c->cfg.memory_bytes : dgm_memory_free("") / 2;
    uint64_t used = 0;
    c->facts.passes = 0;
    for (size_t i = 0; i < c->n; i++) {
        const uint64_t bytes = dgm_moments_bytes(c->entries[i].w->k);
        if (i == 0 || used + bytes > most) {
            c->facts.passes++;
            used = 0;
        }
        used += bytes;
        c->entries[i].pass = c->facts.passes;
    }
    dgm_log(DGM_LOG_INFO, "calibrate",
            "moments of %d matrices in %d pass%s over the text, at most %.1f MiB at a time",
            c->facts.matrices, c->facts.passes, c->facts.passes == 1 ? "" : "es",
            (double)most / (1 << 20));
}

static int begin(dgm_calibration *c)
{
    const dgm_comm_config local = {
        .backend = "local", .stall_ms = 2000, .deadline_ms = 60000, .alone = true};
    dgm_engine_config cfg = limits(&c->model->cfg);
    const int threads = dgm_pool_size(c->cfg.pool);
    size_t scratch = 0;
    for (size_t i = 0; i < c->n; i++) {
        const size_t bytes = dgm_moments_scratch_bytes(c->entries[i].w->k, threads);
        scratch = bytes > scratch ? bytes : scratch;
    }
    DGM_TRY(dgm_arena_init(&c->scratch, scratch));
    c->by_address = calloc(c->n, sizeof *c->by_address);
    if (c->by_address == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of %zu matrices", c->n);
    DGM_TRY(dgm_comm_open(&c->comm, &local));
    DGM_TRY(dgm_model_load(c->model, 0, 1, true, c->comm));
    if (c->text.sets.n > 0)
        cfg.sets = &c->text.sets;
    DGM_TRY(dgm_engine_open(&c->engine, &cfg, c->model, c->cfg.kern, c->cfg.pool, c->comm));
    const double began = dgm_now_s();
    DGM_TRY(run_text(c, false));
    dgm_log(DGM_LOG_INFO, "calibrate",
            "%s: %" PRIu64 " lines, %" PRIu64 " tokens with their translations, made in %.1f s",
            c->cfg.text, c->facts.lines, c->facts.tokens, dgm_now_s() - began);
    plan_passes(c);
    return DGM_OK;
}

static int by_matrix(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return x->w < y->w ? -1 : x->w > y->w;
}

static void see(void *ctx, const dgm_packed *w, const float *x, int rows)
{
    dgm_calibration *c = ctx;
    const place key = {.w = w};
    const place *found = bsearch(&key, c->by_address, c->n_now, sizeof *c->by_address, by_matrix);
    const dgm_moments_tools tools = {c->cfg.kern, c->cfg.pool, &c->scratch};
    if (found != NULL)
        dgm_moments_add(&c->entries[found->at].moments, x, rows, &tools);
}

/* The pass that the next entry needs. */
static int run_pass(dgm_calibration *c)
{
    const dgm_observer observer = {see, c};
    const dgm_moments_tools tools = {c->cfg.kern, c->cfg.pool, &c->scratch};
    const int pass = c->entries[c->next].pass;
    const double began = dgm_now_s();
    c->n_now = 0;
    for (size_t i = c->next; i < c->n && c->entries[i].pass == pass; i++) {
        DGM_TRY(dgm_moments_init(&c->entries[i].moments, c->entries[i].w->k));
        c->by_address[c->n_now++] = (place){c->entries[i].w, i};
    }
    qsort(c->by_address, c->n_now, sizeof *c->by_address, by_matrix);
    dgm_engine_set_observer(c->engine, &observer);
    const int rc = run_text(c, true);
    dgm_engine_set_observer(c->engine, NULL);
    DGM_TRY(rc);
    for (size_t i = 0; i < c->n_now; i++)
        dgm_moments_end(&c->entries[c->by_address[i].at].moments, &tools);
    dgm_log(DGM_LOG_INFO, "calibrate", "pass %d of %d: %zu matrices in %.1f s", pass,
            c->facts.passes, c->n_now, dgm_now_s() - began);
    return DGM_OK;
}

int dgm_calibration_next(const dgm_moments **out, dgm_calibration *c)
{
    DGM_ASSERT(c->next < c->n);
    if (c->engine == NULL)
        DGM_TRY(begin(c));
    if (c->next > 0)
        dgm_moments_fini(&c->entries[c->next - 1].moments);
    if (c->next == 0 || c->entries[c->next].pass != c->entries[c->next - 1].pass)
        DGM_TRY(run_pass(c));
    *out = &c->entries[c->next++].moments;
    return DGM_OK;
}

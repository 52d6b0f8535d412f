#include "tests/runtime/fake_engine.h"

#include <stdlib.h>
#include <string.h>

void fake_engine_init(dgm_engine *e)
{
    memset(e, 0, sizeof *e);
    e->random = 12345;
    e->finish_each_step = 7;
    e->eos_id = 2;
    e->poison = e->refuse = e->mends = -1;
}

static uint32_t draw(dgm_engine *e)
{
    e->random = e->random * 1664525 + 1013904223;
    return e->random >> 8;
}

static bool contains(const dgm_job *job, int32_t id)
{
    for (int i = 0; id >= 0 && i < job->n_source; i++) {
        if (job->source[i] == id)
            return true;
    }
    return false;
}

int dgm_engine_submit(dgm_engine *e, const dgm_job *job)
{
    DGM_ASSERT(job->n_source <= FAKE_MAX_IDS);
    if (contains(job, e->refuse))
        return dgm_fail(DGM_EINPUT, "a source that is never taken");
    if (e->n_jobs >= FAKE_QUEUE) {
        e->busy++;
        return DGM_EBUSY;
    }
    if (e->longest_first != NULL && e->submitted < 65536)
        e->longest_first[e->submitted] = job->n_source;
    e->submitted++;
    for (int t = 0; t < job->n_targets; t++) {
        fake_job *j = &e->jobs[e->n_jobs++];
        e->blocked += job->options.no_repeat_ngram > 0;
        *j = (fake_job){.id = job->id,
                        .n_source = job->n_source,
                        .n_prompt = job->targets[t].n_prompt,
                        .target = t,
                        .score = job->score,
                        .options = job->options};
        memcpy(j->source, job->source, (size_t)job->n_source * sizeof *job->source);
        memcpy(j->prompt, job->targets[t].prompt, (size_t)j->n_prompt * sizeof *j->prompt);
    }
    return DGM_OK;
}

int dgm_engine_pending(const dgm_engine *e)
{
    return e->n_jobs;
}

int dgm_engine_step(dgm_engine *e)
{
    DGM_ASSERT(e->n_ready == 0); /* all results must be polled before the next step */
    if (e->idle_steps != NULL && e->n_jobs == 0)
        atomic_fetch_add(e->idle_steps, 1);
    if (e->fail_after > 0 && e->finished >= e->fail_after)
        return dgm_fail(DGM_ENAN, "the fake engine broke");
    if (e->n_jobs > 0)
        e->n_ready = 1 + (int)(draw(e) % (uint32_t)e->finish_each_step);
    e->n_ready = e->n_ready < e->n_jobs ? e->n_ready : e->n_jobs;
    if (e->on_step != NULL)
        e->on_step(e->on_step_ctx);
    return DGM_OK;
}

/* What a server asks beside that. */
int dgm_engine_slots(const dgm_engine *e)
{
    (void)e;
    return FAKE_QUEUE;
}

void dgm_engine_set_pace(dgm_engine *e, const dgm_engine_pace *pace)
{
    (void)e;
    (void)pace;
}

void dgm_engine_set_clock(dgm_engine *e, dgm_stage_clock *clock)
{
    (void)e;
    (void)clock;
}

const dgm_engine_load *dgm_engine_loads(const dgm_engine *e)
{
    static const dgm_engine_load none[DGM_STACKS];
    (void)e;
    return none;
}

const dgm_engine_stats *dgm_engine_all_stats(const dgm_engine *e)
{
    static const dgm_engine_stats none;
    (void)e;
    return &none;
}

bool dgm_engine_cancel(dgm_engine *e, uint64_t id)
{
    int n = 0;
    for (int i = 0; i < e->n_jobs; i++)
        if (e->jobs[i].id != id)
            e->jobs[n++] = e->jobs[i];
    const bool found = n < e->n_jobs;
    e->n_jobs = n;
    return found;
}

/* The buffers of the result being polled. */
static int32_t out_ids[DGM_MAX_BEAM][2 * FAKE_MAX_IDS];
static float out_logp[2 * FAKE_MAX_IDS];
static int16_t out_look[DGM_MAX_BEAM][2 * FAKE_MAX_IDS];
static const int16_t *out_looks[DGM_MAX_BEAM];
static dgm_hypothesis out_hyps[DGM_MAX_BEAM];

static void copy_hyp(dgm_engine *e, const fake_job *j, int i)
{
    int32_t *ids = out_ids[i];
    int n = 0;
    for (int p = 1; p < j->n_prompt; p++) {
        out_look[i][n] = -1;
        ids[n++] = j->prompt[p];
    }
    for (int p = 1; !j->score && p < j->n_source - 1; p++) {
        if (j->options.no_repeat_ngram > 0 && j->source[p] == e->mends)
            continue;
        out_look[i][n] = (int16_t)p;
        ids[n++] = j->source[p];
    }
    for (int more = 0; !j->score && more < i; more++) {
        out_look[i][n] = -1;
        ids[n] = ids[n - 1];
        n++;
    }
    const bool cut = !j->score && n + 2 > j->options.max_length;
    if (cut)
        n = j->options.max_length - 1;
    else if (!j->score) {
        out_look[i][n] = -1;
        ids[n++] = e->eos_id;
    }
    for (int k = 0; k < n; k++)
        out_logp[k] = k < 1 ? 0 : -0.5f;
    out_hyps[i] = (dgm_hypothesis){.ids = ids,
                                   .logp = out_logp,
                                   .n = n,
                                   .score = e->score_by_length               ? -(float)j->n_source
                                            : j->options.no_repeat_ngram > 0 ? -3 - (float)i
                                                                             : -1 - (float)i,
                                   .ended = !cut};
    out_looks[i] = out_look[i];
}

bool dgm_engine_poll(dgm_engine *e, dgm_result *out)
{
    if (e->n_ready == 0)
        return false;
    e->n_ready--;
    const int at = (int)(draw(e) % (uint32_t)e->n_jobs);
    const fake_job j = e->jobs[at];
    e->jobs[at] = e->jobs[--e->n_jobs];
    e->finished++;
    if (e->stop_after > 0 && e->finished == e->stop_after)
        *e->stop = SIGTERM;
    *out = (dgm_result){.id = j.id, .target = j.target, .seconds = 0.25};
    const dgm_job job = {.source = j.source, .n_source = j.n_source};
    if (contains(&job, e->poison)) {
        out->status = dgm_fail(DGM_ENAN, "poisoned");
        return true;
    }
    out->n_hyps = j.score ? 1 : j.options.n_best;
    for (int i = 0; i < out->n_hyps; i++)
        copy_hyp(e, &j, i);
    out->hyps = out_hyps;
    out->align = j.options.alignment ? out_looks : NULL;
    return true;
}

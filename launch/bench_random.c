#include "launch/bench_random.h"

#include "base/log.h"

#include <stdlib.h>

enum { MOST_BATCH = 4096 };

int dgm_bench_read_batches(int *batch, int *n_cases, int most, const char *list)
{
    const char *at = list;
    *n_cases = 0;
    for (char *end = NULL;; at = end + 1) {
        const long n = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : 0;
        if (n < 1 || n > most || (*end != ',' && *end != '\0') || *n_cases == DGM_BENCH_CASES)
            return dgm_fail(DGM_EUSAGE,
                            "--batch: want at most %d whole numbers from 1 to %d such as 1,8,32, "
                            "found '%s'",
                            DGM_BENCH_CASES, most, list);
        batch[(*n_cases)++] = (int)n;
        if (*end == '\0')
            return DGM_OK;
    }
}

int dgm_bench_random_init(dgm_bench_random *r, const dgm_options *o)
{
    *r = (dgm_bench_random){.o = *o};
    if (r->o.model[0] == '\0') {
        const char *demo = dgm_options_find_demo();
        r->o.model = demo == NULL ? "" : demo;
        dgm_log(DGM_LOG_INFO, "model", "no --model: using the demonstration model, %s", r->o.model);
    }
    return dgm_bench_read_batches(r->batch, &r->n_cases, MOST_BATCH, r->o.batch);
}

int dgm_bench_random_prepare(dgm_bench_random *r)
{
    const dgm_model_config *c = &r->session.model->cfg;
    const int n = r->o.src_tokens;
    if (n > c->max_source)
        return dgm_fail(DGM_EUSAGE, "--src-tokens: want at most %d, as the model says, found %d",
                        c->max_source, n);
    if (r->o.tgt_tokens > c->max_positions)
        return dgm_fail(DGM_EUSAGE, "--tgt-tokens: want at most %d, as the model says, found %d",
                        c->max_positions, r->o.tgt_tokens);
    r->source = calloc((size_t)n, sizeof *r->source);
    r->target = calloc((size_t)r->o.tgt_tokens, sizeof *r->target);
    return r->source != NULL && r->target != NULL
               ? DGM_OK
               : dgm_fail(DGM_ENOMEM, "cannot allocate %d ids", n + r->o.tgt_tokens);
}

int dgm_bench_random_limits(dgm_engine_config *cfg, const dgm_bench_random *r, int max_target)
{
    int most = 1;
    for (int i = 0; i < r->n_cases; i++)
        most = r->batch[i] > most ? r->batch[i] : most;
    *cfg = (dgm_engine_config){.batch_tokens = most * r->o.src_tokens,
                               .batch_rows = most * r->o.beam,
                               .max_source = r->o.src_tokens,
                               .max_target = max_target,
                               .max_beam = r->o.beam,
                               .max_targets = 1,
                               .prompt_rows = r->forced ? 1 : 4,
                               .overlap = dgm_session_overlap(&r->session)};
    return dgm_session_types(cfg, &r->session);
}

static uint32_t next(uint32_t state)
{
    return state * 1664525u + 1013904223u;
}

/* random_ids - n of them, the last one ends a sentence. Returns where the numbers go on. */
static uint32_t random_ids(int32_t *out, int n, const dgm_model_config *c, uint32_t state)
{
    for (int i = 0; i < n; i++) {
        state = next(state);
        out[i] = (int32_t)(4 + (state >> 8) % (uint32_t)(c->vocab_size - 4));
    }
    out[n - 1] = c->eos_id;
    return state;
}

int dgm_bench_random_submit(const dgm_bench_random *r, int line, int length)
{
    const dgm_model_config *c = &r->session.model->cfg;
    const int n = r->o.src_tokens, language = line % r->o.targets;
    const uint32_t state = random_ids(r->source, n, c, (uint32_t)line * 2654435761u + 1);
    if (r->forced)
        (void)random_ids(r->target, length, c, state);
    r->target[0] = c->decoder_start_id;
    r->target[1] = c->vocab_size - 1 - language;
    const dgm_target target = {.prompt = r->target,
                               .n_prompt = r->forced ? length : DGM_BENCH_PROMPT,
                               .task = c->n_tasks > 0 ? language % c->n_tasks : 0};
    const dgm_job job = {.id = (uint64_t)line,
                         .line = (uint64_t)line,
                         .source = r->source,
                         .n_source = n,
                         .targets = &target,
                         .n_targets = 1,
                         .score = r->forced,
                         .options = {.beam = r->o.beam,
                                     .n_best = 1,
                                     .min_length = length,
                                     .max_length = length,
                                     .length_penalty = 1,
                                     .repetition_penalty = 1,
                                     .sampling_topp = 1,
                                     .temperature = 1,
                                     .eos_id = c->eos_id}};
    return dgm_engine_submit(r->session.engine, &job);
}

int dgm_bench_random_close(dgm_bench_random *r, int rc)
{
    const int code = dgm_session_leave(&r->session, rc);
    dgm_session_close(&r->session);
    free(r->source);
    free(r->target);
    return code;
}

#include "runtime/plan.h"

#include "runtime/expert_sets.h"
#include "runtime/moe.h"

#include <string.h>

static size_t padded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

void *dgm_buf_put(dgm_buf *b, const void *src, size_t bytes)
{
    const size_t take = padded(bytes);
    DGM_ASSERT(take <= b->cap - b->used);
    void *place = b->base + b->used;
    if (src != NULL)
        memcpy(place, src, bytes);
    b->used += take;
    return place;
}

const void *dgm_buf_get(const dgm_buf *b, size_t *at, size_t bytes)
{
    const size_t take = padded(bytes);
    DGM_ASSERT(*at <= b->used && take <= b->used - *at);
    const void *place = b->base + *at;
    *at += take;
    return place;
}

size_t dgm_plan_bytes(const dgm_engine_config *cfg, int slots, int dense)
{
    /* Each target of a slot could be a job of its own. */
    const size_t job = sizeof(dgm_plan_job) + 4 * (size_t)cfg->max_source + 8;
    const size_t target = 4 * (size_t)cfg->max_target + sizeof(dgm_plan_target) + 8;
    const size_t cancels = (size_t)slots * (size_t)dense * sizeof(uint64_t);
    return sizeof(dgm_plan_head) + cancels + (size_t)slots * (job + target) + 64;
}

size_t dgm_plan_marks(const dgm_engine_config *cfg)
{
    return cfg->marks ? cfg->sets->shape.n_experts : 0;
}

size_t dgm_report_bytes(const dgm_engine_config *cfg, int slots)
{
    const size_t hyp = sizeof(dgm_report_hyp) + (4 + 4 + 2) * (size_t)cfg->max_target + 24;
    return sizeof(dgm_report_head) + DGM_PLAN_LAYERS * sizeof(dgm_layer_load) +
           (size_t)slots * (sizeof(dgm_report_result) + padded(dgm_plan_marks(cfg)) +
                            (size_t)cfg->max_beam * hyp) +
           64;
}

size_t dgm_plan_job_bytes(const dgm_job *job)
{
    size_t bytes = padded(sizeof(dgm_plan_job)) + padded(4 * (size_t)job->n_source);
    for (int t = 0; t < job->n_targets; t++)
        bytes += sizeof(dgm_plan_target) + padded(4 * (size_t)job->targets[t].n_prompt);
    return bytes;
}

void dgm_plan_put_job(dgm_buf *b, const dgm_job *job)
{
    const dgm_plan_job head = {.id = job->id,
                               .line = job->line,
                               .n_source = job->n_source,
                               .n_targets = job->n_targets,
                               .score = job->score,
                               .urgent = job->urgent,
                               .options = job->options};
    dgm_buf_put(b, &head, sizeof head);
    dgm_buf_put(b, job->source, (size_t)job->n_source * sizeof(int32_t));
    for (int t = 0; t < job->n_targets; t++) {
        const dgm_target *of = &job->targets[t];
        const dgm_plan_target target = {.n_prompt = of->n_prompt,
                                        .experts = of->experts,
                                        .source_experts = of->source_experts,
                                        .task = of->task,
                                        .number = of->number};
        dgm_buf_put(b, &target, sizeof target);
        dgm_buf_put(b, of->prompt, (size_t)of->n_prompt * sizeof(int32_t));
    }
}

void dgm_plan_get_job(dgm_job *job, dgm_target *targets, const dgm_buf *b, size_t *at)
{
    const dgm_plan_job *head = dgm_buf_get(b, at, sizeof *head);
    *job = (dgm_job){.id = head->id,
                     .line = head->line,
                     .n_source = head->n_source,
                     .targets = targets,
                     .n_targets = head->n_targets,
                     .score = head->score != 0,
                     .urgent = head->urgent != 0,
                     .options = head->options};
    job->source = dgm_buf_get(b, at, (size_t)head->n_source * sizeof(int32_t));
    for (int t = 0; t < head->n_targets; t++) {
        const dgm_plan_target *of = dgm_buf_get(b, at, sizeof *of);
        targets[t] = (dgm_target){.n_prompt = of->n_prompt,
                                  .experts = of->experts,
                                  .source_experts = of->source_experts,
                                  .task = of->task,
                                  .number = of->number};
        targets[t].prompt = dgm_buf_get(b, at, (size_t)of->n_prompt * sizeof(int32_t));
    }
}

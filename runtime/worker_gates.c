#include "runtime/worker_state.h"

#include "runtime/cut.h"
#include "runtime/expert_sets.h"

#include <string.h>

int32_t dgm_worker_source_code(const dgm_worker *w, const dgm_job *job)
{
    return job->source[w->f.model->cfg.source_suffix ? job->n_source - 1 : 0];
}

/* run_of - of a target of a job, in the statistics. */
static int run_of(int *run, const dgm_worker *w, int32_t source, int32_t target, bool score)
{
    return dgm_gate_record_run(run, w->record, source, target,
                               score ? DGM_GATES_FORCED : DGM_GATES_BEAM);
}

int dgm_worker_count_tokens(dgm_worker *w, const dgm_buf *plan, size_t at, const int32_t *starts,
                            int n_jobs)
{
    for (int j = 0; j < n_jobs; j++) {
        dgm_job job;
        dgm_plan_get_job(&job, w->targets, plan, &at);
        for (int t = 0; t < job.n_targets; t++) {
            int run;
            DGM_TRY(run_of(&run, w, dgm_worker_source_code(w, &job), job.targets[t].prompt[1],
                           job.score));
            for (int i = starts[j]; i < starts[j + 1]; i++)
                dgm_gate_record_add(w->record, run, DGM_ENCODER,
                                    dgm_gate_record_token(w->record, i), false);
        }
    }
    return DGM_OK;
}

int dgm_worker_count_path(const dgm_worker *w, const dgm_worker_slot *s, const dgm_hypothesis *h)
{
    const int32_t eos = w->f.model->cfg.eos_id;
    int run;
    if (w->record == NULL)
        return DGM_OK;
    DGM_TRY(run_of(&run, w, s->source_code, s->prompt[1], s->score));
    for (int p = 0; p < h->n; p++) { /* the row at position p predicted ids[p] */
        const int row = h->rows == NULL ? 0 : h->rows[p];
        dgm_gate_record_add(w->record, run, DGM_DECODER,
                            dgm_gate_record_row(w->record, (int)(s - w->slots), p, row),
                            h->ids[p] == eos);
    }
    return DGM_OK;
}

float *const *dgm_worker_token_gates(dgm_worker *w, int n)
{
    if (w->record == NULL)
        return NULL;
    float **to = dgm_arena_push(&w->step, (size_t)n * sizeof *to);
    for (int i = 0; i < n; i++)
        to[i] = dgm_gate_record_token(w->record, i);
    return to;
}

float *const *dgm_worker_row_gates(dgm_worker *w, const dgm_decoder_row *rows, int n)
{
    if (w->record == NULL)
        return NULL;
    float **to = dgm_arena_push(&w->step, (size_t)n * sizeof *to);
    for (int r = 0; r < n; r++)
        to[r] = dgm_gate_record_row(w->record, rows[r].slot, rows[r].pos, rows[r].row);
    return to;
}

float *const *dgm_worker_token_absent(dgm_worker *w, int n)
{
    if (w->lost == NULL)
        return NULL;
    float **to = dgm_arena_push(&w->step, (size_t)n * sizeof *to);
    for (int i = 0; i < n; i++)
        to[i] = dgm_lost_mass_token(w->lost, i);
    return to;
}

float *const *dgm_worker_row_absent(dgm_worker *w, const dgm_decoder_row *rows, int n)
{
    if (w->lost == NULL)
        return NULL;
    float **to = dgm_arena_push(&w->step, (size_t)n * sizeof *to);
    for (int r = 0; r < n; r++)
        to[r] = dgm_lost_mass_row(w->lost, rows[r].slot, rows[r].pos, rows[r].row);
    return to;
}

const uint8_t *dgm_worker_mask(const dgm_worker *w, int number)
{
    const uint8_t *set = w->cfg.sets == NULL ? NULL : dgm_expert_set(w->cfg.sets, number);
    return set != NULL || w->f.model->cut == NULL ? set : w->f.model->cut->there;
}

bool dgm_worker_masks(const dgm_worker *w)
{
    return w->cfg.sets != NULL || w->f.model->cut != NULL;
}

static uint8_t *marks_of(const dgm_worker *w, int stack, int i)
{
    return w->marks[stack] + (size_t)i * w->n_marks;
}

uint8_t *const *dgm_worker_token_marks(dgm_worker *w, const int32_t *starts, const int *memory,
                                       int n_jobs)
{
    if (w->n_marks == 0)
        return NULL;
    uint8_t **to = dgm_arena_push(&w->step, (size_t)starts[n_jobs] * sizeof *to);
    for (int j = 0; j < n_jobs; j++) {
        memset(marks_of(w, DGM_ENCODER, memory[j]), 0, w->n_marks);
        for (int i = starts[j]; i < starts[j + 1]; i++)
            to[i] = marks_of(w, DGM_ENCODER, memory[j]);
    }
    return to;
}

uint8_t *const *dgm_worker_row_marks(dgm_worker *w, const dgm_decoder_row *rows, int n)
{
    if (w->n_marks == 0)
        return NULL;
    uint8_t **to = dgm_arena_push(&w->step, (size_t)n * sizeof *to);
    for (int r = 0; r < n; r++)
        to[r] = marks_of(w, DGM_DECODER, rows[r].slot);
    return to;
}

void dgm_worker_put_marks(dgm_worker *w, const dgm_worker_slot *s)
{
    if (w->n_marks == 0)
        return;
    const uint8_t *source = marks_of(w, DGM_ENCODER, s->memory);
    uint8_t *target = marks_of(w, DGM_DECODER, (int)(s - w->slots));
    for (size_t e = 0; e < w->n_marks; e++)
        target[e] |= source[e];
    dgm_buf_put(&w->report, target, w->n_marks);
    memset(target, 0, w->n_marks);
}

const uint8_t *const *dgm_worker_row_experts(dgm_worker *w, const dgm_decoder_row *rows, int n)
{
    if (!dgm_worker_masks(w))
        return NULL;
    const uint8_t **of = dgm_arena_push(&w->step, (size_t)n * sizeof *of);
    for (int r = 0; r < n; r++)
        of[r] = dgm_worker_mask(w, w->slots[rows[r].slot].experts);
    return of;
}

void dgm_worker_row_routing(dgm_worker *w, const dgm_decoder_row *rows, int n)
{
    int32_t *tasks = dgm_arena_push(&w->step, (size_t)n * sizeof *tasks);
    const float **means = dgm_arena_push(&w->step, (size_t)n * sizeof *means);
    for (int r = 0; r < n; r++) {
        tasks[r] = w->slots[rows[r].slot].task;
        if (w->means != NULL)
            means[r] = w->means + (size_t)rows[r].memory * (size_t)w->f.model->cfg.d_model;
    }
    w->f.tasks = tasks;
    w->f.means = means;
}

int dgm_worker_record_text(dgm_worker *w, const dgm_job *job)
{
    for (int t = 0; t < job->n_targets; t++) {
        const dgm_target *target = &job->targets[t];
        int run;
        DGM_TRY(run_of(&run, w, dgm_worker_source_code(w, job), target->prompt[1], job->score));
        dgm_gate_record_text(w->record, run, job->source, job->n_source, target->prompt,
                             job->score ? target->n_prompt : 0);
    }
    return DGM_OK;
}

int dgm_worker_gather_gates(dgm_worker *w, dgm_gate_stats *out)
{
    return dgm_gate_record_gather(out, w->record, w->comm);
}

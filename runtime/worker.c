#include "runtime/worker.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/memory.h"
#include "runtime/batch.h"
#include "runtime/encoder.h"
#include "runtime/expert_sets.h"
#include "runtime/worker_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_EVERY_NS = 1000000000 };

typedef dgm_worker_slot slot;

/* The widest options that a job may bring: sizes follow from them. */
static dgm_decode_options widest(const dgm_engine_config *cfg)
{
    return (dgm_decode_options){.beam = cfg->max_beam,
                                .n_best = cfg->max_beam,
                                .max_length = cfg->max_target,
                                .length_penalty = 1,
                                .repetition_penalty = 1,
                                .sampling_topp = 1,
                                .temperature = 1,
                                .sampling = 1,
                                .token_scores = 1,
                                .alignment = 1};
}

static int max_rows(const dgm_engine_config *cfg, int slots)
{
    return slots * (cfg->max_beam > cfg->prompt_rows ? cfg->max_beam : cfg->prompt_rows);
}

/* The most source tokens that rank 0 gives one rank in a step (runtime/batch.h). */
static int max_tokens(const dgm_engine_config *cfg, int ranks)
{
    const int dense = cfg->dense_ranks == 0 ? ranks : cfg->dense_ranks;
    return dgm_batch_share(cfg->batch_tokens, dense) + cfg->max_source;
}

static int max_best(const dgm_engine_config *cfg)
{
    return 2 * cfg->max_beam + cfg->max_target;
}

static size_t slot_bytes(const dgm_engine_config *cfg, const dgm_model *model)
{
    const dgm_decode_options o = widest(cfg);
    const size_t n = (size_t)cfg->max_target;
    return dgm_search_bytes(&o, model->cfg.vocab_size) + n * (4 + 4 + 2 * (size_t)cfg->max_beam) +
           (size_t)cfg->max_source * sizeof(int32_t) + 5 * 64;
}

static size_t step_bytes(const dgm_engine_config *cfg, int slots, int tokens,
                         const dgm_model *model, int n_threads)
{
    const int rows = max_rows(cfg, slots);
    const int most = rows > tokens ? rows : tokens;
    const int keys = cfg->max_source > cfg->max_target ? cfg->max_source : cfg->max_target;
    const size_t best =
        (size_t)max_best(cfg) * 8 + 128 + (size_t)model->cfg.vocab_size * sizeof(float) + 64;
    return (size_t)rows *
               (sizeof(dgm_decoder_row) + sizeof(dgm_vocab_row) + best + 68 + 5 * sizeof(void *)) +
           (size_t)tokens * ((size_t)model->cfg.d_model * sizeof(float) + 24 + 4 * sizeof(void *)) +
           dgm_block_scratch_bytes(model, most, keys, n_threads) +
           dgm_encoder_scratch_bytes(model, tokens) +
           dgm_decoder_scratch_bytes(model, rows, tokens, cfg->max_target, cfg->max_source,
                                     max_best(cfg), n_threads) +
           (1U << 20);
}

/* means_bytes - of dgm_worker.means, should there be any. */
static size_t means_bytes(int slots, const dgm_model *model)
{
    return (size_t)slots * (size_t)model->cfg.d_model * sizeof(float);
}

static void lay_out_slots(dgm_worker *w)
{
    const dgm_decode_options o = widest(&w->cfg);
    const size_t n = (size_t)w->cfg.max_target;
    w->slots = dgm_arena_push(&w->life, (size_t)w->n_slots * sizeof *w->slots);
    w->memories = dgm_arena_push(&w->life, (size_t)w->n_slots * sizeof *w->memories);
    if (w->f.model->cfg.routing[DGM_DECODER] == DGM_BY_SENTENCE)
        w->means = dgm_arena_push(&w->life, means_bytes(w->n_slots, w->f.model));
    w->targets = dgm_arena_push(&w->life, (size_t)w->cfg.max_targets * sizeof *w->targets);
    for (int i = 0; i < w->n_slots; i++) {
        slot *s = &w->slots[i];
        s->prompt = dgm_arena_push(&w->life, n * sizeof *s->prompt);
        s->logp = dgm_arena_push(&w->life, n * sizeof *s->logp);
        s->looked = dgm_arena_push(&w->life, n * (size_t)w->cfg.max_beam * sizeof *s->looked);
        s->search_mem = dgm_arena_push(&w->life, dgm_search_bytes(&o, w->f.model->cfg.vocab_size));
        w->memories[i].source =
            dgm_arena_push(&w->life, (size_t)w->cfg.max_source * sizeof(int32_t));
    }
    w->n_marks = dgm_plan_marks(&w->cfg);
    for (int k = 0; k < DGM_STACKS && w->n_marks > 0; k++) {
        w->marks[k] = dgm_arena_push(&w->life, (size_t)w->n_slots * w->n_marks);
        memset(w->marks[k], 0, (size_t)w->n_slots * w->n_marks);
    }
    w->report.cap = dgm_report_bytes(&w->cfg, w->n_slots);
    w->report.base = dgm_arena_push(&w->life, w->report.cap);
}

int dgm_worker_create(dgm_worker **out, const dgm_engine_config *cfg, int slots, int most_slots,
                      const dgm_model *model, const dgm_kernels *kern, dgm_pool *pool,
                      dgm_comm *comm)
{
    dgm_worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the engine");
    const int n_threads = dgm_pool_size(pool), tokens = max_tokens(cfg, dgm_comm_size(comm));
    w->cfg = *cfg;
    w->n_slots = slots;
    w->comm = comm;
    w->f = (dgm_forward){.model = model,
                         .kern = kern,
                         .pool = pool,
                         .comm = comm,
                         .compute = cfg->compute,
                         .lists = cfg->lists,
                         .step = &w->step};
    const size_t life =
        (size_t)slots * (sizeof(slot) + sizeof(dgm_worker_memory) + slot_bytes(cfg, model)) +
        (size_t)cfg->max_targets * sizeof *w->targets + means_bytes(slots, model) +
        DGM_STACKS * (size_t)slots * dgm_plan_marks(cfg) + dgm_report_bytes(cfg, slots) + 65536;
    int rc = dgm_arena_init(&w->life, life);
    if (rc == DGM_OK)
        rc = dgm_arena_init_huge(&w->step, step_bytes(cfg, slots, tokens, model, n_threads));
    if (rc == DGM_OK)
        rc = dgm_kvcache_init(&w->kv, model,
                              &(dgm_kv_limits){.slots = slots,
                                               .rows = dgm_engine_usual_beam(cfg),
                                               .most_rows = cfg->max_beam,
                                               .max_target = cfg->max_target,
                                               .max_source = cfg->max_source},
                              cfg->kv_bf16);
    if (rc == DGM_OK && dgm_config_most_experts(&model->cfg) > 0) {
        const int rows = max_rows(cfg, most_slots);
        rc = dgm_moe_create(&w->moe, model, comm, rows > tokens ? rows : tokens, n_threads,
                            cfg->compute);
        if (rc == DGM_OK && cfg->gpu != NULL)
            dgm_moe_use_gpu(w->moe, cfg->gpu);
    }
    if (rc == DGM_OK && cfg->sets != NULL && cfg->sets->n > 0 && !cfg->marks)
        rc = dgm_lost_mass_create(&w->lost, model, tokens, slots, cfg->max_beam, cfg->max_target);
    if (rc == DGM_OK && cfg->record)
        rc = dgm_gate_record_create(&w->record, model, kern, tokens, slots, cfg->max_beam,
                                    cfg->max_target);
    if (rc != DGM_OK) {
        dgm_worker_destroy(w);
        return rc;
    }
    w->f.moe = w->moe;
    w->f.bad_text = w->bad_text;
    lay_out_slots(w);
    *out = w;
    return DGM_OK;
}

void dgm_worker_destroy(dgm_worker *w)
{
    if (w == NULL)
        return;
    dgm_moe_destroy(w->moe);
    dgm_gate_record_destroy(w->record);
    dgm_lost_mass_destroy(w->lost);
    dgm_kvcache_fini(&w->kv);
    dgm_arena_fini(&w->step);
    dgm_arena_fini(&w->life);
    free(w);
}

/* Gives each target of a job a slot; they share the encoding in `memory`, with each other and with who has it already. */
static void admit(dgm_worker *w, const dgm_job *job, int memory)
{
    const bool suffix = w->f.model->cfg.source_suffix;
    w->memories[memory].users += job->n_targets;
    int at = 0;
    for (int t = 0; t < job->n_targets; t++, at++) {
        while (at < w->n_slots && w->slots[at].live)
            at++;
        DGM_ASSERT(at < w->n_slots); /* rank 0 counts our slots */
        slot *s = &w->slots[at];
        s->live = true;
        s->bad = false;
        s->score = job->score;
        s->urgent = job->urgent;
        s->id = job->id;
        s->line = job->line;
        s->target = job->targets[t].number;
        s->memory = memory;
        s->n_source = job->n_source;
        s->look_from = suffix ? 0 : 1;
        s->look_to = suffix ? job->n_source - 2 : job->n_source - 1;
        s->n_prompt = job->targets[t].n_prompt;
        memcpy(s->prompt, job->targets[t].prompt, (size_t)s->n_prompt * sizeof *s->prompt);
        s->list = job->score ? NULL : dgm_shortlists_find(w->cfg.lists, s->prompt[1]);
        s->fed = 0;
        s->logp[0] = 0;
        s->search = NULL;
        s->options = job->options;
        s->entered_s = dgm_now_s();
        s->source_code = dgm_worker_source_code(w, job);
        s->experts = job->targets[t].experts;
        s->task = job->targets[t].task;
    }
}

/* task_of - what the encoder is routed by, beside the ids. */
static int task_of(const dgm_worker *w, const dgm_job *job)
{
    return dgm_routing_by_task(w->f.model->cfg.routing[DGM_ENCODER]) ? job->targets[0].task : 0;
}

/* find_memory - an encoding in use that is the job's: of the same ids, by the same experts. -1: there is none. Where somebody counts the
 * tokens of an encode phase, or looks at its rows, each job has its own. */
static int find_memory(const dgm_worker *w, const dgm_job *job)
{
    const int task = task_of(w, job);
    const bool watched = w->record != NULL || w->f.observer != NULL;
    for (int i = 0; !watched && i < w->n_slots; i++) {
        const dgm_worker_memory *m = &w->memories[i];
        if (m->users > 0 && m->n_source == job->n_source && m->task == task &&
            m->source_experts == job->targets[0].source_experts &&
            memcmp(m->source, job->source, (size_t)job->n_source * sizeof *job->source) == 0)
            return i;
    }
    return -1;
}

/* begin_memory - a free one, for the job's encoding. */
static int begin_memory(dgm_worker *w, const dgm_job *job)
{
    int i = 0;
    while (i < w->n_slots && w->memories[i].users > 0)
        i++;
    DGM_ASSERT(i < w->n_slots);
    dgm_worker_memory *m = &w->memories[i];
    m->n_source = job->n_source;
    m->source_experts = job->targets[0].source_experts;
    m->task = task_of(w, job);
    memcpy(m->source, job->source, (size_t)job->n_source * sizeof *m->source);
    return i;
}

/* keep_mean - of rows from .. to - 1 of an encode phase: what the decoder is routed by. */
static void keep_mean(const dgm_worker *w, int memory, const float *rows, int from, int to)
{
    const size_t d = (size_t)w->f.model->cfg.d_model;
    dgm_moe_mean(w->means + (size_t)memory * d, &w->f, rows + (size_t)from * d, to - from);
}

/* watch_rows - rows of this phase that are bad fail their lines, if that is wanted. */
static void watch_rows(dgm_worker *w, int n)
{
    w->f.bad = NULL;
    if (!w->cfg.fail_lines)
        return;
    w->f.bad = dgm_arena_push(&w->step, (size_t)n + 1);
    memset(w->f.bad, 0, (size_t)n + 1);
}

static bool any_bad(const dgm_worker *w, int from, int to)
{
    return w->f.bad != NULL && from < to && memchr(w->f.bad + from, 1, (size_t)(to - from)) != NULL;
}

/* spoil - the targets of an encoding. */
static void spoil(dgm_worker *w, int memory)
{
    for (int i = 0; i < w->n_slots; i++)
        if (w->slots[i].live && w->slots[i].memory == memory)
            w->slots[i].bad = true;
}

/* Stage 4 for the plan's new sentences, but for those that are being decoded into another language, or by other options. */
static int encode(dgm_worker *w, const dgm_buf *plan, size_t at, int n_jobs)
{
    const size_t first_job = at;
    const size_t mark = dgm_arena_mark(&w->step);
    const int most = max_tokens(&w->cfg, dgm_comm_size(w->comm));
    int32_t *ids = dgm_arena_push(&w->step, (size_t)most * sizeof *ids);
    int32_t *pos = dgm_arena_push(&w->step, (size_t)most * sizeof *pos);
    int32_t *starts = dgm_arena_push(&w->step, ((size_t)n_jobs + 1) * sizeof *starts);
    int *memory = dgm_arena_push(&w->step, ((size_t)n_jobs + 1) * sizeof *memory);
    const uint8_t **experts = dgm_arena_push(&w->step, (size_t)most * sizeof *experts);
    int32_t *tasks = dgm_arena_push(&w->step, (size_t)most * sizeof *tasks);
    int32_t *sentences = dgm_arena_push(&w->step, (size_t)most * sizeof *sentences);
    dgm_encoder_batch b = {.ids = ids, .pos = pos, .starts = starts};
    starts[0] = 0;
    for (int j = 0; j < n_jobs; j++) {
        dgm_job job;
        dgm_plan_get_job(&job, w->targets, plan, &at);
        const int there = find_memory(w, &job);
        if (there >= 0) {
            admit(w, &job, there);
            w->stats.shared_tokens += (uint64_t)job.n_source;
            continue;
        }
        DGM_ASSERT(b.n_tokens + job.n_source <= most);
        for (int i = 0; i < job.n_source; i++) {
            ids[b.n_tokens] = job.source[i];
            experts[b.n_tokens] = dgm_worker_mask(w, job.targets[0].source_experts);
            tasks[b.n_tokens] = job.targets[0].task;
            sentences[b.n_tokens] = b.n_seqs;
            pos[b.n_tokens++] = i;
        }
        memory[b.n_seqs] = begin_memory(w, &job);
        admit(w, &job, memory[b.n_seqs]);
        starts[++b.n_seqs] = b.n_tokens;
    }
    float *rows = dgm_arena_push(&w->step, (size_t)b.n_tokens * (size_t)w->f.model->cfg.d_model *
                                               sizeof(float));
    w->f.gates = dgm_worker_token_gates(w, b.n_tokens);
    w->f.absent = dgm_worker_token_absent(w, b.n_tokens);
    w->f.marks = dgm_worker_token_marks(w, starts, memory, b.n_seqs);
    w->f.experts = dgm_worker_masks(w) ? experts : NULL;
    w->f.tasks = tasks;
    w->f.sentences = sentences;
    watch_rows(w, b.n_tokens);
    DGM_TRY(dgm_encoder_forward(&w->f, rows, &b));
    for (int j = 0; j < b.n_seqs; j++)
        if (any_bad(w, starts[j], starts[j + 1]))
            spoil(w, memory[j]);
    for (int j = 0; w->means != NULL && j < b.n_seqs; j++)
        keep_mean(w, memory[j], rows, starts[j], starts[j + 1]);
    for (int j = 0; w->lost != NULL && j < b.n_seqs; j++)
        dgm_lost_mass_source(w->lost, memory[j], starts[j], starts[j + 1] - starts[j]);
    if (w->record != NULL)
        DGM_TRY(dgm_worker_count_tokens(w, plan, first_job, starts, n_jobs));
    if (b.n_seqs > 0)
        dgm_decoder_cross(&w->f, &w->kv, rows, starts, memory, b.n_seqs);
    w->stats.encoded_tokens += (uint64_t)b.n_tokens;
    dgm_arena_pop(&w->step, mark);
    return DGM_OK;
}

/* Asks the vocabulary for a row's candidates; memory comes from the step. */
static dgm_vocab_row *want_best(dgm_worker *w, const slot *s)
{
    int n_best;
    bool full;
    dgm_search_needs(s->search, &n_best, &full);
    dgm_vocab_row *v = dgm_arena_push(&w->step, sizeof *v);
    *v = (dgm_vocab_row){.n_best = n_best, .want_id = -1};
    v->ids = dgm_arena_push(&w->step, (size_t)n_best * sizeof *v->ids);
    v->logits = dgm_arena_push(&w->step, (size_t)n_best * sizeof *v->logits);
    if (full)
        v->full = dgm_arena_push(&w->step, (size_t)w->f.model->cfg.vocab_size * sizeof *v->full);
    return v;
}

static dgm_vocab_row *want_one(dgm_worker *w, int32_t id)
{
    dgm_vocab_row *v = dgm_arena_push(&w->step, sizeof *v);
    *v = (dgm_vocab_row){.want_id = id};
    return v;
}

/* The next tokens of a prompt. The last one's row starts the search; when scoring, each row is asked for the
 * token that follows, and the last token is never fed. */
static int prompt_rows(dgm_worker *w, dgm_decoder_row *rows, slot *s)
{
    const int end = s->score ? s->n_prompt - 1 : s->n_prompt;
    int n = 0;
    for (int p = s->fed; p < end && n < w->cfg.prompt_rows; p++, n++) {
        rows[n] = (dgm_decoder_row){.token = s->prompt[p], .pos = p};
        if (s->score && p > 0) /* position 0 predicts the code, which is given */
            rows[n].best = want_one(w, s->prompt[p + 1]);
    }
    if (!s->score && s->fed + n == end) {
        s->search = dgm_search_init(s->search_mem, &s->options, w->f.model->cfg.vocab_size,
                                    s->prompt, s->n_prompt, s->line);
        if (dgm_search_rows(s->search) > 0)
            rows[n - 1].best = want_best(w, s);
    }
    return n;
}

static int search_rows(dgm_worker *w, dgm_decoder_row *rows, const slot *s)
{
    const int n = dgm_search_rows(s->search);
    for (int r = 0; r < n; r++)
        rows[r] = (dgm_decoder_row){.token = dgm_search_token(s->search, r),
                                    .pos = dgm_search_length(s->search) - 1,
                                    .row = r,
                                    .path = dgm_search_path(s->search, r),
                                    .best = want_best(w, s)};
    return n;
}

static int slot_rows(dgm_worker *w, dgm_decoder_row *rows, int i)
{
    slot *s = &w->slots[i];
    const bool searching = s->search != NULL;
    s->n_rows = searching ? search_rows(w, rows, s) : prompt_rows(w, rows, s);
    for (int r = 0; r < s->n_rows; r++) {
        dgm_decoder_row *row = &rows[r];
        row->slot = i;
        row->memory = s->memory;
        row->n_source = s->n_source;
        row->list = s->list;
        if (s->options.alignment && s->look_to > s->look_from) {
            row->looked_at = &s->looked[row->pos * w->cfg.max_beam + row->row];
            row->look_from = s->look_from;
            row->look_to = s->look_to;
        }
    }
    if (!searching)
        s->fed += s->n_rows;
    return s->n_rows;
}

static void put_hyp(dgm_worker *w, const slot *s, const dgm_hypothesis *h, bool logp, bool align)
{
    const size_t n = (size_t)h->n;
    const dgm_report_hyp head = {.n = h->n, .ended = h->ended, .score = h->score};
    dgm_buf_put(&w->report, &head, sizeof head);
    dgm_buf_put(&w->report, h->ids, n * sizeof *h->ids);
    if (logp)
        dgm_buf_put(&w->report, h->logp, n * sizeof *h->logp);
    if (!align)
        return;
    /* ids[i] stands at position i + 1 and was predicted by the row that held position i. */
    int16_t *look = dgm_buf_put(&w->report, NULL, n * sizeof *look);
    for (size_t i = 0; i < n; i++)
        look[i] = s->look_to > s->look_from
                      ? s->looked[i * (size_t)w->cfg.max_beam + (h->rows == NULL ? 0 : h->rows[i])]
                      : -1;
}

/* put_result - its head and marks; returns where the head lies. */
static dgm_report_result *put_result(dgm_worker *w, const slot *s)
{
    const dgm_report_result head = {.id = s->id,
                                    .seconds = dgm_now_s() - s->entered_s,
                                    .target = s->target,
                                    .has_logp = s->score || s->options.token_scores,
                                    .has_align = s->options.alignment};
    dgm_report_result *place = dgm_buf_put(&w->report, &head, sizeof head);
    dgm_worker_put_marks(w, s);
    ((dgm_report_head *)w->report.base)->n_results++;
    return place;
}

static void free_slot(dgm_worker *w, slot *s)
{
    dgm_kv_drop(&w->kv.self, (int)(s - w->slots));
    if (--w->memories[s->memory].users == 0)
        dgm_kv_drop(&w->kv.cross, s->memory);
    s->live = false;
}

/* cancel - whatever of these jobs is here goes; its results have no hypotheses. */
static void cancel(dgm_worker *w, const uint64_t *ids, int n)
{
    for (int i = 0; i < w->n_slots; i++)
        for (int k = 0; k < n && w->slots[i].live; k++) {
            if (w->slots[i].id != ids[k])
                continue;
            (void)put_result(w, &w->slots[i]);
            free_slot(w, &w->slots[i]);
        }
}

/* drop_bad - those of which a number is none: their results have no hypotheses either. */
static void drop_bad(dgm_worker *w)
{
    for (int i = 0; i < w->n_slots; i++) {
        if (!w->slots[i].live || !w->slots[i].bad)
            continue;
        put_result(w, &w->slots[i])->status = DGM_ENAN;
        free_slot(w, &w->slots[i]);
    }
}

/* Writes a finished slot's result into the report and frees it. */
static int finish(dgm_worker *w, slot *s)
{
    int rc = DGM_OK;
    dgm_report_result *place = put_result(w, s);
    dgm_hypothesis h, best = {0};
    if (s->score) {
        float sum = 0;
        for (int i = 1; i < s->n_prompt - 1; i++)
            sum += s->logp[i];
        h = (dgm_hypothesis){.ids = s->prompt + 1,
                             .logp = s->logp,
                             .n = s->n_prompt - 1,
                             .score = sum,
                             .ended = true};
        put_hyp(w, s, &h, true, place->has_align != 0);
        place->n_hyps = 1;
        best = h;
    } else {
        for (; place->n_hyps < s->options.n_best && dgm_search_result(s->search, place->n_hyps, &h);
             place->n_hyps++)
            put_hyp(w, s, &h, place->has_logp != 0, place->has_align != 0);
        if (!dgm_search_result(s->search, 0, &best))
            best = (dgm_hypothesis){0};
    }
    rc = dgm_worker_count_path(w, s, &best);
    if (w->lost != NULL)
        place->absent =
            dgm_lost_mass_path(w->lost, s->memory, (int)(s - w->slots), best.rows, best.n);
    free_slot(w, s);
    return rc;
}

static void advance_score(slot *s, const dgm_decoder_row *rows)
{
    for (int r = 0; r < s->n_rows; r++) {
        const dgm_vocab_row *v = rows[r].best;
        if (v != NULL) /* row at position p told of token p + 1, which is logp[p] */
            s->logp[rows[r].pos] = (v->want_logit - v->max) - v->log_sum;
    }
}

static void advance_search(dgm_worker *w, slot *s, const dgm_decoder_row *rows)
{
    const size_t mark = dgm_arena_mark(&w->step);
    const int n = dgm_search_rows(s->search);
    const dgm_decoder_row *last = rows + s->n_rows - n; /* of a prompt, the last row alone */
    dgm_row_best *best = dgm_arena_push(&w->step, (size_t)n * sizeof *best);
    for (int r = 0; r < n; r++) {
        const dgm_vocab_row *v = last[r].best;
        best[r] = (dgm_row_best){v->ids, v->logits, v->n_found, v->max, v->log_sum, v->full};
    }
    if (n > 0)
        dgm_search_advance(s->search, best);
    dgm_arena_pop(&w->step, mark);
}

/* choose_slots - who takes part in this step: all, or the urgent ones, and of the others so many in turn. */
static void choose_slots(dgm_worker *w, const dgm_plan_head *plan)
{
    int others = plan->others > 0 ? plan->others : w->n_slots, last = -1;
    if (plan->flags & DGM_PLAN_URGENT)
        others = 0;
    for (int i = 0; i < w->n_slots; i++) {
        const int at = (w->turn + i) % w->n_slots;
        slot *s = &w->slots[at];
        s->steps = s->live && (s->urgent || others > 0);
        if (s->steps && !s->urgent) {
            others--;
            last = at;
        }
    }
    if (last >= 0)
        w->turn = (last + 1) % w->n_slots;
}

/* Stages 9 and 10 for every sentence that this step takes. */
static int decode(dgm_worker *w, const dgm_plan_head *plan)
{
    choose_slots(w, plan);
    const size_t mark = dgm_arena_mark(&w->step);
    dgm_decoder_row *rows =
        dgm_arena_push(&w->step, (size_t)max_rows(&w->cfg, w->n_slots) * sizeof *rows);
    int n = 0;
    for (int i = 0; i < w->n_slots; i++)
        if (w->slots[i].steps)
            n += slot_rows(w, rows + n, i);
    w->f.gates = dgm_worker_row_gates(w, rows, n);
    w->f.absent = dgm_worker_row_absent(w, rows, n);
    w->f.marks = dgm_worker_row_marks(w, rows, n);
    w->f.experts = dgm_worker_row_experts(w, rows, n);
    dgm_worker_row_routing(w, rows, n);
    watch_rows(w, n);
    const double started = dgm_now_s();
    int rc = dgm_decoder_step(&w->f, &w->kv, rows, n);
    w->decode_s = dgm_now_s() - started;
    w->stats.decoded_rows += (uint64_t)n;
    const int64_t began = dgm_stage_begin(w->f.clock);
    dgm_comm_at(w->f.comm, "search", -1);
    const dgm_decoder_row *at = rows;
    for (int i = 0; rc == DGM_OK && i < w->n_slots; i++) {
        slot *s = &w->slots[i];
        if (!s->steps)
            continue;
        s->bad = any_bad(w, (int)(at - rows), (int)(at - rows) + s->n_rows);
        if (s->bad) {
            at += s->n_rows;
            continue;
        }
        if (s->score)
            advance_score(s, at);
        else if (s->search != NULL)
            advance_search(w, s, at);
        at += s->n_rows;
        if (s->score ? s->fed == s->n_prompt - 1
                     : s->search != NULL && dgm_search_rows(s->search) == 0)
            rc = finish(w, s);
    }
    drop_bad(w);
    dgm_stage_end(w->f.clock, DGM_STAGE_SEARCH, began, n, 0);
    dgm_arena_pop(&w->step, mark);
    return rc;
}

static bool peer_gone(int rc)
{
    return rc == DGM_EPEER || rc == DGM_EDEADLINE;
}

/* halves - the plan wants them, and there is something to hide: rows of a layer of the stack that travel. */
static bool halves(const dgm_worker *w, const dgm_plan_head *head, int stack)
{
    const dgm_stack *s = &w->f.model->stack[stack];
    bool travel = false;
    for (int i = 0; i < s->n_layers; i++) {
        const int l = s->layers[i].moe_index;
        travel = travel || (s->layers[i].sparse && (head->skip[l / 8] >> l % 8 & 1) == 0);
    }
    return travel && (head->flags & DGM_PLAN_OVERLAP) != 0;
}

/* note_memory - now and then: the kernel is asked. */
static void note_memory(dgm_worker *w)
{
    const int64_t now = dgm_now_ns();
    if (now - w->memory_ns < MEMORY_EVERY_NS && w->memory_ns != 0)
        return;
    w->memory_ns = now;
    w->stats.rss_bytes = dgm_memory_resident();
}

int dgm_worker_step(dgm_worker *w, const dgm_buf *plan, dgm_buf *report)
{
    size_t at = 0;
    const dgm_plan_head *head = dgm_buf_get(plan, &at, sizeof *head);
    w->report.used = 0;
    w->bad_text[0] = '\0';
    dgm_report_head *out =
        dgm_buf_put(&w->report, &(dgm_report_head){.step = head->step}, sizeof *out);
    dgm_layer_load *load = dgm_buf_put(
        &w->report, NULL, (size_t)w->f.model->placement.n_layers * sizeof(dgm_layer_load));
    int rc = DGM_OK;
    w->f.skip = head->skip;
    w->f.overlap = halves(w, head, DGM_ENCODER);
    if (head->flags & DGM_PLAN_SETS)
        rc = dgm_expert_sets_share(w->cfg.sets, w->comm);
    if (head->n_cancels > 0)
        cancel(w, dgm_buf_get(plan, &at, (size_t)head->n_cancels * sizeof(uint64_t)),
               head->n_cancels);
    if (!peer_gone(rc) && (head->flags & DGM_PLAN_ENCODE))
        rc = encode(w, plan, at, head->n_jobs);
    drop_bad(w);
    w->f.overlap = halves(w, head, DGM_DECODER);
    const uint64_t sent = dgm_worker_stats(w).exchange_bytes;
    if (!peer_gone(rc) && (head->flags & DGM_PLAN_DECODE))
        rc = decode(w, head);
    w->stats.decoder_exchange_bytes += dgm_worker_stats(w).exchange_bytes - sent;
    if (peer_gone(rc))
        return rc;
    /* What failed on the way made logits fail at its end: the first one is told. */
    const int bad = w->moe == NULL ? DGM_OK : dgm_moe_verdict(w->moe);
    if (bad != DGM_OK)
        rc = bad;
    out->status = rc;
    (void)snprintf(out->sentence, sizeof out->sentence, "%s",
                   rc != DGM_OK ? dgm_error_text() : w->bad_text);
    w->stats.steps++;
    if (w->moe != NULL)
        dgm_moe_take_load(w->moe, load);
    if (head->flags & DGM_PLAN_STOP)
        w->stats.peak_rss_bytes = dgm_memory_peak();
    note_memory(w);
    out->stats = dgm_worker_stats(w);
    *report = w->report;
    return DGM_OK;
}

void dgm_worker_set_clock(dgm_worker *w, dgm_stage_clock *clock)
{
    w->f.clock = clock;
}

void dgm_worker_set_observer(dgm_worker *w, const dgm_observer *observer)
{
    w->f.observer = observer;
}

double dgm_worker_decode_s(const dgm_worker *w)
{
    return w->decode_s;
}

dgm_engine_stats dgm_worker_stats(const dgm_worker *w)
{
    dgm_engine_stats s = w->stats;
    if (w->moe != NULL) {
        const dgm_xchg_stats x = dgm_moe_exchange_stats(w->moe);
        s.exchange_bytes = x.bytes_sent;
        s.exchange_received = x.bytes_received;
        s.exchange_wait_s = x.wait_s;
    }
    return s;
}

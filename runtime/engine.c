/*
 * The table of contents: what happens in a step, in order.
 *
 *   rank 0: dgm_batch_form (3) -> a plan for each rank -> own part -> everybody's reports -> dgm_engine_poll
 *   every rank: dgm_worker_step = encode (4, with 5-8) -> decode step (9, with 5-8) -> search (10) -> report
 */
#include "runtime/engine.h"

#include "base/arena.h"
#include "runtime/batch.h"
#include "runtime/gate_stats.h"
#include "runtime/moe.h"
#include "runtime/task_experts.h"
#include "runtime/twins.h"
#include "runtime/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dgm_engine {
    dgm_engine_config cfg;
    const dgm_model *model;
    dgm_comm *comm;
    dgm_worker *worker;
    int rank, ranks, slots;
    uint32_t step;
    /* rank 0 */
    dgm_batch *batch;
    dgm_overlap overlap;
    dgm_arena memory;
    dgm_buf *plans;   /* [ranks] */
    dgm_buf *reports; /* [ranks] of the last step, being polled */
    int poll_rank, poll_left;
    size_t poll_at;
    int unpolled;
    dgm_twins *twins;
    dgm_result result;   /* the last one read, for all that wait for it: */
    const uint64_t *ids; /* [n_ids], polled up to at_id */
    int n_ids, at_id;
    dgm_engine_pace pace;
    uint64_t *cancels; /* [n_cancels] keys of jobs that nobody waits for and a rank still has */
    int n_cancels;
    dgm_target *targets;     /* [max_targets] of the job being submitted */
    dgm_engine_stats *stats; /* [ranks] */
    dgm_engine_load loads[DGM_STACKS];
    int n_encoder;         /* MoE layers of the encoder */
    dgm_hypothesis *hyps;  /* [max_beam] */
    const int16_t **align; /* [max_beam] */
};

static int check_config(const dgm_engine_config *c, int ranks)
{
    if (c->batch_tokens < 1 || c->batch_rows < 1 || c->max_source < 2 || c->max_target < 2 ||
        c->max_beam < 1 || c->max_beam > DGM_MAX_BEAM || c->usual_beam > c->max_beam ||
        c->max_targets < 1 || c->prompt_rows < 1)
        return dgm_fail(DGM_EINTERNAL, "the engine's limits make no sense");
    if (c->dense_ranks < 0 || c->dense_ranks > ranks)
        return dgm_fail(DGM_EUSAGE,
                        "--dense-ranks: want all or 1 to %d (the number of ranks), found %d", ranks,
                        c->dense_ranks);
    return DGM_OK;
}

static int open_coordinator(dgm_engine *e, int dense)
{
    const size_t ranks = (size_t)e->ranks, plan = dgm_plan_bytes(&e->cfg, e->slots, dense),
                 cancels = (size_t)dense * (size_t)e->slots * sizeof *e->cancels;
    DGM_TRY(dgm_arena_init(&e->memory,
                           ranks * (plan + 2 * sizeof(dgm_buf) + sizeof *e->stats + 256) +
                               (size_t)e->cfg.max_beam * (sizeof *e->hyps + sizeof *e->align) +
                               (size_t)e->cfg.max_targets * sizeof *e->targets + cancels + 4096));
    e->cancels = dgm_arena_push(&e->memory, cancels);
    e->targets = dgm_arena_push(&e->memory, (size_t)e->cfg.max_targets * sizeof *e->targets);
    e->plans = dgm_arena_push(&e->memory, ranks * sizeof *e->plans);
    e->reports = dgm_arena_push(&e->memory, ranks * sizeof *e->reports);
    e->stats = dgm_arena_push(&e->memory, ranks * sizeof *e->stats);
    e->hyps = dgm_arena_push(&e->memory, (size_t)e->cfg.max_beam * sizeof *e->hyps);
    e->align = dgm_arena_push(&e->memory, (size_t)e->cfg.max_beam * sizeof *e->align);
    for (int r = 0; r < e->ranks; r++)
        e->plans[r] = (dgm_buf){.base = dgm_arena_push(&e->memory, plan), .cap = plan};
    e->poll_rank = e->ranks;
    dgm_overlap_init(&e->overlap, e->cfg.overlap, dgm_comm_ranks_on_host(e->comm) < e->ranks);
    DGM_TRY(dgm_twins_create(&e->twins));
    return dgm_batch_create(&e->batch, dense, e->model->task_groups, e->slots, e->cfg.batch_tokens);
}

/* Everything but the agreement of the ranks. */
static int open_rank(dgm_engine **out, const dgm_engine_config *cfg, const dgm_model *model,
                     const dgm_kernels *kern, dgm_pool *pool, dgm_comm *comm)
{
    const int ranks = dgm_comm_size(comm), rank = dgm_comm_rank(comm);
    DGM_TRY(check_config(cfg, ranks));
    dgm_engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the engine");
    const int dense = cfg->dense_ranks == 0 ? ranks : cfg->dense_ranks;
    const int slots = cfg->batch_rows / dgm_engine_usual_beam(cfg) / dense;
    *e = (dgm_engine){.cfg = *cfg, .model = model, .comm = comm, .rank = rank, .ranks = ranks};
    for (int l = 0; l < model->stack[DGM_ENCODER].n_layers; l++)
        e->n_encoder += model->stack[DGM_ENCODER].layers[l].sparse;
    e->slots = (slots < cfg->max_targets ? cfg->max_targets : slots) + cfg->spare_slots;
    *out = e;
    DGM_TRY(dgm_worker_create(&e->worker, cfg, rank < dense ? e->slots : 0, e->slots, model, kern,
                              pool, comm));
    return rank == 0 ? open_coordinator(e, dense) : DGM_OK;
}

int dgm_engine_open(dgm_engine **out, const dgm_engine_config *cfg, const dgm_model *model,
                    const dgm_kernels *kern, dgm_pool *pool, dgm_comm *comm)
{
    *out = NULL;
    const int rc = dgm_comm_agree(comm, open_rank(out, cfg, model, kern, pool, comm));
    if (rc != DGM_OK) {
        dgm_engine_close(*out);
        *out = NULL;
    }
    return rc;
}

void dgm_engine_close(dgm_engine *e)
{
    if (e == NULL)
        return;
    dgm_worker_destroy(e->worker);
    dgm_batch_destroy(e->batch);
    dgm_twins_destroy(e->twins);
    dgm_arena_fini(&e->memory);
    free(e);
}

/* once - an encoding serves both targets: it is the same, and so are the ranks that may have them. */
static bool encoded_alike(const dgm_engine *e, const dgm_target *a, const dgm_target *b)
{
    return a->source_experts == b->source_experts &&
           dgm_task_group(e->model, a->task) == dgm_task_group(e->model, b->task) &&
           (a->task == b->task || !dgm_routing_by_task(e->model->cfg.routing[DGM_ENCODER]));
}

/* push - the job, one for each encoding that its targets need. */
static int push(dgm_engine *e, const dgm_job *job)
{
    for (int first = 0; first < job->n_targets; first++) {
        dgm_job part = *job;
        bool before = false;
        part.targets = e->targets;
        part.n_targets = 0;
        part.group = dgm_task_group(e->model, job->targets[first].task);
        for (int t = 0; t < job->n_targets; t++) {
            if (!encoded_alike(e, &job->targets[first], &job->targets[t]))
                continue;
            before = before || t < first;
            e->targets[part.n_targets] = job->targets[t];
            e->targets[part.n_targets++].number = t;
        }
        if (!before)
            DGM_TRY(dgm_batch_push(e->batch, &part));
    }
    return DGM_OK;
}

int dgm_engine_submit(dgm_engine *e, const dgm_job *job)
{
    if (job->n_source < 1 || job->n_source > e->cfg.max_source)
        return dgm_fail(DGM_EINPUT, "a source of %d ids: want 1 to %d", job->n_source,
                        e->cfg.max_source);
    if (job->n_targets < 1 || job->n_targets > e->cfg.max_targets)
        return dgm_fail(DGM_EINPUT, "%d targets: want 1 to %d", job->n_targets, e->cfg.max_targets);
    if (job->options.beam > e->cfg.max_beam || job->options.max_length > e->cfg.max_target)
        return dgm_fail(DGM_EINPUT, "beam %d and length %d: want at most %d and %d",
                        job->options.beam, job->options.max_length, e->cfg.max_beam,
                        e->cfg.max_target);
    /* A search starts from its prompt, so that may be as long as the target; what is scored is a prompt throughout. */
    const int longest = job->score ? e->cfg.max_target : job->options.max_length;
    for (int t = 0; t < job->n_targets; t++)
        if (job->targets[t].n_prompt < 2 || job->targets[t].n_prompt > longest)
            return dgm_fail(DGM_EINPUT, "a target of %d ids: want 2 to %d",
                            job->targets[t].n_prompt, longest);
    dgm_job once = *job;
    bool first;
    if (dgm_batch_full(e->batch))
        return DGM_EBUSY;
    DGM_TRY(dgm_twins_join(e->twins, job, e->cfg.record, &once.id, &first));
    if (!first)
        return DGM_OK;
    DGM_TRY(push(e, &once)); /* out of memory: the caller gives up */
    return e->cfg.record ? dgm_worker_record_text(e->worker, job) : DGM_OK;
}

int dgm_engine_pending(const dgm_engine *e)
{
    return dgm_batch_waiting(e->batch) + dgm_batch_running(e->batch) + e->unpolled +
           dgm_twins_echoes(e->twins) + e->n_ids - e->at_id;
}

int dgm_engine_slots(const dgm_engine *e)
{
    return e->slots * (e->cfg.dense_ranks == 0 ? e->ranks : e->cfg.dense_ranks);
}

void dgm_engine_set_pace(dgm_engine *e, const dgm_engine_pace *pace)
{
    e->pace = *pace;
}

bool dgm_engine_cancel(dgm_engine *e, uint64_t id)
{
    uint64_t key;
    bool wanted;
    DGM_ASSERT(e->unpolled == 0 && e->at_id == e->n_ids);
    if (!dgm_twins_drop(e->twins, id, &key, &wanted))
        return false;
    if (wanted)
        return true;
    /* Of a job that is partly in slots the rest comes back without hypotheses. Its key is its address, which lives until
     * then. */
    const int running = dgm_twins_left(e->twins, key) - dgm_batch_drop(e->batch, key);
    if (running > 0)
        e->cancels[e->n_cancels++] = key; /* there are as many places as slots */
    dgm_twins_forget(e->twins, key, dgm_twins_left(e->twins, key) - running);
    return true;
}

static void take_job(void *ctx, int rank, const dgm_job *job)
{
    dgm_engine *e = ctx;
    dgm_plan_put_job(&e->plans[rank], job);
    ((dgm_plan_head *)e->plans[rank].base)->n_jobs++;
}

/* Sends every rank its plan and runs our own part; the reports of all are in e->reports. */
static int run_plans(dgm_engine *e)
{
    dgm_comm_at(e->comm, "plan", -1);
    for (int r = 1; r < e->ranks; r++)
        DGM_TRY(dgm_comm_send(e->comm, r, e->plans[r].base, e->plans[r].used));
    DGM_TRY(dgm_worker_step(e->worker, &e->plans[0], &e->reports[0]));
    dgm_comm_at(e->comm, "report", -1);
    for (int r = 1; r < e->ranks; r++) {
        const void *base;
        size_t bytes;
        DGM_TRY(dgm_comm_recv(e->comm, r, &base, &bytes));
        e->reports[r] = (dgm_buf){.base = (char *)base, .used = bytes, .cap = bytes};
    }
    return DGM_OK;
}

/* Starts plans for all ranks with the same head. */
static void start_plans(dgm_engine *e, uint32_t flags, int status, const char *sentence)
{
    e->step++;
    for (int r = 0; r < e->ranks; r++) {
        e->plans[r].used = 0;
        dgm_plan_head head = {.step = e->step, .flags = flags, .status = status};
        for (int l = 0; l < e->model->placement.n_layers; l++)
            if (dgm_placement_at_home(&e->model->placement, l))
                head.skip[l / 8] |= (uint8_t)(1U << l % 8);
        (void)snprintf(head.sentence, sizeof head.sentence, "%s", sentence);
        dgm_buf_put(&e->plans[r], &head, sizeof head);
    }
}

/* put_cancels - every rank gets all; those that have such jobs let them go. */
static void put_cancels(dgm_engine *e)
{
    const int n = e->n_cancels;
    for (int r = 0; n > 0 && r < e->ranks; r++) {
        ((dgm_plan_head *)e->plans[r].base)->n_cancels = n;
        dgm_buf_put(&e->plans[r], e->cancels, (size_t)n * sizeof *e->cancels);
    }
    e->n_cancels = 0;
}

/* loads_of - what the experts of a rank had to do; *at follows its report's head. */
static const dgm_layer_load *loads_of(const dgm_engine *e, int rank, size_t *at)
{
    return dgm_buf_get(&e->reports[rank], at,
                       (size_t)e->model->placement.n_layers * sizeof(dgm_layer_load));
}

/* add_load - of layer l, over all ranks. */
static void add_load(dgm_engine *e, int l)
{
    dgm_engine_load *sum = &e->loads[l < e->n_encoder ? DGM_ENCODER : DGM_DECODER];
    uint32_t expert = 0, rank = 0;
    for (int r = 0; r < e->ranks; r++) {
        size_t at = sizeof(dgm_report_head);
        const dgm_layer_load *load = &loads_of(e, r, &at)[l];
        sum->rows += load->rows;
        expert = load->busiest > expert ? load->busiest : expert;
        rank = load->rows > rank ? load->rows : rank;
    }
    sum->busiest_expert += expert;
    sum->busiest_rank += rank;
}

/* Notes what each rank reported; the first failure is the step's. */
static int read_reports(dgm_engine *e)
{
    int rc = DGM_OK;
    e->unpolled = 0;
    for (int r = 0; r < e->ranks; r++) {
        size_t at = 0;
        const dgm_report_head *head = dgm_buf_get(&e->reports[r], &at, sizeof *head);
        DGM_ASSERT(head->step == e->step);
        e->stats[r] = head->stats;
        e->unpolled += head->n_results;
        for (int i = 0; i < head->n_results; i++)
            dgm_batch_done(e->batch, r);
        if (head->status != DGM_OK && rc == DGM_OK)
            rc = e->ranks == 1 ? dgm_fail(head->status, "%s", head->sentence)
                               : dgm_fail(head->status, "rank %d (%s): %s", r,
                                          dgm_comm_host(e->comm, r), head->sentence);
    }
    for (int l = 0; l < e->model->placement.n_layers; l++)
        add_load(e, l);
    e->poll_rank = -1;
    e->poll_left = 0;
    return rc;
}

int dgm_engine_step(dgm_engine *e)
{
    DGM_ASSERT(e->unpolled == 0 && e->at_id == e->n_ids);
    start_plans(e, 0, DGM_OK, "");
    put_cancels(e);
    dgm_batch_form(e->batch, &e->pace, take_job, e);
    uint32_t flags = dgm_batch_running(e->batch) > 0 ? DGM_PLAN_DECODE : 0;
    if (e->pace.urgent_only)
        flags |= DGM_PLAN_URGENT;
    for (int r = 0; r < e->ranks; r++)
        if (((dgm_plan_head *)e->plans[r].base)->n_jobs > 0)
            flags |= DGM_PLAN_ENCODE;
    if (dgm_overlap_next(&e->overlap))
        flags |= DGM_PLAN_OVERLAP;
    for (int r = 0; r < e->ranks; r++) {
        ((dgm_plan_head *)e->plans[r].base)->flags = flags;
        ((dgm_plan_head *)e->plans[r].base)->others = e->pace.others;
    }
    DGM_TRY(run_plans(e));
    if (flags & DGM_PLAN_DECODE)
        dgm_overlap_took(&e->overlap, dgm_worker_decode_s(e->worker));
    dgm_comm_at(e->comm, "answers", -1);
    return read_reports(e);
}

int dgm_engine_share_sets(dgm_engine *e)
{
    const int pending = dgm_engine_pending(e);
    DGM_ASSERT(pending == 0);
    start_plans(e, DGM_PLAN_SETS, DGM_OK, "");
    DGM_TRY(run_plans(e));
    return read_reports(e);
}

int dgm_engine_stop(dgm_engine *e, int status, const char *sentence)
{
    e->unpolled = 0;
    start_plans(e, DGM_PLAN_STOP, status, sentence);
    DGM_TRY(run_plans(e));
    return read_reports(e);
}

int dgm_engine_serve(dgm_engine *e)
{
    for (;;) {
        dgm_buf plan = {0}, report;
        const void *base;
        dgm_comm_at(e->comm, "plan", -1);
        DGM_TRY(dgm_comm_recv(e->comm, 0, &base, &plan.used));
        plan.base = (char *)base;
        const dgm_plan_head head = *(const dgm_plan_head *)base;
        DGM_TRY(dgm_worker_step(e->worker, &plan, &report));
        DGM_TRY(dgm_comm_send(e->comm, 0, report.base, report.used));
        if (head.flags & DGM_PLAN_STOP)
            return head.status == DGM_OK ? DGM_OK : dgm_fail(head.status, "%s", head.sentence);
    }
}

static void read_hyp(dgm_engine *e, int i, const dgm_report_result *res, const dgm_buf *b)
{
    const dgm_report_hyp *head = dgm_buf_get(b, &e->poll_at, sizeof *head);
    const size_t n = (size_t)head->n;
    e->hyps[i] = (dgm_hypothesis){.n = head->n, .score = head->score, .ended = head->ended != 0};
    e->hyps[i].ids = dgm_buf_get(b, &e->poll_at, n * sizeof(int32_t));
    if (res->has_logp)
        e->hyps[i].logp = dgm_buf_get(b, &e->poll_at, n * sizeof(float));
    e->align[i] = res->has_align ? dgm_buf_get(b, &e->poll_at, n * sizeof(int16_t)) : NULL;
}

/* Reads the next result of the reports into e->result. */
static void read_result(dgm_engine *e)
{
    while (e->poll_left == 0) {
        e->poll_rank++;
        e->poll_at = 0;
        const dgm_report_head *head =
            dgm_buf_get(&e->reports[e->poll_rank], &e->poll_at, sizeof *head);
        (void)loads_of(e, e->poll_rank, &e->poll_at);
        e->poll_left = head->n_results;
    }
    const dgm_buf *b = &e->reports[e->poll_rank];
    const dgm_report_result *res = dgm_buf_get(b, &e->poll_at, sizeof *res);
    const uint8_t *marks =
        e->cfg.marks ? dgm_buf_get(b, &e->poll_at, dgm_plan_marks(&e->cfg)) : NULL;
    for (int i = 0; i < res->n_hyps; i++)
        read_hyp(e, i, res, b);
    e->result = (dgm_result){.target = res->target,
                             .status = res->status,
                             .n_hyps = res->n_hyps,
                             .hyps = e->hyps,
                             .align = res->has_align ? e->align : NULL,
                             .seconds = res->seconds,
                             .absent = res->absent,
                             .marks = marks};
    e->ids = dgm_twins_done(e->twins, res->id, &e->n_ids);
    e->at_id = 0;
    e->poll_left--;
    e->unpolled--;
}

bool dgm_engine_poll(dgm_engine *e, dgm_result *out)
{
    while (e->at_id == e->n_ids) { /* of what was cancelled there is nobody to tell */
        if (e->unpolled == 0)
            return false;
        read_result(e);
    }
    *out = e->result;
    out->id = e->ids[e->at_id++];
    if (out->status != DGM_OK)
        (void)dgm_fail(out->status, "%s",
                       ((const dgm_report_head *)e->reports[e->poll_rank].base)->sentence);
    return true;
}

int dgm_engine_gather_gates(dgm_engine *e, dgm_gate_stats *out)
{
    return dgm_worker_gather_gates(e->worker, out);
}

void dgm_engine_set_clock(dgm_engine *e, dgm_stage_clock *clock)
{
    dgm_worker_set_clock(e->worker, clock);
}

void dgm_engine_set_observer(dgm_engine *e, const dgm_observer *observer)
{
    dgm_worker_set_observer(e->worker, observer);
}

const dgm_engine_load *dgm_engine_loads(const dgm_engine *e)
{
    return e->loads;
}

const dgm_engine_stats *dgm_engine_all_stats(const dgm_engine *e)
{
    return e->stats;
}

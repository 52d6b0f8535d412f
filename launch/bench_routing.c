/*
 * A case is --batch sentences of --src-tokens random ids, into --targets languages in turn, each with a translation of
 * --tgt-tokens random ids, which is fed to the decoder one a step: what a random model chose itself would soon be one token again and
 * again, and all rows would go to few experts. It runs once to warm up, then with the clock until it has taken a while. A decode step is one in which nothing
 * was encoded; its time is rank 0's from the plan to the last report, and the median counts. What a model of bytes and operations
 * predicts for it: docs/performance.md.
 */
#include "launch/bench_routing.h"

#include "base/clock.h"
#include "launch/bench_link.h"
#include "launch/bench_median.h"
#include "launch/bench_random.h"
#include "launch/bench_stages.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_STEPS = 1 << 14, LEAST_TARGET = 4, LINEARS = 7 };
static const double SECONDS = 0.5;

typedef struct bench {
    dgm_bench_random random;
    dgm_bench_link link;
    dgm_stage_types types;
    double *step_s; /* [MOST_STEPS] of the case's decode steps */
} bench;

/* What the steps of a case took and did. */
typedef struct tally {
    double seconds, tokens; /* all steps; what they wrote */
    double decode_s;        /* those that only decode */
    int steps;              /* how many of those */
    uint64_t rows, bytes;   /* theirs: decoder rows and bytes exchanged, of all ranks */
    uint64_t sent;          /* bytes that rank 0 sent */
    dgm_stage_clock clock;  /* rank 0's stages in them */
} tally;

/* ---- a case ---- */

static void add_clock(dgm_stage_clock *sum, const dgm_stage_clock *c)
{
    for (int k = 0; k < DGM_STACKS; k++) {
        sum->steps[k] += c->steps[k];
        for (int i = 0; i < DGM_STAGES; i++) {
            dgm_stage_total *to = &sum->total[k][i];
            const dgm_stage_total *from = &c->total[k][i];
            to->ns += from->ns;
            to->rows += from->rows;
            to->passes += from->passes;
            to->units += from->units;
            to->distinct += from->distinct;
        }
    }
}

static void all_ranks(const bench *b, uint64_t *rows, uint64_t *bytes, uint64_t *sent)
{
    const dgm_engine_stats *s = dgm_engine_all_stats(b->random.session.engine);
    *rows = *bytes = 0;
    *sent = s[0].exchange_bytes;
    for (int r = 0; r < b->random.session.ranks; r++) {
        *rows += s[r].decoded_rows;
        *bytes += s[r].exchange_bytes;
    }
}

/* One step on a clock of its own; a decode step is counted. */
static int step(const bench *b, tally *t)
{
    dgm_engine *e = b->random.session.engine;
    dgm_stage_clock clock = {0};
    uint64_t before[3], after[3];
    all_ranks(b, &before[0], &before[1], &before[2]);
    dgm_engine_set_clock(e, &clock);
    const double began = dgm_now_s();
    const int rc = dgm_engine_step(e);
    const double took = dgm_now_s() - began;
    dgm_engine_set_clock(e, NULL);
    DGM_TRY(rc);
    t->seconds += took;
    if (clock.steps[DGM_ENCODER] > 0 || clock.steps[DGM_DECODER] == 0 || t->steps == MOST_STEPS)
        return DGM_OK;
    all_ranks(b, &after[0], &after[1], &after[2]);
    b->step_s[t->steps++] = took;
    t->decode_s += took;
    t->rows += after[0] - before[0];
    t->bytes += after[1] - before[1];
    t->sent += after[2] - before[2];
    add_clock(&t->clock, &clock);
    return DGM_OK;
}

static int translate(const bench *b, int batch, tally *t)
{
    const int length = b->random.o.tgt_tokens;
    int done = 0;
    for (int i = 0; i < batch; i++)
        DGM_TRY(dgm_bench_random_submit(&b->random, i, length));
    while (done < batch) {
        dgm_result r;
        DGM_TRY(step(b, t));
        while (dgm_engine_poll(b->random.session.engine, &r)) {
            if (r.status != DGM_OK)
                return r.status;
            done++;
        }
    }
    t->tokens += (double)batch * (length - 1);
    return DGM_OK;
}

/* ---- the model of bytes and operations ---- */

typedef struct forecast {
    double step_s, plan_s, exchange_s; /* the others are parts of the first */
    double read_bytes;                 /* weights and caches, of rank 0 */
} forecast;

static int decoder_moe_layers(const bench *b)
{
    const dgm_stack *s = &b->random.session.model->stack[DGM_DECODER];
    int n = 0;
    for (int i = 0; i < s->n_layers; i++)
        n += s->layers[i].sparse;
    return n;
}

static dgm_stage_work work_of(const bench *b, const tally *t, int stage)
{
    dgm_stage_work w = dgm_stage_work_of(b->random.session.model, &b->types, &t->clock, DGM_DECODER,
                                         (enum dgm_stage)stage);
    const double each = 1.0 / t->steps;
    return (dgm_stage_work){w.flops * each, w.iops * each, w.needed * each, w.passed * each};
}

/*
 * Stage by stage what takes longer, reading or computing; then each layer's exchange: what an empty one takes, and the bytes.
 * Plans that go out and reports that come back are as many messages as an empty exchange.
 */
static forecast predict(const bench *b, const tally *t)
{
    const dgm_bench_link *l = &b->link;
    forecast f = {0};
    for (int i = 0; i < DGM_STAGES; i++)
        f.read_bytes += work_of(b, t, i).needed;
    const double gbytes = dgm_bench_link_gbytes(l, f.read_bytes);
    for (int i = 0; i < DGM_STAGES; i++) {
        const dgm_stage_work w = work_of(b, t, i);
        const double reading = w.needed / gbytes,
                     computing = w.flops / l->gflops + w.iops / l->gops;
        f.step_s += 1e-9 * (reading > computing ? reading : computing);
    }
    if (t->clock.total[DGM_DECODER][DGM_STAGE_EXCHANGE].passes > 0 && b->random.session.ranks > 1)
        f.exchange_s =
            decoder_moe_layers(b) * l->empty_s + (double)t->sent / t->steps / l->link_bytes;
    f.plan_s = l->empty_s;
    f.step_s += f.plan_s + f.exchange_s;
    return f;
}

/* ---- what a rank holds ---- */

static double linear_parameters(const dgm_linear *w)
{
    return w->w.data == NULL ? 0 : (double)w->w.n * w->w.k + (w->b != NULL ? w->w.n : 0);
}

static double matrix_parameters(const dgm_packed *w)
{
    return w->data == NULL ? 0 : (double)w->n * w->k;
}

static double layer_parameters(const dgm_layer *l, int d)
{
    double sum = 6.0 * d; /* three norms */
    const dgm_linear *const all[LINEARS] = {&l->qkv,       &l->self_out, &l->cross_q, &l->cross_kv,
                                            &l->cross_out, &l->ffn.fc1,  &l->ffn.fc2};
    for (int i = 0; i < LINEARS; i++)
        sum += linear_parameters(all[i]);
    for (int e = 0; l->sparse && e < l->router.n; e++)
        sum += linear_parameters(&l->experts[e].fc1) + linear_parameters(&l->experts[e].fc2);
    return sum + matrix_parameters(&l->router) + matrix_parameters(&l->tasks);
}

/* Of the decoder's layers; the embedding is not among them. */
static double decoder_parameters(const bench *b)
{
    const dgm_model *m = b->random.session.model;
    double sum = 2.0 * m->cfg.d_model;
    for (int i = 0; i < m->stack[DGM_DECODER].n_layers; i++)
        sum += layer_parameters(&m->stack[DGM_DECODER].layers[i], m->cfg.d_model);
    return sum;
}

/* ---- the table ---- */

static const char *routing_of(const bench *b)
{
    return dgm_routing_name(b->random.session.model->cfg.routing[DGM_DECODER]);
}

static void print_peaks(const bench *b)
{
    const dgm_bench_link *l = &b->link;
    if (b->random.o.json) {
        (void)printf(
            "{\"bench\":\"routing peaks\",\"ranks\":%d,\"gflops\":%.2f,\"gops\":%.2f,\"gbytes\":[",
            b->random.session.ranks, l->gflops, l->gops);
        for (int i = 0; i < DGM_LINK_SIZES; i++)
            (void)printf("%s%.2f", i > 0 ? "," : "", l->gbytes[i]);
        (void)printf("],\"empty_exchange_us\":%.2f,\"link_mb_per_s\":%.2f}\n", l->empty_s * 1e6,
                     l->link_bytes * 1e-6);
        return;
    }
    (void)printf("decoder routed by %s, %d experts, %d target languages, %d ranks\n"
                 "peaks of a rank: %.1f GFLOP/s, %.1f GOP/s; reading 4 to 256 MiB",
                 routing_of(b), b->random.session.model->cfg.n_experts[DGM_DECODER],
                 b->random.o.targets, b->random.session.ranks, l->gflops, l->gops);
    for (int i = 0; i < DGM_LINK_SIZES; i++)
        (void)printf(" %.1f", l->gbytes[i]);
    (void)printf(" GB/s");
    if (b->random.session.ranks > 1)
        (void)printf("; an empty exchange %.0f us, beyond it %.1f MB/s sent", l->empty_s * 1e6,
                     l->link_bytes * 1e-6);
    (void)printf("\n%5s %10s %10s %9s %9s %6s %9s %8s %12s %9s %10s\n", "batch", "tokens/s",
                 "decode t/s", "ms a step", "predicted", "ratio", "exchange", "(pred.)",
                 "KiB a step", "experts", "parameters");
}

static void report(const bench *b, int batch, const tally *t)
{
    const dgm_stage_total *total = t->clock.total[DGM_DECODER];
    const forecast f = predict(b, t);
    const double median = dgm_bench_median(b->step_s, t->steps),
                 rate = (double)t->rows / t->steps / median,
                 share = (double)total[DGM_STAGE_EXCHANGE].ns * 1e-9 / t->decode_s,
                 kib = (double)t->bytes / t->steps / 1024,
                 experts =
                     (double)total[DGM_STAGE_EXPERTS].units / t->steps / decoder_moe_layers(b),
                 parameters = decoder_parameters(b);
    if (b->random.o.json)
        (void)printf(
            "{\"bench\":\"routing\",\"routing\":\"%s\",\"experts\":%d,\"targets\":%d,\"ranks\":%d,"
            "\"task_ranks\":\"%s\",\"batch\":%d,\"tokens_per_s\":%.2f,"
            "\"decode_tokens_per_s\":%.2f,\"ms_per_step\":%.5f,\"predicted_ms\":%.5f,"
            "\"predicted_plan_ms\":%.5f,\"predicted_exchange_ms\":%.5f,\"exchange_share\":%.5f,"
            "\"exchange_bytes\":%.1f,"
            "\"experts_read\":%.3f,\"read_mb\":%.4f,\"decoder_parameters\":%.0f}\n",
            routing_of(b), b->random.session.model->cfg.n_experts[DGM_DECODER], b->random.o.targets,
            b->random.session.ranks, b->random.o.task_ranks, batch, t->tokens / t->seconds, rate,
            median * 1e3, f.step_s * 1e3, f.plan_s * 1e3, f.exchange_s * 1e3, share, kib * 1024,
            experts, f.read_bytes * 1e-6, parameters);
    else
        (void)printf("%5d %10.1f %10.1f %9.3f %9.3f %6.2f %7.1f %% %6.1f %% %12.1f %9.2f %8.1f M\n",
                     batch, t->tokens / t->seconds, rate, median * 1e3, f.step_s * 1e3,
                     f.step_s / median, 100 * share, 100 * f.exchange_s / f.step_s, kib, experts,
                     parameters * 1e-6);
    (void)fflush(stdout);
}

/* ---- runs ---- */

static int run_case(const bench *b, int batch)
{
    tally warm = {0}, t = {0};
    DGM_TRY(translate(b, batch, &warm));
    do
        DGM_TRY(translate(b, batch, &t));
    while (t.seconds < SECONDS);
    report(b, batch, &t);
    return DGM_OK;
}

static int run_cases(const bench *b)
{
    print_peaks(b);
    for (int i = 0; i < b->random.n_cases; i++)
        DGM_TRY(run_case(b, b->random.batch[i]));
    return DGM_OK;
}

/* The languages: the first tasks of a model that is routed by task; to another they are codes and no more. */
static int choose_targets(bench *b)
{
    dgm_session *s = &b->random.session;
    const int n = b->random.o.targets, tasks = s->model->tasks.n;
    if (tasks > 0 && n > tasks)
        return dgm_fail(DGM_EUSAGE, "--targets: want at most %d, the tasks of the model, found %d",
                        tasks, n);
    for (int i = 0; tasks > 0 && s->rank == 0 && i < n; i++)
        DGM_TRY(dgm_session_task(s, i));
    return DGM_OK;
}

/* What the engine is to hold: on each rank as many sentences as on any other. */
static int choose_engine(dgm_engine_config *cfg, bench *b)
{
    dgm_session *s = &b->random.session;
    if (decoder_moe_layers(b) == 0)
        return dgm_fail(DGM_EUSAGE,
                        "bench routing: want a model with experts in the decoder, and %s has none",
                        b->random.o.model);
    if (b->random.o.tgt_tokens < LEAST_TARGET)
        return dgm_fail(DGM_EUSAGE,
                        "--tgt-tokens: want at least %d, so that some steps only decode, found %d",
                        LEAST_TARGET, b->random.o.tgt_tokens);
    DGM_TRY(dgm_bench_random_prepare(&b->random));
    DGM_TRY(choose_targets(b));
    DGM_TRY(dgm_bench_random_limits(cfg, &b->random, b->random.o.tgt_tokens));
    const int most = cfg->batch_rows, each = (most + s->ranks - 1) / s->ranks;
    cfg->batch_rows = each * s->ranks;
    cfg->batch_tokens = each * s->ranks * b->random.o.src_tokens;
    b->types = (dgm_stage_types){.compute = cfg->compute, .kv_bf16 = cfg->kv_bf16};
    b->step_s = calloc(MOST_STEPS, sizeof *b->step_s);
    return b->step_s != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "out of memory for times");
}

static int run(bench *b, const dgm_options *o)
{
    dgm_session *s = &b->random.session;
    DGM_TRY(dgm_bench_random_init(&b->random, o)); /* the same on all ranks */
    b->random.forced = true;
    b->random.o.beam = 1;
    DGM_TRY(dgm_session_join(s, &b->random.o));
    dgm_engine_config cfg = {0};
    DGM_TRY(dgm_comm_agree(s->comm, choose_engine(&cfg, b)));
    DGM_TRY(dgm_bench_link_measure(&b->link, s->comm, s->pool));
    DGM_TRY(dgm_session_load(s, DGM_OK, &cfg));
    return s->rank == 0 ? run_cases(b) : dgm_session_serve(s);
}

int dgm_bench_routing(const dgm_options *o)
{
    bench b = {0};
    const int rc = run(&b, o);
    free(b.step_s);
    return dgm_bench_random_close(&b.random, rc);
}

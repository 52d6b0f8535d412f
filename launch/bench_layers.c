/*
 * A case is --batch sentences of --src-tokens random ids, translated to exactly --tgt-tokens. It runs once to warm up
 * (pages, experts read for the first time), then with the clock until it has taken a while. Time is wall time of the
 * rank's leading thread. The peaks are taken before and after, and the higher counts: a busy machine only lowers them.
 * How fast bytes can be read depends on how many they are, so that peak is of reading as many as the phase or step has to.
 */
#include "launch/bench_layers.h"

#include "base/clock.h"
#include "base/log.h"
#include "launch/bench_peak.h"
#include "launch/bench_stages.h"
#include "launch/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CASES = 16, MOST_BATCH = 4096 };
static const double SECONDS = 1.0, PEAK_SECONDS = 0.15;

typedef struct bench {
    const dgm_options *o;
    dgm_session session;
    dgm_bench_peak *peaks;
    dgm_stage_types types;
    double gflops, gops;
    double
        gbytes[DGM_STACKS]; /* of what is read in an encode phase, in a decode step; of this case */
    int batch[MOST_CASES], n_cases;
    int32_t *source;
} bench;

static int read_batches(bench *b)
{
    const char *at = b->o->batch;
    for (char *end = NULL;; at = end + 1) {
        const long n = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : 0;
        if (n < 1 || n > MOST_BATCH || (*end != ',' && *end != '\0') || b->n_cases == MOST_CASES)
            return dgm_fail(DGM_EUSAGE,
                            "--batch: want at most %d whole numbers from 1 to %d such as 1,8,32, "
                            "found '%s'",
                            MOST_CASES, MOST_BATCH, b->o->batch);
        b->batch[b->n_cases++] = (int)n;
        if (*end == '\0')
            return DGM_OK;
    }
}

/* Random ids cost what a text of that length costs. */
static int prepare(bench *b)
{
    const dgm_model_config *c = &b->session.model->cfg;
    const int n = b->o->src_tokens;
    if (n > c->max_source || b->o->tgt_tokens > c->max_positions)
        return dgm_fail(DGM_EUSAGE, "--%s: want at most %d, as the model says, found %d",
                        n > c->max_source ? "src-tokens" : "tgt-tokens",
                        n > c->max_source ? c->max_source : c->max_positions,
                        n > c->max_source ? n : b->o->tgt_tokens);
    b->source = calloc((size_t)n, sizeof *b->source);
    return b->source != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "cannot allocate %d ids", n);
}

static int choose_engine(dgm_engine_config *cfg, bench *b)
{
    int most = 1;
    for (int i = 0; i < b->n_cases; i++)
        most = b->batch[i] > most ? b->batch[i] : most;
    *cfg = (dgm_engine_config){.batch_tokens = most * b->o->src_tokens,
                               .batch_rows = most * b->o->beam,
                               .max_source = b->o->src_tokens,
                               .max_target = b->o->tgt_tokens,
                               .max_beam = b->o->beam,
                               .max_targets = 1,
                               .prompt_rows = 4,
                               .overlap = dgm_session_overlap(&b->session)};
    DGM_TRY(dgm_session_types(cfg, &b->session));
    b->types = (dgm_stage_types){.compute = cfg->compute, .kv_bf16 = cfg->kv_bf16};
    return DGM_OK;
}

static int submit(const bench *b, int line)
{
    const dgm_model_config *c = &b->session.model->cfg;
    const int n = b->o->src_tokens;
    uint32_t state = (uint32_t)line * 2654435761u + 1;
    for (int i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        b->source[i] = (int32_t)(4 + (state >> 8) % (uint32_t)(c->vocab_size - 4));
    }
    b->source[n - 1] = c->eos_id;
    const int32_t prompt[2] = {c->decoder_start_id, c->vocab_size - 1};
    const dgm_target target = {.prompt = prompt, .n_prompt = 2};
    const dgm_job job = {.id = (uint64_t)line,
                         .line = (uint64_t)line,
                         .source = b->source,
                         .n_source = n,
                         .targets = &target,
                         .n_targets = 1,
                         .options = {.beam = b->o->beam,
                                     .n_best = 1,
                                     .min_length = b->o->tgt_tokens,
                                     .max_length = b->o->tgt_tokens,
                                     .length_penalty = 1,
                                     .repetition_penalty = 1,
                                     .sampling_topp = 1,
                                     .temperature = 1,
                                     .eos_id = c->eos_id}};
    return dgm_engine_submit(b->session.engine, &job);
}

/* One batch from its first plan to its last result; *seconds grows. */
static int translate(const bench *b, int batch, double *seconds)
{
    dgm_engine *e = b->session.engine;
    int done = 0;
    for (int i = 0; i < batch; i++)
        DGM_TRY(submit(b, i));
    while (done < batch) {
        dgm_result r;
        const double began = dgm_now_s();
        DGM_TRY(dgm_engine_step(e));
        *seconds += dgm_now_s() - began;
        while (dgm_engine_poll(e, &r))
            done++;
    }
    return DGM_OK;
}

static double higher(double a, double b)
{
    return a > b ? a : b;
}

static void take_peaks(bench *b)
{
    b->gflops = higher(b->gflops, dgm_bench_peak_gflops(b->peaks, PEAK_SECONDS));
    b->gops = higher(b->gops, dgm_bench_peak_gops(b->peaks, PEAK_SECONDS));
}

/* ---- what a stage, or all of a stack, could take ---- */

static dgm_stage_work stack_work(const bench *b, const dgm_stage_clock *c, int stack)
{
    dgm_stage_work sum = {0};
    for (int i = 0; i < DGM_STAGES; i++)
        dgm_stage_work_add(
            &sum, dgm_stage_work_of(b->session.model, &b->types, c, stack, (enum dgm_stage)i));
    return sum;
}

/* Twice, with everything else of a case in between. */
static void take_reading_peaks(bench *b, const dgm_stage_clock *c)
{
    for (int s = 0; s < DGM_STACKS; s++) {
        const double bytes = stack_work(b, c, s).needed / (double)c->steps[s];
        b->gbytes[s] = higher(b->gbytes[s], dgm_bench_peak_again(b->peaks, bytes, PEAK_SECONDS));
    }
}

/* At the peaks: each kind of arithmetic at its own. */
static double compute_seconds(const bench *b, const dgm_stage_work *w)
{
    return (w->flops / b->gflops + w->iops / b->gops) * 1e-9;
}

static double reading_seconds(const bench *b, int stack, double bytes)
{
    return bytes / b->gbytes[stack] * 1e-9;
}

/* ---- the table ---- */

typedef struct line {
    const char *stack, *stage;
    double ms, share;  /* of an encode phase or a decode step; of all */
    const char *bound; /* "compute", "bandwidth", or "" */
    double rate, peak; /* in GFLOP/s, GOP/s or GB/s */
    const char *unit;
    double roofline_ms;  /* of all of a stack; else 0 */
    dgm_stage_work work; /* likewise, of one phase or step */
} line;

static void print_json(const bench *b, int batch, const line *l)
{
    (void)printf("{\"bench\":\"layers\",\"batch\":%d,\"beam\":%d,\"stack\":\"%s\",\"stage\":\"%s\","
                 "\"ms_per_step\":%.5f,\"share\":%.5f",
                 batch, b->o->beam, l->stack, l->stage, l->ms, l->share);
    if (l->roofline_ms > 0)
        (void)printf(
            ",\"roofline_ms\":%.5f,\"ratio\":%.4f,\"gflop\":%.6f,\"gop\":%.6f,\"read_mb\":%.6f",
            l->roofline_ms, l->roofline_ms / l->ms, l->work.flops * 1e-9, l->work.iops * 1e-9,
            l->work.needed * 1e-6);
    if (l->bound[0] != '\0')
        (void)printf(",\"bound\":\"%s\",\"rate\":%.3f,\"unit\":\"%s\",\"peak\":%.3f", l->bound,
                     l->rate, l->unit, l->peak);
    (void)printf("}\n");
}

static void print_line(const bench *b, int batch, const line *l)
{
    if (b->o->json) {
        print_json(b, batch, l);
        return;
    }
    (void)printf("%-8s %-16s %10.4f %6.1f %%", l->stack, l->stage, l->ms, 100 * l->share);
    if (l->bound[0] != '\0')
        (void)printf(" %9.2f %-8s %5.2f  %s", l->rate, l->unit, l->rate / l->peak, l->bound);
    if (l->roofline_ms > 0)
        (void)printf(", at best %.4f ms", l->roofline_ms);
    (void)printf("\n");
}

/* Whichever peak would take longer for the work bounds it. */
static void judge(line *l, const bench *b, int stack, const dgm_stage_work *w, double bytes,
                  double seconds)
{
    const double compute = compute_seconds(b, w), reading = reading_seconds(b, stack, bytes);
    const bool computes = compute > reading;
    const double best = computes ? compute : reading,
                 work = (computes ? w->flops + w->iops : bytes) * 1e-9;
    if (seconds <= 0 || best <= 0)
        return;
    l->bound = computes ? "compute" : "bandwidth";
    l->unit = !computes ? "GB/s" : w->iops > 0 ? "GOP/s" : "GFLOP/s";
    l->rate = work / seconds;
    l->peak = work / best;
}

static double print_stages(const bench *b, int batch, const dgm_stage_clock *c, int stack,
                           const char *name, double seconds)
{
    double all = 0;
    for (int i = 0; i < DGM_STAGES; i++) {
        const double spent = (double)c->total[stack][i].ns * 1e-9;
        const dgm_stage_work w =
            dgm_stage_work_of(b->session.model, &b->types, c, stack, (enum dgm_stage)i);
        line l = {.stack = name, .stage = dgm_stage_name((enum dgm_stage)i), .bound = ""};
        if (c->total[stack][i].ns == 0)
            continue;
        l.ms = spent / (double)c->steps[stack] * 1e3;
        l.share = spent / seconds;
        judge(&l, b, stack, &w, w.needed + w.passed, spent);
        print_line(b, batch, &l);
        all += spent;
    }
    return all;
}

/* All stages together: what has to be read may be read while something is computed, so the slower of the two is the
 * least that a machine without any waiting would need. Activations need not leave its caches. */
static void print_whole(const bench *b, int batch, const dgm_stage_clock *c, int stack,
                        const char *name, double spent, double seconds)
{
    const double steps = (double)c->steps[stack];
    const dgm_stage_work w = stack_work(b, c, stack);
    line l = {.stack = name,
              .stage = stack == DGM_ENCODER ? "whole phase" : "whole step",
              .ms = spent / steps * 1e3,
              .share = spent / seconds,
              .bound = ""};
    judge(&l, b, stack, &w, w.needed, spent);
    l.roofline_ms = l.ms * l.rate / l.peak;
    l.work = (dgm_stage_work){w.flops / steps, w.iops / steps, w.needed / steps, w.passed / steps};
    print_line(b, batch, &l);
}

static void print_head(const bench *b, int batch, const dgm_stage_clock *c)
{
    if (b->o->json)
        return;
    (void)printf("\nbatch %d, beam %d, %d source tokens, %d target tokens; peaks %.1f GFLOP/s",
                 batch, b->o->beam, b->o->src_tokens, b->o->tgt_tokens, b->gflops);
    if (b->types.compute == DGM_COMPUTE_INT8)
        (void)printf(", int8 %.1f GOP/s", b->gops);
    for (int s = 0; s < DGM_STACKS; s++)
        (void)printf("%s the %.1f MB of %s %.1f GB/s", s == 0 ? "; reading" : ",",
                     stack_work(b, c, s).needed / (double)c->steps[s] * 1e-6,
                     s == DGM_ENCODER ? "an encode phase" : "a decode step", b->gbytes[s]);
    (void)printf("\n%-8s %-16s %10s %8s %9s %-8s %5s  %s\n", "stack", "stage", "ms a step", "share",
                 "rate", "", "peak", "bound by");
}

static void print_table(const bench *b, int batch, const dgm_stage_clock *c, double seconds)
{
    static const char *const stacks[] = {"encoder", "decoder"};
    double spent[DGM_STACKS];
    print_head(b, batch, c);
    for (int s = 0; s < DGM_STACKS; s++)
        spent[s] = print_stages(b, batch, c, s, stacks[s], seconds);
    const double rest = seconds - spent[DGM_ENCODER] - spent[DGM_DECODER];
    const line other = {.stack = "",
                        .stage = "all else",
                        .bound = "",
                        .ms = rest / (double)c->steps[DGM_DECODER] * 1e3,
                        .share = rest / seconds};
    print_line(b, batch, &other);
    spent[DGM_DECODER] += rest;
    for (int s = 0; s < DGM_STACKS; s++)
        print_whole(b, batch, c, s, stacks[s], spent[s], seconds);
    (void)fflush(stdout);
}

/* ---- runs ---- */

static int run_case(bench *b, int batch)
{
    dgm_stage_clock clock = {0};
    double seconds = 0, warm = 0;
    memset(b->gbytes, 0, sizeof b->gbytes);
    dgm_engine_set_clock(b->session.engine, &clock);
    DGM_TRY(translate(b, batch, &warm));
    take_peaks(b);
    take_reading_peaks(b, &clock);
    clock = (dgm_stage_clock){0};
    int rc = DGM_OK;
    do
        rc = translate(b, batch, &seconds);
    while (rc == DGM_OK && seconds < SECONDS);
    dgm_engine_set_clock(b->session.engine, NULL);
    DGM_TRY(rc);
    take_peaks(b);
    take_reading_peaks(b, &clock);
    print_table(b, batch, &clock, seconds);
    return DGM_OK;
}

static int run_cases(bench *b)
{
    DGM_TRY(dgm_bench_peak_open(&b->peaks, b->session.pool));
    for (int i = 0; i < b->n_cases; i++)
        DGM_TRY(run_case(b, b->batch[i]));
    return DGM_OK;
}

static int run(bench *b)
{
    dgm_session *s = &b->session;
    const int rc = read_batches(b); /* the same on all ranks */
    DGM_TRY(dgm_session_join(s, b->o));
    dgm_engine_config cfg = {0};
    int ready = rc == DGM_OK ? prepare(b) : rc;
    if (ready == DGM_OK)
        ready = choose_engine(&cfg, b);
    DGM_TRY(dgm_session_load(s, ready, &cfg));
    return s->rank == 0 ? run_cases(b) : dgm_session_serve(s);
}

int dgm_bench_layers(const dgm_options *o)
{
    dgm_options mine = *o;
    bench b = {.o = &mine};
    if (mine.model[0] == '\0') {
        const char *demo = dgm_options_find_demo();
        mine.model = demo == NULL ? "" : demo;
        dgm_log(DGM_LOG_INFO, "model", "no --model: using the demonstration model, %s", mine.model);
    }
    const int rc = run(&b);
    const int code = dgm_session_leave(&b.session, rc);
    dgm_bench_peak_close(b.peaks);
    dgm_session_close(&b.session);
    free(b.source);
    return code;
}

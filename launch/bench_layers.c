/*
 * A case is --batch sentences of --src-tokens random ids, translated to exactly --tgt-tokens. It runs once to warm up
 * (pages, experts read for the first time), then with the clock until it has taken a while. Time is wall time of the
 * rank's leading thread. The peaks are taken before and after, and the higher counts: a busy machine only lowers them.
 * How fast bytes can be read depends on how many they are, so that peak is of reading as many as the phase or step has to.
 */
#include "launch/bench_layers.h"

#include "base/clock.h"
#include "launch/bench_peak.h"
#include "launch/bench_random.h"
#include "launch/bench_stages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double SECONDS = 1.0, PEAK_SECONDS = 0.15;

typedef struct bench {
    dgm_bench_random random;
    dgm_bench_peak *peaks;
    dgm_stage_types types;
    double gflops, gops;
    double
        gbytes[DGM_STACKS]; /* of what is read in an encode phase, in a decode step; of this case */
} bench;

/* One batch from its first plan to its last result; *seconds grows. */
static int translate(const bench *b, int batch, double *seconds)
{
    dgm_engine *e = b->random.session.engine;
    int done = 0;
    for (int i = 0; i < batch; i++)
        DGM_TRY(dgm_bench_random_submit(&b->random, i, b->random.o.tgt_tokens));
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
        dgm_stage_work_add(&sum, dgm_stage_work_of(b->random.session.model, &b->types, c, stack,
                                                   (enum dgm_stage)i));
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
                 batch, b->random.o.beam, l->stack, l->stage, l->ms, l->share);
    if (l->roofline_ms > 0)
        (void)printf(
            ",\"roofline_ms\":%.6g,\"ratio\":%.6g,\"gflop\":%.6f,\"gop\":%.6f,\"read_mb\":%.6f",
            l->roofline_ms, l->roofline_ms / l->ms, l->work.flops * 1e-9, l->work.iops * 1e-9,
            l->work.needed * 1e-6);
    if (l->bound[0] != '\0')
        (void)printf(",\"bound\":\"%s\",\"rate\":%.6g,\"unit\":\"%s\",\"peak\":%.6g", l->bound,
                     l->rate, l->unit, l->peak);
    (void)printf("}\n");
}

static void print_line(const bench *b, int batch, const line *l)
{
    if (b->random.o.json) {
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
            dgm_stage_work_of(b->random.session.model, &b->types, c, stack, (enum dgm_stage)i);
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
    if (b->random.o.json)
        return;
    (void)printf("\nbatch %d, beam %d, %d source tokens, %d target tokens; peaks %.1f GFLOP/s",
                 batch, b->random.o.beam, b->random.o.src_tokens, b->random.o.tgt_tokens,
                 b->gflops);
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
    double spent[DGM_STACKS];
    print_head(b, batch, c);
    for (int s = 0; s < DGM_STACKS; s++)
        spent[s] = print_stages(b, batch, c, s, dgm_stack_names[s], seconds);
    const double rest = seconds - spent[DGM_ENCODER] - spent[DGM_DECODER];
    const line other = {.stack = "",
                        .stage = "all else",
                        .bound = "",
                        .ms = rest / (double)c->steps[DGM_DECODER] * 1e3,
                        .share = rest / seconds};
    print_line(b, batch, &other);
    spent[DGM_DECODER] += rest;
    for (int s = 0; s < DGM_STACKS; s++)
        print_whole(b, batch, c, s, dgm_stack_names[s], spent[s], seconds);
    (void)fflush(stdout);
}

/* ---- runs ---- */

static int run_case(bench *b, int batch)
{
    dgm_stage_clock clock = {0};
    double seconds = 0, warm = 0;
    memset(b->gbytes, 0, sizeof b->gbytes);
    dgm_engine_set_clock(b->random.session.engine, &clock);
    DGM_TRY(translate(b, batch, &warm));
    take_peaks(b);
    take_reading_peaks(b, &clock);
    clock = (dgm_stage_clock){0};
    int rc = DGM_OK;
    do
        rc = translate(b, batch, &seconds);
    while (rc == DGM_OK && seconds < SECONDS);
    dgm_engine_set_clock(b->random.session.engine, NULL);
    DGM_TRY(rc);
    take_peaks(b);
    take_reading_peaks(b, &clock);
    print_table(b, batch, &clock, seconds);
    return DGM_OK;
}

static int run_cases(bench *b)
{
    DGM_TRY(dgm_bench_peak_open(&b->peaks, b->random.session.pool));
    for (int i = 0; i < b->random.n_cases; i++)
        DGM_TRY(run_case(b, b->random.batch[i]));
    return DGM_OK;
}

/* What the engine is to hold, and which arithmetic its stages have. */
static int choose_engine(dgm_engine_config *cfg, bench *b)
{
    DGM_TRY(dgm_bench_random_prepare(&b->random));
    DGM_TRY(dgm_bench_random_limits(cfg, &b->random, b->random.o.tgt_tokens));
    b->types = (dgm_stage_types){.compute = cfg->compute, .kv_bf16 = cfg->kv_bf16};
    return DGM_OK;
}

static int run(bench *b, const dgm_options *o)
{
    dgm_session *s = &b->random.session;
    DGM_TRY(dgm_bench_random_init(&b->random, o)); /* the same on all ranks */
    DGM_TRY(dgm_session_join(s, &b->random.o));
    dgm_engine_config cfg = {0};
    const int ready = choose_engine(&cfg, b);
    DGM_TRY(dgm_session_load(s, ready, &cfg));
    return s->rank == 0 ? run_cases(b) : dgm_session_serve(s);
}

int dgm_bench_layers(const dgm_options *o)
{
    bench b = {0};
    const int rc = run(&b, o);
    dgm_bench_peak_close(b.peaks);
    return dgm_bench_random_close(&b.random, rc);
}

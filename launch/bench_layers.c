/*
 * A case is --batch sentences of --src-tokens random ids, translated to exactly --tgt-tokens. It runs once to warm up
 * (pages, experts read for the first time), then with the clock until it has taken a while. Time is wall time of the
 * rank's leading thread. The peaks are taken before and after, and the higher counts: a busy machine only lowers them.
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
    double gflops, gbytes;
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

static dgm_engine_config limits(const bench *b)
{
    int most = 1;
    for (int i = 0; i < b->n_cases; i++)
        most = b->batch[i] > most ? b->batch[i] : most;
    return (dgm_engine_config){.batch_tokens = most * b->o->src_tokens,
                               .batch_rows = most * b->o->beam,
                               .dense_ranks = b->session.dense_ranks,
                               .max_source = b->o->src_tokens,
                               .max_target = b->o->tgt_tokens,
                               .max_beam = b->o->beam,
                               .max_targets = 1,
                               .prompt_rows = 4,
                               .overlap = dgm_session_overlap(&b->session)};
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

static void take_peaks(bench *b)
{
    const double f = dgm_bench_peak_gflops(b->peaks, PEAK_SECONDS),
                 m = dgm_bench_peak_gbytes(b->peaks, PEAK_SECONDS);
    b->gflops = f > b->gflops ? f : b->gflops;
    b->gbytes = m > b->gbytes ? m : b->gbytes;
}

/* ---- the table ---- */

typedef struct line {
    const char *stack, *stage;
    double ms, share;  /* of an encode phase or a decode step; of all */
    const char *bound; /* "compute", "bandwidth", or "" */
    double rate, peak; /* in GFLOP/s or GB/s */
} line;

static void print_line(const bench *b, int batch, const line *l)
{
    const bool bound = l->bound[0] != '\0', computes = strcmp(l->bound, "compute") == 0;
    if (b->o->json) {
        (void)printf(
            "{\"bench\":\"layers\",\"batch\":%d,\"beam\":%d,\"stack\":\"%s\",\"stage\":\"%s\","
            "\"ms_per_step\":%.5f,\"share\":%.5f",
            batch, b->o->beam, l->stack, l->stage, l->ms, l->share);
        if (bound)
            (void)printf(",\"bound\":\"%s\",\"rate\":%.3f,\"unit\":\"%s\",\"peak\":%.3f", l->bound,
                         l->rate, computes ? "GFLOP/s" : "GB/s", l->peak);
        (void)printf("}\n");
        return;
    }
    (void)printf("%-8s %-16s %10.4f %6.1f %%", l->stack, l->stage, l->ms, 100 * l->share);
    if (bound)
        (void)printf(" %9.2f %-8s %5.2f  %s", l->rate, computes ? "GFLOP/s" : "GB/s",
                     l->rate / l->peak, l->bound);
    (void)printf("\n");
}

/* Whichever peak would take longer for the stage's work bounds it. */
static void judge(line *l, const bench *b, const dgm_stage_work *w, double seconds)
{
    const double compute = w->flops / b->gflops, bandwidth = w->bytes / b->gbytes;
    if (seconds <= 0 || compute + bandwidth <= 0)
        return;
    l->bound = compute > bandwidth ? "compute" : "bandwidth";
    l->rate = (compute > bandwidth ? w->flops : w->bytes) / seconds * 1e-9;
    l->peak = compute > bandwidth ? b->gflops : b->gbytes;
}

static void print_table(const bench *b, int batch, const dgm_stage_clock *c, double seconds)
{
    static const char *const stacks[] = {"encoder", "decoder"};
    double rest = seconds;
    if (!b->o->json)
        (void)printf("\nbatch %d, beam %d, %d source tokens, %d target tokens; peaks %.1f GFLOP/s, "
                     "%.1f GB/s\n%-8s %-16s %10s %8s %9s %-8s %5s  %s\n",
                     batch, b->o->beam, b->o->src_tokens, b->o->tgt_tokens, b->gflops, b->gbytes,
                     "stack", "stage", "ms a step", "share", "rate", "", "peak", "bound by");
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < DGM_STAGES; i++) {
            const double spent = (double)c->total[s][i].ns * 1e-9;
            const dgm_stage_work w = dgm_stage_work_of(b->session.model, c, s, (enum dgm_stage)i);
            line l = {.stack = stacks[s], .stage = dgm_stage_name((enum dgm_stage)i), .bound = ""};
            if (c->total[s][i].ns == 0)
                continue;
            l.ms = spent / (double)c->steps[s] * 1e3;
            l.share = spent / seconds;
            judge(&l, b, &w, spent);
            print_line(b, batch, &l);
            rest -= spent;
        }
    const line other = {.stack = "",
                        .stage = "all else",
                        .bound = "",
                        .ms = rest / (double)c->steps[DGM_DECODER] * 1e3,
                        .share = rest / seconds};
    print_line(b, batch, &other);
    (void)fflush(stdout);
}

/* ---- runs ---- */

static int run_case(bench *b, int batch)
{
    dgm_stage_clock clock = {0};
    double seconds = 0, warm = 0;
    DGM_TRY(translate(b, batch, &warm));
    take_peaks(b);
    dgm_engine_set_clock(b->session.engine, &clock);
    int rc = DGM_OK;
    do
        rc = translate(b, batch, &seconds);
    while (rc == DGM_OK && seconds < SECONDS);
    dgm_engine_set_clock(b->session.engine, NULL);
    DGM_TRY(rc);
    take_peaks(b);
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
    const int ready = rc == DGM_OK ? prepare(b) : rc;
    const dgm_engine_config cfg = limits(b);
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

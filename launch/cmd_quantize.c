/* cmd_quantize.c - `dragoman quantize -m MODEL -o DIR`: a model with smaller weights, and what that costs. */
#include "launch/commands.h"

#include "launch/session_cpus.h"
#include "runtime/history.h"
#include "runtime/progress.h"
#include "runtime/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const enum dgm_part columns[] = {DGM_EMBED, DGM_ATTENTION, DGM_FFN, DGM_EXPERTS};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static void show_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    dgm_progress *p = ctx;
    p->total_bytes = total_bytes;
    dgm_progress_tick_bytes(p, done_bytes);
}

/* ---- the report ---- */

static void print_row(const char *name, const dgm_quantize_error *parts)
{
    (void)printf("%-12s", name);
    for (int c = 0; c < N_COLUMNS; c++) {
        const dgm_quantize_error *e = &parts[columns[c]];
        if (e->all > 0)
            (void)printf(" %11.6f", sqrt(e->wrong / e->all));
        else
            (void)printf(" %11s", "");
    }
    (void)printf("\n");
}

/* Relative error: root of the squares of (w - what stands for it) over those of w. */
static void print_errors(const dgm_quantize_report *r, const dgm_model *m)
{
    dgm_quantize_error sum[DGM_PARTS] = {{0}};
    char name[32];
    (void)printf("\n%-12s", "rms error");
    for (int c = 0; c < N_COLUMNS; c++)
        (void)printf(" %11s", dgm_part_name(columns[c]));
    (void)printf("\n");
    for (int i = 0; i <= r->n_layers; i++) {
        const int n_enc = m->cfg.n_layers[DGM_ENCODER];
        for (int p = 0; p < DGM_PARTS; p++) {
            sum[p].wrong += r->error[i][p].wrong;
            sum[p].all += r->error[i][p].all;
        }
        if (i == 0)
            continue; /* the embedding has no layer: its error stands in the sum */
        (void)snprintf(name, sizeof name, i <= n_enc ? "encoder %d" : "decoder %d",
                       i <= n_enc ? i - 1 : i - 1 - n_enc);
        print_row(name, r->error[i]);
    }
    print_row("all", sum);
}

/* Relative error of what a layer's matrices put out over the calibration text: rounded alone, and with feedback. */
static void print_output_row(const char *name, const dgm_feedback_error *parts, bool fed)
{
    (void)printf("%-12s %-9s", name, fed ? "feedback" : "rounded");
    for (int c = 0; c < N_COLUMNS; c++) {
        const dgm_feedback_error *e = &parts[columns[c]];
        if (e->all > 0)
            (void)printf(" %11.6f", sqrt((fed ? e->fed : e->alone) / e->all));
        else
            (void)printf(" %11s", "");
    }
    (void)printf("\n");
}

static void print_outputs(const dgm_quantize_report *r, const dgm_model *m)
{
    char name[32];
    (void)printf("\n%-22s", "error of outputs");
    for (int c = 0; c < N_COLUMNS; c++)
        (void)printf(" %11s", dgm_part_name(columns[c]));
    (void)printf("\n");
    for (int i = 0; i <= r->n_layers; i++) {
        const int n_enc = m->cfg.n_layers[DGM_ENCODER];
        (void)snprintf(name, sizeof name, i <= n_enc ? "encoder %d" : "decoder %d",
                       i <= n_enc ? i - 1 : i - 1 - n_enc);
        print_output_row(i == 0 ? "embedding" : name, r->output[i], false);
        print_output_row("", r->output[i], true);
    }
    (void)printf("\n%d matrices with feedback; without: %d that too few rows entered, %d whose "
                 "moments say nothing\n",
                 r->n_fed, r->n_few, r->n_unsolved);
}

static void print_report(const dgm_options *o, const dgm_quantize_report *r, const dgm_model *m)
{
    (void)printf("%s: %llu bytes of weights\n%s: %llu bytes of weights, %.1f %%\n", m->dir,
                 (unsigned long long)r->bytes_before, o->output, (unsigned long long)r->bytes_after,
                 100.0 * (double)r->bytes_after / (double)r->bytes_before);
    print_errors(r, m);
    if (r->output != NULL)
        print_outputs(r, m);
}

/* ---- command ---- */

static int read_options(dgm_quantize_options *q, const dgm_options *o)
{
    if (o->output[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "quantize: want --output DIR, found none");
    *q = (dgm_quantize_options){
        .group = strcmp(o->group, "none") == 0 ? 0 : atoi(o->group),
        .rule = strcmp(o->scale_rule, "paper") == 0 ? DGM_SCALE_PAPER : DGM_SCALE_127,
        .clip = strcmp(o->clip, "mse") == 0,
        .compute = strcmp(o->compute, "int8") == 0 ? DGM_COMPUTE_INT8 : DGM_COMPUTE_F32};
    const char *experts = o->experts[0] == '\0' ? "int8" : o->experts;
    if (!dgm_weight_type_parse(&q->experts, experts))
        return dgm_fail(DGM_EUSAGE, "--experts: want int8, int4, bf16 or f32, found '%s'", experts);
    const bool known = dgm_weight_type_parse(&q->dense, o->dense);
    DGM_ASSERT(known); /* the option table has the same words */
    return DGM_OK;
}

/* want_compact - only a model that was sparsified is worth being read twice. */
static int want_compact(dgm_quantize_options *q, const dgm_options *o, const dgm_model *m)
{
    q->compact = false;
    return strcmp(o->storage, "dense") == 0 ? DGM_OK
                                            : dgm_history_has(&q->compact, m->dir, "sparsify");
}

static int create_pool(dgm_pool **pool, const dgm_options *o)
{
    dgm_cpus mine;
    dgm_cpus_read(&mine);
    const dgm_cpus *const here[] = {&mine};
    return dgm_pool_create(pool, o->threads > 0 ? o->threads : dgm_cpus_share(&mine, here, 1));
}

static int open_calibration(dgm_quantize_options *q, const dgm_options *o, dgm_model *m,
                            const dgm_kernels *kern, dgm_pool *pool)
{
    const bool integers = q->experts == DGM_W_INT8 || q->experts == DGM_W_INT4;
    const dgm_calibration_config cfg = {.text = o->calibration,
                                        .memory_bytes = (uint64_t)o->calibration_memory << 20,
                                        .kern = kern,
                                        .pool = pool};
    if (o->calibration[0] == '\0')
        return DGM_OK;
    if (!integers && q->dense != DGM_W_INT8)
        return dgm_fail(
            DGM_EUSAGE,
            "--calibration: want integers to make (--experts, --dense), found %s and %s",
            dgm_weight_type_name(q->experts), dgm_weight_type_name(q->dense));
    return dgm_calibration_open(&q->calibration, m, &cfg);
}

static int quantize(const dgm_options *o, dgm_model *m)
{
    dgm_quantize_options q = {.experts = DGM_W_F32};
    dgm_quantize_report report = {0};
    dgm_progress progress;
    dgm_kernels kern;
    dgm_pool *pool = NULL;
    DGM_TRY(read_options(&q, o));
    DGM_TRY(want_compact(&q, o, m));
    DGM_TRY(dgm_kernels_select(&kern, o->isa));
    q.kern = &kern;
    DGM_TRY(create_pool(&pool, o));
    int rc = open_calibration(&q, o, m, &kern, pool);
    dgm_progress_begin(&progress, isatty(STDERR_FILENO) != 0, 0);
    if (rc == DGM_OK)
        rc = dgm_quantize(&report, m, o->output, &q, pool, show_progress, &progress);
    dgm_progress_wipe(&progress);
    if (rc == DGM_OK)
        print_report(o, &report, m);
    dgm_calibration_close(q.calibration);
    dgm_quantize_report_free(&report);
    dgm_pool_destroy(pool);
    return rc;
}

int dgm_cmd_quantize(const dgm_options *o)
{
    /* dropless: what is refused for its switches keeps them, and is refused still. */
    const dgm_model_options opt = {.dropless = true, .source_order = -1};
    dgm_model *m = NULL;
    int rc = dgm_model_open(&m, o->model, &opt);
    if (rc == DGM_OK)
        rc = quantize(o, m);
    dgm_model_close(m);
    return dgm_command_end(rc);
}

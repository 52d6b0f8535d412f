/* cmd_sparsify.c - `dragoman sparsify -m MODEL --calibration LANG=FILE.. -o DIR`: weights that a text misses least become zero. */
#include "launch/commands.h"

#include "launch/session_cpus.h"
#include "runtime/progress.h"
#include "runtime/sparsify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- options ---- */

/* decimal - as it was written: floor(0.7 * 10) is to be 7, and 0.7 as f32 is less. */
static double decimal(float x)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%.7g", (double)x);
    return strtod(text, NULL);
}

/* check_method - what another method alone looks at is refused, instead of ignored. */
static int check_method(const dgm_options *o)
{
    static const struct {
        const char *key, *method;
    } of[] = {{"lambda", "m-wanda"}, {"gamma", "m-wanda"},        {"tau", "m-wanda"},
              {"score", "m-wanda"},  {"layer-spread", "m-wanda"}, {"owl-m", "owl"},
              {"owl-lambda", "owl"}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++)
        if (dgm_options_given(o, of[i].key) && strcmp(o->method, of[i].method) != 0)
            return dgm_fail(DGM_EUSAGE, "--%s: want --method %s, found %s", of[i].key, of[i].method,
                            o->method);
    return DGM_OK;
}

/* read_pattern - half of each group goes: nothing is left for layers to share. */
static int read_pattern(dgm_sparsify_options *s, const dgm_options *o)
{
    if (strcmp(o->pattern, "unstructured") == 0)
        return DGM_OK;
    s->pattern = strcmp(o->pattern, "2:4") == 0 ? (dgm_n_of_m){2, 4} : (dgm_n_of_m){4, 8};
    if (s->sparsity != 0.5)
        return dgm_fail(DGM_EUSAGE, "--pattern %s: want --sparsity 0.5, found %g", o->pattern,
                        s->sparsity);
    if (s->method == DGM_BY_OWL)
        return dgm_fail(DGM_EUSAGE,
                        "--pattern %s: want layers that are all as sparse, found "
                        "--method owl, which shares out between them",
                        o->pattern);
    if (dgm_options_given(o, "layer-spread") && s->spread != 0)
        return dgm_fail(DGM_EUSAGE, "--pattern %s: want --layer-spread 0, found %g", o->pattern,
                        s->spread);
    s->spread = 0;
    return DGM_OK;
}

static enum dgm_sparsify_method method_of(const dgm_options *o)
{
    int i = DGM_BY_MAGNITUDE;
    while (strcmp(o->method, dgm_sparsify_method_name((enum dgm_sparsify_method)i)) != 0)
        i++; /* the option table has the same words */
    return (enum dgm_sparsify_method)i;
}

static int read_options(dgm_sparsify_options *s, const dgm_options *o)
{
    if (o->output[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "sparsify: want --output DIR, found none");
    *s = (dgm_sparsify_options){.method = method_of(o),
                                .sparsity = decimal(o->sparsity),
                                .tau = decimal(o->tau),
                                .owl_m = decimal(o->owl_m),
                                .samples = o->samples,
                                .seed = o->seed,
                                .self = strcmp(o->calibration_target, "self") == 0};
    if (s->sparsity <= 0 || s->sparsity >= 1)
        return dgm_fail(DGM_EUSAGE, "--sparsity: want a number above 0 and below 1, found %g",
                        s->sparsity);
    if (s->method == DGM_BY_OWL)
        s->spread = 2 * decimal(o->owl_lambda);
    if (s->method == DGM_AFTER_M_WANDA) {
        s->rule = (dgm_score_rule){.lambda = decimal(o->lambda),
                                   .gamma = decimal(o->gamma),
                                   .mul = strcmp(o->score, "mul") == 0};
        s->spread = decimal(o->layer_spread);
    }
    DGM_TRY(check_method(o));
    return read_pattern(s, o);
}

/* read_text - of the flags, and of the words behind the last one. */
static int read_text(dgm_parallel_text *t, const dgm_sparsify_options *s, const dgm_options *o,
                     const dgm_model *m)
{
    const int n = o->n_calibrations;
    if (n == 0 && o->n_args > 0)
        return dgm_fail(DGM_EUSAGE, "sparsify: want only options, found '%s'", o->args[0]);
    if (s->method == DGM_BY_MAGNITUDE)
        return DGM_OK;
    const char **files = calloc((size_t)(n + o->n_args) + 1, sizeof *files);
    if (files == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of files");
    memcpy(files, o->calibrations, (size_t)n * sizeof *files);
    if (o->n_args > 0)
        memcpy(files + n, o->args, (size_t)o->n_args * sizeof *files);
    const dgm_parallel_config cfg = {.files = files,
                                     .n_files = n + o->n_args,
                                     .samples = s->samples,
                                     .seed = s->seed,
                                     .self = s->self};
    const int rc = dgm_parallel_read(t, &cfg, m);
    free(files);
    return rc;
}

/* ---- what is shown ---- */

static void show_progress(void *ctx, uint64_t sentences, uint64_t total, uint64_t tokens)
{
    dgm_progress *p = ctx;
    p->total_bytes = total;
    dgm_progress_tick(p, sentences, tokens, sentences);
}

static void print_layers(const dgm_sparsify_report *r, const dgm_model *m,
                         const dgm_sparsify_options *s)
{
    const bool worth = s->spread != 0, owl = s->method == DGM_BY_OWL;
    (void)printf("\n%-12s %12s %12s %8s%s\n", "layer", "parameters", "zeros", "%",
                 !worth ? ""
                 : owl  ? "  outliers %"
                        : "  languages differ");
    for (int l = 0; l < r->n_layers; l++) {
        const int n_enc = m->cfg.n_layers[DGM_ENCODER];
        const dgm_sparsify_layer *at = &r->layers[l];
        char name[32];
        (void)snprintf(name, sizeof name, l < n_enc ? "encoder %d" : "decoder %d",
                       l < n_enc ? l : l - n_enc);
        (void)printf("%-12s %12llu %12llu %8.2f", name, (unsigned long long)at->params,
                     (unsigned long long)at->zeros, 100 * (double)at->zeros / (double)at->params);
        if (worth)
            (void)printf("  %10.4f", at->worth);
        (void)printf("\n");
    }
}

static void print_report(const dgm_options *o, const dgm_sparsify_report *r, const dgm_model *m,
                         const dgm_sparsify_options *s)
{
    const unsigned long long zeros = r->zeros.zeros, pruned = r->zeros.pruned,
                             all = r->zeros.parameters;
    (void)printf("%s: %llu bytes of weights\n%s: %llu bytes of weights, %.1f %%\n", m->dir,
                 (unsigned long long)r->bytes_before, o->output, (unsigned long long)r->bytes_after,
                 100.0 * (double)r->bytes_after / (double)r->bytes_before);
    (void)printf(
        "zeros: %llu, %.2f %% of the %llu weights of pruned matrices, %.2f %% of all %llu\n", zeros,
        100 * (double)zeros / (double)pruned, pruned, 100 * (double)zeros / (double)all, all);
    if (!m->cfg.weights.packed)
        (void)printf(
            "zeros stand where weights stood, since a Hugging Face directory has no form without "
            "them: `dragoman quantize` makes one\n");
    if (s->text != NULL && s->text->n_left_out > 0)
        (void)printf("calibrated on %d of %d directions: the model does not translate the others\n",
                     s->text->n_directions, s->text->n_directions + s->text->n_left_out);
    if (r->n_unreached > 0)
        (void)printf("%d of %d matrices by magnitude: experts that no token reached\n",
                     r->n_unreached, r->n_matrices);
    print_layers(r, m, s);
}

/* ---- command ---- */

static int create_pool(dgm_pool **pool, const dgm_options *o)
{
    dgm_cpus mine;
    dgm_cpus_read(&mine);
    const dgm_cpus *const here[] = {&mine};
    return dgm_pool_create(pool, o->threads > 0 ? o->threads : dgm_cpus_share(&mine, here, 1));
}

static int sparsify(const dgm_options *o, dgm_model *m)
{
    dgm_sparsify_options s = {.sparsity = 0};
    dgm_sparsify_report report = {0};
    dgm_parallel_text text = {0};
    dgm_progress progress;
    dgm_kernels kern;
    dgm_pool *pool = NULL;
    DGM_TRY(read_options(&s, o));
    DGM_TRY(dgm_kernels_select(&kern, o->isa));
    int rc = read_text(&text, &s, o, m);
    if (rc == DGM_OK)
        rc = create_pool(&pool, o);
    s.kern = &kern;
    s.pool = pool;
    s.text = s.method == DGM_BY_MAGNITUDE ? NULL : &text;
    dgm_progress_begin(&progress, isatty(STDERR_FILENO) != 0, 0);
    if (rc == DGM_OK)
        rc = dgm_sparsify(&report, m, o->output, &s, show_progress, &progress);
    dgm_progress_wipe(&progress);
    if (rc == DGM_OK)
        print_report(o, &report, m, &s);
    dgm_sparsify_report_free(&report);
    dgm_pool_destroy(pool);
    dgm_parallel_free(&text);
    return rc;
}

int dgm_cmd_sparsify(const dgm_options *o)
{
    /* dropless: what is refused for its switches keeps them, and is refused still. */
    const dgm_model_options opt = {.dropless = true, .source_order = -1, .verify = DGM_VERIFY_OPEN};
    dgm_model *m = NULL;
    int rc = dgm_model_open(&m, o->model, &opt);
    if (rc == DGM_OK)
        rc = sparsify(o, m);
    dgm_model_close(m);
    return dgm_command_end(rc);
}

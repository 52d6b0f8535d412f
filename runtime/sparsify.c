#include "runtime/sparsify.h"

#include "base/log.h"
#include "base/memory.h"
#include "runtime/sparsify_layers.h"
#include "runtime/sparsify_matrix.h"
#include "runtime/sparsify_write.h"

#include <stdlib.h>

typedef struct job {
    dgm_model *m;
    const dgm_sparsify_options *opt;
    dgm_sparsify_report *report;
    dgm_prunables matrices;
    dgm_watched *watched; /* [matrices.n] */
    dgm_pass *pass;       /* NULL: magnitude */
    uint64_t total;       /* sentences of all passes */
    dgm_sparsify_progress progress;
    void *ctx;
} job;

const char *dgm_sparsify_method_name(enum dgm_sparsify_method method)
{
    static const char *const names[] = {"magnitude", "wanda", "owl", "m-wanda"};
    return names[method];
}

void dgm_sparsify_report_free(dgm_sparsify_report *report)
{
    free(report->layers);
    report->layers = NULL;
}

static int stack_of(const job *j, int layer)
{
    return layer < j->m->cfg.n_layers[DGM_ENCODER] ? DGM_ENCODER : DGM_DECODER;
}

/* ---- looking ---- */

static void tell(void *ctx, uint64_t sentences, uint64_t tokens)
{
    const job *j = ctx;
    if (j->progress != NULL)
        j->progress(j->ctx, sentences, j->total, tokens);
}

/* look - what enters matrices [n] of one stack, as the model is now. */
static int look(job *j, int stack, dgm_prunable *first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        DGM_TRY(dgm_channels_init(&first[i].channels, first[i].w->k, j->opt->text->n_langs));
        j->watched[i] = (dgm_watched){first[i].w, &first[i].channels};
    }
    return dgm_pass_run(j->pass, stack, j->watched, n);
}

static void forget(dgm_prunable *first, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dgm_channels_fini(&first[i].channels);
}

/* ---- how sparse each layer becomes ---- */

/* outliers - OWL's D of a layer, over the matrices that rows entered. */
static int outliers(double *worth, const job *j, dgm_prunable *first, size_t n)
{
    const dgm_score_rule wanda = {0};
    double sum = 0, count = 0, of_one;
    uint64_t above, all = 0;
    for (size_t i = 0; i < n; i++) {
        DGM_TRY(dgm_prunable_weigh(&first[i], &wanda));
        if (!first[i].seen)
            continue;
        DGM_TRY(dgm_prunable_above(&above, &of_one, &first[i], 0, j->opt->pool));
        sum += of_one;
        count += dgm_prunable_params(&first[i]);
    }
    for (size_t i = 0; i < n; i++)
        if (first[i].seen) {
            DGM_TRY(dgm_prunable_above(&above, &of_one, &first[i], j->opt->owl_m * (sum / count),
                                       j->opt->pool));
            all += above;
        }
    *worth = count > 0 ? 100 * (double)all / count : 0;
    return DGM_OK;
}

/* difference - 1 - how alike languages are in a layer: the mean over its matrices, weighted by parameters, of the mean over pairs of
 * languages that both came. */
static double difference(const dgm_prunable *first, size_t n)
{
    double sum = 0, weight = 0, r;
    for (size_t i = 0; i < n; i++) {
        const dgm_channels *c = &first[i].channels;
        double of_pairs = 0;
        int pairs = 0;
        for (int a = 0; a < c->n_langs; a++)
            for (int b = a + 1; b < c->n_langs; b++)
                if (dgm_channels_correlation(&r, c, a, b)) {
                    of_pairs += r;
                    pairs++;
                }
        if (pairs > 0) {
            sum += dgm_prunable_params(&first[i]) * of_pairs / pairs;
            weight += dgm_prunable_params(&first[i]);
        }
    }
    return weight > 0 ? 1 - sum / weight : 0;
}

/* find_worth - of all layers of the model as it came: one pass a stack. */
static int find_worth(job *j)
{
    for (int stack = 0, layer = 0; stack < DGM_STACKS; stack++) {
        dgm_prunable *first, *of_layer;
        const int end = layer + j->m->cfg.n_layers[stack];
        size_t n = 0;
        dgm_prunables_layer(&j->matrices, layer, &first);
        for (int l = layer; l < end; l++)
            n += dgm_prunables_layer(&j->matrices, l, &of_layer);
        DGM_TRY(look(j, stack, first, n));
        for (; layer < end; layer++) {
            const size_t some = dgm_prunables_layer(&j->matrices, layer, &of_layer);
            double *worth = &j->report->layers[layer].worth;
            if (j->opt->method == DGM_BY_OWL)
                DGM_TRY(outliers(worth, j, of_layer, some));
            else
                *worth = difference(of_layer, some);
        }
        forget(first, n);
    }
    return DGM_OK;
}

static bool shares_unequally(const dgm_sparsify_options *o)
{
    return o->spread != 0 && o->pattern.m == 0 &&
           (o->method == DGM_BY_OWL || o->method == DGM_AFTER_M_WANDA);
}

static int share_out(job *j)
{
    dgm_sparsify_report *r = j->report;
    const size_t n = (size_t)r->n_layers;
    double *lists = calloc(3 * n, sizeof *lists);
    if (lists == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of layers");
    int rc = shares_unequally(j->opt) ? find_worth(j) : DGM_OK;
    double *sparsity = lists, *worth = lists + n, *params = lists + 2 * n;
    for (size_t l = 0; l < n; l++) {
        worth[l] = r->layers[l].worth;
        params[l] = (double)r->layers[l].params;
    }
    dgm_layers_spread(sparsity, worth, params, r->n_layers, j->opt->sparsity, j->opt->spread);
    for (size_t l = 0; l < n; l++)
        r->layers[l].sparsity = shares_unequally(j->opt) ? sparsity[l] : j->opt->sparsity;
    free(lists);
    return rc;
}

/* ---- pruning ---- */

/* goes_of - how many weights of a row of p go, on average: where layers share unequally, so many that all of them together
 * have the zeros that they would have alike, where rows round down. */
static double goes_of(const job *j, const dgm_prunable *p, const dgm_sparsify_layer *l)
{
    const dgm_sparsify_options *o = j->opt;
    return dgm_score_goes(p->w->k, o->sparsity, o->pattern) + (l->sparsity - o->sparsity) * p->w->k;
}

static int prune_layer(job *j, int layer)
{
    const dgm_score_rule plain = {0},
                         *rule = j->opt->method == DGM_AFTER_M_WANDA ? &j->opt->rule : &plain;
    dgm_sparsify_layer *l = &j->report->layers[layer];
    dgm_prunable *first;
    const size_t n = dgm_prunables_layer(&j->matrices, layer, &first);
    if (j->pass != NULL)
        DGM_TRY(look(j, stack_of(j, layer), first, n));
    for (size_t i = 0; i < n; i++) {
        dgm_prunable *p = &first[i];
        uint64_t zeros;
        DGM_TRY(dgm_prunable_weigh(p, rule));
        DGM_TRY(dgm_prunable_cut(&zeros, p, goes_of(j, p, l), j->opt->pattern, j->opt->pool));
        l->zeros += zeros;
        j->report->n_unreached += j->pass != NULL && !p->seen;
        free(p->factor);
        p->factor = NULL;
    }
    forget(first, n);
    return DGM_OK;
}

static void count_parameters(job *j)
{
    dgm_sparsify_report *r = j->report;
    const struct dgm_model_files *f = j->m->files;
    for (size_t i = 0; i < f->n_slots; i++)
        if (dgm_slot_has_weights(&f->slots[i]))
            r->zeros.parameters += (uint64_t)f->slots[i].rows * (uint64_t)f->slots[i].k;
    for (size_t i = 0; i < j->matrices.n; i++) {
        const dgm_prunable *p = &j->matrices.all[i];
        r->layers[p->slot->layer].params += (uint64_t)p->w->n * (uint64_t)p->w->k;
    }
    for (int l = 0; l < r->n_layers; l++)
        r->zeros.pruned += r->layers[l].params;
    r->n_matrices = (int)j->matrices.n;
}

static int open_pass(job *j)
{
    const dgm_pass_config cfg = {.model = j->m,
                                 .text = j->opt->text,
                                 .kern = j->opt->kern,
                                 .pool = j->opt->pool,
                                 .tau = (float)j->opt->tau,
                                 .progress = tell,
                                 .ctx = j};
    if (j->opt->method == DGM_BY_MAGNITUDE)
        return DGM_OK;
    DGM_TRY(dgm_pass_open(&j->pass, &cfg));
    for (int s = 0; s < DGM_STACKS; s++)
        j->total += dgm_pass_sentences(j->pass, s) *
                    (uint64_t)(j->m->cfg.n_layers[s] + shares_unequally(j->opt));
    return DGM_OK;
}

/* ---- what it takes ---- */

static bool by_text(const job *j)
{
    return j->opt->method != DGM_BY_MAGNITUDE;
}

/* weight_bytes - of all weights; of a packed model, which is mapped, of those that are copied to be changed. */
static double weight_bytes(const job *j)
{
    const struct dgm_model_files *f = j->m->files;
    double bytes = 0;
    for (size_t i = 0; i < f->n_slots && !j->m->cfg.weights.packed; i++)
        bytes += (double)dgm_weights_bytes(&f->slots[i]);
    for (size_t i = 0; i < j->matrices.n && j->m->cfg.weights.packed; i++) {
        const dgm_packed *w = j->matrices.all[i].w;
        bytes += (double)dgm_packed_bytes(w->type, w->n, w->k);
    }
    return bytes;
}

/* channel_bytes - of the statistics of a layer, or of a stack, which are looked at together where layers share unequally: the most. */
static double channel_bytes(const job *j)
{
    double most = 0, of_layer = 0, of_stack = 0;
    const double langs = by_text(j) ? j->opt->text->n_langs : 0;
    for (size_t i = 0; i < j->matrices.n; i++) {
        const int layer = j->matrices.all[i].slot->layer,
                  before = i > 0 ? j->matrices.all[i - 1].slot->layer : layer;
        const double bytes = 16 * langs * j->matrices.all[i].w->k; /* a double and a count each */
        of_layer = (layer == before ? of_layer : 0) + bytes;
        of_stack = (stack_of(j, layer) == stack_of(j, before) ? of_stack : 0) + bytes;
        const double here = shares_unequally(j->opt) ? of_stack : of_layer;
        most = here > most ? here : most;
    }
    return most;
}

static void tell_plan(const job *j)
{
    const int first = shares_unequally(j->opt) ? DGM_STACKS : 0,
              passes = by_text(j) ? j->report->n_layers + first : 0;
    const double need = weight_bytes(j) + channel_bytes(j), mib = 1 << 20;
    const uint64_t left = dgm_memory_free("");
    dgm_log(DGM_LOG_INFO, "sparsify",
            "%zu matrices of %d layers, %d passes over the text, about %.1f MiB of memory",
            j->matrices.n, j->report->n_layers, passes, need / mib);
    if (need > (double)left)
        dgm_log(DGM_LOG_WARN, "sparsify",
                "memory is short: about %.0f MiB are needed, %.0f are free", need / mib,
                (double)left / mib);
}

static int prune(job *j)
{
    dgm_sparsify_report *r = j->report;
    r->n_layers = j->m->cfg.n_layers[DGM_ENCODER] + j->m->cfg.n_layers[DGM_DECODER];
    r->layers = calloc((size_t)r->n_layers, sizeof *r->layers);
    if (r->layers == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of layers");
    j->m->files->verify = DGM_VERIFY_OPEN; /* damaged bytes must not get new checksums that fit */
    DGM_TRY(dgm_prunables_list(&j->matrices, j->m));
    j->watched = calloc(j->matrices.n + 1, sizeof *j->watched);
    if (j->watched == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of matrices");
    count_parameters(j);
    tell_plan(j);
    DGM_TRY(dgm_model_load(j->m, 0, 1, true, NULL));
    DGM_TRY(open_pass(j));
    DGM_TRY(share_out(j));
    for (int l = 0; l < r->n_layers; l++) {
        DGM_TRY(prune_layer(j, l));
        r->zeros.zeros += r->layers[l].zeros;
    }
    return DGM_OK;
}

int dgm_sparsify(dgm_sparsify_report *report, dgm_model *in, const char *out,
                 const dgm_sparsify_options *opt, dgm_sparsify_progress progress, void *ctx)
{
    *report = (dgm_sparsify_report){.bytes_before = dgm_tensors_bytes(in->files->tensors)};
    job j = {.m = in, .opt = opt, .report = report, .progress = progress, .ctx = ctx};
    dgm_model_copy copy;
    int rc = dgm_model_copy_open(&copy, in, out, 4 * in->files->n_slots, NULL, NULL);
    if (rc == DGM_OK)
        rc = prune(&j);
    if (rc == DGM_OK)
        rc = dgm_sparsify_write(report, &copy, opt);
    dgm_model_copy_close(&copy);
    dgm_pass_close(j.pass);
    dgm_prunables_free(&j.matrices);
    free(j.watched);
    return rc;
}

#include "runtime/sparsify_pass.h"

#include <stdlib.h>

/* Sentences at once, and source tokens of a step. */
enum { SENTENCES = 64, SOURCE_TOKENS = 4096 };

struct dgm_pass {
    dgm_pass_config cfg;
    dgm_comm *comm;
    dgm_engine *engine;
    uint64_t sentences, tokens;
    /* of the run at hand: */
    dgm_watched *watched; /* [n_watched] by address */
    size_t n_watched;
    int stack, lang;
};

int dgm_pass_open(dgm_pass **out, const dgm_pass_config *cfg)
{
    const dgm_comm_config local = {
        .backend = "local", .stall_ms = 2000, .deadline_ms = 60000, .alone = true};
    const int longest = cfg->text->longest_target;
    const dgm_engine_config e = {.batch_tokens = SOURCE_TOKENS,
                                 .batch_rows = SENTENCES,
                                 .dense_ranks = 1,
                                 .max_source = cfg->model->cfg.max_source,
                                 .max_target = longest > 3 ? longest : 3,
                                 .max_beam = 1,
                                 .max_targets = 1,
                                 .sets = cfg->text->sets.n > 0 ? &cfg->text->sets : NULL,
                                 .prompt_rows = longest > 3 ? longest : 3};
    dgm_pass *p = calloc(1, sizeof *p);
    if (p == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for calibration");
    p->cfg = *cfg;
    int rc = dgm_comm_open(&p->comm, &local);
    if (rc == DGM_OK)
        rc = dgm_engine_open(&p->engine, &e, cfg->model, cfg->kern, cfg->pool, p->comm);
    if (rc != DGM_OK) {
        dgm_pass_close(p);
        return rc;
    }
    *out = p;
    return DGM_OK;
}

void dgm_pass_close(dgm_pass *p)
{
    if (p == NULL)
        return;
    dgm_engine_close(p->engine);
    dgm_comm_close(p->comm);
    free(p);
}

/* ---- which sentences ---- */

/* seen_before - an earlier direction has shown the encoder the same. */
static bool seen_before(const dgm_pass *p, int direction)
{
    const dgm_text_direction *d = p->cfg.text->directions;
    if (p->cfg.model->cut != NULL || dgm_routing_by_task(p->cfg.model->cfg.routing[DGM_ENCODER]))
        return false;
    for (int i = 0; i < direction; i++)
        if (d[i].src == d[direction].src)
            return true;
    return false;
}

/* takes - a line of a direction says something to the stack. */
static bool takes(const dgm_pass *p, int stack, const dgm_text_direction *d, size_t line)
{
    const dgm_language_text *l = p->cfg.text->langs;
    return l[d->src].lines[line].n_source > 0 &&
           (stack == DGM_ENCODER || l[d->tgt].lines[line].n_target > 0);
}

uint64_t dgm_pass_sentences(const dgm_pass *p, int stack)
{
    const dgm_parallel_text *t = p->cfg.text;
    uint64_t n = 0;
    for (int i = 0; i < t->n_directions; i++) {
        const dgm_text_direction *d = &t->directions[i];
        if (stack == DGM_ENCODER && seen_before(p, i))
            continue;
        for (size_t line = 0; line < t->langs[d->src].n; line++)
            n += takes(p, stack, d, line);
    }
    return n;
}

/* ---- a direction through the engine ---- */

/* submit - for the encoder's sake the shortest target will do. The seed bears on nothing and makes equal lines count each. */
static int submit(dgm_pass *p, const dgm_text_direction *d, size_t line)
{
    const dgm_model_config *m = &p->cfg.model->cfg;
    const dgm_sentence *source = &p->cfg.text->langs[d->src].lines[line],
                       *target = &p->cfg.text->langs[d->tgt].lines[line];
    const int32_t least[] = {m->decoder_start_id, p->cfg.text->langs[d->tgt].code, m->eos_id};
    const bool whole = p->stack == DGM_DECODER;
    const dgm_target t = {.prompt = whole ? target->target : least,
                          .n_prompt = whole ? target->n_target : 3,
                          .experts = d->experts[DGM_DECODER],
                          .source_experts = d->experts[DGM_ENCODER],
                          .task = d->task};
    const dgm_job job = {.id = line,
                         .line = line,
                         .source = source->source,
                         .n_source = source->n_source,
                         .targets = &t,
                         .n_targets = 1,
                         .score = true,
                         .options = {.beam = 1,
                                     .n_best = 1,
                                     .max_length = 3,
                                     .length_penalty = 1,
                                     .repetition_penalty = 1,
                                     .sampling_topp = 1,
                                     .temperature = 1,
                                     .seed = line,
                                     .eos_id = m->eos_id}};
    DGM_TRY(dgm_engine_submit(p->engine, &job));
    p->tokens += (uint64_t)(source->n_source + t.n_prompt);
    return DGM_OK;
}

static int run_direction(dgm_pass *p, const dgm_text_direction *d)
{
    const size_t n = p->cfg.text->langs[d->src].n;
    size_t at = 0;
    p->lang = p->stack == DGM_ENCODER ? d->src : d->tgt;
    while (at < n || dgm_engine_pending(p->engine) > 0) {
        dgm_result r;
        int rc = DGM_OK;
        while (at < n && (!takes(p, p->stack, d, at) || (rc = submit(p, d, at)) == DGM_OK))
            at++;
        if (rc != DGM_OK && rc != DGM_EBUSY)
            return rc;
        DGM_TRY(dgm_engine_step(p->engine));
        while (dgm_engine_poll(p->engine, &r)) {
            DGM_TRY(r.status);
            p->sentences++;
        }
        if (p->cfg.progress != NULL)
            p->cfg.progress(p->cfg.ctx, p->sentences, p->tokens);
    }
    return DGM_OK;
}

/* ---- a pass ---- */

static int by_address(const void *a, const void *b)
{
    const dgm_watched *x = a, *y = b;
    return x->w < y->w ? -1 : x->w > y->w;
}

static void see(void *ctx, const dgm_packed *w, const float *x, int rows)
{
    dgm_pass *p = ctx;
    const dgm_watched key = {.w = w};
    const dgm_watched *found =
        bsearch(&key, p->watched, p->n_watched, sizeof *p->watched, by_address);
    if (found != NULL)
        dgm_channels_add(found->channels, p->lang, x, rows, p->cfg.tau);
}

int dgm_pass_run(dgm_pass *p, int stack, dgm_watched *watched, size_t n)
{
    const dgm_parallel_text *t = p->cfg.text;
    const dgm_observer observer = {see, p};
    int rc = DGM_OK;
    qsort(watched, n, sizeof *watched, by_address);
    p->watched = watched;
    p->n_watched = n;
    p->stack = stack;
    dgm_engine_set_observer(p->engine, &observer);
    for (int i = 0; rc == DGM_OK && i < t->n_directions; i++)
        if (stack == DGM_DECODER || !seen_before(p, i))
            rc = run_direction(p, &t->directions[i]);
    dgm_engine_set_observer(p->engine, NULL);
    return rc;
}

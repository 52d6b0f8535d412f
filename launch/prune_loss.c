#include "launch/prune_loss.h"

#include "base/clock.h"
#include "base/log.h"
#include "launch/prune_plan.h"
#include "launch/session.h"
#include "runtime/footprint.h"
#include "runtime/keep_search.h"
#include "runtime/set_loss_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FED = 32, SHARE = 4 }; /* tokens of a sentence in a step, and so the fewer sentences */

typedef struct job {
    dgm_session session;
    dgm_engine_config engine;
    /* rank 0 */
    dgm_pairs *texts; /* [n_texts] until the losses have them */
    int n_texts;
    dgm_gate_stats directions; /* runs without counts: names and hashes of the texts */
    dgm_keep_plan plan;
    dgm_keep from, keep;
    dgm_set_loss *loss;
    dgm_search_set *sets; /* [n_sets] */
    char (*names)[DGM_KEEP_NAME + 1];
    int n_sets;
} job;

static int choose_engine(job *j)
{
    const dgm_options *o = j->session.options;
    const dgm_model_config *m = &j->session.model->cfg;
    DGM_TRY(dgm_session_types(&j->engine, &j->session));
    if (dgm_config_most_experts(m) == 0)
        return dgm_fail(DGM_EMODEL, "%s: want a mixture of experts, found a dense model", o->model);
    j->engine.batch_tokens = o->batch_tokens;
    j->engine.batch_rows = (o->batch_rows + SHARE - 1) / SHARE;
    j->engine.usual_rows = DGM_USUAL_ROWS / SHARE;
    j->engine.overlap = dgm_session_overlap(&j->session);
    j->engine.max_source = m->max_source;
    j->engine.max_target = m->max_positions;
    j->engine.max_beam = 1;
    j->engine.max_targets = DGM_SET_LOSS_TARGETS;
    j->engine.prompt_rows = FED;
    j->engine.marks = true;
    return DGM_OK;
}

/* ---- rank 0, before the weights are read ---- */

static int check_options(const dgm_options *o)
{
    if (o->keep[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "prune: want -k FILE, where the experts to keep are written");
    if (o->stats[0] != '\0' || o->import[0] != '\0' || o->protect_eos)
        return dgm_fail(DGM_EUSAGE,
                        "--algorithm %s: want texts (-s, -t, -i, --reference) alone, "
                        "found --stats, --import or --protect-eos",
                        o->algorithm);
    for (int i = 0; i < o->n_directions; i++) {
        const dgm_direction *d = &o->directions[i];
        if (d->src[0] == '\0' || d->tgt[0] == '\0' || d->input[0] == '\0' ||
            d->reference[0] == '\0')
            return dgm_fail(DGM_EUSAGE,
                            "--algorithm %s: want -s, -t, -i and --reference of each "
                            "direction",
                            o->algorithm);
    }
    return DGM_OK;
}

static int read_text(job *j, const dgm_direction *d)
{
    const dgm_session *s = &j->session;
    dgm_pair_files f = {.input = d->input,
                        .reference = d->reference,
                        .max_source = j->engine.max_source,
                        .max_target = j->engine.max_target};
    dgm_gates_run *run;
    DGM_TRY(dgm_tok_lang(s->tok, &f.src, d->src));
    DGM_TRY(dgm_tok_lang(s->tok, &f.tgt, d->tgt));
    DGM_TRY(dgm_gates_add_run(&run, &j->directions));
    (void)snprintf(run->src, sizeof run->src, "%s", dgm_tok_piece(s->tok, f.src));
    (void)snprintf(run->tgt, sizeof run->tgt, "%s", dgm_tok_piece(s->tok, f.tgt));
    dgm_pairs *p = &j->texts[j->n_texts++];
    DGM_TRY(dgm_pairs_read_files(p, &f, &s->model->cfg, s->tok));
    j->directions.runs[j->directions.n_runs - 1].corpus = p->hash;
    return DGM_OK;
}

/* read_from - where the search begins; no other experts are loaded. */
static int read_from(job *j)
{
    dgm_session *s = &j->session;
    const char *path = s->options->from;
    DGM_TRY(dgm_keep_read(&j->from, path, &s->model->cfg, s->model->hash));
    for (int i = 0; i < j->n_texts; i++)
        for (int stack = 0; stack < DGM_STACKS; stack++) {
            const dgm_gates_run *run = &j->directions.runs[i];
            const dgm_keep_set *set = dgm_keep_find(&j->from, stack, run->src, run->tgt);
            int number;
            if (set == NULL)
                return dgm_fail(DGM_EINPUT, "%s keeps no %s experts for %s to %s", path,
                                stack == DGM_ENCODER ? "encoder" : "decoder", run->src, run->tgt);
            DGM_TRY(dgm_expert_sets_add(&number, &s->sets, set));
        }
    return DGM_OK;
}

static int prepare(job *j)
{
    const dgm_options *o = j->session.options;
    const dgm_model *m = j->session.model;
    DGM_TRY(check_options(o));
    DGM_TRY(dgm_gates_init(&j->directions, &m->cfg, m->hash));
    j->texts = calloc((size_t)o->n_directions, sizeof *j->texts);
    j->sets = calloc(2 * (size_t)o->n_directions, sizeof *j->sets);
    j->names = calloc(2 * (size_t)o->n_directions, sizeof *j->names);
    if (j->texts == NULL || j->sets == NULL || j->names == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d directions", o->n_directions);
    for (int i = 0; i < o->n_directions; i++)
        DGM_TRY(read_text(j, &o->directions[i]));
    DGM_TRY(dgm_prune_plan(&j->plan, o, &j->directions, &m->cfg));
    if (o->from[0] != '\0')
        DGM_TRY(read_from(j));
    return dgm_keep_init(&j->keep, &m->cfg, m->hash);
}

/* ---- rank 0, with the engine ---- */

static int add_set(int *number, job *j, int stack, const dgm_gates_run *run)
{
    char name[DGM_KEEP_NAME + 1];
    dgm_expert_budget b;
    if (j->plan.granularity == DGM_BY_LANGUAGE)
        (void)snprintf(name, sizeof name, "%s", stack == DGM_ENCODER ? run->src : run->tgt);
    else if (j->plan.granularity == DGM_BY_PAIR)
        (void)snprintf(name, sizeof name, "%s-%s", run->src, run->tgt);
    else
        (void)snprintf(name, sizeof name, "*");
    for (*number = 0; *number < j->n_sets; ++*number)
        if (j->sets[*number].stack == stack && strcmp(j->names[*number], name) == 0)
            return DGM_OK;
    DGM_TRY(dgm_keep_plan_budget(&b, &j->plan, &j->directions, run->tgt));
    const dgm_keep_set *first = dgm_keep_find(&j->from, stack, run->src, run->tgt);
    DGM_TRY(dgm_set_loss_add_set(number, j->loss, stack, first == NULL ? NULL : first->kept));
    (void)snprintf(j->names[*number], sizeof j->names[*number], "%s", name);
    j->sets[j->n_sets++] = (dgm_search_set){stack, b.keep[stack]};
    return DGM_OK;
}

static int add_texts(job *j)
{
    for (int i = 0; i < j->n_texts; i++) {
        const dgm_gates_run *run = &j->directions.runs[i];
        int enc, dec, task;
        DGM_TRY(add_set(&enc, j, DGM_ENCODER, run));
        DGM_TRY(add_set(&dec, j, DGM_DECODER, run));
        DGM_TRY(dgm_tasks_find(&task, &j->session.model->tasks, run->src, run->tgt));
        DGM_TRY(dgm_set_loss_add_text(j->loss, &j->texts[i], enc, dec, task));
    }
    return DGM_OK;
}

static int search(job *j)
{
    static const enum dgm_search_freedom freedoms[] = {
        [DGM_CHOOSE_LOSS] = DGM_SEARCH_SETS,
        [DGM_CHOOSE_LOSS_STACKS] = DGM_SEARCH_LAYERS,
        [DGM_CHOOSE_LOSS_LAYERS] = DGM_SEARCH_EVEN,
    };
    const dgm_search_plan plan = {
        .sets = j->sets, .n_sets = j->n_sets, .freedom = freedoms[j->plan.algorithm]};
    const double began = dgm_now_s();
    DGM_TRY(dgm_set_loss_begin(j->loss));
    dgm_log(DGM_LOG_INFO, "prune", "loss at first: %.4f a token", dgm_set_loss_mean(j->loss));
    DGM_TRY(dgm_keep_search(j->loss, &j->keep.shape, &plan));
    dgm_log(DGM_LOG_INFO, "prune", "chosen in %.0f passes over the texts, %.1f s",
            dgm_set_loss_passes(j->loss), dgm_now_s() - began);
    for (int i = 0; i < j->n_sets; i++)
        DGM_TRY(
            dgm_keep_add(&j->keep, j->sets[i].stack, j->names[i], dgm_set_loss_set(j->loss, i)));
    return DGM_OK;
}

static int choose(job *j)
{
    dgm_session *s = &j->session;
    const dgm_set_loss_config cfg = {.engine = s->engine,
                                     .sets = &s->sets,
                                     .model = s->model,
                                     .max_target = j->engine.max_target};
    DGM_TRY(dgm_set_loss_create(&j->loss, &cfg));
    DGM_TRY(add_texts(j));
    DGM_TRY(search(j));
    return dgm_prune_write(&j->keep, s->options, &j->directions, &j->plan);
}

static int run(job *j, const dgm_options *o)
{
    DGM_TRY(dgm_session_join(&j->session, o));
    int rc = dgm_prune_whole(j->session.model);
    if (rc == DGM_OK)
        rc = choose_engine(j);
    if (rc == DGM_OK && j->session.rank == 0)
        rc = prepare(j);
    DGM_TRY(dgm_session_load(&j->session, rc, &j->engine));
    return j->session.rank == 0 ? choose(j) : dgm_session_serve(&j->session);
}

bool dgm_prune_by_loss(const dgm_options *o)
{
    return strncmp(o->algorithm, "loss", 4) == 0;
}

int dgm_prune_loss(const dgm_options *o)
{
    job j = {.session.options = o};
    const int code = dgm_session_leave(&j.session, run(&j, o));
    for (int i = 0; i < j.n_texts; i++)
        dgm_pairs_free(&j.texts[i]);
    free(j.texts);
    free(j.sets);
    free(j.names);
    free((void *)j.plan.targets);
    dgm_set_loss_destroy(j.loss);
    dgm_gates_fini(&j.directions);
    dgm_keep_fini(&j.from);
    dgm_keep_fini(&j.keep);
    dgm_session_close(&j.session);
    return code;
}

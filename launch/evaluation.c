#include "launch/evaluation.h"

#include "base/log.h"
#include "launch/prune_plan.h"
#include "runtime/gate_stats.h"
#include "runtime/split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- before the model is loaded ---- */

/* forced_text - what the line and its given translation add to a corpus. */
static int forced_text(uint64_t *sum, const dgm_evaluated *d, const dgm_session *s,
                       const dgm_segments *source, const dgm_evaluation_line *reference)
{
    const dgm_model_config *c = &s->model->cfg;
    int32_t *pieces = NULL, *prompt;
    int n = 0;
    if (source->n != 1 || dgm_text_blank(reference->text, reference->len))
        return DGM_OK;
    DGM_TRY(dgm_tok_pieces(s->tok, &pieces, &n, reference->text, reference->len));
    prompt = malloc(((size_t)n + 3) * sizeof *prompt);
    if (prompt != NULL) {
        prompt[0] = c->decoder_start_id;
        prompt[1] = d->direction.targets[0].code;
        memcpy(prompt + 2, pieces, (size_t)n * sizeof *prompt);
        prompt[n + 2] = c->eos_id;
        *sum += dgm_gates_text(source->at[0].ids, source->at[0].n, prompt, n + 3);
    }
    free(prompt);
    free(pieces);
    return prompt == NULL ? dgm_fail(DGM_ENOMEM, "out of memory for a reference") : DGM_OK;
}

static int name_line(dgm_evaluated *d, const dgm_session *s, const dgm_segment_config *cfg,
                     const dgm_line *line)
{
    dgm_segments source = {0};
    if (line->state != DGM_LINE_OK || dgm_text_blank(line->text, line->len))
        return DGM_OK;
    int rc = dgm_segment_line(&source, cfg, line->text, line->len);
    for (int i = 0; rc == DGM_OK && i < source.n; i++)
        d->corpus[0] += dgm_gates_text(source.at[i].ids, source.at[i].n, NULL, 0);
    if (rc == DGM_OK)
        rc = forced_text(&d->corpus[1], d, s, &source, &d->text.references[line->number - 1]);
    dgm_segments_free(&source);
    return rc == DGM_ETEXT ? DGM_OK : rc; /* too long: it is not translated either */
}

/* name_text - as statistics of the same text would call it. */
static int name_text(dgm_evaluated *d, const dgm_evaluation *e)
{
    const dgm_stream_config cfg =
        dgm_filter_stream(&d->direction, &e->session, &e->engine, &e->decode);
    dgm_lines *lines;
    dgm_line line;
    int rc;
    (void)lseek(d->text.fd, 0, SEEK_SET);
    DGM_TRY(dgm_lines_open(&lines, d->text.fd, d->text.name, DGM_STREAM_MAX_LINE_BYTES));
    while ((rc = dgm_lines_poll(lines, &line, -1)) == DGM_LINES_LINE) {
        dgm_comm_busy(e->session.comm, "reading text");
        rc = name_line(d, &e->session, &cfg.source, &line);
        if (rc != DGM_OK)
            break;
    }
    dgm_lines_close(lines);
    return rc < 0 ? rc : DGM_OK;
}

static int add_direction(dgm_evaluation *e)
{
    dgm_evaluated *d = &e->directions[e->n];
    const dgm_options *o = &d->direction.o;
    const dgm_session *s = &e->session;
    d->text.fd = -1;
    d->direction.o = dgm_filter_options(e->o, e->n++);
    if (o->input[0] == '\0' || o->reference[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "prune: want -i FILE and --reference FILE with each -s and -t, "
                                    "to measure quality on");
    DGM_TRY(dgm_filter_languages(&d->direction, s));
    if (d->direction.n_targets > 1)
        return dgm_fail(DGM_EUSAGE, "--tgt-lang: want one language a direction, found '%s'",
                        o->tgt_lang);
    (void)snprintf(d->name, sizeof d->name, "%s-%s", dgm_tok_piece(s->tok, d->direction.source),
                   d->direction.targets[0].lang);
    DGM_TRY(dgm_evaluation_text_open(&d->text, o->input, o->reference));
    return name_text(d, e);
}

static int add_directions(dgm_evaluation *e)
{
    const int n = e->o->n_directions;
    if (dgm_config_most_experts(&e->session.model->cfg) == 0)
        return dgm_fail(DGM_EMODEL, "%s: want a mixture of experts, found a dense model",
                        e->o->model);
    e->directions = calloc((size_t)n, sizeof *e->directions);
    if (e->directions == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d directions", n);
    while (e->n < n)
        DGM_TRY(add_direction(e));
    return DGM_OK;
}

int dgm_evaluation_sets(dgm_evaluation_set *sets, dgm_evaluation *e, const dgm_keep *keep)
{
    dgm_expert_sets *all = &e->session.sets;
    for (int i = 0; i < e->n; i++) {
        dgm_filter_direction *d = &e->directions[i].direction;
        if (keep == NULL) {
            DGM_TRY(dgm_expert_sets_add_all(&sets[i].encoder, all, DGM_ENCODER));
            DGM_TRY(dgm_expert_sets_add_all(&sets[i].decoder, all, DGM_DECODER));
            continue;
        }
        DGM_TRY(dgm_filter_experts(d, &e->session, keep));
        sets[i] = (dgm_evaluation_set){d->targets[0].source_experts, d->targets[0].experts};
    }
    return DGM_OK;
}

void dgm_evaluation_warn(const dgm_evaluation *e, const uint64_t *corpora, int n,
                         const char *source)
{
    for (int d = 0; d < e->n; d++)
        for (int i = 0; i < n; i++)
            for (int k = 0; k < 2; k++)
                if (corpora[i] == e->directions[d].corpus[k]) {
                    dgm_log(DGM_LOG_WARN, "prune",
                            "%s: the statistics of %s come from this very text, on which experts "
                            "chosen by it look better than they are: measure on another",
                            e->directions[d].text.name, source);
                    return;
                }
}

/* ---- while the other ranks serve ---- */

/* Where finished lines go. */
typedef struct sink {
    const dgm_evaluation *e;
    const dgm_evaluated *of;
    dgm_quality *lines;
} sink;

static int take(void *ctx, const dgm_stream_text *line)
{
    const sink *to = ctx;
    const size_t i = (size_t)line->number - 1;
    const dgm_evaluation_line *ref = &to->of->text.references[i];
    dgm_comm_busy(to->e->session.comm, "scoring translations");
    DGM_TRY(dgm_quality_of(&to->lines[i], to->e->session.tok, line->text, line->len, ref->text,
                           ref->len));
    to->lines[i].unfinished = line->status == DGM_LINE_STATUS_TRUNCATED;
    return DGM_OK;
}

int dgm_evaluation_translate(dgm_quality *lines, dgm_evaluation *e, int i, dgm_evaluation_set set)
{
    dgm_evaluated *d = &e->directions[i];
    dgm_stream_totals totals;
    sink to = {e, d, lines};
    d->direction.targets[0].source_experts = set.encoder;
    d->direction.targets[0].experts = set.decoder;
    dgm_stream_config cfg = dgm_filter_stream(&d->direction, &e->session, &e->engine, &e->decode);
    cfg.input_fd = d->text.fd;
    cfg.input_name = d->text.name;
    cfg.take = take;
    cfg.take_ctx = &to;
    (void)lseek(d->text.fd, 0, SEEK_SET);
    DGM_TRY(dgm_lines_open(&cfg.input, d->text.fd, d->text.name, DGM_STREAM_MAX_LINE_BYTES));
    const int rc = dgm_stream_run(&totals, &cfg);
    dgm_lines_close(cfg.input);
    if (rc == DGM_OK && totals.stopped)
        return 128 + dgm_session_signal;
    return rc;
}

void dgm_evaluation_resample(dgm_resamples *change, const dgm_evaluation *e, int i,
                             const dgm_quality *before, const dgm_quality *after)
{
    for (int r = 0; r < DGM_RESAMPLES; r++) {
        dgm_comm_busy(e->session.comm, "scoring translations");
        dgm_bootstrap(change, r, before, after, e->directions[i].text.n_lines, e->o->seed);
    }
}

/* ---- the job ---- */

static int run(dgm_evaluation *e, int status, int (*prepare)(dgm_evaluation *e, void *ctx),
               int (*work)(dgm_evaluation *e, void *ctx), void *ctx)
{
    dgm_session *s = &e->session;
    char why[512];
    (void)snprintf(why, sizeof why, "%s", status == DGM_OK ? "" : dgm_error_text());
    DGM_TRY(dgm_session_join(s, e->o));
    if (status != DGM_OK) /* as with all options, the ranks end together */
        return dgm_comm_agree(s->comm, dgm_fail(status, "%s", why));
    int rc = dgm_filter_engine(&e->engine, &e->decode, s);
    if (rc == DGM_OK)
        rc = dgm_prune_whole(s->model);
    if (rc == DGM_OK && s->rank == 0)
        rc = add_directions(e);
    if (rc == DGM_OK && s->rank == 0)
        rc = prepare(e, ctx);
    DGM_TRY(dgm_session_load(s, rc, &e->engine));
    dgm_session_heed();
    return s->rank == 0 ? work(e, ctx) : dgm_session_serve(s);
}

int dgm_evaluation_run(const dgm_options *o, int status,
                       int (*prepare)(dgm_evaluation *e, void *ctx),
                       int (*work)(dgm_evaluation *e, void *ctx), void *ctx)
{
    dgm_evaluation e = {.o = o};
    const int code = dgm_session_leave(&e.session, run(&e, status, prepare, work, ctx));
    for (int i = 0; i < e.n; i++)
        dgm_evaluation_text_close(&e.directions[i].text);
    free(e.directions);
    dgm_session_close(&e.session);
    return code;
}

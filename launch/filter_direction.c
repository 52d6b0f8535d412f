#include "launch/filter_direction.h"

#include "runtime/cut.h"
#include "runtime/footprint.h"
#include "runtime/retry.h"

#include <stdlib.h>
#include <string.h>

enum { SCORE_TOKENS = 32, SCORE_SHARE = 4 };

dgm_options dgm_filter_options(const dgm_options *o, int i)
{
    dgm_options mine = *o;
    mine.src_lang = o->directions[i].src;
    mine.tgt_lang = o->directions[i].tgt;
    mine.input = o->directions[i].input;
    mine.reference = o->directions[i].reference;
    return mine;
}

static bool scoring(const dgm_options *o)
{
    return o->command == DGM_COMMAND_SCORE;
}

static bool retrying(const dgm_options *o)
{
    return strcmp(o->retry, "checks") == 0;
}

/* ---- what the options mean for this model; the same on every rank ---- */

static int choose_lengths(dgm_engine_config *e, dgm_decode_options *d, const dgm_session *s)
{
    const dgm_options *o = s->options;
    const dgm_model_config *m = &s->model->cfg;
    e->max_source = m->max_source;
    if (o->max_input_length > 0 && o->max_input_length < m->max_source)
        e->max_source = o->max_input_length;
    /* code, </s> and one piece */
    if (e->max_source < 3)
        return dgm_fail(DGM_EUSAGE, "--max-input-length: want at least 3, found %d",
                        o->max_input_length);
    const int max_length = o->max_length > 0 ? o->max_length : m->max_length;
    if (max_length < 3 || max_length > m->max_positions)
        return dgm_fail(DGM_EUSAGE, "--max-length: want 3 to %d (the model's positions), found %d",
                        m->max_positions, max_length);
    if (o->min_length > max_length)
        return dgm_fail(DGM_EUSAGE, "--min-length: want at most --max-length (%d), found %d",
                        max_length, o->min_length);
    d->max_length = max_length;
    e->max_target = scoring(o) ? m->max_positions : max_length;
    return DGM_OK;
}

static void choose_decoding(dgm_decode_options *d, const dgm_session *s)
{
    const dgm_options *o = s->options;
    d->beam = scoring(o) ? 1 : o->beam_size;
    d->n_best = scoring(o) ? 1 : o->n_best;
    d->min_length = o->min_length;
    d->no_repeat_ngram = o->no_repeat_ngram_size;
    d->early_stopping = o->early_stopping;
    d->length_penalty = o->length_penalty;
    d->repetition_penalty = o->repetition_penalty;
    d->penalty_skip_special = o->penalty_skip_special;
    d->sampling_topk = o->sampling_topk;
    d->sampling_topp = o->sampling_topp;
    d->temperature = o->temperature;
    d->sampling = o->sampling_topk > 0 || o->sampling_topp < 1 || o->temperature != 1;
    d->eos_id = s->model->cfg.eos_id;
    d->seed = o->seed;
    d->token_scores = o->token_scores || scoring(o);
    d->alignment = o->alignment;
}

static int count_names(const char *list)
{
    int n = 1;
    for (; *list != '\0'; list++)
        n += *list == ',';
    return n;
}

/* most_targets - of any direction. */
static int most_targets(const dgm_options *o)
{
    int most = 1;
    for (int i = 0; i < o->n_directions; i++) {
        const int n = count_names(o->directions[i].tgt);
        most = n > most ? n : most;
    }
    return most;
}

int dgm_filter_engine(dgm_engine_config *e, dgm_decode_options *d, const dgm_session *s)
{
    const dgm_options *o = s->options;
    const int n_targets = most_targets(o);
    DGM_TRY(choose_lengths(e, d, s));
    DGM_TRY(dgm_session_types(e, s));
    choose_decoding(d, s);
    if (n_targets > DGM_STREAM_MAX_TARGETS)
        return dgm_fail(DGM_EUSAGE, "--tgt-lang: want at most %d languages, found %d",
                        DGM_STREAM_MAX_TARGETS, n_targets);
    e->batch_tokens = o->batch_tokens;
    e->batch_rows = o->batch_rows;
    e->overlap = dgm_session_overlap(s);
    e->max_beam = d->beam;
    if (retrying(o) || o->command == DGM_COMMAND_SERVE) { /* whose requests may ask for it */
        e->usual_beam = d->beam;
        e->max_beam = dgm_retry_beam(d->beam);
    }
    e->max_targets = n_targets;
    /*
     * A given text is fed some tokens a step. When scoring it is all there is: a row then stands for a token, not for a
     * hypothesis, so fewer sentences fill the batch (and the engine reserves room for sentences x tokens).
     */
    e->prompt_rows = scoring(o)                    ? SCORE_TOKENS
                     : o->target_prefix[0] != '\0' ? DGM_FILTER_PREFIX_ROWS
                                                   : 2;
    e->record = o->record_stats[0] != '\0';
    e->usual_rows = DGM_USUAL_ROWS;
    if (scoring(o)) {
        e->batch_rows = (o->batch_rows + SCORE_SHARE - 1) / SCORE_SHARE;
        e->usual_rows /= SCORE_SHARE;
    }
    return DGM_OK;
}

/* ---- rank 0 ---- */

static int need(const char *value, const char *option, const char *why)
{
    if (value[0] != '\0')
        return DGM_OK;
    return dgm_fail(DGM_EUSAGE, "want %s: %s", option, why);
}

static int check_languages(const dgm_options *o)
{
    DGM_TRY(need(o->src_lang, "-s CODE", "the language of the input (dragoman languages)"));
    DGM_TRY(need(o->tgt_lang, "-t CODE", "the language to translate into (dragoman languages)"));
    if (scoring(o) && strchr(o->tgt_lang, ',') != NULL)
        return dgm_fail(DGM_EUSAGE, "--tgt-lang: want one language for score, found '%s'",
                        o->tgt_lang);
    if (scoring(o))
        DGM_TRY(need(o->reference, "--reference FILE", "the translations to score"));
    return DGM_OK;
}

static int resolve_target(dgm_filter_direction *d, const dgm_session *s, const char *name)
{
    dgm_stream_target *t = &d->targets[d->n_targets];
    DGM_TRY(dgm_tok_lang(s->tok, &t->code, name));
    t->lang = dgm_tok_piece(s->tok, t->code);
    for (int i = 0; i < d->n_targets; i++) {
        if (d->targets[i].code == t->code)
            return dgm_fail(DGM_EUSAGE, "--tgt-lang: %s is there twice", t->lang);
    }
    d->n_targets++;
    return DGM_OK;
}

static int resolve_targets(dgm_filter_direction *d, const dgm_session *s)
{
    const char *list = d->o.tgt_lang;
    for (bool more = true; more;) {
        char name[64];
        const size_t len = strcspn(list, ",");
        if (len >= sizeof name)
            return dgm_fail(DGM_EUSAGE, "--tgt-lang: want language codes, found '%s'", list);
        memcpy(name, list, len);
        name[len] = '\0';
        DGM_TRY(resolve_target(d, s, name));
        more = list[len] == ',';
        list += len + 1;
    }
    return DGM_OK;
}

int dgm_filter_languages(dgm_filter_direction *d, const dgm_session *s)
{
    DGM_TRY(check_languages(&d->o));
    DGM_TRY(dgm_tok_lang(s->tok, &d->source, d->o.src_lang));
    DGM_TRY(resolve_targets(d, s));
    for (int i = 0; i < d->n_targets; i++)
        DGM_TRY(dgm_tasks_find(&d->targets[i].task, &s->model->tasks,
                               dgm_tok_piece(s->tok, d->source), d->targets[i].lang));
    return DGM_OK;
}

int dgm_filter_set(int *number, dgm_session *s, const dgm_keep *keep, int stack, const char *src,
                   const char *tgt)
{
    const dgm_options *o = s->options;
    const dgm_keep_set *set = dgm_keep_find(keep, stack, src, tgt);
    const char *lang = stack == DGM_ENCODER ? src : tgt;
    const bool exact = strcmp(o->keep_missing, "exact") == 0;
    *number = 0;
    if (set != NULL || o->keep[0] == '\0' || exact)
        DGM_TRY(dgm_cut_check_set(s->model, stack, set, lang, o->keep));
    if (set != NULL)
        return dgm_expert_sets_add(number, &s->sets, set);
    if (exact)
        return dgm_expert_sets_add_all(number, &s->sets, stack);
    return dgm_fail(DGM_EINPUT,
                    "%s keeps no %s experts for %s (--keep-missing exact uses all of them)",
                    o->keep[0] != '\0' ? o->keep : s->model->dir,
                    stack == DGM_ENCODER ? "encoder" : "decoder", lang);
}

int dgm_filter_experts(dgm_filter_direction *d, dgm_session *s, const dgm_keep *keep)
{
    const char *src = dgm_tok_piece(s->tok, d->source);
    for (int i = 0; keep != NULL && i < d->n_targets; i++) {
        dgm_stream_target *t = &d->targets[i];
        DGM_TRY(dgm_filter_set(&t->source_experts, s, keep, DGM_ENCODER, src, t->lang));
        DGM_TRY(dgm_filter_set(&t->experts, s, keep, DGM_DECODER, src, t->lang));
    }
    return DGM_OK;
}

static enum dgm_split split_of(const dgm_options *o)
{
    /* log p of a reference belongs to the whole line. */
    if (scoring(o) || strcmp(o->split, "never") == 0)
        return DGM_SPLIT_NEVER;
    return strcmp(o->split, "always") == 0 ? DGM_SPLIT_ALWAYS : DGM_SPLIT_AUTO;
}

dgm_stream_config dgm_filter_stream(const dgm_filter_direction *d, const dgm_session *s,
                                    const dgm_engine_config *engine,
                                    const dgm_decode_options *decode)
{
    const dgm_options *o = &d->o;
    return (dgm_stream_config){
        .engine = s->engine,
        .tok = s->tok,
        .comm = s->comm,
        .source = {.tok = s->tok,
                   .lang = dgm_tok_piece(s->tok, d->source),
                   .code = d->source,
                   .suffix = s->model->cfg.source_suffix,
                   .max_ids = engine->max_source,
                   .split = split_of(o)},
        .targets = d->targets,
        .n_targets = d->n_targets,
        .start_id = s->model->cfg.decoder_start_id,
        .eos_id = s->model->cfg.eos_id,
        .shape = &s->sets.shape,
        .max_target = engine->max_target,
        .decode = *decode,
        .score = scoring(o),
        .retry = retrying(o),
        .strict = o->strict,
        .marian = strcmp(o->format, "marian") == 0,
        .with_score = o->with_score,
        .token_scores = o->token_scores,
        .alignment = o->alignment,
        .stop = &dgm_session_signal,
        .beat_ms = dgm_comm_beat_ms(o->stall_ms),
    };
}

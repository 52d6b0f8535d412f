#include "launch/filter.h"

#include "base/log.h"
#include "launch/filter_files.h"
#include "launch/filter_vmap.h"
#include "launch/session.h"
#include "runtime/footprint.h"
#include "runtime/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCORE_TOKENS = 32, SCORE_SHARE = 4 };

/* Everything that rank 0 holds besides the session. */
typedef struct filter {
    dgm_session session;
    dgm_engine_config engine;
    dgm_decode_options decode;
    dgm_stream_target targets[DGM_STREAM_MAX_TARGETS];
    int n_targets;
    dgm_filter_files files;
    dgm_stream_config stream;
    dgm_stream_totals totals;
} filter;

static bool scoring(const dgm_options *o)
{
    return o->command == DGM_COMMAND_SCORE;
}

/* ---- what the options mean for this model; the same on every rank ---- */

static int choose_lengths(filter *f)
{
    const dgm_options *o = f->session.options;
    const dgm_model_config *m = &f->session.model->cfg;
    f->engine.max_source = m->max_source;
    if (o->max_input_length > 0 && o->max_input_length < m->max_source)
        f->engine.max_source = o->max_input_length;
    /* code, </s> and one piece */
    if (f->engine.max_source < 3)
        return dgm_fail(DGM_EUSAGE, "--max-input-length: want at least 3, found %d",
                        o->max_input_length);
    const int max_length = o->max_length > 0 ? o->max_length : m->max_length;
    if (max_length < 3 || max_length > m->max_positions)
        return dgm_fail(DGM_EUSAGE, "--max-length: want 3 to %d (the model's positions), found %d",
                        m->max_positions, max_length);
    if (o->min_length > max_length)
        return dgm_fail(DGM_EUSAGE, "--min-length: want at most --max-length (%d), found %d",
                        max_length, o->min_length);
    f->decode.max_length = max_length;
    f->engine.max_target = scoring(o) ? m->max_positions : max_length;
    return DGM_OK;
}

static void choose_decoding(filter *f)
{
    const dgm_options *o = f->session.options;
    dgm_decode_options *d = &f->decode;
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
    d->eos_id = f->session.model->cfg.eos_id;
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

static int choose_engine(filter *f)
{
    const dgm_options *o = f->session.options;
    const int n_targets = count_names(o->tgt_lang);
    DGM_TRY(choose_lengths(f));
    DGM_TRY(dgm_session_types(&f->engine, &f->session));
    choose_decoding(f);
    if (n_targets > DGM_STREAM_MAX_TARGETS)
        return dgm_fail(DGM_EUSAGE, "--tgt-lang: want at most %d languages, found %d",
                        DGM_STREAM_MAX_TARGETS, n_targets);
    f->engine.batch_tokens = o->batch_tokens;
    f->engine.batch_rows = o->batch_rows;
    f->engine.overlap = dgm_session_overlap(&f->session);
    f->engine.max_beam = f->decode.beam;
    f->engine.max_targets = n_targets;
    /*
     * A given text is fed some tokens a step. When scoring it is all there is: a row then stands for a token, not for a
     * hypothesis, so fewer sentences fill the batch (and the engine reserves room for sentences x tokens).
     */
    f->engine.prompt_rows = scoring(o) ? SCORE_TOKENS : o->target_prefix[0] != '\0' ? 16 : 2;
    f->engine.record = o->record_stats[0] != '\0';
    f->engine.usual_rows = DGM_USUAL_ROWS;
    if (scoring(o)) {
        f->engine.batch_rows = (o->batch_rows + SCORE_SHARE - 1) / SCORE_SHARE;
        f->engine.usual_rows /= SCORE_SHARE;
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

static int resolve_target(filter *f, const char *name)
{
    dgm_stream_target *t = &f->targets[f->n_targets];
    DGM_TRY(dgm_tok_lang(f->session.tok, &t->code, name));
    t->lang = dgm_tok_piece(f->session.tok, t->code);
    for (int i = 0; i < f->n_targets; i++) {
        if (f->targets[i].code == t->code)
            return dgm_fail(DGM_EUSAGE, "--tgt-lang: %s is there twice", t->lang);
    }
    f->n_targets++;
    return DGM_OK;
}

static int resolve_targets(filter *f)
{
    const char *list = f->session.options->tgt_lang;
    for (bool more = true; more;) {
        char name[64];
        const size_t len = strcspn(list, ",");
        if (len >= sizeof name)
            return dgm_fail(DGM_EUSAGE, "--tgt-lang: want language codes, found '%s'", list);
        memcpy(name, list, len);
        name[len] = '\0';
        DGM_TRY(resolve_target(f, name));
        more = list[len] == ',';
        list += len + 1;
    }
    return DGM_OK;
}

/* set_of - the set of a direction in a stack, or 0 with --keep-missing exact. */
static int set_of(int *number, filter *f, const dgm_keep *keep, int stack, const char *src,
                  const char *tgt)
{
    const dgm_options *o = f->session.options;
    const dgm_keep_set *set = dgm_keep_find(keep, stack, src, tgt);
    *number = 0;
    if (set != NULL)
        return dgm_expert_sets_add(number, &f->session.sets, set);
    if (strcmp(o->keep_missing, "exact") == 0)
        return DGM_OK;
    return dgm_fail(
        DGM_EINPUT, "%s keeps no %s experts for %s (--keep-missing exact uses all of them)",
        o->keep, stack == DGM_ENCODER ? "encoder" : "decoder", stack == DGM_ENCODER ? src : tgt);
}

static int find_sets(filter *f, const dgm_keep *keep, const char *src)
{
    for (int i = 0; i < f->n_targets; i++) {
        dgm_stream_target *t = &f->targets[i];
        DGM_TRY(set_of(&t->source_experts, f, keep, DGM_ENCODER, src, t->lang));
        DGM_TRY(set_of(&t->experts, f, keep, DGM_DECODER, src, t->lang));
    }
    return DGM_OK;
}

/* choose_experts - from the keep file, if there is one: the sets of all directions of this job. */
static int choose_experts(filter *f, int32_t source_code)
{
    const dgm_session *s = &f->session;
    dgm_keep keep;
    if (s->options->keep[0] == '\0')
        return DGM_OK;
    DGM_TRY(dgm_keep_read(&keep, s->options->keep, &s->model->cfg, s->model->hash));
    const int rc = find_sets(f, &keep, dgm_tok_piece(s->tok, source_code));
    dgm_keep_fini(&keep);
    return rc;
}

static enum dgm_split split_of(const dgm_options *o)
{
    /* log p of a reference belongs to the whole line. */
    if (scoring(o) || strcmp(o->split, "never") == 0)
        return DGM_SPLIT_NEVER;
    return strcmp(o->split, "always") == 0 ? DGM_SPLIT_ALWAYS : DGM_SPLIT_AUTO;
}

static bool shows_progress(const dgm_options *o, const dgm_filter_files *files)
{
    const bool typed = files->input_fd == STDIN_FILENO && isatty(STDIN_FILENO);
    const bool shown = o->output[0] == '\0' && isatty(STDOUT_FILENO);
    return isatty(STDERR_FILENO) && !typed && !shown && dgm_log_on(DGM_LOG_INFO);
}

/* job_hash - what a run must have in common with one that it goes on with. */
static uint64_t job_hash(const dgm_session *s, const dgm_options *o)
{
    uint64_t job = dgm_resume_hash(dgm_options_result_hash(o), (const char *)&s->model->hash,
                                   sizeof s->model->hash);
    if (s->sets.n > 0)
        job = dgm_resume_hash(job, (const char *)s->sets.kept,
                              (size_t)s->sets.n * s->sets.shape.n_experts);
    return dgm_filter_vmap_hash(job, &s->lists);
}

/* prepare - files and languages: what can go wrong does so before the weights are read. */
static int prepare(filter *f)
{
    dgm_session *s = &f->session;
    const dgm_options *o = s->options;
    int32_t source_code = 0;
    DGM_TRY(check_languages(o));
    DGM_TRY(dgm_tok_lang(s->tok, &source_code, o->src_lang));
    DGM_TRY(resolve_targets(f));
    DGM_TRY(dgm_filter_vmap_read(s, f->targets, f->n_targets));
    DGM_TRY(choose_experts(f, source_code));
    for (int i = 0; i < f->n_targets; i++)
        DGM_TRY(dgm_tasks_find(&f->targets[i].task, &s->model->tasks,
                               dgm_tok_piece(s->tok, source_code),
                               dgm_tok_piece(s->tok, f->targets[i].code)));
    DGM_TRY(dgm_filter_files_open(&f->files, o, f->targets, f->n_targets));
    f->stream = (dgm_stream_config){
        .tok = s->tok,
        .comm = s->comm,
        .source = {.tok = s->tok,
                   .lang = dgm_tok_piece(s->tok, source_code),
                   .code = source_code,
                   .suffix = s->model->cfg.source_suffix,
                   .max_ids = f->engine.max_source,
                   .split = split_of(o)},
        .targets = f->targets,
        .shape = &s->sets.shape,
        .n_targets = f->n_targets,
        .start_id = s->model->cfg.decoder_start_id,
        .eos_id = s->model->cfg.eos_id,
        .max_target = f->engine.max_target,
        .decode = f->decode,
        .score = scoring(o),
        .input = f->files.input,
        .input_fd = f->files.input_fd,
        .beside = f->files.beside,
        .beside_fd = f->files.beside_fd,
        .input_name = f->files.input_name,
        .beside_name = f->files.beside_name,
        .input_bytes = f->files.input_bytes,
        .outputs = f->files.outputs,
        .n_outputs = f->files.n_outputs,
        .report = f->files.report,
        .job = job_hash(s, o),
        .strict = o->strict,
        .marian = strcmp(o->format, "marian") == 0,
        .with_score = o->with_score,
        .token_scores = o->token_scores,
        .alignment = o->alignment,
        .progress = shows_progress(o, &f->files),
        .stop = &dgm_session_signal,
    };
    return DGM_OK;
}

/* stream - the positive exit code that goes with what happened, or an error. */
static int stream(filter *f)
{
    f->stream.engine = f->session.engine;
    DGM_TRY(dgm_stream_run(&f->totals, &f->stream));
    if (f->totals.stopped)
        return 128 + dgm_session_signal;
    return f->totals.flagged > 0 ? dgm_exit_code(DGM_ETEXT) : DGM_OK;
}

/* ---- the end ---- */

static void list_statuses(char *buf, size_t size, const dgm_stream_totals *t)
{
    size_t n = 0;
    buf[0] = '\0';
    for (int i = DGM_LINE_STATUS_OK + 1; i < DGM_LINE_STATUSES && n < size; i++) {
        if (t->by_status[i] > 0)
            n += (size_t)snprintf(buf + n, size - n, "%s%llu %s", n > 0 ? ", " : " (",
                                  (unsigned long long)t->by_status[i],
                                  dgm_line_status_name((enum dgm_line_status)i));
    }
    if (n > 0 && n < size)
        (void)snprintf(buf + n, size - n, ")");
}

static void show_memory(const filter *f)
{
    const dgm_engine_stats *stats = dgm_engine_all_stats(f->session.engine);
    char text[1024];
    uint64_t sent = 0;
    size_t n = 0;
    for (int r = 0; r < f->session.ranks; r++) {
        sent += stats[r].exchange_bytes;
        if (n < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%.1f", r > 0 ? ", " : "",
                                  (double)stats[r].peak_rss_bytes / (1 << 20));
    }
    dgm_log(DGM_LOG_INFO, "end", "peak memory by rank %s MiB; %.1f MiB exchanged in %llu steps",
            text, (double)sent / (1 << 20), (unsigned long long)stats[0].steps);
}

static void show_summary(const filter *f)
{
    const dgm_stream_totals *t = &f->totals;
    char statuses[256];
    list_statuses(statuses, sizeof statuses, t);
    dgm_log(DGM_LOG_INFO, "end",
            "%llu lines%s, %llu sentences, %llu tokens in %.2f s: %.0f tokens/s",
            (unsigned long long)t->lines, statuses, (unsigned long long)t->sentences,
            (unsigned long long)t->tokens, t->seconds,
            t->seconds > 0 ? (double)t->tokens / t->seconds : 0);
    if (t->absent.n > 0)
        dgm_log(
            DGM_LOG_INFO, "end",
            "experts that are not kept would have had %.4f of the gates on average, %.4f at most",
            t->absent.sum / (double)t->absent.n, (double)t->absent.most);
    if (t->flagged > 0)
        dgm_log(DGM_LOG_WARN, "end", "%llu lines are flagged%s", (unsigned long long)t->flagged,
                f->files.report == NULL ? " (--report FILE says which)" : "");
    if (t->stopped)
        dgm_log(DGM_LOG_WARN, "end", "stopped by signal %d after line %llu%s",
                (int)dgm_session_signal, (unsigned long long)t->lines,
                dgm_writer_is_part(f->files.outputs[0]) ? "; the same command goes on from there"
                                                        : "");
    show_memory(f);
}

/* write_gates - with codes for ids. */
static int write_gates(filter *f, const char *path)
{
    dgm_gate_stats *s = &f->session.gates;
    for (int i = 0; i < s->n_runs; i++) {
        char *names[] = {s->runs[i].src, s->runs[i].tgt};
        for (int k = 0; k < 2; k++) {
            const int32_t id = (int32_t)atoi(names[k]);
            (void)snprintf(names[k], DGM_GATES_NAME, "%s", dgm_tok_piece(f->session.tok, id));
        }
    }
    DGM_TRY(dgm_gates_write(s, path));
    dgm_log(DGM_LOG_INFO, "end", "statistics of %d direction%s in %s", s->n_runs,
            s->n_runs == 1 ? "" : "s", path);
    return DGM_OK;
}

static int run(filter *f, const dgm_options *o)
{
    dgm_session *s = &f->session;
    DGM_TRY(dgm_session_join(s, o));
    int rc = choose_engine(f);
    if (rc == DGM_OK && s->rank == 0)
        rc = prepare(f);
    DGM_TRY(dgm_session_load(s, rc, &f->engine));
    return s->rank == 0 ? stream(f) : dgm_session_serve(s);
}

int dgm_filter_run(const dgm_options *o)
{
    filter f = {0};
    const int rc = run(&f, o);
    int code = dgm_session_leave(&f.session, rc);
    if (f.session.engine != NULL && f.session.rank == 0 && rc >= 0) {
        show_summary(&f);
        const int written = f.session.record ? write_gates(&f, o->record_stats) : DGM_OK;
        if (written != DGM_OK) {
            (void)fprintf(stderr, "dragoman: %s\n", dgm_error_text());
            code = dgm_exit_code(written);
        }
    }
    dgm_filter_files_close(&f.files);
    dgm_session_close(&f.session);
    return code;
}

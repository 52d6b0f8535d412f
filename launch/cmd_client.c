/* client: a filter like translate whose engine is a `dragoman serve` elsewhere; and questions to such a server. */
#include "base/log.h"
#include "launch/client_job.h"
#include "launch/client_targets.h"
#include "launch/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    if (stop_signal != 0)
        _exit(128 + number);
    stop_signal = number;
}

static void catch_signals(void)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    const struct sigaction action = {.sa_handler = on_signal};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        (void)sigaction(numbers[i], &action, NULL);
}

/* ---- options ---- */

static uint32_t switch_of(const dgm_options *o, const char *key, bool on)
{
    return !dgm_options_given(o, key) ? DGM_WIRE_SWITCH_SERVER
           : on                       ? DGM_WIRE_SWITCH_ON
                                      : DGM_WIRE_SWITCH_OFF;
}

static uint32_t number(const char *word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, words[i]) == 0)
            return (uint32_t)i;
    return 0;
}

/* wire_options - what was not said is as the server was started. */
static dgm_wire_options wire_options(const dgm_options *o)
{
    static const char *const splits[] = {"", "auto", "always", "never"},
                             *const retries[] = {"", "none", "checks"},
                             *const priorities[] = {"normal", "interactive", "bulk"};
    const bool sampling = o->sampling_topk > 0 || o->sampling_topp < 1 || o->temperature != 1;
    return (dgm_wire_options){
        .beam_size = dgm_options_given(o, "beam-size") || sampling ? (uint32_t)o->beam_size : 0,
        .n_best = (uint32_t)o->n_best, /* as many lines as this are written for one */
        .max_length = (uint32_t)o->max_length,
        .min_length = (uint32_t)o->min_length,
        .no_repeat_ngram_size = (uint32_t)o->no_repeat_ngram_size,
        .has_length_penalty = dgm_options_given(o, "length-penalty"),
        .length_penalty = dgm_options_given(o, "length-penalty") ? o->length_penalty : 0,
        .repetition_penalty =
            dgm_options_given(o, "repetition-penalty") ? o->repetition_penalty : 0,
        .penalty_skip_special = switch_of(o, "penalty-skip-special", o->penalty_skip_special),
        .early_stopping = switch_of(o, "early-stopping", o->early_stopping),
        .sampling_topk = (uint32_t)o->sampling_topk,
        .sampling_topp = dgm_options_given(o, "sampling-topp") ? o->sampling_topp : 0,
        .temperature = dgm_options_given(o, "temperature") ? o->temperature : 0,
        .seed = o->seed,
        .split =
            dgm_options_given(o, "split") ? number(o->split, splits, 4) : DGM_WIRE_SPLIT_SERVER,
        .retry =
            dgm_options_given(o, "retry") ? number(o->retry, retries, 3) : DGM_WIRE_RETRY_SERVER,
        .token_scores = o->token_scores,
        .alignment = o->alignment,
        .priority = number(o->priority, priorities, 3),
        .deadline_ms = (uint32_t)o->line_deadline_ms,
    };
}

/* read_token - the first line of the file. */
static int read_token(char *token, size_t size, const char *path)
{
    token[0] = '\0';
    if (path[0] == '\0')
        return DGM_OK;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return dgm_fail(DGM_EUSAGE, "--token-file %s: %s", path, strerror(errno));
    const bool read = fgets(token, (int)size, f) != NULL;
    (void)fclose(f);
    token[strcspn(token, "\r\n")] = '\0';
    if (!read || token[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "--token-file %s: want a token in its first line", path);
    return DGM_OK;
}

/* ---- questions ---- */

/* print_health - the exit code says it too: 0 ready, 8 alive, but not to be asked now, 6 as good as dead. */
static int print_health(const dgm_wire_health *h)
{
    static const char *const states[] = {"unknown", "starting", "ready", "draining", "stalled"};
    (void)printf("%s%s%s\nqueued_tokens %" PRIu64 "\nin_flight %" PRIu32 "\ntick_age_ms %" PRIu64
                 "\n",
                 states[h->state < 5 ? h->state : 0], h->message[0] != '\0' ? ": " : "", h->message,
                 h->queued_tokens, h->in_flight, h->tick_age_ms);
    if (h->state == DGM_WIRE_STATE_READY)
        return DGM_OK;
    return dgm_exit_code(h->state == DGM_WIRE_STATE_STALLED ? DGM_EPEER : DGM_EBUSY);
}

static void print_languages(const dgm_wire_languages *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const dgm_wire_language *a = &l->at[i];
        (void)printf("%s\t%s\t%s", a->code, a->name,
                     a->source && a->target ? "both"
                     : a->source            ? "source"
                                            : "target");
        for (size_t k = 0; k < a->n_aliases; k++)
            (void)printf("%s%s", k == 0 ? "\t" : " ", a->aliases[k]);
        (void)printf("\n");
    }
}

static const struct question {
    const char *word;
    enum dgm_wire_kind kind;
} questions[] = {
    {"health", DGM_WIRE_HEALTH_REQUEST},
    {"languages", DGM_WIRE_LANGUAGES_REQUEST},
    {"statistics", DGM_WIRE_STATISTICS_REQUEST},
    {"drain", DGM_WIRE_DRAIN},
};

/* ask - the positive exit code of an answer, or an error. */
static int ask(dgm_client *c, const char *word)
{
    const dgm_wire_frame *f;
    size_t i = 0;
    while (i < sizeof questions / sizeof questions[0] && strcmp(word, questions[i].word) != 0)
        i++;
    if (i == sizeof questions / sizeof questions[0])
        return dgm_fail(DGM_EUSAGE,
                        "client: want health, languages, statistics, drain or nothing, "
                        "found '%s'",
                        word);
    DGM_TRY(dgm_client_ask(c, &f, questions[i].kind, 0));
    if (f->kind == DGM_WIRE_ERROR)
        return dgm_fail(f->as.error.retry ? DGM_EBUSY : DGM_EUSAGE, "the server says: %s",
                        f->as.error.message);
    if (f->kind == DGM_WIRE_HEALTH) {
        const int code = print_health(&f->as.health);
        return questions[i].kind == DGM_WIRE_DRAIN ? DGM_OK : code;
    }
    if (f->kind == DGM_WIRE_LANGUAGES)
        print_languages(&f->as.languages);
    else if (f->kind == DGM_WIRE_STATISTICS)
        for (size_t k = 0; k < f->as.statistics.n; k++)
            (void)printf("%s %.17g\n", f->as.statistics.at[k].name, f->as.statistics.at[k].value);
    return DGM_OK;
}

/* ---- the filter ---- */

static int check(const dgm_options *o)
{
    if (o->src_lang[0] == '\0' || o->tgt_lang[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "client: want --src-lang and --tgt-lang");
    return DGM_OK;
}

/* greet - the server's model and options are part of what a job is: they must be known before its output is opened. */
static int greet(dgm_client *c)
{
    while (dgm_client_welcome(c) == NULL && stop_signal == 0)
        DGM_TRY(dgm_client_wait(c, 500));
    const dgm_wire_welcome *w = dgm_client_welcome(c);
    if (w != NULL)
        dgm_log(DGM_LOG_INFO, "client", "%s with model %s %016" PRIx64 ", %u credits", w->server,
                w->model, w->model_hash, (unsigned)w->credits);
    return DGM_OK;
}

static uint64_t job_hash(const dgm_options *o, const dgm_wire_welcome *w)
{
    const uint64_t parts[] = {dgm_options_result_hash(o), w->model_hash, w->option_hash};
    return dgm_resume_hash(0, (const char *)parts, sizeof parts);
}

static void show_summary(const dgm_client_totals *t, const dgm_filter_files *files)
{
    char statuses[256] = "";
    size_t n = 0;
    for (int i = DGM_LINE_STATUS_OK + 1; i < DGM_LINE_STATUSES && n < sizeof statuses; i++)
        if (t->by_status[i] > 0)
            n += (size_t)snprintf(statuses + n, sizeof statuses - n, ", %" PRIu64 " %s",
                                  t->by_status[i], dgm_line_status_name((enum dgm_line_status)i));
    dgm_log(DGM_LOG_INFO, "end", "%" PRIu64 " lines%s, %" PRIu64 " tokens in %.2f s: %.0f tokens/s",
            t->lines, statuses, t->tokens, t->seconds,
            t->seconds > 0 ? (double)t->tokens / t->seconds : 0);
    if (t->flagged > 0)
        dgm_log(DGM_LOG_WARN, "end", "%" PRIu64 " lines are flagged%s", t->flagged,
                files->report == NULL ? " (--report FILE says which)" : "");
    if (t->stopped)
        dgm_log(DGM_LOG_WARN, "end", "stopped by signal %d after line %" PRIu64 "%s",
                (int)stop_signal, t->lines,
                dgm_writer_is_part(files->outputs[0]) ? "; the same command goes on from there"
                                                      : "");
}

/* run_job - the positive exit code that goes with what happened, or an error. */
static int run_job(dgm_client *c, const dgm_options *o, const dgm_client_targets *targets)
{
    const dgm_wire_options options = wire_options(o);
    dgm_filter_files files;
    dgm_client_totals totals;
    int rc = dgm_filter_files_open(&files, o, targets->at, targets->n);
    if (rc == DGM_OK) {
        const dgm_client_job_config cfg = {
            .o = o,
            .client = c,
            .files = &files,
            .targets = targets->at,
            .n_targets = targets->n,
            .options = &options,
            .job = job_hash(o, dgm_client_welcome(c)),
            .progress = dgm_filter_files_progress(&files, o),
            .stop = &stop_signal,
        };
        rc = dgm_client_job_run(&totals, &cfg);
        show_summary(&totals, &files);
        if (rc == DGM_OK)
            rc = totals.stopped       ? 128 + stop_signal
                 : totals.flagged > 0 ? dgm_exit_code(DGM_ETEXT)
                                      : DGM_OK;
    }
    dgm_filter_files_close(&files);
    return rc;
}

static int translate(dgm_client *c, const dgm_options *o)
{
    dgm_client_targets targets;
    DGM_TRY(check(o));
    catch_signals();
    DGM_TRY(greet(c));
    if (stop_signal != 0)
        return 128 + stop_signal;
    int rc = dgm_client_targets_open(&targets, o->tgt_lang, dgm_client_welcome(c));
    if (rc == DGM_OK)
        rc = run_job(c, o, &targets);
    dgm_client_targets_close(&targets);
    return rc;
}

/* attempts - a question after the health is one about now. */
static int attempts(const dgm_options *o)
{
    const bool now = o->n_args > 0 && strcmp(o->args[0], "health") == 0;
    if (now && !dgm_options_given(o, "attempts"))
        return 1;
    return o->attempts == 0 ? -1 : o->attempts;
}

static int run(const dgm_options *o)
{
    char token[1024];
    dgm_client *c = NULL;
    if (o->connect[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "client: want --connect unix:PATH or tcp:HOST:PORT");
    DGM_TRY(read_token(token, sizeof token, o->token_file));
    const dgm_client_config cfg = {.address = o->connect,
                                   .token = token,
                                   .name = "dragoman client " DGM_VERSION,
                                   .tls = o->tls || o->tls_ca[0] != '\0',
                                   .tls_ca = o->tls_ca,
                                   .tls_cert = o->tls_cert,
                                   .tls_key = o->tls_key,
                                   .attempts = attempts(o)};
    DGM_TRY(dgm_client_create(&c, &cfg));
    const int rc = o->n_args > 0 ? ask(c, o->args[0]) : translate(c, o);
    dgm_client_destroy(c);
    return rc;
}

int dgm_cmd_client(const dgm_options *o)
{
    const int rc = run(o);
    return rc >= 0 ? rc : dgm_command_end(rc);
}

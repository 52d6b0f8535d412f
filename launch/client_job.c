#include "launch/client_job.h"

#include "base/clock.h"
#include "base/log.h"
#include "launch/client_line.h"
#include "runtime/progress.h"
#include "runtime/split.h"
#include "runtime/writer_resume.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW_TEXTS =
        8192, /* lines times targets: enough that no slow line keeps the server waiting */
    WINDOW_BYTES = 64 << 20,
    QUEUED = 256, /* with the library and not sent: enough for full frames */
    OUTPUT_BYTES = 4 << 20,
    COMPLAINTS = 10,
    WAIT_MS = 500,
};

typedef struct job {
    const dgm_client_job_config *cfg;
    dgm_client_totals *totals;
    dgm_client_form form;
    dgm_progress progress;
    dgm_writer *writers[DGM_STREAM_MAX_TARGETS + 1]; /* outputs, and the report if there is one */
    int each[DGM_STREAM_MAX_TARGETS + 1], n_writers, n_outputs;
    dgm_resume resume;
    dgm_client_line *window; /* [cap] line n at n % cap */
    uint64_t cap;
    uint64_t head, sent, tail; /* next to be written, to be sent, to be read; from 0 */
    int target;                /* of the line to be sent: the next */
    size_t bytes;
    uint64_t hash, done_hash; /* over lines read; over lines written */
    uint64_t done_bytes;      /* of the input */
    bool ended;               /* the input */
    bool awaits;              /* the input has nothing now */
    bool halted;              /* --strict: at a bad line */
    bool away, told;          /* nobody is connected now; and it was told */
    dgm_line held;            /* of the input, until its prefix comes */
    bool has_held;
    char *held_text;
} job;

static dgm_client_line *at(const job *j, uint64_t n)
{
    return &j->window[n % j->cap];
}

static int no_memory(void)
{
    return dgm_fail(DGM_ENOMEM, "out of memory for a line of text");
}

/* ---- a line that is done ---- */

static int finish_target(job *j, uint64_t n, int target, enum dgm_line_status status,
                         const dgm_wire_answer *a, const char *message)
{
    dgm_client_line *l = at(j, n);
    const size_t before = l->bytes;
    DGM_TRY(dgm_client_line_finish(l, &j->form, target, status, a, message));
    j->bytes += l->bytes - before;
    return DGM_OK;
}

/* finish_line - without a server. */
static int finish_line(job *j, uint64_t n, enum dgm_line_status status, const char *message)
{
    for (int t = 0; t < j->form.n_targets; t++)
        DGM_TRY(finish_target(j, n, t, status, NULL, message));
    return DGM_OK;
}

/* A line that the server could not do now, although it was asked again and again: the job ends there, and goes on later. */
static int out_of_service(const job *j, uint64_t n, const dgm_wire_answer *a)
{
    return dgm_fail(a->code == DGM_WIRE_ERROR_BUSY ? DGM_EBUSY : DGM_EPEER,
                    "%s line %llu: the server says: %s", j->cfg->files->input_name,
                    (unsigned long long)n + 1, a->message);
}

/* Languages and options are those of all lines: what is wrong with them is no one line's fault. */
static bool about_options(uint32_t code)
{
    return code == DGM_WIRE_ERROR_LANGUAGE || code == DGM_WIRE_ERROR_BAD_REQUEST ||
           code == DGM_WIRE_ERROR_UNSUPPORTED || code == DGM_WIRE_ERROR_FORBIDDEN;
}

static int take_answers(job *j)
{
    dgm_client_event e;
    int rc;
    while ((rc = dgm_client_next(j->cfg->client, &e)) > 0) {
        const dgm_wire_answer *a = &e.frame->as.answer;
        if (e.given_up) /* dgm_client_next says behind it why */
            continue;
        const uint64_t n = e.user / (uint64_t)j->form.n_targets;
        const int target = (int)(e.user % (uint64_t)j->form.n_targets);
        if (a->status == DGM_WIRE_STATUS_FAILED && a->retry)
            return out_of_service(j, n, a);
        if (a->status == DGM_WIRE_STATUS_FAILED && about_options(a->code))
            return dgm_fail(DGM_EUSAGE, "the server says: %s", a->message);
        j->told = false;
        j->totals->tokens += a->tgt_tokens;
        DGM_TRY(finish_target(j, n, target, dgm_client_status(a->status), a, a->message));
    }
    return rc;
}

/* ---- reading ---- */

/* pass_done - a line that an earlier run has done: at the last that its state knows, the input must be what it was. */
static int pass_done(job *j, const dgm_line *input)
{
    const char *part = dgm_writer_name(j->writers[0]);
    const uint64_t number = ++j->tail;
    if (number == j->resume.lines && j->hash != j->resume.input_hash)
        return dgm_fail(DGM_EINPUT,
                        "%s holds the beginning of another input's translation: remove it to start "
                        "anew",
                        part);
    j->head = j->sent = number;
    j->done_hash = j->hash;
    j->done_bytes = input->offset;
    if (number < j->resume.next)
        return DGM_OK;
    dgm_log(DGM_LOG_INFO, "output", "%s holds %llu lines: going on behind them", part,
            (unsigned long long)number);
    return dgm_resume_keep(&j->resume, number, j->writers, j->each, j->n_writers);
}

static int flag_text(job *j, uint64_t n, const dgm_lines *lines, const dgm_line *bad)
{
    (void)dgm_lines_fail(lines, bad);
    return finish_line(j, n,
                       bad->state == DGM_LINE_TOO_LONG ? DGM_LINE_STATUS_TOO_LONG
                                                       : DGM_LINE_STATUS_BAD_INPUT,
                       dgm_error_text());
}

/* take_line - what needs no server is done at once. */
static int take_line(job *j, const dgm_line *input, const dgm_line *beside)
{
    j->hash = dgm_resume_hash(j->hash, input->text, input->len);
    if (beside != NULL)
        j->hash = dgm_resume_hash(j->hash, beside->text, beside->len);
    if (j->tail < j->resume.next)
        return pass_done(j, input);
    const uint64_t n = j->tail++;
    dgm_client_line *l = at(j, n);
    DGM_TRY(dgm_client_line_take(l, &j->form, n + 1, input));
    l->hash = j->hash;
    if (input->state != DGM_LINE_OK)
        return flag_text(j, n, j->cfg->files->input, input);
    if (beside != NULL && beside->state != DGM_LINE_OK)
        return flag_text(j, n, j->cfg->files->beside, beside);
    if (dgm_text_blank(input->text, input->len))
        return finish_line(j, n, DGM_LINE_STATUS_EMPTY, "");
    DGM_TRY(dgm_client_line_keep(l, input, beside));
    j->bytes += l->bytes;
    return DGM_OK;
}

/* hold - the line must outlive the reader's buffer until its prefix comes. */
static int hold(job *j)
{
    char *text = realloc(j->held_text, j->held.len + 1);
    if (text == NULL)
        return no_memory();
    memcpy(text, j->held.text, j->held.len);
    j->held_text = text;
    j->held.text = text;
    j->has_held = true;
    return DGM_OK;
}

/* next_prefix - with the line that is held. DGM_LINES_LINE, or what ended it. */
static int next_prefix(job *j)
{
    dgm_line prefix;
    const int rc = dgm_lines_poll(j->cfg->files->beside, &prefix, 0);
    if (rc == DGM_LINES_END)
        return dgm_fail(DGM_EINPUT, "%s: want as many lines as %s, found only %llu",
                        j->cfg->files->beside_name, j->cfg->files->input_name,
                        (unsigned long long)j->held.number - 1);
    if (rc != DGM_LINES_LINE)
        return rc;
    j->has_held = false;
    const int taken = take_line(j, &j->held, &prefix);
    return taken == DGM_OK ? DGM_LINES_LINE : taken;
}

static int end_of_text(job *j)
{
    dgm_line more;
    j->ended = true;
    if (j->tail < j->resume.next)
        return dgm_fail(DGM_EINPUT,
                        "%s holds %llu lines, but %s ends after %llu: remove it to start anew",
                        dgm_writer_name(j->writers[0]), (unsigned long long)j->resume.next,
                        j->cfg->files->input_name, (unsigned long long)j->tail);
    if (j->cfg->files->beside != NULL &&
        dgm_lines_poll(j->cfg->files->beside, &more, -1) == DGM_LINES_LINE)
        return dgm_fail(DGM_EINPUT, "%s: want as many lines as %s (%llu), found more",
                        j->cfg->files->beside_name, j->cfg->files->input_name,
                        (unsigned long long)j->tail);
    return DGM_OK;
}

/* next_line - one more line of the input in the window. */
static int next_line(job *j)
{
    if (!j->has_held) {
        const int rc = dgm_lines_poll(j->cfg->files->input, &j->held, 0);
        if (rc != DGM_LINES_LINE)
            return rc;
        if (j->cfg->files->beside == NULL) {
            const int taken = take_line(j, &j->held, NULL);
            return taken == DGM_OK ? DGM_LINES_LINE : taken;
        }
        DGM_TRY(hold(j));
    }
    return next_prefix(j);
}

static bool stopping(const job *j)
{
    return j->halted || *j->cfg->stop != 0;
}

static int read_lines(job *j)
{
    j->awaits = false;
    while (!j->ended && !stopping(j) && j->tail - j->head < j->cap && j->bytes < WINDOW_BYTES) {
        const int rc = next_line(j);
        if (rc == DGM_LINES_END)
            return end_of_text(j);
        if (rc == DGM_LINES_AGAIN) {
            j->awaits = true;
            return DGM_OK;
        }
        if (rc != DGM_LINES_LINE)
            return rc;
    }
    return DGM_OK;
}

/* ---- sending, writing ---- */

/* send_target - of line j->sent, the next. */
static int send_target(job *j)
{
    const dgm_client_line *l = at(j, j->sent);
    const dgm_wire_segment s = {.text = l->text,
                                .text_len = l->len,
                                .prefix = l->prefix,
                                .prefix_len = l->prefix_len,
                                .src = j->cfg->o->src_lang,
                                .tgt = j->form.targets[j->target].lang,
                                .options = j->cfg->options,
                                .number = l->number};
    const uint64_t user = j->sent * (uint64_t)j->form.n_targets + (uint64_t)j->target;
    const int rc = dgm_client_submit(j->cfg->client, user, &s);
    if (rc != DGM_EINPUT)
        return rc;
    return finish_target(j, j->sent, j->target, DGM_LINE_STATUS_TOO_LONG, NULL, dgm_error_text());
}

static int send_lines(job *j)
{
    while (j->sent < j->tail && !stopping(j) && dgm_client_queued(j->cfg->client) < QUEUED) {
        dgm_client_line *l = at(j, j->sent);
        if (l->text != NULL) { /* the others needed no server */
            DGM_TRY(send_target(j));
            if (++j->target < j->form.n_targets)
                continue;
            j->target = 0;
            j->bytes -= l->len + l->prefix_len; /* the library has its copies */
            dgm_client_line_sent(l);
        }
        j->sent++;
    }
    return DGM_OK;
}

static void complain(job *j, const dgm_client_line *l)
{
    if (j->totals->flagged > COMPLAINTS)
        return;
    dgm_progress_wipe(&j->progress);
    const char *why = dgm_client_line_why(l);
    if (strstr(why, " line ") != NULL)
        dgm_log(DGM_LOG_WARN, "text", "%s", why);
    else
        dgm_log(DGM_LOG_WARN, "text", "%s line %llu: %s", j->cfg->files->input_name,
                (unsigned long long)l->number, why);
    if (j->totals->flagged == COMPLAINTS)
        dgm_log(DGM_LOG_WARN, "text", "further flagged lines are only counted");
}

static size_t unwritten(const job *j)
{
    size_t n = 0;
    for (int i = 0; i < j->n_writers; i++)
        n += dgm_writer_pending(j->writers[i]);
    return n;
}

/* put_line - to its outputs, and its report behind that of the line before. */
static int put_line(job *j, const dgm_client_line *l)
{
    for (int t = 0; t < j->form.n_targets; t++) {
        const dgm_client_text *text = &l->texts[t];
        DGM_TRY(dgm_writer_put(j->writers[j->n_outputs == 1 ? 0 : t], text->out, text->out_len));
        if (j->form.report)
            DGM_TRY(dgm_writer_put(j->writers[j->n_outputs], text->report, text->report_len));
    }
    return DGM_OK;
}

static int write_lines(job *j)
{
    for (; j->head < j->sent && at(j, j->head)->left == 0 && unwritten(j) < OUTPUT_BYTES;
         j->head++) {
        dgm_client_line *l = at(j, j->head);
        if (j->cfg->o->strict && dgm_client_line_hopeless(l)) {
            j->halted = true;
            break;
        }
        DGM_TRY(put_line(j, l));
        j->totals->by_status[l->status]++;
        if (dgm_line_status_flagged(l->status)) {
            j->totals->flagged++;
            complain(j, l);
        }
        j->bytes -= l->bytes;
        j->done_hash = l->hash;
        j->done_bytes = l->input_end;
        dgm_client_line_free(l, &j->form);
    }
    for (int i = 0; i < j->n_writers; i++)
        DGM_TRY(dgm_writer_flush(j->writers[i]));
    return DGM_OK;
}

/* save - how far we are, often enough that little is done twice, and at once when a line was flagged. */
static int save(job *j, bool now)
{
    dgm_resume *r = &j->resume;
    if (!r->on || j->head == r->lines || unwritten(j) > 0 || j->tail < r->next)
        return DGM_OK;
    if (!now && r->flagged == j->totals->flagged && dgm_now_s() - r->saved_s < 1)
        return DGM_OK;
    return dgm_resume_save(r, j->head, j->done_hash, j->totals->flagged);
}

/* ---- the loop ---- */

static int wait_for_somebody(job *j)
{
    struct pollfd p[DGM_STREAM_MAX_TARGETS + 3];
    dgm_client_waiting_for w;
    nfds_t n = 0;
    int timeout = WAIT_MS;
    dgm_client_waiting(j->cfg->client, &w);
    if (w.timeout_ms >= 0 && w.timeout_ms < timeout)
        timeout = w.timeout_ms;
    p[n++] = (struct pollfd){.fd = w.fd, .events = w.events};
    if (j->awaits)
        p[n++] =
            (struct pollfd){.fd = j->has_held ? j->cfg->files->beside_fd : j->cfg->files->input_fd,
                            .events = POLLIN};
    const nfds_t first_writer = n;
    for (int i = 0; i < j->n_writers; i++)
        p[n++] = (struct pollfd){.fd = dgm_writer_fd(j->writers[i]),
                                 .events = dgm_writer_pending(j->writers[i]) > 0 ? POLLOUT : 0};
    if (poll(p, n, timeout) < 0 && errno != EINTR)
        return dgm_fail(DGM_EINTERNAL, "poll: %s", strerror(errno));
    for (nfds_t i = first_writer; i < n; i++)
        if (p[i].events == 0 && (p[i].revents & POLLERR) != 0)
            return dgm_fail(DGM_EOUTPUT, "%s: closed by its reader",
                            dgm_writer_name(j->writers[i - first_writer]));
    return DGM_OK;
}

/* look_away - behind a step and its answers: is the connection lost? It is told once, until answers come again. */
static void look_away(job *j)
{
    dgm_client_waiting_for w;
    dgm_client_waiting(j->cfg->client, &w);
    j->away = w.fd < 0 && dgm_client_pending(j->cfg->client) > 0;
    if (!j->away || j->told)
        return;
    j->told = true;
    dgm_progress_wipe(&j->progress);
    dgm_log(DGM_LOG_WARN, "client", "%s; trying again", dgm_error_text());
}

static bool finished(const job *j)
{
    if (unwritten(j) > 0)
        return false;
    if (j->halted)
        return true;
    if (*j->cfg->stop != 0) /* what is in flight is finished, where there is who could */
        return j->away || dgm_client_pending(j->cfg->client) == 0;
    return j->ended && j->head == j->tail;
}

static int run(job *j)
{
    for (;;) {
        const uint64_t head = j->head, sent = j->sent;
        DGM_TRY(read_lines(j));
        DGM_TRY(send_lines(j));
        DGM_TRY(dgm_client_step(j->cfg->client));
        DGM_TRY(take_answers(j));
        look_away(j);
        DGM_TRY(write_lines(j));
        DGM_TRY(save(j, false));
        dgm_progress_tick(&j->progress, j->head, j->totals->tokens, j->done_bytes);
        if (finished(j))
            return DGM_OK;
        if (head == j->head && sent == j->sent)
            DGM_TRY(wait_for_somebody(j));
    }
}

static void list_writers(job *j)
{
    const dgm_filter_files *files = j->cfg->files;
    const int n_best = j->cfg->o->n_best, n_targets = j->cfg->n_targets;
    j->n_outputs = files->n_outputs;
    for (int i = 0; i < files->n_outputs; i++) {
        j->writers[i] = files->outputs[i];
        j->each[i] = files->n_outputs == 1 ? n_best * n_targets : n_best;
    }
    j->n_writers = files->n_outputs;
    if (files->report != NULL) {
        j->writers[j->n_writers] = files->report;
        j->each[j->n_writers++] = n_targets;
    }
}

static int open_outputs(job *j)
{
    const dgm_client_job_config *c = j->cfg;
    list_writers(j);
    j->form = (dgm_client_form){.o = c->o,
                                .targets = c->targets,
                                .n_targets = c->n_targets,
                                .together = c->n_targets > 1 && j->n_outputs == 1,
                                .report = c->files->report != NULL};
    j->cap = WINDOW_TEXTS / (uint64_t)c->n_targets;
    j->window = calloc(j->cap, sizeof *j->window);
    if (j->window == NULL)
        return no_memory();
    DGM_TRY(dgm_resume_open(&j->resume, c->job, j->writers, j->each, j->n_writers));
    j->totals->flagged = j->resume.flagged;
    return j->resume.next > 0 ? DGM_OK /* cut only when the input has proved to be the same */
                              : dgm_resume_keep(&j->resume, 0, j->writers, j->each, j->n_writers);
}

static int commit(job *j)
{
    for (int i = 0; i < j->n_writers; i++)
        DGM_TRY(dgm_writer_commit(j->writers[i]));
    dgm_resume_forget(&j->resume);
    return DGM_OK;
}

/* deliver - a job that fails writes what was answered before, as far as its outputs take it. */
static int deliver(job *j)
{
    uint64_t head;
    do {
        head = j->head;
        DGM_TRY(write_lines(j));
        for (int i = 0; i < j->n_writers; i++)
            DGM_TRY(dgm_writer_drain(j->writers[i], -1));
    } while (head < j->head);
    return DGM_OK;
}

/* finish - keeps what was done: as whole files, or for the next run. `rc` is how the loop ended. */
static int finish(job *j, int rc)
{
    j->totals->stopped = rc == DGM_OK && !j->halted && !(j->ended && j->head == j->tail);
    if (rc == DGM_OK && !j->halted && !j->totals->stopped)
        return commit(j);
    char why[1024];
    (void)snprintf(why, sizeof why, "%s", dgm_error_text());
    if (rc != DGM_OK && rc != DGM_EOUTPUT)
        (void)!deliver(j); /* if that fails too: what came first is told */
    const int saved = save(j, true);
    if (j->halted)
        return dgm_fail(DGM_EINPUT, "%s", dgm_client_line_why(at(j, j->head)));
    return rc == DGM_OK ? saved : dgm_fail(rc, "%s", why);
}

int dgm_client_job_run(dgm_client_totals *totals, const dgm_client_job_config *cfg)
{
    job j = {.cfg = cfg, .totals = totals};
    const double start_s = dgm_now_s();
    *totals = (dgm_client_totals){0};
    int rc = open_outputs(&j);
    if (rc == DGM_OK) {
        dgm_progress_begin(&j.progress, cfg->progress, cfg->files->input_bytes);
        rc = run(&j);
        dgm_progress_wipe(&j.progress);
        rc = finish(&j, rc);
    }
    totals->lines = j.head;
    totals->seconds = dgm_now_s() - start_s;
    for (uint64_t n = j.head; j.window != NULL && n < j.tail; n++)
        dgm_client_line_free(at(&j, n), &j.form);
    dgm_resume_close(&j.resume);
    free(j.window);
    free(j.held_text);
    return rc;
}

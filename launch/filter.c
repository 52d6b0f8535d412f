#include "launch/filter.h"

#include "base/log.h"
#include "launch/commands.h"
#include "launch/filter_direction.h"
#include "launch/filter_files.h"
#include "launch/filter_vmap.h"
#include "runtime/cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One direction, and where its text comes from and goes to. */
typedef struct part {
    dgm_filter_direction direction;
    dgm_filter_files files;
    dgm_stream_config stream;
} part;

/* Everything that rank 0 holds besides the session. */
typedef struct filter {
    dgm_session session;
    dgm_engine_config engine;
    dgm_decode_options decode;
    part *parts; /* [n_parts] */
    int n_parts;
    dgm_stream_totals totals; /* of all */
} filter;

/* ---- rank 0 ---- */

/* choose_experts - from the keep file, if there is one, or that of a cut model: the sets of all directions of this job. */
static int choose_experts(filter *f)
{
    dgm_session *s = &f->session;
    dgm_keep keep;
    if (s->options->keep[0] == '\0' && s->model->cut == NULL)
        return DGM_OK;
    DGM_TRY(dgm_cut_read_keep(&keep, s->options->keep, s->model));
    int rc = DGM_OK;
    for (int i = 0; rc == DGM_OK && i < f->n_parts; i++)
        rc = dgm_filter_experts(&f->parts[i].direction, s, &keep);
    dgm_keep_fini(&keep);
    return rc;
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

/* prepare_part - its files, and its stream. */
static int prepare_part(filter *f, part *p)
{
    const dgm_filter_direction *d = &p->direction;
    const dgm_options *o = &d->o;
    DGM_TRY(dgm_filter_files_open(&p->files, o, d->targets, d->n_targets));
    p->stream = dgm_filter_stream(d, &f->session, &f->engine, &f->decode);
    p->stream.input = p->files.input;
    p->stream.input_fd = p->files.input_fd;
    p->stream.beside = p->files.beside;
    p->stream.beside_fd = p->files.beside_fd;
    p->stream.input_name = p->files.input_name;
    p->stream.beside_name = p->files.beside_name;
    p->stream.input_bytes = p->files.input_bytes;
    p->stream.outputs = p->files.outputs;
    p->stream.n_outputs = p->files.n_outputs;
    p->stream.report = p->files.report;
    p->stream.job = job_hash(&f->session, o);
    p->stream.progress = dgm_filter_files_progress(&p->files, o);
    return DGM_OK;
}

/* add_part - with its languages; statistics are kept by direction, so each may be there once. */
static int add_part(filter *f, const dgm_options *o)
{
    part *p = &f->parts[f->n_parts];
    p->direction.o = dgm_filter_options(o, f->n_parts++);
    DGM_TRY(dgm_filter_languages(&p->direction, &f->session));
    for (part *q = f->parts; q < p; q++)
        for (int i = 0; i < q->direction.n_targets; i++)
            for (int k = 0; k < p->direction.n_targets; k++)
                if (q->direction.source == p->direction.source &&
                    q->direction.targets[i].code == p->direction.targets[k].code)
                    return dgm_fail(DGM_EUSAGE,
                                    "%s into %s is there twice: want one text a direction",
                                    dgm_tok_piece(f->session.tok, p->direction.source),
                                    p->direction.targets[k].lang);
    return DGM_OK;
}

/* prepare - files and languages: what can go wrong does so before the weights are read. */
static int prepare(filter *f, const dgm_options *o)
{
    dgm_session *s = &f->session;
    if (o->n_directions > 1 && o->report[0] != '\0')
        return dgm_fail(DGM_EUSAGE, "--report: want one direction with it, found %d",
                        o->n_directions);
    DGM_ASSERT(o->n_directions >= 1);
    f->parts = calloc((size_t)o->n_directions, sizeof *f->parts);
    if (f->parts == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d directions", o->n_directions);
    for (int i = 0; i < o->n_directions; i++)
        DGM_TRY(add_part(f, o));
    DGM_TRY(dgm_filter_vmap_read(s, f->parts->direction.targets, f->parts->direction.n_targets));
    DGM_TRY(choose_experts(f));
    for (int i = 0; i < f->n_parts; i++) {
        const dgm_filter_direction *d = &f->parts[i].direction;
        for (int t = 0; t < d->n_targets; t++)
            DGM_TRY(dgm_session_task(s, d->targets[t].task));
        DGM_TRY(prepare_part(f, &f->parts[i]));
    }
    return DGM_OK;
}

static void add_totals(dgm_stream_totals *sum, const dgm_stream_totals *t)
{
    sum->lines += t->lines;
    sum->sentences += t->sentences;
    sum->tokens += t->tokens;
    sum->retried += t->retried;
    sum->retries_taken += t->retries_taken;
    for (int i = 0; i < DGM_LINE_STATUSES; i++)
        sum->by_status[i] += t->by_status[i];
    sum->flagged += t->flagged;
    sum->seconds += t->seconds;
    sum->stopped = sum->stopped || t->stopped;
    dgm_absent_add(&sum->absent, &t->absent);
}

/* stream - the positive exit code that goes with what happened, or an error. */
static int stream(filter *f)
{
    f->totals.absent.worst = -1;
    for (int i = 0; i < f->n_parts && !f->totals.stopped; i++) {
        dgm_stream_totals t;
        f->parts[i].stream.engine = f->session.engine;
        const int rc = dgm_stream_run(&t, &f->parts[i].stream);
        add_totals(&f->totals, &t);
        DGM_TRY(rc);
    }
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
    uint64_t sent = 0, by_decoder = 0;
    size_t n = 0;
    for (int r = 0; r < f->session.ranks; r++) {
        sent += stats[r].exchange_bytes;
        by_decoder += stats[r].decoder_exchange_bytes;
        if (n < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%.1f", r > 0 ? ", " : "",
                                  (double)stats[r].peak_rss_bytes / (1 << 20));
    }
    dgm_log(DGM_LOG_INFO, "end",
            "peak memory by rank %s MiB; %.1f MiB exchanged in %llu steps, %llu bytes of it by the "
            "decoder",
            text, (double)sent / (1 << 20), (unsigned long long)stats[0].steps,
            (unsigned long long)by_decoder);
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
    if (strcmp(f->session.options->retry, "checks") == 0)
        dgm_log(DGM_LOG_INFO, "end", "%llu translations were decoded once more, %llu got better",
                (unsigned long long)t->retried, (unsigned long long)t->retries_taken);
    if (t->absent.n > 0)
        dgm_log(
            DGM_LOG_INFO, "end",
            "experts that are not kept would have had %.4f of the gates on average, %.4f at most",
            t->absent.sum / (double)t->absent.n, (double)t->absent.most);
    if (t->flagged > 0)
        dgm_log(DGM_LOG_WARN, "end", "%llu lines are flagged%s", (unsigned long long)t->flagged,
                f->parts->files.report == NULL ? " (--report FILE says which)" : "");
    if (t->stopped)
        dgm_log(DGM_LOG_WARN, "end", "stopped by signal %d after line %llu%s",
                (int)dgm_session_signal, (unsigned long long)t->lines,
                dgm_writer_is_part(f->parts->files.outputs[0])
                    ? "; the same command goes on from there"
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
    int rc = dgm_filter_engine(&f->engine, &f->decode, s);
    if (rc == DGM_OK && s->rank == 0)
        rc = prepare(f, o);
    DGM_TRY(dgm_session_load(s, rc, &f->engine));
    dgm_session_heed();
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
        if (written != DGM_OK)
            code = dgm_command_end(written);
    }
    for (int i = 0; i < f.n_parts; i++)
        dgm_filter_files_close(&f.parts[i].files);
    free(f.parts);
    dgm_session_close(&f.session);
    return code;
}

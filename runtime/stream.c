#include "runtime/stream.h"

#include "base/clock.h"
#include "runtime/stream_state.h"

#include <stdio.h>
#include <stdlib.h>

/* stuck_head - nothing more can be written without something in flight. */
static bool stuck_head(const dgm_stream *s)
{
    return s->head == s->queued || dgm_stream_at(s, s->head)->left > 0;
}

static bool finished(const dgm_stream *s)
{
    if (dgm_engine_pending(s->cfg->engine) > 0 || dgm_stream_pending(s) > 0)
        return false;
    if (s->halted)
        return true;
    return dgm_stream_stopping(s) ? stuck_head(s) : s->ended && s->head == s->tail;
}

/* may_read - a call of dgm_stream_read would find more without waiting. */
static bool may_read(const dgm_stream *s)
{
    return !s->ended && s->awaited_fd < 0 && dgm_stream_takes(s) && !dgm_stream_stopping(s);
}

static int run(dgm_stream *s)
{
    while (!finished(s)) {
        DGM_TRY(dgm_stream_read(s));
        DGM_TRY(dgm_stream_form_chunk(s));
        DGM_TRY(dgm_stream_submit(s));
        const bool in_flight = dgm_engine_pending(s->cfg->engine) > 0;
        const uint64_t head = s->head;
        if (in_flight)
            DGM_TRY(dgm_stream_step(s));
        DGM_TRY(dgm_stream_emit(s));
        DGM_TRY(dgm_stream_flush(s));
        dgm_progress_tick(&s->progress, s->ready_lines, s->totals->tokens, s->ready_bytes);
        if (!in_flight && head == s->head && !may_read(s) && !finished(s))
            DGM_TRY(dgm_stream_wait(s));
    }
    if (s->end_rc != DGM_OK)
        return dgm_fail(s->end_rc, "%s", s->end_text);
    return DGM_OK;
}

static int open_stream(dgm_stream *s)
{
    const dgm_stream_config *c = s->cfg;
    const uint64_t each = (uint64_t)c->n_targets * (uint64_t)(c->score ? 1 : c->decode.n_best);
    s->cap = DGM_STREAM_WINDOW_LINES / each;
    if (s->cap < DGM_STREAM_WINDOW_MIN_LINES)
        s->cap = DGM_STREAM_WINDOW_MIN_LINES;
    s->window = calloc(s->cap, sizeof *s->window);
    if (s->window == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the window of lines");
    for (int i = 0; i < c->n_outputs; i++)
        s->writers[s->n_writers++] = c->outputs[i];
    if (c->report != NULL)
        s->writers[s->n_writers++] = c->report;
    for (int i = 0; i < s->n_writers; i++)
        s->each[i] = dgm_stream_line_each(c, i);
    DGM_TRY(dgm_resume_open(&s->resume, c->job, s->writers, s->each, s->n_writers));
    s->totals->flagged = s->resume.flagged;
    if (s->resume.next > 0)
        return DGM_OK; /* cut only when the input has proved to be the same */
    return dgm_resume_keep(&s->resume, 0, s->writers, s->each, s->n_writers);
}

static void close_stream(dgm_stream *s)
{
    for (uint64_t i = s->head; s->window != NULL && i < s->tail; i++)
        dgm_stream_line_free(dgm_stream_at(s, i), s->cfg->n_targets);
    dgm_resume_close(&s->resume);
    free(s->window);
    free(s->chunk.items);
    free(s->again.items);
    free(s->input_text);
}

/* finish - keeps what was done: as whole files, or for the next run. `rc` is how the loop ended. */
static int finish(dgm_stream *s, int rc)
{
    s->totals->stopped = rc == DGM_OK && !(s->ended && s->head == s->tail);
    if (rc == DGM_OK && !s->totals->stopped)
        return dgm_stream_commit(s);
    char why[sizeof s->end_text];
    (void)snprintf(why, sizeof why, "%s", dgm_error_text());
    const int saved = dgm_stream_pending(s) == 0 ? dgm_stream_save(s, true) : DGM_OK;
    return rc == DGM_OK ? saved : dgm_fail(rc, "%s", why);
}

int dgm_stream_run(dgm_stream_totals *totals, const dgm_stream_config *cfg)
{
    dgm_stream s = {.cfg = cfg, .totals = totals, .awaited_fd = -1};
    *totals = (dgm_stream_totals){0};
    const double start_s = dgm_now_s();
    int rc = open_stream(&s);
    if (rc == DGM_OK) {
        dgm_progress_begin(&s.progress, cfg->progress, cfg->input_bytes);
        rc = run(&s);
        dgm_progress_wipe(&s.progress);
        rc = finish(&s, rc);
    }
    totals->lines = s.done_lines;
    totals->seconds = dgm_now_s() - start_s;
    close_stream(&s);
    return rc;
}

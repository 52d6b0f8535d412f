/* Reading: lines, with their partners in the second text where there is one, into the window. */
#include "base/log.h"
#include "runtime/stream_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dgm_stream_end(dgm_stream *s, int rc)
{
    s->ended = true;
    if (s->end_rc == DGM_OK && rc != DGM_OK) {
        s->end_rc = rc;
        (void)snprintf(s->end_text, sizeof s->end_text, "%s", dgm_error_text());
    }
}

static int poll_lines(dgm_stream *s, dgm_lines *lines, dgm_line *line, int fd)
{
    const int rc = dgm_lines_poll(lines, line, 0);
    if (rc == DGM_LINES_AGAIN)
        s->awaited_fd = fd;
    return rc;
}

/* hold_input - the line must outlive the reader's buffer until its partner comes. */
static int hold_input(dgm_stream *s)
{
    char *copy = realloc(s->input_text, s->input.len + 1);
    if (copy == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a line of text");
    memcpy(copy, s->input.text, s->input.len);
    copy[s->input.len] = '\0';
    s->input_text = copy;
    s->input.text = copy;
    s->has_input = true;
    return DGM_OK;
}

/* One text ended before the other, whose last line is not known yet when it is the input that goes on. */
static int fail_counts(const dgm_stream *s, bool more, uint64_t shorter)
{
    return dgm_fail(DGM_EINPUT,
                    more ? "%s: want as many lines as %s (%llu), found more"
                         : "%s: want as many lines as %s, found only %llu",
                    s->cfg->beside_name, s->cfg->input_name, (unsigned long long)shorter);
}

/* next_partner - the line of `beside` that belongs to s->input, or its end when the input has ended. */
static int next_partner(dgm_stream *s)
{
    const int rc = poll_lines(s, s->cfg->beside, &s->partner, s->cfg->beside_fd);
    if (rc == DGM_LINES_LINE && s->input_ended)
        return fail_counts(s, true, s->partner.number - 1);
    if (rc == DGM_LINES_END && !s->input_ended)
        return fail_counts(s, false, s->input.number - 1);
    s->has_input = s->has_input && rc != DGM_LINES_LINE;
    return rc;
}

/* next_pair - s->input and, when there is a second text, s->partner. DGM_LINES_LINE, _AGAIN, _END, or an error. */
static int next_pair(dgm_stream *s)
{
    if (!s->has_input && !s->input_ended) {
        const int rc = poll_lines(s, s->cfg->input, &s->input, s->cfg->input_fd);
        s->input_ended = rc == DGM_LINES_END;
        if (s->cfg->beside == NULL || rc < 0 || rc == DGM_LINES_AGAIN)
            return rc;
        if (rc == DGM_LINES_LINE)
            DGM_TRY(hold_input(s));
    }
    return s->cfg->beside == NULL ? DGM_LINES_END : next_partner(s);
}

/*
 * pass_done - a line that an earlier run has done. At the last that its state knows, the input must be what it was:
 * nothing was cut from the outputs before that.
 */
static int pass_done(dgm_stream *s)
{
    const uint64_t number = s->input.number;
    const char *part = dgm_writer_name(s->writers[0]);
    if (number == s->resume.lines && s->hash != s->resume.input_hash)
        return dgm_fail(DGM_EINPUT,
                        "%s holds the beginning of another input's translation: remove it to start "
                        "anew",
                        part);
    s->done_lines = number;
    s->done_hash = s->hash;
    s->ready_lines = number;
    s->ready_bytes = s->input.offset;
    if (number < s->resume.next)
        return DGM_OK;
    dgm_log(DGM_LOG_INFO, "output", "%s holds %llu lines: going on behind them", part,
            (unsigned long long)number);
    return dgm_resume_keep(&s->resume, number, s->writers, s->each, s->n_writers);
}

static int take_pair(dgm_stream *s)
{
    const dgm_line *partner = s->cfg->beside == NULL ? NULL : &s->partner;
    s->hash = dgm_resume_hash(s->hash, s->input.text, s->input.len);
    if (partner != NULL)
        s->hash = dgm_resume_hash(s->hash, partner->text, partner->len);
    if (s->input.number <= s->resume.next) {
        s->read_bytes = s->input.offset;
        return pass_done(s);
    }
    dgm_stream_line *l = dgm_stream_at(s, s->tail);
    s->tail++; /* even a line that could not be filled has something to free */
    DGM_TRY(dgm_stream_line_fill(l, s->cfg, &s->input, partner));
    l->hash = s->hash;
    l->input_bytes = s->input.offset - s->read_bytes;
    s->read_bytes = s->input.offset;
    dgm_stream_note_ready(s, l);
    s->bytes += l->bytes;
    if (s->cfg->strict && l->fail_code != DGM_OK)
        s->ended = true; /* the job ends when this line's turn to be written comes */
    return DGM_OK;
}

/* end_of_text - nothing more to read; an earlier run cannot have read further. */
static int end_of_text(const dgm_stream *s)
{
    if (s->done_lines >= s->resume.next || s->tail > 0)
        return DGM_OK;
    return dgm_fail(DGM_EINPUT,
                    "%s holds %llu lines, but %s ends after %llu: remove it to start anew",
                    dgm_writer_name(s->writers[0]), (unsigned long long)s->resume.next,
                    s->cfg->input_name, (unsigned long long)s->done_lines);
}

/* enough - reading more now would keep the engine waiting, or fill more than a chunk for nothing. */
static bool enough(const dgm_stream *s, bool busy, int lines, size_t bytes)
{
    if (busy)
        return lines >= DGM_STREAM_READ_LINES || bytes >= DGM_STREAM_READ_BYTES;
    return s->tail - s->queued >= DGM_STREAM_CHUNK_LINES;
}

int dgm_stream_read(dgm_stream *s)
{
    const bool busy = dgm_engine_pending(s->cfg->engine) > 0;
    size_t bytes = 0;
    s->awaited_fd = -1;
    for (int n = 0; !s->ended && !dgm_stream_stopping(s) && dgm_stream_takes(s); n++) {
        if (enough(s, busy, n, bytes))
            return DGM_OK;
        if (s->cfg->comm != NULL)
            dgm_comm_busy(s->cfg->comm, "reading text");
        int rc = next_pair(s);
        if (rc == DGM_LINES_AGAIN)
            return DGM_OK;
        if (rc != DGM_LINES_LINE) {
            dgm_stream_end(s, rc == DGM_LINES_END ? end_of_text(s) : rc);
            return DGM_OK;
        }
        DGM_TRY(take_pair(s));
        bytes += s->input.len;
    }
    return DGM_OK;
}

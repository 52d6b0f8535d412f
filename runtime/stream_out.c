/* Writing: finished lines in their order, how far we are, and waiting for others. */
#include "base/clock.h"
#include "base/log.h"
#include "runtime/stream_state.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

size_t dgm_stream_pending(const dgm_stream *s)
{
    size_t n = 0;
    for (int i = 0; i < s->n_writers; i++)
        n += dgm_writer_pending(s->writers[i]);
    return n;
}

static void count(dgm_stream *s, const dgm_stream_line *l)
{
    s->totals->by_status[l->status]++;
    if (!dgm_line_status_flagged(l->status))
        return;
    uint64_t told = 0;
    for (int i = 0; i < DGM_LINE_STATUSES; i++)
        told += dgm_line_status_flagged((enum dgm_line_status)i) ? s->totals->by_status[i] : 0;
    s->totals->flagged++;
    dgm_progress_wipe(&s->progress);
    if (told > DGM_STREAM_COMPLAINTS || (s->cfg->take != NULL && l->message == NULL))
        return;
    if (l->message != NULL)
        dgm_log(DGM_LOG_WARN, "text", "%s", l->message);
    else
        dgm_log(DGM_LOG_WARN, "text", "%s line %llu: %s (--max-length %d)", s->cfg->input_name,
                (unsigned long long)l->number, dgm_line_status_name(l->status),
                (int)s->cfg->decode.max_length);
    if (told == DGM_STREAM_COMPLAINTS)
        dgm_log(DGM_LOG_WARN, "text", "further flagged lines are only counted");
}

int dgm_stream_emit(dgm_stream *s)
{
    while (s->head < s->queued && dgm_stream_pending(s) < DGM_STREAM_OUTPUT_BYTES) {
        dgm_stream_line *l = dgm_stream_at(s, s->head);
        if (l->left > 0)
            return DGM_OK;
        if (s->cfg->strict && l->fail_code != DGM_OK) {
            s->halted = true;
            dgm_stream_end(s, dgm_fail(l->fail_code, "%s", l->message));
            return DGM_OK;
        }
        dgm_stream_line_judge(l, s->cfg);
        DGM_TRY(dgm_stream_line_write(l, s->cfg));
        count(s, l);
        s->done_lines = l->number;
        s->done_hash = l->hash;
        s->bytes -= l->bytes;
        dgm_stream_line_free(l, s->cfg->n_targets);
        s->head++;
    }
    return DGM_OK;
}

int dgm_stream_save(dgm_stream *s, bool now)
{
    dgm_resume *r = &s->resume;
    if (!r->on || s->done_lines == r->lines)
        return DGM_OK;
    /* Often enough that little is done twice; at once when a line was flagged, so that none is forgotten. */
    if (!now && r->flagged == s->totals->flagged && dgm_now_s() - r->saved_s < 1)
        return DGM_OK;
    return dgm_resume_save(r, s->done_lines, s->done_hash, s->totals->flagged);
}

int dgm_stream_flush(dgm_stream *s)
{
    for (int i = 0; i < s->n_writers; i++)
        DGM_TRY(dgm_writer_flush(s->writers[i]));
    return dgm_stream_pending(s) == 0 ? dgm_stream_save(s, false) : DGM_OK;
}

int dgm_stream_commit(dgm_stream *s)
{
    for (int i = 0; i < s->n_writers; i++)
        DGM_TRY(dgm_writer_commit(s->writers[i]));
    dgm_resume_forget(&s->resume);
    return DGM_OK;
}

int dgm_stream_wait(dgm_stream *s)
{
    struct pollfd p[DGM_STREAM_MAX_TARGETS + 2];
    const int n = s->n_writers;
    for (int i = 0; i < n; i++)
        p[i] = (struct pollfd){.fd = dgm_writer_fd(s->writers[i]),
                               .events = dgm_writer_pending(s->writers[i]) > 0 ? POLLOUT : 0};
    p[n] = (struct pollfd){.fd = s->awaited_fd, .events = POLLIN};
    const int beat_ms = s->cfg->beat_ms > 0 ? s->cfg->beat_ms : DGM_STREAM_IDLE_MS;
    if (poll(p, (nfds_t)n + 1, beat_ms) < 0 && errno != EINTR)
        return dgm_fail(DGM_EINTERNAL, "poll: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        if (p[i].events == 0 && (p[i].revents & POLLERR) != 0)
            return dgm_fail(DGM_EOUTPUT, "%s: closed by its reader",
                            dgm_writer_name(s->writers[i]));
    }
    return dgm_now_s() - s->stepped_s >= beat_ms * 1e-3 ? dgm_stream_step(s) : DGM_OK;
}

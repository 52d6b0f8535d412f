/* Order by length, the way into the engine, and the way back. */
#include "base/clock.h"
#include "runtime/stream_state.h"

#include <stdlib.h>

static int longer_first(const void *a, const void *b)
{
    const dgm_stream_item *x = a, *y = b;
    if (x->n_ids != y->n_ids)
        return x->n_ids > y->n_ids ? -1 : 1;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return (x->segment > y->segment) - (x->segment < y->segment);
}

static int push_item(dgm_stream_items *list, dgm_stream_item it)
{
    if (list->n == list->cap) {
        const int cap = list->cap == 0 ? DGM_STREAM_CHUNK_LINES : 2 * list->cap;
        dgm_stream_item *grown = realloc(list->items, (size_t)cap * sizeof *grown);
        if (grown == NULL)
            return dgm_fail(DGM_ENOMEM, "out of memory for the order of lines");
        list->items = grown;
        list->cap = cap;
    }
    list->items[list->n++] = it;
    return DGM_OK;
}

/* push_line - its segments. */
static int push_line(dgm_stream_items *list, const dgm_stream_line *l, uint64_t line)
{
    for (int i = 0; i < l->segments.n; i++)
        DGM_TRY(push_item(list, (dgm_stream_item){line, i, l->segments.at[i].n}));
    return DGM_OK;
}

/*
 * form_chunk - the lines read since the last chunk, longest first: the short ones then fill the batch while the long
 * ones of the chunk come to their end, and nothing long is left for the very end of the text. A chunk is closed when it
 * is large, or when there is nothing more to read now: a line that was typed does not wait for others.
 */
int dgm_stream_form_chunk(dgm_stream *s)
{
    const uint64_t n = s->tail - s->queued;
    if (s->chunk.at < s->chunk.n || n == 0)
        return DGM_OK;
    if (n < DGM_STREAM_CHUNK_LINES && s->awaited_fd < 0 && !s->ended && dgm_stream_takes(s))
        return DGM_OK;
    s->chunk.n = s->chunk.at = 0;
    for (; s->queued < s->tail; s->queued++)
        DGM_TRY(push_line(&s->chunk, dgm_stream_at(s, s->queued), s->queued));
    if (s->chunk.n > 0)
        qsort(s->chunk.items, (size_t)s->chunk.n, sizeof *s->chunk.items, longer_first);
    return DGM_OK;
}

/* submit - what is left of a list. DGM_EBUSY: not all of it. */
static int submit(dgm_stream *s, dgm_stream_items *list)
{
    for (; list->at < list->n; list->at++) {
        const dgm_stream_item *it = &list->items[list->at];
        dgm_stream_line *l = dgm_stream_at(s, it->line);
        const int rc = dgm_stream_line_submit(
            l, s->cfg, it->segment, it->line << DGM_STREAM_SEGMENT_BITS | (uint64_t)it->segment);
        if (rc == DGM_EBUSY)
            return rc;
        if (rc == DGM_EINPUT) {
            /* The engine will never take it: that part of the line is missing, and says why. */
            DGM_TRY(dgm_stream_line_refused(l, s->cfg, rc));
            dgm_stream_note_ready(s, l);
        } else {
            DGM_TRY(rc);
        }
        s->totals->sentences++;
    }
    list->n = list->at = 0;
    return DGM_OK;
}

int dgm_stream_submit(dgm_stream *s)
{
    if (dgm_stream_stopping(s))
        return DGM_OK;
    int rc = submit(s, &s->again);
    if (rc == DGM_OK)
        rc = submit(s, &s->chunk);
    return rc == DGM_EBUSY ? DGM_OK : rc;
}

/* look_again - nothing is left of the line, unless it is decoded once more. */
static int look_again(dgm_stream *s, dgm_stream_line *l, uint64_t line)
{
    bool again;
    DGM_TRY(dgm_stream_line_retry(l, s->cfg, &again));
    if (again)
        return push_line(&s->again, l, line);
    for (int t = 0; l->retries != NULL && t < s->cfg->n_targets; t++) {
        s->totals->retried += l->retries[t].on;
        s->totals->retries_taken += l->retries[t].taken;
    }
    return DGM_OK;
}

static int take_results(dgm_stream *s)
{
    dgm_result r;
    while (dgm_engine_poll(s->cfg->engine, &r)) {
        const uint64_t line = r.id >> DGM_STREAM_SEGMENT_BITS;
        const int segment = (int)(r.id & ((1U << DGM_STREAM_SEGMENT_BITS) - 1));
        DGM_ASSERT(line >= s->head && line < s->tail);
        dgm_stream_line *l = dgm_stream_at(s, line);
        dgm_absent_add(&s->totals->absent, &r.absent);
        DGM_TRY(dgm_stream_line_take(l, s->cfg, segment, &r, &s->totals->tokens));
        if (l->left == 0)
            DGM_TRY(look_again(s, l, line));
        dgm_stream_note_ready(s, l);
    }
    return DGM_OK;
}

int dgm_stream_step(dgm_stream *s)
{
    s->stepped_s = dgm_now_s();
    DGM_TRY(dgm_engine_step(s->cfg->engine));
    return take_results(s);
}

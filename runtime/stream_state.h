/* stream_state.h - what the files of the stream share. stream.c is the loop; read it first. */
#ifndef DGM_RUNTIME_STREAM_STATE_H
#define DGM_RUNTIME_STREAM_STATE_H

#include "runtime/progress.h"
#include "runtime/stream_line.h"

/*
 * Limits. The window holds enough lines to keep a large batch busy while its longest line is finished; a chunk is what
 * is put in order of length at a time; output beyond its limit waits in the window, and the window stops the reader.
 */
enum {
    DGM_STREAM_WINDOW_LINES = 8192,
    DGM_STREAM_WINDOW_MIN_LINES = 64,
    DGM_STREAM_WINDOW_BYTES = 16 << 20,
    DGM_STREAM_OUTPUT_BYTES = 1 << 20,
    DGM_STREAM_CHUNK_LINES = 1024,
    DGM_STREAM_READ_LINES = 256,        /* between two steps while sentences are in flight, */
    DGM_STREAM_READ_BYTES = 128 * 1024, /* or so many bytes */
    DGM_STREAM_SEGMENT_BITS = 24, /* of a job's id: a line has at most MAX_LINE_BYTES segments */
    DGM_STREAM_IDLE_MS = 500,     /* other ranks hear of us at least this often */
    DGM_STREAM_COMPLAINTS = 10,   /* flagged lines that are told one by one */
};

/* One segment that waits for its turn. */
typedef struct dgm_stream_item {
    uint64_t line; /* in order of reading, from 0 */
    int segment, n_ids;
} dgm_stream_item;

/* Segments on their way to the engine: those below `at` have gone. */
typedef struct dgm_stream_items {
    dgm_stream_item *items; /* [n] */
    int n, at, cap;
} dgm_stream_items;

typedef struct dgm_stream {
    const dgm_stream_config *cfg;
    dgm_stream_totals *totals;
    dgm_progress progress;

    dgm_stream_line *window; /* [cap], line i at i % cap */
    uint64_t head, tail;     /* oldest, one past the newest */
    uint64_t queued;         /* lines below it have been put into a chunk */
    uint64_t cap;
    size_t bytes;

    dgm_stream_items chunk; /* longest first */
    dgm_stream_items again; /* of lines that are decoded once more: before the others */

    /* reading */
    bool ended;     /* no more */
    int awaited_fd; /* -1, or where nothing whole was to be read */
    dgm_line input, partner;
    char *input_text; /* the line that waits for its partner outlives the reader's buffer */
    bool has_input, input_ended;
    uint64_t hash, read_bytes;

    /* lines that wait for nothing but their turn: progress does not hang on the slowest line */
    uint64_t ready_lines, ready_bytes;

    /* writing: how far the outputs got */
    uint64_t done_lines, done_hash;
    dgm_resume resume;
    dgm_writer *writers[DGM_STREAM_MAX_TARGETS +
                        1];               /* [n_writers] outputs, and the report if there is one */
    int each[DGM_STREAM_MAX_TARGETS + 1]; /* lines for one line of input */
    int n_writers;

    double stepped_s;
    bool halted; /* strict has met its line */
    int end_rc;  /* why the stream ends after what was read before, and its sentence */
    char end_text[1024];
} dgm_stream;

static inline dgm_stream_line *dgm_stream_at(const dgm_stream *s, uint64_t i)
{
    return &s->window[i % s->cap];
}

/* dgm_stream_stopping - a signal or strict: submit no more, finish what is in flight. */
static inline bool dgm_stream_stopping(const dgm_stream *s)
{
    return s->halted || (s->cfg->stop != NULL && *s->cfg->stop != 0);
}

/* dgm_stream_takes - the window has room for one more line. One is always taken, however long. */
static inline bool dgm_stream_takes(const dgm_stream *s)
{
    return s->tail == s->head || (s->tail - s->head < s->cap && s->bytes < DGM_STREAM_WINDOW_BYTES);
}

/* dgm_stream_note_ready - counts the line if nothing of it is missing any more. */
static inline void dgm_stream_note_ready(dgm_stream *s, const dgm_stream_line *l)
{
    s->ready_lines += l->left == 0;
    s->ready_bytes += l->left == 0 ? l->input_bytes : 0;
}

/* dgm_stream_end - no more lines; what was read is still translated and written, then `rc` is returned. */
void dgm_stream_end(dgm_stream *s, int rc);

/* stream_read.c: as many lines as there are and the window takes; few when the engine waits for its next step. */
DGM_MUST_CHECK int dgm_stream_read(dgm_stream *s);
/* stream_order.c: lines into chunks, chunks into the engine, results back into lines. */
DGM_MUST_CHECK int dgm_stream_form_chunk(dgm_stream *s);
DGM_MUST_CHECK int dgm_stream_submit(dgm_stream *s);
DGM_MUST_CHECK int dgm_stream_step(dgm_stream *s);
/* stream_out.c: finished lines into the outputs, outputs to whoever reads them, and how far we are. */
DGM_MUST_CHECK int dgm_stream_emit(dgm_stream *s);
DGM_MUST_CHECK int dgm_stream_flush(dgm_stream *s);
DGM_MUST_CHECK int dgm_stream_save(dgm_stream *s, bool now);
DGM_MUST_CHECK int dgm_stream_commit(dgm_stream *s);
size_t dgm_stream_pending(const dgm_stream *s);
/* dgm_stream_wait - for input, for room in an output, or for an output's reader to go away; never long. */
DGM_MUST_CHECK int dgm_stream_wait(dgm_stream *s);

#endif

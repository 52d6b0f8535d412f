/*
 * stream.h - a text through the engine: lines in, lines out, in order, on one thread (rank 0).
 *
 *   read (2) -> order by length -> submit -> dgm_engine_step (3-10) -> detokenise (11) -> order again -> write (12)
 *
 * Neither input nor output is waited for while sentences are in flight or other ranks wait: a step is made at least
 * every half second. Memory is bounded by a window of lines, however long the text. A line that is typed is answered
 * at once.
 */
#ifndef DGM_RUNTIME_STREAM_H
#define DGM_RUNTIME_STREAM_H

#include "runtime/engine.h"
#include "runtime/lines.h"
#include "runtime/moe_shape.h"
#include "runtime/report.h"
#include "runtime/segment.h"
#include "runtime/writer_resume.h"

#include <signal.h>

enum { DGM_STREAM_MAX_LINE_BYTES = 1 << 20, DGM_STREAM_MAX_TARGETS = 256 };

typedef struct dgm_stream_target {
    const char *lang;                  /* FLORES code */
    int32_t code;                      /* its id */
    int experts, source_experts, task; /* see dgm_target */
} dgm_stream_target;

/* A line that is done. */
typedef struct dgm_stream_text {
    uint64_t number;
    enum dgm_line_status status;
    const char
        *text; /* [len] the best translation; empty where there is none. Until the call returns */
    size_t len;
} dgm_stream_text;

typedef struct dgm_stream_config {
    dgm_engine *engine;
    const dgm_tokenizer *tok;
    dgm_comm *comm; /* told now and then that rank 0 is reading; may be NULL */

    dgm_segment_config source; /* max_ids: longest source */
    const dgm_stream_target *targets;
    int n_targets;
    int32_t start_id, eos_id;
    const dgm_moe_shape *shape; /* to name layers; NULL: no experts are masked */
    int max_target;             /* ids of the longest prompt that the engine takes */
    dgm_decode_options decode;
    bool
        score; /* `beside` holds translations to score, else prefixes that translations must have */
    bool retry; /* what a check strikes is decoded once more (runtime/retry.h); not with score */

    dgm_lines *input;
    int input_fd;
    dgm_lines *beside; /* or NULL: a second text, line by line beside the input */
    int beside_fd;
    const char *input_name, *beside_name; /* NULL: messages say no place */
    uint64_t input_bytes;                 /* 0: not known */

    dgm_writer *const *outputs;
    int n_outputs;      /* 1, or one a target */
    dgm_writer *report; /* or NULL */
    /* not NULL: gets the lines in order instead of outputs (n_outputs 0, one target, no score) and what is merely cut is not
     * complained about; DGM_OK, or the error that ends the stream */
    int (*take)(void *ctx, const dgm_stream_text *line);
    void *take_ctx;
    uint64_t job; /* hash over model and options: only the same job goes on where one was stopped */

    bool urgent; /* of jobs: see dgm_job */
    bool strict, marian, with_score, token_scores, alignment;
    bool progress;
    const volatile sig_atomic_t *stop; /* not 0: read no more, finish what is in flight */
    int beat_ms; /* while it waits for lines other ranks hear of us this often; 0: twice a second */
} dgm_stream_config;

typedef struct dgm_stream_totals {
    uint64_t lines;     /* written, those of an earlier run included */
    uint64_t sentences; /* given to the engine */
    uint64_t tokens;    /* pieces of hypotheses that came back from it */
    uint64_t retried,
        retries_taken; /* of this run, by target: decoded twice; the second was given */
    uint64_t by_status
        [DGM_LINE_STATUSES]; /* lines of this run; with several targets the worst of them */
    uint64_t flagged;        /* lines, those of an earlier run included */
    double seconds;
    bool stopped;      /* *stop was set before the end of the text */
    dgm_absent absent; /* over all results of this run */
} dgm_stream_totals;

/*
 * dgm_stream_run - everything, until the input ends, *stop is set, or something fails. Outputs get what could be
 * finished in any case; files become whole (renamed) only when the text was. DGM_OK although lines are flagged. With
 * strict, the first bad line: DGM_EINPUT. Errors of lines, writers, engine pass through.
 */
DGM_MUST_CHECK int dgm_stream_run(dgm_stream_totals *totals, const dgm_stream_config *cfg);

#endif

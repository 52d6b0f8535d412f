/* stream_line.h - one line on its way through the stream: read, sent in parts, gathered, written. */
#ifndef DGM_RUNTIME_STREAM_LINE_H
#define DGM_RUNTIME_STREAM_LINE_H

#include "runtime/stream.h"
#include "runtime/stream_align.h"

/* One hypothesis of one segment, as text. */
typedef struct dgm_stream_hyp {
    char *text; /* owned, as are tokens, token_logp and pairs */
    size_t len;
    int32_t *
        tokens; /* [n_tokens] what the model chose, with </s> where it ended; with token_scores, else NULL */
    float *token_logp; /* [n_tokens] */
    int n_tokens;
    dgm_word_pair *pairs;
    int n_pairs, n_words;
    double sum; /* score: log p of the whole target */
    double score;
    int n;         /* tokens generated: code and </s> counted, prefix not */
    int n_pieces;  /* tokens without code and </s>, */
    int n_unknown; /* and how many of them are <unk> */
    bool ended, looped;
} dgm_stream_hyp;

/* One segment in one target language. */
typedef struct dgm_stream_part {
    dgm_stream_hyp *hyps; /* [n_hyps] best first */
    int n_hyps;
    double seconds;
    dgm_absent absent;
} dgm_stream_part;

/* What a decoding of a line became in one target language. */
typedef struct dgm_stream_decoding {
    double score, seconds;
    unsigned checks; /* that strike it */
} dgm_stream_decoding;

/* Of a target of a line that was decoded twice. */
typedef struct dgm_stream_retry {
    bool on, taken; /* it was, in this target; the second is the better */
    dgm_stream_decoding first, second;
} dgm_stream_retry;

typedef struct dgm_stream_line {
    uint64_t number;
    uint64_t hash;        /* over the input up to and with this line */
    uint64_t input_bytes; /* that it took in the input */
    enum dgm_line_status status;
    int fail_code; /* with strict: what ends the job at this line */
    char *message; /* owned, or NULL */
    char *text;    /* owned */
    size_t len;
    dgm_segments segments; /* none when there is nothing to translate */
    int32_t *beside;       /* owned: pieces of prefix or reference */
    int n_beside;
    dgm_stream_part *parts; /* [segments.n, n_targets] */
    int left;               /* parts that are not there yet */
    /* from its second decoding on, else NULL: */
    dgm_stream_retry *retries; /* [n_targets] */
    dgm_stream_part *others;   /* as parts: the decoding that is not given */
    bool queued;
    size_t bytes; /* what it counts against the window */
} dgm_stream_line;

/*
 * dgm_stream_line_fill - makes *l of `line` (and `beside`, or NULL): blank, bad, too long, or segments to translate.
 * Only DGM_ENOMEM and DGM_EINTERNAL are errors; what is wrong with a line is in its status and message.
 */
DGM_MUST_CHECK int dgm_stream_line_fill(dgm_stream_line *l, const dgm_stream_config *cfg,
                                        const dgm_line *line, const dgm_line *beside);
void dgm_stream_line_free(dgm_stream_line *l, int n_targets);

/* dgm_stream_line_refused - the engine would not take a segment, ever: dgm_error_text says why. */
DGM_MUST_CHECK int dgm_stream_line_refused(dgm_stream_line *l, const dgm_stream_config *cfg,
                                           int code);

/* dgm_stream_line_failed - a part of it could not be translated. */
DGM_MUST_CHECK int dgm_stream_line_failed(dgm_stream_line *l, const dgm_stream_config *cfg,
                                          int code);

/* dgm_stream_line_submit - segment `segment` to the engine as job `id`. DGM_EBUSY. */
DGM_MUST_CHECK int dgm_stream_line_submit(dgm_stream_line *l, const dgm_stream_config *cfg,
                                          int segment, uint64_t id);

/* dgm_stream_line_take - what the engine found for `segment`. *pieces grows by the pieces of all hypotheses. */
DGM_MUST_CHECK int dgm_stream_line_take(dgm_stream_line *l, const dgm_stream_config *cfg,
                                        int segment, const dgm_result *r, uint64_t *pieces);

/*
 * dgm_stream_line_retry - of a line of which nothing is left, before anything else is done with it. *again: with cfg->retry a
 * check strikes it, so all its segments are to be submitted once more, and `left` says how many parts that will bring. When
 * those are there, too, the better of both decodings stands in `parts`. DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_stream_line_retry(dgm_stream_line *l, const dgm_stream_config *cfg,
                                         bool *again);
/* dgm_stream_line_targets - the targets that are being decoded now, ascending; how many. */
int dgm_stream_line_targets(int targets[DGM_STREAM_MAX_TARGETS], const dgm_stream_line *l,
                            const dgm_stream_config *cfg);

/* ---- of a line of which nothing is left to do, in target t ---- */

/* dgm_stream_line_judge - its status, over all targets. First of all. */
void dgm_stream_line_judge(dgm_stream_line *l, const dgm_stream_config *cfg);
/* dgm_stream_line_has - it has an i-th hypothesis: the longest list of its segments decides. Of a line that was given up while some of
 * its segments were decoded, too: it has none. */
bool dgm_stream_line_has(const dgm_stream_line *l, const dgm_stream_config *cfg, int t, int i);
/* dgm_stream_line_hyp - hypothesis i of segment s (its last, when the search found fewer). */
const dgm_stream_hyp *dgm_stream_line_hyp(const dgm_stream_line *l, const dgm_stream_config *cfg,
                                          int s, int t, int i);
/* dgm_stream_line_text - the i-th translation, its segments joined. *text is the caller's to free. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_stream_line_text(char **text, size_t *n, const dgm_stream_line *l,
                                        const dgm_stream_config *cfg, int t, int i);
/* dgm_stream_line_score - of one segment its own; of several the mean over their tokens, which at length penalty 1 is what
 * the joined hypothesis would have had. */
double dgm_stream_line_score(const dgm_stream_line *l, const dgm_stream_config *cfg, int t, int i);
/* dgm_stream_line_pairs - its alignment: words of the line, words of the translation. *pairs is the caller's to free. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_stream_line_pairs(dgm_word_pair **pairs, int *n, const dgm_stream_line *l,
                                         const dgm_stream_config *cfg, int t, int i);
/* dgm_stream_line_report - what a report says of it; its texts live as long as the line. */
void dgm_stream_line_report(dgm_line_report *r, const dgm_stream_line *l,
                            const dgm_stream_config *cfg, int t);

/* dgm_stream_line_write - the finished line to the outputs and the report. */
DGM_MUST_CHECK int dgm_stream_line_write(const dgm_stream_line *l, const dgm_stream_config *cfg);

/* dgm_stream_line_each - lines that output number `output` (n_outputs: the report) gets for one of the input. */
int dgm_stream_line_each(const dgm_stream_config *cfg, int output);

#endif

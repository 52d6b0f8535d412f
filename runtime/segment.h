/*
 * segment.h - stage 2 for a whole line: one or several sources that the model can take, nothing cut.
 *
 * A line that fits is one segment. Otherwise (or with split `always`) it is cut at sentence ends, and a sentence
 * that still does not fit at word borders. Translations of the segments are joined again by the front.
 */
#ifndef DGM_RUNTIME_SEGMENT_H
#define DGM_RUNTIME_SEGMENT_H

#include "runtime/tokenizer.h"

enum dgm_split { DGM_SPLIT_AUTO, DGM_SPLIT_ALWAYS, DGM_SPLIT_NEVER };

typedef struct dgm_segment_config {
    const dgm_tokenizer *tok;
    const char *lang; /* FLORES code of the source: chooses the rules for sentence ends */
    int32_t code;     /* its id */
    bool suffix;      /* code behind the text instead of before */
    int max_ids;      /* longest source, code and </s> counted */
    enum dgm_split split;
} dgm_segment_config;

typedef struct dgm_segment {
    size_t begin, end; /* bytes of the line */
    int32_t *ids;      /* [n] owned: code and </s> included */
    int n;
} dgm_segment;

typedef struct dgm_segments {
    dgm_segment *at; /* [n] ascending, only white space between them */
    int n, cap;
} dgm_segments;

/*
 * dgm_segment_line - text [len]: valid UTF-8, not blank. *out starts zeroed. DGM_ETEXT when the line is too long and
 * cannot be split (or must not); the sentence says how long it is. On any failure *out is empty.
 */
DGM_MUST_CHECK int dgm_segment_line(dgm_segments *out, const dgm_segment_config *cfg,
                                    const char *text, size_t len);
void dgm_segments_free(dgm_segments *s);

/*
 * dgm_segment_gap - what stands between the translations of segments i - 1 and i: the white space of the line, except
 * that Chinese and Japanese take none and other languages need some. *len its length; the text may point into `text`.
 */
const char *dgm_segment_gap(size_t *len, const dgm_segments *s, int i, const char *text,
                            const char *target_lang);

#endif

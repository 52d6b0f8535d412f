/* evaluation_text.h - a text and its reference, held in memory so that it can be gone through again and again. Rank 0. */
#ifndef DGM_LAUNCH_EVALUATION_TEXT_H
#define DGM_LAUNCH_EVALUATION_TEXT_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dgm_evaluation_line {
    char *text;
    size_t len;
} dgm_evaluation_line;

typedef struct dgm_evaluation_text {
    const char *name; /* of the input, for messages */
    int fd;           /* of its bytes as they were read, at any place; -1: none */
    size_t n_lines;
    dgm_evaluation_line *references; /* [n_lines] */
} dgm_evaluation_text;

/*
 * dgm_evaluation_text_open - reads both files (pipes too). DGM_EINPUT: cannot be read, lines of the reference that are not UTF-8,
 * other numbers of lines, no lines. On failure it can still be closed. Names are the caller's.
 */
DGM_MUST_CHECK int dgm_evaluation_text_open(dgm_evaluation_text *t, const char *input,
                                            const char *reference);
void dgm_evaluation_text_close(dgm_evaluation_text *t);

#endif

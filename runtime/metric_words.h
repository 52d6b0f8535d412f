/* metric_words.h - private to metrics: a line as words, and words as numbers. */
#ifndef DGM_RUNTIME_METRIC_WORDS_H
#define DGM_RUNTIME_METRIC_WORDS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dgm_word {
    const char *text;
    size_t len;
} dgm_word;

/* A growing list; the owner frees `at`. */
typedef struct dgm_words {
    dgm_word *at;
    size_t n, cap;
} dgm_words;

/* dgm_space_at - bytes of the white space that `text` begins with, as Python's str.split sees it; 0: none. */
size_t dgm_space_at(const char *text, size_t len);

DGM_MUST_CHECK int dgm_words_push(dgm_words *w, const char *text, size_t len);
/* dgm_words_split - appends what stands between white space; pointers go into text. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_words_split(dgm_words *w, const char *text, size_t len);

/* dgm_words_number - equal words of both lists get equal numbers: hyp [hyp->n], ref [ref->n]. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_words_number(int32_t *hyp_ids, const dgm_words *hyp, int32_t *ref_ids,
                                    const dgm_words *ref);

#endif

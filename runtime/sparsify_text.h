/*
 * sparsify_text.h - the text that sparsifying looks at: a file a language, whose lines with one number say the same, and the
 * directions that they make.
 *
 * Every ordered pair of languages is a direction, in the order of the files; with `self` each language into itself, and the
 * files need not be parallel. Directions that the model does not translate, having no task or not the experts for them, are left out. Of each file the same `samples` lines are taken, by seed, and stay in their order.
 */
#ifndef DGM_RUNTIME_SPARSIFY_TEXT_H
#define DGM_RUNTIME_SPARSIFY_TEXT_H

#include "runtime/expert_sets.h"

/* A sentence as source, `code pieces </s>`, and as target, `start code pieces </s>`. Both n 0: a blank line. */
typedef struct dgm_sentence {
    int32_t *source, *target;
    int n_source, n_target;
} dgm_sentence;

typedef struct dgm_language_text {
    char name[DGM_TASK_NAME]; /* code */
    const char *path;         /* borrowed */
    int32_t code;
    dgm_sentence *lines; /* [n] */
    size_t n, cap;
    uint64_t hash; /* XXH3 of the file's lines, each with its newline */
} dgm_language_text;

typedef struct dgm_text_direction {
    int src, tgt;            /* of langs */
    int experts[DGM_STACKS]; /* numbers among the sets; see dgm_target */
    int task;
} dgm_text_direction;

typedef struct dgm_parallel_text {
    dgm_language_text *langs; /* [n_langs] */
    int n_langs;
    dgm_text_direction *directions; /* [n_directions] */
    int n_directions, n_left_out;
    dgm_expert_sets sets; /* of a cut model: those of the directions */
    int longest_target;
} dgm_parallel_text;

typedef struct dgm_parallel_config {
    const char *const *files; /* [n_files] "eng_Latn=FILE" */
    int n_files, samples;     /* samples 0: all lines */
    uint64_t seed;
    bool self;
} dgm_parallel_config;

/*
 * dgm_parallel_read - of m, which is opened. DGM_EUSAGE for what is no language and file, a language twice, one alone without `self`;
 * DGM_EUSAGE or DGM_EINPUT for a language that no direction has;
 * DGM_EINPUT names the file that is not there, blank or of another length, and the line that is not UTF-8 or too long. Free *t in any case.
 */
DGM_MUST_CHECK int dgm_parallel_read(dgm_parallel_text *t, const dgm_parallel_config *cfg,
                                     const dgm_model *m);
void dgm_parallel_free(dgm_parallel_text *t);

#endif

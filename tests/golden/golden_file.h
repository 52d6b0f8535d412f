/*
 * golden_file.h - what Hugging Face decoded, as hf/make.py and random128/make.py wrote it.
 *
 * A folder holds sources.tsv.gz, greedy.tsv.gz, beam4.tsv.gz, forced.tsv.gz and tensors.{tsv,f32.gz}; a comment
 * line in each names the columns. Everything is read into memory that golden_close frees.
 */
#ifndef DGM_TESTS_GOLDEN_FILE_H
#define DGM_TESTS_GOLDEN_FILE_H

#include <stdint.h>

typedef struct golden_ids {
    int32_t *at;
    int n;
} golden_ids;

typedef struct golden_floats {
    float *at;
    int n;
} golden_floats;

typedef struct golden_source {
    char lang[16];
    int line;
    golden_ids ids; /* code, pieces, </s> */
} golden_source;

typedef struct golden_row {
    char src[16], tgt[16];
    int line;
    float repetition_penalty, length_penalty;
    int ngram, min_length, max_length, early_stopping;
    golden_ids prefix;
    int rank; /* 0 is the best hypothesis; those of higher rank follow it */
    float score;
    golden_ids ids;      /* after the start token */
    golden_floats steps; /* how far each step was from another decision; rank 0 only, as the rest */
    float encoder;       /* the closest router call: (2nd - 3rd) / max |logit| */
    golden_floats decoder;
} golden_row;

typedef struct golden_forced {
    char src[16], tgt[16];
    int line;
    golden_ids ids;     /* code, pieces, </s> */
    golden_floats logp; /* of all but the code */
} golden_forced;

typedef struct golden_tensor {
    char kind[16], src[16], tgt[16];
    int line, step; /* step 0 predicts what follows the code */
    int rows, cols;
    float *at;
} golden_tensor;

typedef struct golden {
    golden_source *sources;
    golden_row *greedy, *beam4;
    golden_forced *forced;
    golden_tensor *tensors;
    float *values; /* of all tensors */
    int n_sources, n_greedy, n_beam4, n_forced, n_tensors;
} golden;

/* golden_open - reads a folder. A file that is absent or malformed ends the process with a sentence: there is
 * nothing to test then. */
void golden_open(golden *g, const char *dir);
void golden_close(golden *g);

const golden_source *golden_find_source(const golden *g, const char *lang, int line);

#endif

/* bench_random.h - random sentences through a model's engine, for benches: ids cost what a text of that length costs. */
#ifndef DGM_LAUNCH_BENCH_RANDOM_H
#define DGM_LAUNCH_BENCH_RANDOM_H

#include "launch/session.h"

enum {
    DGM_BENCH_CASES = 16, /* numbers in --batch, at most */
    DGM_BENCH_PROMPT =
        2 /* ids that a target begins with: start token and language code; its length counts them */
};

typedef struct dgm_bench_random {
    dgm_options o; /* the command's, with a model named */
    dgm_session session;
    int batch[DGM_BENCH_CASES], n_cases; /* --batch */
    int32_t *source;                     /* o.src_tokens ids, of the sentence in hand */
    bool forced; /* targets are random ids too, fed one a step: rows differ as those of a text do */
    int32_t *target; /* o.tgt_tokens ids, of the sentence in hand */
} dgm_bench_random;

/* dgm_bench_read_batches - the numbers of --batch, batch [DGM_BENCH_CASES], from 1 to `most`. DGM_EUSAGE. */
int dgm_bench_read_batches(int *batch, int *n_cases, int most, const char *list);

/* dgm_bench_random_init - takes the options, names the demonstration model if none is, reads --batch: DGM_EUSAGE. */
int dgm_bench_random_init(dgm_bench_random *r, const dgm_options *o);

/* dgm_bench_random_prepare - after the session was joined: checks lengths against the model. DGM_EUSAGE, DGM_ENOMEM. */
int dgm_bench_random_prepare(dgm_bench_random *r);

/* dgm_bench_random_limits - an engine that holds the largest batch, with targets of up to max_target ids. */
int dgm_bench_random_limits(dgm_engine_config *cfg, const dgm_bench_random *r, int max_target);

/* dgm_bench_random_submit - sentence `line`, always the same ids, to be translated to exactly `length` ids, into language
 * line mod o.targets. */
int dgm_bench_random_submit(const dgm_bench_random *r, int line, int length);

/* dgm_bench_random_close - leaves the job with rc and frees; the process's exit code. */
int dgm_bench_random_close(dgm_bench_random *r, int rc);

#endif

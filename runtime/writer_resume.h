/*
 * writer_resume.h - how far a stopped job got, beside its output: FILE.part.state.
 *
 * The state says which options and model the lines came from, how many of the input's lines are done, a hash over those
 * lines, and how many were flagged. A job that is started again with all of that equal goes on there; with anything else
 * it starts anew and says so.
 */
#ifndef DGM_RUNTIME_WRITER_RESUME_H
#define DGM_RUNTIME_WRITER_RESUME_H

#include "runtime/writer.h"

typedef struct dgm_resume {
    bool on;             /* the first output is a FILE.part */
    char *path;          /* FILE.part.state */
    uint64_t job;        /* options, model and shape of the output, as one hash */
    uint64_t lines;      /* of the input that are done */
    uint64_t input_hash; /* over those lines (dgm_resume_hash) */
    uint64_t flagged;    /* of those lines */
    uint64_t next;       /* lines that the outputs hold whole: go on behind them (>= lines) */
    double saved_s;
} dgm_resume;

/*
 * dgm_resume_open - outputs [n] belong together; outputs[i] gets per_line[i] lines for one of the input. Reads the state
 * and finds `next`; 0 with a message when what is there belongs to another job. DGM_EOUTPUT, DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_resume_open(dgm_resume *r, uint64_t job, dgm_writer *const *outputs,
                                   const int *per_line, int n);
void dgm_resume_close(dgm_resume *r);

/* dgm_resume_keep - cuts the outputs behind `lines` of the input. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_resume_keep(const dgm_resume *r, uint64_t lines, dgm_writer *const *outputs,
                                   const int *per_line, int n);

/* dgm_resume_save - writes the state (atomically). dgm_resume_forget removes it: the job is done. */
DGM_MUST_CHECK int dgm_resume_save(dgm_resume *r, uint64_t lines, uint64_t input_hash,
                                   uint64_t flagged);
void dgm_resume_forget(const dgm_resume *r);

/* dgm_resume_hash - one more line of input into the hash over the lines before it (0 at the beginning). */
uint64_t dgm_resume_hash(uint64_t before, const char *text, size_t len);

#endif

/*
 * calibrate.h - a text through the model, and what enters its matrices on the way: the moments that quantising with
 * feedback needs (moments.h, feedback.h).
 *
 * A line of the text is `source code TAB target code TAB sentence`. Each sentence is translated once, greedily; then, pass
 * after pass, sentences and these translations go through the model again, teacher-forced, while the moments of as many
 * matrices as fit into the memory given are summed. One process. What comes out depends on model and text alone: not on
 * memory, threads or instruction set.
 */
#ifndef DGM_RUNTIME_CALIBRATE_H
#define DGM_RUNTIME_CALIBRATE_H

#include "runtime/model.h"
#include "runtime/moments.h"

typedef struct dgm_calibration dgm_calibration;

typedef struct dgm_calibration_config {
    const char *text; /* file */
    uint64_t
        memory_bytes; /* for moments; at least one matrix's are held; 0: half of what the machine has left */
    const dgm_kernels *kern;
    dgm_pool *pool;
} dgm_calibration_config;

typedef struct dgm_calibration_facts {
    uint64_t hash;          /* XXH3 of the lines, each with its newline */
    uint64_t lines, tokens; /* tokens: ids of sources and, once translated, of targets */
    int matrices, passes;   /* passes: once planned */
} dgm_calibration_facts;

/*
 * dgm_calibration_open - reads and checks the text; keeps its ids. `m` is opened and not loaded yet. DGM_EINPUT names the
 * line that is not as above, of an unknown language, or too long for the model; DGM_EMODEL from the tokeniser.
 */
DGM_MUST_CHECK int dgm_calibration_open(dgm_calibration **out, dgm_model *m,
                                        const dgm_calibration_config *cfg);
void dgm_calibration_close(dgm_calibration *c);

/* dgm_calibration_want - moments of `w`, a matrix of the model, will be asked for: all of them before the first is. */
DGM_MUST_CHECK int dgm_calibration_want(dgm_calibration *c, const dgm_packed *w);

/*
 * dgm_calibration_next - the moments of the next matrix wanted, in their order; valid until the call after. The first call
 * loads the model and translates, and now and then a call runs the text. DGM_ENOMEM, DGM_EMODEL, DGM_ENAN.
 */
DGM_MUST_CHECK int dgm_calibration_next(const dgm_moments **out, dgm_calibration *c);

dgm_calibration_facts dgm_calibration_get_facts(const dgm_calibration *c);

#endif

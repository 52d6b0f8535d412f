/* golden_model.h - a model loaded on one rank, for the golden tests. */
#ifndef DGM_TESTS_GOLDEN_MODEL_H
#define DGM_TESTS_GOLDEN_MODEL_H

#include "base/pool.h"
#include "comm/comm.h"
#include "kernels/kernels.h"
#include "runtime/model.h"

typedef struct golden_model {
    dgm_comm *comm;
    dgm_pool *pool;
    dgm_kernels kern;
    dgm_model *model;
} golden_model;

/* golden_model_open - the local backend, two threads, the instruction set that DGM_ISA names or the best. */
DGM_MUST_CHECK int golden_model_open(golden_model *g, const char *dir);
void golden_model_close(golden_model *g);

#endif

#include "tests/golden/golden_model.h"

#include "base/fpenv.h"

#include <stdlib.h>

int golden_model_open(golden_model *g, const char *dir)
{
    const dgm_comm_config local = {.backend = "local", .stall_ms = 2000, .deadline_ms = 60000};
    const dgm_model_options options = {.source_order = -1};
    *g = (golden_model){0};
    dgm_fpenv_set();
    DGM_TRY(dgm_kernels_select(&g->kern, getenv("DGM_ISA")));
    DGM_TRY(dgm_comm_open(&g->comm, &local));
    DGM_TRY(dgm_pool_create(&g->pool, 2));
    DGM_TRY(dgm_model_open(&g->model, dir, &options));
    return dgm_model_load(g->model, 0, 1, true, NULL);
}

void golden_model_close(golden_model *g)
{
    dgm_model_close(g->model);
    dgm_pool_destroy(g->pool);
    dgm_comm_close(g->comm);
    *g = (golden_model){0};
}

#include "launch/bench_cuda.h"
#include "launch/bench_exchange.h"
#include "launch/bench_experts.h"
#include "launch/bench_kernels.h"
#include "launch/bench_layers.h"
#include "launch/bench_pruning.h"
#include "launch/bench_routing.h"
#include "launch/bench_sparse.h"
#include "launch/commands.h"

#include <string.h>

int dgm_cmd_bench(const dgm_options *o)
{
    const char *what = o->n_args > 0 ? o->args[0] : "";
    if (strcmp(what, "kernels") == 0)
        return dgm_bench_kernels(o);
    if (strcmp(what, "exchange") == 0)
        return dgm_bench_exchange(o);
    if (strcmp(what, "layers") == 0)
        return dgm_bench_layers(o);
    if (strcmp(what, "experts") == 0)
        return dgm_bench_experts(o);
    if (strcmp(what, "pruning") == 0)
        return dgm_bench_pruning(o);
    if (strcmp(what, "sparse") == 0)
        return dgm_bench_sparse(o);
    if (strcmp(what, "routing") == 0)
        return dgm_bench_routing(o);
    if (strcmp(what, "cuda") == 0)
        return dgm_bench_cuda(o);
    return dgm_command_end(dgm_fail(DGM_EUSAGE,
                                    "bench: want kernels, exchange, layers, experts, pruning, "
                                    "routing, sparse or cuda, found '%s'",
                                    what));
}

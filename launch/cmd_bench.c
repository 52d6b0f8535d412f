#include "launch/bench.h"
#include "launch/bench_cuda.h"
#include "launch/bench_exchange.h"
#include "launch/bench_experts.h"
#include "launch/bench_layers.h"
#include "launch/bench_pruning.h"
#include "launch/bench_routing.h"
#include "launch/commands.h"

#include <stdio.h>
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
    if (strcmp(what, "routing") == 0)
        return dgm_bench_routing(o);
    if (strcmp(what, "cuda") == 0)
        return dgm_bench_cuda(o);
    (void)fprintf(
        stderr,
        "dragoman: bench: want kernels, exchange, layers, experts, pruning, routing or cuda, "
        "found '%s'\n",
        what);
    return dgm_exit_code(DGM_EUSAGE);
}

/* compare_gates A B - statistics of the same directions: equal places, sums of weights within 1e-6 a token. 0: they are. */
#include "runtime/gate_stats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int wrong;

static void compare(const dgm_gate_stats *a, const dgm_gates_run *x, const dgm_gates_run *y)
{
    if (memcmp(x->tokens, y->tokens, sizeof x->tokens) != 0)
        wrong += printf("%s-%s: other numbers of tokens\n", x->src, x->tgt);
    for (int l = 0; l < a->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &a->shape.layers[l];
        const double most = (double)x->tokens[layer->stack] * 1e-6 * DGM_GATES_ONE;
        for (int i = 0; i < layer->n_experts; i++)
            for (int k = 0; k < (x->gated && y->gated ? DGM_GATES_SUMS : DGM_GATES_GATE); k++) {
                const size_t e = layer->first + (size_t)i;
                const bool places =
                    k == DGM_GATES_TOP1 || k == DGM_GATES_TOP2 || k == DGM_GATES_RANK;
                if (fabs((double)x->sum[k][e] - (double)y->sum[k][e]) > (places ? 0 : most))
                    wrong += printf("%s-%s: sum %d of expert %d in layer %d: %llu and %llu\n",
                                    x->src, x->tgt, k, i, l, (unsigned long long)x->sum[k][e],
                                    (unsigned long long)y->sum[k][e]);
            }
    }
}

int main(int argc, char **argv)
{
    dgm_gate_stats a, b;
    if (argc != 3 || dgm_gates_read(&a, argv[1]) != DGM_OK ||
        dgm_gates_read(&b, argv[2]) != DGM_OK) {
        (void)printf("%s\n", dgm_error_text());
        return 2;
    }
    if (a.n_runs != b.n_runs || a.n_runs == 0 || !dgm_moe_shape_equal(&a.shape, &b.shape))
        wrong += printf("%d and %d runs, or other layers\n", a.n_runs, b.n_runs);
    for (int i = 0; wrong == 0 && i < a.n_runs; i++)
        compare(&a, &a.runs[i], &b.runs[i]);
    dgm_gates_fini(&a);
    dgm_gates_fini(&b);
    return wrong > 0;
}

/*
 * extract.h - the sub-network of some tasks of a model that is routed by task, as a model of its own: `dragoman extract`.
 *
 * A task has the same two experts for all rows of a layer, and gates that follow from two logits. So the new model has in
 * these layers the experts of its tasks alone, numbered anew, and for each task the gates as two f32 (routing.h, routing_gates)
 * where the router was: the same translations to the bit. A stack that is routed by token or sentence keeps all its experts.
 * Folded, the two experts become one dense FFN of twice the width. Source: arXiv 2110.03742, section 3.2; docs/adr/0018.
 */
#ifndef DGM_RUNTIME_EXTRACT_H
#define DGM_RUNTIME_EXTRACT_H

#include "kernels/kernels.h"
#include "runtime/model_copy.h"

/* What tasks use of one MoE layer. */
typedef struct dgm_extract_layer {
    int stack, index;   /* which layer of its stack */
    int n;              /* experts */
    int16_t *experts;   /* [n] ascending, numbers in the source */
    int16_t (*pair)[2]; /* [n_tasks] numbers in the new model, best first; second -1: one expert */
    float (*gate)[2];   /* [n_tasks] */
} dgm_extract_layer;

typedef struct dgm_extraction {
    const dgm_model *m; /* opened, not loaded; outlives it */
    int n_tasks;
    int *tasks; /* [n_tasks] ascending, rows in the source */
    struct dgm_keep
        *keep; /* of a model that was cut: its sets, which a task's experts depend on; else NULL */
    int n_layers;
    dgm_extract_layer *layers; /* of the stacks that are routed by task, encoder first */
} dgm_extraction;

/*
 * dgm_extraction_init - what `tasks` [n] (of m, each once) use of m. Reads the tables of logits. DGM_EMODEL with the
 * reason where no stack is routed by task, or where a model was cut (runtime/cut.h) so that a task has other experts from one
 * language than from another; DGM_EUSAGE for a task that it was not cut for.
 */
DGM_MUST_CHECK int dgm_extraction_init(dgm_extraction *x, const dgm_model *m, const int *tasks,
                                       int n, const dgm_kernels *kern);
void dgm_extraction_fini(dgm_extraction *x);

/* dgm_extraction_layer - of layer `layer` (encoder, then decoder); NULL: it stays as it is. */
const dgm_extract_layer *dgm_extraction_layer(const dgm_extraction *x, int layer);

/* dgm_extraction_most - experts of the layer of `stack` that has most; those of the source where the stack stays as it is. */
int dgm_extraction_most(const dgm_extraction *x, int stack);

typedef struct dgm_extract_report {
    uint64_t bytes_before, bytes_after; /* of weight files */
    /* of experts, and of what they were folded into */
    uint64_t experts_before[DGM_STACKS], experts_after[DGM_STACKS];
} dgm_extract_report;

/* dgm_extract_write - the new model as directory `out`, which appears when it is whole; in the source's form, packed or
 * Hugging Face's. DGM_EMODEL for a checksum that does not fit, DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_extract_write(dgm_extract_report *report, const dgm_extraction *x,
                                     const char *out, dgm_copy_progress progress, void *ctx);

/*
 * dgm_extract_fold - the same of one task, its experts merged: fc1 = [a; b], fc2 = [g_a * c * a, g_b * c * b], with
 * c = 1 - moe_token_dropout, rounded once to f32. Dense layers of such a stack get zeros up to the same width, since a
 * configuration has one. Where no mixture of experts is left, the model becomes an m2m_100. DGM_EMODEL for a packed source;
 * DGM_EUSAGE for more than one task.
 */
DGM_MUST_CHECK int dgm_extract_fold(dgm_extract_report *report, const dgm_extraction *x,
                                    const char *out, dgm_copy_progress progress, void *ctx);

/* dgm_extract_finish - all but the weights, then the new model appears. folded: its FFNs are as many times as wide; 0: not folded.
 * DGM_EMODEL, DGM_ENOMEM, DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_extract_finish(uint64_t *bytes, dgm_model_copy *copy,
                                      const dgm_extraction *x, int folded);

/* dgm_extract_all_dense - nothing that is folded leaves a mixture of experts. */
bool dgm_extract_all_dense(const dgm_extraction *x);

#endif

/*
 * sparsify.h - a model written anew with weights of its attention and feed-forward matrices set to zero: `dragoman sparsify`.
 *
 *   read      sparsify_text.h    a parallel text
 *   look      sparsify_pass.h    what enters each matrix, by language (sparsify_stats.h)
 *   share     sparsify_layers.h  how sparse each layer becomes
 *   choose    sparsify_score.h   which weights go
 *   write     sparsify_write.h
 *
 * Layers are pruned one after the other, encoder first, each by what reaches it through those in front of it as they are pruned. So
 * the text goes through the model once for each layer, and once more before where layers share unequally. Pruned are q, k, v, out
 * of all attentions and both matrices of all feed-forward networks, experts among them; never routers, embedding, norms, biases.
 *
 * An expert is judged by the rows that were routed to it. One that no row reached is pruned by magnitude, and bears on
 * no layer's worth. The bytes that come out depend on model, text and options: not on threads or instruction set. One process, which holds
 * the model.
 */
#ifndef DGM_RUNTIME_SPARSIFY_H
#define DGM_RUNTIME_SPARSIFY_H

#include "runtime/history.h"
#include "runtime/sparsify_pass.h"

enum dgm_sparsify_method { DGM_BY_MAGNITUDE, DGM_BY_WANDA, DGM_BY_OWL, DGM_AFTER_M_WANDA };

/* dgm_sparsify_method_name - "magnitude", "wanda", "owl", "m-wanda". */
const char *dgm_sparsify_method_name(enum dgm_sparsify_method method);

typedef struct dgm_sparsify_options {
    enum dgm_sparsify_method method;
    double sparsity;     /* of all that is pruned, weighted by parameters; 0 .. 1 */
    dgm_n_of_m pattern;  /* m > 0: instead of sparsity, the same in all layers */
    dgm_score_rule rule; /* after M-Wanda */
    double tau;          /* likewise: an input fires above it */
    double spread; /* of layers' sparsity (sparsify_layers.h): OWL's 2 lambda, or after M-Wanda */
    double owl_m;  /* OWL's M */
    uint64_t shard_bytes;    /* largest weight file; 0: 4 GiB */
    dgm_parallel_text *text; /* NULL: magnitude */
    int samples;             /* for config.json: how the text was drawn */
    uint64_t seed;
    bool self;
    const dgm_kernels *kern;
    dgm_pool *pool;
} dgm_sparsify_options;

typedef struct dgm_sparsify_layer {
    double worth; /* outliers in %, or 1 - correlation of languages; 0 where layers share alike */
    double sparsity; /* wanted */
    uint64_t zeros, params;
} dgm_sparsify_layer;

typedef struct dgm_sparsify_report {
    uint64_t bytes_before, bytes_after; /* of weight files */
    int n_layers, n_matrices,
        n_unreached; /* encoder and decoder; unreached: experts' matrices that no row entered */
    dgm_sparsify_layer *layers; /* [n_layers] malloc'ed */
    dgm_zeros zeros;
} dgm_sparsify_report;

void dgm_sparsify_report_free(dgm_sparsify_report *report);

/* Told now and then how many of the sentences of all passes are through, and how many tokens they had. ctx may be NULL. */
typedef void (*dgm_sparsify_progress)(void *ctx, uint64_t sentences, uint64_t total,
                                      uint64_t tokens);

/*
 * dgm_sparsify - writes `in` (opened, not loaded; checksums are checked when it is loaded, whatever its options say) as directory `out`, which
 * appears when it is whole. `in` is left with its weights pruned, good for closing only. DGM_EMODEL for a weight that is not a number,
 * DGM_ENAN, DGM_ENOMEM, DGM_EOUTPUT. Free *report in any case.
 */
DGM_MUST_CHECK int dgm_sparsify(dgm_sparsify_report *report, dgm_model *in, const char *out,
                                const dgm_sparsify_options *opt, dgm_sparsify_progress progress,
                                void *ctx);

#endif

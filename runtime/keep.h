/*
 * keep.h - which experts each language keeps: keep files.
 *
 * A set belongs to a stack and has a name: a language (encoder: of the source, decoder: of the target), a pair as
 * `eng_Latn-deu_Latn`, or `*` for all. A direction uses its pair's set, else its language's, else that of `*`.
 */
#ifndef DGM_RUNTIME_KEEP_H
#define DGM_RUNTIME_KEEP_H

#include "runtime/moe_shape.h"

enum { DGM_KEEP_NAME = 128 };

typedef struct dgm_keep_set {
    char name[DGM_KEEP_NAME];
    uint8_t *kept; /* [shape.n_experts] 1: kept; 0 outside the set's stack */
} dgm_keep_set;

typedef struct dgm_keep {
    uint64_t model; /* hash; 0: any model of the shape */
    dgm_moe_shape shape;
    dgm_keep_set *sets[DGM_STACKS]; /* [n], by name */
    int n[DGM_STACKS];
} dgm_keep;

/* dgm_keep_init, dgm_keep_init_of - without sets, of a model's configuration or its layers. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_keep_init(dgm_keep *k, const dgm_model_config *c, uint64_t model);
DGM_MUST_CHECK int dgm_keep_init_of(dgm_keep *k, const dgm_moe_shape *shape, uint64_t model);
void dgm_keep_fini(dgm_keep *k);

/* dgm_keep_add - a set of `stack`, of which kept [shape.n_experts] is copied as far as the stack goes; replaces one of the
 * same name. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_keep_add(dgm_keep *k, int stack, const char *name, const uint8_t *kept);

/* dgm_keep_named - the set of that very name, or NULL. */
const dgm_keep_set *dgm_keep_named(const dgm_keep *k, int stack, const char *name);
/* dgm_keep_find - the set of a direction in a stack; NULL if there is none. */
const dgm_keep_set *dgm_keep_find(const dgm_keep *k, int stack, const char *src, const char *tgt);

/* dgm_keep_list - the names of a stack's sets for a sentence, "ces_Latn, deu_Latn, ..."; cut at `size`. */
void dgm_keep_list(char *text, size_t size, const dgm_keep *k, int stack);

/* dgm_keep_count - experts that a set keeps. */
int dgm_keep_count(const dgm_keep *k, const dgm_keep_set *set);
/* dgm_keep_jaccard - of two sets: experts in both over experts in either; 1 when both are empty. */
double dgm_keep_jaccard(const dgm_keep *k, const dgm_keep_set *a, const dgm_keep_set *b);
/* dgm_keep_among - name is one of names [n], or n is 0. */
bool dgm_keep_among(const char *name, const char *const *names, int n);

/* How a stack's sets overlap. */
typedef struct dgm_keep_overlap {
    int n_sets, experts;      /* of the stack */
    int all_union, all_share; /* kept by any of the sets, and by every one */
    double mean, least, most; /* Jaccard over the pairs of sets; 1 where there is none */
} dgm_keep_overlap;

/* dgm_keep_compare - of those sets whose names are among names [n], or all when n is 0. */
dgm_keep_overlap dgm_keep_compare(const dgm_keep *k, int stack, const char *const *names, int n);

/*
 * dgm_keep_read - a keep file for a model of configuration c. `model`: its hash, 0 if unknown. DGM_EINPUT with one
 * sentence: not JSON, another model, an unknown layer or expert, a layer with fewer experts than a token needs.
 */
DGM_MUST_CHECK int dgm_keep_read(dgm_keep *k, const char *path, const dgm_model_config *c,
                                 uint64_t model);

/* dgm_keep_read_of - the same; a file of model `other` is as good. */
DGM_MUST_CHECK int dgm_keep_read_of(dgm_keep *k, const char *path, const dgm_model_config *c,
                                    uint64_t model, uint64_t other);

/* dgm_keep_read_corpora - the texts whose statistics chose the sets of a keep file: *corpora [*n] is malloc'ed (the caller
 * frees); none when it does not say. DGM_EINPUT, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_keep_read_corpora(uint64_t **corpora, int *n, const char *path);

/* dgm_keep_read_shaped - likewise for a model whose layers and experts a token are known, as its statistics tell them. */
DGM_MUST_CHECK int dgm_keep_read_shaped(dgm_keep *k, const char *path, const dgm_moe_shape *shape,
                                        int top_k, uint64_t model);

/* dgm_keep_import - the lists that the authors of arXiv 2212.09811 released: an object, code -> ascending numbers of
 * experts, counted over the layers of the encoder, then of the decoder. DGM_EINPUT as above. */
DGM_MUST_CHECK int dgm_keep_import(dgm_keep *k, const char *path, const dgm_model_config *c,
                                   uint64_t model);

/* What a keep file says of its making; NULL and 0: nothing. */
typedef struct dgm_keep_origin {
    const char *options;     /* a JSON object */
    const uint64_t *corpora; /* [n] of the statistics */
    int n;
} dgm_keep_origin;

/* dgm_keep_write - atomic. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_keep_write(const dgm_keep *k, const char *path,
                                  const dgm_keep_origin *origin);

/*
 * dgm_keep_json - for programs, as one JSON object: what the sets named (all when n is 0) keep and share; with m->sets, the bytes
 * of weights in files and what each of `ranks` ranks of m would hold. *text is malloc'ed (the caller frees). DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_keep_json(char **text, const dgm_keep *k, const char *const *names, int n,
                                 const dgm_model *m, int ranks);

#endif

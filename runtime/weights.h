/*
 * weights.h - which tensor of the file goes where in the model, and the loading of a rank's part.
 *
 * One slot is one tensor: where its rows go, and which part of the model it belongs to. The list is made
 * once, when a model is opened; checking, loading, counting and quantising all walk it. Order: embedding, then layer
 * by layer; the tensors of one matrix follow one another, and so do those of an expert.
 */
#ifndef DGM_RUNTIME_WEIGHTS_H
#define DGM_RUNTIME_WEIGHTS_H

#include "base/arena.h"
#include "runtime/model.h"
#include "runtime/safetensors.h"

enum dgm_slot_form {
    DGM_SLOT_ROWS,   /* Hugging Face's [rows, k], or elements of a vector */
    DGM_SLOT_PANELS, /* packed, used where it lies: a whole matrix (kernels/pack.h), */
    DGM_SLOT_INDEX,  /* where its numbers stood, of a sparse one (kernels/sparse.h), */
    DGM_SLOT_STARTS, /* and how many come before each block, of a bitmap, */
    DGM_SLOT_SCALES, /* its scales, */
    DGM_SLOT_VECTOR  /* or a whole vector */
};

typedef struct dgm_slot {
    char name[192]; /* in our graph: self_attn.qkv_proj.weight for each of q, k, v */
    enum dgm_slot_form form;
    const dgm_tensor *tensor;
    dgm_packed *matrix;   /* [n, k]: this tensor's rows are outputs row0 .. of it; or */
    const float **vector; /* [n]: this tensor's elements are row0 .. of it */
    int n, row0, rows, k; /* k: 1 for a vector */
    enum dgm_part part;
    int layer;       /* of encoder, then decoder; -1: outside of layers */
    int moe, expert; /* -1, -1: dense */
} dgm_slot;

/* dgm_slot_has_weights - the tensor holds numbers of the model, rather than what is needed to read others. */
static inline bool dgm_slot_has_weights(const dgm_slot *s)
{
    return s->form == DGM_SLOT_ROWS || s->form == DGM_SLOT_PANELS || s->form == DGM_SLOT_VECTOR;
}

/* What dgm_model keeps to itself. */
struct dgm_model_files {
    dgm_tensors *tensors;
    dgm_slot *slots;
    size_t n_slots, cap_slots;
    int n_moe;         /* MoE layers, encoder then decoder */
    dgm_arena dense;   /* dense weights (not when they are mapped) and positions */
    dgm_arena experts; /* those of this rank, each from a page on */
    enum dgm_verify verify;
    bool loaded;
};

/* dgm_weights_bind - finds every tensor that m->cfg asks for, checks type and shape, makes m's layers and
 * the slots. DGM_EMODEL names the tensor that is missing, of another shape, or belongs to nothing. */
DGM_MUST_CHECK int dgm_weights_bind(dgm_model *m);

/* dgm_slot_check - the slot's tensor has the type, shape and place that its form asks for. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_slot_check(const dgm_tensors *t, const dgm_slot *s);

/* dgm_panels_shape - how the panels of [n, k] stand in a file: type and dims; returns how many dims. */
int dgm_panels_shape(const char **type, uint64_t dims[DGM_TENSOR_DIMS], dgm_wtype t, int n, int k);
/* dgm_panels_file_shape - the same of w with its pattern; a bitmap's one dimension is 0, for the shape does not say it.
 * dgm_index_file_shape, dgm_index_tail - of what says where its numbers stood: type and dims; how its name ends. */
int dgm_panels_file_shape(const char **type, uint64_t dims[DGM_TENSOR_DIMS], const dgm_packed *w);
int dgm_index_file_shape(const char **type, uint64_t dims[DGM_TENSOR_DIMS], const dgm_packed *w);
const char *dgm_index_tail(dgm_pattern p);
#define DGM_STARTS_TAIL ".starts"

/* dgm_slot_of_gates - of a layer whose experts by hand have gates, in f->slots. dgm_gates_check - each of those, gates
 * [s->n], weighs 0 to 1. DGM_EMODEL. */
const dgm_slot *dgm_slot_of_gates(const struct dgm_model_files *f, const dgm_layer *layer);
DGM_MUST_CHECK int dgm_gates_check(const dgm_model *m, const dgm_slot *s, const float *gates);

/* dgm_slot_map - the sparse matrix whose panels are slot s, pointing into the files, without scales. DGM_EMODEL where an index
 * and its numbers do not fit together, which nothing reads afterwards. */
DGM_MUST_CHECK int dgm_slot_map(dgm_packed *out, const dgm_model *m, const dgm_slot *s);

/* dgm_slot_is_kept - sets of languages, if any, leave the expert that the slot is part of. They do not touch experts with gates
 * of their own. */
bool dgm_slot_is_kept(const dgm_model *m, const dgm_slot *s);

/* dgm_slot_is_mine - `rank` holds what the slot is part of. */
bool dgm_slot_is_mine(const dgm_model *m, const dgm_slot *s, int rank, bool dense);

/* dgm_weights_map - the packed counterpart of dgm_weights_load: matrices and vectors point into the files. */
DGM_MUST_CHECK int dgm_weights_map(dgm_model *m, int rank, bool dense, dgm_comm *comm);
/* dgm_slot_check_sum - compares a tensor's bytes with its checksum. DGM_EMODEL, also when it has none. */
DGM_MUST_CHECK int dgm_slot_check_sum(const dgm_model *m, const dgm_slot *s);

/* dgm_weights_load - packs the slots of `rank` under m->placement; see dgm_model_load. */
DGM_MUST_CHECK int dgm_weights_load(dgm_model *m, int rank, bool dense, dgm_comm *comm);
void dgm_weights_free(dgm_model *m);

/* dgm_weights_bytes - bytes that a slot's destination takes in memory, counted once for its fused parts. */
size_t dgm_weights_bytes(const dgm_slot *s);
/* dgm_weights_dense_bytes - memory of everything but the experts, positions included. */
size_t dgm_weights_dense_bytes(const dgm_model *m);
/* dgm_positions_bytes - memory of the sinusoid table. */
size_t dgm_positions_bytes(const dgm_model *m);
/* dgm_weights_verify - see dgm_model_verify. */
DGM_MUST_CHECK int dgm_weights_verify(const dgm_model *m);
/* dgm_positions_fill - the sinusoid table [rows, d]: row p is position p. */
void dgm_positions_fill(float *table, int rows, int d);

#endif

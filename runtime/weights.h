/*
 * weights.h - which tensor of the file goes where in the model, and the loading of a rank's part.
 *
 * One slot is one tensor: where its rows go, and which part of the model it belongs to. The list is made
 * once, when a model is opened; checking, loading and counting all walk it. Order: embedding, then layer
 * by layer; an expert's four tensors (fc1, fc2) follow one another.
 */
#ifndef DGM_RUNTIME_WEIGHTS_H
#define DGM_RUNTIME_WEIGHTS_H

#include "base/arena.h"
#include "runtime/model.h"
#include "runtime/safetensors.h"

typedef struct dgm_slot {
    const dgm_tensor *tensor;
    dgm_packed *matrix;   /* [n, k]: this tensor's rows are outputs row0 .. of it; or */
    const float **vector; /* [n]: this tensor's elements are row0 .. of it */
    int n, row0, rows, k; /* k: 1 for a vector */
    enum dgm_part part;
    int moe, expert; /* -1, -1: dense */
} dgm_slot;

/* What dgm_model keeps to itself. */
struct dgm_model_files {
    dgm_tensors *tensors;
    dgm_slot *slots;
    size_t n_slots, cap_slots;
    int n_moe;          /* MoE layers, encoder then decoder */
    dgm_arena dense;    /* dense weights and positions */
    dgm_arena *experts; /* [n_moe * most experts of a layer], those of this rank */
    bool loaded;
};

/* dgm_weights_bind - finds every tensor that m->cfg asks for, checks type and shape, makes m's layers and
 * the slots. DGM_EMODEL names the tensor that is missing, of another shape, or belongs to nothing. */
DGM_MUST_CHECK int dgm_weights_bind(dgm_model *m);

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

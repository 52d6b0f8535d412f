/*
 * gpu_experts.h - the experts of this rank in a GPU's memory, and their FFNs there.
 *
 * All of them are put there once, when the rank's weights are loaded; the bits are those of the CPU (kernels/device.h), so
 * ranks with and without a GPU may work together.
 */
#ifndef DGM_RUNTIME_GPU_EXPERTS_H
#define DGM_RUNTIME_GPU_EXPERTS_H

#include "kernels/device.h"
#include "runtime/model.h"

typedef struct dgm_gpu_experts dgm_gpu_experts;

/*
 * dgm_gpu_experts_open - copies the experts of `model` (loaded) that this rank holds to GPU `index` of `ops`; those whose
 * checksums are still to be compared are compared first. ops and model outlive it. Not collective; says dgm_comm_busy.
 * DGM_EUNSUPPORTED when they do not fit, DGM_EMODEL, DGM_EINTERNAL.
 */
DGM_MUST_CHECK int dgm_gpu_experts_open(dgm_gpu_experts **out, const dgm_device_ops *ops, int index,
                                        const dgm_model *model, dgm_comm *comm);
void dgm_gpu_experts_close(dgm_gpu_experts *g);

/* dgm_gpu_experts_name - of the GPU. */
const char *dgm_gpu_experts_name(const dgm_gpu_experts *g);

/* dgm_gpu_experts_room - memory for rows and results, n floats, that the GPU reaches by itself; NULL: none is left, and any
 * other will do. Valid until the next call. */
float *dgm_gpu_experts_room(dgm_gpu_experts *g, size_t n);

/*
 * dgm_gpu_experts_run - y [rows, d_model] = each row through its expert of MoE layer moe_layer. Rows stand in the order by
 * expert, those of expert e from first[e] to first[e + 1] (first [n_experts + 1]). y may be in->x. DGM_EINTERNAL.
 */
DGM_MUST_CHECK int dgm_gpu_experts_run(dgm_gpu_experts *g, float *y, const dgm_device_rows *in,
                                       int moe_layer, const int32_t *first, int n_experts,
                                       dgm_compute compute);

#endif

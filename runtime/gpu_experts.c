#include "runtime/gpu_experts.h"

#include "base/arena.h"
#include "kernels/sparse.h"

#include <stdlib.h>

/* One expert in device memory; NULL: not on this rank. */
typedef struct placed {
    const dgm_device_matrix *fc1, *fc2;
} placed;

struct dgm_gpu_experts {
    const dgm_device_ops *ops;
    dgm_device *dev;
    dgm_device_info info;
    dgm_kernels kern; /* the best there is: any gives the same panels */
    size_t bytes;
    int most;                /* experts of a layer */
    placed *placed;          /* [MoE layers, most] */
    dgm_device_expert *list; /* [most] of a call */
};

/* Called for each expert of this rank. */
typedef int visit(dgm_gpu_experts *g, const dgm_model *m, const dgm_layer *layer, int expert,
                  dgm_comm *comm);

static int each_expert(dgm_gpu_experts *g, const dgm_model *m, dgm_comm *comm, visit *fn)
{
    for (int s = 0; s < DGM_STACKS; s++)
        for (int l = 0; l < m->stack[s].n_layers; l++) {
            const dgm_layer *layer = &m->stack[s].layers[l];
            for (int e = 0; layer->sparse && e < layer->router.n; e++)
                if (layer->experts[e].fc1.w.data != NULL)
                    DGM_TRY(fn(g, m, layer, e, comm));
        }
    return DGM_OK;
}

static int add_bytes(dgm_gpu_experts *g, const dgm_model *m, const dgm_layer *layer, int expert,
                     dgm_comm *comm)
{
    (void)m, (void)comm;
    const dgm_ffn *ffn = &layer->experts[expert];
    g->bytes += g->ops->matrix_bytes(&ffn->fc1.w) + g->ops->matrix_bytes(&ffn->fc2.w);
    return DGM_OK;
}

/* put_matrix - a GPU takes dense panels: what is sparse is spread out on the way. */
static int put_matrix(dgm_gpu_experts *g, const dgm_device_matrix **to, const dgm_linear *l)
{
    dgm_packed dense = l->w;
    if (l->w.pattern == DGM_DENSE)
        return g->ops->put(g->dev, to, &l->w, l->b);
    const size_t bytes = dgm_packed_bytes(l->w.type, l->w.n, l->w.k);
    void *panels = dgm_reserve(bytes);
    if (panels == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu bytes of an expert", bytes);
    dgm_sparse_expand(&g->kern, panels, &l->w);
    dense.pattern = DGM_DENSE;
    dense.data = panels;
    const int rc = g->ops->put(g->dev, to, &dense, l->b);
    dgm_release(panels, bytes);
    return rc;
}

static int put(dgm_gpu_experts *g, const dgm_model *m, const dgm_layer *layer, int expert,
               dgm_comm *comm)
{
    const dgm_ffn *ffn = &layer->experts[expert];
    placed *to = &g->placed[layer->moe_index * g->most + expert];
    if (comm != NULL)
        dgm_comm_busy(comm, "copying experts to the GPU");
    if (dgm_model_is_unchecked(m, layer->moe_index, expert))
        DGM_TRY(dgm_model_check_expert(m, layer->moe_index, expert));
    DGM_TRY(put_matrix(g, &to->fc1, &ffn->fc1));
    return put_matrix(g, &to->fc2, &ffn->fc2);
}

static int widest(const dgm_model_config *c)
{
    int w = c->d_model;
    for (int s = 0; s < DGM_STACKS; s++)
        w = c->ffn_dim[s] > w ? c->ffn_dim[s] : w;
    return w;
}

static int moe_layers(const dgm_model *m)
{
    int n = 0;
    for (int s = 0; s < DGM_STACKS; s++)
        for (int l = 0; l < m->stack[s].n_layers; l++)
            n += m->stack[s].layers[l].sparse;
    return n;
}

static int open_filled(dgm_gpu_experts *g, int index, const dgm_model *m, dgm_comm *comm)
{
    g->most = dgm_config_most_experts(&m->cfg);
    g->placed = calloc((size_t)(moe_layers(m) * g->most) + 1, sizeof *g->placed);
    g->list = calloc((size_t)g->most + 1, sizeof *g->list);
    if (g->placed == NULL || g->list == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a list of experts");
    if (comm != NULL)
        dgm_comm_busy(comm, "opening the GPU");
    DGM_TRY(g->ops->open(&g->dev, index));
    DGM_TRY(g->ops->info(g->dev, &g->info));
    DGM_TRY(each_expert(g, m, comm, add_bytes));
    DGM_TRY(g->ops->reserve(g->dev, g->bytes, widest(&m->cfg)));
    return each_expert(g, m, comm, put);
}

int dgm_gpu_experts_open(dgm_gpu_experts **out, const dgm_device_ops *ops, int index,
                         const dgm_model *model, dgm_comm *comm)
{
    dgm_gpu_experts *g = calloc(1, sizeof *g);
    if (g == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for experts on a GPU");
    g->ops = ops;
    int rc = dgm_kernels_select(&g->kern, NULL);
    if (rc == DGM_OK)
        rc = open_filled(g, index, model, comm);
    if (rc != DGM_OK) {
        dgm_gpu_experts_close(g);
        return rc;
    }
    *out = g;
    return DGM_OK;
}

void dgm_gpu_experts_close(dgm_gpu_experts *g)
{
    if (g == NULL)
        return;
    g->ops->close(g->dev);
    free(g->placed);
    free(g->list);
    free(g);
}

const char *dgm_gpu_experts_name(const dgm_gpu_experts *g)
{
    return g->info.name;
}

float *dgm_gpu_experts_room(dgm_gpu_experts *g, size_t n)
{
    return g->ops->room(g->dev, n * sizeof(float));
}

int dgm_gpu_experts_run(dgm_gpu_experts *g, float *y, const dgm_device_rows *in, int moe_layer,
                        const int32_t *first, int n_experts, dgm_compute compute)
{
    int n = 0;
    for (int e = 0; e < n_experts; e++) {
        const placed *p = &g->placed[moe_layer * g->most + e];
        if (first[e + 1] == first[e])
            continue;
        DGM_ASSERT(p->fc1 !=
                   NULL); /* else the placement sent us a row of an expert that lives elsewhere */
        g->list[n++] = (dgm_device_expert){p->fc1, p->fc2, first[e + 1] - first[e]};
    }
    return g->ops->ffn(g->dev, y, in, g->list, n, compute);
}

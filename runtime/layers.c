#include "runtime/layers.h"

#include "runtime/moe.h"

/* Where the rows of a half are. */
typedef struct run {
    const dgm_forward *f;
    const dgm_stack *stack;
    const char *stage;
    int away; /* the sparse layer whose results have not come home; -1: none */
} run;

static int come_home(const run *r, const dgm_half *halves, int i)
{
    if (r->away < 0)
        return DGM_OK;
    dgm_comm_at(r->f->comm, r->stage, r->away);
    return dgm_moe_end(r->f->moe, i, r->f, halves[i].x);
}

static int leave(const run *r, const dgm_half *b, int i, const dgm_layer *layer)
{
    const dgm_forward *f = r->f;
    const size_t mark = dgm_arena_mark(f->step);
    float *h =
        dgm_arena_push(f->step, (size_t)b->rows * (size_t)f->model->cfg.d_model * sizeof(float));
    const int64_t began = dgm_stage_begin(f->clock);
    if (b->rows > 0)
        dgm_block_norm(f, h, b->x, &layer->ffn_norm, b->rows);
    dgm_stage_end(f->clock, DGM_STAGE_ROUTER, began, 0, 0); /* the rest is on the clock there */
    const int rc = dgm_moe_begin(f->moe, i, f, h, layer, b->rows, b->first);
    dgm_arena_pop(f->step, mark);
    return rc;
}

/* Up to where the rows leave, if the layer is sparse. */
static int first_part(const run *r, const dgm_half *b, int i, int l, dgm_attend_fn attend)
{
    const dgm_layer *layer = &r->stack->layers[l];
    dgm_comm_at(r->f->comm, r->stage, l);
    if (b->rows > 0)
        attend(r->f, b, l);
    if (layer->sparse)
        return leave(r, b, i, layer);
    if (b->rows > 0)
        dgm_block_ffn(r->f, b->x, layer, b->rows);
    return DGM_OK;
}

int dgm_layers_run(const dgm_forward *f, int stack, const char *stage, const dgm_half *halves,
                   int n, dgm_attend_fn attend)
{
    run r = {.f = f, .stack = &f->model->stack[stack], .stage = stage, .away = -1};
    for (int l = 0; l < r.stack->n_layers; l++) {
        const dgm_layer *layer = &r.stack->layers[l];
        for (int i = 0; i < n; i++) {
            DGM_TRY(come_home(&r, halves, i));
            DGM_TRY(first_part(&r, &halves[i], i, l, attend));
        }
        for (int i = 0; layer->sparse && i < n; i++)
            DGM_TRY(dgm_moe_serve(f->moe, i, f, layer));
        r.away = layer->sparse ? l : -1;
    }
    for (int i = 0; i < n; i++)
        DGM_TRY(come_home(&r, halves, i));
    return DGM_OK;
}

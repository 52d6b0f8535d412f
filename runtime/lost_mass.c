#include "runtime/lost_mass.h"

#include "base/arena.h"
#include "runtime/moe_shape.h"

#include <stdlib.h>
#include <string.h>

/* Of one layer over some tokens. */
typedef struct total {
    double sum;
    float most;
} total;

struct dgm_lost_mass {
    int layers[DGM_STACKS];
    int beam, positions;
    float *tokens, *rows; /* [tokens, layers], [slots, positions, beam, layers]; reserved */
    size_t token_bytes, row_bytes;
    total *sources; /* [slots, encoder layers] */
    int *lengths;   /* [slots] tokens of each encoding */
    total *path;    /* [decoder layers], of the line at hand */
};

static int count_layers(dgm_lost_mass *l, const dgm_model *m)
{
    dgm_moe_shape shape;
    DGM_TRY(dgm_moe_shape_init(&shape, &m->cfg));
    for (int i = 0; i < shape.n_layers; i++)
        l->layers[shape.layers[i].stack]++;
    dgm_moe_shape_fini(&shape);
    return DGM_OK;
}

int dgm_lost_mass_create(dgm_lost_mass **out, const dgm_model *m, int tokens, int slots, int beam,
                         int positions)
{
    dgm_lost_mass *l = calloc(1, sizeof *l);
    if (l == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for what is lost of gates");
    *out = l;
    l->beam = beam;
    l->positions = positions;
    DGM_TRY(count_layers(l, m));
    const size_t enc = (size_t)l->layers[DGM_ENCODER], dec = (size_t)l->layers[DGM_DECODER],
                 n = (size_t)slots + 1;
    l->token_bytes = ((size_t)tokens * enc + 1) * sizeof(float);
    l->row_bytes = (n * (size_t)positions * (size_t)beam * dec + 1) * sizeof(float);
    l->tokens = dgm_reserve(l->token_bytes);
    l->rows = dgm_reserve(l->row_bytes);
    l->sources = calloc(n * enc + 1, sizeof *l->sources);
    l->lengths = calloc(n, sizeof *l->lengths);
    l->path = calloc(dec + 1, sizeof *l->path);
    if (l->tokens == NULL || l->rows == NULL || l->sources == NULL || l->lengths == NULL ||
        l->path == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot reserve %zu bytes; lower --batch-rows",
                        l->token_bytes + l->row_bytes);
    return DGM_OK;
}

void dgm_lost_mass_destroy(dgm_lost_mass *l)
{
    if (l == NULL)
        return;
    dgm_release(l->tokens, l->token_bytes);
    dgm_release(l->rows, l->row_bytes);
    free(l->sources);
    free(l->lengths);
    free(l->path);
    free(l);
}

float *dgm_lost_mass_token(const dgm_lost_mass *l, int token)
{
    return l->tokens + (size_t)token * (size_t)l->layers[DGM_ENCODER];
}

float *dgm_lost_mass_row(const dgm_lost_mass *l, int slot, int position, int row)
{
    const size_t at = ((size_t)slot * (size_t)l->positions + (size_t)position) * (size_t)l->beam;
    return l->rows + (at + (size_t)row) * (size_t)l->layers[DGM_DECODER];
}

void dgm_absent_add(dgm_absent *sum, const dgm_absent *part)
{
    sum->sum += part->sum;
    sum->n += part->n;
    sum->most = part->most > sum->most ? part->most : sum->most;
    if (part->n > 0 && part->worst_mean > sum->worst_mean) {
        sum->worst_mean = part->worst_mean;
        sum->worst = part->worst;
    }
}

static void add(total *t, const float *lost, int layers)
{
    for (int i = 0; i < layers; i++) {
        t[i].sum += (double)lost[i];
        t[i].most = lost[i] > t[i].most ? lost[i] : t[i].most;
    }
}

void dgm_lost_mass_source(dgm_lost_mass *l, int memory, int first, int n)
{
    const size_t layers = (size_t)l->layers[DGM_ENCODER];
    total *t = l->sources + (size_t)memory * layers;
    memset(t, 0, layers * sizeof *t);
    l->lengths[memory] = n;
    for (int i = 0; i < n; i++)
        add(t, dgm_lost_mass_token(l, first + i), (int)layers);
}

/* join - a stack's layers over n tokens; `before` layers come in front of them. */
static void join(dgm_absent *a, const total *t, int layers, int n, int before)
{
    for (int i = 0; i < layers && n > 0; i++) {
        const double mean = t[i].sum / n;
        a->sum += t[i].sum;
        a->n += n;
        a->most = t[i].most > a->most ? t[i].most : a->most;
        if (mean > a->worst_mean) {
            a->worst_mean = mean;
            a->worst = before + i;
        }
    }
}

dgm_absent dgm_lost_mass_path(const dgm_lost_mass *l, int memory, int slot, const uint8_t *rows,
                              int n)
{
    const int enc = l->layers[DGM_ENCODER], dec = l->layers[DGM_DECODER];
    dgm_absent a = {.worst = -1};
    memset(l->path, 0, (size_t)dec * sizeof *l->path);
    for (int p = 0; p < n; p++)
        add(l->path, dgm_lost_mass_row(l, slot, p, rows == NULL ? 0 : rows[p]), dec);
    join(&a, l->sources + (size_t)memory * (size_t)enc, enc, l->lengths[memory], 0);
    join(&a, l->path, dec, n, enc);
    return a;
}

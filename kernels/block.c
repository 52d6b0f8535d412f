#include "kernels/block.h"

#include "kernels/ahead.h"

enum {
    BLOCK_K = 256,             /* a panel of weights [BLOCK_K][16] is half of L1 */
    IN_PLACE_BYTES = 256 << 10 /* weights up to this stay in L2 while rows pass by */
};

bool dgm_block_in_place(const dgm_kernels *kern, int rows, int n, int k)
{
    return rows <= kern->thin_rows || dgm_packed_bytes(DGM_W_F32, n, k) <= IN_PLACE_BYTES;
}

size_t dgm_block_packed_bytes(int rows, int k)
{
    return (size_t)(rows + DGM_MAX_TILE_ROWS - 1) * (size_t)k * sizeof(float);
}

/* step_of - k is walked in steps as even as can be. */
static int step_of(int k)
{
    const int steps = (k + BLOCK_K - 1) / BLOCK_K;
    return (k + steps - 1) / steps;
}

void dgm_block_pack(float *dst, const float *const *src, int n_rows, int tile_rows, int k, int tile,
                    int n_tiles)
{
    const size_t tr = (size_t)tile_rows;
    const int step = step_of(k);
    for (int i = 0; i < k; i += step) {
        const int part = k - i < step ? k - i : step;
        float *to = dst + tr * ((size_t)i * (size_t)n_tiles + (size_t)tile * (size_t)part);
        for (int r = 0; r < tile_rows; r++)
            for (int j = 0; j < part; j++)
                to[(size_t)j * tr + (size_t)r] = r < n_rows ? src[r][i + j] : 0.0f;
    }
}

static void chain_in_place(const dgm_kernels *kern, float *acc, size_t ld, const dgm_block_rows *x,
                           const float *w, int k, int n_panels)
{
    for (int r = 0; r < x->rows; r += kern->thin_rows) {
        const int rows = x->rows - r < kern->thin_rows ? x->rows - r : kern->thin_rows;
        kern->gemm_rows(acc + (size_t)r * ld, ld, x->x + (size_t)r * x->ldx, x->ldx, w,
                        (size_t)DGM_PANEL * (size_t)k, k, rows, n_panels);
    }
}

static void chain_tiles(const dgm_kernels *kern, float *acc, size_t ld, const dgm_block_rows *x,
                        const float *w, int k, int n_panels)
{
    const int tr = kern->tile_rows, tiles = (x->rows + tr - 1) / tr, step = step_of(k);
    const size_t stride = (size_t)DGM_PANEL * (size_t)k;
    for (int i = 0; i < k; i += step) {
        const int part = k - i < step ? k - i : step;
        const size_t tile_floats = (size_t)part * (size_t)tr;
        const float *xi =
            x->x + (size_t)i * (size_t)(x->n_tiles * tr) + (size_t)x->tile * tile_floats;
        for (int p = 0; p < n_panels; p += kern->tile_panels) {
            const int np = n_panels - p < kern->tile_panels ? n_panels - p : kern->tile_panels;
            const float *panel = w + (size_t)p * stride + (size_t)i * DGM_PANEL;
            for (int t = 0; t < tiles; t++) {
                const int rows = x->rows - t * tr < tr ? x->rows - t * tr : tr;
                const dgm_ahead ahead =
                    dgm_ahead_of(panel, stride, part, np, n_panels - p, t, tiles);
                kern->gemm_tile(acc + (size_t)(t * tr) * ld + (size_t)p * DGM_PANEL, ld,
                                xi + (size_t)t * tile_floats, panel, stride, part, rows, np, i == 0,
                                &ahead);
            }
        }
    }
}

void dgm_block_chain(const dgm_kernels *kern, float *acc, size_t ld, const dgm_block_rows *x,
                     const dgm_packed *w, int panel, int n_panels)
{
    const float *from = (const float *)w->data + (size_t)panel * DGM_PANEL * (size_t)w->k;
    if (x->packed)
        chain_tiles(kern, acc, ld, x, from, w->k, n_panels);
    else
        chain_in_place(kern, acc, ld, x, from, w->k, n_panels);
}

#include "runtime/kvcache.h"

#include <string.h>
#include <sys/mman.h>

/* One number of lines that no cache's sets divide: the same place of two chunks should not fall on the same set. */
enum { APART_LINES = 67, LINE_FLOATS = 16 };

static size_t chunk_floats(const dgm_kvpool *p, int layers)
{
    const size_t unit = 2 * (size_t)p->hd, apart = (size_t)APART_LINES * LINE_FLOATS;
    return (size_t)layers * p->layer + (apart + unit - 1) / unit * unit;
}

static int init_lists(dgm_kvpool *p, size_t n_lists, size_t n_chunks)
{
    DGM_TRY(dgm_arena_init(&p->lists, 2 * dgm_arena_align(n_chunks * sizeof *p->free) +
                                          dgm_arena_align(n_lists * sizeof *p->held)));
    p->held = dgm_arena_push(&p->lists, n_lists * sizeof *p->held);
    p->chunks = dgm_arena_push(&p->lists, n_chunks * sizeof *p->chunks);
    p->free = dgm_arena_push(&p->lists, n_chunks * sizeof *p->free);
    p->n_free = (int)n_chunks;
    for (int i = 0; i < p->n_free; i++) /* the lowest is taken first */
        p->free[i] = p->n_free - 1 - i;
    return DGM_OK;
}

/* most_rows: of a slot, in bands of `rows`. */
static int init_pool(dgm_kvpool *p, const dgm_model *m, int n_slots, int rows, int most_rows,
                     int max_positions, bool bf16)
{
    const int heads = m->cfg.n_heads[DGM_DECODER];
    *p = (dgm_kvpool){.rows = rows,
                      .bands = (most_rows + rows - 1) / rows,
                      .heads = heads,
                      .hd = m->cfg.d_model / heads,
                      .bf16 = bf16};
    p->per_slot = (max_positions + DGM_KV_POSITIONS - 1) / DGM_KV_POSITIONS;
    p->head = 2 * (size_t)p->hd * DGM_KV_POSITIONS * (size_t)rows;
    p->layer = (size_t)heads * p->head;
    p->chunk = chunk_floats(p, m->cfg.n_layers[DGM_DECODER]);
    const size_t n_lists = (size_t)n_slots * (size_t)p->bands,
                 n_chunks = n_lists * (size_t)p->per_slot;
    p->bytes = n_chunks * p->chunk * dgm_kv_bytes(p);
    int rc = init_lists(p, n_lists, n_chunks);
    if (rc == DGM_OK && n_chunks * (p->chunk / (2 * (size_t)p->hd)) <= INT32_MAX)
        p->base = dgm_reserve(p->bytes);
    if (rc == DGM_OK && p->base == NULL)
        rc = dgm_fail(
            DGM_ENOMEM,
            "key-value cache: cannot reserve %zu bytes for %d sentences; lower --batch-rows",
            p->bytes, n_slots);
    if (rc == DGM_OK)
        (void)madvise(p->base, p->bytes, MADV_HUGEPAGE);
    return rc;
}

static void fini_pool(dgm_kvpool *p)
{
    dgm_release(p->base, p->bytes);
    dgm_arena_fini(&p->lists);
    *p = (dgm_kvpool){0};
}

int dgm_kvcache_init(dgm_kvcache *c, const dgm_model *m, const dgm_kv_limits *most, bool bf16)
{
    const int slots = most->slots > 0 ? most->slots : 1;
    *c = (dgm_kvcache){0};
    int rc = init_pool(&c->self, m, slots, most->rows, most->most_rows, most->max_target, bf16);
    if (rc == DGM_OK)
        rc = init_pool(&c->cross, m, slots, 1, 1, most->max_source, bf16);
    if (rc != DGM_OK)
        dgm_kvcache_fini(c);
    return rc;
}

void dgm_kvcache_fini(dgm_kvcache *c)
{
    fini_pool(&c->self);
    fini_pool(&c->cross);
}

void dgm_kv_grow(dgm_kvpool *p, int slot, int n, int row)
{
    const int list = slot * p->bands + row / p->rows;
    int32_t *held = &p->held[list];
    DGM_ASSERT(n <= p->per_slot * DGM_KV_POSITIONS && row < p->bands * p->rows);
    while (*held * DGM_KV_POSITIONS < n)
        p->chunks[list * p->per_slot + (*held)++] = p->free[--p->n_free];
}

void dgm_kv_drop(dgm_kvpool *p, int slot)
{
    for (int list = (slot + 1) * p->bands; list-- > slot * p->bands;)
        while (p->held[list] > 0)
            p->free[p->n_free++] = p->chunks[list * p->per_slot + --p->held[list]];
}

static void put_bf16(uint16_t *to, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = dgm_bf16_round(x[i]);
}

void dgm_kv_put(const dgm_kvpool *p, int layer, int32_t index, const float *k, const float *v)
{
    const size_t hd = (size_t)p->hd;
    for (size_t h = 0; h < (size_t)p->heads; h++, k += hd, v += hd) {
        const size_t at = h * p->head + (size_t)index * 2 * hd;
        if (p->bf16) {
            uint16_t *to = (uint16_t *)dgm_kv_at(p, layer) + at;
            put_bf16(to, k, hd);
            put_bf16(to + hd, v, hd);
        } else {
            float *to = (float *)dgm_kv_at(p, layer) + at;
            memcpy(to, k, hd * sizeof *k);
            memcpy(to + hd, v, hd * sizeof *v);
        }
    }
}

/*
 * kvcache.h - keys and values of sentences that are being decoded, in chunks of 16 positions.
 *
 * A chunk holds all layers and heads of its positions, [layer][head][position][row][2 hd] (k, then v), and belongs to
 * one sentence at a time; free chunks are reused last in, first out. So what is in use lies together in huge pages
 * however long sentences may become (docs/adr/0008).
 *
 * Self-attention has a row for each hypothesis. A hypothesis is a path through the rows, so beams reorder by index and
 * nothing is copied. A chunk is as wide as the usual beam; a sentence with a wider one has bands of chunks side by side.
 * Cross-attention has one row, computed once and shared by all targets of a line.
 */
#ifndef DGM_RUNTIME_KVCACHE_H
#define DGM_RUNTIME_KVCACHE_H

#include "base/arena.h"
#include "runtime/model.h"

enum { DGM_KV_POSITIONS = 16 };

typedef struct dgm_kvpool {
    char *base; /* f32, or bf16 */
    size_t bytes;
    bool bf16;
    size_t head, layer, chunk; /* strides in elements; chunk is a multiple of 2 hd */
    int rows, hd, heads;       /* rows: of a chunk */
    int per_slot, bands;       /* most chunks of a band; bands of rows of a slot */
    int32_t *chunks, *held; /* [n_slots][bands][per_slot] by position; [n_slots][bands] how many */
    int32_t *free;          /* [n_free] the next one last */
    int n_free;
    dgm_arena lists;
} dgm_kvpool;

/* A sentence has a slot in `self`; an encoding has one in `cross`. */
typedef struct dgm_kvcache {
    dgm_kvpool self, cross;
} dgm_kvcache;

typedef struct dgm_kv_limits {
    int slots;           /* sentences, and encodings; 0: one */
    int rows, most_rows; /* hypotheses of most sentences, and of any */
    int max_target, max_source;
} dgm_kv_limits;

/* dgm_kvcache_init - bf16: rounded to the nearest, ties to even. Reserves address space; memory is used as far as positions
 * are. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_kvcache_init(dgm_kvcache *c, const dgm_model *m, const dgm_kv_limits *most,
                                    bool bf16);
void dgm_kvcache_fini(dgm_kvcache *c);

/* dgm_kv_grow - the slot holds positions 0 .. n - 1 of `row` and of those in a chunk with it. */
void dgm_kv_grow(dgm_kvpool *p, int slot, int n, int row);
/* dgm_kv_drop - the slot holds nothing. */
void dgm_kv_drop(dgm_kvpool *p, int slot);

/* dgm_kv_at - layer l of the pool, head 0; element i of it is dgm_kv_bytes(p) * i further. */
static inline size_t dgm_kv_bytes(const dgm_kvpool *p)
{
    return p->bf16 ? 2 : 4;
}

static inline char *dgm_kv_at(const dgm_kvpool *p, int layer)
{
    return p->base + (size_t)layer * p->layer * dgm_kv_bytes(p);
}

/*
 * dgm_kv_index - where a position's row stands, in units of 2 hd: its k in head h of a layer is element
 * h * head + index * 2 hd, and its v is hd behind.
 */
static inline int32_t dgm_kv_index(const dgm_kvpool *p, int slot, int pos, int row)
{
    const int band = row < p->rows ? 0 : row / p->rows, list = slot * p->bands + band;
    const int32_t chunk = p->chunks[list * p->per_slot + pos / DGM_KV_POSITIONS];
    return chunk * (int32_t)(p->chunk / (2 * (size_t)p->hd)) + pos % DGM_KV_POSITIONS * p->rows +
           (row - band * p->rows);
}

/* dgm_kv_put - k, v [heads][hd] of layer `layer` to where `index` says. */
void dgm_kv_put(const dgm_kvpool *p, int layer, int32_t index, const float *k, const float *v);

#endif

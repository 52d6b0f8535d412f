/*
 * Work is cut into units of (chunk of rows, block of ids). A thread computes a unit's logits into a buffer of its
 * own, keeps (m_b, s_b) of each row and block, and the best candidates of each row that it has seen in a heap.
 * A second region folds the blocks and merges the heaps, row by row: nothing in it depends on who computed what.
 */
#include "kernels/vocab.h"

#include "kernels/block.h"
#include "kernels/math.h"

#include <math.h>
#include <string.h>

enum {
    CHUNK_ROWS = 96,      /* logits of a unit: at most 96 x 2048, 768 KiB */
    UNITS_PER_THREAD = 4, /* fewer units than this a thread: smaller chunks, for balance */
    BLOCK_PANELS = DGM_VOCAB_BLOCK / DGM_PANEL,
    POOL_WORK = 64 * 1024 /* below this many fma a region costs more than it gains */
};

/* A candidate; a heap of them has the worst on top. */
typedef struct cand {
    float logit;
    int32_t id;
} cand;

typedef struct region {
    const dgm_kernels *kern;
    dgm_vocab_row *rows;
    const dgm_packed *w;
    dgm_block_rows x;
    float *plain;   /* [n_rows, k]: x where it is read as it is */
    float *wide;    /* [n_threads][DGM_BLOCK_WIDE] */
    float *acc;     /* [n_threads][CHUNK_ROWS][DGM_VOCAB_BLOCK] */
    int32_t *found; /* [n_threads][DGM_VOCAB_BLOCK] */
    cand *heaps;    /* [n_threads][n_rows][max_best] */
    int *n_held;    /* [n_threads][n_rows] */
    float *m, *s;   /* [n_rows][n_blocks] */
    int n_rows, n_blocks, n_chunks, chunk, max_best, n_heaps;
} region;

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

static bool better(cand a, cand b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void sift_down(cand *h, int n, int i)
{
    const cand c = h[i];
    for (int child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && better(h[child], h[child + 1]))
            child++;
        if (!better(c, h[child]))
            break;
        h[i] = h[child];
    }
    h[i] = c;
}

/* offer - c into the heap of the best `cap`. */
static void offer(cand *h, int *n, int cap, cand c)
{
    if (*n == cap) {
        if (better(c, h[0])) {
            h[0] = c;
            sift_down(h, cap, 0);
        }
        return;
    }
    int i = (*n)++;
    for (; i > 0 && better(h[(i - 1) / 2], c); i = (i - 1) / 2)
        h[i] = h[(i - 1) / 2];
    h[i] = c;
}

/* below - the largest float that is less than x, which is not -INFINITY. */
static float below(float x)
{
    uint32_t bits;
    if (x == 0)
        return -0x1p-149f;
    memcpy(&bits, &x, sizeof bits);
    bits += x > 0 ? -1u : 1u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* at_least - what at least `cap` logits of a block reach: the cap-th of its lanes' maxima; -INFINITY: cannot tell. */
static float at_least(const float *top, int cap)
{
    float best[DGM_LANES]; /* [n] the largest first */
    int n = 0;
    if (cap < 1 || cap > DGM_LANES)
        return -INFINITY;
    for (int i = 0; i < DGM_LANES; i++) {
        if (n == cap && !(top[i] > best[n - 1]))
            continue;
        int at = n < cap ? n++ : n - 1;
        for (; at > 0 && top[i] > best[at - 1]; at--)
            best[at] = best[at - 1];
        best[at] = top[i];
    }
    return best[cap - 1];
}

/* scan - offers the logits of ids first .. first + n to a row's heap; most fail at a threshold. top: of block_max_sum. */
static void scan(const region *g, cand *h, int *held, int cap, int32_t *found, const float *logits,
                 const float *top, int first, int n)
{
    float threshold = -INFINITY;
    int i = 0;
    if (*held < cap)
        threshold = at_least(top, cap);
    if (threshold > -INFINITY) {
        threshold = below(threshold);
    } else {
        for (; i < n && *held < cap; i++)
            offer(h, held, cap, (cand){logits[i], first + i});
        if (i == n || cap == 0)
            return;
        threshold =
            h[0].logit; /* ids ascend, so an equal logit comes too late: strictly above is right */
    }
    const int hits = g->kern->above(found, logits + i, threshold, n - i);
    for (int f = 0; f < hits; f++)
        offer(h, held, cap, (cand){logits[i + found[f]], first + i + found[f]});
}

static void row_unit(const region *g, int part, int r, int block, const float *logits, int n)
{
    dgm_vocab_row *row = &g->rows[r];
    const int first = block * DGM_VOCAB_BLOCK;
    float *m = &g->m[(size_t)r * (size_t)g->n_blocks + (size_t)block];
    float *s = &g->s[(size_t)r * (size_t)g->n_blocks + (size_t)block];
    float top[DGM_LANES];
    g->kern->block_max_sum(m, s, top, logits, n);
    if (row->full != NULL)
        memcpy(row->full + first, logits, (size_t)n * sizeof *logits);
    if (row->want_id >= first && row->want_id < first + n)
        row->want_logit = logits[row->want_id - first];
    if (*m != *m)
        return;
    const int cap = min_int(row->n_best, g->w->n);
    const size_t heap = (size_t)part * (size_t)g->n_rows + (size_t)r;
    cand *const held = g->heaps + heap * (size_t)g->max_best;
    if (g->n_held[heap] == cap && (cap == 0 || *m <= held[0].logit))
        return;
    scan(g, held, &g->n_held[heap], cap, g->found + (size_t)part * DGM_VOCAB_BLOCK, logits, top,
         first, n);
}

static void unit(const region *g, int part, int chunk, int block)
{
    float *acc = g->acc + (size_t)part * CHUNK_ROWS * DGM_VOCAB_BLOCK;
    float *wide = g->wide + (size_t)part * DGM_BLOCK_WIDE;
    const int row = chunk * g->chunk, first = block * DGM_VOCAB_BLOCK;
    const int n = min_int(DGM_VOCAB_BLOCK, g->w->n - first);
    const int rows = min_int(g->chunk, g->n_rows - row);
    dgm_block_chain(g->kern, acc, DGM_VOCAB_BLOCK, &g->x, row, rows, block * BLOCK_PANELS,
                    (n + DGM_PANEL - 1) / DGM_PANEL, wide);
    for (int r = 0; r < rows; r++) {
        float *logits = acc + (size_t)r * DGM_VOCAB_BLOCK;
        if (g->w->type == DGM_W_INT8 || g->w->type == DGM_W_INT4)
            dgm_block_finish(g->kern, logits, logits, &g->x, row + r, first, n, NULL, NULL, 0);
        row_unit(g, part, row + r, block, logits, n);
    }
}

/* scan_part - the units whose middle lies in this thread's share of all rows x ids. */
static void scan_part(void *ctx, int part, int n_parts)
{
    const region *g = ctx;
    const int64_t total = (int64_t)g->n_rows * g->w->n;
    const int64_t from = total * part / n_parts, to = total * (part + 1) / n_parts;
    memset(g->n_held + (size_t)part * (size_t)g->n_rows, 0, (size_t)g->n_rows * sizeof *g->n_held);
    int64_t start = 0;
    for (int c = 0; c < g->n_chunks; c++) {
        const int rows = min_int(g->chunk, g->n_rows - c * g->chunk);
        for (int b = 0; b < g->n_blocks; b++) {
            const int n = min_int(DGM_VOCAB_BLOCK, g->w->n - b * DGM_VOCAB_BLOCK);
            const int64_t work = (int64_t)rows * n, middle = start + work / 2;
            if (middle >= from && middle < to)
                unit(g, part, c, b);
            start += work;
        }
    }
}

/* fold - M, log S of a row; NaN in M if a logit is one. */
static void fold(const region *g, int r)
{
    const float *m = g->m + (size_t)r * (size_t)g->n_blocks;
    const float *s = g->s + (size_t)r * (size_t)g->n_blocks;
    float top = m[0], sum = 0.0f;
    for (int b = 1; b < g->n_blocks; b++)
        top = top != top || m[b] <= top ? top : m[b];
    for (int b = 0; b < g->n_blocks; b++)
        sum = sum + s[b] * dgm_exp(m[b] - top);
    g->rows[r].max = top;
    g->rows[r].log_sum = dgm_ln(sum);
}

/* merge - the best of all heaps of a row, best first. */
static void merge(const region *g, int r)
{
    dgm_vocab_row *row = &g->rows[r];
    const int cap = min_int(row->n_best, g->w->n);
    cand *h = g->heaps + (size_t)r * (size_t)g->max_best;
    int held = g->n_held[r];
    for (int t = 1; t < g->n_heaps; t++) {
        const size_t heap = (size_t)t * (size_t)g->n_rows + (size_t)r;
        for (int i = 0; i < g->n_held[heap]; i++)
            offer(h, &held, cap, g->heaps[heap * (size_t)g->max_best + (size_t)i]);
    }
    row->n_found = held;
    while (held > 0) { /* the worst goes last */
        const cand worst = h[0];
        h[0] = h[--held];
        sift_down(h, held, 0);
        row->ids[held] = worst.id;
        row->logits[held] = worst.logit;
    }
}

static void merge_part(void *ctx, int part, int n_parts)
{
    const region *g = ctx;
    int begin, end;
    dgm_pool_share(&begin, &end, g->n_rows, part, n_parts);
    for (int r = begin; r < end; r++) {
        fold(g, r);
        merge(g, r);
    }
}

/* chunk_rows - rows of a unit: a few units a thread at least, for their sizes differ. */
static int chunk_rows(const dgm_block_rows *x, int n_blocks, int n_threads)
{
    const int want = UNITS_PER_THREAD * n_threads, n_rows = x->rows, tr = x->tile_rows;
    int chunks = (n_rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
    if (n_threads > 1 && chunks * n_blocks < want)
        chunks = min_int((want + n_blocks - 1) / n_blocks, n_rows);
    const int rows = (n_rows + chunks - 1) / chunks;
    return rows <= tr && !x->packed ? rows
                                    : min_int((rows + tr - 1) / tr * tr, CHUNK_ROWS / tr * tr);
}

static void load_rows(const region *g)
{
    const size_t k = (size_t)g->w->k;
    for (int t = 0; t < g->x.n_tiles && g->x.copied; t++) {
        dgm_block_source from[DGM_MAX_TILE_ROWS];
        const int row = t * g->x.tile_rows, n = min_int(g->x.tile_rows, g->n_rows - row);
        for (int r = 0; r < n; r++)
            from[r] = (dgm_block_source){.x = g->rows[row + r].x};
        dgm_block_load(g->kern, &g->x, t, from);
    }
    for (int r = 0; r < g->n_rows && !g->x.copied; r++)
        memcpy(g->plain + (size_t)r * k, g->rows[r].x, k * sizeof *g->plain);
}

static int check(const region *g)
{
    for (int r = 0; r < g->n_rows; r++)
        if (g->rows[r].max != g->rows[r].max)
            return dgm_fail(DGM_ENAN, "vocabulary: row %d of %d: a logit is not a finite number", r,
                            g->n_rows);
    return DGM_OK;
}

int dgm_vocab(const dgm_kernels *kern, dgm_pool *pool, dgm_vocab_row *rows, int n_rows,
              const dgm_packed *w, dgm_compute compute, dgm_arena *scratch)
{
    if (n_rows == 0)
        return DGM_OK;
    const size_t mark = dgm_arena_mark(scratch), nr = (size_t)n_rows;
    dgm_pool *const many = (int64_t)n_rows * w->n * w->k < POOL_WORK ? NULL : pool;
    region g = {.kern = kern, .rows = rows, .w = w, .n_rows = n_rows};
    g.n_heaps = dgm_pool_size(many);
    g.n_blocks = (w->n + DGM_VOCAB_BLOCK - 1) / DGM_VOCAB_BLOCK;
    g.x = dgm_block_open(kern, scratch, n_rows, w, compute, NULL, 0);
    g.chunk = chunk_rows(&g.x, g.n_blocks, g.n_heaps);
    g.n_chunks = (n_rows + g.chunk - 1) / g.chunk;
    for (int r = 0; r < n_rows; r++)
        g.max_best = rows[r].n_best > g.max_best ? rows[r].n_best : g.max_best;
    g.max_best = min_int(g.max_best, w->n);

    const size_t heaps = (size_t)g.n_heaps;
    if (!g.x.copied) {
        g.plain = dgm_arena_push(scratch, nr * (size_t)w->k * sizeof *g.plain);
        g.x.x = g.plain;
        g.x.ldx = (size_t)w->k;
    }
    g.wide = dgm_arena_push(scratch, heaps * DGM_BLOCK_WIDE * sizeof *g.wide);
    g.acc = dgm_arena_push(scratch, heaps * CHUNK_ROWS * DGM_VOCAB_BLOCK * sizeof *g.acc);
    g.found = dgm_arena_push(scratch, heaps * DGM_VOCAB_BLOCK * sizeof *g.found);
    g.heaps = dgm_arena_push(scratch, heaps * nr * (size_t)g.max_best * sizeof *g.heaps);
    g.n_held = dgm_arena_push(scratch, heaps * nr * sizeof *g.n_held);
    g.m = dgm_arena_push(scratch, nr * (size_t)g.n_blocks * sizeof *g.m);
    g.s = dgm_arena_push(scratch, nr * (size_t)g.n_blocks * sizeof *g.s);
    load_rows(&g);
    dgm_pool_run(many, scan_part, &g);
    dgm_pool_run(many, merge_part, &g);
    const int rc = check(&g);
    dgm_arena_pop(scratch, mark);
    return rc;
}

size_t dgm_vocab_scratch_bytes(int n_rows, int max_best, int n_vocab, int k, int n_threads)
{
    const size_t nr = (size_t)n_rows, nt = (size_t)n_threads;
    const size_t blocks = (size_t)((n_vocab + DGM_VOCAB_BLOCK - 1) / DGM_VOCAB_BLOCK);
    const size_t best = (size_t)min_int(max_best, n_vocab);
    return dgm_arena_align(dgm_block_bytes(n_rows, k)) +
           dgm_arena_align(nt * DGM_BLOCK_WIDE * sizeof(float)) +
           dgm_arena_align(nt * CHUNK_ROWS * DGM_VOCAB_BLOCK * sizeof(float)) +
           dgm_arena_align(nt * DGM_VOCAB_BLOCK * sizeof(int32_t)) +
           dgm_arena_align(nt * nr * best * sizeof(cand)) + dgm_arena_align(nt * nr * sizeof(int)) +
           2 * dgm_arena_align(nr * blocks * sizeof(float));
}

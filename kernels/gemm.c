/*
 * Rows of a job are cut into blocks, the outputs of a block into panels; work is counted along (job, block, panel)
 * and each thread takes one stretch of that line. Within its stretch a thread computes groups of panels for a
 * block of rows into a buffer of its own, then finishes them into y: partial sums never stand in y, which may be
 * the residual.
 */
#include "kernels/gemm.h"

#include "kernels/block.h"

enum {
    BLOCK_ROWS = 192,  /* with a step of k (block.c), 192 KiB of x: L2 */
    GROUP_PANELS = 32, /* panels that share one pass over a block of x */
    LONG_GROUP = 128,  /* likewise for a few rows in place: a longer run of weights */
    ACC_FLOATS = BLOCK_ROWS * GROUP_PANELS * DGM_PANEL,
    GRANULE = 4,           /* panels: borders between threads leave whole tiles to both */
    READ_ROWS = 8,         /* reading weights costs about as much as computing 8 rows */
    POOL_WORK = 64 * 1024, /* below this many fma a region costs more than it gains */
    POOL_PACK = 32 * 1024  /* likewise, floats of x to pack */
};
_Static_assert(ACC_FLOATS >= DGM_MAX_TILE_ROWS * LONG_GROUP * DGM_PANEL, "a long group fits");

typedef struct region {
    const dgm_kernels *kern;
    const dgm_gemm_job *jobs;
    float **packed; /* [n_jobs] NULL: x is read in place */
    float *acc;     /* [n_threads][ACC_FLOATS] */
    int n_jobs;
    int64_t work; /* of all jobs */
} region;

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

static int panels_of(const dgm_packed *w)
{
    return (w->n + DGM_PANEL - 1) / DGM_PANEL;
}

/* block_rows - rows of a job's blocks (the last may be smaller): whole tiles, sizes as even as that allows. */
static int block_rows(const dgm_kernels *kern, int rows)
{
    const int blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    const int each = (rows + blocks - 1) / blocks;
    return min_int(BLOCK_ROWS, (each + kern->tile_rows - 1) / kern->tile_rows * kern->tile_rows);
}

static int64_t panel_work(const dgm_packed *w, int rows)
{
    return (int64_t)w->k * (rows + READ_ROWS);
}

static int64_t job_work(const dgm_kernels *kern, const dgm_gemm_job *job)
{
    if (job->rows == 0)
        return 0;
    const int each = block_rows(kern, job->rows), whole = job->rows / each;
    int64_t work = whole * panel_work(job->w, each);
    if (job->rows % each > 0)
        work += panel_work(job->w, job->rows % each);
    return work * panels_of(job->w);
}

static void pack_tiles(void *ctx, int part, int n_parts)
{
    const region *g = ctx;
    const int tr = g->kern->tile_rows;
    for (int j = 0; j < g->n_jobs; j++) {
        const dgm_gemm_job *job = &g->jobs[j];
        if (g->packed[j] == NULL)
            continue;
        const int tiles = (job->rows + tr - 1) / tr;
        int begin, end;
        dgm_pool_share(&begin, &end, tiles, part, n_parts);
        for (int t = begin; t < end; t++) {
            const int rows = min_int(tr, job->rows - t * tr);
            const float *src[DGM_MAX_TILE_ROWS];
            for (int r = 0; r < rows; r++)
                src[r] = job->x + (size_t)(t * tr + r) * job->ldx;
            dgm_block_pack(g->packed[j], src, rows, tr, job->w->k, t, tiles);
        }
    }
}

/* rows_of - rows [row, row + rows) of a job, as its x stands. */
static dgm_block_rows rows_of(const region *g, int j, int row, int rows)
{
    const dgm_gemm_job *job = &g->jobs[j];
    const int tr = g->kern->tile_rows;
    if (g->packed[j] != NULL)
        return (dgm_block_rows){.x = g->packed[j],
                                .rows = rows,
                                .packed = true,
                                .tile = row / tr,
                                .n_tiles = (job->rows + tr - 1) / tr};
    return (dgm_block_rows){.x = job->x + (size_t)row * job->ldx, .ldx = job->ldx, .rows = rows};
}

static void finish_row(const region *g, const float *acc, int j, int row, int col, int n)
{
    const dgm_gemm_job *job = &g->jobs[j];
    const size_t at = (size_t)row;
    g->kern->finish(job->y + at * job->ldy + col, acc, job->bias != NULL ? job->bias + col : NULL,
                    job->residual != NULL ? job->residual + at * job->ldr + col : NULL, job->relu,
                    n);
}

/* compute - rows [row, row + rows) of a job with panels [begin, end). */
static void compute(const region *g, float *acc, int j, int row, int rows, int begin, int end)
{
    const dgm_packed *w = g->jobs[j].w;
    const bool packed = g->packed[j] != NULL;
    const int step = packed ? rows : min_int(rows, g->kern->thin_rows);
    const int group = packed ? GROUP_PANELS : LONG_GROUP;
    for (int p = begin; p < end; p += group) {
        const int np = min_int(group, end - p), col = p * DGM_PANEL;
        const size_t ld = (size_t)np * DGM_PANEL;
        for (int r = 0; r < rows; r += step) {
            const dgm_block_rows x = rows_of(g, j, row + r, min_int(step, rows - r));
            dgm_block_chain(g->kern, acc, ld, &x, w, p, np);
            for (int i = 0; i < x.rows; i++)
                finish_row(g, acc + (size_t)i * ld, j, row + r + i, col,
                           min_int(np * DGM_PANEL, w->n - col));
        }
    }
}

/* first_panel - the first panel of a block, itself at `start`, that lies at or after `work` on the line. */
static int first_panel(int64_t work, int64_t start, int64_t each, int panels)
{
    if (work <= start)
        return 0;
    const int64_t p = ((work - start) / each + GRANULE - 1) / GRANULE * GRANULE;
    return p < panels ? (int)p : panels;
}

static void run_part(void *ctx, int part, int n_parts)
{
    const region *g = ctx;
    float *acc = g->acc + (size_t)part * ACC_FLOATS;
    const int64_t from = g->work * part / n_parts, to = g->work * (part + 1) / n_parts;
    int64_t start = 0;
    for (int j = 0; j < g->n_jobs && start < to; j++) {
        const dgm_gemm_job *job = &g->jobs[j];
        if (job->rows == 0)
            continue;
        const int panels = panels_of(job->w), step = block_rows(g->kern, job->rows);
        for (int row = 0; row < job->rows; row += step) {
            const int rows = min_int(step, job->rows - row);
            const int64_t each = panel_work(job->w, rows);
            const int begin = first_panel(from, start, each, panels);
            const int end = first_panel(to, start, each, panels);
            if (begin < end)
                compute(g, acc, j, row, rows, begin, end);
            start += each * panels;
        }
    }
}

void dgm_gemm(const dgm_kernels *kern, dgm_pool *pool, const dgm_gemm_job *jobs, int n_jobs,
              dgm_arena *scratch)
{
    const size_t mark = dgm_arena_mark(scratch);
    region g = {.kern = kern, .jobs = jobs, .n_jobs = n_jobs};
    int64_t to_pack = 0;
    g.packed = dgm_arena_push(scratch, (size_t)n_jobs * sizeof *g.packed);
    for (int j = 0; j < n_jobs; j++) {
        const dgm_gemm_job *job = &jobs[j];
        g.packed[j] = NULL;
        g.work += job_work(kern, job);
        if (job->rows == 0 || dgm_block_in_place(kern, job->rows, job->w->n, job->w->k))
            continue;
        g.packed[j] = dgm_arena_push(scratch, dgm_block_packed_bytes(job->rows, job->w->k));
        to_pack += (int64_t)job->rows * job->w->k;
    }
    dgm_pool *const many = g.work < POOL_WORK ? NULL : pool;
    g.acc = dgm_arena_push(scratch, (size_t)dgm_pool_size(many) * ACC_FLOATS * sizeof *g.acc);
    if (to_pack > 0)
        dgm_pool_run(to_pack < POOL_PACK ? NULL : pool, pack_tiles, &g);
    if (g.work > 0)
        dgm_pool_run(many, run_part, &g);
    dgm_arena_pop(scratch, mark);
}

size_t dgm_gemm_scratch_bytes(int rows, int n_jobs, int max_k, int max_n, int n_threads)
{
    (void)max_n; /* groups of panels bound the buffers */
    const size_t busy = (size_t)min_int(rows, n_jobs);
    const size_t packed = dgm_block_packed_bytes(rows, max_k) +
                          busy * (dgm_block_packed_bytes(0, max_k) + dgm_arena_align(1));
    return packed + (size_t)n_threads * ACC_FLOATS * sizeof(float) +
           dgm_arena_align((size_t)n_jobs * sizeof(const float *)) + dgm_arena_align(1);
}

/*
 * Rows of a job are cut into blocks, the outputs of a block into panels; work is counted along (job, block, panel)
 * and each thread takes one stretch of that line. Within its stretch a thread computes groups of panels for a
 * block of rows into a buffer of its own, then finishes them into y: partial sums never stand in y, which may be
 * the residual.
 */
#include "kernels/gemm.h"

#include "kernels/block.h"

enum {
    BLOCK_ROWS = 192,  /* with a step of k (block.c), 384 KiB of x, and as much of sums: L2 */
    GROUP_PANELS = 32, /* panels that share one pass over a block of x */
    LONG_GROUP = 128,  /* likewise for a few rows in place: a longer run of weights */
    ACC_FLOATS = BLOCK_ROWS * GROUP_PANELS * DGM_PANEL,
    THREAD_FLOATS = ACC_FLOATS + DGM_BLOCK_WIDE,
    GRANULE = 4,               /* panels: borders between threads leave whole tiles to both */
    READ_ROWS = 8,             /* reading f32 weights costs about as much as computing 8 rows */
    POOL_WORK = 8 * 64 * 1024, /* below 64 Ki fma a region costs more than it gains */
    POOL_LOAD = 32 * 1024      /* likewise, numbers of x to copy */
};
_Static_assert(ACC_FLOATS >= DGM_MAX_TILE_ROWS * LONG_GROUP * DGM_PANEL, "a long group fits");

typedef struct region {
    const dgm_kernels *kern;
    const dgm_gemm_job *jobs;
    dgm_block_rows *x; /* [n_jobs] */
    float *buffers;    /* [n_threads][ACC_FLOATS + DGM_BLOCK_WIDE] */
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
static int block_rows(const dgm_block_rows *x)
{
    const int blocks = (x->rows + BLOCK_ROWS - 1) / BLOCK_ROWS, tr = x->tile_rows;
    const int each = (x->rows + blocks - 1) / blocks;
    return min_int(BLOCK_ROWS, (each + tr - 1) / tr * tr);
}

/* panel_work - in eighths of what one fma a weight costs: reading weights by their bytes, then computing. */
static int64_t panel_work(const dgm_block_rows *x, int rows)
{
    const int64_t line = (int64_t)READ_ROWS * 8 / dgm_line_inputs(x->w->type);
    return x->w->k * (line + (int64_t)rows * (x->integers ? 2 : 8));
}

static int64_t job_work(const dgm_block_rows *x)
{
    const int each = block_rows(x), whole = x->rows / each;
    int64_t work = whole * panel_work(x, each);
    if (x->rows % each > 0)
        work += panel_work(x, x->rows % each);
    return work * panels_of(x->w);
}

static void load_tiles(void *ctx, int part, int n_parts)
{
    const region *g = ctx;
    for (int j = 0; j < g->n_jobs; j++) {
        const dgm_gemm_job *job = &g->jobs[j];
        const dgm_block_rows *x = &g->x[j];
        if (!x->copied)
            continue;
        int begin, end;
        dgm_pool_share(&begin, &end, x->n_tiles, part, n_parts);
        for (int t = begin; t < end; t++) {
            dgm_block_source from[DGM_MAX_TILE_ROWS];
            const size_t row = (size_t)t * (size_t)x->tile_rows;
            for (size_t r = row; r < (size_t)job->rows && r < row + (size_t)x->tile_rows; r++)
                if (job->q != NULL && x->integers)
                    from[r - row] =
                        (dgm_block_source){.q = job->q + r * job->ldq, .scale = job->q_scale[r]};
                else
                    from[r - row] = (dgm_block_source){.x = job->x + r * job->ldx};
            dgm_block_load(g->kern, x, t, from);
        }
    }
}

static void finish_row(const region *g, const float *acc, int j, int row, int col, int n)
{
    const dgm_gemm_job *job = &g->jobs[j];
    const size_t at = (size_t)row;
    dgm_block_finish(g->kern, job->y + at * job->ldy + col, acc, &g->x[j], row, col, n,
                     job->bias != NULL ? job->bias + col : NULL,
                     job->residual != NULL ? job->residual + at * job->ldr + col : NULL, job->relu);
}

/* compute - rows [row, row + rows) of a job with panels [begin, end). */
static void compute(const region *g, float *acc, int j, int row, int rows, int begin, int end)
{
    const dgm_block_rows *x = &g->x[j];
    const int step = x->packed ? rows : min_int(rows, x->thin_rows);
    const int group = x->packed ? GROUP_PANELS : LONG_GROUP;
    for (int p = begin; p < end; p += group) {
        const int np = min_int(group, end - p), col = p * DGM_PANEL;
        const size_t ld = (size_t)np * DGM_PANEL;
        for (int r = 0; r < rows; r += step) {
            const int n = min_int(step, rows - r);
            dgm_block_chain(g->kern, acc, ld, x, row + r, n, p, np, acc + ACC_FLOATS);
            for (int i = 0; i < n; i++)
                finish_row(g, acc + (size_t)i * ld, j, row + r + i, col,
                           min_int(np * DGM_PANEL, x->w->n - col));
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
    float *acc = g->buffers + (size_t)part * THREAD_FLOATS;
    const int64_t from = g->work * part / n_parts, to = g->work * (part + 1) / n_parts;
    int64_t start = 0;
    for (int j = 0; j < g->n_jobs && start < to; j++) {
        const dgm_gemm_job *job = &g->jobs[j];
        if (job->rows == 0)
            continue;
        const int panels = panels_of(job->w), step = block_rows(&g->x[j]);
        for (int row = 0; row < job->rows; row += step) {
            const int rows = min_int(step, job->rows - row);
            const int64_t each = panel_work(&g->x[j], rows);
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
    int64_t to_load = 0;
    g.x = dgm_arena_push(scratch, (size_t)n_jobs * sizeof *g.x);
    for (int j = 0; j < n_jobs; j++) {
        const dgm_gemm_job *job = &jobs[j];
        g.x[j] = (dgm_block_rows){.copied = false};
        if (job->rows == 0)
            continue;
        g.x[j] = dgm_block_open(kern, scratch, job->rows, job->w, job->compute, job->x, job->ldx);
        g.work += job_work(&g.x[j]);
        to_load += g.x[j].copied ? (int64_t)job->rows * job->w->k : 0;
    }
    dgm_pool *const many = g.work < POOL_WORK ? NULL : pool;
    g.buffers =
        dgm_arena_push(scratch, (size_t)dgm_pool_size(many) * THREAD_FLOATS * sizeof *g.buffers);
    if (to_load > 0)
        dgm_pool_run(to_load < POOL_LOAD ? NULL : pool, load_tiles, &g);
    if (g.work > 0)
        dgm_pool_run(many, run_part, &g);
    dgm_arena_pop(scratch, mark);
}

size_t dgm_gemm_scratch_bytes(int rows, int n_jobs, int max_k, int max_n, int n_threads)
{
    (void)max_n; /* groups of panels bound the buffers */
    const size_t busy = (size_t)min_int(rows, n_jobs);
    const size_t copies =
        dgm_block_bytes(rows, max_k) + busy * (dgm_block_bytes(0, max_k) + dgm_arena_align(1));
    return copies + (size_t)n_threads * THREAD_FLOATS * sizeof(float) +
           dgm_arena_align((size_t)n_jobs * sizeof(dgm_block_rows)) + dgm_arena_align(1);
}

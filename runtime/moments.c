#include "runtime/moments.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = DGM_MOMENTS_BLOCK, WAIT = DGM_MOMENTS_WAIT };

static size_t floats(int n)
{
    return dgm_moments_row(n, dgm_moments_padded(n) / BLOCK);
}

size_t dgm_moments_bytes(int n)
{
    return (floats(n) + (size_t)WAIT * (size_t)n) * sizeof(float);
}

size_t dgm_moments_scratch_bytes(int n, int n_threads)
{
    const size_t padded = dgm_moments_padded(n), blocks = padded / BLOCK;
    return 2 * padded * WAIT * sizeof(float) +
           blocks * (sizeof(dgm_gemm_job) + sizeof(dgm_packed)) +
           dgm_gemm_scratch_bytes((int)padded, (int)blocks, WAIT, (int)padded, n_threads) + 1024;
}

int dgm_moments_init(dgm_moments *m, int n)
{
    *m = (dgm_moments){.n = n};
    m->h = calloc(floats(n), sizeof *m->h);
    m->waiting = malloc((size_t)WAIT * (size_t)n * sizeof *m->waiting);
    if (m->h != NULL && m->waiting != NULL)
        return DGM_OK;
    dgm_moments_fini(m);
    return dgm_fail(DGM_ENOMEM, "out of memory for the moments of %d inputs", n);
}

void dgm_moments_fini(dgm_moments *m)
{
    free(m->h);
    free(m->waiting);
    *m = (dgm_moments){0};
}

/* transpose - the rows that wait as inputs by row [padded, k], and as panels of 16 inputs. */
static void transpose(const dgm_moments *m, float *inputs, float *panels)
{
    const size_t k = (size_t)m->n_waiting, n = (size_t)m->n, padded = dgm_moments_padded(m->n);
    for (size_t i = 0; i < padded; i++)
        for (size_t p = 0; p < k; p++) {
            const float x = i < n ? m->waiting[p * n + i] : 0;
            inputs[i * k + p] = x;
            panels[i / DGM_PANEL * k * DGM_PANEL + p * DGM_PANEL + i % DGM_PANEL] = x;
        }
}

void dgm_moments_end(dgm_moments *m, const dgm_moments_tools *t)
{
    const size_t padded = dgm_moments_padded(m->n), n_blocks = padded / BLOCK,
                 k = (size_t)m->n_waiting, mark = dgm_arena_mark(t->scratch);
    if (k == 0)
        return;
    float *inputs = dgm_arena_push(t->scratch, padded * k * sizeof *inputs);
    float *panels = dgm_arena_push(t->scratch, padded * k * sizeof *panels);
    dgm_gemm_job *jobs = dgm_arena_push(t->scratch, n_blocks * sizeof *jobs);
    dgm_packed *w = dgm_arena_push(t->scratch, n_blocks * sizeof *w);
    transpose(m, inputs, panels);
    for (size_t b = 0; b < n_blocks; b++) {
        const size_t first = b * BLOCK, width = padded - first;
        float *h = m->h + dgm_moments_row(m->n, b);
        w[b] = (dgm_packed){
            .n = (int)width, .k = (int)k, .type = DGM_W_F32, .data = panels + first * k};
        jobs[b] = (dgm_gemm_job){.x = inputs + first * k,
                                 .ldx = k,
                                 .y = h,
                                 .ldy = width,
                                 .w = &w[b],
                                 .residual = h,
                                 .ldr = width,
                                 .rows = BLOCK};
    }
    dgm_gemm(t->kern, t->pool, jobs, (int)n_blocks, t->scratch);
    m->n_waiting = 0;
    dgm_arena_pop(t->scratch, mark);
}

void dgm_moments_add(dgm_moments *m, const float *x, int rows, const dgm_moments_tools *t)
{
    const size_t n = (size_t)m->n;
    m->rows += (uint64_t)rows;
    for (int done = 0; done < rows;) {
        const int room = WAIT - m->n_waiting, some = rows - done < room ? rows - done : room;
        memcpy(m->waiting + (size_t)m->n_waiting * n, x + (size_t)done * n,
               (size_t)some * n * sizeof *x);
        m->n_waiting += some;
        done += some;
        if (m->n_waiting == WAIT)
            dgm_moments_end(m, t);
    }
}

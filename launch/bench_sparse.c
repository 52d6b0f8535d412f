/*
 * The four forms of a matrix are run in turns, each with its own copies, as many of each: cold, the dense ones are more
 * than a cache holds, warm, there is one. Shown is the median of the times of the dense form by those of the others. A
 * form that takes much longer than the dense one, as bitmaps do with AVX2, has fewer turns: it would take them from the
 * others.
 */
#include "launch/bench_sparse.h"

#include "kernels/gemm.h"
#include "kernels/sparse.h"
#include "launch/bench_median.h"
#include "launch/bench_random.h"
#include "launch/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    FORMS = 4,
    MOST_ROWS = 32,
    MOST_K = 4096,
    MOST_N = 4096,
    RUNS = 51,
    LEAST_RUNS = 5,
    MOST_COPIES = 256
};
static const size_t COLD_BYTES = (size_t)128 << 20;
static const double SECONDS = 0.3; /* of all forms of a case */
static const double SLOW = 0.5;    /* times as fast as dense: below, a form has LEAST_RUNS turns */

typedef struct shape {
    int n, k;
} shape;

typedef struct sort {
    const char *what;
    dgm_wtype type;
    dgm_compute compute;
} sort;

/* One form of a matrix, so many times. */
typedef struct copies {
    dgm_packed w[MOST_COPIES];
    void *memory;
    size_t bytes; /* of one copy, a multiple of 64 */
    size_t stored;
} copies;

typedef struct lab {
    dgm_kernels kern;
    dgm_arena scratch;
    float *x, *y;
    copies forms[FORMS];
    int n_copies, turn;
    int rows[DGM_BENCH_CASES], n_rows;
} lab;

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* half_of - weights of which half are zero, two of any four: every form can hold them. */
static void *half_of(const shape *s, dgm_wtype t)
{
    const size_t count = (size_t)s->n * (size_t)s->k;
    float *w = calloc(count, sizeof *w);
    uint32_t state = 1;
    for (size_t i = 0; w != NULL && i < count; i += 4) {
        const uint32_t first = next_random(&state) % 4, second = next_random(&state) % 3;
        const size_t at[] = {i + first, i + (first + 1 + second) % 4};
        for (int j = 0; j < 2; j++) {
            const int q = (int)(next_random(&state) % 127) + 1;
            if (t == DGM_W_INT8)
                ((int8_t *)w)[at[j]] = (int8_t)q;
            else
                w[at[j]] = (float)q / 128.0f;
        }
    }
    return w;
}

static void pack_dense(void *to, const void *w, const shape *s, dgm_wtype t)
{
    dgm_packed_clear(to, t, s->n, s->k);
    if (t == DGM_W_INT8)
        dgm_pack_integers(to, t, w, 0, s->n, s->k);
    else if (t == DGM_W_F32)
        dgm_pack(to, w, DGM_F32, 0, s->n, s->k);
    for (int r = 0; t == DGM_W_BF16 && r < s->n; r++) {
        uint16_t half[MOST_K];
        for (int i = 0; i < s->k; i++)
            half[i] = dgm_bf16_round(((const float *)w)[(size_t)r * (size_t)s->k + (size_t)i]);
        dgm_pack_bf16(to, half, r, 1, s->k);
    }
}

/* place - the parts of the copy at `at`: data, index, starts, scales, each from a multiple of 64 bytes on. */
static size_t place(dgm_packed *w, unsigned char *at, uint64_t values)
{
    const uint64_t panels = dgm_packed_panels(w->n),
                   scales = dgm_packed_scales(w->type, w->n, w->k, 0);
    const bool bitmap = w->pattern == DGM_BITMAP, dense = w->pattern == DGM_DENSE;
    const uint64_t index = dense ? 0 : panels * dgm_sparse_index_bytes(w->pattern, w->type, w->k),
                   starts = bitmap ? dgm_bitmap_starts(w->n, w->k) * sizeof *w->starts : 0,
                   data = dgm_sparse_bytes(w, values) - index - starts;
    size_t used = 0;
    const uint64_t parts[] = {data, index, starts, scales * sizeof(float)};
    const unsigned char *begin[4];
    for (int i = 0; i < 4; i++) {
        begin[i] = at + used;
        used += (parts[i] + 63) / 64 * 64;
    }
    w->data = begin[0];
    w->index = begin[1];
    w->starts = (const uint32_t *)(const void *)begin[2];
    w->scale = scales > 0 ? (const float *)(const void *)begin[3] : NULL;
    return used;
}

static int fill_form(lab *l, int f, const shape *s, const sort *t, const void *weights)
{
    copies *form = &l->forms[f];
    const size_t count = (size_t)s->n * (size_t)s->k;
    const uint64_t values = dgm_sparse_count(t->type, weights, count);
    dgm_packed w = {.n = s->n, .k = s->k, .type = t->type, .pattern = (dgm_pattern)f};
    form->stored = dgm_sparse_bytes(&w, values);
    form->bytes = place(&w, NULL, values);
    form->memory = dgm_reserve(form->bytes * (size_t)l->n_copies);
    if (form->memory == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot reserve memory for weights");
    (void)place(&w, form->memory, values);
    if (f == DGM_DENSE)
        pack_dense((void *)w.data, weights, s, t->type);
    else
        DGM_TRY(dgm_sparse_pack(&w, weights, dgm_bitmap_room(t->type, values), "weights"));
    for (size_t i = 0; w.scale != NULL && i < dgm_packed_scales(t->type, s->n, s->k, 0); i++)
        ((float *)w.scale)[i] = 0.01f;
    for (int c = 0; c < l->n_copies; c++) {
        unsigned char *at = (unsigned char *)form->memory + (size_t)c * form->bytes;
        form->w[c] = w;
        if (c > 0)
            memcpy(at, form->memory, form->bytes);
        (void)place(&form->w[c], at, values);
    }
    return DGM_OK;
}

static double now_s(void)
{
    struct timespec t; /* other work on the machine touches it less */
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* run - so many products of one form, each with the next copy. */
static double run(lab *l, int f, const sort *t, int rows, int times)
{
    const double begin = now_s();
    for (int i = 0; i < times; i++) {
        const dgm_packed *w = &l->forms[f].w[(l->turn + i) % l->n_copies];
        const dgm_gemm_job job = {.x = l->x,
                                  .ldx = (size_t)w->k,
                                  .y = l->y,
                                  .ldy = (size_t)w->n,
                                  .w = w,
                                  .rows = rows,
                                  .compute = t->compute};
        dgm_gemm(&l->kern, NULL, &job, 1, &l->scratch);
    }
    return (now_s() - begin) / times;
}

/* slow - in each of the first turns; one that was disturbed does not count. */
static bool slow(const double *ratio, int n)
{
    for (int i = 0; i < LEAST_RUNS; i++)
        if (i >= n || ratio[i] >= SLOW)
            return false;
    return true;
}

/* turn - each form once, unless it is slow. Returns the seconds, but of forms that may be. */
static double turn(lab *l, const sort *t, int rows, int times, double *dense,
                   double ratio[FORMS][RUNS], int *n)
{
    double spent = *dense = run(l, DGM_DENSE, t, rows, times);
    for (int f = 1; f < FORMS; f++) {
        if (slow(ratio[f], n[f]))
            continue;
        const double other = run(l, f, t, rows, times);
        ratio[f][n[f]++] = *dense / other;
        spent += *dense / other < SLOW ? 0 : other;
    }
    l->turn += times;
    return spent * times;
}

static void run_case(lab *l, const shape *s, const sort *t, int rows, bool json)
{
    double dense[RUNS], ratio[FORMS][RUNS], spent = 0;
    const char *heat = l->n_copies > 1 ? "cold" : "warm";
    int n[FORMS] = {0};
    const double once = run(l, DGM_DENSE, t, rows, 1);
    const int times = once < 4e-4 ? (int)(4e-4 / once) + 1 : 1;
    for (int f = 1; f < FORMS; f++)
        (void)run(l, f, t, rows, 1);
    for (int i = 0; i < RUNS && (i < LEAST_RUNS || spent < SECONDS); i++)
        spent += turn(l, t, rows, times, &dense[n[0]++], ratio, n);
    const char *line =
        json ? "{\"bench\":\"sparse\",\"isa\":\"%s\",\"n\":%d,\"k\":%d,\"type\":\"%s\","
               "\"rows\":%d,\"weights\":\"%s\",\"dense_us\":%.1f,\"2of4\":%.3f,"
               "\"4of8\":%.3f,\"bitmap\":%.3f}\n"
             : "%-7s %5d %5d  %-11s %4d  %-5s %9.1f %7.2f %7.2f %7.2f\n";
    (void)printf(line, l->kern.isa, s->n, s->k, t->what, rows, heat,
                 1e6 * dgm_bench_median(dense, n[0]), dgm_bench_median(ratio[1], n[1]),
                 dgm_bench_median(ratio[2], n[2]), dgm_bench_median(ratio[3], n[3]));
    (void)fflush(stdout);
}

static void release(lab *l)
{
    for (int f = 0; f < FORMS; f++) {
        if (l->forms[f].memory != NULL)
            dgm_release(l->forms[f].memory, l->forms[f].bytes * (size_t)l->n_copies);
        l->forms[f].memory = NULL;
    }
}

static int run_sort(lab *l, const shape *s, const sort *t, bool json)
{
    const size_t bytes = dgm_packed_bytes(t->type, s->n, s->k);
    void *weights = half_of(s, t->type);
    int rc = weights == NULL ? dgm_fail(DGM_ENOMEM, "cannot reserve memory for weights") : DGM_OK;
    for (int cold = 1; cold >= 0 && rc == DGM_OK; cold--) {
        const size_t many = cold ? COLD_BYTES / bytes : 1;
        l->n_copies = many > MOST_COPIES ? MOST_COPIES : (int)many;
        for (int f = 0; f < FORMS && rc == DGM_OK; f++)
            rc = fill_form(l, f, s, t, weights);
        if (rc == DGM_OK && cold && !json)
            (void)printf("%d x %d %s: bytes %zu; 2:4 %.3f, 4:8 %.3f, bitmap %.3f of that\n", s->n,
                         s->k, t->what, l->forms[0].stored,
                         (double)l->forms[1].stored / (double)l->forms[0].stored,
                         (double)l->forms[2].stored / (double)l->forms[0].stored,
                         (double)l->forms[3].stored / (double)l->forms[0].stored);
        for (int r = 0; r < l->n_rows && rc == DGM_OK; r++)
            run_case(l, s, t, l->rows[r], json);
        release(l);
    }
    free(weights);
    return rc;
}

static int run_all(lab *l, bool json)
{
    static const shape shapes[] = {{4096, 1024}, {2048, 512}};
    static const sort sorts[] = {{"f32", DGM_W_F32, DGM_COMPUTE_F32},
                                 {"bf16", DGM_W_BF16, DGM_COMPUTE_F32},
                                 {"int8", DGM_W_INT8, DGM_COMPUTE_F32},
                                 {"int8 x int8", DGM_W_INT8, DGM_COMPUTE_INT8}};
    for (int s = 0; s < 2; s++)
        for (int t = 0; t < 4; t++)
            DGM_TRY(run_sort(l, &shapes[s], &sorts[t], json));
    return DGM_OK;
}

static int lab_open(lab *l, const dgm_options *o)
{
    const size_t floats = (size_t)MOST_ROWS * MOST_N;
    const bool chosen = dgm_options_given(o, "batch");
    DGM_TRY(dgm_bench_read_batches(l->rows, &l->n_rows, MOST_ROWS,
                                   chosen ? o->batch : "1,2,4,8,16,32"));
    DGM_TRY(dgm_kernels_select(&l->kern, o->isa));
    DGM_TRY(dgm_arena_init(&l->scratch, dgm_gemm_scratch_bytes(MOST_ROWS, 1, MOST_K, MOST_N, 1)));
    l->x = dgm_reserve(floats * sizeof(float));
    l->y = dgm_reserve(floats * sizeof(float));
    if (l->x == NULL || l->y == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot reserve memory for rows");
    uint32_t state = 7;
    for (size_t i = 0; i < floats; i++)
        l->x[i] = (float)next_random(&state) * 0x1p-24f - 0.5f;
    return DGM_OK;
}

int dgm_bench_sparse(const dgm_options *o)
{
    static lab l;
    int rc = lab_open(&l, o);
    if (rc == DGM_OK && !o->json)
        (void)printf("one thread, half of the weights zero; times faster than dense: medians of "
                     "turns in one run\n%-7s %5s %5s  %-11s %4s  %-5s %9s %7s %7s %7s\n",
                     "isa", "n", "k", "type", "rows", "", "dense us", "2:4", "4:8", "bitmap");
    if (rc == DGM_OK)
        rc = run_all(&l, o->json);
    release(&l);
    dgm_release(l.x, (size_t)MOST_ROWS * MOST_N * sizeof(float));
    dgm_release(l.y, (size_t)MOST_ROWS * MOST_N * sizeof(float));
    dgm_arena_fini(&l.scratch);
    return dgm_command_end(rc);
}

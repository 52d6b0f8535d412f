#include "tests/bench/gemm_peers.h"

#include <stdint.h>
#include <time.h>

static dnnl_engine_t engine;
static dnnl_stream_t stream;

void onednn_start(void)
{
    CHECK(dnnl_engine_create(&engine, dnnl_cpu, 0));
    CHECK(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
}

static void reorder(dnnl_memory_t to, const dnnl_memory_desc_t *to_desc, void *from,
                    const dnnl_memory_desc_t *from_desc)
{
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive;
    dnnl_memory_t plain;
    CHECK(dnnl_memory_create(&plain, from_desc, engine, from));
    CHECK(dnnl_reorder_primitive_desc_create(&pd, from_desc, engine, to_desc, engine, NULL));
    CHECK(dnnl_primitive_create(&primitive, pd));
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, plain}, {DNNL_ARG_TO, to}};
    CHECK(dnnl_primitive_execute(primitive, stream, 2, args));
    CHECK(dnnl_stream_wait(stream));
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(pd);
    dnnl_memory_destroy(plain);
}

void onednn_open(onednn *d, shape s, operand rows, operand weights, float *y)
{
    const dnnl_dims_t xd = {s.rows, s.k}, wd = {s.n, s.k}, yd = {s.rows, s.n};
    dnnl_memory_desc_t x_desc, w_any, w_plain, y_desc;
    dnnl_inner_product_desc_t desc;
    dnnl_primitive_desc_t pd;
    CHECK(dnnl_memory_desc_init_by_tag(&x_desc, 2, xd, rows.type, dnnl_ab));
    CHECK(dnnl_memory_desc_init_by_tag(&w_plain, 2, wd, weights.type, dnnl_ab));
    CHECK(dnnl_memory_desc_init_by_tag(&w_any, 2, wd, weights.type, dnnl_format_tag_any));
    CHECK(dnnl_memory_desc_init_by_tag(&y_desc, 2, yd, dnnl_f32, dnnl_ab));
    CHECK(dnnl_inner_product_forward_desc_init(&desc, dnnl_forward_inference, &x_desc, &w_any, NULL,
                                               &y_desc));
    CHECK(dnnl_primitive_desc_create(&pd, &desc, NULL, engine, NULL));
    const dnnl_memory_desc_t *w_desc = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    CHECK(dnnl_memory_create(&d->x, &x_desc, engine, rows.data));
    CHECK(dnnl_memory_create(&d->y, &y_desc, engine, y));
    CHECK(dnnl_memory_create(&d->w, w_desc, engine, DNNL_MEMORY_ALLOCATE));
    reorder(d->w, w_desc, weights.data, &w_plain);
    CHECK(dnnl_primitive_create(&d->product, pd));
    dnnl_primitive_desc_destroy(pd);
}

void onednn_run(const onednn *d)
{
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, d->x}, {DNNL_ARG_WEIGHTS, d->w}, {DNNL_ARG_DST, d->y}};
    CHECK(dnnl_primitive_execute(d->product, stream, 3, args));
    CHECK(dnnl_stream_wait(stream));
}

void onednn_close(onednn *d)
{
    dnnl_primitive_destroy(d->product);
    dnnl_memory_destroy(d->x);
    dnnl_memory_destroy(d->w);
    dnnl_memory_destroy(d->y);
}

static void *pages(size_t bytes)
{
    void *p = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
    if (p == NULL) {
        fprintf(stderr, "gemm_peers: out of memory\n");
        exit(1);
    }
    return p;
}

void *peers_floats(size_t n)
{
    static uint64_t state = 88172645463325252u;
    float *p = pages(n * sizeof *p);
    for (size_t i = 0; i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        p[i] = (float)(state >> 40) * 0x1p-23f - 1.0f;
    }
    return p;
}

void *peers_bytes(size_t n)
{
    unsigned char *p = pages(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)((i * 2654435761u >> 11) % 128);
    return p;
}

double peers_now_s(int threads)
{
    struct timespec t;
    (void)clock_gettime(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double peers_median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

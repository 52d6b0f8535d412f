/*
 * The plug-in: a GPU's memory, and the steps of a product: rows down, tiles, kernels, results up.
 *
 * Rows go in slices of at most SLICE_ROWS, so that the memory for work does not grow with the batch; rows are independent,
 * so where slices end has no bearing on the bits.
 */
#include "kernels/cuda/products.h"

extern "C" {
#include "kernels/device.h"
}

#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

static_assert(W_F32 == (int)DGM_W_F32 && W_BF16 == (int)DGM_W_BF16 && W_INT8 == (int)DGM_W_INT8 &&
                  W_INT4 == (int)DGM_W_INT4 && PANEL == (int)DGM_PANEL && LINE == (int)DGM_LINE,
              "prims.h repeats dtype.h");

namespace
{
int (*fail)(int code, const char *fmt, ...);

enum : size_t {
    SLICE_ROWS = 4096,
    STAGE_BYTES =
        4
        << 20, /* of each half of a pinned buffer: copies of one half overlap with filling the other */
    ALIGN = 256,
    SLACK = 4096,    /* behind what kernels read in whole blocks */
    SPARE = 64 << 20 /* for the driver: kernels, their stacks */
};
enum { FEW_AT_MOST = 16 }; /* rows of a job that are left to tiles of 8 */

int cuda_failed(cudaError_t e, const char *what)
{
    return fail(e == cudaErrorMemoryAllocation ? DGM_ENOMEM : DGM_EINTERNAL, "the GPU: %s: %s",
                what, cudaGetErrorString(e));
}

#define CUDA_TRY(expr)                                                                             \
    do {                                                                                           \
        const cudaError_t cuda_try_e = (expr);                                                     \
        if (cuda_try_e != cudaSuccess)                                                             \
            return cuda_failed(cuda_try_e, #expr);                                                 \
    } while (0)

size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

bool is_integer(dgm_wtype t)
{
    return t == DGM_W_INT8 || t == DGM_W_INT4;
}

/* One pinned buffer in two halves. */
struct Stage {
    char *at;
    cudaEvent_t done[2];
    int half;
};

} /* namespace */

struct dgm_device_matrix {
    Job job;
    int n, k, group;
    dgm_wtype type;
    bool has_bias;
};

struct dgm_device {
    int index;
    cudaStream_t stream;
    cudaEvent_t began, ended;
    char *slab; /* matrices */
    size_t slab_bytes, slab_used;
    std::vector<dgm_device_matrix *> matrices;
    int max_width;
    char *work;
    float *x, *hidden; /* [SLICE_ROWS, max_width rounded] */
    int8_t *q;
    float *q_scale;
    Job *jobs; /* and their copies on the host: */
    Tile *tiles;
    std::vector<Job> jobs_here;
    std::vector<Tile> few, many;
    Stage down, up;
    char *room;
    size_t room_bytes;
    double seconds;
};

namespace
{

/* ---- memory ---- */

size_t scales_bytes(const dgm_packed *w)
{
    return up(dgm_packed_scales(w->type, w->n, w->k, w->group) * sizeof(float), ALIGN);
}

size_t matrix_bytes(const dgm_packed *w)
{
    return up(dgm_packed_bytes(w->type, w->n, w->k), ALIGN) + scales_bytes(w) +
           up(up((size_t)w->n, DGM_PANEL) * sizeof(float), ALIGN);
}

size_t rows_bytes(int max_width)
{
    return up(SLICE_ROWS * up((size_t)max_width, 32) * sizeof(float) + SLACK, ALIGN);
}

size_t quant_bytes(int max_width)
{
    return up((SLICE_ROWS + 64) * up((size_t)max_width, 32) + SLACK, ALIGN);
}

enum : size_t {
    SCALE_BYTES = (SLICE_ROWS + 64) * sizeof(float),
    JOB_BYTES = SLICE_ROWS * sizeof(Job),
    TILE_BYTES = 2 * SLICE_ROWS * sizeof(Tile)
};

size_t work_bytes(int max_width)
{
    return 2 * rows_bytes(max_width) + quant_bytes(max_width) + SCALE_BYTES + JOB_BYTES +
           TILE_BYTES;
}

int reserve(dgm_device *d, size_t bytes, int max_width)
{
    d->max_width = max_width;
    d->slab_bytes = bytes;
    size_t free_bytes, total;
    CUDA_TRY(cudaMemGetInfo(&free_bytes, &total));
    const size_t want = bytes + work_bytes(max_width) + SLACK;
    if (want + SPARE > free_bytes)
        return fail(
            DGM_EUNSUPPORTED,
            "GPU %d has %.0f MiB of %.0f MiB free, and the experts of this rank want %.0f MiB "
            "with %.0f MiB to work in (use more ranks, fewer or smaller experts, or --device cpu)",
            d->index, (double)free_bytes / (1 << 20), (double)total / (1 << 20),
            (double)bytes / (1 << 20), (double)(want + SPARE - bytes) / (1 << 20));
    CUDA_TRY(cudaMalloc((void **)&d->slab, bytes + SLACK));
    CUDA_TRY(cudaMalloc((void **)&d->work, work_bytes(max_width)));
    /* Padding is read, never used; but a checker cannot know, and sums of what is there would vary. */
    CUDA_TRY(cudaMemsetAsync(d->work, 0, work_bytes(max_width), d->stream));
    CUDA_TRY(cudaMemsetAsync(d->slab, 0, bytes + SLACK, d->stream));
    char *at = d->work;
    d->x = (float *)at;
    d->hidden = (float *)(at += rows_bytes(max_width));
    d->q = (int8_t *)(at += rows_bytes(max_width));
    d->q_scale = (float *)(at += quant_bytes(max_width));
    d->jobs = (Job *)(at += SCALE_BYTES);
    d->tiles = (Tile *)(at += JOB_BYTES);
    return DGM_OK;
}

/* ---- copies through pinned memory ---- */

int stage_open(Stage *s)
{
    CUDA_TRY(cudaHostAlloc((void **)&s->at, 2 * STAGE_BYTES, cudaHostAllocDefault));
    for (int i = 0; i < 2; i++)
        CUDA_TRY(cudaEventCreateWithFlags(&s->done[i], cudaEventDisableTiming));
    return DGM_OK;
}

void stage_close(Stage *s)
{
    for (int i = 0; i < 2; i++)
        if (s->done[i] != NULL)
            (void)cudaEventDestroy(s->done[i]);
    if (s->at != NULL)
        (void)cudaFreeHost(s->at);
}

/* is_room - memory that the card reaches by itself. */
bool is_room(const dgm_device *d, const void *p)
{
    const char *at = (const char *)p;
    return d->room != NULL && at >= d->room && at < d->room + d->room_bytes;
}

void *room(dgm_device *d, size_t bytes)
{
    if (bytes <= d->room_bytes)
        return d->room;
    if (d->room != NULL)
        (void)cudaFreeHost(d->room);
    d->room = NULL;
    d->room_bytes = up(bytes + bytes / 2, (size_t)1 << 20);
    if (cudaSetDevice(d->index) != cudaSuccess ||
        cudaHostAlloc((void **)&d->room, d->room_bytes, cudaHostAllocDefault) != cudaSuccess) {
        d->room = NULL;
        d->room_bytes = 0;
        (void)cudaGetLastError(); /* it is no failure: rows are copied once more */
    }
    return d->room;
}

/* send - rows of `width` bytes, dense here, `pitch` bytes apart there. */
int send(dgm_device *d, void *to, size_t pitch, const void *from, size_t width, size_t rows)
{
    if (is_room(d, from)) {
        CUDA_TRY(cudaMemcpy2DAsync(to, pitch, from, width, width, rows, cudaMemcpyHostToDevice,
                                   d->stream));
        return DGM_OK;
    }
    Stage *s = &d->down;
    size_t step = STAGE_BYTES / width;
    for (size_t r = 0; r < rows; r += step, s->half ^= 1) {
        const size_t n = rows - r < step ? rows - r : step;
        char *here = s->at + (size_t)s->half * STAGE_BYTES;
        CUDA_TRY(cudaEventSynchronize(s->done[s->half]));
        memcpy(here, (const char *)from + r * width, n * width);
        CUDA_TRY(cudaMemcpy2DAsync((char *)to + r * pitch, pitch, here, width, width, n,
                                   cudaMemcpyHostToDevice, d->stream));
        CUDA_TRY(cudaEventRecord(s->done[s->half], d->stream));
    }
    return DGM_OK;
}

/* send_bytes - any number, a part of STAGE_BYTES at a time. */
int send_bytes(dgm_device *d, void *to, const void *from, size_t bytes)
{
    const size_t whole = bytes / STAGE_BYTES, left = bytes % STAGE_BYTES;
    int rc = whole > 0 ? send(d, to, STAGE_BYTES, from, STAGE_BYTES, whole) : DGM_OK;
    if (rc == DGM_OK && left > 0)
        rc = send(d, (char *)to + whole * STAGE_BYTES, left,
                  (const char *)from + whole * STAGE_BYTES, left, 1);
    return rc;
}

/* fetch - the reverse of send; the rows are there when it returns. */
int fetch(dgm_device *d, void *to, const void *from, size_t pitch, size_t width, size_t rows)
{
    if (is_room(d, to)) {
        CUDA_TRY(cudaMemcpy2DAsync(to, width, from, pitch, width, rows, cudaMemcpyDeviceToHost,
                                   d->stream));
        CUDA_TRY(cudaStreamSynchronize(d->stream));
        return DGM_OK;
    }
    Stage *s = &d->up;
    const size_t step = STAGE_BYTES / width;
    for (size_t r = 0, got = 0; got < rows; r += step) {
        if (r < rows) {
            const size_t n = rows - r < step ? rows - r : step;
            const int half = (int)(r / step & 1);
            CUDA_TRY(cudaMemcpy2DAsync(s->at + (size_t)half * STAGE_BYTES, width,
                                       (const char *)from + r * pitch, pitch, width, n,
                                       cudaMemcpyDeviceToHost, d->stream));
            CUDA_TRY(cudaEventRecord(s->done[half], d->stream));
        }
        if (r < step && step < rows)
            continue; /* the first part is awaited when the second is on its way */
        const size_t n = rows - got < step ? rows - got : step;
        const int half = (int)(got / step & 1);
        CUDA_TRY(cudaEventSynchronize(s->done[half]));
        memcpy((char *)to + got * width, s->at + (size_t)half * STAGE_BYTES, n * width);
        got += n;
    }
    return DGM_OK;
}

int put_filled(dgm_device *d, dgm_device_matrix *m, const dgm_packed *w, const float *bias)
{
    const size_t panels = dgm_packed_bytes(w->type, w->n, w->k), need = matrix_bytes(w);
    if (d->slab_used + need > d->slab_bytes)
        return fail(DGM_EINTERNAL, "GPU %d: a matrix more than was reserved for", d->index);
    char *at = d->slab + d->slab_used;
    d->slab_used += need;
    m->job.w = (const unsigned char *)at;
    DGM_TRY(send_bytes(d, at, w->data, panels));
    at += up(panels, ALIGN);
    if (is_integer(w->type)) {
        m->job.scale = (const float *)at;
        DGM_TRY(send_bytes(d, at, w->scale,
                           dgm_packed_scales(w->type, w->n, w->k, w->group) * sizeof(float)));
    }
    at += scales_bytes(w);
    m->job.bias = (const float *)at; /* zeros beyond n, and without any */
    if (bias != NULL)
        DGM_TRY(send_bytes(d, at, bias, (size_t)w->n * sizeof(float)));
    return DGM_OK;
}

int put(dgm_device *d, const dgm_device_matrix **out, const dgm_packed *w, const float *bias)
{
    dgm_device_matrix *m = new (std::nothrow) dgm_device_matrix();
    if (m == NULL)
        return fail(DGM_ENOMEM, "out of memory for a list of matrices");
    d->matrices.push_back(m);
    m->n = w->n;
    m->k = w->k;
    m->group = dgm_packed_groups(w->k, w->group) > 1 ? w->group : 0;
    m->type = w->type;
    m->has_bias = bias != NULL;
    *out = m;
    CUDA_TRY(cudaSetDevice(d->index));
    return put_filled(d, m, w, bias);
}

/* ---- products ---- */

/* add_tiles - rows of a job: tiles of 64, and what is few, of 8. */
void add_tiles(dgm_device *d, int job, int row, int rows)
{
    while (rows > 0) {
        const bool large = rows > FEW_AT_MOST;
        const int n = rows < most_rows(large) ? rows : most_rows(large);
        (large ? d->many : d->few).push_back({job, row, n});
        row += n;
        rows -= n;
    }
}

/* like_first - matrices of one product are alike. */
bool like_first(const dgm_device_matrix *m, const dgm_device_matrix *first)
{
    return m->n == first->n && m->k == first->k && m->type == first->type &&
           m->group == first->group && m->has_bias == first->has_bias;
}

/* multiply - one grouped product over the slice's tiles, rows in x, or in q when `integers`; y's rows are ldy apart. */
void multiply(dgm_device *d, float *y, const float *x, size_t ldx, const dgm_device_matrix *m,
              const Job *jobs, int relu, bool integers)
{
    Product p = {};
    p.jobs = jobs;
    p.x = x;
    p.ldx = ldx;
    p.q = d->q;
    p.q_rows = SLICE_ROWS + 64;
    p.q_scale = d->q_scale;
    p.y = y;
    p.ldy = up((size_t)m->n, DGM_PANEL);
    p.panel_bytes = dgm_panel_bytes(m->type, m->k);
    p.k = m->k;
    p.panels = (int)dgm_packed_panels(m->n);
    p.lines = (int)(p.panel_bytes / DGM_LINE);
    p.groups = dgm_packed_groups(m->k, m->group);
    p.group32 = m->group / 32;
    p.relu = relu;
    p.has_bias = m->has_bias;
    for (int large = 0; large < 2; large++) {
        const std::vector<Tile> &tiles = large ? d->many : d->few;
        p.tiles = d->tiles + (large ? d->few.size() : 0);
        p.tile_rows = 0;
        for (const Tile &t : tiles)
            p.tile_rows = t.rows > p.tile_rows ? t.rows : p.tile_rows;
        if (!tiles.empty())
            launch_product(d->stream, p, m->type, (int)tiles.size(), large != 0, integers);
    }
}

/* A stretch of rows, and the experts that they belong to. */
struct Slice {
    const dgm_device_rows *in;
    size_t row, rows;
    const dgm_device_matrix *fc1, *fc2; /* of the first expert; fc2 NULL: a single product */
    int n;
};

/* send_lists - jobs of fc1, then of fc2, and tiles, small before large. */
int send_lists(dgm_device *d)
{
    std::vector<Tile> &all = d->few;
    const size_t n_few = all.size();
    all.insert(all.end(), d->many.begin(), d->many.end());
    int rc = send_bytes(d, d->jobs, d->jobs_here.data(), d->jobs_here.size() * sizeof(Job));
    if (rc == DGM_OK)
        rc = send_bytes(d, d->tiles, all.data(), all.size() * sizeof(Tile));
    all.resize(n_few);
    return rc;
}

/* send_rows - to d->x; those that are quantised, to d->q. */
int send_rows(dgm_device *d, const Slice *s)
{
    const dgm_device_rows *in = s->in;
    const size_t k = (size_t)in->k;
    if (in->q == NULL)
        return send(d, d->x, up(k, 4) * sizeof(float), in->x + s->row * k, k * sizeof(float),
                    s->rows);
    DGM_TRY(send(d, d->x, up(k, 4), in->q + s->row * k, k, s->rows));
    return send_bytes(d, d->q_scale, in->q_scale + s->row, s->rows * sizeof(float));
}

int run_slice(dgm_device *d, float *y, const Slice *s, int relu, dgm_compute compute)
{
    const dgm_device_matrix *a = s->fc1, *b = s->fc2;
    const size_t k = (size_t)a->k, ld = up((size_t)a->n, DGM_PANEL), q_rows = SLICE_ROWS + 64;
    const bool bytes_a = compute == DGM_COMPUTE_INT8 && is_integer(a->type);
    const int rows = (int)s->rows;
    if (s->in->q != NULL && !bytes_a)
        return fail(DGM_EINTERNAL, "quantised rows for weights that are none");
    DGM_TRY(send_lists(d));
    DGM_TRY(send_rows(d, s));
    CUDA_TRY(cudaEventRecord(d->began, d->stream));
    if (s->in->q != NULL)
        launch_place(d->stream, d->q, q_rows, (const int8_t *)d->x, up(k, 4), a->k, rows);
    else if (bytes_a)
        launch_quantize(d->stream, d->q, d->q_scale, q_rows, d->x, up(k, 4), a->k, rows);
    multiply(d, d->hidden, d->x, up(k, 4), a, d->jobs, b != NULL ? 1 : relu, bytes_a);
    if (b != NULL) {
        const bool bytes_b = compute == DGM_COMPUTE_INT8 && is_integer(b->type);
        if (bytes_b)
            launch_quantize(d->stream, d->q, d->q_scale, q_rows, d->hidden, ld, b->k, rows);
        multiply(d, d->x, d->hidden, ld, b, d->jobs + s->n, 0, bytes_b);
    }
    CUDA_TRY(cudaEventRecord(d->ended, d->stream));
    CUDA_TRY(cudaGetLastError());
    const size_t n = (size_t)(b != NULL ? b->n : a->n);
    DGM_TRY(fetch(d, y + s->row * n, b != NULL ? d->x : d->hidden, up(n, DGM_PANEL) * sizeof(float),
                  n * sizeof(float), s->rows));
    float ms = 0;
    CUDA_TRY(cudaEventElapsedTime(&ms, d->began, d->ended));
    d->seconds += ms * 1e-3;
    return DGM_OK;
}

int check_experts(const dgm_device_rows *in, const dgm_device_expert *e, int n, bool both)
{
    int rows = 0;
    for (int i = 0; i < n; i++) {
        rows += e[i].rows;
        if (!like_first(e[i].fc1, e[0].fc1) || (both && !like_first(e[i].fc2, e[0].fc2)))
            return fail(DGM_EINTERNAL, "experts of one layer are not alike");
    }
    if (rows != in->rows || (n > 0 && e[0].fc1->k != in->k))
        return fail(DGM_EINTERNAL, "%d rows of %d inputs for experts of %d rows", in->rows, in->k,
                    rows);
    return DGM_OK;
}

/* take - experts [*at ..] from row *done of the first on, into lists of at most SLICE_ROWS rows; how many rows. */
int take(dgm_device *d, const dgm_device_expert *e, int n, int *at, int *done)
{
    int rows = 0;
    d->few.clear();
    d->many.clear();
    d->jobs_here.clear();
    for (; *at < n && rows < (int)SLICE_ROWS;) {
        const int left = e[*at].rows - *done, room = (int)SLICE_ROWS - rows;
        const int now = left < room ? left : room;
        if (now > 0) {
            add_tiles(d, (int)d->jobs_here.size(), rows, now);
            d->jobs_here.push_back(e[*at].fc1->job);
        }
        rows += now;
        *done = now < left ? *done + now : 0;
        *at += now == left;
    }
    return rows;
}

int run(dgm_device *d, float *y, const dgm_device_rows *in, const dgm_device_expert *e, int n,
        bool both, int relu, dgm_compute compute)
{
    DGM_TRY(check_experts(in, e, n, both));
    CUDA_TRY(cudaSetDevice(d->index));
    d->seconds = 0;
    int at = 0, done = 0;
    for (size_t row = 0; row < (size_t)in->rows;) {
        const int first = at, first_done = done;
        const int rows = take(d, e, n, &at, &done);
        Slice s = {
            in, row, (size_t)rows, e[0].fc1, both ? e[0].fc2 : NULL, (int)d->jobs_here.size()};
        for (int i = first, skip = first_done; both && (int)d->jobs_here.size() < 2 * s.n;
             i++, skip = 0)
            if (e[i].rows > skip)
                d->jobs_here.push_back(e[i].fc2->job);
        DGM_TRY(run_slice(d, y, &s, relu, compute));
        row += s.rows;
    }
    return DGM_OK;
}

int product(dgm_device *d, float *y, const dgm_device_rows *in, const dgm_device_expert *e, int n,
            int relu, dgm_compute compute)
{
    return run(d, y, in, e, n, false, relu, compute);
}

int ffn(dgm_device *d, float *y, const dgm_device_rows *in, const dgm_device_expert *e, int n,
        dgm_compute compute)
{
    return run(d, y, in, e, n, true, 0, compute);
}

double seconds(dgm_device *d)
{
    return d->seconds;
}

/* ---- a device ---- */

int count(int *out)
{
    int n = 0;
    const cudaError_t e = cudaGetDeviceCount(&n);
    if (e != cudaSuccess)
        return fail(DGM_EUNSUPPORTED, "--device cuda: no GPU can be used: %s",
                    cudaGetErrorString(e));
    if (n < 1)
        return fail(DGM_EUNSUPPORTED, "--device cuda: want a GPU, found none");
    *out = n;
    return DGM_OK;
}

void close(dgm_device *d)
{
    if (d == NULL)
        return;
    (void)cudaSetDevice(d->index);
    for (dgm_device_matrix *m : d->matrices)
        delete m;
    stage_close(&d->down);
    stage_close(&d->up);
    if (d->room != NULL)
        (void)cudaFreeHost(d->room);
    (void)cudaFree(d->slab);
    (void)cudaFree(d->work);
    if (d->began != NULL)
        (void)cudaEventDestroy(d->began);
    if (d->ended != NULL)
        (void)cudaEventDestroy(d->ended);
    if (d->stream != NULL)
        (void)cudaStreamDestroy(d->stream);
    delete d;
}

int open_filled(dgm_device *d)
{
    CUDA_TRY(cudaSetDevice(d->index));
    CUDA_TRY(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking));
    CUDA_TRY(cudaEventCreate(&d->began));
    CUDA_TRY(cudaEventCreate(&d->ended));
    DGM_TRY(stage_open(&d->down));
    return stage_open(&d->up);
}

int open(dgm_device **out, int index)
{
    dgm_device *d = new (std::nothrow) dgm_device();
    if (d == NULL)
        return fail(DGM_ENOMEM, "out of memory for a GPU");
    d->index = index;
    const int rc = open_filled(d);
    if (rc != DGM_OK) {
        close(d);
        return rc;
    }
    *out = d;
    return DGM_OK;
}

int info(dgm_device *d, dgm_device_info *out)
{
    cudaDeviceProp prop;
    CUDA_TRY(cudaSetDevice(d->index));
    CUDA_TRY(cudaGetDeviceProperties(&prop, d->index));
    CUDA_TRY(cudaMemGetInfo(&out->free_bytes, &out->total_bytes));
    (void)strncpy(out->name, prop.name, sizeof out->name - 1);
    out->name[sizeof out->name - 1] = '\0';
    return DGM_OK;
}

/* timed - `work` units of what `go` starts, a second: the best of a few. */
template <typename F> int timed(dgm_device *d, double *rate, double work, F go)
{
    for (int i = 0; i < 4; i++) {
        float ms = 0;
        CUDA_TRY(cudaEventRecord(d->began, d->stream));
        go();
        CUDA_TRY(cudaEventRecord(d->ended, d->stream));
        CUDA_TRY(cudaEventSynchronize(d->ended));
        CUDA_TRY(cudaGetLastError());
        CUDA_TRY(cudaEventElapsedTime(&ms, d->began, d->ended));
        const double now = ms > 0 ? work / (ms * 1e-3) : 0;
        *rate = i == 0 || now > *rate ? now : *rate;
    }
    return DGM_OK;
}

int measure_in(dgm_device *d, dgm_device_peaks *out, char *room, size_t half)
{
    enum { ROUNDS = 4096, PER_SM = 4 };
    cudaDeviceProp prop;
    CUDA_TRY(cudaGetDeviceProperties(&prop, d->index));
    const int blocks = prop.multiProcessorCount * PER_SM;
    float *sink = (float *)room;
    CUDA_TRY(cudaMemsetAsync(room, 1, 2 * half, d->stream));
    DGM_TRY(timed(d, &out->copy, 2.0 * (double)half, [&] {
        (void)cudaMemcpyAsync(room + half, room, half, cudaMemcpyDeviceToDevice, d->stream);
    }));
    DGM_TRY(timed(d, &out->fma, 2.0 * 256 * 16 * ROUNDS * blocks,
                  [&] { launch_fma_peak(d->stream, sink, blocks, ROUNDS); }));
    return timed(d, &out->byte_sums, 2.0 * 16 * 8 * 32 * 8 * (256 / 32) * ROUNDS * blocks,
                 [&] { launch_mma_peak(d->stream, sink, blocks, ROUNDS); });
}

int measure(dgm_device *d, dgm_device_peaks *out)
{
    const size_t half = (size_t)1 << 30;
    char *room = NULL;
    CUDA_TRY(cudaSetDevice(d->index));
    CUDA_TRY(cudaMalloc((void **)&room, 2 * half));
    const int rc = measure_in(d, out, room, half);
    (void)cudaFree(room);
    return rc;
}

const dgm_device_ops ops = {DGM_DEVICE_ABI, "cuda",       count,      open,    close,
                            info,           matrix_bytes, work_bytes, reserve, put,
                            room,           product,      ffn,        seconds, measure};
} /* namespace */

extern "C" __attribute__((visibility("default"))) const dgm_device_ops *
dgm_device_plugin(int (*host_fail)(int code, const char *fmt, ...))
{
    fail = host_fail;
    return &ops;
}

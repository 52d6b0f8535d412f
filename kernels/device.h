/*
 * device.h - a GPU behind a plug-in: the table that libdragoman_cuda.so fills, and how it is opened.
 *
 * The core is plain C and knows no CUDA header; the plug-in is opened at run time, so a program without it, or without a
 * driver, starts all the same and can say why it has no GPU. A device gives the bits of kernels/gemm.h, whatever it is: one
 * fma chain along k for each output, exact sums of integers (docs/numerics.md).
 *
 * One thread at a time calls a device. Functions that can fail return a status; the plug-in writes its sentences with the
 * dgm_fail that it is handed.
 */
#ifndef DGM_KERNELS_DEVICE_H
#define DGM_KERNELS_DEVICE_H

#include "kernels/pack.h"

/* Changes with any type or function of this file: a plug-in of another number is refused. */
enum { DGM_DEVICE_ABI = 1 };

typedef struct dgm_device dgm_device;               /* one GPU, private to the plug-in */
typedef struct dgm_device_matrix dgm_device_matrix; /* weights and bias in its memory */

typedef struct dgm_device_info {
    char name[128];
    size_t total_bytes, free_bytes; /* of its memory */
} dgm_device_info;

/* What a device reaches by itself, for benches: bytes and operations a second. */
typedef struct dgm_device_peaks {
    double copy;      /* bytes read and written by a large copy */
    double fma;       /* 2 for each fma of f32 */
    double byte_sums; /* 2 for each product of bytes, through the integer matrix units */
} dgm_device_peaks;

/* Rows in host memory: x, or q with its scales (quantize_row of kernels.h). */
typedef struct dgm_device_rows {
    int rows, k;
    const float *x;       /* [rows, k], or NULL */
    const int8_t *q;      /* [rows, k] */
    const float *q_scale; /* [rows] */
} dgm_device_rows;

/* The next `rows` rows (>= 0) belong to this expert. */
typedef struct dgm_device_expert {
    const dgm_device_matrix *fc1, *fc2;
    int rows;
} dgm_device_expert;

typedef struct dgm_device_ops {
    int abi; /* DGM_DEVICE_ABI */
    const char *name;

    /* count - how many devices there are, at least 1. DGM_EUNSUPPORTED says why there is none. */
    int (*count)(int *out);
    int (*open)(dgm_device **out, int index);
    void (*close)(dgm_device *d); /* its matrices too; NULL is fine */
    int (*info)(dgm_device *d, dgm_device_info *out);

    /* matrix_bytes - of device memory that a matrix and its bias take; work_bytes - that products of up to max_width inputs
     * and outputs take beside them. */
    size_t (*matrix_bytes)(const dgm_packed *w);
    size_t (*work_bytes)(int max_width);
    /* reserve - memory for matrices of `bytes` in all, and for work; once, before the first put.
     * DGM_EUNSUPPORTED when it is not there. */
    int (*reserve)(dgm_device *d, size_t bytes, int max_width);
    /* put - copies a matrix and its bias [w->n] (NULL: none); the layout is pack.h's. */
    int (*put)(dgm_device *d, const dgm_device_matrix **out, const dgm_packed *w,
               const float *bias);

    /* room - `bytes` of host memory that the device reads and writes by itself; what an earlier call gave is gone. Rows and
     * results there are not copied once more. NULL: none is left. */
    void *(*room)(dgm_device *d, size_t bytes);

    /*
     * product - y [rows, n] = in w^T + bias for each expert's fc1 (fc2 is not read), then ReLU if `relu`.
     * ffn - y [rows, n of fc2] = fc2(ReLU(fc1(in))), each with its bias: what lies between stays on the device.
     * Matrices of one call have one shape, type and group for fc1, and one for fc2. compute and q as in kernels/gemm.h. y may
     * be in.x. They return when y is there. DGM_EINTERNAL for what the device reports.
     */
    int (*product)(dgm_device *d, float *y, const dgm_device_rows *in,
                   const dgm_device_expert *experts, int n, int relu, dgm_compute compute);
    int (*ffn)(dgm_device *d, float *y, const dgm_device_rows *in, const dgm_device_expert *experts,
               int n, dgm_compute compute);

    /* seconds - that the device's arithmetic (no copies to and from the host) took in the last product or ffn. */
    double (*seconds)(dgm_device *d);
    int (*measure)(dgm_device *d, dgm_device_peaks *out);
} dgm_device_ops;

/* What a plug-in exports as `dgm_device_plugin`: `fail` is dgm_fail. */
typedef const dgm_device_ops *dgm_device_plugin_fn(int (*fail)(int code, const char *fmt, ...));

/*
 * dgm_device_load - the table of plug-in libdragoman_<name>.so, looked for in $DGM_PLUGIN_DIR if that is set, else beside
 * the program and in ../lib/dragoman from there. It stays loaded. DGM_EUNSUPPORTED says what was looked for and what was
 * found.
 */
DGM_MUST_CHECK int dgm_device_load(const dgm_device_ops **out, const char *name);

#endif

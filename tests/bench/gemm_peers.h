/* gemm_peers.h - what gemm_peers and gemm_experts share: numbers, clock, medians, and oneDNN's product. */
#ifndef DGM_TESTS_BENCH_GEMM_PEERS_H
#define DGM_TESTS_BENCH_GEMM_PEERS_H

#include <dnnl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        if ((call) != 0) {                                                                         \
            fprintf(stderr, "gemm_peers: %s failed\n", #call);                                     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

typedef struct shape {
    int rows, k, n;
} shape;

/* A product of rows [rows, k] with weights [n, k] into f32 [rows, n]. */
typedef struct onednn {
    dnnl_primitive_t product;
    dnnl_memory_t x, w, y;
} onednn;

/* One operand: its type, its numbers row by row. */
typedef struct operand {
    dnnl_data_type_t type;
    void *data;
} operand;

/* onednn_start - the engine and stream that all products run on; the end of the process ends them. */
void onednn_start(void);
/* onednn_open - weights are reordered once into the layout that oneDNN likes best; rows and y stay the caller's. */
void onednn_open(onednn *d, shape s, operand rows, operand weights, float *y);
void onednn_run(const onednn *d);
void onednn_close(onednn *d);

/* Page-aligned memory, never NULL: random numbers in [-1, 1); numbers 0 .. 127. */
void *peers_floats(size_t n);
void *peers_bytes(size_t n);

/* peers_now_s - with one thread this process's CPU time, so other work on the machine counts less; else wall time. */
double peers_now_s(int threads);
/* peers_median - sorts v. */
double peers_median(double *v, int n);

#endif

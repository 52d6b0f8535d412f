#include "cuda_runtime.h"

#include <cstdio>
#include <cstdlib>
#include <ucontext.h>
#include <vector>

dim3 threadIdx, blockIdx, blockDim;
unsigned char *on_cpu_shared;

namespace
{
/* Threads that wait until all that are still there have come. */
struct Barrier {
    unsigned there, arrived, round;
    void open_if_full()
    {
        if (arrived > 0 && arrived == there) {
            arrived = 0;
            round++;
        }
    }
};

struct Thread {
    ucontext_t context;
    std::vector<char> stack;
    bool done;
};

enum : size_t { STACK = 64 << 10, MOST_SHARED = 227 << 10 };

std::vector<Thread> threads;
std::vector<Barrier> warps;
std::vector<uint32_t> words; /* [warps][8][32] */
Barrier all;
ucontext_t scheduler;
const std::function<void()> *running;

void wait_at(Barrier *b)
{
    const unsigned me = threadIdx.x, round = b->round;
    b->arrived++;
    b->open_if_full();
    while (b->round == round)
        swapcontext(&threads[me].context, &scheduler);
}

void body()
{
    (*running)();
    const unsigned me = threadIdx.x;
    threads[me].done = true;
    all.there--;
    all.open_if_full();
    warps[me / 32].there--;
    warps[me / 32].open_if_full();
}

void run_block(unsigned n)
{
    all = {n, 0, 0};
    warps.assign((n + 31) / 32, {32, 0, 0});
    words.assign(warps.size() * 8 * 32, 0);
    for (unsigned i = 0; i < n; i++) {
        Thread &t = threads[i];
        t.stack.resize(STACK);
        t.done = false;
        getcontext(&t.context);
        t.context.uc_stack.ss_sp = t.stack.data();
        t.context.uc_stack.ss_size = STACK;
        t.context.uc_link = &scheduler;
        makecontext(&t.context, body, 0);
    }
    for (unsigned left = n; left > 0;) {
        for (unsigned i = 0; i < n; i++) {
            if (threads[i].done)
                continue;
            threadIdx.x = i;
            swapcontext(&scheduler, &threads[i].context);
            left -= threads[i].done;
        }
    }
}

size_t number(const char *name, size_t preset)
{
    const char *text = getenv(name);
    return text == NULL ? preset : (size_t)atol(text);
}
} /* namespace */

void __syncthreads()
{
    wait_at(&all);
}

void on_cpu_sync_warp()
{
    wait_at(&warps[threadIdx.x / 32]);
}

uint32_t (*on_cpu_warp())[32]
{
    return (uint32_t(*)[32]) & words[(size_t)(threadIdx.x / 32) * 8 * 32];
}

void on_cpu_launch(dim3 blocks, unsigned n, size_t shared, const std::function<void()> &kernel)
{
    if (shared > MOST_SHARED || n > 1024)
        abort();
    static std::vector<unsigned char> room(MOST_SHARED + 16);
    on_cpu_shared = room.data() + (16 - (uintptr_t)room.data() % 16) % 16;
    if (threads.size() < n)
        threads.resize(n);
    running = &kernel;
    blockDim.x = n;
    for (blockIdx.y = 0; blockIdx.y < blocks.y; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < blocks.x; blockIdx.x++) {
            memset(on_cpu_shared, 0xa5, shared);
            run_block(n);
        }
}

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = (int)number("DGM_ON_CPU_GPUS", 2);
    return *n > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int index)
{
    (void)snprintf(prop->name, sizeof prop->name, "no GPU %d: its kernels on the CPU", index);
    prop->multiProcessorCount = 1;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *free_bytes = *total = number("DGM_ON_CPU_MIB", 2048) << 20;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    *out = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (*out == NULL)
        return cudaErrorMemoryAllocation;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    free(p);
    return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
    static size_t calls;
    return ++calls == number("DGM_ON_CPU_FAIL", 0) ? cudaErrorLaunchFailure : cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t e)
{
    return e == cudaErrorNoDevice ? "no device (on the CPU)" : "an error (on the CPU)";
}

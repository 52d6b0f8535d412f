#define _GNU_SOURCE
#include "base/arena.h"

#include <sys/mman.h>

void *dgm_reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void dgm_release(void *p, size_t bytes)
{
    if (p != NULL)
        (void)munmap(p, bytes);
}

int dgm_arena_init(dgm_arena *a, size_t cap)
{
    *a = (dgm_arena){0};
    cap = dgm_arena_align(cap == 0 ? 1 : cap);
    a->base = dgm_reserve(cap);
    if (a->base == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot reserve %zu bytes of address space", cap);
    a->cap = cap;
    return DGM_OK;
}

int dgm_arena_init_huge(dgm_arena *a, size_t cap)
{
    DGM_TRY(dgm_arena_init(a, cap));
    (void)madvise(a->base, a->cap,
                  MADV_HUGEPAGE); /* where the system says `madvise`, one has to ask */
    return DGM_OK;
}

void dgm_arena_fini(dgm_arena *a)
{
    dgm_release(a->base, a->cap);
    *a = (dgm_arena){0};
}

void *dgm_arena_push(dgm_arena *a, size_t bytes)
{
    const size_t take = dgm_arena_align(bytes);
    DGM_ASSERT(take <= a->cap - a->used);
    void *p = a->base + a->used;
    a->used += take;
    if (a->used > a->peak)
        a->peak = a->used;
    return p;
}

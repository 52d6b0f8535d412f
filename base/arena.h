/*
 * arena.h - memory of one life, taken from the front of one reservation.
 *
 * The reservation is address space only (mmap, no pages are touched), so a generous one costs
 * nothing until it is used. Allocations are aligned to 64 bytes and zero when first used.
 */
#ifndef DGM_BASE_ARENA_H
#define DGM_BASE_ARENA_H

#include "base/status.h"

#include <stddef.h>

typedef struct dgm_arena {
    char *base;
    size_t used, cap, peak;
} dgm_arena;

/* dgm_arena_init - reserves `cap` bytes of address space. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_arena_init(dgm_arena *a, size_t cap);
/* dgm_arena_init_huge - the same in huge pages, for what is much and read much: a step's rows, weights. */
DGM_MUST_CHECK int dgm_arena_init_huge(dgm_arena *a, size_t cap);
void dgm_arena_fini(dgm_arena *a);

/* dgm_arena_push - `bytes` bytes, 64-byte aligned. Running out is our own mistake (sizes are
 * computed before): it asserts. */
void *dgm_arena_push(dgm_arena *a, size_t bytes);

/* Step life: mark, push, pop back to the mark. */
static inline size_t dgm_arena_mark(const dgm_arena *a)
{
    return a->used;
}
static inline void dgm_arena_pop(dgm_arena *a, size_t mark)
{
    a->used = mark;
}

/* dgm_arena_align - bytes that a push of `bytes` takes. */
static inline size_t dgm_arena_align(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

/* dgm_reserve, dgm_release - one mapping of untouched zero pages, page aligned; NULL on failure. */
void *dgm_reserve(size_t bytes);
void dgm_release(void *p, size_t bytes);

#endif

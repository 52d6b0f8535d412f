/* Memory of one frame: taken from the front of chunks, freed as a whole. protobuf-c gets it as its allocator, so that a frame of
 * many tiny messages, which grow sixtyfold when they are unpacked, meets the budget. */
#include "proto/wire_internal.h"

#include <stdlib.h>
#include <string.h>

struct dgm_wire_chunk {
    struct dgm_wire_chunk *next;
    size_t used, cap;
    _Alignas(16) unsigned char bytes[];
};

enum { FIRST_CHUNK = 16 << 10, LARGEST_CHUNK = 1 << 20 };

static void free_chunks(struct dgm_wire_chunk *c)
{
    while (c != NULL) {
        struct dgm_wire_chunk *next = c->next;
        free(c);
        c = next;
    }
}

void dgm_wire_memory_fini(dgm_wire_memory *m)
{
    free_chunks(m->chunks);
    m->chunks = NULL;
    m->used = 0;
}

/* The newest chunk is the largest of the usual ones; the others go. */
void dgm_wire_memory_reset(dgm_wire_memory *m)
{
    struct dgm_wire_chunk *newest = m->chunks;
    m->used = 0;
    m->failed = DGM_OK;
    if (newest == NULL)
        return;
    free_chunks(newest->next);
    newest->next = NULL;
    newest->used = 0;
    if (newest->cap > DGM_WIRE_KEEP) {
        free(newest);
        m->chunks = NULL;
    }
}

static int add_chunk(dgm_wire_memory *m, size_t n)
{
    size_t cap = m->chunks == NULL ? FIRST_CHUNK : 2 * m->chunks->cap;
    if (cap > LARGEST_CHUNK)
        cap = LARGEST_CHUNK;
    if (cap < n)
        cap = n;
    struct dgm_wire_chunk *c = malloc(sizeof *c + cap);
    if (c == NULL)
        return m->failed = DGM_ENOMEM;
    c->next = m->chunks;
    c->used = 0;
    c->cap = cap;
    m->chunks = c;
    return DGM_OK;
}

void *dgm_wire_take(dgm_wire_memory *m, size_t n)
{
    const size_t budget = m->budget != 0 ? m->budget : DGM_WIRE_BUDGET;
    if (n > budget || ((n + 15) & ~(size_t)15) > budget - m->used) {
        m->failed = DGM_EBUSY;
        return NULL;
    }
    n = (n + 15) & ~(size_t)15;
    if ((m->chunks == NULL || m->chunks->cap - m->chunks->used < n) && add_chunk(m, n) != DGM_OK)
        return NULL;
    struct dgm_wire_chunk *c = m->chunks;
    void *p = c->bytes + c->used;
    c->used += n;
    m->used += n;
    return p;
}

void *dgm_wire_take_array(dgm_wire_memory *m, size_t count, size_t size)
{
    const size_t bytes = count > SIZE_MAX / size ? SIZE_MAX : count * size;
    void *p = dgm_wire_take(m, bytes);
    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

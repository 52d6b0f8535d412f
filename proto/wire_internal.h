/* wire_internal.h - what the two directions share: memory for one frame. Private to proto/. */
#ifndef DGM_PROTO_WIRE_INTERNAL_H
#define DGM_PROTO_WIRE_INTERNAL_H

#include "proto/wire.h"

/* dgm_wire_memory_reset - for the next frame. */
void dgm_wire_memory_reset(dgm_wire_memory *m);
/* dgm_wire_take - n bytes, 16-byte aligned, not cleared; NULL with m->failed set. n may be 0. */
void *dgm_wire_take(dgm_wire_memory *m, size_t n);
/* dgm_wire_take_array - count things of `size` bytes, cleared. */
void *dgm_wire_take_array(dgm_wire_memory *m, size_t count, size_t size);

#endif

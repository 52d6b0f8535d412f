/*
 * answer_cache.h - answers that were given, for when the same is asked again.
 *
 * An answer is a pure function of model, options and line, so what was computed once need not be again; with drawn
 * translations, which are keyed by their place, too: they are not kept. One thread (the net thread). At most `bytes` in all,
 * keys included; what was not used for longest goes first. Keys are compared whole, never by their hash alone.
 */
#ifndef DGM_RUNTIME_ANSWER_CACHE_H
#define DGM_RUNTIME_ANSWER_CACHE_H

#include "proto/wire.h"
#include "runtime/requests.h"

typedef struct dgm_answer_cache dgm_answer_cache;

typedef struct dgm_answer_cache_state {
    size_t bytes;
    int entries;
    uint64_t hits, misses;
} dgm_answer_cache_state;

/* dgm_answer_cache_create - bytes 0: keeps nothing. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_answer_cache_create(dgm_answer_cache **out, size_t bytes);
void dgm_answer_cache_destroy(dgm_answer_cache *c);

/* dgm_answer_cache_has - dgm_answer_cache_find would find it, until something else is kept. Counts a hit or a miss. */
bool dgm_answer_cache_has(dgm_answer_cache *c, const dgm_request *r);

/* dgm_answer_cache_find - what was answered to an equal request (its cfg, target and line's text are set): into *out but for
 * segment, times, credits and last; cached is set. Texts live until the next call. False when there is none. */
bool dgm_answer_cache_find(dgm_answer_cache *c, dgm_wire_answer *out, const dgm_request *r);

/* dgm_answer_cache_keep - a copy. No memory: it is not kept. */
void dgm_answer_cache_keep(dgm_answer_cache *c, const dgm_request *r, const dgm_wire_answer *a);

/* dgm_answer_cache_look - any thread. */
dgm_answer_cache_state dgm_answer_cache_look(const dgm_answer_cache *c);

#endif

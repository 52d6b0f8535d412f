#include "runtime/answer_cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { BUCKETS = 16384 };

/* What bears on an answer beside the texts; zeros between its fields. */
typedef struct key {
    dgm_decode_options decode;
    int32_t source, target, split, retry, n_beside;
    size_t len;
} key;

typedef struct entry {
    struct entry *next;          /* in its bucket */
    struct entry *newer, *older; /* by last use */
    uint64_t hash;
    size_t bytes, key_bytes;
    dgm_wire_answer answer; /* its pointers go into data */
    char data[];            /* the key, the hypotheses, the texts */
} entry;

struct dgm_answer_cache {
    size_t most;
    entry *bucket[BUCKETS];
    entry *newest, *oldest;
    char *asked; /* [cap] the key being looked for */
    size_t cap;
    atomic_size_t bytes; /* these four others look at */
    atomic_int entries;
    atomic_uint_least64_t hits, misses;
};

int dgm_answer_cache_create(dgm_answer_cache **out, size_t bytes)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for answers");
    (*out)->most = bytes;
    return DGM_OK;
}

static void unlink_use(dgm_answer_cache *c, entry *e)
{
    *(e->newer != NULL ? &e->newer->older : &c->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &c->oldest) = e->newer;
}

static void link_use(dgm_answer_cache *c, entry *e)
{
    e->newer = NULL;
    e->older = c->newest;
    *(e->older != NULL ? &e->older->newer : &c->oldest) = e;
    c->newest = e;
}

static void drop(dgm_answer_cache *c, entry *e)
{
    entry **at = &c->bucket[e->hash % BUCKETS];
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    unlink_use(c, e);
    atomic_fetch_sub(&c->bytes, e->bytes);
    atomic_fetch_sub(&c->entries, 1);
    free(e);
}

void dgm_answer_cache_destroy(dgm_answer_cache *c)
{
    if (c == NULL)
        return;
    while (c->oldest != NULL)
        drop(c, c->oldest);
    free(c->asked);
    free(c);
}

/* describe - the request into c->asked; its length, 0 when it is none to keep. */
static size_t describe(dgm_answer_cache *c, const dgm_request *r)
{
    const dgm_stream_line *l = &r->line;
    const size_t beside = (size_t)l->n_beside * sizeof *l->beside,
                 bytes = sizeof(key) + l->len + beside;
    if (c->most == 0 || r->cfg.decode.sampling || r->cfg.token_scores || r->cfg.alignment ||
        l->text == NULL)
        return 0;
    if (bytes > c->cap) {
        char *grown = realloc(c->asked, 2 * bytes);
        if (grown == NULL)
            return 0;
        c->asked = grown;
        c->cap = 2 * bytes;
    }
    key k;
    memset(&k, 0, sizeof k);
    k.decode = r->cfg.decode;
    k.decode.seed = 0; /* of drawing alone */
    k.source = r->cfg.source.code;
    k.target = r->target.code;
    k.split = (int32_t)r->cfg.source.split;
    k.retry = r->cfg.retry;
    k.n_beside = l->n_beside;
    k.len = l->len;
    memcpy(c->asked, &k, sizeof k);
    memcpy(c->asked + sizeof k, l->text, l->len);
    if (beside > 0)
        memcpy(c->asked + sizeof k + l->len, l->beside, beside);
    return bytes;
}

static entry *find(const dgm_answer_cache *c, uint64_t hash, size_t bytes)
{
    entry *e = c->bucket[hash % BUCKETS];
    while (e != NULL &&
           (e->hash != hash || e->key_bytes != bytes || memcmp(e->data, c->asked, bytes) != 0))
        e = e->next;
    return e;
}

static entry *find_request(dgm_answer_cache *c, const dgm_request *r)
{
    const size_t bytes = describe(c, r);
    return bytes == 0 ? NULL : find(c, XXH3_64bits(c->asked, bytes), bytes);
}

bool dgm_answer_cache_has(dgm_answer_cache *c, const dgm_request *r)
{
    const bool there = find_request(c, r) != NULL;
    atomic_fetch_add(there ? &c->hits : &c->misses, 1);
    return there;
}

bool dgm_answer_cache_find(dgm_answer_cache *c, dgm_wire_answer *out, const dgm_request *r)
{
    entry *e = find_request(c, r);
    if (e == NULL)
        return false;
    unlink_use(c, e);
    link_use(c, e);
    *out = e->answer;
    out->cached = true;
    return true;
}

static size_t padded(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

/* fill - the answer into e->data behind the key. */
static void fill(entry *e, const dgm_wire_answer *a)
{
    dgm_wire_hypothesis *hyps = (dgm_wire_hypothesis *)(void *)(e->data + padded(e->key_bytes));
    char *text = (char *)(hyps + a->n_hyps);
    e->answer = *a;
    e->answer.hyps = hyps;
    e->answer.message = "";
    for (size_t i = 0; i < a->n_hyps; i++) {
        hyps[i] = a->hyps[i];
        hyps[i].text = memcpy(text, a->hyps[i].text, a->hyps[i].text_len);
        text += a->hyps[i].text_len;
        *text++ = '\0';
    }
    const char *layer = a->worst_layer != NULL ? a->worst_layer : "";
    e->answer.worst_layer = memcpy(text, layer, strlen(layer) + 1);
}

void dgm_answer_cache_keep(dgm_answer_cache *c, const dgm_request *r, const dgm_wire_answer *a)
{
    const size_t key_bytes = describe(c, r);
    if (key_bytes == 0 || (a->message != NULL && a->message[0] != '\0'))
        return;
    const uint64_t hash = XXH3_64bits(c->asked, key_bytes);
    if (find(c, hash, key_bytes) != NULL)
        return;
    size_t bytes = sizeof(entry) + padded(key_bytes) + a->n_hyps * sizeof *a->hyps + 1 +
                   (a->worst_layer != NULL ? strlen(a->worst_layer) : 0);
    for (size_t i = 0; i < a->n_hyps; i++)
        bytes += a->hyps[i].text_len + 1;
    if (bytes > c->most / 4)
        return;
    for (entry *old = c->oldest, *next; old != NULL && atomic_load(&c->bytes) + bytes > c->most;
         old = next) {
        next = old->newer;
        drop(c, old);
    }
    entry *e = malloc(bytes);
    if (e == NULL)
        return;
    *e = (entry){
        .hash = hash, .bytes = bytes, .key_bytes = key_bytes, .next = c->bucket[hash % BUCKETS]};
    memcpy(e->data, c->asked, key_bytes);
    fill(e, a);
    c->bucket[hash % BUCKETS] = e;
    link_use(c, e);
    atomic_fetch_add(&c->bytes, bytes);
    atomic_fetch_add(&c->entries, 1);
}

dgm_answer_cache_state dgm_answer_cache_look(const dgm_answer_cache *c)
{
    return (dgm_answer_cache_state){.bytes = atomic_load(&c->bytes),
                                    .entries = atomic_load(&c->entries),
                                    .hits = atomic_load(&c->hits),
                                    .misses = atomic_load(&c->misses)};
}

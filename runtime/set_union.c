#include "runtime/set_union.h"

#include "runtime/sampling.h"

#include <stdlib.h>
#include <string.h>

enum { BITS = 64 };

typedef struct unions {
    dgm_union_size *out;
    int n_sets;
    size_t words;
    uint64_t *bits; /* [n_sets, words] */
    uint64_t *room; /* [n_sets + 1, words]: unions on the way down; [0] is empty */
    int *order;     /* [n_sets] */
} unions;

/* extend - room[depth + 1] = room[depth] with one set more; how many elements that has. */
static int extend(const unions *u, int depth, int set)
{
    const uint64_t *from = u->room + (size_t)depth * u->words,
                   *add = u->bits + (size_t)set * u->words;
    uint64_t *to = u->room + ((size_t)depth + 1) * u->words;
    int n = 0;
    for (size_t w = 0; w < u->words; w++) {
        to[w] = from[w] | add[w];
        n += __builtin_popcountll(to[w]);
    }
    return n;
}

/* note - a union of n sets has `size` elements. */
static void note(const unions *u, int n, int size)
{
    dgm_union_size *o = &u->out[n - 1];
    o->least = size < o->least ? size : o->least;
    o->most = size > o->most ? size : o->most;
}

/* all_choices - every choice that begins with the `depth` sets whose union is in room[depth] and goes on from set `next`. */
static void all_choices(const unions *u, int depth, int next)
{
    for (int i = next; i < u->n_sets; i++) {
        note(u, depth + 1, extend(u, depth, i));
        all_choices(u, depth + 1, i + 1);
    }
}

static void shuffle(const unions *u, uint32_t sample)
{
    const uint32_t key[2] = {DGM_UNION_SEED, 0};
    for (int i = 0; i < u->n_sets; i++)
        u->order[i] = i;
    for (int i = u->n_sets - 1; i > 0; i--) {
        const uint32_t counter[4] = {sample, (uint32_t)i, 0, 0};
        uint32_t random[4];
        dgm_sampling_philox(random, counter, key);
        const int k = (int)(((uint64_t)random[0] * (uint64_t)(i + 1)) >> 32);
        const int kept = u->order[i];
        u->order[i] = u->order[k];
        u->order[k] = kept;
    }
}

static void sampled_choices(const unions *u)
{
    for (uint32_t sample = 0; sample < DGM_UNION_SAMPLES; sample++) {
        shuffle(u, sample);
        for (int i = 0; i < u->n_sets; i++)
            note(u, i + 1, extend(u, i, u->order[i]));
    }
}

/* means - `in` [n_sets + 1]: how many elements are in so many sets. */
static void means(const unions *u, const size_t *in)
{
    for (int n = 1; n <= u->n_sets; n++) {
        double mean = 0;
        for (int c = 1; c <= u->n_sets; c++) {
            double lacks = 1;
            for (int i = 0; i < n && lacks > 0; i++)
                lacks *= i < u->n_sets - c ? (double)(u->n_sets - c - i) / (u->n_sets - i) : 0;
            mean += (double)in[c] * (1 - lacks);
        }
        u->out[n - 1].mean = mean;
    }
}

static void fill(const unions *u, const uint8_t *const *sets, size_t n_elements, size_t *in)
{
    for (size_t e = 0; e < n_elements; e++) {
        int c = 0;
        for (int i = 0; i < u->n_sets; i++) {
            u->bits[(size_t)i * u->words + e / BITS] |= (uint64_t)sets[i][e] << e % BITS;
            c += sets[i][e];
        }
        in[c]++;
    }
}

int dgm_union_sizes(dgm_union_size *out, const uint8_t *const *sets, int n_sets, size_t n_elements)
{
    const size_t n = (size_t)n_sets + 1, words = n_elements / BITS + 1;
    size_t *in = calloc(n, sizeof *in);
    const unions u = {out,
                      n_sets,
                      words,
                      calloc(n * words, sizeof(uint64_t)),
                      calloc(n * words, sizeof(uint64_t)),
                      calloc(n, sizeof(int))};
    const bool there = in != NULL && u.bits != NULL && u.room != NULL && u.order != NULL;
    if (there) {
        for (int i = 0; i < n_sets; i++)
            out[i] = (dgm_union_size){0, (int)n_elements, 0};
        fill(&u, sets, n_elements, in);
        means(&u, in);
        if (n_sets <= DGM_UNION_EXACT)
            all_choices(&u, 0, 0);
        else
            sampled_choices(&u);
    }
    free(in);
    free(u.bits);
    free(u.room);
    free(u.order);
    return there ? DGM_OK : dgm_fail(DGM_ENOMEM, "out of memory for unions of %d sets", n_sets);
}

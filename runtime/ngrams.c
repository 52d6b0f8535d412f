/*
 * An n-gram is its (n-1)-gram, by number, and the item behind it. Sorting these pairs brings equal n-grams together and
 * numbers them for the next order.
 */
#include "runtime/ngrams.h"

#include <stdlib.h>

typedef struct gram {
    uint64_t key;
    size_t at; /* where it begins, in hyp or, from n_hyp on, in ref */
} gram;

static int by_key(const void *a, const void *b)
{
    const uint64_t x = ((const gram *)a)->key, y = ((const gram *)b)->key;
    return (x > y) - (x < y);
}

/* list_grams - n-grams of items [len], of which the first is number `first` of both sequences. */
static size_t list_grams(gram *out, const uint32_t *shorter, const int32_t *items, size_t len,
                         size_t first, size_t n)
{
    if (len < n)
        return 0;
    for (size_t i = 0; i + n <= len; i++) {
        const uint64_t before = n == 1 ? 0 : shorter[first + i];
        out[i] = (gram){before << 32 | (uint32_t)items[i + n - 1], first + i};
    }
    return len - n + 1;
}

/* match_runs - counts equal ones and numbers them. */
static int64_t match_runs(const gram *g, size_t n, size_t n_hyp, uint32_t *number)
{
    int64_t match = 0;
    uint32_t next = 0;
    for (size_t i = 0, end; i < n; i = end, next++) {
        int64_t in_hyp = 0;
        for (end = i; end < n && g[end].key == g[i].key; end++) {
            in_hyp += g[end].at < n_hyp;
            number[g[end].at] = next;
        }
        const int64_t in_ref = (int64_t)(end - i) - in_hyp;
        match += in_hyp < in_ref ? in_hyp : in_ref;
    }
    return match;
}

int dgm_ngrams_match(dgm_ngram_count *count, int orders, const int32_t *hyp, size_t n_hyp,
                     const int32_t *ref, size_t n_ref)
{
    const size_t all = n_hyp + n_ref;
    gram *g = calloc(all + 1, sizeof *g);
    uint32_t *number = calloc(all + 1, sizeof *number);
    if (g == NULL || number == NULL) {
        free(g);
        free(number);
        return dgm_fail(DGM_ENOMEM, "out of memory for the n-grams of a line of %zu items", all);
    }
    for (size_t n = 1; n <= (size_t)orders; n++) {
        const size_t h = list_grams(g, number, hyp, n_hyp, 0, n),
                     r = list_grams(g + h, number, ref, n_ref, n_hyp, n);
        qsort(g, h + r, sizeof *g, by_key);
        count[n - 1].hyp += (int64_t)h;
        count[n - 1].ref += (int64_t)r;
        count[n - 1].match += match_runs(g, h + r, n_hyp, number);
    }
    free(g);
    free(number);
    return DGM_OK;
}

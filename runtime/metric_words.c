#include "runtime/metric_words.h"

#include <stdlib.h>
#include <string.h>

size_t dgm_space_at(const char *text, size_t len)
{
    static const char *const wide[] = {"\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80",
                                       "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF",
                                       "\xE2\x81\x9F", "\xE3\x80\x80"};
    const unsigned char *c = (const unsigned char *)text;
    if (len == 0)
        return 0;
    if (c[0] < 0x80)
        return c[0] == ' ' || (c[0] >= 0x09 && c[0] <= 0x0D) || (c[0] >= 0x1C && c[0] <= 0x1F);
    if (len >= 3 && c[0] == 0xE2 && c[1] == 0x80 && c[2] >= 0x80 && c[2] <= 0x8A)
        return 3; /* U+2000 to U+200A */
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        const size_t n = strlen(wide[i]);
        if (len >= n && memcmp(text, wide[i], n) == 0)
            return n;
    }
    return 0;
}

int dgm_words_push(dgm_words *w, const char *text, size_t len)
{
    if (w->n == w->cap) {
        const size_t cap = w->cap == 0 ? 64 : 2 * w->cap;
        dgm_word *more = realloc(w->at, cap * sizeof *more);
        if (more == NULL)
            return dgm_fail(DGM_ENOMEM, "out of memory for the words of a line");
        w->at = more;
        w->cap = cap;
    }
    w->at[w->n++] = (dgm_word){text, len};
    return DGM_OK;
}

int dgm_words_split(dgm_words *w, const char *text, size_t len)
{
    size_t at = 0, begin = 0;
    while (at < len) {
        const size_t space = dgm_space_at(text + at, len - at);
        if (space > 0 && at > begin)
            DGM_TRY(dgm_words_push(w, text + begin, at - begin));
        at += space > 0 ? space : 1;
        if (space > 0)
            begin = at;
    }
    return at > begin ? dgm_words_push(w, text + begin, at - begin) : DGM_OK;
}

typedef struct place {
    dgm_word word;
    int32_t *id;
} place;

static int compare(const void *a, const void *b)
{
    const dgm_word *x = &((const place *)a)->word, *y = &((const place *)b)->word;
    const int c = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

int dgm_words_number(int32_t *hyp_ids, const dgm_words *hyp, int32_t *ref_ids, const dgm_words *ref)
{
    const size_t n = hyp->n + ref->n;
    place *all = calloc(n + 1, sizeof *all);
    if (all == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the words of a line");
    for (size_t i = 0; i < hyp->n; i++)
        all[i] = (place){hyp->at[i], &hyp_ids[i]};
    for (size_t i = 0; i < ref->n; i++)
        all[hyp->n + i] = (place){ref->at[i], &ref_ids[i]};
    qsort(all, n, sizeof *all, compare);
    for (size_t i = 0; i < n; i++)
        *all[i].id = i == 0 ? 0 : *all[i - 1].id + (compare(&all[i - 1], &all[i]) != 0);
    free(all);
    return DGM_OK;
}

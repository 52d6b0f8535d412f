#include "runtime/stream_align.h"

#include "runtime/split.h"

#include <stdlib.h>
#include <string.h>

static const char space_mark[] =
    "\xe2\x96\x81"; /* U+2581: a piece that begins with it begins a word */
enum { SPACE_MARK_BYTES = sizeof space_mark - 1 };

/* char_bytes - of the UTF-8 character at p. */
static size_t char_bytes(const char *p)
{
    const unsigned char c = (unsigned char)*p;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* next_word - the next word at or behind *at; false when there is none. Leaves *at behind it. */
static bool next_word(size_t *begin, size_t *at, const char *text, size_t len)
{
    while (*at < len && dgm_text_blank(text + *at, char_bytes(text + *at)))
        *at += char_bytes(text + *at);
    *begin = *at;
    while (*at < len && !dgm_text_blank(text + *at, char_bytes(text + *at)))
        *at += char_bytes(text + *at);
    return *begin < len;
}

/* in_word - the character before `at` and the one there are of one word. */
static bool in_word(const char *text, size_t at)
{
    size_t before = at;
    if (at == 0)
        return false;
    do
        before--;
    while (before > 0 && ((unsigned char)text[before] & 0xc0) == 0x80);
    return !dgm_text_blank(text + before, at - before) &&
           !dgm_text_blank(text + at, char_bytes(text + at));
}

int dgm_align_count_words(const char *text, size_t from, size_t to)
{
    size_t at = from, begin;
    int n = from < to && in_word(text, from) ? -1 : 0;
    while (next_word(&begin, &at, text, to))
        n++;
    return n;
}

/*
 * Words are tokenised one by one to learn how many pieces each became: normalisation may drop a word or make two of it,
 * so counting marks alone would drift. Pieces never cross white space, so the counts add up; where a model's pieces
 * do, *sum differs from the line's pieces and the marks are counted after all.
 */
static int assign_by_word(int32_t *words, int *sum, const dgm_tokenizer *tok, int n,
                          const char *text, size_t len)
{
    size_t at = 0, begin;
    int next = 0;
    *sum = 0;
    for (int32_t word = 0; next_word(&begin, &at, text, len); word++) {
        int32_t *pieces = NULL;
        int n_pieces = 0;
        DGM_TRY(dgm_tok_pieces(tok, &pieces, &n_pieces, text + begin, at - begin));
        free(pieces);
        *sum += n_pieces;
        for (int left = n_pieces; left > 0 && next < n; next++) {
            if (words[next] < 0)
                continue;
            words[next] = word;
            left--;
        }
    }
    return DGM_OK;
}

int dgm_align_source(int32_t *words, const dgm_tokenizer *tok, const int32_t *ids, int n,
                     const char *text, size_t len)
{
    int n_pieces = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        /* <unk> stands for text too, only dgm_tok_is_text cannot know which. */
        const bool piece = dgm_tok_is_text(tok, ids[i]) || dgm_tok_unknowns(&ids[i], 1) == 1;
        words[i] = piece ? 0 : -1;
        n_pieces += piece;
    }
    DGM_TRY(assign_by_word(words, &sum, tok, n, text, len));
    if (sum == n_pieces)
        return DGM_OK;
    const int last = dgm_align_count_words(text, 0, len) - 1;
    int word = -1;
    for (int i = 0; i < n; i++) {
        if (words[i] < 0)
            continue;
        word += dgm_tok_is_word_start(tok, ids[i]) || word < 0;
        words[i] = word < last ? word : last;
    }
    return DGM_OK;
}

int dgm_align_target(int32_t *words, const dgm_tokenizer *tok, const int32_t *ids, int n)
{
    int word = -1;
    bool inside = false;
    for (int i = 0; i < n; i++) {
        words[i] = -1;
        if (!dgm_tok_is_text(tok, ids[i]))
            continue;
        const char *piece = dgm_tok_piece(tok, ids[i]);
        if (strncmp(piece, space_mark, SPACE_MARK_BYTES) == 0) {
            inside = false;
            piece += SPACE_MARK_BYTES;
        }
        if (*piece == '\0')
            continue; /* a mark alone: white space, no word */
        word += !inside;
        inside = true;
        words[i] = word;
    }
    return word + 1;
}

static int compare(const void *a, const void *b)
{
    const dgm_word_pair *x = a, *y = b;
    if (x->source != y->source)
        return x->source < y->source ? -1 : 1;
    return (x->target > y->target) - (x->target < y->target);
}

int dgm_align_pairs(dgm_word_pair *pairs, const int32_t *target_words, const int16_t *looked, int n,
                    const int32_t *source_words, int n_source)
{
    int m = 0, kept = 0;
    for (int i = 0; i < n; i++) {
        if (target_words[i] < 0 || looked[i] < 0 || looked[i] >= n_source ||
            source_words[looked[i]] < 0)
            continue;
        pairs[m++] = (dgm_word_pair){source_words[looked[i]], target_words[i]};
    }
    qsort(pairs, (size_t)m, sizeof *pairs, compare);
    for (int i = 0; i < m; i++) {
        if (i == 0 || compare(&pairs[i], &pairs[i - 1]) != 0)
            pairs[kept++] = pairs[i];
    }
    return kept;
}

/*
 * stream_align.h - from token to token (where attention looked) to word to word (Pharaoh's `0-0 1-2`).
 *
 * A word is what stands between white space, in the line and in the output, counted from 0.
 */
#ifndef DGM_RUNTIME_STREAM_ALIGN_H
#define DGM_RUNTIME_STREAM_ALIGN_H

#include "runtime/tokenizer.h"

typedef struct dgm_word_pair {
    int32_t source, target;
} dgm_word_pair;

/* dgm_align_count_words - words of text that begin in [from, to), both at characters: so counts of adjacent ranges add up. */
int dgm_align_count_words(const char *text, size_t from, size_t to);

/*
 * dgm_align_source - words [n] receives the word that each id of ids [n] belongs to, -1 for codes and </s>; text [len]
 * is what ids were made from. DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_align_source(int32_t *words, const dgm_tokenizer *tok, const int32_t *ids,
                                    int n, const char *text, size_t len);

/* dgm_align_target - the same for ids [n] of an output, whose words follow from its pieces. Returns how many words. */
int dgm_align_target(int32_t *words, const dgm_tokenizer *tok, const int32_t *ids, int n);

/*
 * dgm_align_pairs - pairs [n] receives source word and target word of each token that has both, ascending by source,
 * then target, each once; returns how many. looked [n]: source position of each token, or -1.
 */
int dgm_align_pairs(dgm_word_pair *pairs, const int32_t *target_words, const int16_t *looked, int n,
                    const int32_t *source_words, int n_source);

#endif

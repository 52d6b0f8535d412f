/* split_abbrev.h - words that end in a full stop which ends no sentence. Private to split.c. */
#ifndef DGM_RUNTIME_SPLIT_ABBREV_H
#define DGM_RUNTIME_SPLIT_ABBREV_H

#include <stdbool.h>
#include <stddef.h>

/* dgm_abbrev_known - `word` [len bytes] without its full stop, in a language (FLORES code); some count only
 * before a digit ("No. 5", but not "No. I won't."). */
bool dgm_abbrev_known(const char *word, size_t len, const char *lang, bool before_digit);

/* dgm_abbrev_ordinal - the language writes ordinals as a number and a full stop ("3. Mai", "XIX. století"). */
bool dgm_abbrev_ordinal(const char *lang);

#endif

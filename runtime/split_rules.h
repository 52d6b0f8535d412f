/* split_rules.h - when two neighbours that ICU parted are one sentence. Private to split*.c. */
#ifndef DGM_RUNTIME_SPLIT_RULES_H
#define DGM_RUNTIME_SPLIT_RULES_H

#include "runtime/split.h"

/* What dgm_split_belong looks at twice: kept by the caller, since asking a growing span again takes quadratic time. */
typedef struct dgm_has {
    bool letter, word; /* a letter; a letter or digit */
} dgm_has;

dgm_has dgm_span_has(const char *text, dgm_span s);

/* dgm_split_belong - left and right are neighbours, trimmed and not empty. */
bool dgm_split_belong(const char *text, dgm_span left, dgm_has left_has, dgm_span right,
                      dgm_has right_has, const char *lang);

#endif

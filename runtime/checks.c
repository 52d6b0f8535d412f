#include "runtime/checks.h"

#include "runtime/split.h"

#include <string.h>

static bool wrong_script(const dgm_check_text *t)
{
    const char *script = strchr(t->tgt, '_');
    int letters = 0, within = 0;
    if (script == NULL ||
        !dgm_text_script(&letters, &within, t->translation, t->translation_len, script + 1))
        return false;
    return letters >= DGM_CHECK_SCRIPT_LETTERS && 2 * within < letters;
}

static bool odd_length(int a, int b)
{
    const int more = a > b ? a : b, less = a > b ? b : a;
    return more >= DGM_CHECK_RATIO_TOKENS && more > DGM_CHECK_RATIO * less;
}

static bool copied(const dgm_check_text *t)
{
    return t->src_tokens >= DGM_CHECK_COPY_TOKENS && strcmp(t->src, t->tgt) != 0 &&
           t->source_len == t->translation_len &&
           memcmp(t->source, t->translation, t->source_len) == 0;
}

unsigned dgm_checks(const dgm_check_text *t)
{
    return (wrong_script(t) ? DGM_CHECK_WRONG_SCRIPT : 0) | (t->looped ? DGM_CHECK_LOOPED : 0) |
           (odd_length(t->src_tokens, t->tgt_tokens) ? DGM_CHECK_LENGTH_RATIO : 0) |
           (copied(t) ? DGM_CHECK_COPIED : 0) | (t->ended ? 0 : DGM_CHECK_NO_END);
}

const char *dgm_check_name(int i)
{
    static const char *const names[DGM_CHECKS] = {"wrong_script", "looped", "length_ratio",
                                                  "copied", "no_end"};
    return names[i];
}

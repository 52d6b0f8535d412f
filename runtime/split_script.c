/* In which script a text is written. */
#include "runtime/split.h"

#include <string.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

/* Languages that are written in several scripts at once. */
static const struct {
    const char *code;
    UScriptCode scripts[4];
} mixed[] = {
    {"Jpan", {USCRIPT_HIRAGANA, USCRIPT_KATAKANA, USCRIPT_HAN, USCRIPT_HAN}},
    {"Hans", {USCRIPT_HAN, USCRIPT_BOPOMOFO, USCRIPT_HAN, USCRIPT_HAN}},
    {"Hant", {USCRIPT_HAN, USCRIPT_BOPOMOFO, USCRIPT_HAN, USCRIPT_HAN}},
    {"Hang", {USCRIPT_HANGUL, USCRIPT_HAN, USCRIPT_HAN, USCRIPT_HAN}},
};

static bool scripts_of(UScriptCode out[4], const char *code)
{
    for (size_t i = 0; i < sizeof mixed / sizeof mixed[0]; i++)
        if (strcmp(mixed[i].code, code) == 0) {
            memcpy(out, mixed[i].scripts, sizeof mixed[i].scripts);
            return true;
        }
    const int32_t one = u_getPropertyValueEnum(UCHAR_SCRIPT, code);
    for (int i = 0; i < 4; i++)
        out[i] = (UScriptCode)one;
    return one != UCHAR_INVALID_CODE;
}

bool dgm_text_script(int *letters, int *within, const char *text, size_t len, const char *code)
{
    UScriptCode of[4];
    *letters = *within = 0;
    if (!scripts_of(of, code))
        return false;
    for (int32_t i = 0; i < (int32_t)len;) {
        UChar32 c;
        UErrorCode e = U_ZERO_ERROR;
        U8_NEXT(text, i, (int32_t)len, c);
        if (c < 0 || !u_isalpha(c))
            continue;
        ++*letters;
        bool in = false;
        for (int k = 0; k < 4 && !in; k++)
            in = uscript_hasScript(c, of[k]) || uscript_getScript(c, &e) == of[k];
        *within += in;
    }
    return true;
}

#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/*
 * Bytes of the character at s [0 < n], or 0 when it is none. Table 3-7 of the Unicode standard: only the second
 * byte's range depends on the first, which is how overlong forms, surrogates and what lies past U+10FFFF
 * are kept out.
 */
static size_t char_bytes(const unsigned char *s, size_t n)
{
    const unsigned char c = s[0];
    if (c < 0x80)
        return c != 0;
    const size_t want = c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    if (want == 0 || n < want)
        return 0;
    const unsigned char low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < want; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return want;
}

/* Eight bytes at once: none has its top bit set, none is 0 (the usual borrow test). */
static bool plain8(const char *s)
{
    uint64_t w;
    memcpy(&w, s, sizeof w);
    const uint64_t high = 0x8080808080808080u;
    return ((w | (w - 0x0101010101010101u)) & high) == 0;
}

bool dgm_utf8_check(const char *text, size_t len, size_t *bad_at)
{
    for (size_t i = 0; i < len;) {
        if (len - i >= 8 && plain8(text + i)) {
            i += 8;
            continue;
        }
        const size_t n = char_bytes((const unsigned char *)text + i, len - i);
        if (n == 0) {
            *bad_at = i;
            return false;
        }
        i += n;
    }
    return true;
}

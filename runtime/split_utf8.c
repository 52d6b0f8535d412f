/* The part of split.h that needs no ICU: what is white space. */
#include "runtime/split_text.h"

size_t dgm_space_bytes(const char *s, size_t n)
{
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] == ' ' || (u[0] >= '\t' && u[0] <= '\r'))
        return 1;
    if (n >= 2 && u[0] == 0xC2 && (u[1] == 0x85 || u[1] == 0xA0)) /* NEL, no-break space */
        return 2;
    if (n < 3 || (u[0] & 0xF0) != 0xE0 || !dgm_is_continuation(s[1]) || !dgm_is_continuation(s[2]))
        return 0;
    const int32_t c = dgm_char_at(s, 0);
    const bool space = c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
                       c == 0x202F || c == 0x205F || c == 0x3000;
    return space ? 3 : 0;
}

bool dgm_text_blank(const char *text, size_t len)
{
    for (size_t i = 0, n; i < len; i += n)
        if ((n = dgm_space_bytes(text + i, len - i)) == 0)
            return false;
    return true;
}

dgm_span dgm_span_trim(const char *text, dgm_span s)
{
    size_t n;
    while (s.begin < s.end && (n = dgm_space_bytes(text + s.begin, s.end - s.begin)) > 0)
        s.begin += n;
    while (s.begin < s.end) {
        const size_t at = dgm_char_previous(text, s.end);
        if (dgm_space_bytes(text + at, s.end - at) == 0)
            break;
        s.end = at;
    }
    return s;
}

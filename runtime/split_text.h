/* split_text.h - characters and white space of a line. Private to split*.c. Text is valid UTF-8. */
#ifndef DGM_RUNTIME_SPLIT_TEXT_H
#define DGM_RUNTIME_SPLIT_TEXT_H

#include "runtime/split.h"

#include <stdint.h>

/* dgm_space_bytes - bytes of the character at s [n > 0] if it is White_Space (Unicode 15: 25 of them), else 0. Any
 * bytes may stand there. */
size_t dgm_space_bytes(const char *s, size_t n);

/* dgm_span_trim - without the white space at both ends. */
dgm_span dgm_span_trim(const char *text, dgm_span s);

static inline bool dgm_is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* dgm_char_next, dgm_char_previous - the offset of the next, the previous character. */
static inline size_t dgm_char_next(const char *text, size_t at)
{
    const unsigned char c = (unsigned char)text[at];
    return at + (c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4);
}
static inline size_t dgm_char_previous(const char *text, size_t at)
{
    do
        at--;
    while (dgm_is_continuation(text[at]));
    return at;
}

/* dgm_char_at - its code point. */
static inline int32_t dgm_char_at(const char *text, size_t at)
{
    const size_t end = dgm_char_next(text, at);
    const unsigned char lead = (unsigned char)text[at];
    int32_t c = end - at == 1 ? lead : lead & (0x7F >> (end - at));
    for (size_t i = at + 1; i < end; i++)
        c = c << 6 | (text[i] & 0x3F);
    return c;
}

#endif

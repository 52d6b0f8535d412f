/* utf8.h - is it text. */
#ifndef DGM_BASE_UTF8_H
#define DGM_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* dgm_utf8_check - true when text is valid UTF-8 (no surrogates, no overlong forms, up to U+10FFFF) without NUL;
 * else *bad_at is the offset of the first character that is not. */
bool dgm_utf8_check(const char *text, size_t len, size_t *bad_at);

#endif

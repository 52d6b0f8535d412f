#include "runtime/packed_json.h"

#include <stdlib.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

json_t *dgm_json_bytes(const uint8_t *x, size_t n)
{
    const size_t len = (n + 2) / 3 * 4;
    char *text = malloc(len + 1), *out = text;
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < n; i += 3) {
        const size_t left = n - i;
        const uint32_t three = (uint32_t)x[i] << 16 | (left > 1 ? (uint32_t)x[i + 1] << 8 : 0) |
                               (left > 2 ? x[i + 2] : 0);
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[three & 63] : '=';
    }
    json_t *s = json_stringn_nocheck(text, len);
    free(text);
    return s;
}

json_t *dgm_json_floats(const double *x, size_t n)
{
    uint8_t *bytes = malloc(4 * n + 1);
    if (bytes == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const float f = (float)x[i];
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        for (size_t k = 0; k < 4; k++)
            bytes[4 * i + k] = (uint8_t)(bits >> 8 * k);
    }
    json_t *s = dgm_json_bytes(bytes, 4 * n);
    free(bytes);
    return s;
}

char *dgm_json_page_text(json_t *root)
{
    char *text = root == NULL ? NULL : json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(root);
    if (text == NULL)
        return NULL;
    size_t n = 1;
    for (const char *c = text; *c != '\0'; c++)
        n += *c == '<' ? 6 : 1;
    char *safe = malloc(n), *out = safe;
    for (const char *c = text; safe != NULL && *c != '\0'; c++) {
        if (*c == '<') { /* stands in strings alone */
            memcpy(out, "\\u003c", 6);
            out += 6;
        } else
            *out++ = *c;
    }
    if (safe != NULL)
        *out = '\0';
    free(text);
    return safe;
}

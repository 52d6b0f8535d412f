#include "runtime/web_guard.h"

#include "runtime/server_tokens.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HOST_BYTES = 256, SOURCE_BYTES = 64 };

/* is_port - "" or ":" and digits. */
static bool is_port(const char *text)
{
    return text[0] == '\0' ||
           (text[0] == ':' && strspn(text + 1, "0123456789") == strlen(text + 1));
}

bool dgm_web_host(const char *host, const char *own)
{
    char name[HOST_BYTES];
    unsigned char bytes[sizeof(struct in6_addr)];
    const bool brackets = host != NULL && host[0] == '[';
    const char *end = host == NULL ? NULL
                      : brackets   ? strchr(host, ']')
                                   : host + strcspn(host, ":");
    if (end == NULL || !is_port(brackets ? end + 1 : end))
        return false;
    const char *from = brackets ? host + 1 : host;
    if (end == from || end - from >= HOST_BYTES)
        return false;
    (void)snprintf(name, sizeof name, "%.*s", (int)(end - from), from);
    if (brackets)
        return inet_pton(AF_INET6, name, bytes) == 1;
    return inet_pton(AF_INET, name, bytes) == 1 || strcasecmp(name, "localhost") == 0 ||
           (own[0] != '\0' && strcasecmp(name, own) == 0);
}

bool dgm_web_origin(const char *origin, const char *host)
{
    static const char scheme[] = "http://";
    return origin != NULL && host != NULL && strncmp(origin, scheme, sizeof scheme - 1) == 0 &&
           strcasecmp(origin + sizeof scheme - 1, host) == 0;
}

const char *dgm_web_bearer(const char *authorization)
{
    static const char scheme[] = "Bearer ";
    if (authorization == NULL || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return "";
    return authorization + sizeof scheme - 1;
}

/* put_base64 - of a SHA-256: 43 characters and one '='. */
static void put_base64(char *out, const uint8_t hash[DGM_TOKEN_HASH])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < DGM_TOKEN_HASH; i += 3) {
        const bool whole = i + 2 < DGM_TOKEN_HASH;
        const unsigned three = (unsigned)hash[i] << 16 | (unsigned)hash[i + 1] << 8 |
                               (whole ? (unsigned)hash[i + 2] : 0U);
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = digits[three >> 6 & 63];
        *out++ = '=';
        if (whole)
            out[-1] = digits[three & 63];
    }
    *out = '\0';
}

/* source_of - 'sha256-...' of what stands in the page's first element of that name. */
static int source_of(char out[SOURCE_BYTES], const char *page, const char *open, const char *close)
{
    uint8_t hash[DGM_TOKEN_HASH];
    const char *from = strstr(page, open), *to = from == NULL ? NULL : strstr(from, close);
    if (to == NULL)
        return dgm_fail(DGM_EINTERNAL, "the page has no %s", open);
    from += strlen(open);
    char *text = strndup(from, (size_t)(to - from));
    if (text == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the page");
    const int rc = dgm_token_hash(hash, text);
    free(text);
    put_base64(out, hash);
    return rc;
}

int dgm_web_policy(char *out, size_t size, const char *page)
{
    char style[SOURCE_BYTES], script[SOURCE_BYTES];
    DGM_TRY(source_of(style, page, "<style>", "</style>"));
    DGM_TRY(source_of(script, page, "<script>", "</script>"));
    (void)snprintf(out, size,
                   "default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; "
                   "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                   "frame-ancestors 'none'; require-trusted-types-for 'script'",
                   style, script);
    return DGM_OK;
}

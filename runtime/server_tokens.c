#include "runtime/server_tokens.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool read_hash(uint8_t hash[DGM_TOKEN_HASH], const char *hex)
{
    if (strlen(hex) != 2 * (size_t)DGM_TOKEN_HASH)
        return false;
    for (int i = 0; i < DGM_TOKEN_HASH; i++) {
        const int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* read_name - printable and without spaces, as it stands in logs. */
static bool read_name(char name[DGM_TOKEN_NAME], const char *from, size_t n)
{
    if (n == 0 || n >= DGM_TOKEN_NAME)
        return false;
    for (size_t i = 0; i < n; i++)
        if (from[i] <= ' ' || from[i] >= 127)
            return false;
    memcpy(name, from, n);
    name[n] = '\0';
    return true;
}

/* trim - without the white space at both ends. */
static char *trim(char *line)
{
    static const char blank[] = " \t\r\n";
    line += strspn(line, blank);
    size_t n = strlen(line);
    while (n > 0 && strchr(blank, line[n - 1]) != NULL)
        n--;
    line[n] = '\0';
    return line;
}

static int add(dgm_tokens *t, const dgm_token *one)
{
    dgm_token *at = realloc(t->at, ((size_t)t->n + 1) * sizeof *at);
    if (at == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the tokens");
    at[t->n++] = *one;
    t->at = at;
    return DGM_OK;
}

static int read_line(dgm_tokens *t, char *line, size_t bytes, const char *path, int number)
{
    const bool nul = strlen(line) != bytes;
    if (number == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0) /* some editors */
        line += 3;
    line = trim(line);
    if (!nul && (line[0] == '\0' || line[0] == '#'))
        return DGM_OK;
    const char *colon = strchr(line, ':');
    dgm_token one = {.name = ""};
    if (nul || colon == NULL)
        return dgm_fail(DGM_EUSAGE, "--tokens %s: line %d: want NAME:SHA256, found %s", path,
                        number, nul ? "a NUL" : "no colon");
    if (!read_name(one.name, line, (size_t)(colon - line)))
        return dgm_fail(DGM_EUSAGE,
                        "--tokens %s: line %d: want a name of 1 to %d printable bytes, found "
                        "another of %zu",
                        path, number, DGM_TOKEN_NAME - 1, (size_t)(colon - line));
    if (!read_hash(one.hash, colon + 1))
        return dgm_fail(DGM_EUSAGE,
                        "--tokens %s: line %d: want the SHA-256 of a token in %d hexadecimal "
                        "digits, found something else of %zu bytes",
                        path, number, 2 * DGM_TOKEN_HASH, strlen(colon + 1));
    return add(t, &one);
}

static int read_lines(dgm_tokens *t, FILE *f, const char *path)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    int rc = DGM_OK;
    errno = 0;
    for (int number = 1; rc == DGM_OK && (n = getline(&line, &size, f)) >= 0; number++)
        rc = read_line(t, line, (size_t)n, path, number);
    if (rc == DGM_OK && ferror(f))
        rc = dgm_fail(DGM_EUSAGE, "--tokens %s: %s", path, strerror(errno));
    if (rc == DGM_OK && t->n == 0)
        rc = dgm_fail(DGM_EUSAGE,
                      "--tokens %s: want at least one line NAME:SHA256, found none: nobody could "
                      "connect",
                      path);
    free(line);
    return rc;
}

int dgm_tokens_read(dgm_tokens *out, const char *path)
{
    dgm_tokens t = {0};
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return dgm_fail(DGM_EUSAGE, "--tokens %s: %s", path, strerror(errno));
    const int rc = read_lines(&t, f, path);
    (void)fclose(f);
    if (rc != DGM_OK)
        dgm_tokens_fini(&t);
    else
        *out = t;
    return rc;
}

void dgm_tokens_fini(dgm_tokens *t)
{
    free(t->at);
    *t = (dgm_tokens){0};
}

const dgm_token *dgm_tokens_find(const dgm_tokens *t, const uint8_t hash[DGM_TOKEN_HASH])
{
    const dgm_token *found = NULL;
    for (int i = 0; i < t->n; i++)
        if (CRYPTO_memcmp(t->at[i].hash, hash, DGM_TOKEN_HASH) == 0)
            found = &t->at[i];
    return found;
}

int dgm_token_hash(uint8_t hash[DGM_TOKEN_HASH], const char *token)
{
    unsigned n = DGM_TOKEN_HASH;
    if (EVP_Digest(token, strlen(token), hash, &n, EVP_sha256(), NULL) != 1)
        return dgm_fail(DGM_EINTERNAL, "OpenSSL computes no SHA-256");
    return DGM_OK;
}

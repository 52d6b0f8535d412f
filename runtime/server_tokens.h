/* server_tokens.h - who may speak to a server: a file of names and of the SHA-256 of their tokens. */
#ifndef DGM_RUNTIME_SERVER_TOKENS_H
#define DGM_RUNTIME_SERVER_TOKENS_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { DGM_TOKEN_HASH = 32, DGM_TOKEN_NAME = 64 };

typedef struct dgm_token {
    char name[DGM_TOKEN_NAME];
    uint8_t hash[DGM_TOKEN_HASH];
} dgm_token;

typedef struct dgm_tokens {
    dgm_token *at; /* [n]; a name may have several */
    int n;
} dgm_tokens;

/*
 * dgm_tokens_read - a file of `NAME:SHA256` lines, 64 hexadecimal digits; blank lines and those that begin with # are nothing.
 * *out is written only on DGM_OK, and then has at least one. DGM_EUSAGE: the sentence names the line, but never shows it.
 */
DGM_MUST_CHECK int dgm_tokens_read(dgm_tokens *out, const char *path);
void dgm_tokens_fini(dgm_tokens *t);

/*
 * dgm_tokens_find - NULL: unknown. Compares with every one of them, each in constant time, so that how long it takes says
 * nothing about how near a guess was.
 */
const dgm_token *dgm_tokens_find(const dgm_tokens *t, const uint8_t hash[DGM_TOKEN_HASH]);
DGM_MUST_CHECK int dgm_token_hash(uint8_t hash[DGM_TOKEN_HASH], const char *token);

#endif
